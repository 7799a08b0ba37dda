"""Log-slopes of distances and temperatures of runs, over one stretch of iterations.

The slope is dd/d ln t by least squares; a change of the unit of time leaves it alone.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.diffusion import scaling

from .arms import constant_rate, injected_noise, label, total_distance

Array = NDArray[np.float64]
Span = tuple[float, float]

# Fewer records than this in a decade do not give a slope that two neighbours do not decide.
RECORDS = 5
_ROUNDING = 1e-9  # of a distance, which is a sum of many squares


def last_decade(runs: Mapping[str, xr.Dataset]) -> Span:
    """The last decade of iterations that all runs recorded at a constant rate; (1, 0) for none."""
    stretches = [constant_rate(run).iteration for run in runs.values()]
    if not stretches or not all(item.size for item in stretches):
        return 1.0, 0.0
    first = max(int(item[0]) for item in stretches)
    last = min(int(item[-1]) for item in stretches)
    return (last / 10, float(last)) if last >= 10 * first else (1.0, 0.0)


def slope(run: xr.Dataset, span: Span) -> float:
    """Log-slope dd/d ln t of the total distance, by least squares.

    Arguments:
        run: a recording.
        span: first and last iteration t.

    Returns:
        The slope, in the unit of the distance; NaN with fewer than `RECORDS` finite records.
    """
    distance = total_distance(run)
    return line(distance["iteration"].values, distance.values, span)[0]


def positive_slope(run: xr.Dataset, span: Span) -> float:
    """As `slope`; NaN where the distance does not grow beyond rounding."""
    distance = total_distance(run)
    found, middle = line(distance["iteration"].values, distance.values, span)
    return found if found > _ROUNDING * middle else math.nan


def line(times: Array, values: Array, span: Span) -> tuple[float, float]:
    """Slope in ln t and mean of a series over a span; NaN with too few finite values."""
    inside = (times >= span[0] * (1 - 1e-9)) & (times <= span[1] * (1 + 1e-9)) & (times > 0)
    inside &= np.isfinite(values)
    if inside.sum() < RECORDS:
        return math.nan, math.nan
    clock = np.log(times[inside])
    centred = clock - clock.mean()
    return float(centred @ values[inside] / (centred @ centred)), float(values[inside].mean())


def distance_at(run: xr.Dataset, iteration: float) -> float:
    """Total distance at the last record up to an iteration."""
    distance = total_distance(run)
    known = (distance["iteration"].values <= iteration) & np.isfinite(distance.values)
    return float(distance.values[known][-1]) if known.any() else math.nan


def noise_free(run: xr.Dataset) -> bool:
    """Whether each update saw the whole training set and no noise was added."""
    size = label(run, "data_size", None)
    whole = size is not None and int(run["batch_size"].values) >= int(str(size))
    return whole and injected_noise(run) == 0


def sampling_share(run: xr.Dataset) -> float:
    """1 − M/D, the share of the noise that sampling without replacement leaves; 1 without D."""
    size = float(run["batch_size"].values)
    return float(size * scaling.noise_factor(size, _data_size(run)))


def temperature(run: xr.Dataset, span: Span) -> float:
    """Temperature of a run from its measured gradient noise.

    T = η·(S·c(M)/N + s²)/(2·(1 − m)), c(M) = 1/M or (1 − M/D)/M, with S = tr Σ averaged over the
    updates of the span and s the standard deviation of added noise.

    Arguments:
        run: a recording.
        span: first and last iteration t.

    Returns:
        T in the unit of the loss; NaN where the noise was not measured there.
    """
    trace = window_mean(run, "noise_trace", span)
    shares = scaling.noise_factor(int(run["batch_size"].values), _data_size(run))
    weights = float(run["tensor_size"].sum())
    variance = trace * float(shares) / weights + injected_noise(run) ** 2
    return constant_rate(run).rate * variance / (2 * (1 - momentum(run)))


def window_mean(run: xr.Dataset, field: str, span: Span) -> float:
    """A recorded mean over updates, summed over tensors and averaged over the updates of a span.

    Arguments:
        run: a recording.
        field: a variable of dims (iteration, tensor) whose values are means over windows.
        span: first and last iteration t; windows that end in (first, last] are used.

    Returns:
        The mean, weighted by updates; NaN where there is none.
    """
    if field not in run:
        return math.nan
    total = run[field].sum("tensor", skipna=False).values
    at = run["iteration"].values
    count = run["noise_updates"].values if "noise_updates" in run else np.diff(at, prepend=0)
    inside = (at > span[0]) & (at <= span[1]) & np.isfinite(total) & (count > 0)
    if not inside.any():
        return math.nan
    return float(np.average(total[inside], weights=count[inside]))


def rate_over_size(run: xr.Dataset) -> float:
    """η·c(M)/(1 − m), to which the temperature is proportional at equal gradient noise."""
    shares = scaling.noise_factor(int(run["batch_size"].values), _data_size(run))
    return constant_rate(run).rate * float(shares) / (1 - momentum(run))


def momentum(run: xr.Dataset) -> float:
    """Momentum coefficient m; 0 where none was recorded."""
    found = float(str(label(run, "momentum", 0.0)))
    return found if 0 <= found < 1 else 0.0


def _data_size(run: xr.Dataset) -> float | None:
    size = label(run, "data_size", None)
    if size is None:
        return None
    return max(float(str(size)), float(run["batch_size"].values))


def by_seed(runs: Mapping[str, xr.Dataset], names: Iterable[str]) -> dict[object, str]:
    """Node names by seed; runs without one have none."""
    found = {label(runs[name], "seed", None): name for name in names}
    return {seed: name for seed, name in found.items() if seed is not None}
