"""Menu of noise models for a growth curve, on the times it was recorded at.

A distance is an accumulated sum, its record at one time is close to its record at the next, and
the curve's shape may not be taken for the noise or the noise for the shape. No single model does:
the menu holds independent noise, correlations that fade in ln t or in t, random walks in either,
each also with independent noise added, smooth wander (whose correlation fades in ln t, or walks
whose steps go on in one direction), and standard deviations that change as a power of t. The
likelihood chooses among its items; what the choice costs is left to calibration.

Where a curve is followed on another clock than iterations, as the summed learning rate Ση, t is
that clock's reading, and the menu holds more: correlations and walks in iterations, as of what is
measured anew at each record, and those of weights that the gradients' noise drives, x' = −x/ℓ + ξ
over the clock with the variance of ξ proportional to the clock's speed dt/d(iteration), which is
the rate where the clock is its sum. Smooth wander in ln t is left out there: what a rate that goes
up and down leaves of a curve is smooth over a length in iterations, of which records that crowd
late in ln t make a wander that hardly changes from one to the next, and with it an exponent that
a few of their differences decide and that leaves the curve.

References:
    Jones (1993), Longitudinal Data with Serial Correlation: continuous-time autoregression.
    Mandelbrot and Van Ness (1968), SIAM Review 10, 422: fractional Brownian motion.
    Pinheiro and Bates (2000), Mixed-Effects Models in S and S-PLUS, §5.2–5.3: corCAR1, varPower.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.diffusion.laws import growth_regressor

Array = NDArray[np.float64]

WALKS = ("walk_log_t", "walk_t", "walk_iteration", "walk_rate")
# Of these the covariance asks for iterations beside the clock.
OFF_CLOCK = ("ar_rate", "ou_iteration", "ou_rate", "walk_iteration", "walk_rate")
KINDS = ("white", "ar_log_t", "smooth_log_t", "ou_t", *OFF_CLOCK[:3], *WALKS)


NOISE_PARTS = ("length", "nugget", "power", "hurst")
_LEAST_SPEED = 1e-6  # of the largest: its root is the smallest standard deviation
_BESIDE = 1e-9  # of a time: so near to a record its wandering is the same
_LEAST_SHARE = 1e-9  # of the variance, that neighbouring records differ by where the rate is 0


@dataclass(frozen=True)
class NoiseModel:
    """Shape C of a noise covariance σ²C.

    Attributes:
        kind: one of `KINDS`.
        length: correlation length, in units of ln t for `ar_log_t`, `smooth_log_t` and `ar_rate`,
            of the clock for `ou_t` and `ou_rate`, and of iterations for `ou_iteration`; else 0.
        nugget: share of independent noise in the variance, in [0, 1); for a random walk, the
            variance of the independent noise over the walk's variance between the first and the
            last record.
        power: δ of a standard deviation ∝ t^δ, 0 for a constant one; for a random walk that of its
            steps, over equal stretches of its clock.
        hurst: H of a random walk, in (0, 1): ½ where its steps are independent, more where they go
            on in one direction and the walk is smooth.
    """

    kind: str
    length: float = 0.0
    nugget: float = 0.0
    power: float = 0.0
    hurst: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: found {self.kind!r}, expected one of {', '.join(KINDS)}")

    @property
    def wanders(self) -> bool:
        """Whether the noise is a random walk, whose variance grows without bound."""
        return self.kind in WALKS

    def __str__(self) -> str:
        """Short text naming the model and its parameters.

        >>> str(NoiseModel("ar_log_t", length=0.5, nugget=0.25))
        'ar_log_t(length=0.5) + white(0.25)'
        """
        length = f"(length={self.length:.3g})" if self.length else ""
        nugget = f" + white({self.nugget:.3g})" if self.nugget else ""
        power = f", sd ~ t^{self.power:.2g}" if self.power else ""
        hurst = f"(H={self.hurst:.3g})" if self.hurst != 0.5 else ""
        return f"{self.kind}{length}{hurst}{nugget}{power}"


def noise_covariance(model: NoiseModel, times: Array, iterations: Array | None = None) -> Array:
    """Shape C of the noise covariance.

    C_ij = t_i^δ t_j^δ [(1 − ν) k_ij + ν δ_ij] with k = e^{−x} for `ar_log_t`, (1 + x) e^{−x} for
    `smooth_log_t`, x = |ln t_i − ln t_j|/ℓ, and k = e^{−|t_i − t_j|/ℓ} for `ou_t`. For the walks
    C = k + ν δ with k = ½(s_i^2H + s_j^2H − |s_i − s_j|^2H) + 1, which is min(s_i, s_j) + 1 at
    H = ½. Their clock s runs from 0 at the first to 1 at the last record, as t^κ with κ = δ/H for
    `walk_log_t` (as ln t for δ = 0) and 1 + δ/H for `walk_t`. The 1 is immaterial, since the
    curve's offset is free. `ou_iteration` and `walk_iteration` are `ou_t` and `walk_t` with
    iterations for t. With the clock's speed v, mean over the time before each record,
    `walk_rate` is a walk whose clock is Σ v²·(iterations) and `ou_rate` has
    k_ij = V_i e^{−(t_j − t_i)/ℓ}, i ≤ j, with V relaxing towards vℓ/2 like e^{−2t/ℓ} from 0 on;
    `ar_rate` is `ar_log_t` with a standard deviation ∝ v^½.

    Arguments:
        model: the noise model.
        times: t, shape (time,), increasing, readings of the clock: iterations, or another.
        iterations: at the records, shape (time,), increasing; what `OFF_CLOCK` asks for.

    Returns:
        C, shape (time, time); the diagonal is 1 for a stationary model.

    Raises:
        ValueError: when the model asks for iterations and there are none.
    """
    if model.kind in OFF_CLOCK:
        if iterations is None:
            raise ValueError(f"noise: found {model}, which asks for iterations beside the clock")
        if model.kind == "ou_rate":
            return _driven(model, times, iterations)
        if model.kind == "ar_rate":
            return _heated(model, times, iterations)
        walks = {"walk_iteration": iterations, "walk_rate": driven_variance(times, iterations)}
        plain = replace(model, kind="walk_t" if model.wanders else "ou_t")
        return noise_covariance(plain, walks.get(model.kind, iterations))
    same = np.eye(times.size)
    if model.kind == "white":
        shape = same
    elif model.wanders:
        return _walk(model, times) + model.nugget * same
    else:
        clock = times if model.kind == "ou_t" else np.log(times)
        lag = np.abs(clock[:, None] - clock) / model.length
        kernel = np.exp(-lag) * (1 + lag * (model.kind == "smooth_log_t"))
        shape = (1 - model.nugget) * kernel + model.nugget * same
    spread = np.exp(model.power * (np.log(times) - np.log(times).mean()))
    return spread[:, None] * shape * spread


def driven_variance(times: Array, iterations: Array) -> Array:
    """Variance that a walk gathers up to each record where steps go with a clock's speed.

    Σ v² Δ(iteration) = Σ (Δt)²/Δ(iteration), which is Ση² where the clock is Ση.
    """
    steps, updates = (np.diff(one, prepend=0.0) for one in (times, iterations))
    gathered = np.cumsum(steps**2 / updates)
    # Where the rate is nearly 0 neighbours would differ by less than rounding.
    return np.asarray(gathered + _LEAST_SHARE * gathered[-1] * iterations / iterations[-1])


def _speed(times: Array, iterations: Array) -> Array:
    """v, mean over the time before each record."""
    return np.asarray(np.diff(times, prepend=0.0) / np.diff(iterations, prepend=0.0))


def _heated(model: NoiseModel, times: Array, iterations: Array) -> Array:
    speed = _speed(times, iterations)
    spread = np.sqrt(np.maximum(speed, _LEAST_SPEED * speed.max()) / speed.mean())
    plain = replace(model, kind="ar_log_t" if model.length else "white")
    return spread[:, None] * noise_covariance(plain, times) * spread


def _driven(model: NoiseModel, times: Array, iterations: Array) -> Array:
    steps, speed = np.diff(times, prepend=0.0), _speed(times, iterations)
    lost = np.exp(-2 * steps / model.length)
    variance = np.empty(times.size)
    kept = 0.0
    for place, share in enumerate(lost):
        kept = variance[place] = kept * share + speed[place] * model.length / 2 * (1 - share)
    lag = np.abs(times[:, None] - times) / model.length
    first = np.minimum(np.arange(times.size)[:, None], np.arange(times.size))
    shape = np.exp(-lag) * variance[first] / variance.mean()
    nugget = max(model.nugget, _LEAST_SHARE)
    return (1 - nugget) * shape + nugget * np.eye(times.size)


def _walk(model: NoiseModel, times: Array) -> Array:
    power = (model.kind == "walk_t") + model.power / model.hurst
    grown = growth_regressor(np.log(times / times[-1]), np.array(power))
    clock = (grown - grown[0]) / (grown[-1] - grown[0])
    lag = np.abs(clock[:, None] - clock)
    spread = clock ** (2 * model.hurst)
    return (spread[:, None] + spread - lag ** (2 * model.hurst)) / 2 + 1.0


def handicap(model: NoiseModel) -> float:
    """Log-likelihood by which a model must surpass plain independent noise to be preferred.

    Without it, records that are independent are fitted with a spurious correlation so often that
    intervals are too long; with 1 a parameter, as in Akaike's criterion, a correlation hidden by
    independent noise is missed and they are too short. The values between were chosen by
    simulation (tests/statistics).
    """
    return 0.7 * (model.kind != "white") + 0.4 * (model.power != 0)


def menu(times: Array, iterations: Array | None = None) -> tuple[NoiseModel, ...]:
    """Noise models among which the likelihood chooses, scaled to the times.

    Arguments:
        times: t, shape (time,), increasing and positive, readings of the clock.
        iterations: at the records, where they are not the clock.

    Returns:
        The models, from the plainest to the most structured.
    """
    if iterations is not None:
        plain = (model for model in menu(times) if model.kind != "smooth_log_t")
        return (*plain, *_off_clock(times, iterations))
    log_range = np.log(times[-1] / times[0])
    spacing = log_range / (times.size - 1)
    near, far = 0.6 * spacing, 0.4 * log_range
    lengths = np.geomspace(near, max(far, 4 * near), 8)
    delays = np.geomspace(3 * times[0], max(times[-1] / 3, 30 * times[0]), 8)
    powers = np.log([1 / 8, 1 / 3, 3, 8]) / log_range
    return (
        NoiseModel("white"),
        *(NoiseModel("ar_log_t", length) for length in lengths),
        *(NoiseModel("ar_log_t", *pair) for pair in product(lengths[3:], (0.25, 0.6))),
        *(NoiseModel("smooth_log_t", length) for length in lengths[2:7]),
        *(NoiseModel("ou_t", delay) for delay in delays),
        *(NoiseModel("ou_t", delay, 0.4) for delay in delays[1::3]),
        *(NoiseModel("walk_log_t", nugget=share) for share in (0.0, 0.02, 0.1)),
        *(NoiseModel("walk_t", nugget=share) for share in (0.0, 0.003, 0.03)),
        *(NoiseModel("walk_log_t", power=power) for power in np.log([1 / 4, 4, 12]) / log_range),
        NoiseModel("walk_t", power=np.log(4) / log_range),
        *(NoiseModel("walk_log_t", hurst=hurst) for hurst in (0.62, 0.75)),
        *(NoiseModel("walk_t", hurst=hurst) for hurst in (0.62, 0.75)),
        *(NoiseModel("white", power=power) for power in powers),
        *(NoiseModel("ar_log_t", n, power=p) for n, p in product(lengths[1:7:2], powers)),
    )


def _off_clock(times: Array, iterations: Array) -> tuple[NoiseModel, ...]:
    ends = [(max(3 * one[0], one[-1] / 1000), one[-1] / 3) for one in (iterations, times)]
    delays, spans = (np.geomspace(*pair, 6) for pair in ends)
    spacing = np.log(times[-1] / times[0]) / (times.size - 1)
    return (
        *(NoiseModel("ar_rate", length * spacing) for length in (0.0, 1.5, 3.0, 8.0)),
        *(NoiseModel("ou_iteration", delay) for delay in delays),
        *(NoiseModel("ou_iteration", delay, 0.4) for delay in delays[1::3]),
        *(NoiseModel("ou_rate", span) for span in spans),
        *(NoiseModel("ou_rate", span, 0.4) for span in spans[1::3]),
        *(NoiseModel("walk_iteration", nugget=share) for share in (0.0, 0.003, 0.03)),
        *(NoiseModel("walk_rate", nugget=share) for share in (0.0, 0.003, 0.03)),
    )


def simulate_noise(
    model: NoiseModel, times: Array, count: int, *, rng: np.random.Generator
) -> Array:
    """Gaussian noise with covariance C.

    Arguments:
        model: the noise model.
        times: t, shape (time,), increasing, iterations.
        count: how many series.
        rng: source of random numbers.

    Returns:
        Noise with σ = 1, shape (count, time).
    """
    root = np.linalg.cholesky(noise_covariance(model, times))
    return rng.standard_normal((count, times.size)) @ root.T


def wandering(
    model: NoiseModel,
    times: Array,
    residuals: Array,
    at: Array,
    *,
    iterations: Array | None = None,
) -> Array:
    """Mean of the correlated part of the noise at other times, given what it was at the records.

    Simple kriging: c(t)'C⁻¹r, where c(t) is the covariance of the correlated part at t with the
    records. Independent noise of a record tells nothing beside it.

    Arguments:
        model: the noise model.
        times: t of the records, shape (time,), increasing.
        residuals: r, distances less their law, shape (time,).
        at: t, shape (other,), increasing, between the first and the last record.
        iterations: at the records, for models that ask for them.

    Returns:
        Shape (other,), in the unit of the residuals.

    References:
        Cressie (1993), Statistics for Spatial Data, §3.2.
    """
    # Just beside a record its own independent noise is left out.
    beside = np.where(at > times[0], at * (1 - _BESIDE), at * (1 + _BESIDE))
    joint, places = np.unique(np.concatenate([times, beside]), return_inverse=True)
    clock = None if iterations is None else np.interp(joint, times, iterations)
    covariance = noise_covariance(model, joint, clock)
    records, others = places[: times.size], places[times.size :]
    own = covariance[np.ix_(records, records)]
    own = own + _LEAST_SHARE * own.trace() / times.size * np.eye(times.size)
    found = covariance[np.ix_(others, records)] @ np.linalg.solve(own, residuals)
    return np.asarray(found, dtype=np.float64)


def fitted_noise(fit: xr.Dataset) -> NoiseModel | None:
    """The noise model of one series' fit, for `local_shape` and `certify`.

    Arguments:
        fit: a row of what `fit_growth` returned, without dimensions of series.

    Returns:
        The model, None where the series was not fitted.

    Raises:
        ValueError: when the fit is on another clock than iterations, which its noise is about.
    """
    clock = str(fit["clock"].item()) if "clock" in fit else "iteration"
    if clock != "iteration":
        raise ValueError(f"fit: found one on {clock}, expected one on iterations")
    return noise_of(fit)


def noise_of(fit: xr.Dataset) -> NoiseModel | None:
    """The noise model of one series' fit, on whatever clock; None where it was not fitted."""
    kind = str(fit["noise_kind"].item())
    if kind == "none":
        return None
    # Fits that were saved before there was a part have none of it.
    parts = (fit[f"noise_{part}"].item() for part in NOISE_PARTS if f"noise_{part}" in fit)
    return NoiseModel(kind, *parts)
