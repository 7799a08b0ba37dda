"""Growth fits of whole sets of runs, over the phase of constant learning rate.

The phase ends where the training set is fitted.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.runs import (
    ITERATION,
    Stretch,
    arm_names,
    constant_rate,
    fitted_by,
    followed,
    label,
    one_per_seed,
    rests_at,
    total_distance,
)
from ultraslow.analysis.runs.arms import setting_key
from ultraslow.analysis.text import plural

from .decade_ratio import fitted_records, run_decade_ratio
from .fit import fit_growth
from .grids import ONSET_SHARE
from .late_logarithm import advantage
from .noise_models import NOISE_PARTS, fitted_noise
from .status import LATEST, LEAST_RECORDS, WEAK_SIGNAL, Progress, Settings
from .windows import window_columns

Curves = dict[str, xr.DataArray]

_LATE = (
    "decade_ratio",
    "decade_ratio_low",
    "decade_ratio_high",
    "faster_advantage",
    "slower_advantage",
)
# Of a fit, what says how its curve grows late.
_LAW = (
    *("exponent", "onset", "sigma", "clock", "reason", "noise_kind"),
    *(f"noise_{part}" for part in NOISE_PARTS),
)
LATE_GROWTH = (*_LATE, "window_low", "window_high")
# What means nothing without simulated critical values.
_CALIBRATED = ("exponent_low", "exponent_high", "detectable", "critical", "log_p_value")


def at_latest_onset(fits: xr.Dataset) -> bool:
    """Whether most seeds of an arm have the latest onset allowed, a tenth of the iterations.

    Their exponents are those of the law with this onset; with a later one they would be lower. All
    seeds share that, so that an interval across seeds does not hold it.

    Arguments:
        fits: as `fit_totals` gives them, those of the arm.

    Returns:
        Whether it is so; never on other clocks than iterations.
    """
    if not fits.sizes["node"] or (fits["clock"] != ITERATION).any():
        return False
    at_end = fits["onset"].values >= LATEST * ONSET_SHARE * fits["last"].values
    return bool(2 * at_end.sum() > at_end.size)


def falls(fits: xr.Dataset) -> bool:
    """Whether the fits of most seeds of an arm fall, by far more than their noise.

    Their exponents tell how the distance falls; a law of growth describes none of it.

    Arguments:
        fits: as `fit_totals` gives them, those of the arm.
    """
    falling = (fits["slope"].values < 0) & (fits["signal"].values >= WEAK_SIGNAL)
    return bool(2 * falling.sum() > falling.size)


def fit_totals(
    runs: dict[str, xr.Dataset], *, level: float = 0.95, progress: Progress | None = None
) -> xr.Dataset:
    """Growth fits of each run's total distance.

    Arguments:
        runs: recordings by node name.
        level: confidence level of the intervals.
        progress: called with the number of series fitted since the last call and of all.

    Returns:
        `fit_growth`'s Dataset along `node`, with `run`, `batch_size`, `seed`, `arm` (what tells
        it from others of its batch size, in words) and `repeats` (whether another run of its seed
        counts in its arm) as coordinates,
        the window's `first`, `last` and `decades`, `fitted`, the iteration at which the training
        set is fitted where that ends it, else 0; and `grown_decades`, the decades beyond the
        fitted onset τ: log10 of (last + τ)/(first + τ); `decade_ratio` with `decade_ratio_low` and
        `decade_ratio_high`, how much the last decade added compared with the one before; and
        `faster_advantage` and `slower_advantage`, by how much powers of t above and below the
        logarithm fit better than curves that have become one (`late_logarithm.Advantage`); and
        exponents of windows of a decade, as `windows.window_columns` gives them.
    """
    curves = {name: _window(total_distance(run), run).compute() for name, run in runs.items()}
    fits = _labelled(_fit(curves, Settings(level, progress=progress)), runs)
    return fits.assign(late_growth(curves, fits, level=level))


def late_growth(
    curves: Mapping[str, xr.DataArray], fits: xr.Dataset, *, level: float
) -> dict[str, tuple[str | tuple[str, ...], NDArray[np.float64]]]:
    """How each curve grows late, as columns of its fits: `LATE_GROWTH`, and its windows.

    Arguments:
        curves: distances along `iteration`, by node.
        fits: their growth fits along `node`.
        level: confidence level of the decade ratio's interval.

    Returns:
        The columns; NaN where a curve could not be fitted.
    """
    columns = {name: np.full(len(curves), np.nan) for name in _LATE}
    fits = fits[[name for name in _LAW if name in fits]]  # of many more, which are slow to choose
    for place, (name, curve) in enumerate(curves.items()):
        fit = fits.sel(node=name)
        if fitted_noise(fit) is None:
            continue
        ratio = run_decade_ratio(curve, fit, level=level)
        times, values = fitted_records(curve)
        better = advantage(times, values[None])
        found = (ratio.value, ratio.low, ratio.high, better.faster[0], better.slower[0])
        for column, value in zip(_LATE, found, strict=True):
            columns[column][place] = value
    late = {name: ("node", values) for name, values in columns.items()}
    return {**late, **window_columns(curves, fits)}


def fit_tensors(
    runs: dict[str, xr.Dataset],
    *,
    level: float = 0.95,
    intervals: bool = True,
    draws: int = 1000,
    progress: Progress | None = None,
    phases: bool = True,
) -> xr.Dataset:
    """Growth fits of each tensor's distance, run by run.

    Arguments:
        runs: recordings by node name.
        level: confidence level of the intervals.
        intervals: whether to simulate the critical values that intervals need; without, their ends
            are NaN, and fitting takes a tenth of the time.
        draws: simulated series a critical value.
        progress: called with the number of series fitted since the last call and of all.
        phases: as `fit_growth` takes it.

    Returns:
        As `fit_totals`, along `node` and `tensor`; tensors that a run does not have are missing.
    """
    curves = {
        name: _window((run["distance_sq"] ** 0.5).rename("distance"), run)
        for name, run in runs.items()
    }
    settings = Settings(level, calibrate=intervals, draws=draws, progress=progress, phases=phases)
    fits = _fit(curves, settings)
    if not intervals:
        fits = fits.assign({name: fits[name] * np.nan for name in _CALIBRATED})
    return _labelled(fits, runs)


def _window(distance: xr.DataArray, run: xr.Dataset) -> xr.DataArray:
    plain = distance.reset_coords(drop=True)
    stretch = constant_rate(run).iteration
    if not stretch.size:  # a curve without values: its fit says that there is nothing to fit
        return plain.isel(iteration=[0]).assign_coords(iteration=[1]) * np.nan
    return plain.sel(iteration=stretch)


def _fit(curves: Curves, settings: Settings, clock: str = "iteration") -> xr.Dataset:
    """Fit curves that share their axes in one call: calibration is then shared as well."""
    alike: dict[tuple, list[str]] = {}
    for name, curve in curves.items():
        axes = tuple(tuple(curve[dim].values.tolist()) for dim in map(str, curve.dims))
        alike.setdefault(axes, []).append(name)
    total = sum(curve.size // curve.sizes["iteration"] for curve in curves.values())
    report = settings.progress
    advance = None if report is None else lambda done, _: report(done, total)
    parts = []
    for names in alike.values():
        stacked = xr.concat([curves[name] for name in names], dim="node")
        stacked = stacked.assign_coords(node=list(names))
        parts.append(
            fit_growth(
                stacked,
                level=settings.level,
                clock=clock,
                learning_rate=stacked.coords.get("learning_rate"),
                calibrate=settings.calibrate,
                draws=settings.draws,
                progress=advance,
                phases=settings.phases,
            ).compute()
        )
    # Tensors that only some runs have: numbers become NaN, texts empty.
    filled = xr.align(*parts, join="outer", exclude=["node"], copy=False)
    joined = xr.concat(filled, dim="node", combine_attrs="override")
    return joined.sel(node=list(curves))


def _labelled(fits: xr.Dataset, runs: dict[str, xr.Dataset]) -> xr.Dataset:
    windows = [constant_rate(run) for run in runs.values()]
    columns = {
        "first": [int(window.iteration[0]) if window.iteration.size else 0 for window in windows],
        "last": [int(window.iteration[-1]) if window.iteration.size else 0 for window in windows],
        "decades": [window.decades for window in windows],
        "fitted": [window.fitted for window in windows],
    }
    fits = fits.assign_coords(_coordinates(runs))
    fits = fits.assign({name: ("node", np.asarray(values)) for name, values in columns.items()})
    # Without a window the reason is what the recording lacks and not that nothing was fitted.
    reasons = [_why_short(window, run) for window, run in zip(windows, runs.values(), strict=True)]
    lacking = xr.DataArray(reasons, dims="node")
    fits = fits.assign(reason=xr.where(lacking == "", fits["reason"], lacking))
    onset = fits["onset"].fillna(0.0)
    ends = [(fits[name] + onset).clip(min=1) for name in ("first", "last")]
    return fits.assign(grown_decades=np.log10(ends[1] / ends[0]))


def _coordinates(runs: dict[str, xr.Dataset]) -> dict[str, tuple[str, list]]:
    """What tells runs apart, along `node`."""
    keys = {name: setting_key(run) for name, run in runs.items()}
    distinct, names = one_per_seed(runs, keys), arm_names(runs, keys)
    found: dict[str, list] = {
        "run": [str(run.variables["run"].values) for run in runs.values()],
        "batch_size": [int(run.variables["batch_size"].values) for run in runs.values()],
        "seed": [str(label(run, "seed")) for run in runs.values()],
        "arm": [names[node] for node in runs],
        "repeats": [name not in distinct for name in runs],
    }
    return {name: ("node", values) for name, values in found.items()}


def _why_short(window: Stretch, run: xr.Dataset) -> str:
    """What the recording lacks for a fit, where that is a constant learning rate; else empty."""
    count = window.iteration.size
    records = int((run.variables["iteration"].values > 0).sum())
    if 0 < count < LEAST_RECORDS <= records and window.fitted:
        found = f"{fitted_by(window.fitted)}, after {plural(count, 'record')}"
        return f"{found}, at least {LEAST_RECORDS} are needed"
    if 0 < count < LEAST_RECORDS <= records:
        found = f"the learning rate stays constant for {plural(count, 'record')} at most"
        return f"{found}, at least {LEAST_RECORDS} are needed"
    if window.decades < 1 and (rest := rests_at(run)):
        return (
            f"the distance is 0 at iteration {rest}, where the records begin: if training does, "
            f"`ultraslow import --shift -{rest}` counts from there"
        )
    return window.reason


def fit_on(
    runs: Mapping[str, xr.Dataset],
    clock: str,
    *,
    level: float = 0.95,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Growth fits of each run's total distance on a clock, over all records of it.

    They go up to where the training set is fitted, whatever the learning rate does on the way.

    Arguments:
        runs: recordings by node name.
        clock: "iteration", "learning_rate_sum", "update_sq" or "samples".
        level: confidence level of the intervals.
        progress: called with the number of series fitted since the last call and of all.

    Returns:
        `fit_growth`'s Dataset along `node` with the coordinates of `fit_totals`, and `first`,
        `last`, `decades`, `grown_decades` and `fitted`; the decades are those of the clock. A run
        that does not hold the clock has no fit, and the reason why.
    """
    found = {name: _followed(run, clock) for name, run in runs.items()}
    settings = Settings(level, progress=progress)
    fits = _fit({name: one.distance for name, one in found.items()}, settings, clock)
    fits = fits.assign_coords(_coordinates(dict(runs)))
    ends = np.array([one.ends for one in found.values()])
    columns = {
        "first": ends[:, 0].astype(np.int64),
        "last": ends[:, 1].astype(np.int64),
        "decades": np.log10(np.maximum(ends[:, 3] / ends[:, 2], 1.0)),
        "fitted": np.array([one.fitted for one in found.values()]),
    }
    onset = fits["onset"].fillna(0.0).values
    columns["grown_decades"] = np.log10(
        np.maximum((ends[:, 3] + onset) / (ends[:, 2] + onset), 1.0)
    )
    fits = fits.assign({name: ("node", values) for name, values in columns.items()})
    lacking = xr.DataArray([one.reason for one in found.values()], dims="node")
    return fits.assign(reason=xr.where(lacking == "", fits["reason"], lacking))


class _OnClock(NamedTuple):
    """A curve on a clock: first and last iteration and reading, and why there is none, if so."""

    distance: xr.DataArray
    ends: tuple[float, float, float, float]
    fitted: int
    reason: str = ""


def _followed(run: xr.Dataset, clock: str) -> _OnClock:
    try:
        distance, fitted = followed(run, clock)
    except ValueError as error:
        empty = total_distance(run).isel(iteration=[0]) * np.nan
        empty = empty.assign_coords(iteration=[1])
        beside = {"learning_rate": ("iteration", [np.nan])}
        if clock != "iteration":
            beside[clock] = ("iteration", [1.0])
        empty = empty.assign_coords(beside)
        return _OnClock(empty, (0.0, 0.0, 1.0, 1.0), 0, str(error).removeprefix("clock: "))
    readings = distance[clock].values
    used = np.flatnonzero(np.isfinite(readings) & (readings > 0))
    if not used.size:
        return _OnClock(distance, (0.0, 0.0, 1.0, 1.0), fitted)
    ends = used[[0, -1]]
    first, last = distance["iteration"].values[ends]
    return _OnClock(distance, (first, last, *readings[ends]), fitted)
