import numpy as np
import pytest
import torch

from ultraslow.probes.runs.images.batches import (
    Images,
    Share,
    batches,
    microbatches,
    mirrored,
    normalized,
    on_device,
    shifted,
)
from ultraslow.probes.runs.images.datasets import Facts, facts, load_images

CPU = torch.device("cpu")
MOVED = Facts("made", 24, 0, 2, 3, 6, 6, 2, True)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made_images(count=24, channels=3, side=6):
    inputs = torch.randint(0, 256, (count, channels, side, side), generator=generator()).byte()
    one = torch.ones(channels, 1, 1)
    return Images(inputs, torch.arange(count), 0 * one, one)


def test_normalized_images_have_mean_0_and_variance_1():
    train, _ = on_device(load_images("digits"), CPU)
    values = normalized(train.inputs, train).double()
    assert float(values.mean()) == pytest.approx(0, abs=1e-6)
    assert float(values.var(correction=0)) == pytest.approx(1, abs=1e-6)


def test_held_out_images_are_normalized_like_the_training_images():
    train, test = on_device(load_images("digits"), CPU)
    assert torch.equal(normalized(train.inputs[:5], train), normalized(train.inputs[:5], test))


def test_a_set_without_contrast_stays_finite():
    arrays = load_images("digits")
    black = type(arrays)(*(0 * part for part in vars(arrays).values()))
    train, _ = on_device(black, CPU)
    assert torch.isfinite(normalized(train.inputs, train)).all()


def test_fewer_samples():
    train, test = on_device(load_images("digits"), CPU, samples=100)
    assert (len(train), len(test)) == (100, facts("digits").test_size)


@pytest.mark.parametrize(("size", "batch_size"), [(12, 4), (14, 4), (5, 5), (7, 1)])
def test_an_epoch_is_a_permutation(size, batch_size):
    stream = batches(size, batch_size, generator())
    for _ in range(3):
        epoch = torch.cat([next(stream) for _ in range(size // batch_size)]).tolist()
        assert len(set(epoch)) == len(epoch) == size - size % batch_size
        assert set(epoch) <= set(range(size))


def test_the_order_changes_with_each_epoch_but_not_where_a_batch_holds_all():
    epochs = batches(12, 6, generator())
    first, later = (torch.cat([next(epochs), next(epochs)]) for _ in range(2))
    assert not torch.equal(first, later)
    whole = batches(12, 12, generator())
    first = next(whole)
    assert all(torch.equal(first, next(whole)) for _ in range(3))
    assert not torch.equal(first, next(batches(12, 12, generator(1))))


def test_epochs_differ_and_seeds_repeat():
    first, again = batches(50, 40, generator(1)), batches(50, 40, generator(1))
    epoch = next(first)
    assert torch.equal(epoch, next(again))
    assert not torch.equal(epoch, next(first))


def test_shifted_against_a_loop():
    images = made_images(10).inputs
    offsets = torch.randint(-2, 3, (10, 2), generator=generator(3))
    moved = shifted(images, offsets, 2)
    for image in range(10):
        down, right = offsets[image].tolist()
        for row in range(6):
            for column in range(6):
                source = (row - down, column - right)
                inside = all(0 <= position < 6 for position in source)
                expected = images[image, :, source[0], source[1]] if inside else torch.zeros(3)
                assert torch.equal(moved[image, :, row, column], expected.byte())


def test_mirrored_only_where_chosen():
    images = made_images(2).inputs
    result = mirrored(images, torch.tensor([True, False]))
    assert torch.equal(result[0], torch.tensor(images[0].numpy()[:, :, ::-1].copy()))
    assert torch.equal(result[1], images[1])


@pytest.mark.parametrize(("processes", "parts"), [(1, 1), (1, 4), (2, 1), (2, 2), (4, 1), (2, 6)])
@pytest.mark.parametrize("moved", [MOVED, None])
def test_an_update_does_not_depend_on_who_computes_it(processes, parts, moved):
    images = made_images()

    def updates(share):
        stream = microbatches(images, moved, share, batch_size=12, generator=generator(7))
        return [next(stream) for _ in range(5)]

    alone = updates(Share())
    together = [updates(Share(rank, processes, parts)) for rank in range(processes)]
    for number, [(inputs, targets)] in enumerate(alone):
        pieces = [piece for shares in together for piece in shares[number]]
        assert len(pieces) == processes * parts
        assert torch.equal(torch.cat([piece[0] for piece in pieces]), inputs)
        assert torch.equal(torch.cat([piece[1] for piece in pieces]), targets)


def test_full_batch_holds_every_image_in_every_update():
    stream = microbatches(
        made_images(), None, Share(0, 1, 3), batch_size=24, generator=generator()
    )
    for _ in range(3):
        targets = torch.cat([targets for _, targets in next(stream)])
        assert sorted(targets.tolist()) == list(range(24))


def test_augmentation_uses_every_offset_equally_often():
    # A white pixel in the middle tells where each image went.
    inputs = torch.zeros(50, 1, 5, 5, dtype=torch.uint8)
    inputs[:, :, 2, 2] = 255
    one = torch.ones(1, 1, 1)
    images = Images(inputs, torch.arange(50), 0 * one, one)
    moved = Facts("made", 50, 0, 2, 1, 5, 5, 1, False)
    stream = microbatches(images, moved, Share(), batch_size=50, generator=generator())
    counts = sum(next(stream)[0][0].sum(dim=(0, 1)) / 255 for _ in range(180)).numpy()
    assert np.count_nonzero(counts) == 9
    # 9,000 draws in 9 cells: 1,000 each with a standard deviation of 30.
    assert np.abs(counts[1:4, 1:4] - 1000).max() < 150
