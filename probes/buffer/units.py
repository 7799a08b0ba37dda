"""What is known of an update's units on one process: declared by the user, seen by the tap."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ultraslow.probes.gradients import Inputs

Array = NDArray[np.float64]
_NAN = float("nan")
_NOTHING = Inputs()


class UnitShares(NamedTuple):
    """Sums over the units of one update on one process.

    Arguments:
        units: backward passes seen; NaN where the probe failed.
        share: Σ a, with a = 1 where no weight was declared.
        weight_sq: Σ a².
        weight_sq_over_size: Σ a²/n, per sample; 0 where no size was declared.
        samples: Σ n; 0 where no size was declared.
        sized: units whose size was declared.
        weighted: units whose weight was declared.
        forwards: forward passes of the model; NaN where they are not one a unit.
        rows: Σ r over forward passes, r the rows of the input: the length of its first dimension.
        over_rows: Σ 1/r.
        tokens: Σ of the first two dimensions' product, for inputs that may count tokens.
        over_tokens: Σ of its inverse.
        joint: passes that are none of their own: a second one after one forward pass.
        changes: times that gradients were changed between the last pass and the step; NaN where
            that is not known.
    """

    units: float
    share: float
    weight_sq: float
    weight_sq_over_size: float = 0.0
    samples: float = 0.0
    sized: float = 0.0
    weighted: float = 0.0
    forwards: float = _NAN
    rows: float = _NAN
    over_rows: float = _NAN
    tokens: float = _NAN
    over_tokens: float = _NAN
    joint: float = 0.0
    changes: float = _NAN

    def columns(self) -> tuple[float, ...]:
        """The sums in their order."""
        return tuple(self)


UNIT_COLUMNS = UnitShares._fields


class DeclaredUnits:
    """Declarations of the update in the making."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        """Start without declarations; `warn` is told when they do not match what was seen."""
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
        if self._declared and self._weighted != (weight is not None):
            raise ValueError(
                f"weight: found {weight}, expected a weight on all units of an update or on none"
            )
        self._declared.append((size, weight))

    def drop(self) -> None:
        """Forget what was declared since the last call of `take`."""
        self._declared = []

    def take(
        self,
        units: float,
        lost: int = 0,
        seen: Inputs = _NOTHING,
        changes: float = _NAN,
    ) -> UnitShares:
        """Sums over the units declared since the last call.

        Arguments:
            units: units of the update; NaN where the probe failed.
            lost: units seen before them whose gradients were discarded.
            seen: of their inputs.
            changes: of gradients.

        Returns:
            Their shares; NaN, with a warning, when another number of units was declared.
        """
        if not self._declared:
            # As floats all, as many of them are made into one tensor.
            ones = float(units)
            return UnitShares(ones, ones, ones, 0.0, 0.0, 0.0, 0.0, *seen, changes)
        weighted = self._weighted
        declared, self._declared = self._declared, []
        passes = 0 if np.isnan(units) else int(units) + lost
        if units == 0 or passes == 0 or len(declared) % passes:
            if not np.isnan(units):
                self._warn(f"{len(declared)} units were declared, {passes} were seen")
            samples = sum(size for size, _ in declared)
            return UnitShares(units, _NAN, _NAN, _NAN, samples, float(units), changes=changes)
        # Several declarations a unit: microbatches whose gradients are accumulated before
        # reduction.
        merged = len(declared) // passes
        declared = declared[merged * lost :]
        parts = [declared[start : start + merged] for start in range(0, len(declared), merged)]
        shares = [sum(_weight(a, merged) for _, a in part) for part in parts]
        return UnitShares(
            units,
            share=sum(shares),
            weight_sq=sum(share**2 for share in shares),
            weight_sq_over_size=sum(_weight(a, merged) ** 2 / size for size, a in declared),
            samples=sum(size for size, _ in declared),
            sized=units,
            weighted=units if weighted else 0.0,
            changes=changes,
            **seen._asdict(),
        )

    @property
    def _weighted(self) -> bool:
        return bool(self._declared) and self._declared[0][1] is not None


def _weight(declared: float | None, merged: int) -> float:
    """A microbatch's share: as declared, or an equal part of its unit's weight of 1."""
    return 1.0 / merged if declared is None else declared
