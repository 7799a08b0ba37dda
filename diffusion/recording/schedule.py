"""At which iterations to record.

A schedule is a sorted array of integers, the same on every process because it is a pure function
of its arguments. Growth laws differ in ln t, so records are dense early and evenly spaced in ln t
after that.
"""

import numpy as np
from numpy.typing import NDArray

# Every integer up to here: rounding log-spaced times to integers would repeat and skip early
# iterations.
DENSE_UNTIL = 16
RECORDS_PER_DECADE = 25


def log_spaced(
    last: int, *, dense_until: int = DENSE_UNTIL, per_decade: int = RECORDS_PER_DECADE
) -> NDArray[np.int64]:
    """The default schedule: 0, every integer early, then even in ln t, and the last iteration.

    Arguments:
        last: last iteration of the run, T.
        dense_until: every iteration up to this one is recorded.
        per_decade: records per factor of ten after that.

    Returns:
        Increasing iterations `(record,)`, from 0 to `last`.

    Raises:
        ValueError: when an argument is out of range.

    >>> log_spaced(100, dense_until=4, per_decade=5)
    array([  0,   1,   2,   3,   4,   6,  10,  16,  25,  40,  63, 100])
    """
    if last < 0:
        raise ValueError(f"last: found {last}, expected an iteration >= 0")
    if dense_until < 1 or per_decade < 1:
        raise ValueError(
            f"dense_until, per_decade: found {dense_until}, {per_decade}, expected integers >= 1"
        )
    dense = np.arange(min(dense_until, last) + 1)
    decades = np.log10(max(last, 1))
    # Anchored at t = 1 and not at `last`, so that longer runs share the early records of shorter
    # ones.
    exponents = np.arange(int(np.floor(decades * per_decade)) + 1) / per_decade
    spaced = np.rint(10.0**exponents)
    merged = np.concatenate([dense, spaced[spaced > dense_until], [last]])
    return np.unique(merged[merged <= last]).astype(np.int64)


def every(last: int, interval: int) -> NDArray[np.int64]:
    """A uniform schedule: 0, `interval`, 2·`interval`, … and the last iteration.

    Arguments:
        last: last iteration of the run, T.
        interval: iterations between records.

    Returns:
        Increasing iterations `(record,)`, from 0 to `last`.

    Raises:
        ValueError: when an argument is out of range.

    >>> every(10, 4)
    array([ 0,  4,  8, 10])
    """
    if last < 0 or interval < 1:
        raise ValueError(f"last, interval: found {last}, {interval}, expected >= 0 and >= 1")
    return np.unique(np.append(np.arange(0, last + 1, interval), last)).astype(np.int64)
