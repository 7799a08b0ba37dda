"""Powers of ln t in one curve: which power it is, and whether powers of t fit better.

A distance (ln t)^q is judged against the landscape; one that goes like t^p has no q, and nothing
is there to be judged. Which of the two it is, is asked as P1 asks it (`late_logarithm`): how much
of the curve the best of either kind leaves unexplained,

    A = ln(RSS of the best power of ln t / RSS of the best power of t).

The powers of ln t are the richer family, so that where one is true A is negative on average.
"""

import math
from functools import lru_cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import DECADES, NoiseModel, noise_covariance
from ultraslow.analysis.runs import constant_rate, distances

Array = NDArray[np.float64]

# Powers of ln t from those of a smooth to those of a very rough landscape, q = 2/α, and powers of
# t. Beyond q = 4 powers of ln t fit the recordings at hand no better.
_OF_LOGARITHM = np.geomspace(0.4, 4.0, 48)
_OF_TIME = np.arange(0.05, 1.21, 0.025)
_UNITS = 40  # of the time t/τ in ln(1 + t/τ)
LATEST = 0.1  # τ at most, share of the iterations: one that is later nobody tells from a power
_ONSETS = (0.0, 0.001, 0.01)  # of powers of t, shares of the iterations
# As in `late_logarithm`: residuals wander over a tenth of the decades.
_LENGTH, _NUGGET = 0.1, 0.2
_FLOOR = 1e-12


def log_power(run: xr.Dataset) -> float:
    """The power q of d = [s·ln(1 + t/τ)]^q over the phase of constant learning rate.

    For each τ from 1 iteration on, ln d is a straight line in ln ln(1 + t/τ) with slope q; the τ
    with the least squared residuals is taken. For t < τ this is the power t^q and no logarithm: a
    run that has not gone on for `DECADES` beyond τ has not shown one, and walkers on random
    potentials are in that state for a long time.

    Arguments:
        run: a recording.

    Returns:
        q; NaN where the distance is not positive and finite, or no power of a logarithm yet.
    """
    fitted = _fitted(run)
    if fitted is None or constant_rate(run).iteration[-1] < 10**DECADES * fitted[1]:
        return math.nan
    return fitted[0]


def _fitted(run: xr.Dataset) -> tuple[float, float] | None:
    """The power q and the unit τ of the best fit; None where the distance has no logarithm."""
    stretch = constant_rate(run).iteration
    distance = distances(run)[np.isin(run.variables["iteration"].values, stretch)]
    if not (stretch.size > 3 and np.isfinite(distance).all() and (distance > 0).all()):
        return None
    log_distance = np.log(distance) - np.log(distance).mean()
    units = np.geomspace(1.0, float(stretch[-1]), 80)
    clock = np.log(np.log1p(stretch / units[:, None]))
    clock -= clock.mean(axis=1, keepdims=True)
    slopes = clock @ log_distance / (clock**2).sum(axis=1)
    residual = ((log_distance - slopes[:, None] * clock) ** 2).sum(axis=1)
    best = int(residual.argmin())
    return float(slopes[best]), float(units[best])


def power_advantage(run: xr.Dataset) -> float:
    """A of one run over its phase of constant learning rate; NaN with too few finite records.

    Arguments:
        run: a recording.
    """
    found = _whitened(run)
    if found is None:
        return math.nan
    white, logarithms, powers = found
    whole = float(white @ white)

    def unexplained(shapes: Array) -> float:
        best = float((np.maximum(shapes @ white, 0.0) ** 2).max())
        return max(whole - best, _FLOOR * whole)

    return math.log(unexplained(logarithms) / unexplained(powers))


def _whitened(run: xr.Dataset) -> tuple[Array, Array, Array] | None:
    """The distance at a constant rate in the metric of the rivals, and the shapes of both kinds.

    None with too few finite records.
    """
    stretch = constant_rate(run).iteration
    distance = distances(run)[np.isin(run.variables["iteration"].values, stretch)]
    if not (stretch.size > 5 and np.isfinite(distance).all() and np.ptp(distance) > 0):
        return None
    metric, constant, logarithms, powers = _rivals(stretch.astype(np.float64).tobytes())
    white = metric @ distance
    return white - (white @ constant) * constant, logarithms, powers


@lru_cache(maxsize=16)
def _rivals(key: bytes) -> tuple[Array, Array, Array, Array]:
    """Metric, constant in it, and the shapes of both kinds, of unit length and free of it."""
    times = np.frombuffer(key)
    last = times[-1]
    noise = NoiseModel("ar_log_t", _LENGTH * np.log(last / times[0]), _NUGGET)
    metric = np.linalg.inv(np.linalg.cholesky(noise_covariance(noise, times)))
    constant = metric @ np.ones(times.size)
    constant /= np.linalg.norm(constant)

    def shapes(curves: list[Array]) -> Array:
        white = np.stack([curve / np.ptp(curve) for curve in curves]) @ metric.T
        white -= np.outer(white @ constant, constant)
        return np.asarray(white / np.linalg.norm(white, axis=1, keepdims=True))

    units = np.geomspace(1.0, max(LATEST * last, 2.0), _UNITS)
    logarithms = [np.log1p(times / unit) ** q for unit in units for q in _OF_LOGARITHM]
    powers = [((times + share * last) / last) ** p for p in _OF_TIME for share in _ONSETS]
    return metric, constant, shapes(logarithms), shapes(powers)


def shifted_power(run: xr.Dataset) -> float:
    """The power q of d = c + s·[ln(1 + t/τ)]^q over the phase of constant learning rate.

    As `log_power`, but for a constant that is fitted as well, and with residuals of d and not of
    ln d: the first records, which decide q there, weigh little here. Of (ln t)^1.5 over 1 to 10⁴
    the one finds 1.71 and the other 1.41: apart, they show how little a curve says of q.

    Arguments:
        run: a recording.

    Returns:
        q, between 0.4 and 4; NaN with too few finite records.
    """
    found = _whitened(run)
    if found is None:
        return math.nan
    white, logarithms, _ = found
    fits = (np.maximum(logarithms @ white, 0.0) ** 2).reshape(_UNITS, -1).max(axis=0)
    best = int(fits.argmax())
    if best in (0, fits.size - 1):
        return float(_OF_LOGARITHM[best])
    below, at, above = fits[best - 1 : best + 2]
    shift = (above - below) / (2 * (2 * at - below - above))
    step = float(np.log(_OF_LOGARITHM[1] / _OF_LOGARITHM[0]))
    return float(_OF_LOGARITHM[best] * math.exp(shift * step))


def seen_after(run: xr.Dataset) -> float:
    """Iteration at which a run has gone on for `DECADES` beyond its τ; NaN as for `log_power`."""
    fitted = _fitted(run)
    return math.nan if fitted is None else fitted[1] * 10**DECADES
