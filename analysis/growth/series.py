"""Fits of a table of series, however each was recorded.

Series with the same finite records share all factorizations and all simulated critical values;
series are dealt out to threads.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .critical_values import Asymptotic, Calibrated, CriticalValues
from .estimate import GridFit, fit_grid
from .likelihood import Frame, frame
from .maximum import Lattice, lattice
from .noise_models import NoiseModel, menu
from .status import Assessment, Facts, assess, unusable

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

MOST_RECORDS = 120  # the cost grows with their square, and neighbours add little
_LEAST_EVEN = 30  # records even in ln t, below which others are added
# The exponent shall describe the last decade at least, so no onset later than its beginning.
ONSET_SHARE = 0.1
_PORTION = 1000  # series a thread fits at a time
_GRIDS = 8  # sets of times kept; one takes 5 to 20 MB


@dataclass(frozen=True)
class Settings:
    """How series are fitted.

    Attributes:
        level: confidence level.
        onset: τ where it is known, iterations, or None to fit it.
        calibrate: whether critical values are simulated.
        draws: simulated series per critical value.
        seed: of the simulations.
        progress: called with the number of series fitted since the last call and of all, or None.
    """

    level: float = 0.95
    onset: float | None = None
    calibrate: bool = True
    draws: int = 1000
    seed: int = 0
    progress: Callable[[int, int], None] | None = None

    def onsets(self, last: float) -> tuple[float, float]:
        """The range of τ for records that end at iteration `last`."""
        return (0.0, ONSET_SHARE * last) if self.onset is None else (self.onset, self.onset)


@dataclass(frozen=True)
class SeriesFits:
    """Fits of a table of series, one entry each.

    Attributes:
        numbers: the fit; NaN, with an unbounded interval, where a series could not be fitted.
        noise: the noise model chosen, None where a series could not be fitted.
        records: how many records were used.
        assessments: status and reason.
    """

    numbers: GridFit
    noise: list[NoiseModel | None]
    records: NDArray[np.int64]
    assessments: list[Assessment]


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


def fit_table(
    times: Array, values: Array, settings: Settings, rate_changes: list[str] | None = None
) -> SeriesFits:
    """Fits of every series of a table.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (series, time), possibly NaN or infinite.
        settings: how to fit.
        rate_changes: for each series, a description of how its learning rate changed, or "".

    Returns:
        The fits.
    """
    findings = [unusable(times, row) for row in values]
    result = _unfitted([finding or Assessment("ok", "") for finding in findings])
    usable = np.flatnonzero([finding is None for finding in findings])
    changes = rate_changes or [""] * values.shape[0]
    for rows, kept in same_records(np.isfinite(values), usable):
        kept = kept[thinned(times[kept])]
        _fit_rows(result, rows, times[kept], values[np.ix_(rows, kept)], settings)
        _assess_rows(result, rows, values, settings.onsets(times[kept[-1]]), changes)
    return result


def _unfitted(assessments: list[Assessment]) -> SeriesFits:
    count = len(assessments)
    columns = {item.name: np.full(count, np.nan) for item in fields(GridFit)}
    columns["low"], columns["high"] = np.full(count, -np.inf), np.full(count, np.inf)
    columns["detectable"] = np.full(count, np.inf)
    columns["parameters"] = np.full((count, 4, 4), np.nan)
    numbers = GridFit(**columns)
    return SeriesFits(numbers, [None] * count, np.zeros(count, dtype=np.int64), assessments)


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


def grid_parts(times: Array, settings: Settings) -> tuple[Frame, Lattice, CriticalValues]:
    """What the series of one time grid share, kept from one call to the next.

    Arguments:
        times: t, shape (time,), increasing and positive, iterations.
        settings: how to fit.

    Returns:
        The frame, its lattice, and its critical values.
    """
    onsets = settings.onsets(float(times[-1]))
    key = np.asarray(times, dtype=np.float64).tobytes()
    shared, grid = _frame_and_lattice(key, onsets)
    if not settings.calibrate:
        return shared, grid, Asymptotic()
    return shared, grid, _critical_values(key, onsets, settings.draws, settings.seed)


# A sweep is fitted tensor by tensor and curve by curve at the same times, and simulating critical
# values is most of the work: the last few grids are kept. What is kept follows from the key alone,
# whatever was fitted before, so that no result depends on it.
@lru_cache(maxsize=_GRIDS)
def _frame_and_lattice(times: bytes, onsets: tuple[float, float]) -> tuple[Frame, Lattice]:
    clock = np.frombuffer(times)
    shared = frame(clock, menu(clock), onsets=onsets)
    return shared, lattice(shared)


@lru_cache(maxsize=_GRIDS)
def _critical_values(
    times: bytes, onsets: tuple[float, float], draws: int, seed: int
) -> Calibrated:
    return Calibrated(_frame_and_lattice(times, onsets)[1], draws=draws, seed=seed)


def _fit_rows(
    result: SeriesFits, rows: Rows, times: Array, values: Array, settings: Settings
) -> None:
    shared, grid, source = grid_parts(times, settings)
    threads = os.cpu_count() or 1
    portion = max(1, min(_PORTION, -(-rows.size // threads)))
    parts = [np.arange(i, min(i + portion, rows.size)) for i in range(0, rows.size, portion)]

    def fit(part: Rows) -> GridFit:
        found = fit_grid(shared, grid, values[part], level=settings.level, source=source)
        if settings.progress is not None:
            settings.progress(part.size, len(result.noise))
        return found

    # The matrices are small: threads of the linear algebra below those of the fits would only wait
    # for one another (10,000 series of 60 records took twice the processor time).
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for part, found in zip(parts, pool.map(fit, parts), strict=True):
            _store(result, rows[part], found, shared)


def _store(result: SeriesFits, rows: Rows, found: GridFit, shared: Frame) -> None:
    for item in fields(GridFit):
        getattr(result.numbers, item.name)[rows] = getattr(found, item.name)
    result.records[rows] = shared.basis.times.size
    for row, model in zip(rows, found.model, strict=True):
        result.noise[row] = shared.models[model]


def _assess_rows(
    result: SeriesFits,
    rows: Rows,
    values: Array,
    onsets: tuple[float, float],
    changes: list[str],
) -> None:
    numbers = result.numbers
    onset_high = onsets[1] if onsets[1] > onsets[0] else np.inf
    for row in rows:
        model = result.noise[row]
        result.assessments[row] = assess(
            Facts(
                low=numbers.low[row],
                high=numbers.high[row],
                slope=numbers.slope[row],
                signal=numbers.signal[row],
                onset=numbers.onset[row],
                onset_high=onset_high,
                wanders=model is not None and model.wanders,
                missing=int(np.sum(~np.isfinite(values[row]))),
                rate_change=changes[row],
            )
        )
