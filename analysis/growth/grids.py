"""What series recorded at the same times share: the records used of them, and their grid.

A group of series with the same finite records shares all factorizations and all simulated critical
values, which are most of the work.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.growth.critical_values import (
    DEVIATES,
    NullRatios,
    rows_of,
    shipped_values,
)
from ultraslow.analysis.runs import ONE_THREAD
from ultraslow.diffusion.recording import log_spaced

from .family import Frame, frame
from .interval import Asymptotic, Calibrated, ExponentTest
from .noise_models import menu
from .status import MOST_MISSING, Settings

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

MOST_RECORDS = 120  # the cost grows with their square, and neighbours add little
_LEAST_EVEN = 30  # records even in ln t, below which others are added
# The exponent shall describe the last decade at least, so no onset later than its beginning. Its
# interval allows for onsets up to the last iteration, and is open where they do not end it.
ONSET_SHARE, LATEST_SHARE = 0.1, 1.0
# Records over those of the default schedule, and by how much the share of them up to some time may
# differ, for one critical value to hold for both: it differs from that simulated at the records
# themselves by 0.10 then, and with a fifth more records in one octave by 0.12.
_FEWEST, _MOST, _SHIFTED = 0.9, 1.2, 0.06
_SAME_RANGE = 0.95  # share of the range of ln t above which a series with gaps has all of it
_GRIDS = 8  # sets of times kept; one takes 6 to 25 MB
_ONE_AT_A_TIME = Lock()


def same_records(finite: NDArray[np.bool_], rows: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Series that are finite at the same times, with the indices of those times.

    Arguments:
        finite: shape (series, time).
        rows: the series to group.

    Yields:
        Row indices and time indices of each group.
    """
    if rows.size == 0:
        return
    patterns, inverse = np.unique(finite[rows], axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        yield rows[inverse.ravel() == index], np.flatnonzero(pattern)


def thinned(times: Array) -> Rows:
    """Indices of at most `MOST_RECORDS` records, as even in ln t as the times allow.

    Where most records crowd at one end few of them are even in ln t; others are then added, evenly
    in their number.

    >>> thinned(np.arange(1.0, 6.0)).tolist()
    [0, 1, 2, 3, 4]
    """
    if times.size <= MOST_RECORDS:
        return np.arange(times.size)
    clock = np.log(times)
    marks = np.linspace(clock[0], clock[-1], MOST_RECORDS)
    right = np.clip(np.searchsorted(clock, marks), 1, clock.size - 1)
    nearer_left = marks - clock[right - 1] < clock[right] - marks
    even = np.unique(right - nearer_left)
    if even.size >= _LEAST_EVEN:
        return even
    among = np.linspace(0, times.size - 1, MOST_RECORDS - even.size).round().astype(np.intp)
    return np.union1d(even, among)


@dataclass(frozen=True)
class TimeGrid:
    """What the series of one set of times share.

    Attributes:
        frame: the family, the noise menu and the lattice at these times.
        test: of exponents, at the level of the settings.
    """

    frame: Frame
    test: ExponentTest


def time_grid(times: Array, settings: Settings, iterations: Array | None = None) -> TimeGrid:
    """What the series of one set of times share, kept from one call to the next.

    Arguments:
        times: t, shape (time,), increasing and positive, iterations or readings of another clock.
        settings: how to fit.
        iterations: at the records, shape (time,), where times are another clock's.
    """
    key, onsets, beside = _bytes(times), _onsets(times, settings), _bytes(iterations)
    with _ONE_AT_A_TIME:  # threads that ask for the same grid get the same one
        if not settings.calibrate:
            return TimeGrid(_frame(key, key, onsets, beside, beside), Asymptotic(settings.level))
        given = settings.draws, settings.seed, settings.shipped
        null = _null_ratios(key, onsets, beside, *given)
    return TimeGrid(null.frame, Calibrated(settings.level, null))


def gapped_grid(
    times: Array, schedule: Array, settings: Settings, iterations: Array | None = None
) -> TimeGrid:
    """What series share that miss a few records of a schedule, calibrated on the schedule.

    Arguments:
        times: t that they have, shape (time,), iterations.
        schedule: t that they were to have, increasing and positive, iterations.
        settings: how to fit.
        iterations: of the schedule, where times are another clock's.
    """
    whole = time_grid(schedule, settings, iterations)
    own = None if iterations is None else iterations[np.isin(schedule, times)]
    onsets = _onsets(schedule, settings)
    shared = _frame(*map(_bytes, (times, schedule)), onsets, *map(_bytes, (own, iterations)))
    return TimeGrid(shared, whole.test)


def _bytes(times: Array | None) -> bytes:
    return b"" if times is None else np.asarray(times, dtype=np.float64).tobytes()


def grid_of(
    times: Array, finite: Rows, settings: Settings, iterations: Array | None
) -> tuple[TimeGrid, Rows]:
    """The grid of series that are finite at some of the times, and the records they are fitted to.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations or readings of another clock.
        finite: indices of the times at which the series are finite.
        settings: how to fit.
        iterations: at the times, shape (time,), where these are another clock's.

    A series with gaps is fitted to its own records, but its critical values are simulated as if it
    had none: they hardly differ, and many series with gaps of their own share them. One that
    begins late or ends early, or has half of the records, is calibrated by itself.
    """

    def at(rows: Rows) -> Array | None:
        return None if iterations is None else iterations[rows]

    whole = thinned(times)
    kept = np.intersect1d(whole, finite)
    if kept.size == whole.size:
        return time_grid(times[whole], settings, at(whole)), whole
    if kept.size >= (1 - MOST_MISSING) * whole.size:
        ends = times[kept[[0, -1]]]
        if np.log(ends[1] / ends[0]) >= _SAME_RANGE * np.log(times[whole[-1]] / times[whole[0]]):
            return gapped_grid(times[kept], times[whole], settings, at(whole)), kept
    kept = finite[thinned(times[finite])]
    return time_grid(times[kept], settings, at(kept)), kept


def _onsets(times: Array, settings: Settings) -> tuple[float, float, float]:
    """The smallest and largest onset of estimates and the largest of intervals, iterations."""
    known, last = settings.onset, float(times[-1])
    return (0.0, ONSET_SHARE * last, LATEST_SHARE * last) if known is None else (known,) * 3


# A sweep is fitted tensor by tensor and curve by curve at the same times, and simulating critical
# values is most of the work: the last few grids are kept. What is kept follows from the key alone,
# whatever was fitted before, so that no result depends on it.
@lru_cache(maxsize=_GRIDS)
def _frame(
    times: bytes,
    schedule: bytes,
    onsets: tuple[float, float, float],
    iterations: bytes,
    scheduled: bytes,
) -> Frame:
    own, whole = (np.frombuffer(one) if one else None for one in (iterations, scheduled))
    with ONE_THREAD:
        return frame(
            np.frombuffer(times),
            menu(np.frombuffer(schedule), whole),
            onsets=onsets[:2],
            latest=onsets[2],
            iterations=own,
        )


@lru_cache(maxsize=_GRIDS)
def _null_ratios(
    times: bytes,
    onsets: tuple[float, float, float],
    iterations: bytes,
    draws: int,
    seed: int,
    shipped: bool,
) -> NullRatios:
    shared, records = _frame(times, times, onsets, iterations, iterations), np.frombuffer(times)
    inputs = repr((times, onsets, iterations, draws, seed)).encode()
    kept, plain = rows_of(inputs, DEVIATES.size), Settings()
    usual = (onsets, draws, seed) == (_onsets(records, plain), plain.draws, plain.seed)
    table = shipped_values() if shipped and usual and not iterations else None
    if table is None or not near_default_schedule(records):
        return NullRatios(shared, draws=draws, seed=seed, kept=kept)
    known = partial(table.roots, last=float(records[-1]))
    return NullRatios(shared, draws=draws, seed=seed, kept=kept, known=known)


def near_default_schedule(times: Array) -> bool:
    """Whether records lie about where those lie that a fit uses of the default schedule.

    Their critical values are then those of the schedule, as near as two simulations of either are:
    records at checkpoints or evaluations beside those scheduled, or a few that are missing, change
    little.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.

    >>> times = log_spaced(2048)[1:].astype(float)
    >>> near_default_schedule(np.union1d(times, 2.0 ** np.arange(11)))
    True
    >>> near_default_schedule(times[times > 4])
    False
    """
    if times[0] != 1 or times[-1] != int(times[-1]):
        return False
    scheduled = log_spaced(int(times[-1]))[1:].astype(np.float64)
    scheduled = scheduled[thinned(scheduled)]
    if not _FEWEST <= times.size / scheduled.size <= _MOST:
        return False
    either = np.union1d(times, scheduled)
    passed = [np.searchsorted(one, either, side="right") / one.size for one in (times, scheduled)]
    return bool(np.abs(passed[0] - passed[1]).max() <= _SHIFTED)
