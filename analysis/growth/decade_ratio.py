"""How much distance a decade of iterations adds, compared with the decade before.

    ρ = (d̄₀ − d̄₂) / (d̄₂ − d̄₄)

d̄ⱼ is the mean of d over a fifth of a decade around T·10^(−0.1 − j/2), T the last iteration. Past
its onset a logarithm adds as much in every decade: ρ = 1. A power t^p has 10^p, so diffusion 3.16;
what saturates has less than 1. It needs no fit, and is read off the picture.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from ultraslow.analysis.intervals import Interval, t_interval

Array = NDArray[np.float64]

DECADES = 2.2  # that records must span: two, and half a mean at each end
_HALF = 0.1  # decades to both sides over which the distance is averaged
_POINTS = 21  # of that average
_FLOOR = 1e-3  # of d(T): growth below this is none


def decade_ratio(times: Array, values: Array) -> Array:
    """ρ of distances.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (*, time).

    Returns:
        ρ, shape (*,); NaN where records span fewer than `DECADES`, are not finite, or nothing grew
        in both decades.

    >>> times = np.geomspace(1, 1e4, 200)
    >>> decade_ratio(times, np.stack([np.log(times), np.sqrt(times)])).round(2)
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


@lru_cache(maxsize=16)
def _contrasts(key: bytes) -> Array:
    """Weights of the records in what the last two decades added, shape (2, time)."""
    times = np.frombuffer(key)
    clock = np.log10(times)
    offsets = np.linspace(-_HALF, _HALF, _POINTS)
    places = clock[-1] - _HALF - np.arange(3.0)[:, None] + offsets
    weights = np.stack([np.interp(places, clock, row) for row in np.eye(times.size)], axis=-1)
    means = weights.mean(axis=1)
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
        ρ with its interval; it speaks of this trajectory and not of the next seed.
    """
    last, before = _increments(times, values) if spans(times) else (np.nan, np.nan)
    if not np.isfinite(last):
        short = f"records span fewer than {DECADES:g} decades"
        reason = "nothing grew in the last two decades" if spans(times) else short
        return Interval(float("nan"), 0.0, float("inf"), 1, name, reason)
    contrasts = _contrasts(np.asarray(times, dtype=np.float64).tobytes())
    gradient = contrasts[0] / last - contrasts[1] / before
    half = float(norm.ppf(0.5 + level / 2) * np.sqrt(gradient @ covariance @ gradient))
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
