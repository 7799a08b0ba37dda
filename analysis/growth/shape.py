"""The fitted curve, and the local shape of a curve: how its slope in ln t changes along it.

With L = ln t and s = dd/dL the local slope, κ = d ln s/dL is 0 for a logarithm, p for a power t^p,
(q − 1)/L for (ln t)^q, and falls without bound for saturation. A flat κ is a power law; a drifting
one names what mimics it: an onset decays to 0 as 1/(1 + t/τ).

The curve is smoothed by a cubic spline in ln t with few pieces, fitted by generalized least
squares with the noise of the growth fit, and the band is simultaneous: it holds the spline's whole
κ with the stated probability. What the spline is too stiff to follow is not in the band.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline
from scipy.special import chdtri, ndtri

from ultraslow.analysis.intervals import check_level, t_quantile
from ultraslow.diffusion.laws import growth_regressor

from .family import curve_gradients
from .grids import thinned
from .noise_models import (
    NoiseModel,
    fitted_noise,
    handicap,
    menu,
    noise_covariance,
    noise_of,
    wandering,
)
from .status import check_curve

Array = NDArray[np.float64]

_DEGREE = 3
# Below this many standard errors the slope's sign is in doubt, and κ, its logarithmic derivative,
# has no meaning and no finite spread.
_LEAST_SLOPE = 4.0
_SHAPE = ("slope", "exponent", "onset")
_PLAUSIBLE = 3.0  # log-likelihood below the best noise model's


@dataclass(frozen=True)
class LocalShape:
    """κ along a curve with simultaneous bands, each field of shape (time,).

    Attributes:
        times: t, iterations.
        shape: κ; NaN where the slope is not told from 0.
        low: lower edge of its band.
        high: upper edge.
        slope: s = dd/d ln t, unit of the distance.
        slope_low: lower edge of the slope's band.
        slope_high: upper edge.
        reason: where κ is missing and why, or empty.
    """

    times: Array
    shape: Array
    low: Array
    high: Array
    slope: Array
    slope_low: Array
    slope_high: Array
    reason: str


def _model(noise: object) -> NoiseModel:
    """The model of the noise, its own or that of a fit."""
    found = fitted_noise(noise) if isinstance(noise, xr.Dataset) else noise
    if found is None:
        raise ValueError("noise: found the fit of a curve that could not be fitted")
    if not isinstance(found, NoiseModel):
        kind = type(noise).__name__
        raise TypeError(f"noise: found {kind}, expected the curve's fit, as `fit_growth` gives it")
    return found


def local_shape(
    times: ArrayLike,
    values: ArrayLike,
    noise: NoiseModel | xr.Dataset,
    *,
    pieces: int | None = None,
    level: float = 0.95,
    draws: int = 2000,
    rng: np.random.Generator | None = None,
) -> LocalShape:
    """How the slope of a distance in ln t changes along the curve, whatever its law.

    With s = dd/d ln t the local slope, κ = d ln s/d ln t is 0 for a logarithm, p for a power t^p,
    and falls without bound for saturation. The edges of its band are κ̂ ± m·se, with m the `level`
    quantile of the largest standardized error over all times in draws from the distribution of the
    spline's coefficients: the band holds the whole of κ with that probability.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (time,), finite.
        noise: the curve's growth fit, as `fit_growth` gives it, whose noise is taken; or a model
            of the noise.
        pieces: of the spline; by default one a decade and at least one.
        level: confidence level of the whole band.
        draws: simulated coefficient vectors.
        rng: source of random numbers; by default the same at every call.

    Returns:
        κ and the slope with their bands.

    Raises:
        ValueError: with fewer records than the spline has coefficients, plus two, times that do
            not increase, values that are not finite, or the fit of a curve that had none.
        TypeError: for noise of another kind.

    >>> times = np.geomspace(1, 1e4, 40)
    >>> found = local_shape(times, 2 * times**0.25, NoiseModel("white"))
    >>> bool(np.all(np.abs(found.shape - 0.25) < 0.02))
    True
    """
    times, values = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    check_curve(times, values)
    clock = np.log(times)
    designs = spline_designs(clock, _pieces(clock, pieces))
    coefficients, spread, _ = _noisy_fit(designs[0], values, _model(noise), times)
    root = np.linalg.cholesky(spread + 1e-14 * np.trace(spread) * np.eye(len(spread)))
    rng = rng or np.random.default_rng(0)
    sample = coefficients + rng.standard_normal((draws, coefficients.size)) @ root.T
    slope, slope_error = designs[1] @ coefficients, _errors(designs[1], spread)
    clear = np.abs(slope) > _LEAST_SLOPE * slope_error
    low, shape, high = _shape_band(designs, coefficients, spread, sample, clear, level=level)
    reach = _reach((sample - coefficients) @ designs[1].T / _positive(slope_error), level)
    return LocalShape(
        times,
        shape,
        low,
        high,
        slope,
        slope - reach * slope_error,
        slope + reach * slope_error,
        _missing(clear),
    )


@dataclass(frozen=True)
class Bend:
    """How the slope of a curve in ln t changes from its first to its last third.

    Attributes:
        early: mean slope over the first third of the window in ln t, unit of the distance.
        late: mean slope over the last third.
        low: lower end of the interval of late − early.
        high: upper end.
        shape: mean κ between the thirds, ln(late/early)/(2Λ/3); NaN unless both slopes are
            positive.
    """

    early: float
    late: float
    low: float
    high: float
    shape: float

    @property
    def side(self) -> str:
        """Whether the curve bends `below` a logarithm, `above` one, or is `undecided`."""
        if self.high < 0:
            return "below"
        return "above" if self.low > 0 else "undecided"


def bend(times: Array, values: Array, *, pieces: int | None = None, level: float = 0.95) -> Bend:
    """Whether a curve bends below or above a logarithm, whatever its law and its onset.

    A logarithm has one slope in ln t. The interval is that of late − early, t with n − q degrees
    of freedom, from the same spline of q coefficients as `local_shape`; it encloses the intervals
    under every noise model of the menu whose restricted likelihood is within e³ of the largest,
    since one curve hardly tells persistent noise from a bend. It says which way the curve bends
    and not why: an onset and a power of t both bend it above.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (time,), finite.
        pieces: of the spline; by default one a decade and at least one.
        level: confidence level.

    Returns:
        The slopes, under the likeliest noise model, and the interval of their difference.

    Raises:
        ValueError: with fewer records than the spline has coefficients, plus two, times that do
            not increase, or values that are not finite.
    """
    check_curve(times, values)
    clock = np.log(times)
    design, thirds = _spline(clock, pieces)
    # What wanders smoothly is the spline's to follow, and is no noise here.
    rough = [m for m in menu(times) if m.kind != "smooth_log_t" and m.hurst == 0.5]
    fits = [_noisy_fit(design, values, model, times) for model in rough]
    likelihoods = np.array([fit[2] for fit in fits])
    best = int(likelihoods.argmax())
    early, late = (float(slope) for slope in thirds @ fits[best][0])
    change = thirds[1] - thirds[0]
    reach = t_quantile(times.size - design.shape[1], level)
    plausible = np.flatnonzero(likelihoods > likelihoods[best] - _PLAUSIBLE)
    middles = np.array([change @ fits[row][0] for row in plausible])
    halves = reach * np.sqrt([change @ fits[row][1] @ change for row in plausible])
    known = early > 0 and late > 0
    shape = float(np.log(late / early) * 1.5 / (clock[-1] - clock[0])) if known else np.nan
    low, high = float(np.min(middles - halves)), float(np.max(middles + halves))
    return Bend(early, late, low, high, shape)


def _noisy_fit(
    design: Array, values: Array, model: NoiseModel, times: Array
) -> tuple[Array, Array, float]:
    """Coefficients, their covariance and the restricted log-likelihood under a noise model."""
    root = np.linalg.cholesky(noise_covariance(model, times))
    white, data = np.linalg.solve(root, design), np.linalg.solve(root, values)
    gram = white.T @ white
    coefficients = np.linalg.solve(gram, white.T @ data)
    left, freedom = data - white @ coefficients, design.shape[0] - design.shape[1]
    # A curve without noise, or a constant, leaves only rounding.
    squares = max(float(left @ left), 1e-26 * float(data @ data), 1e-300)
    likelihood = -0.5 * freedom * np.log(squares) - np.log(np.diagonal(root)).sum()
    likelihood -= 0.5 * np.linalg.slogdet(gram)[1] + handicap(model)
    return coefficients, squares / freedom * np.linalg.inv(gram), float(likelihood)


def _spline(clock: Array, pieces: int | None) -> tuple[Array, Array]:
    """The spline at the records, and its mean slopes over the outer thirds, (·, coefficient)."""
    basis, length = _splines(clock, _pieces(clock, pieces)), clock[-1] - clock[0]
    ends = basis(np.clip(clock[0] + length * np.array([0, 1 / 3, 2 / 3, 1]), None, clock[-1]))
    return basis(clock), (ends[[1, 3]] - ends[[0, 2]]) * 3 / length


def _pieces(clock: Array, pieces: int | None) -> int:
    count = pieces or max(1, round((clock[-1] - clock[0]) / np.log(10)))
    if clock.size < count + _DEGREE + 2:
        raise ValueError(
            f"times: found {clock.size} records, expected at least {count + _DEGREE + 2} "
            f"for a spline of {count} pieces"
        )
    return count


def spline_designs(clock: Array, pieces: int) -> tuple[Array, Array, Array]:
    """Cubic B-splines in ln t and their first two derivatives at the recorded times.

    Arguments:
        clock: ln t, shape (time,).
        pieces: polynomial pieces, of equal length.

    Returns:
        Three arrays of shape (time, pieces + 3).
    """
    basis = _splines(clock, pieces)
    return basis(clock), basis.derivative(1)(clock), basis.derivative(2)(clock)


def _splines(clock: Array, pieces: int) -> BSpline:
    inner = np.linspace(clock[0], clock[-1], pieces + 1)
    knots = np.concatenate([[clock[0]] * _DEGREE, inner, [clock[-1]] * _DEGREE])
    return BSpline(knots, np.eye(pieces + _DEGREE), _DEGREE)


def _errors(rows: Array, spread: Array) -> Array:
    return np.sqrt(np.maximum(np.einsum("tc,cd,td->t", rows, spread, rows), 0.0))


def _positive(errors: Array) -> Array:
    return np.where(errors > 0, errors, 1.0)


def _missing(clear: NDArray[np.bool_]) -> str:
    if clear.all():
        return ""
    return f"slope not told from 0 at {int((~clear).sum())} of {clear.size} times"


def _reach(standardized: Array, level: float) -> float:
    """Quantile of the largest absolute value in each draw, at least the pointwise one."""
    pointwise = float(ndtri((1 + level) / 2))
    if standardized.shape[1] == 0:
        return pointwise
    return max(pointwise, float(np.quantile(np.abs(standardized).max(axis=1), level)))


def _shape_band(
    designs: tuple[Array, Array, Array],
    coefficients: Array,
    spread: Array,
    sample: Array,
    clear: NDArray[np.bool_],
    *,
    level: float,
) -> tuple[Array, Array, Array]:
    """Lower edge, κ and upper edge; NaN where the slope is not clear of 0."""
    first, second = designs[1][clear], designs[2][clear]
    slope, change = first @ coefficients, second @ coefficients
    gradient = (second - (change / slope)[:, None] * first) / slope[:, None]
    error = _errors(gradient, spread)
    drawn = (sample @ second.T) / (sample @ first.T)
    reach = _reach((drawn - change / slope) / _positive(error), level)
    low, middle, high = np.full((3, clear.size), np.nan)
    middle[clear] = change / slope
    low[clear], high[clear] = middle[clear] - reach * error, middle[clear] + reach * error
    return low, middle, high


def fitted_law(fit: xr.Dataset, times: Array) -> Array:
    """The laws of fits, a + b [(t + τ)^p − 1]/p, without the band that `growth_curve` has.

    Arguments:
        fit: as returned by `fit_growth`.
        times: t > 0, shape (time,), iterations or readings of the clock that the fit is on.

    Returns:
        Distances, shape (series, time); NaN where a series was not fitted.
    """
    names = ("offset", "slope", "exponent", "onset")
    columns = (fit.variables[name].values.reshape(-1, 1) for name in names)
    offset, slope, exponent, onset = columns
    return np.asarray(offset + slope * growth_regressor(np.log(times + onset), exponent))


def growth_curve(
    fit: xr.Dataset,
    iteration: ArrayLike,
    *,
    level: float = 0.95,
    clock: ArrayLike | None = None,
) -> xr.Dataset:
    """The fitted curve of every series with a pointwise band.

    d(t) ± z (g'Vg)^½ (c/χ²)^½ with g the derivatives of d in (a, b, p, τ), V their covariance and
    c the calibrated critical value. The band is for the curve, not for records, and rests on a
    linear approximation; the interval of the exponent does not.

    Arguments:
        fit: as returned by `fit_growth`.
        iteration: t >= 0, shape (time,), iterations.
        level: pointwise confidence level.
        clock: readings at these iterations, shape (time,), of the clock that the fit is on, where
            that is another than iterations.

    Returns:
        `distance`, `low` and `high` over the dimensions of the series and `iteration`; NaN where
        the series was not fitted, and at iteration 0, where the distance is 0 and no law's.

    Raises:
        TypeError: when the fit is none.
        ValueError: when an iteration is negative or not finite, the level out of range, or the
            readings of the fit's clock are missing.
    """
    if not isinstance(fit, xr.Dataset) or "parameter_covariance" not in fit:
        raise TypeError(f"fit: found {type(fit).__name__}, expected what `fit_growth` gives")
    check_level(level)
    times = np.atleast_1d(np.asarray(iteration, dtype=np.float64))
    if times.ndim != 1 or not (np.isfinite(times).all() and np.all(times >= 0)):
        raise ValueError("iteration: expected finite values >= 0 of shape (time,)")
    dims: tuple[Hashable, ...] = fit["exponent"].dims
    iterations, times = times, _readings(fit, times, clock)
    slope, exponent, onset = (fit[name].values.reshape(-1) for name in _SHAPE)
    # At 0 the last time stands in, which changes nothing else, and its values are taken out below.
    positive = np.where(times > 0, times, times.max(initial=1.0))
    middle, log_time = fitted_law(fit, positive), np.log(positive + onset[:, None])
    matrix = fit["parameter_covariance"].values.reshape(-1, 4, 4)
    towards = curve_gradients(log_time, exponent, slope)
    variance = np.einsum("sti,sij,stj->st", towards, matrix, towards)
    inflation = fit["critical"].values.reshape(-1) / chdtri(1, 1 - fit.attrs["level"])
    half = ndtri((1 + level) / 2) * np.sqrt(np.maximum(variance, 0) * inflation[:, None])
    shape = (*fit["exponent"].shape, times.size)
    bands = {"distance": middle, "low": middle - half, "high": middle + half}
    data = {
        name: ((*dims, "iteration"), np.where(times > 0, band, np.nan).reshape(shape))
        for name, band in bands.items()
    }
    coords = fit["exponent"].coords
    return xr.Dataset(data, coords).assign_coords(iteration=iterations).assign_attrs(level=level)


def conditioned_curve(
    fit: xr.Dataset,
    distance: xr.DataArray,
    at: ArrayLike,
    *,
    clock: ArrayLike | None = None,
) -> Array:
    """A fitted law with the wandering of its own run: the line that meets the records.

    d(t) + E[noise at t | residuals at the records], where only the correlated part of the noise
    goes on between records. `growth_curve` is the law alone; where residuals wander like a random
    walk it may run beside the records.

    Arguments:
        fit: of one series, as a row of what `fit_growth` returned.
        distance: that series along `iteration`.
        at: t, shape (time,), increasing; iterations, or readings of the clock that the fit is on.
        clock: its readings at the records of `distance`, where that is not iterations.

    Returns:
        Shape (time,), in the unit of the distance; NaN beyond the records, and where the series
        was not fitted.
    """
    asked = np.atleast_1d(np.asarray(at, dtype=np.float64))
    model = noise_of(fit)
    iterations = np.asarray(distance["iteration"].values, dtype=np.float64)
    times = iterations if clock is None else np.asarray(clock, dtype=np.float64)
    values = np.asarray(distance.values, dtype=np.float64)
    known = np.flatnonzero((iterations > 0) & np.isfinite(values) & (times > 0))
    known = known[np.diff(times[known], prepend=0.0) > 0]
    found = np.full(asked.shape, np.nan)
    if model is None or known.size < 2:
        return found
    known = known[thinned(times[known])]
    inside = (asked >= times[known[0]]) & (asked <= times[known[-1]])
    both = np.concatenate([times[known], asked[inside]])
    law = fitted_law(fit, _readings(fit, both, None if clock is None else both))[0]
    left = values[known] - law[: known.size]
    at_records = None if clock is None else iterations[known]
    wander = wandering(model, times[known], left, asked[inside], iterations=at_records)
    found[inside] = law[known.size :] + wander
    return found


def _readings(fit: xr.Dataset, iterations: Array, clock: ArrayLike | None) -> Array:
    """The iterations as the clock of a fit reads them."""
    other = set(fit["clock"].values.ravel().tolist()) - {"iteration"} if "clock" in fit else set()
    if clock is None and other:
        raise ValueError(f"clock: expected readings at these iterations, of {other.pop()}")
    if clock is None:
        return iterations
    readings = np.asarray(clock, dtype=np.float64)
    if readings.shape != iterations.shape or not np.all(readings >= 0):
        raise ValueError(
            f"clock: found shape {readings.shape}, expected values >= 0 of shape "
            f"{iterations.shape}, as iterations"
        )
    return readings
