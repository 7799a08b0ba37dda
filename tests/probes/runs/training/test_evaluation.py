from dataclasses import replace

import numpy as np
import pytest
import torch

from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.images.batches import Share, on_device
from ultraslow.probes.runs.images.datasets import Arrays, facts
from ultraslow.probes.runs.training.evaluation import (
    HeldOut,
    checkpoints_at,
    evaluated_at,
    evaluation_of,
    landscape_of,
    probes_of,
)
from ultraslow.probes.runs.training.sources import InMemory

CONFIG = Config(batch_size=80, landscape_checkpoints=2, landscape_images=64)


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 1, 8, 8), dtype=np.uint8)
    labels = rng.integers(0, 10, 200)
    arrays = Arrays(images, labels, images[:70], labels[:70])
    return InMemory(*on_device(arrays, torch.device("cpu")), facts("digits"), CONFIG)


def test_schedules_are_even_in_log_time_and_hold_the_last_iteration():
    for last in (1, 2, 17, 300, 1500):
        for count in (1, 3, 12):
            for found in (evaluated_at(last, count), checkpoints_at(last, count)):
                assert found[-1] == last
                assert found[0] >= 1
                assert len(found) <= count
                assert np.all(np.diff(found) > 0)
    ratios = np.diff(np.log(checkpoints_at(100_000, 5)))
    np.testing.assert_allclose(ratios, np.log(1 / 0.03) / 4, rtol=1e-3)


def test_held_out_numbers_equal_those_of_one_plain_pass(source):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    [(inputs, targets)] = source.held_out(Share())
    scores = model(inputs).detach()
    found = HeldOut(source, Share(), "fp32")(model)
    assert found["loss"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(scores, targets)), rel=1e-6
    )
    assert found["accuracy"] == pytest.approx(
        float((scores.argmax(1) == targets).float().mean()), rel=1e-6
    )


def test_what_is_measured_follows_the_settings(source):
    held_out = HeldOut(source, Share(), "fp32")
    assert probes_of(CONFIG) == ["distance", "noise", "path", "trajectory"]
    assert probes_of(replace(CONFIG, path_length=False, trajectory=False)) == [
        "distance",
        "noise",
    ]
    assert evaluation_of(replace(CONFIG, evaluations=0), held_out) is None
    assert landscape_of(replace(CONFIG, landscape_checkpoints=0), source, Share()) is None
    assert evaluation_of(replace(CONFIG, iterations=7), held_out).schedule.due(7)


@pytest.mark.parametrize(
    ("changes", "processes", "part", "count"),
    [
        ({}, 2, 16, 2),  # as many images as training has, 40 a process, or half of 32
        ({"microbatch": 8}, 2, 8, 4),
        ({"ghost_size": 8}, 2, 16, 2),  # whole ghost batches
        ({"ghost_size": 40}, 2, 40, 2),  # one each, though more images than were asked for
        ({"microbatch": 20, "ghost_size": 10}, 1, 30, 2),
    ],
)
def test_landscape_batches_have_the_size_of_batch_statistics(
    source, changes, processes, part, count
):
    config = replace(CONFIG, **changes)
    found = []
    for rank in range(processes):
        share = Share(rank, processes, config.microbatches(processes))
        batches = landscape_of(config, source, share).batches
        assert [len(targets) for _, targets in batches] == [part] * count
        found += [inputs for inputs, _ in batches]
    images = torch.cat(found).flatten(1)
    assert len(torch.unique(images, dim=0)) == len(images)  # each image once
