"""Growth of a distance over iterations: the exponent of the growth family, with its interval.

    d = a + b [(t + τ)^p − 1]/p + noise

The exponent names the law: 0 is logarithmic growth, ½ diffusion, 1 ballistic motion, and a
negative one saturation. Its interval is about one trajectory, whose records depend on each other;
what other seeds would give is for `analysis.intervals.seeds`.

The way of a curve, from top to bottom of this module: `fit_growth` makes a table of all series and
follows each on its clock, iterations if nothing else is asked for; `fit_series` groups those with
the same finite records, which share all factorizations and all simulated critical values
(`grids`), and deals them out to threads; `fit_grid` finds the maxima of a group (`surface`),
inverts the test of p (`interval`), and reads off the other parameters (`family`).

References:
    Box and Tidwell (1962), Technometrics 4, 531: the transform of the regressor.
    Mainardi and Spada (2012), Rheol. Acta 51, 783, arXiv:1112.5543: the same family as the
    Jeffreys–Lomnitz law of creep.
"""

import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ultraslow.analysis.runs import (
    ON_ITERATIONS,
    ONE_THREAD,
    Results,
    SeriesClock,
    Timeline,
    in_blocks,
    series_clocks,
)
from ultraslow.diffusion.laws import growth_regressor

from .departures import at_rest, beside, find_breaks, is_shape, late_spikes, told
from .family import parameters
from .grids import ONSET_SHARE, TimeGrid, grid_of, same_records, thinned, time_grid
from .interval import Calibrated, invert
from .noise_models import NOISE_PARTS, WALKS, NoiseModel
from .status import (
    WEAK_SIGNAL,
    Assessment,
    FitOutcome,
    Progress,
    Settings,
    assess,
    check_fit,
    check_not_negative,
    unfit,
)
from .surface import standing, surface

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
Found = TypeVar("Found")

_PORTION = 1000  # series a thread fits at a time

BREAKS = ("break_at", "exponent_before", "exponent_after")
PARAMETERS = ("offset", "slope", "exponent", "onset")
_RENAMED = {"low": "exponent_low", "high": "exponent_high"}  # in the result
_APART = ("model", "parameters", "late")


def fit_growth(
    distance: xr.DataArray,
    *,
    level: float = 0.95,
    onset: float | None = None,
    learning_rate: xr.DataArray | None = None,
    clock: str | ArrayLike | xr.DataArray | None = None,
    calibrate: bool = True,
    draws: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
    phases: bool = True,
) -> xr.Dataset:
    """Growth fit of every series, with an interval for the exponent.

    d = a + b [(t + τ)^p − 1]/p, with a and b eliminated, τ and the noise model profiled, and the
    interval of p an inverted likelihood-ratio test with critical values simulated at the recorded
    times (`calibrate=True`) or taken from χ² (`False`: asymptotic, and too short by far for
    autocorrelated records).

    What is approximate: critical values are simulated at the fitted noise, with a correction for
    its being fitted that holds on average over kinds of noise, and rounded to nodes in p, τ and
    strength of signal; noise is taken as Gaussian; of more than 120 records some are passed
    over, evenly in ln t. The interval is about one trajectory.

    Arguments:
        distance: d, any unit; dimension `iteration` with its coordinate, every other dimension
            counts series. A record at iteration 0, where the distance is 0, is left out.
        level: confidence level, between 0.8 and 0.99.
        onset: τ where it is known, iterations; by default it is fitted, between 0 and a tenth of
            the last iteration, and intervals allow for onsets up to the last one.
        learning_rate: over `iteration`, and over dimensions of `distance` where it differs between
            series; a series whose rate changes is fitted on its sum Ση.
        clock: what to fit the distance against: the name of a coordinate along `iteration`, as
            "learning_rate_sum", or readings of a clock that does not fall, at each record; t, τ
            and the last iteration are then that clock's. By default it is iterations, and Ση of
            series whose rate changes: the coordinate `learning_rate_sum` where there is one, else
            the sum of `learning_rate` by trapezoids. With "iteration" such series are fitted on
            iterations, and get the status `rate_changed`.
        calibrate: whether critical values are simulated.
        draws: simulated series per critical value.
        seed: of the simulations.
        progress: called with the number of series fitted since the last call and of all.
        phases: whether p̂ is fitted to the phases of curves that jump or change their law; without,
            `exponent_before` and `exponent_after` are NaN and reasons do not name them.

    Series in chunks of Dask (`us.load(…, chunks=…)`) are fitted chunk by chunk once values are
    asked for, here or by the workers of a cluster; each chunk has all records of its series, and
    `progress` is not called.

    Returns:
        Over the dimensions of the series: `exponent`, `exponent_low`, `exponent_high` (±inf where
        unbounded), `offset`, `slope`, `onset`, `noise_model` (as text; `noise_kind`,
        `noise_length`, `noise_nugget`, `noise_power` and `noise_hurst` in parts), `sigma`,
        `status`, `reason`, `clock` (the name of what t is), `break_at` (t at which a curve jumps
        or changes its law, NaN where none does), `exponent_before` and `exponent_after` (p̂ of the
        phases that it parts), `detectable` (smallest |p| that such
        a series would tell from 0 four times out of five), `log_p_value` (of p = 0; the interval
        holds 0 where it exceeds 1 − level), `log_ratio`, `critical` (at p̂), `signal` (slope over
        its error), `records`, `parameter_covariance` (asymptotic). For a random walk, `sigma` is
        the standard deviation it gathers between the first and the last record.

    Raises:
        TypeError: when `distance` is no `xarray.DataArray` of real numbers, or `learning_rate` is
            none.
        ValueError: when `distance` is negative or has no usable `iteration` coordinate,
            `learning_rate` or `clock` is not given at its iterations, there is no such clock or it
            falls, chunks split `iteration`, or an option is out of range.

    >>> times = np.unique(np.geomspace(1, 1e4, 40).astype(int))
    >>> curve = xr.DataArray(3 + 2 * np.log(times), {"iteration": times}, ["iteration"])
    >>> fit = fit_growth(curve, calibrate=False)
    >>> bool(abs(fit.exponent) < 1e-6), fit.status.item()
    (True, 'ok')
    """
    settings = Settings(level, onset, calibrate, draws, seed, progress, phases=phases)
    check_fit(distance, settings, learning_rate)
    ordered = distance.transpose(..., "iteration")
    if ordered.chunks is not None:
        return _of_chunks(ordered, clock, learning_rate, settings)
    columns, matrix = _columns(ordered, clock, learning_rate, settings)
    shape = ordered.shape[:-1]
    data = {name: column.reshape(shape) for name, column in columns.items()}
    names = set(columns["clock"].tolist())
    unit = names.pop() if len(names) == 1 else "clock"
    return _dataset(data, matrix.reshape(*shape, *matrix.shape[1:]), ordered, settings, unit)


def _columns(
    distance: xr.DataArray,
    clock: str | ArrayLike | xr.DataArray | None,
    learning_rate: xr.DataArray | None,
    settings: Settings,
) -> tuple[dict[str, NDArray], Array]:
    """Results of all series by name, each `(series,)`, and covariances of the parameters."""
    times = np.asarray(distance["iteration"].values, dtype=np.float64)
    count = int(np.prod(distance.shape[:-1]))
    table = np.asarray(distance.values, dtype=np.float64).reshape(count, times.size)
    check_not_negative(distance)
    clocks = series_clocks(distance, clock, learning_rate)
    fits = _on_clocks(times, table, clocks, settings)
    names = [item.name for item in fields(GridFit) if item.name not in _APART]
    columns: dict[str, NDArray] = {
        _RENAMED.get(name, name): getattr(fits.numbers, name) for name in names
    }
    columns["records"] = fits.records
    columns["noise_model"] = np.array([str(m) if m else "none" for m in fits.noise], dtype=str)
    columns["noise_kind"] = np.array([m.kind if m else "none" for m in fits.noise], dtype=str)
    for part in NOISE_PARTS:
        numbers = [getattr(m, part) if m else np.nan for m in fits.noise]
        columns[f"noise_{part}"] = np.array(numbers, dtype=np.float64)
    columns["status"] = np.array([a.status for a in fits.assessments], dtype=str)
    columns["reason"] = np.array([a.reason for a in fits.assessments], dtype=str)
    columns["clock"] = np.array([one.name for one in clocks], dtype=str)
    columns |= dict(zip(BREAKS, fits.breaks, strict=True))
    return columns, fits.numbers.parameters


def _of_chunks(
    distance: xr.DataArray,
    clock: str | ArrayLike | xr.DataArray | None,
    learning_rate: xr.DataArray | None,
    settings: Settings,
) -> xr.Dataset:
    """The fits of series in chunks, each chunk once its values are asked for."""
    # What is wrong with a clock shows with any series that has all records.
    rated = () if learning_rate is None or learning_rate.chunks else learning_rate.dims
    first = {dim: slice(0, 1) for dim in distance.dims[:-1] if dim not in rated}
    some = distance.isel(first)
    some = some.copy(data=np.ones(some.shape))
    reading, rate = clock, learning_rate
    if isinstance(reading, xr.DataArray):
        reading = reading.isel(first, missing_dims="ignore")
    if rate is not None:
        rate = rate.isel(first, missing_dims="ignore")
    names = {one.name for one in series_clocks(some, reading, rate)}
    beside = {"clock": clock, "learning_rate": learning_rate}
    given = {key: part for key, part in beside.items() if isinstance(part, xr.DataArray)}
    own = None if "clock" in given else clock
    # The chunks are dealt out already.
    function = partial(_fit_block, clock=own, settings=replace(settings, progress=None, threads=1))
    found = in_blocks(distance, function, given, _RESULTS)
    matrix = found.pop("parameter_covariance")
    found["records"] = found["records"].astype(np.int64)
    unit = names.pop() if len(names) == 1 else "clock"
    return _dataset(found, matrix, distance, settings, unit)


def _fit_block(
    block: xr.DataArray,
    beside: Mapping[str, xr.DataArray],
    *,
    clock: str | ArrayLike | None,
    settings: Settings,
) -> dict[str, NDArray]:
    """Results of the series of one chunk."""
    own = beside.get("clock", clock)
    columns, matrix = _columns(block, own, beside.get("learning_rate"), settings)
    return columns | {"parameter_covariance": matrix}


@dataclass(frozen=True)
class GridFit:
    """Fits of the series of one time grid, each field of shape (series,) unless said otherwise.

    Attributes:
        exponent: p̂.
        low: lower end of its interval, −inf where unbounded.
        high: upper end, +inf where unbounded.
        late: whether an end is unbounded as onsets up to the last iteration are not excluded.
        offset: a, the distance at t + τ = 1 iteration.
        slope: b.
        onset: τ, iterations.
        sigma: σ, unit of the distance.
        signal: slope over its standard error at the maximum.
        detectable: smallest |p| that would be told from 0.
        log_ratio: likelihood ratio of p = 0.
        log_p_value: its p-value.
        critical: critical value of the likelihood ratio at p̂.
        model: index into the frame's noise menu.
        parameters: covariance of (a, b, p, τ), shape (series, 4, 4), asymptotic.
    """

    exponent: Array
    low: Array
    high: Array
    late: NDArray[np.bool_]
    offset: Array
    slope: Array
    onset: Array
    sigma: Array
    signal: Array
    detectable: Array
    log_ratio: Array
    log_p_value: Array
    critical: Array
    model: Rows
    parameters: Array


_RESULTS = Results(
    names=(
        *(_RENAMED.get(one.name, one.name) for one in fields(GridFit) if one.name not in _APART),
        *("records", "noise_model", "noise_kind"),
        *(f"noise_{part}" for part in NOISE_PARTS),
        *("status", "reason", "clock"),
        *BREAKS,
    ),
    texts=("noise_model", "noise_kind", "status", "reason", "clock"),
    matrices={"parameter_covariance": len(PARAMETERS)},
)


@dataclass(frozen=True)
class SeriesFits:
    """Fits of a table of series, one entry each.

    Attributes:
        numbers: the fit; NaN, with an unbounded interval, where a series could not be fitted.
        noise: the noise model chosen, None where a series could not be fitted.
        records: how many records were used.
        assessments: status and reason.
        breaks: t at which a curve changes, with p̂ before and after it, shape (3, series); NaN.
    """

    numbers: GridFit
    noise: list[NoiseModel | None]
    records: NDArray[np.int64]
    assessments: list[Assessment]
    breaks: Array


def _on_clocks(
    times: Array, values: Array, clocks: list[SeriesClock], settings: Settings
) -> SeriesFits:
    """Fits of a table, those of series that share a clock together."""
    alike: dict[tuple[str, bytes], list[int]] = {}
    for row, one in enumerate(clocks):
        alike.setdefault((one.name, one.values.tobytes()), []).append(row)
    result, report = _unfitted([Assessment("ok", "")] * len(values)), settings.progress
    if report is not None:  # of all series, and not of those that share a clock
        settings = replace(settings, progress=lambda done, _: report(done, len(values)))
    for rows in alike.values():
        clock, changes = clocks[rows[0]], [clocks[row].change for row in rows]
        used = clock.used(times)
        part = values[rows][:, used]
        found = fit_series(clock.values[used], part, settings, changes, clock.timeline(times))
        for item in fields(GridFit):
            getattr(result.numbers, item.name)[rows] = getattr(found.numbers, item.name)
        result.records[rows] = found.records
        result.breaks[:, rows] = found.breaks
        for row, noise, said in zip(rows, found.noise, found.assessments, strict=True):
            result.noise[row], result.assessments[row] = noise, said
    return result


def fit_series(
    times: Array,
    values: Array,
    settings: Settings,
    rate_changes: list[str] | None = None,
    timeline: Timeline = ON_ITERATIONS,
) -> SeriesFits:
    """Fits of every series of a table.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations or readings of another clock.
        values: d, shape (series, time), possibly NaN or infinite.
        settings: how to fit.
        rate_changes: for each series, a description of how its learning rate changed, or "".
        timeline: what the times are.

    Returns:
        The fits.
    """
    findings = [unfit(times, row, timeline.words) for row in values]
    result = _unfitted([finding or Assessment("ok", "") for finding in findings])
    usable = np.flatnonzero([finding is None for finding in findings])
    changes = rate_changes or [""] * values.shape[0]
    # The matrices are small: threads of the linear algebra below those of the fits would only wait
    # for one another (10,000 series of 60 records took twice the processor time).
    with ONE_THREAD:
        for rows, kept in same_records(np.isfinite(values), usable):
            whole = values[np.ix_(rows, kept)]
            spikes, rest = late_spikes(whole), at_rest(times[kept], whole)
            grid, kept = grid_of(times, kept, settings, timeline.iterations)
            used = values[np.ix_(rows, kept)]
            _fit_rows(result, rows, grid, used, settings)
            departures = _departures(
                result, rows, grid, used, timeline.words, phases=settings.phases
            )
            apart = beside(grid.frame, used, _laws(result.numbers, rows, grid))
            for row, departure, rests, spike, off in zip(
                rows, departures, rest, spikes, apart, strict=True
            ):
                outcome = _outcome(result, row, grid)._replace(
                    missing=int(np.sum(~np.isfinite(values[row]))),
                    departure=departure,
                    rests=bool(rests),
                    spikes=spike,
                    beside=off,
                    **timeline.told(changes[row])._asdict(),
                )
                result.assessments[row] = assess(outcome)
    return result


def _unfitted(assessments: list[Assessment]) -> SeriesFits:
    count = len(assessments)
    columns = {item.name: np.full(count, np.nan) for item in fields(GridFit)}
    columns["low"], columns["high"] = np.full(count, -np.inf), np.full(count, np.inf)
    columns["detectable"] = np.full(count, np.inf)
    columns["late"] = np.zeros(count, dtype=bool)
    columns["parameters"] = np.full((count, 4, 4), np.nan)
    numbers = GridFit(**columns)
    records, breaks = np.zeros(count, dtype=np.int64), np.full((3, count), np.nan)
    return SeriesFits(numbers, [None] * count, records, assessments, breaks)


def _fit_rows(
    result: SeriesFits, rows: Rows, grid: TimeGrid, values: Array, settings: Settings
) -> None:
    def fit(part: Rows) -> GridFit:
        found = fit_grid(grid, values[part])
        if settings.progress is not None:
            settings.progress(part.size, len(result.noise))
        return found

    for part, found in _dealt_out(rows.size, fit, settings.threads):
        for item in fields(GridFit):
            getattr(result.numbers, item.name)[rows[part]] = getattr(found, item.name)
        for row, model in zip(rows[part], found.model, strict=True):
            result.noise[row] = grid.frame.models[model]
    result.records[rows] = grid.frame.basis.times.size
    if isinstance(grid.test, Calibrated):
        grid.test.null.noises.clear()  # 10 MB each, while what is kept of them is small


def _laws(numbers: GridFit, rows: Rows, grid: TimeGrid) -> Array:
    """The fitted laws at the records, shape (series, time)."""
    names = ("offset", "slope", "exponent", "onset")
    offset, slope, exponent, onset = (getattr(numbers, name)[rows][:, None] for name in names)
    clock = np.log(grid.frame.basis.times + onset)
    return np.asarray(offset + slope * growth_regressor(clock, exponent))


def _dealt_out(
    count: int, fit: Callable[[Rows], Found], threads: int | None = None
) -> list[tuple[Rows, Found]]:
    """What is found of so many series, portion by portion, by threads: as many as processors."""
    threads = threads or os.cpu_count() or 1
    portion = max(1, min(_PORTION, -(-count // threads)))
    parts = [np.arange(i, min(i + portion, count)) for i in range(0, count, portion)]
    with ThreadPoolExecutor(threads) as pool:
        return list(zip(parts, pool.map(fit, parts), strict=True))


def fit_peaks(times: Array, values: Array) -> tuple[Array, Array]:
    """p̂ and the strength of the growth of series that have all records: no interval, no p-value.

    They are those of `fit_growth`, at a quarter of its cost: what simulated runs are asked for.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (series, time), finite.

    Returns:
        p̂ and the slope over its error, each of shape (series,); NaN where nothing can be fitted.
    """
    found = np.full((2, len(values)), np.nan)
    rows = np.flatnonzero([unfit(times, row) is None for row in values])
    if not rows.size:
        return found[0], found[1]

    def peaks(part: Rows) -> Array:
        return _peaks(times, values[rows[part]])

    with ONE_THREAD:
        for part, numbers in _dealt_out(rows.size, peaks):
            found[:, rows[part]] = numbers
    return found[0], found[1]


def _peaks(times: Array, values: Array) -> Array:
    """p̂ and the strength of the growth of series that can be fitted, shape (2, series)."""
    kept = thinned(times)
    shared = time_grid(times[kept], Settings(calibrate=False)).frame
    table = values[np.ix_(np.arange(len(values)), kept)]
    at = surface(shared, table / table.std(axis=1)[:, None], 0.0)  # scaled as in `fit_grid`
    return np.stack([at.peak.exponent, standing(at, at.peak).signal])


def fit_grid(grid: TimeGrid, values: Array) -> GridFit:
    """Fits of many series recorded at the same times.

    Arguments:
        grid: what they share.
        values: d, shape (series, time), finite and not constant.

    Returns:
        The fits.
    """
    # The likelihood has no unit; scaling keeps its guards against rounding in range.
    scale = values.std(axis=1)
    at = surface(grid.frame, values / scale[:, None], 0.0)
    found = invert(at, grid.test)
    sigma = found.sigma * scale
    given = parameters(grid.frame, at.peak, values, sigma)
    return GridFit(
        exponent=at.peak.exponent,
        low=found.low,
        high=found.high,
        late=found.late,
        offset=given.offset,
        slope=given.slope,
        onset=given.onset,
        sigma=sigma,
        signal=found.signal,
        detectable=found.detectable,
        log_ratio=found.log_ratio,
        log_p_value=found.log_p_value,
        critical=found.critical,
        model=at.peak.model,
        parameters=given.covariance,
    )


def _outcome(fits: SeriesFits, row: int, grid: TimeGrid) -> FitOutcome:
    numbers, noise, basis = fits.numbers, fits.noise[row], grid.frame.basis
    fitted = basis.shift_high > basis.shift_low
    return FitOutcome(
        low=numbers.low[row],
        high=numbers.high[row],
        slope=numbers.slope[row],
        signal=numbers.signal[row],
        onset=numbers.onset[row],
        late=bool(numbers.late[row]),
        onset_high=ONSET_SHARE * basis.times[-1] if fitted else np.inf,
        wanders=noise is not None and noise.kind in WALKS,
        missing=0,
        rate_change="",
    )


def _departures(
    fits: SeriesFits, rows: Rows, grid: TimeGrid, values: Array, words: str, *, phases: bool
) -> list[Assessment | None]:
    """How each curve leaves the family, if so; the exponents of its phases are kept, if asked."""
    times, result = grid.frame.basis.times, list[Assessment | None]([None] * rows.size)
    breaks = find_breaks(grid.frame, values)
    known = [
        (found.place, index, found)
        for index, found in enumerate(breaks)
        if found is not None
        and (is_shape(found) or not fits.numbers.signal[rows[index]] < WEAK_SIGNAL)
    ]
    # In order of their places: series that break at the same one share what its sides are made of.
    for place, index, found in sorted(known, key=lambda one: one[:2]):
        own, exponents = values[index], None
        fits.breaks[0, rows[index]] = times[place]
        if phases:
            sides = slice(place), slice(place, None)
            before, after = (_peak(times[side], own[None, side]) for side in sides)
            fits.breaks[1:, rows[index]] = exponents = before, after
        result[index] = told(found, times, own, words, exponents)
    return result


def _peak(times: Array, values: Array) -> float:
    """p̂ of a single series; NaN where nothing can be fitted."""
    return math.nan if unfit(times, values[0]) is not None else float(_peaks(times, values)[0, 0])


def _dataset(
    columns: Mapping[str, Any],
    matrix: Any,
    distance: xr.DataArray,
    settings: Settings,
    unit: str,
) -> xr.Dataset:
    """The fits over the dimensions of the series, with units and the settings."""
    dims = distance.dims[:-1]
    coords = {name: c for name, c in distance.coords.items() if "iteration" not in c.dims}
    table = xr.Dataset({name: (dims, column) for name, column in columns.items()}, coords)
    table["parameter_covariance"] = ((*dims, "parameter", "parameter_other"), matrix)
    table = table.assign_coords(parameter=list(PARAMETERS), parameter_other=list(PARAMETERS))
    for name in ("offset", "slope", "sigma"):
        table[name].attrs["units"] = distance.attrs.get("units", "1")
    table["onset"].attrs["units"] = unit
    return table.assign_attrs(
        law="d = offset + slope * ((t + onset)**exponent - 1) / exponent",
        level=settings.level,
        critical_values="simulated" if settings.calibrate else "asymptotic (chi-squared)",
        draws=settings.draws,
        seed=settings.seed,
    )
