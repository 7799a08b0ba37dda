"""Batches of images that live on the device: no worker processes, one gather a batch.

Every process draws the same permutation and the same random shifts for the whole batch, then takes
its own share, so the images of an update do not depend on how many processes train.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from .datasets import Arrays, Facts

# Normalized inputs and targets.
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Images:
    """Labelled images on one device, as bytes: `(image, channel, height, width)`, `(image,)`.

    Attributes:
        inputs: the images.
        targets: their classes.
        mean: of each channel over the training images `(channel, 1, 1)`.
        deviation: standard deviation of each channel over the training images, same shape.
    """

    inputs: Tensor
    targets: Tensor
    mean: Tensor
    deviation: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Share:
    """Which part of a batch a process takes.

    Attributes:
        rank: of the process.
        processes: how many there are.
        microbatches: how many parts it splits its share into.
    """

    rank: int = 0
    processes: int = 1
    microbatches: int = 1

    def of(self, batch: Tensor) -> Tensor:
        """The process's rows of a batch whose size the number of processes divides."""
        return batch.chunk(self.processes)[self.rank]


def on_device(arrays: Arrays, device: torch.device, *, samples: int = 0) -> tuple[Images, Images]:
    """Training and held-out images, normalized alike.

    Arguments:
        arrays: the image set.
        device: where they shall live.
        samples: keep only so many training images; 0 keeps all.
    """
    train = torch.from_numpy(arrays.train_images[: samples or None])
    labels = torch.from_numpy(arrays.train_labels[: samples or None])
    deviation, mean = torch.std_mean(train.double(), dim=(0, 2, 3), correction=0)
    # No contrast at all must not become a division by zero; bytes that vary do so by more than 1.
    deviation = deviation.clamp_min(1.0)
    scale = (mean.float()[:, None, None], deviation.float()[:, None, None])
    test, test_labels = torch.from_numpy(arrays.test_images), torch.from_numpy(arrays.test_labels)
    return (
        Images(*(part.to(device) for part in (train, labels, *scale))),
        Images(*(part.to(device) for part in (test, test_labels, *scale))),
    )


def normalized(inputs: Tensor, images: Images) -> Tensor:
    """Bytes as numbers of mean 0 and variance 1 over the training images, stored channels last."""
    values = (inputs.float() - images.mean) / images.deviation
    return values.contiguous(memory_format=torch.channels_last)


def batches(size: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches of indices: an epoch is a permutation, an incomplete last batch is left out.

    Where a batch holds all of them its order stays the same: images that share batch statistics
    would else meet others in each update, whose gradients scatter then though nothing is sampled.

    Arguments:
        size: images to draw from.
        batch_size: indices in a batch, at most `size`.
        generator: draws the permutations, on the CPU.

    >>> first = next(batches(4, 4, torch.Generator().manual_seed(0)))
    >>> sorted(first.tolist())
    [0, 1, 2, 3]
    """
    complete = size - size % batch_size
    if batch_size == size:
        yield from repeat(torch.randperm(size, generator=generator))
    while True:
        yield from torch.randperm(size, generator=generator)[:complete].split(batch_size)


def shifted(inputs: Tensor, offsets: Tensor, largest: int) -> Tensor:
    """Each image moved by its own whole number of pixels; what comes in from outside is 0.

    Arguments:
        inputs: images `(image, channel, height, width)`.
        offsets: from -largest to largest, rows down and columns right `(image, 2)`.
        largest: the largest shift in pixels.

    >>> shifted(torch.tensor([[[[1, 2], [3, 4]]]]), torch.tensor([[0, 1]]), 1)[0, 0].tolist()
    [[0, 1], [0, 3]]
    """
    count, channels, height, width = inputs.shape
    framed = torch.nn.functional.pad(inputs, (largest,) * 4)
    start = largest - offsets
    rows = start[:, :1] + torch.arange(height, device=inputs.device)
    columns = start[:, 1:] + torch.arange(width, device=inputs.device)
    image = torch.arange(count, device=inputs.device)[:, None, None, None]
    channel = torch.arange(channels, device=inputs.device)[None, :, None, None]
    return framed[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def mirrored(inputs: Tensor, chosen: Tensor) -> Tensor:
    """The images with left and right exchanged where `chosen` `(image,)` is true."""
    return torch.where(chosen[:, None, None, None], inputs.flip(3), inputs)


def microbatches(
    images: Images,
    facts: Facts | None,
    share: Share,
    *,
    batch_size: int,
    generator: torch.Generator,
    skip: int = 0,
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """For each update, the microbatches of one process: normalized inputs and targets.

    Arguments:
        images: the training images.
        facts: which augmentation suits the set; None leaves the images as they are.
        share: the part of each batch that this process takes.
        batch_size: samples in an update over all processes, M.
        generator: draws permutations and augmentation, on the CPU and alike on all processes.
        skip: updates to leave out, after drawing the random numbers of theirs.
    """
    device = images.inputs.device
    for update, batch in enumerate(batches(len(images), batch_size, generator)):
        if update < skip:
            if facts is not None:
                _draw(facts, batch_size, generator)
            continue
        mine = share.of(batch).to(device)
        inputs = images.inputs[mine]
        if facts is not None:
            inputs = _augmented(inputs, facts, share, batch_size=batch_size, generator=generator)
        pairs = zip(
            normalized(inputs, images).chunk(share.microbatches),
            images.targets[mine].chunk(share.microbatches),
            strict=True,
        )
        yield list(pairs)


def _augmented(
    inputs: Tensor, facts: Facts, share: Share, *, batch_size: int, generator: torch.Generator
) -> Tensor:
    offsets, chosen = _draw(facts, batch_size, generator)
    if facts.shift:
        inputs = shifted(inputs, share.of(offsets).to(inputs.device), facts.shift)
    return mirrored(inputs, share.of(chosen).to(inputs.device)) if facts.mirror else inputs


def _draw(facts: Facts, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shifts of the images of an update, and which of them are mirrored.

    Both are drawn for the whole batch and in any case, so that the stream of random numbers is the
    same on every process.
    """
    offsets = torch.randint(-facts.shift, facts.shift + 1, (batch_size, 2), generator=generator)
    return offsets, torch.rand(batch_size, generator=generator) < 0.5
