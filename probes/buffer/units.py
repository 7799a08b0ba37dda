"""What a user declares of unequal units."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .window import Updates

Array = NDArray[np.float64]


@dataclass(frozen=True)
class UnitShares:
    """Sums over the units of one update on one process.

    Arguments:
        units: backward passes seen; NaN where the probe failed.
        weight_sq: Σ a², with a = 1 where no weight was declared.
        weight_sq_over_size: Σ a²/n, per sample; 0 where no size was declared.
        samples: Σ n; 0 where no size was declared.
    """

    units: float
    weight_sq: float
    weight_sq_over_size: float
    samples: float


class DeclaredUnits:
    """Declarations of the update in the making."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        """Start without declarations; `warn` is told when they do not match what was seen."""
        self.sized = False
        self.weighted = False
        self._warn = warn
        self._declared: list[tuple[float, float | None]] = []

    def declare(self, size: float, weight: float | None) -> None:
        """Add a unit of so many samples and such a weight.

        Raises:
            ValueError: for numbers that are not positive, or weights on some units only.
        """
        for name, value in (("size", size), ("weight", 1.0 if weight is None else weight)):
            if not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
                raise ValueError(f"{name}: found {value!r}, expected a finite number above 0")
        if self.sized and self.weighted != (weight is not None):
            raise ValueError(f"weight: found {weight}, expected a weight on all units or on none")
        self.sized, self.weighted = True, weight is not None
        self._declared.append((size, weight))

    def drop(self) -> None:
        """Forget what was declared since the last call of `take`."""
        self._declared = []

    def take(self, units: float, lost: int = 0) -> UnitShares:
        """Sums over the units declared since the last call.

        Arguments:
            units: units of the update; NaN where the probe failed.
            lost: units seen before them whose gradients were discarded.

        Returns:
            Their shares; NaN, with a warning, when another number of units was declared.
        """
        declared, self._declared = self._declared, []
        if not self.sized:
            return UnitShares(units, float(units), 0.0, 0.0)
        seen = 0 if np.isnan(units) else int(units) + lost
        if units == 0 or seen == 0 or len(declared) % seen:
            if not np.isnan(units):
                self._warn(f"{len(declared)} units were declared, {seen} were seen")
            samples = sum(size for size, _ in declared)
            return UnitShares(units, float("nan"), float("nan"), samples)
        # Several declarations a unit: microbatches whose gradients are accumulated before
        # reduction.
        merged = len(declared) // seen
        declared = declared[merged * lost :]
        samples = sum(size for size, _ in declared)
        parts = [declared[start : start + merged] for start in range(0, len(declared), merged)]
        weight_sq = sum(sum(_weight(a, merged) for _, a in part) ** 2 for part in parts)
        over_size = sum(_weight(a, merged) ** 2 / size for size, a in declared)
        return UnitShares(units, weight_sq, over_size, samples)


def _weight(declared: float | None, merged: int) -> float:
    """A microbatch's share: as declared, or an equal part of its unit's weight of 1."""
    return 1.0 / merged if declared is None else declared


def misfits(updates: Updates, batch_size: int, *, sized: bool) -> Iterator[str]:
    """What is odd about the units of updates, seen beside the batch size.

    Arguments:
        updates: over all processes.
        batch_size: samples in an update, M, as the user gave it.
        sized: whether sizes of units were declared.

    Yields:
        One sentence a misfit.
    """
    odd = np.flatnonzero(np.abs(updates.samples - batch_size) > 0.5)
    if odd.size:
        found = updates.samples[odd[0]]
        yield f"batch_size is {batch_size}, but the declared units hold {found:g} samples"
    if updates.uneven_clipping.any():
        yield (
            "gradients were clipped, or changed after the backward pass, by more than one factor, "
            "as by value or by group; clip_factor is not recorded for such updates"
        )
    uneven = np.flatnonzero(batch_size % np.fmax(updates.units, 1))
    if uneven.size and not sized:
        found = updates.units[uneven[0]]
        yield (
            f"batch_size is {batch_size}, which {found:g} equal units cannot share; declare units "
            "that are not equal with Recorder.unit"
        )


def unit_weights(
    units: Array,
    weight_sq: Array,
    weight_sq_over_size: Array,
    *,
    weighted: bool,
    sized: bool,
    batch_size: int,
) -> tuple[Array, Array]:
    """U = Σ a² and v = Σ a²/n from what was declared of the units.

    Undeclared weights are equal, a = 1/units, and arrive here as 1; undeclared sizes are equal, n
    = batch/units.

    Arguments:
        units: number of units `(update,)`.
        weight_sq: Σ a² `(update,)`.
        weight_sq_over_size: Σ a²/n `(update,)`; unused when sizes were not declared.
        weighted: whether weights were declared.
        sized: whether sizes were declared.
        batch_size: samples in an update, M.

    Returns:
        u `(update,)` and v `(update,)`; NaN where no unit was seen.
    """
    units = np.where(units > 0, units, np.nan)
    norm = 1.0 if weighted else units**2
    u = weight_sq / norm
    return u, (weight_sq_over_size / norm if sized else u * units / batch_size)
