"""What the report's figures show, as plain values: curves, bands and dots."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import (
    LEAST_SEEDS,
    candidates,
    decade_middles,
    fitted_records,
    local_shape,
    mean_decade_ratio,
)
from ultraslow.analysis.intervals import SEEDS, Interval, t_interval, t_quantile
from ultraslow.analysis.predictions.growth import told_arm
from ultraslow.analysis.runs import constant_rate, total_distance
from ultraslow.analysis.study import Study

Array = NDArray[np.float64]

# More rows cannot be read, and more series make the report slow.
TENSORS, TENSOR_SERIES = 24, 1200
_UNKNOWN = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Band:
    """A curve with an interval at each iteration, each of shape (iteration,)."""

    iteration: Array
    middle: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Dot:
    """One estimate with its interval in a dot plot.

    Attributes:
        row: place from the top.
        batch_size: M, which colours it.
        found: the estimate and its interval.
        strong: whether it is a mean.
        windows: lowest and highest of the windows of the curve; NaN without.
    """

    row: int
    batch_size: int
    found: Interval
    strong: bool = False
    windows: tuple[float, float] = (math.nan, math.nan)

    @property
    def ends(self) -> tuple[float, float]:
        """The interval; infinite where an end is unknown."""
        low, high = self.found.low, self.found.high
        return -math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high


@dataclass(frozen=True)
class DotPlot:
    """Dots and the labels of their rows; rows without a label repeat the one above."""

    dots: tuple[Dot, ...]
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Rivals:
    """What P1 weighs: the curves of an arm, the best late logarithm, and the best power of t.

    Attributes:
        name: of the arm, in words.
        word: of the verdict on P1.
        batch_size: M.
        seeds: runs.
        measured: mean over the seeds, from the lowest to the highest of them.
        logarithm: the best late logarithm of the mean, shape (iteration,).
        power: the best power of t of the mean, shape (iteration,).
        faster: whether the power is one above the logarithm, and not one that saturates.
        laws: logarithm and power in words.
        left: what each seed's best late logarithm and best power leave, % of its growth.
        misses: root mean square of that, %.
        decades: iteration and mean distance at the ends of the last two decades, shape (3, 2).
        ratio: how much the last decade added compared with the one before.
    """

    name: str
    word: str
    batch_size: int
    seeds: int
    measured: Band
    logarithm: Array
    power: Array
    faster: bool
    laws: tuple[str, str]
    left: tuple[Band, Band]
    misses: tuple[float, float]
    decades: Array
    ratio: float


def rivals(study: Study) -> Rivals | None:
    """The arm that P1's sentence is about with its two candidates; None where no arm speaks."""
    told = told_arm(study)
    if told is None:
        return None
    arm, word = told
    curves = [total_distance(study.runs[node]) for node in arm.nodes]
    shared = xr.align(*curves, join="inner")
    kept = [one.sel(iteration=slice(max(arm.first, 1), arm.last)) for one in shared]
    times = fitted_records(sum(kept[1:], start=kept[0]))[0]
    values = np.stack([one.sel(iteration=times).values for one in kept])
    faster = float(arm.curves.exponents.mean()) > 0
    of_mean = candidates(times, values.mean(axis=0), faster=faster)
    of_seeds = [candidates(times, row, faster=faster) for row in values]
    grown = 100 / np.ptp(values, axis=1)[:, None]
    left = [
        _band(times, (values - np.stack(fits)) * grown)
        for fits in ([one.logarithm for one in of_seeds], [one.power for one in of_seeds])
    ]
    misses = 100 * np.sqrt(np.mean([np.square(one.misses) for one in of_seeds], axis=0))
    middles = decade_middles(times)
    return Rivals(
        arm.name,
        word,
        arm.batch_size,
        len(arm.nodes),
        _band(times, values),
        of_mean.logarithm,
        of_mean.power,
        faster,
        of_mean.laws,
        (left[0], left[1]),
        (float(misses[0]), float(misses[1])),
        np.stack([middles, np.interp(np.log(middles), np.log(times), values.mean(axis=0))], 1),
        mean_decade_ratio(arm.ratios, level=study.level).value,
    )


def _band(times: Array, values: Array) -> Band:
    """Mean over runs, from the lowest to the highest, of values of shape (run, time)."""
    return Band(times, values.mean(axis=0), values.min(axis=0), values.max(axis=0))


_WINDOW_ENDS = ("window_low", "window_high")


def counted(study: Study, fits: xr.Dataset) -> xr.Dataset:
    """Fits of a study; runs that no arm counts are marked like those that repeat a seed."""
    sets = study.sets.values()
    kept = {name for part in sets for name in part.drawn(LEAST_SEEDS).runs}
    left = {name for part in sets for name in part.runs} - kept
    repeats = fits["repeats"].values | fits["node"].isin(list(left)).values
    return fits.assign_coords(repeats=("node", repeats))


@dataclass(frozen=True)
class Local:
    """How the exponent changes along the curves of an arm.

    Attributes:
        batch_size: M.
        arm: what tells it from others of its batch size, in words.
        seeds: runs.
        found: local exponent κ; mean of the seeds with its interval across them, or that of one
            run with the band of its own noise.
        law: mean κ of the laws fitted to them, shape (iteration,).
    """

    batch_size: int
    arm: str
    seeds: int
    found: Band
    law: Array


def local_exponents(study: Study) -> list[Local]:
    """The local exponents of each batch size, of the arm with most seeds.

    Arms of a single run are told where no arm has three.

    κ = d ln s/d ln t with s = dd/d ln t is p everywhere for t^p, and 1 + (p − 1)·t/(t + τ) for the
    law with an onset.
    """
    each = (
        _local(study, size, own) for size, own in main_fits(counted(study, study.fits)).items()
    )
    found = [one for one in each if one is not None]
    return [one for one in found if one.seeds > 1] or found


def _local(study: Study, size: int, fits: xr.Dataset) -> Local | None:
    fits = fits.isel(node=np.flatnonzero(np.isfinite(fits["exponent"].values)))
    nodes = fits["node"].values.tolist()
    if not nodes:
        return None
    of_constant_rate = [
        total_distance(study.runs[n]).sel(iteration=constant_rate(study.runs[n]).iteration)
        for n in nodes
    ]
    shared = xr.align(*(one[np.isfinite(one.values)] for one in of_constant_rate), join="inner")
    times = fitted_records(shared[0])[0]
    if times.size < _LEAST_RECORDS:
        return None
    if len(nodes) < LEAST_SEEDS:
        nodes, shared = nodes[:1], shared[:1]
    level = float(fits.attrs["level"])
    curves = [
        local_shape(times, curve.sel(iteration=times).values, fits.sel(node=node), level=level)
        for node, curve in zip(nodes, shared, strict=True)
    ]
    values = np.stack([one.shape for one in curves])
    band = Band(times, curves[0].shape, curves[0].low, curves[0].high)
    if len(nodes) > 1:
        half = t_quantile(len(nodes) - 1, level) * values.std(axis=0, ddof=1) / len(nodes) ** 0.5
        mean = values.mean(axis=0)
        band = Band(times, mean, mean - half, mean + half)
    own = fits.sel(node=nodes)
    onset = own["onset"].values[:, None]
    law = 1 + (own["exponent"].values[:, None] - 1) * times / (times + onset)
    return Local(size, str(fits["arm"].values[0]), len(nodes), band, law.mean(axis=0))


_LEAST_RECORDS = 16  # a spline a decade and two coefficients more than it needs, over ten decades


def _by_arm(fits: xr.Dataset) -> list[tuple[tuple[int, str], xr.Dataset]]:
    """Fits by batch size and arm, arms in the order in which they come."""
    pairs = zip(fits["batch_size"].values.tolist(), fits["arm"].values.tolist(), strict=True)
    places: dict[tuple[int, str], list[int]] = {}
    for place, key in enumerate(pairs):
        places.setdefault(key, []).append(place)
    ordered = sorted(places, key=lambda key: key[0])
    return [(key, fits.isel(node=places[key])) for key in ordered]


def main_fits(fits: xr.Dataset) -> dict[int, xr.Dataset]:
    """Of each batch size the fits of the arm with most seeds, one a seed; of equals the first."""
    main: dict[int, xr.Dataset] = {}
    for (size, _), members in _by_arm(fits):
        own = _distinct(members)
        if size not in main or own.sizes["node"] > main[size].sizes["node"]:
            main[size] = own
    return main


def _distinct(fits: xr.Dataset) -> xr.Dataset:
    """The fits of runs that repeat no other's seed; copies would narrow intervals across seeds."""
    return fits.isel(node=np.flatnonzero(~fits["repeats"].values))


def _mean_dot(fits: xr.Dataset, row: int, size: int) -> Dot:
    """Mean across seeds with its t interval, at the level of the fits."""
    found = t_interval(fits["exponent"].values, level=fits.attrs["level"])
    return Dot(row, size, found if found.n > 1 else _UNKNOWN, strong=True)


def largest_tensors(runs: dict[str, xr.Dataset]) -> list[str]:
    """Tensors that moved farthest at the end of their runs, in the order of the network.

    At most `TENSORS`, and fewer where their fits would be more than `TENSOR_SERIES`.
    """
    count = min(TENSORS, max(TENSOR_SERIES // len(runs), 8))
    reached: dict[str, float] = {}
    for run in runs.values():
        last = run["distance_sq"].isel(iteration=-1).values
        for name, value in zip(
            run.variables["tensor"].values.tolist(), last.tolist(), strict=True
        ):
            reached[str(name)] = max(reached.get(str(name), 0.0), value)
    chosen = set(sorted(reached, key=reached.__getitem__, reverse=True)[:count])
    return [name for name in reached if name in chosen]


def tensor_exponents(fits: xr.Dataset, tensors: Sequence[str]) -> DotPlot:
    """Exponents tensor by tensor, of each batch size the arm with most seeds, taken together."""
    main = main_fits(fits)
    dots: list[Dot] = []
    rows: list[str] = []
    for name in tensors:
        for k, (size, members) in enumerate(main.items()):
            dots.append(_pooled(members.sel(tensor=name), len(rows), size))
            rows.append(name if k == 0 else "")
    return DotPlot(tuple(dots), tuple(rows))


def _pooled(fits: xr.Dataset, row: int, size: int) -> Dot:
    """Mean across seeds with its t interval, or the runs' own intervals joined."""
    exponents = fits["exponent"].values
    known = np.isfinite(exponents)
    if known.sum() >= SEEDS:
        return _mean_dot(fits, row, size)
    if not known.any():
        return Dot(row, size, _UNKNOWN)
    low, high = fits["exponent_low"].values[known], fits["exponent_high"].values[known]
    mean, count = float(exponents[known].mean()), int(known.sum())
    return Dot(row, size, Interval(mean, float(low.min()), float(high.max()), count))


def exponent_range(dots: Sequence[Dot]) -> tuple[float, float]:
    """Room for all estimates and for the finite ends of most intervals."""
    found = [dot.found for dot in dots]
    values = [x for one in found for x in (one.value, one.low, one.high) if np.isfinite(x)]
    values += [x for dot in dots for x in dot.windows if np.isfinite(x)]
    if not values:
        return -0.5, 1.1
    low, high = np.percentile(values, [2, 98])
    return min(-0.15, max(low - 0.05, -2.0)), max(0.6, min(high + 0.05, 1.6))
