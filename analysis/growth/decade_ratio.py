"""How much distance a decade of iterations adds, compared with the decade before.

    ρ = (d̄₀ − d̄₂) / (d̄₂ − d̄₄)

d̄ⱼ is the mean of d over a fifth of a decade around T·10^(−0.1 − j/2), T the last iteration. Past
its onset a logarithm adds as much in every decade: ρ = 1. A power t^p has 10^p, so diffusion 3.16;
what saturates has less than 1. It needs no fit, and is read off the picture.
"""

from functools import lru_cache

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from ultraslow.analysis.intervals import Interval, t_interval

from .fit import fit_growth
from .grids import thinned
from .noise_models import fitted_noise, noise_covariance

Array = NDArray[np.float64]

DECADES = 2.2  # that records must span: two, and half a mean at each end
HALF_WIDTH = 0.1  # decades to both sides over which the distance is averaged
_POINTS = 21  # of that average
_FLOOR = 1e-3  # of d(T): growth below this is none


def decade_ratio(
    distance: xr.DataArray, *, across: str | None = None, level: float = 0.95
) -> xr.Dataset:
    """How much distance the last decade of iterations added, compared with the one before.

        ρ = (d̄₀ − d̄₂) / (d̄₂ − d̄₄)

    d̄ⱼ is the mean of d over a fifth of a decade around T·10^(−0.1 − j/2), T the last iteration.
    Past its onset a logarithm has ρ = 1 and a power t^p has 10^p, so diffusion 3.16; what
    saturates has less than 1. An onset makes ρ larger: ln(t + T/10) has 3.1, as diffusion has, so
    that ρ alone tells no law.

    Arguments:
        distance: d, any unit; dimension `iteration` with its coordinate, every other dimension
            counts series. A record at iteration 0 is left out.
        across: the dimension of seeds. Their geometric mean then has a t interval, which speaks of
            the next seed. By default every series has the interval that its own noise gives, as
            `fit_growth` finds it, by the delta method for ln ρ: it speaks of that trajectory.
        level: confidence level, between 0.8 and 0.99.

    Returns:
        Over the other dimensions: `decade_ratio`, `decade_ratio_low`, `decade_ratio_high`, and
        `reason`, why there is none; empty where there is one.

    Raises:
        TypeError: when `distance` is no `xarray.DataArray` of real numbers.
        ValueError: when `distance` has no usable `iteration` coordinate or no dimension `across`,
            or the level is out of range.

    >>> times = np.geomspace(1, 1e4, 60)
    >>> curve = xr.DataArray(2 + np.sqrt(times), {"iteration": times}, ["iteration"])
    >>> decade_ratio(curve).decade_ratio.round(2).item()
    3.16
    """
    known = [str(dim) for dim in getattr(distance, "dims", ()) if dim != "iteration"]
    if across is not None and across not in known:
        expected = f"one of {', '.join(known)}" if known else "none, as there is a single series"
        raise ValueError(f"across: found {across!r}, expected {expected}")
    fits = fit_growth(distance, level=level, calibrate=False)
    shape = tuple(fits.sizes[name] for name in known)
    found = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        at = dict(zip(known, place, strict=True))
        found[place] = run_decade_ratio(distance.isel(at), fits.isel(at), level=level)
    if across is not None:
        axis = known.index(across)
        known.remove(across)
        found = np.apply_along_axis(_mean_of, axis, found, level)
    columns = {
        "decade_ratio": [one.value for one in found.flat],
        "decade_ratio_low": [one.low for one in found.flat],
        "decade_ratio_high": [one.high for one in found.flat],
        "reason": [one.reason for one in found.flat],
    }
    kept = {
        name: (known, np.array(column).reshape(found.shape)) for name, column in columns.items()
    }
    coordinates = {name: c for name, c in fits.coords.items() if set(c.dims) <= set(known)}
    return xr.Dataset(kept, coordinates, {"level": level})


def _mean_of(found: NDArray[np.object_], level: float) -> Interval:
    known = [one for one in found if np.isfinite(one.value)]
    if len(known) > 1:
        return mean_decade_ratio([one.value for one in known], level=level)
    reason = next((one.reason for one in found if one.reason), "one series has no spread")
    value = known[0].value if known else float("nan")
    return Interval(value, 0.0, float("inf"), len(known), reason=reason)


def run_decade_ratio(curve: xr.DataArray, fit: xr.Dataset, *, level: float) -> Interval:
    """ρ of one run, with the interval that the noise of its growth fit gives.

    Arguments:
        curve: d along `iteration`.
        fit: of this curve, as `fit_growth` returns it.
        level: confidence level.

    Returns:
        ρ with its interval; NaN, and the reason, where the run could not be fitted.
    """
    noise = fitted_noise(fit)
    if noise is None:
        return Interval(float("nan"), 0.0, float("inf"), 1, reason=str(fit["reason"].item()))
    times, values = fitted_records(curve)
    covariance = float(fit["sigma"]) ** 2 * noise_covariance(noise, times)
    return decade_ratio_interval(times, values, covariance, level=level)


def fitted_records(curve: xr.DataArray) -> tuple[Array, Array]:
    """The times and values of a curve that a growth fit of it uses."""
    times = np.asarray(curve["iteration"].values, dtype=np.float64)
    known = np.flatnonzero((times > 0) & np.isfinite(curve.values))
    kept = known[thinned(times[known])]
    return times[kept], np.asarray(curve.values, dtype=np.float64)[kept]


def ratios(times: Array, values: Array) -> Array:
    """ρ of distances.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (*, time).

    Returns:
        ρ, shape (*,); NaN where records span fewer than `DECADES`, are not finite, or nothing grew
        in both decades.

    >>> times = np.geomspace(1, 1e4, 200)
    >>> ratios(times, np.stack([np.log(times), np.sqrt(times)])).round(2)
    array([1.  , 3.16])
    """
    if not spans(times):
        return np.full(values.shape[:-1], np.nan)
    last, before = _increments(times, values)
    return last / before


def spans(times: Array) -> bool:
    """Whether records span the decades that are compared."""
    return times.size > 1 and bool(np.log10(times[-1] / times[0]) >= DECADES)


def _increments(times: Array, values: Array) -> tuple[Array, Array]:
    added = values @ _contrasts(np.asarray(times, dtype=np.float64).tobytes()).T
    floor = _FLOOR * np.abs(values[..., -1])
    still = np.all(added <= floor[..., None], axis=-1)
    # Two floors would make 1, as a logarithm does.
    last = np.where(still, np.nan, np.maximum(added[..., 0], floor))
    return last, np.maximum(added[..., 1], floor)


def decade_middles(times: Array) -> Array:
    """Middles of the means that are compared, the last first: T·10^(−0.1), and decades before.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.

    Returns:
        Iterations, shape (3,).
    """
    return np.asarray(float(times[-1]) * 10.0 ** (-HALF_WIDTH - np.arange(3.0)))


def logarithm_ratio(last: float, onset: float) -> float:
    """ρ of ln(t + τ), at the middles of the means.

    Arguments:
        last: T, iterations.
        onset: τ, iterations.

    >>> round(logarithm_ratio(1000.0, 0.0), 2), round(logarithm_ratio(1000.0, 100.0), 2)
    (1.0, 3.16)
    """
    ends = np.log(decade_middles(np.array([last])) + onset)
    return float((ends[0] - ends[1]) / (ends[1] - ends[2]))


def logarithm_onset(ratio: float, last: float) -> float:
    """The onset of the logarithm that has this ρ: between 0 and the last iteration.

    Arguments:
        ratio: ρ.
        last: T, iterations.

    Returns:
        τ, iterations.

    >>> round(logarithm_onset(logarithm_ratio(1000.0, 123.0), 1000.0), 6)
    123.0
    """
    if not ratio > 1.0:
        return 0.0
    if ratio >= logarithm_ratio(last, last):
        return float(last)
    return float(brentq(lambda onset: logarithm_ratio(last, onset) - ratio, 0.0, last))


def averages(times: Array, decades: Array) -> Array:
    """Weights of the records in the means d̄ around T·10^(−0.1 − x), over a fifth of a decade.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        decades: x, before the last iteration, shape (mean,).

    Returns:
        Weights, shape (mean, time).
    """
    clock = np.log10(times)
    middles = clock[-1] - HALF_WIDTH - decades
    places = middles[:, None] + np.linspace(-HALF_WIDTH, HALF_WIDTH, _POINTS)
    weights = np.stack([np.interp(places, clock, row) for row in np.eye(times.size)], axis=-1)
    return np.asarray(weights.mean(axis=1))


@lru_cache(maxsize=16)
def _contrasts(key: bytes) -> Array:
    """Weights of the records in what the last two decades added, shape (2, time)."""
    means = averages(np.frombuffer(key), np.arange(3.0))
    return means[:-1] - means[1:]


def decade_ratio_interval(
    times: Array, values: Array, covariance: Array, *, level: float, name: str = ""
) -> Interval:
    """ρ of one run with the interval that its noise gives, by the delta method for ln ρ.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (time,).
        covariance: of the noise of the records, shape (time, time), unit of d squared.
        level: confidence level.
        name: of the run, in words.

    Returns:
        ρ with its interval; it speaks of this trajectory and not of the next seed. Where one of
        the decades added nothing, the ends are those of what each of the two added.
    """
    last, before = _increments(times, values) if spans(times) else (np.nan, np.nan)
    if not np.isfinite(last):
        short = f"records span fewer than {DECADES:g} decades"
        reason = "nothing grew in the last two decades" if spans(times) else short
        return Interval(float("nan"), 0.0, float("inf"), 1, name, reason)
    contrasts = _contrasts(np.asarray(times, dtype=np.float64).tobytes())
    deviate = float(ndtri(0.5 + level / 2))
    errors = deviate * np.sqrt(np.einsum("ij,jk,ik->i", contrasts, covariance, contrasts))
    added, floor = contrasts @ values, _FLOOR * abs(float(values[-1]))
    if added.min() <= floor:  # ln ρ has no error that is small beside it
        most = np.maximum(added + errors, floor)
        least = np.maximum(added - errors, 0.0)
        high = most[0] / before if added[1] > floor else np.inf
        return Interval(float(last / before), float(least[0] / most[1]), float(high), 1, name)
    gradient = contrasts[0] / last - contrasts[1] / before
    half = deviate * float(np.sqrt(gradient @ covariance @ gradient))
    middle = float(np.log(last / before))
    return Interval.around(middle, half, n=1, name=name).mapped(lambda value: float(np.exp(value)))


def mean_decade_ratio(ratios: ArrayLike, *, level: float, name: str = "") -> Interval:
    """Mean of ρ over seeds, with the t interval of its logarithm.

    Arguments:
        ratios: ρ of the runs of one arm, shape (seed,).
        level: confidence level.
        name: of the arm, in words.

    Returns:
        The geometric mean and its interval.

    >>> print(mean_decade_ratio([3.0, 3.2, 3.1, 3.3], level=0.95))
    3.148 [2.949, 3.360]
    """
    found = t_interval(np.log(np.asarray(ratios)), level=level, name=name)
    return found.mapped(lambda value: float(np.exp(value)))
