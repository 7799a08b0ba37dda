from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.images.batches import Share
from ultraslow.probes.runs.images.datasets import Arrays, facts
from ultraslow.probes.runs.training.sources import source_of

CPU = torch.device("cpu")
CONFIG = Config(batch_size=12, samples=36)


def arrays():
    """Images that carry their number in each pixel."""
    numbers = np.arange(50, dtype=np.uint8)
    images = np.broadcast_to(numbers[:, None, None, None], (50, 1, 8, 8)).copy()
    return Arrays(images, numbers.astype(np.int64), images[:7], numbers[:7].astype(np.int64))


@pytest.fixture
def source():
    return source_of(CONFIG, facts("digits"), arrays(), CPU)


def test_sizes_are_those_of_what_is_used(source):
    assert source.size == 36
    assert source.held_out_size == 7


def test_samples_are_the_images_asked_for_normalized_by_those_trained_on(source):
    inputs, targets = source.sample(torch.tensor([3, 30]))
    assert targets.tolist() == [3, 30]
    # Numbers 0 to 35 have mean 17.5 and variance (36² − 1)/12.
    expected = (np.array([3, 30]) - 17.5) / np.sqrt((36**2 - 1) / 12)
    np.testing.assert_allclose(inputs[:, 0, 4, 4].numpy(), expected, rtol=1e-6)


def test_held_out_images_come_once_over_all_processes(source):
    parts = [list(source.held_out(Share(rank, 3))) for rank in range(3)]
    assert sorted(t for own in parts for _, targets in own for t in targets.tolist()) == list(
        range(7)
    )


@pytest.mark.parametrize("augment", [True, False])
def test_updates_go_on_after_those_that_are_skipped(augment):
    source = source_of(replace(CONFIG, augment=augment), facts("digits"), arrays(), CPU)
    whole = list(islice(source.updates(Share(0, 2, 3), skip=0), 8))
    rest = list(islice(source.updates(Share(0, 2, 3), skip=5), 3))
    for expected, found in zip(whole[5:], rest, strict=True):
        for (a, b), (c, d) in zip(expected, found, strict=True):
            assert torch.equal(a, c) and torch.equal(b, d)
