"""Growth of a distance over iterations: the exponent of the growth family, with its interval.

    d = a + b [(t + τ)^p − 1]/p + noise

The exponent names the law: 0 is logarithmic growth, ½ diffusion, 1 ballistic motion, and a
negative one saturation. Its interval is about one trajectory, whose records depend on each other;
what other seeds would give is for `analysis.intervals.seeds`.

References:
    Box and Tidwell (1962), Technometrics 4, 531: the transform of the regressor.
    Mainardi and Spada (2012), Rheol. Acta 51, 783, arXiv:1112.5543: the same family as the
    Jeffreys–Lomnitz law of creep.
"""

from collections.abc import Callable, Hashable
from numbers import Integral

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, norm

from ultraslow.analysis.runs import RATE_TOLERANCE
from ultraslow.diffusion.laws import growth_regressor

from .estimate import gradients
from .noise_models import NoiseModel, label
from .series import SeriesFits, Settings, fit_table

Array = NDArray[np.float64]

PARAMETERS = ("offset", "slope", "exponent", "onset")

_LATEST = 100.0  # iterations of a known onset over the last recorded one

# Name in the result: name in the numpy core.
_COLUMNS = {
    "exponent": "exponent",
    "exponent_low": "low",
    "exponent_high": "high",
    "offset": "offset",
    "slope": "slope",
    "onset": "onset",
    "sigma": "sigma",
    "signal": "signal",
    "detectable": "detectable",
    "log_ratio": "log_ratio",
    "log_p_value": "log_p_value",
    "critical": "critical",
}


def fit_growth(
    distance: xr.DataArray,
    *,
    level: float = 0.95,
    onset: float | None = None,
    learning_rate: xr.DataArray | None = None,
    calibrate: bool = True,
    draws: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
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
            the last iteration.
        learning_rate: over `iteration`, and over dimensions of `distance` where it differs between
            series; a series whose rate changes gets the status `rate_changed`.
        calibrate: whether critical values are simulated.
        draws: simulated series per critical value.
        seed: of the simulations.
        progress: called with the number of series fitted since the last call and of all.

    Returns:
        Over the dimensions of the series: `exponent`, `exponent_low`, `exponent_high` (±inf where
        unbounded), `offset`, `slope`, `onset`, `noise_model` (as text; `noise_kind`,
        `noise_length`, `noise_nugget` and `noise_power` in parts), `sigma`, `status`, `reason`,
        `detectable` (smallest |p| that such a series would tell from 0 four times out of five),
        `log_p_value` (of p = 0), `log_ratio`, `critical` (at p̂), `signal` (slope over its error),
        `records`, `parameter_covariance` (asymptotic). For a random walk, `sigma` is the standard
        deviation it gathers between the first and the last record.

    Raises:
        TypeError: when `distance` is no `xarray.DataArray` of real numbers.
        ValueError: when `distance` has no usable `iteration` coordinate, `learning_rate` is not
            given at its iterations, or an option is out of range.

    >>> times = np.unique(np.geomspace(1, 1e4, 40).astype(int))
    >>> curve = xr.DataArray(3 + 2 * np.log(times), {"iteration": times}, ["iteration"])
    >>> fit = fit_growth(curve, calibrate=False)
    >>> bool(abs(fit.exponent) < 1e-6), fit.status.item()
    (True, 'ok')
    """
    settings = Settings(level, onset, calibrate, draws, seed, progress)
    times = _iterations(distance)
    _check_options(settings, times)
    ordered = distance.transpose(..., "iteration")
    count = int(np.prod(ordered.shape[:-1]))
    table = np.asarray(ordered.values, dtype=np.float64).reshape(count, times.size)[:, times > 0]
    changes = None if learning_rate is None else _rate_changes(learning_rate, ordered)
    fits = fit_table(times[times > 0], table, settings, changes)
    return _dataset(fits, ordered, settings)


def _check_options(settings: Settings, times: Array) -> None:
    if not 0.8 <= settings.level <= 0.99:
        raise ValueError(f"level: found {settings.level}, expected a value between 0.8 and 0.99")
    if settings.onset is not None and not 0 <= settings.onset < np.inf:
        raise ValueError(f"onset: found {settings.onset}, expected a finite value of at least 0")
    if settings.onset is not None and times.size and settings.onset > _LATEST * times[-1]:
        # t + τ would hardly change over the records, and neither would any member of the family.
        raise ValueError(
            f"onset: found {settings.onset:g}, expected at most {_LATEST:g} times the last "
            f"iteration, {times[-1]:g}"
        )
    if not isinstance(settings.draws, Integral) or settings.draws < 200:
        raise ValueError(f"draws: found {settings.draws}, expected a whole number of 200 or more")
    if not isinstance(settings.seed, Integral) or settings.seed < 0:
        raise ValueError(f"seed: found {settings.seed}, expected a whole number of 0 or more")


def _iterations(distance: xr.DataArray) -> Array:
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
    return times


def _rate_changes(rate: xr.DataArray, distance: xr.DataArray) -> list[str]:
    """How the learning rate of each series changed over its finite records; "" if not."""
    extra = set(rate.dims) - set(distance.dims)
    if extra or "iteration" not in rate.dims:
        found = ", ".join(map(str, rate.dims)) or "none"
        raise ValueError(
            f"learning_rate: found dimensions {found}, expected some of {distance.dims}"
        )
    times = distance["iteration"].values
    if not np.isin(times[times > 0], rate["iteration"].values).all():
        raise ValueError("learning_rate: expected values at every iteration of distance")
    known, rates = xr.broadcast(distance, rate)
    later = {"iteration": known["iteration"] > 0}
    known, rates = (x.transpose(*distance.dims).isel(later) for x in (known, rates))
    shape = (-1, known.sizes["iteration"])
    pairs = zip(known.values.reshape(shape), rates.values.reshape(shape), strict=True)
    times = known["iteration"].values
    return [_rate_change(times, row[1], np.isfinite(row[0])) for row in pairs]


def _rate_change(times: Array, rates: Array, used: NDArray[np.bool_]) -> str:
    times, rates = times[used & np.isfinite(rates)], rates[used & np.isfinite(rates)]
    changed = np.flatnonzero(np.abs(rates - rates[:1]) > RATE_TOLERANCE * rates[:1])
    if changed.size == 0:
        return ""
    first = changed[0]
    return (
        f"the learning rate changes from {rates[0]:.4g} to {rates[first]:.4g} "
        f"by iteration {times[first]:g}"
    )


def _dataset(fits: SeriesFits, distance: xr.DataArray, settings: Settings) -> xr.Dataset:
    dims = distance.dims[:-1]
    shape = distance.shape[:-1]
    columns: dict[str, NDArray] = {
        name: getattr(fits.numbers, field) for name, field in _COLUMNS.items()
    }
    columns["records"] = fits.records
    columns["noise_model"] = np.array([label(m) if m else "none" for m in fits.noise], dtype=str)
    columns["noise_kind"] = np.array([m.kind if m else "none" for m in fits.noise], dtype=str)
    for part in ("length", "nugget", "power"):
        numbers = [getattr(m, part) if m else np.nan for m in fits.noise]
        columns[f"noise_{part}"] = np.array(numbers, dtype=np.float64)
    columns["status"] = np.array([a.status for a in fits.assessments], dtype=str)
    columns["reason"] = np.array([a.reason for a in fits.assessments], dtype=str)
    data = {name: (dims, column.reshape(shape)) for name, column in columns.items()}
    coords = {name: c for name, c in distance.coords.items() if "iteration" not in c.dims}
    table = xr.Dataset(data, coords)
    matrix = fits.numbers.parameters.reshape(*shape, len(PARAMETERS), len(PARAMETERS))
    table["parameter_covariance"] = ((*dims, "parameter", "parameter_other"), matrix)
    table = table.assign_coords(parameter=list(PARAMETERS), parameter_other=list(PARAMETERS))
    return _described(table, distance, settings)


def _described(table: xr.Dataset, distance: xr.DataArray, settings: Settings) -> xr.Dataset:
    """The dataset with units, and with the options it was made with."""
    unit = distance.attrs.get("units", "1")
    for name in ("offset", "slope", "sigma"):
        table[name].attrs["units"] = unit
    table["onset"].attrs["units"] = "iteration"
    source = "simulated" if settings.calibrate else "asymptotic (chi-squared)"
    return table.assign_attrs(
        law="d = offset + slope * ((t + onset)**exponent - 1) / exponent",
        level=settings.level,
        critical_values=source,
        draws=settings.draws,
        seed=settings.seed,
    )


def fitted_noise(fit: xr.Dataset) -> NoiseModel | None:
    """The noise model of one series' fit, for `local_shape` and `certify`.

    Arguments:
        fit: a row of what `fit_growth` returned, without dimensions of series.

    Returns:
        The model, None where the series was not fitted.
    """
    kind = str(fit["noise_kind"].item())
    if kind == "none":
        return None
    length, nugget, power = (fit[f"noise_{part}"].item() for part in ("length", "nugget", "power"))
    return NoiseModel(kind, length, nugget, power)


def growth_curve(fit: xr.Dataset, iteration: ArrayLike, *, level: float = 0.95) -> xr.Dataset:
    """The fitted curve of every series with a pointwise band.

    d(t) ± z (g'Vg)^½ (c/χ²)^½ with g the derivatives of d in (a, b, p, τ), V their covariance and
    c the calibrated critical value. The band is for the curve, not for records, and rests on a
    linear approximation; the interval of the exponent does not.

    Arguments:
        fit: as returned by `fit_growth`.
        iteration: t > 0, shape (time,), iterations.
        level: pointwise confidence level.

    Returns:
        `distance`, `low` and `high` over the dimensions of the series and `iteration`; NaN where
        the series was not fitted.

    Raises:
        ValueError: when an iteration is not positive and finite.
    """
    times = np.atleast_1d(np.asarray(iteration, dtype=np.float64))
    if times.ndim != 1 or not (np.isfinite(times).all() and np.all(times > 0)):
        raise ValueError("iteration: expected positive, finite values of shape (time,)")
    dims: tuple[Hashable, ...] = fit["exponent"].dims
    columns = [fit[name].values.reshape(-1) for name in ("offset", "slope", "exponent", "onset")]
    offset, slope, exponent, onset = columns
    log_time = np.log(times + onset[:, None])
    middle = offset[:, None] + slope[:, None] * growth_regressor(log_time, exponent[:, None])
    matrix = fit["parameter_covariance"].values.reshape(-1, 4, 4)
    towards = gradients(log_time, exponent, slope)
    variance = np.einsum("sti,sij,stj->st", towards, matrix, towards)
    inflation = fit["critical"].values.reshape(-1) / chi2.ppf(fit.attrs["level"], 1)
    half = norm.ppf((1 + level) / 2) * np.sqrt(np.maximum(variance, 0) * inflation[:, None])
    shape = (*fit["exponent"].shape, times.size)
    bands = {"distance": middle, "low": middle - half, "high": middle + half}
    data = {name: ((*dims, "iteration"), band.reshape(shape)) for name, band in bands.items()}
    coords = fit["exponent"].coords
    return xr.Dataset(data, coords).assign_coords(iteration=times).assign_attrs(level=level)
