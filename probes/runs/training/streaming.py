"""Large images, read from their files by worker processes while the network trains.

An epoch is a permutation of the images, the same on every process; each reads its own share.
What augmentation does to an image depends on the seed and on its place in the run alone, so that
neither the number of processes nor that of workers changes it, and a run that goes on from a
checkpoint sees what it would have seen.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.images import Batch, Listing, Share, opened
from ultraslow.probes.runs.images.batches import batches

from .workers import Loader, loaded, loader

Box = tuple[float, float, float, float]

# Part of an image's area, and ratio of width to height, that a random crop may have.
_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)
_TRIES = 10
# Part of the shorter side that the crop of a held-out image has: 224 of 256 pixels.
_CENTRE = 224 / 256
_EVALUATED_TOGETHER = 128
# Training images from which mean and deviation of the channels are taken.
_SAMPLE = 512
_SAMPLE_SEED = 20170524
_PLAIN = -1


def random_box(width: int, height: int, rng: np.random.Generator) -> Box:
    """The box of a random crop: 8 to 100 % of the area, its sides at 3:4 to 4:3.

    Arguments:
        width: of the image, in pixels.
        height: of the image, in pixels.
        rng: draws the box.

    Returns:
        Left, top, right and bottom; the central square where ten draws do not fit.

    References:
        Szegedy et al. (2015), Going deeper with convolutions, section 6, for area and ratio.
    """
    for _ in range(_TRIES):
        area = width * height * rng.uniform(*_AREA)
        ratio = math.exp(rng.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    return central_box(width, height, 1.0)


def central_box(width: int, height: int, part: float) -> Box:
    """The box of a square in the middle, its side a part of the shorter one.

    >>> central_box(300, 200, 0.5)
    (100.0, 50.0, 200.0, 150.0)
    """
    half = min(width, height) * part / 2
    return width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half


class Files(Dataset[tuple[Tensor, int]]):
    """Image files as bytes `(channel, height, width)` with their classes.

    A key is the number of a file and the number of a draw, which decides the crop and whether the
    image is mirrored; draw -1 stands for the central crop.
    """

    def __init__(self, listing: Listing, size: int, seed: int) -> None:
        """Name the files; none is opened.

        Arguments:
            listing: of the files.
            size: pixels of a side after cropping.
            seed: of the draws.
        """
        self._listing = listing
        self._size = size
        self._seed = seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        """One image.

        Raises:
            ValueError: naming a file that is no readable image.
        """
        index, draw = key
        with opened(self._listing.paths[index]) as image:
            pixels = self._cropped(image.convert("RGB"), draw)
        return torch.from_numpy(pixels), self._listing.labels[index]

    def _cropped(self, image: Image.Image, draw: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, draw]) if draw != _PLAIN else None
        box = random_box(*image.size, rng) if rng else central_box(*image.size, _CENTRE)
        small = image.resize((self._size, self._size), Image.Resampling.BILINEAR, box=box)
        pixels = np.asarray(small).transpose(2, 0, 1)
        mirrored = rng is not None and rng.random() < 0.5
        return np.ascontiguousarray(pixels[:, :, ::-1] if mirrored else pixels)


class Microbatches:
    """The keys of one process's microbatches, update after update, without end."""

    def __init__(self, size: int, batch_size: int, share: Share, *, seed: int, skip: int) -> None:
        """Declare what is read.

        Arguments:
            size: training images.
            batch_size: samples in an update, M.
            share: this process's part of it.
            seed: of the permutations.
            skip: updates to leave out.
        """
        self._size = size
        self._batch_size = batch_size
        self._share = share
        self._seed = seed
        self._skip = skip

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """The keys of each microbatch."""
        generator = torch.Generator().manual_seed(self._seed)
        for update, batch in enumerate(batches(self._size, self._batch_size, generator)):
            if update < self._skip:
                continue
            draws = torch.arange(len(batch)) + update * self._batch_size
            mine = self._share.of(torch.stack([batch, draws], dim=1))
            for part in mine.chunk(self._share.microbatches):
                yield [(index, draw) for index, draw in part.tolist()]


class Streamed:
    """An image set that is read while it is used; see `sources.Source`."""

    def __init__(
        self, train: Listing, test: Listing, config: Config, device: torch.device
    ) -> None:
        """Look at a sample of the training images for mean and deviation of the channels.

        Arguments:
            train: training files.
            test: held-out files.
            config: says how they are cropped, in which order they come and how many workers read.
            device: where batches go.
        """
        self._train = Files(train, config.image_size, config.seed)
        self._test = Files(test, config.image_size, config.seed)
        self._config = config
        self._device = device
        self._held_out: dict[Share, Loader] = {}
        self.size = config.train_size(len(train.paths))
        self.held_out_size = len(test.paths)
        rng = np.random.default_rng(_SAMPLE_SEED)
        chosen = rng.permutation(self.size)[:_SAMPLE].tolist()
        images = torch.stack([self._train[index, _PLAIN][0] for index in chosen]).double()
        deviation, mean = torch.std_mean(images, dim=(0, 2, 3), correction=0)
        self._mean = mean.float()[:, None, None].to(device)
        self._deviation = deviation.clamp_min(1.0).float()[:, None, None].to(device)

    def updates(self, share: Share, *, skip: int) -> Iterator[Iterator[Batch]]:
        """For each update, the microbatches of one process, read ahead of their use."""
        config = self._config
        keys = Microbatches(self.size, config.batch_size, share, seed=config.seed, skip=skip)
        train = self._train if config.augment else _Plain(self._train)
        read = loaded(self._loader(train, keys))
        while True:
            yield (self._ready(*next(read)) for _ in range(share.microbatches))

    def held_out(self, share: Share) -> Iterator[Batch]:
        """This process's share of the held-out images, in batches.

        Its workers are kept for the next evaluation.
        """
        if share not in self._held_out:
            self._held_out[share] = self._loader(self._test, self._held_out_keys(share))
        for inputs, targets in loaded(self._held_out[share]):
            yield self._ready(inputs, targets)

    def _held_out_keys(self, share: Share) -> list[list[tuple[int, int]]]:
        mine = range(self.held_out_size)[share.rank :: share.processes]
        return [
            [(index, _PLAIN) for index in mine[start : start + _EVALUATED_TOGETHER]]
            for start in range(0, len(mine), _EVALUATED_TOGETHER)
        ]

    def sample(self, chosen: Tensor) -> Batch:
        """The training images of the given numbers, centrally cropped."""
        pairs = [self._train[index, _PLAIN] for index in chosen.tolist()]
        return self._ready(
            torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs])
        )

    def close(self) -> None:
        """End the workers that were kept."""
        self._held_out.clear()

    def _loader(self, files: Dataset[tuple[Tensor, int]], keys: object) -> Loader:
        pinned = self._device.type == "cuda"
        return loader(files, keys, workers=self._config.workers, pinned=pinned)

    def _ready(self, inputs: Tensor, targets: Tensor) -> Batch:
        values = (inputs.to(self._device).float() - self._mean) / self._deviation
        return values.contiguous(memory_format=torch.channels_last), targets.to(self._device)


class _Plain(Dataset[tuple[Tensor, int]]):
    """Files without augmentation, whatever is drawn."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        return self._files[key[0], _PLAIN]
