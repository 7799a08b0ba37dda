"""Where a run's images come from: memory, or files that are read meanwhile."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.images import (
    SPLIT_SEED,
    Arrays,
    Batch,
    Facts,
    Images,
    Share,
    listing,
    microbatches,
    normalized,
    on_device,
    shuffled,
)

from .streaming import Streamed

# Held-out images in one forward pass.
_EVALUATED_TOGETHER = 500


class Source(Protocol):
    """Normalized images and their classes, on the device of the run.

    Attributes:
        size: training images, D.
        held_out_size: held-out images.
    """

    size: int
    held_out_size: int

    def updates(self, share: Share, *, skip: int) -> Iterator[Iterable[Batch]]:
        """For each update after the first `skip`, the microbatches of one process."""

    def held_out(self, share: Share) -> Iterator[Batch]:
        """One process's share of the held-out images, in batches."""

    def sample(self, chosen: Tensor) -> Batch:
        """The training images of the given numbers, without augmentation."""

    def close(self) -> None:
        """End what reads images meanwhile; nothing is asked of the source after that."""


class InMemory:
    """An image set that lives on the device; see `Source`."""

    def __init__(self, train: Images, test: Images, known: Facts, config: Config) -> None:
        """Take the images.

        Arguments:
            train: training images.
            test: held-out images.
            known: which augmentation suits them.
            config: batch size, seed and whether to augment.
        """
        self.size = len(train)
        self.held_out_size = len(test)
        self._train = train
        self._test = test
        self._known = known if config.augment else None
        self._config = config

    def updates(self, share: Share, *, skip: int) -> Iterator[Iterable[Batch]]:
        """For each update after the first `skip`, the microbatches of one process."""
        return microbatches(
            self._train,
            self._known,
            share,
            batch_size=self._config.batch_size,
            generator=torch.Generator().manual_seed(self._config.seed),
            skip=skip,
        )

    def held_out(self, share: Share) -> Iterator[Batch]:
        """One process's share of the held-out images, in batches."""
        every = torch.arange(len(self._test), device=self._test.targets.device)
        for part in every[share.rank :: share.processes].split(_EVALUATED_TOGETHER):
            yield normalized(self._test.inputs[part], self._test), self._test.targets[part]

    def sample(self, chosen: Tensor) -> Batch:
        """The training images of the given numbers, without augmentation."""
        here = chosen.to(self._train.targets.device)
        return normalized(self._train.inputs[here], self._train), self._train.targets[here]

    def close(self) -> None:
        """Nothing is to be ended."""


def source_of(config: Config, known: Facts, arrays: Arrays | None, device: torch.device) -> Source:
    """The images of a run.

    Arguments:
        config: says which, and how many of them.
        known: of the image set.
        arrays: its images; None where they are read from their files.
        device: of the run.
    """
    if arrays is not None:
        return InMemory(*on_device(arrays, device, samples=config.samples), known, config)
    home = Path(config.data_folder)
    train = shuffled(listing(home, "train"), seed=SPLIT_SEED)
    return Streamed(train, listing(home, "test"), config, device)
