"""The settings of a growth fit, and the checks of what a fit is given."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import xarray as xr

from ultraslow.analysis.intervals import check_level

# Called with the number of series fitted since the last call and the number of all.
Progress = Callable[[int, int], None]

_LATEST = 100.0  # iterations of a known onset over the last recorded one


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
    progress: Progress | None = None


def check_fit(
    distance: xr.DataArray, settings: Settings, learning_rate: xr.DataArray | None = None
) -> None:
    """Refuse what no growth fit can be made of.

    Arguments:
        distance: d, with dimension `iteration`.
        settings: of the fit.
        learning_rate: over `iteration`, and over dimensions of `distance`.

    Raises:
        TypeError: when `distance` is no `xarray.DataArray` of real numbers.
        ValueError: when `distance` has no usable `iteration` coordinate, `learning_rate` is not
            given at its iterations, or a setting is out of range.
    """
    _check_distance(distance)
    times = distance["iteration"].values
    _check_settings(settings, float(times[-1]) if times.size else None)
    if learning_rate is not None:
        _check_learning_rate(learning_rate, distance)


def _check_distance(distance: xr.DataArray) -> None:
    if not isinstance(distance, xr.DataArray):
        raise TypeError(f"distance: found {type(distance).__name__}, expected xarray.DataArray")
    if distance.dtype.kind not in "fiu":
        raise TypeError(f"distance: found values of type {distance.dtype}, expected real numbers")
    if "iteration" not in distance.dims or "iteration" not in distance.coords:
        found = ", ".join(map(str, distance.dims)) or "none"
        raise ValueError(
            f"distance: found dimensions {found}, expected `iteration` with its values"
        )
    if distance["iteration"].dtype.kind not in "fiu":
        kind = distance["iteration"].dtype
        raise TypeError(f"distance: found `iteration` of type {kind}, expected numbers")
    times = np.asarray(distance["iteration"].values, dtype=np.float64)
    if not np.all(np.isfinite(times)) or np.any(times < 0):
        raise ValueError("distance: `iteration` holds values that are negative or not finite")
    falls = np.flatnonzero(np.diff(times) <= 0)
    if falls.size:
        before, after = times[falls[0]], times[falls[0] + 1]
        raise ValueError(
            f"distance: iteration {after:g} follows {before:g}, expected increasing iterations"
        )


def _check_settings(settings: Settings, last: float | None) -> None:
    check_level(settings.level)
    if settings.onset is not None and not 0 <= settings.onset < np.inf:
        raise ValueError(f"onset: found {settings.onset}, expected a finite value of at least 0")
    if settings.onset is not None and last is not None and settings.onset > _LATEST * last:
        # t + τ would hardly change over the records, and neither would any member of the family.
        raise ValueError(
            f"onset: found {settings.onset:g}, expected at most {_LATEST:g} times the last "
            f"iteration, {last:g}"
        )
    if not isinstance(settings.draws, Integral) or settings.draws < 200:
        raise ValueError(f"draws: found {settings.draws}, expected a whole number of 200 or more")
    if not isinstance(settings.seed, Integral) or settings.seed < 0:
        raise ValueError(f"seed: found {settings.seed}, expected a whole number of 0 or more")


def _check_learning_rate(rate: xr.DataArray, distance: xr.DataArray) -> None:
    ordered = distance.transpose(..., "iteration")
    if set(rate.dims) - set(ordered.dims) or "iteration" not in rate.dims:
        found = ", ".join(map(str, rate.dims)) or "none"
        raise ValueError(
            f"learning_rate: found dimensions {found}, expected some of {ordered.dims}"
        )
    times = distance["iteration"].values
    if not np.isin(times[times > 0], rate["iteration"].values).all():
        raise ValueError("learning_rate: expected values at every iteration of distance")
