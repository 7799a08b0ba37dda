"""What the batch size does: learning-rate rules, noise of an update, temperature, cost.

Symbols: M batch size, D samples in the training set, η learning rate, S = tr Σ the trace of the
per-sample gradient covariance, N number of weights, m momentum. Losses are means over the batch.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import all_positive, count, in_range, none_negative, not_negative, positive

Array = NDArray[np.float64]
Rule = Literal["fixed", "sqrt", "exact_sqrt", "linear"]
RULES: tuple[Rule, ...] = get_args(Rule)


def scaled_learning_rate(
    rule: Rule,
    base_learning_rate: float,
    *,
    batch_size: ArrayLike,
    base_batch_size: float,
    data_size: float | None = None,
) -> Array:
    """The learning rate that a rule assigns to a batch size.

        fixed       η = η₀
        sqrt        η = η₀·√(M/M₀)
        exact_sqrt  η = η₀·√(c(M₀)/c(M)) with c(M) = (1 − M/D)/M
        linear      η = η₀·M/M₀

    The square roots keep the noise part of the squared update, η²·c(M)·S: `sqrt` for batches drawn
    with replacement, `exact_sqrt` without, where it diverges at M = D because no learning rate
    restores a noise that is absent. `linear` keeps the temperature and rescales time.

    Arguments:
        rule: one of `RULES`.
        base_learning_rate: η₀ > 0.
        batch_size: M `(*)`, samples.
        base_batch_size: M₀, samples.
        data_size: D, samples; `exact_sqrt` needs it.

    Returns:
        η `(*)`.

    Raises:
        ValueError: for an unknown rule, a size out of range, or `exact_sqrt` without data size or
            with M or M₀ not below D.

    References:
        Hoffer, Hubara and Soudry (2017), Train longer, generalize better, for η ∝ √M.

    >>> scaled_learning_rate("sqrt", 0.1, batch_size=[256, 1024], base_batch_size=256)
    array([0.1, 0.2])
    """
    rate = positive(base_learning_rate, "base_learning_rate")
    m = all_positive(batch_size, "batch_size")
    base = positive(base_batch_size, "base_batch_size")
    if rule == "fixed":
        return np.full_like(m, rate)
    if rule == "linear":
        return rate * m / base
    if rule == "sqrt":
        return rate * np.sqrt(m / base)
    if rule == "exact_sqrt":
        return rate * np.sqrt(_noise(base, data_size) / _noise(m, data_size))
    raise ValueError(f"rule: found {rule!r}, expected one of {RULES}")


def noise_factor(batch_size: ArrayLike, data_size: float | None = None) -> Array:
    """The factor c(M) between the per-sample covariance and that of the batch gradient.

        cov(ĝ) = c(M)·Σ,    c(M) = 1/M with replacement, (1 − M/D)/M without

    Without replacement Σ is the covariance over the training set with divisor D − 1, and the
    equation is exact.

    Arguments:
        batch_size: M `(*)`, samples.
        data_size: D, samples; None draws with replacement.

    Returns:
        c `(*)`, per sample; 0 for the full batch.

    Raises:
        ValueError: for a size out of range, or a batch larger than the data.

    >>> noise_factor([10, 50, 100], data_size=100)
    array([0.09, 0.01, 0.  ])
    """
    m = all_positive(batch_size, "batch_size")
    if data_size is None:
        return 1.0 / m
    if not (m <= positive(data_size, "data_size")).all():
        raise ValueError(f"batch_size: found {m.max():g}, expected at most data_size {data_size}")
    return (1.0 - m / data_size) / m


def langevin_temperature(
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    *,
    noise_trace: float,
    weights: int,
    momentum: float = 0.0,
) -> Array:
    """The temperature of the Langevin equation that SGD follows when Σ = σ²·I.

        T = η·S/(2·M·N·(1 − m)),    S = N·σ²

    Small steps of SGD are then dw = −∇L ds + √(2T) dW in the time s = η·t/(1 − m). For any other Σ
    this is an average over directions, and no single temperature exists.

    Arguments:
        learning_rate: η `(*)`.
        batch_size: M `(*)`, samples.
        noise_trace: S, gradient unit squared.
        weights: N, number of weights.
        momentum: m in [0, 1).

    Returns:
        T `(*)`, in the unit of the loss.

    Raises:
        ValueError: when an argument is out of range.

    References:
        Jastrzębski et al. (2017), Three Factors Influencing Minima in SGD, for η/M as the control
        parameter.

    >>> float(langevin_temperature(0.1, 64, noise_trace=256.0, weights=2, momentum=0.9).round(12))
    1.0
    """
    mass = 1.0 - in_range(momentum, "momentum", 0.0, 1.0, closed=(True, False))
    trace = not_negative(noise_trace, "noise_trace")
    share = trace / (2.0 * count(weights, "weights") * mass)
    rate = none_negative(learning_rate, "learning_rate")
    return rate * share / all_positive(batch_size, "batch_size")


def steps_to_target(
    batch_size: ArrayLike, *, fewest_steps: float, critical_batch_size: float
) -> Array:
    """The iterations to a target loss at each batch size, S(M) = S_min·(1 + M_crit/M).

    Arguments:
        batch_size: M `(*)`, samples.
        fewest_steps: S_min, iterations at an unlimited batch size.
        critical_batch_size: M_crit = E_min/S_min, samples; there both costs double.

    Returns:
        Iterations `(*)`.

    References:
        McCandlish, Kaplan, Amodei et al. (2018), An Empirical Model of Large-Batch Training.

    >>> steps_to_target([100, 400], fewest_steps=10.0, critical_batch_size=100.0)
    array([20. , 12.5])
    """
    m = all_positive(batch_size, "batch_size")
    critical = positive(critical_batch_size, "critical_batch_size")
    return positive(fewest_steps, "fewest_steps") * (1.0 + critical / m)


def optimal_learning_rate(
    batch_size: ArrayLike, *, largest_rate: float, noise_scale: float
) -> Array:
    """The learning rate at which one step of SGD lowers the loss most, at each batch size.

        ε_opt(M) = ε_max/(1 + B_noise/M),    ε_max = |G|²/(GᵀHG),    B_noise = tr(HΣ)/(GᵀHG)

    A step ε from a gradient with the covariance Σ/M changes a loss with the gradient G and the
    Hessian H by −ε·|G|² + ½·ε²·(GᵀHG + tr(HΣ)/M) in the mean, which is least at ε_opt. It holds
    for a step without momentum or preconditioning and a loss that is quadratic over the step.

    Arguments:
        batch_size: M `(*)`, samples.
        largest_rate: ε_max, the rate without noise.
        noise_scale: B_noise, samples; there the rate is half of ε_max.

    Returns:
        ε_opt `(*)`.

    Raises:
        ValueError: when an argument is not positive.

    References:
        McCandlish, Kaplan, Amodei et al. (2018), An Empirical Model of Large-Batch Training, to
        whom the form is ascribed here without their text at hand; it follows from the line above.

    >>> optimal_learning_rate([100, 300], largest_rate=0.4, noise_scale=100.0)
    array([0.2, 0.3])
    """
    m = all_positive(batch_size, "batch_size")
    scale = positive(noise_scale, "noise_scale")
    return positive(largest_rate, "largest_rate") / (1.0 + scale / m)


def _noise(batch_size: ArrayLike, data_size: float | None) -> Array:
    if data_size is None:
        raise ValueError("data_size: found None, expected the training set's size")
    if not (np.asarray(batch_size) < positive(data_size, "data_size")).all():
        raise ValueError(
            f"batch_size, base_batch_size: found {np.max(batch_size):g}, expected values below"
            f" data_size {data_size}: at the full batch no learning rate restores the noise"
        )
    return noise_factor(batch_size, data_size)
