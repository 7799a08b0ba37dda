"""What a user declares of unequal units."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class UnitShares:
    """Sums over the units of one update on one process.

    Arguments:
        units: backward passes seen.
        weight_sq: Σ a², with a = 1 where no weight was declared.
        weight_sq_over_size: Σ a²/n, per sample; 0 where no size was declared.
        samples: Σ n; 0 where no size was declared.
    """

    units: int
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
        if not size > 0 or (weight is not None and not weight > 0):
            raise ValueError(f"size, weight: found {size}, {weight}, expected numbers above 0")
        if self.sized and self.weighted != (weight is not None):
            raise ValueError(f"weight: found {weight}, expected a weight on all units or on none")
        self.sized, self.weighted = True, weight is not None
        self._declared.append((size, weight))

    def take(self, units: int) -> UnitShares:
        """Sums over the units declared since the last call.

        Arguments:
            units: backward passes seen meanwhile.

        Returns:
            Their shares; NaN, with a warning, when another number of units was declared.
        """
        declared, self._declared = self._declared, []
        if not self.sized:
            return UnitShares(units, float(units), 0.0, 0.0)
        samples = sum(size for size, _ in declared)
        if len(declared) != units:
            self._warn(f"{len(declared)} units were declared, {units} backward passes were seen")
            return UnitShares(units, float("nan"), float("nan"), samples)
        shares = [(1.0 if weight is None else weight, size) for size, weight in declared]
        return UnitShares(
            units, sum(a * a for a, _ in shares), sum(a * a / n for a, n in shares), samples
        )
