"""Menu of noise models for a growth curve, on the times it was recorded at.

A distance is an accumulated sum, its record at one time is close to its record at the next, and
the curve's shape may not be taken for the noise or the noise for the shape. No single model does:
the menu holds independent noise, correlations that fade in ln t or in t, random walks in either,
each also with independent noise added, smooth wander (whose correlation fades in ln t, or walks
whose steps go on in one direction), and standard deviations that change as a power of t. The
likelihood chooses among its items; what the choice costs is left to calibration.

References:
    Jones (1993), Longitudinal Data with Serial Correlation: continuous-time autoregression.
    Mandelbrot and Van Ness (1968), SIAM Review 10, 422: fractional Brownian motion.
    Pinheiro and Bates (2000), Mixed-Effects Models in S and S-PLUS, §5.2–5.3: corCAR1, varPower.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ultraslow.diffusion.laws import growth_regressor

Array = NDArray[np.float64]

WALKS = ("walk_log_t", "walk_t")
KINDS = ("white", "ar_log_t", "smooth_log_t", "ou_t", *WALKS)


@dataclass(frozen=True)
class NoiseModel:
    """Shape C of a noise covariance σ²C.

    Attributes:
        kind: one of `KINDS`.
        length: correlation length, in units of ln t for `ar_log_t` and `smooth_log_t` and of
            iterations for `ou_t`; 0 elsewhere.
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


def noise_covariance(model: NoiseModel, times: Array) -> Array:
    """Shape C of the noise covariance.

    C_ij = t_i^δ t_j^δ [(1 − ν) k_ij + ν δ_ij] with k = e^{−x} for `ar_log_t`, (1 + x) e^{−x} for
    `smooth_log_t`, x = |ln t_i − ln t_j|/ℓ, and k = e^{−|t_i − t_j|/ℓ} for `ou_t`. For the walks
    C = k + ν δ with k = ½(s_i^2H + s_j^2H − |s_i − s_j|^2H) + 1, which is min(s_i, s_j) + 1 at
    H = ½. Their clock s runs from 0 at the first to 1 at the last record, as t^κ with κ = δ/H for
    `walk_log_t` (as ln t for δ = 0) and 1 + δ/H for `walk_t`. The 1 is immaterial, since the
    curve's offset is free.

    Arguments:
        model: the noise model.
        times: t, shape (time,), increasing, iterations.

    Returns:
        C, shape (time, time); the diagonal is 1 for a stationary model.
    """
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


def menu(times: Array) -> tuple[NoiseModel, ...]:
    """Noise models among which the likelihood chooses, scaled to the times.

    Arguments:
        times: t, shape (time,), increasing and positive, iterations.

    Returns:
        The models, from the plainest to the most structured.
    """
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
