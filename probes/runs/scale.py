"""A smaller version of a run: network, data and length shrink together."""

import math
from dataclasses import replace

from .architectures import architecture, wide_architecture
from .config import Config


def scaled(config: Config, scale: float, *, available: int, processes: int) -> Config:
    """The run with everything that makes it dear shrunk by one factor x.

        channels of the first stage   w·√x, so that an image costs x times as much
        training images D             ⌊D·x⌉
        batch sizes M and M₀          ⌊M·x⌉, so that M/D, M/M₀ and learning rates stay
        iterations, epochs, warm-up   T·x
        images of the landscape       as batch sizes

    with every number of images rounded to a multiple of 2·processes, two images a process being
    the least that batch statistics are made of. Computing falls as x³. Microbatches and ghost
    batches shrink with their batch: a process makes as many of them as before, or fewer where
    its share has no such divisor. Wide networks and those of a factory keep their size.

    Arguments:
        config: the run at full size.
        scale: x, above 0 and at most 1, where nothing changes.
        available: training images of the set.
        processes: that train the run.

    Raises:
        ValueError: for a scale out of range.

    >>> small = scaled(Config(batch_size=1440, width=16), 0.25, available=1440, processes=2)
    >>> small.batch_size, small.samples, small.width, small.iterations
    (360, 360, 8, 100)
    """
    if not 0 < scale <= 1:
        raise ValueError(f"scale: found {scale}, expected a number above 0 and at most 1")
    if scale == 1:
        return config
    unit = 2 * processes
    batch = _images(config.batch_size, scale, unit)
    microbatch, ghost = _parts(config, batch, processes)
    return replace(
        config,
        width=_width(config, scale),
        samples=_images(config.train_size(available), scale, unit),
        batch_size=batch,
        base_batch_size=_images(config.base_batch_size, scale, unit),
        microbatch=microbatch,
        ghost_size=ghost,
        iterations=_count(config.iterations, scale),
        epochs=config.epochs * scale,
        warm_up=_count(config.warm_up, scale),
        landscape_images=_images(config.landscape_images, scale, 2 * unit),
    )


def _images(number: int, scale: float, unit: int) -> int:
    return max(unit, unit * round(number * scale / unit)) if number else 0


def _count(number: int, scale: float) -> int:
    return max(1, round(number * scale)) if number else 0


def _parts(config: Config, batch: int, processes: int) -> tuple[int, int]:
    """The sizes of a microbatch and of a ghost batch in a smaller batch."""
    share = batch // processes
    parts = _divisor(share // 2, config.microbatches(processes))
    whole = config.microbatch or config.batch_size // processes
    ghosts = _divisor(share // parts // 2, whole // config.ghost_size) if config.ghost_size else 0
    return (
        share // parts if config.microbatch else 0,
        share // parts // ghosts if ghosts else 0,
    )


def _divisor(number: int, largest: int) -> int:
    """The largest divisor of a number up to a limit of 1 or more."""
    return max(d for d in range(1, min(number, largest) + 1) if number % d == 0)


def _width(config: Config, scale: float) -> int:
    if ":" in config.model or wide_architecture(config.model) is not None:
        return config.width
    full = architecture(config.model, width=config.width).width
    return max(1, round(full * math.sqrt(scale)))
