"""What laws forecast of one curve: rolling origins in log time.

A law is fitted to the records up to an origin and says what the distance will be half a decade and
a decade later. In-sample fits of a logarithm and of a small power are all but equal; a decade
ahead they are not. Origins are even in ln t, from a third of the last iteration back, as long as a
decade and a half lies before them: shorter beginnings tell no law from another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.growth import check_curve

from .laws import CANDIDATES, Candidate, fit_law

Array = NDArray[np.float64]

HALF_DECADE, DECADE = 0.5, 1.0  # how far ahead is forecast, in decades
FITTED = 1.5  # decades up to the first origin
LEAST_FITTED = 10  # records up to the first origin
LEAST_DECADES = FITTED + HALF_DECADE
_ORIGINS = 3
_AVERAGED = 0.2  # decades before the target over which the distance is averaged
_POINTS = 21
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Forecast:
    """What is forecast from where.

    Attributes:
        origin: iteration up to which a law is fitted.
        ahead: decades from there to the target.
        fitted: number of records up to the origin.
        weights: of the records in the distance at the target, shape (time,).
    """

    origin: float
    ahead: float
    fitted: int
    weights: Array


def forecasts(times: Array) -> tuple[Forecast, ...]:
    """Half a decade and a decade ahead from each origin that leaves records as far.

    The distance at a target is the mean, interpolated in ln t, over the last fifth of a decade
    before it.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.

    Returns:
        The latest origin first; none for records of less than `LEAST_DECADES` decades.

    Raises:
        ValueError: when times are not positive and increasing.

    >>> [(round(one.origin), one.ahead) for one in forecasts(np.geomspace(1, 1000, 31))]
    [(316, 0.5), (100, 0.5), (100, 1.0), (32, 0.5), (32, 1.0)]
    """
    if times.size < 2:
        return ()
    check_curve(times)
    clock = np.log10(times)
    found = []
    for back in range(1, _ORIGINS + 1):
        origin = clock[-1] - back * HALF_DECADE
        fitted = int(np.searchsorted(clock, origin + _ROUNDING, side="right"))
        if fitted < LEAST_FITTED or origin < clock[0] + FITTED - _ROUNDING:
            break
        for ahead in (HALF_DECADE, DECADE):
            if ahead <= back * HALF_DECADE:
                weights = _mean_before(clock, origin + ahead)
                found.append(Forecast(float(10**origin), ahead, fitted, weights))
    return tuple(found)


def _mean_before(clock: Array, target: float) -> Array:
    places = np.linspace(target - _AVERAGED, target, _POINTS)
    return np.array([np.interp(places, clock, row).mean() for row in np.eye(clock.size)])


def latest(asked: Sequence[Forecast]) -> dict[float, Forecast]:
    """The forecast from the latest origin, by the decades that it goes ahead."""
    return {one.ahead: one for one in reversed(asked)}


def rolling_origin(
    times: Array,
    values: Array,
    *,
    asked: Sequence[Forecast] | None = None,
    candidates: Sequence[Candidate] = CANDIDATES,
) -> dict[str, Array]:
    """How far each law's forecasts are off, run by run.

    Each law is fitted by least squares to each run up to each origin, its shapes as well.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d > 0, shape (run, time), finite.
        asked: what to forecast; by default all that `forecasts` gives.
        candidates: the laws.

    Returns:
        Forecast over actual distance less 1, shape (run, forecast), by law.

    Raises:
        ValueError: with records of less than two decades or fewer than 10 up to the first origin,
            values that are not finite or positive, or shapes that differ.
    """
    asked = forecasts(times) if asked is None else asked
    check_curves(times, values, asked)
    actual = values @ np.array([one.weights for one in asked]).T
    return {law.name: _forecast(law, times, values, asked) / actual - 1 for law in candidates}


def _forecast(law: Candidate, times: Array, values: Array, asked: Sequence[Forecast]) -> Array:
    """Distances forecast by one law, shape (run, forecast)."""
    curves = {}
    for end in {one.fitted for one in asked}:
        curves[end] = fit_law(law, times[:end], values[:, :end]).predict(law, times)
    return np.stack([curves[one.fitted] @ one.weights for one in asked], axis=1)


def check_curves(times: Array, values: Array, asked: Sequence[Forecast]) -> None:
    """Refuse curves of which nothing can be forecast.

    Raises:
        ValueError: which says what was found.
    """
    if not asked:
        span = math.log10(times[-1] / times[0]) if times.size else 0.0
        raise ValueError(
            f"times: found {times.size} records over {span:.1f} decades, expected at least "
            f"{LEAST_DECADES:g} decades and {LEAST_FITTED} records up to the first origin"
        )
    if values.ndim != 2 or values.shape[1] != times.size or not values.size:
        raise ValueError(f"values: found shape {values.shape}, expected (run, {times.size})")
    if not (np.isfinite(values) & (values > 0)).all():
        count = int((~(np.isfinite(values) & (values > 0))).sum())
        raise ValueError(f"values: found {count} that are not finite and positive, expected none")
