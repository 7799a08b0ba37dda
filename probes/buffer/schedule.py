"""When to record, as a recorder asks it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ultraslow.diffusion.recording import log_spaced

# The default schedule must not end before the run does.
_LAST = 10**9


@dataclass(frozen=True)
class Schedule:
    """Iterations to record at, and whether the user chose them."""

    iterations: frozenset[int]
    last: int

    def due(self, iteration: int) -> bool:
        """Whether to record now."""
        return iteration in self.iterations

    def beyond(self, iteration: int) -> bool:
        """Whether the user asked for records after this iteration."""
        return self.last > iteration


def schedule_of(iterations: Sequence[int] | NDArray[np.integer] | None) -> Schedule:
    """The schedule of increasing iterations; log-spaced without end when None.

    Raises:
        ValueError: for anything else.
    """
    if iterations is None:
        return Schedule(frozenset(log_spaced(_LAST).tolist()), 0)
    asked = np.asarray(iterations)
    fits = asked.ndim == 1 and (asked.dtype.kind in "iu" or not asked.size)
    if not fits or np.any(np.diff(asked) <= 0) or np.any(asked < 0):
        raise ValueError(f"schedule: found {iterations!r}, expected increasing integers, >= 0")
    return Schedule(frozenset(asked.tolist()), int(asked[-1]) if asked.size else 0)


def sparse() -> Schedule:
    """The default schedule of what is expensive: 0 and five a decade, without end."""
    return Schedule(frozenset(log_spaced(_LAST, dense_until=1, per_decade=5).tolist()), 0)
