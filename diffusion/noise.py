"""Gradient noise: unbiased estimates from sums over units, their errors, what noise predicts.

Symbols: G the mean gradient, Σ the covariance of per-sample gradients, tr Σ its trace, M the batch
size, B = tr Σ/|G|² the simple noise scale in samples.

An update's gradient is the sum of contributions h_i of independently sampled *units* (a microbatch
on a rank): h_i = a_i·(mean gradient of the unit's n_i samples), with weights a_i that add up to 1.
Per-sample gradients have mean G and covariance Σ. Then with

    S   = Σ_i |h_i|²        Big = |Σ_i h_i|²        u = Σ_i a_i²        v = Σ_i a_i²/n_i

E S = u|G|² + v·tr Σ and E Big = |G|² + v·tr Σ, because distinct units are independent. Solving the
two equations gives the unbiased estimates below; with equal units they are those of McCandlish et
al. (2018, appendix A). Both are signed. Clamping or dividing them update by update biases the
noise scale, so neither is done here: average each over many updates first, then divide. How far
off a measurement so made can be follows from the same sums (`estimate_covariance`, `ratio_error`),
and what the noise scale predicts of the motion closes the module.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import all_positive, not_negative, numbers, positive

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseEstimates:
    """Unbiased signed estimates of |G|² and tr Σ, shaped like the sums they come from."""

    gradient_sq: NDArray[np.float64]
    noise_trace: NDArray[np.float64]


def unit_estimates(
    unit_sq: ArrayLike,
    total_sq: ArrayLike,
    u: ArrayLike,
    v: ArrayLike,
    *,
    share: ArrayLike = 1.0,
) -> NoiseEstimates:
    """Unbiased estimates of |G|² and tr Σ from the sums over the units of one update.

        |G|² = (Big − S)/(A² − u)        tr Σ = (A²·S − u·Big)/((A² − u)·v)        A = Σ a_i

    Weights that add up to 1 give the scale of the update's own gradient: if the h_i add up to
    c·(mean gradient) and A is taken for 1, both come out times c². An update that is cut short, of
    8 units whose losses were divided by 16, has A = ½.

    Arguments:
        unit_sq: S, sum of squared norms of the unit contributions `(*)`, gradient unit squared.
        total_sq: Big, squared norm of their sum `(*)`, gradient unit squared.
        u: sum of squared unit weights `(*)`, in (0, 1).
        v: sum of squared unit weights over unit sizes `(*)`, per sample.
        share: A, the sum of unit weights `(*)`.

    Returns:
        Estimates `(*)`; NaN where u = A², since one unit holds no information about the noise.

    References:
        McCandlish, Kaplan, Amodei et al. (2018), An Empirical Model of Large-Batch Training,
        appendix A, for equal units.

    >>> estimate = unit_estimates(12.0, 8.0, 0.5, 1 / 16)
    >>> float(estimate.gradient_sq), float(estimate.noise_trace)
    (-8.0, 256.0)
    """
    s, big, u, v, a = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (unit_sq, total_sq, u, v, share))
    )
    whole = a**2
    # Of one unit u = A², up to rounding.
    spread = np.where(u < whole * (1.0 - 1e-12), whole - u, np.nan)
    return NoiseEstimates((big - s) / spread, (whole * s - u * big) / (spread * v))


def noise_scale(gradient_sq: ArrayLike, noise_trace: ArrayLike) -> float:
    """The simple noise scale B = mean(tr Σ)/mean(|G|²), in samples, over all given estimates.

    Arguments:
        gradient_sq: signed estimates of |G|² `(*)`; NaN entries are left out together with their
            partner.
        noise_trace: signed estimates of tr Σ `(*)`.

    Returns:
        The ratio of the two means; NaN when nothing is finite or the mean of |G|² is not positive.

    >>> noise_scale([3.0, 5.0], [70.0, 58.0])
    16.0
    """
    g, s = np.broadcast_arrays(np.asarray(gradient_sq, float), np.asarray(noise_trace, float))
    finite = np.isfinite(g) & np.isfinite(s)
    if not finite.any() or g[finite].mean() <= 0:
        return float("nan")
    return float(s[finite].mean() / g[finite].mean())


@dataclass(frozen=True)
class EstimateCovariance:
    """Variances and covariance of one update's unbiased estimates of |G|² and tr Σ."""

    gradient_sq_var: float
    noise_trace_var: float
    covariance: float


def estimate_covariance(
    weights: ArrayLike, sizes: ArrayLike, *, projected_noise: float, noise_sq_trace: float
) -> EstimateCovariance:
    """The covariance of `unit_estimates` when per-sample gradients are Gaussian.

    Unit i contributes h_i = a_i·(mean gradient of n_i samples), with Σ a_i = 1 and c_i = a_i²/n_i.
    Both sums of squares are quadratic forms in the h_i, so

        Var S        = 4 Σ a_i²c_i · GᵀΣG + 2 Σ c_i² · tr Σ²
        Var Big      = 4 v · GᵀΣG + 2 v² · tr Σ²                    v = Σ c_i
        Cov(S, Big)  = 4 Σ a_i c_i · GᵀΣG + 2 Σ c_i² · tr Σ²

    and the estimates are linear in S and Big. With K equal units of b samples, M = K·b, this is
    Var |G|² = 4GᵀΣG/M + 2tr Σ²/(b²K(K−1)), Var tr Σ = 2tr Σ²/(K−1) and covariance
    −2tr Σ²/(M(K−1)). Heavier tails add their excess kurtosis over K to Var tr Σ.

    Arguments:
        weights: a `(unit,)`, adding up to 1; two units or more.
        sizes: n `(unit,)`, samples.
        projected_noise: GᵀΣG, gradient unit to the fourth.
        noise_sq_trace: tr Σ², gradient unit to the fourth.

    Returns:
        Both variances and the covariance, for one update.

    Raises:
        ValueError: for fewer than two units, unequal lengths or weights that do not add up to 1.

    >>> estimate_covariance([0.5, 0.5], [8, 8], projected_noise=0.0, noise_sq_trace=64.0)
    EstimateCovariance(gradient_sq_var=1.0, noise_trace_var=128.0, covariance=-8.0)
    """
    a, n = _units(weights, sizes)
    # As rows (S, Big): what multiplies 4·GᵀΣG and 2·tr Σ².
    c = a**2 / n
    drift = np.array([[a**2 @ c, a @ c], [a @ c, c.sum()]])
    noise = np.array([[c @ c, c @ c], [c @ c, c.sum() ** 2]])
    sums = 4.0 * not_negative(projected_noise, "projected_noise") * drift
    sums += 2.0 * not_negative(noise_sq_trace, "noise_sq_trace") * noise
    u, v = a @ a, c.sum()
    to_estimates = np.array([[-1.0, 1.0], [1.0 / v, -u / v]]) / (1.0 - u)
    result = to_estimates @ sums @ to_estimates.T
    return EstimateCovariance(float(result[0, 0]), float(result[1, 1]), float(result[0, 1]))


def _units(weights: ArrayLike, sizes: ArrayLike) -> tuple[Array, Array]:
    a, n = numbers(weights, "weights"), numbers(sizes, "sizes")
    if a.ndim != 1 or a.size < 2 or a.shape != n.shape:
        raise ValueError(
            f"weights, sizes: found shapes {a.shape}, {n.shape}, expected two units or more"
        )
    if not np.isclose(a.sum(), 1.0, rtol=0, atol=1e-9):
        raise ValueError(f"weights: found the sum {a.sum():g}, expected 1")
    if a.max() >= 1.0 or a.min() < 0.0:
        raise ValueError(f"weights: found {a.tolist()}, expected values in [0, 1)")
    return a, all_positive(n, "sizes")


@dataclass(frozen=True)
class RatioError:
    """First-order error of a noise scale that is a ratio of two means.

    Attributes:
        relative_sd: standard deviation of the ratio over the noise scale.
        bias_factor: expectation of the ratio over the noise scale.
        gradient_cv: standard deviation of the mean of |G|² over |G|². Above about 0.3 the ratio
            is too skewed for this expansion, and an interval of Fieller's kind is needed.
    """

    relative_sd: float
    bias_factor: float
    gradient_cv: float


def ratio_error(
    gradient_sq: float, noise_trace: float, covariance: EstimateCovariance, *, updates: float = 1.0
) -> RatioError:
    """The error of B = mean(tr Σ)/mean(|G|²) over independent updates, by the delta method.

        Var B/B² ≈ CV²(S) + CV²(g) − 2C/(S·g)        E B/B ≈ 1 + CV²(g) − C/(S·g)

    Arguments:
        gradient_sq: g = |G|², gradient unit squared.
        noise_trace: S = tr Σ, gradient unit squared.
        covariance: of one update's estimates.
        updates: independent updates averaged; for correlated ones their effective number.

    Returns:
        Relative standard deviation, bias factor and coefficient of variation of mean |G|².

    >>> units = estimate_covariance([0.5, 0.5], [8, 8], projected_noise=0.0, noise_sq_trace=64.0)
    >>> error = ratio_error(4.0, 64.0, units, updates=100)
    >>> round(error.relative_sd, 6), error.bias_factor, error.gradient_cv
    (0.039528, 1.0009375, 0.025)
    """
    g, s = positive(gradient_sq, "gradient_sq"), positive(noise_trace, "noise_trace")
    updates = positive(updates, "updates")
    gradient_cv_sq = covariance.gradient_sq_var / (updates * g**2)
    trace_cv_sq = covariance.noise_trace_var / (updates * s**2)
    cross = covariance.covariance / (updates * s * g)
    return RatioError(
        float(np.sqrt(trace_cv_sq + gradient_cv_sq - 2.0 * cross)),
        1.0 + gradient_cv_sq - cross,
        float(np.sqrt(gradient_cv_sq)),
    )


def drift_crossover(noise_scale: float, batch_size: ArrayLike) -> Array:
    """The iteration t* = B/M at which drift overtakes diffusion, while G and Σ stay what they are.

    From E‖w_t − w_0‖² = η²(t²|G|² + t·S/M) with constant G: the two terms are equal at t*, that
    is, after B samples whatever the batch size.

    Arguments:
        noise_scale: B, samples.
        batch_size: M `(*)`, samples.

    Returns:
        t* `(*)`, iterations.

    >>> drift_crossover(4096.0, [64, 4096])
    array([64.,  1.])
    """
    return positive(noise_scale, "noise_scale") / all_positive(batch_size, "batch_size")


def increment_excess(
    noise_scale: float, batch_size: ArrayLike, base_batch_size: float = 0.0
) -> Array:
    """The factor by which √M learning rates overshoot the squared update of the base batch size.

    With η ∝ √M the noise part of E‖Δw‖² = η²(|G|² + S/M) stays and the drift part grows:

        (1 + M/B) / (1 + M₀/B)

    Arguments:
        noise_scale: B, samples.
        batch_size: M `(*)`, samples.
        base_batch_size: M₀, samples; 0 compares with noise alone.

    Returns:
        The factor on squared updates `(*)`, dimensionless.

    >>> increment_excess(1000.0, [1000, 9000])
    array([ 2., 10.])
    """
    scale = positive(noise_scale, "noise_scale")
    base = not_negative(base_batch_size, "base_batch_size")
    return (1.0 + all_positive(batch_size, "batch_size") / scale) / (1.0 + base / scale)


def expected_straightness(iteration: ArrayLike, noise_scale: float, batch_size: float) -> Array:
    """The straightness that drift and independent noise give while the gradient stays constant.

        R(t) = (t² + t·B/M) / (t + t·B/M) = 1 + (t − 1)/(1 + B/M)

    It is the ratio of expectations, not the expectation of the ratio.

    Arguments:
        iteration: t `(*)`, iterations from 1 on.
        noise_scale: B, samples; 0 is noise-free motion.
        batch_size: M, samples.

    Returns:
        R `(*)`, dimensionless.

    Raises:
        ValueError: for an iteration below 1, or another argument out of range.

    >>> expected_straightness([1, 11], noise_scale=36.0, batch_size=4)
    array([1., 2.])
    """
    ratio = not_negative(noise_scale, "noise_scale") / positive(batch_size, "batch_size")
    t = all_positive(iteration, "iteration")
    if not (t >= 1.0).all():
        raise ValueError(f"iteration: found {t.min():g}, expected values of 1 or more")
    return 1.0 + (t - 1.0) / (1.0 + ratio)
