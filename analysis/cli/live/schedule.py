"""How fast updates come, and when the next record is due.

Records are even in ln t, so that the next may be hours away. A recording holds no schedule; the
one that probes have by default is recognised, and of another one the next is taken to come after
as many iterations as the last, where the last few did.
"""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.diffusion.recording import log_spaced

_LONGEST = 10**9  # iterations, as probes have it
_DECADE = 10.0  # of records that the default schedule is recognised by
_EVEN = 3  # equal gaps, after which another is expected
_SECONDS = 20.0  # over which the speed is averaged at least
# A record is late when it takes half as long again as it should; evaluations take their time, and
# so do clocks of two machines.
_LATE, _SLACK = 1.5, 60.0


@dataclass(frozen=True)
class NextRecord:
    """The record that is expected.

    Attributes:
        iteration: of it; 0 where that cannot be told.
        at: when it is made, seconds since 1970; NaN where unknown.
        latest: when it should be on the disk at the latest; NaN where unknown.
    """

    iteration: int = 0
    at: float = math.nan
    latest: float = math.nan

    def overdue(self, now: float) -> bool:
        """Whether it should be there."""
        return now > self.latest


def next_iteration(recorded: NDArray[np.int64]) -> int:
    """At which iteration the next record is due.

    Arguments:
        recorded: iterations of the records, shape (record,), increasing.

    Returns:
        The iteration; 0 where the schedule is not known.

    >>> next_iteration(log_spaced(100)[:-1]), next_iteration(np.array([0, 50, 100, 150]))
    (100, 200)
    >>> next_iteration(np.array([0, 7, 40, 45]))
    0
    """
    last = int(recorded[-1])
    spaced = log_spaced(_LONGEST)
    decade = spaced[(spaced >= max(recorded[0], last / _DECADE)) & (spaced <= last)]
    if np.isin(decade, recorded).all() and last < _LONGEST:
        return int(spaced[np.searchsorted(spaced, last, side="right")])
    gaps = np.diff(recorded[-_EVEN - 1 :])
    return last + int(gaps[-1]) if gaps.size == _EVEN and np.ptp(gaps) == 0 else 0


def speed(records: xr.Dataset) -> float:
    """Updates a second, over the last records that span `_SECONDS`; NaN where unknown.

    Arguments:
        records: a recording.
    """
    if "wall_time" not in records.variables:
        return math.nan
    clock, made = (records.variables[name].values for name in ("wall_time", "iteration"))
    known = np.isfinite(clock)
    clock, made = clock[known], made[known]
    before = np.flatnonzero(clock <= clock[-1] - _SECONDS) if clock.size else np.empty(0)
    first = int(before[-1]) if before.size else 0
    if made.size < 2 or not clock[-1] > clock[first]:
        return math.nan
    return float((made[-1] - made[first]) / (clock[-1] - clock[first]))


def next_record(
    recorded: NDArray[np.int64], *, speed: float, written: float, flush_seconds: float
) -> NextRecord:
    """The record that comes after those that are on the disk.

    What is on the disk was made up to `flush_seconds` before it was written.

    Arguments:
        recorded: iterations of the records, shape (record,), increasing.
        speed: updates a second.
        written: when the last were written, seconds since 1970.
        flush_seconds: between two writings, about.
    """
    due = next_iteration(recorded)
    if not due:
        return NextRecord()
    if not speed > 0:
        return NextRecord(due)
    takes = (due - int(recorded[-1])) / speed
    return NextRecord(due, written + takes, written + _LATE * takes + 2 * flush_seconds + _SLACK)
