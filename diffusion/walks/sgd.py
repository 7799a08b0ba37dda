"""Stochastic gradient descent on solvable losses: a simulator for each null law.

Every function takes the iterations to record and returns a `Motion`, the squares that a recording
of a training run holds. Walkers are independent repetitions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ultraslow.diffusion._validation import (
    all_finite,
    all_positive,
    count,
    in_range,
    iterations,
    none_negative,
    positive,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """What is recorded of weights that move, `(record, walker)` each.

    Attributes:
        iteration: `(record,)`, from 0 on.
        distance_sq: ‖w_t − w_0‖².
        weight_sq: ‖w_t‖².
        overlap: ⟨w_t, w_0⟩.
        weights: number of weights.
    """

    iteration: NDArray[np.int64]
    distance_sq: Array
    weight_sq: Array
    overlap: Array
    weights: int


def quadratic_descent(
    curvatures: ArrayLike, start: ArrayLike, records: ArrayLike, *, learning_rate: float
) -> Motion:
    """Gradient descent on L = ½Σ hᵢwᵢ², w ← w − ηh·w.

    Arguments:
        curvatures: h `(mode,)`, positive.
        start: w₀ `(mode,)`.
        records: iterations to record `(record,)`.
        learning_rate: η; stable while η·h < 2.

    Returns:
        One walker.

    >>> motion = quadratic_descent([0.5], [2.0], [0, 1, 2], learning_rate=1.0)
    >>> motion.distance_sq[:, 0]
    array([0.  , 1.  , 2.25])
    """
    h, w0 = _modes(curvatures, start)
    rate = _stable(learning_rate, h)

    def move(w: Array) -> Array:
        return w - rate * h * w

    return _run(w0[None, :], move, records)


def noisy_quadratic(
    curvatures: ArrayLike,
    start: ArrayLike,
    records: ArrayLike,
    *,
    noise: ArrayLike,
    learning_rate: float,
    batch_size: float,
    walkers: int,
    rng: np.random.Generator,
    momentum: float = 0.0,
) -> Motion:
    """SGD with heavy-ball momentum on L = ½Σ hᵢwᵢ² with Gaussian gradient noise.

        b ← m·b + h·w + √(c/M)·ξ,    w ← w − η·b

    Arguments:
        curvatures: h `(mode,)`, positive.
        start: w₀ `(mode,)`.
        records: iterations to record `(record,)`.
        noise: c `(mode,)`, gradient variance of one sample.
        learning_rate: η.
        batch_size: M, samples drawn with replacement.
        walkers: independent repetitions.
        rng: source of randomness.
        momentum: m in [0, 1).

    Returns:
        All walkers.

    References:
        Zhang et al. (2019), Which Algorithmic Choices Matter at Which Batch Sizes?, arXiv
        1907.04164.
    """
    h, w0 = _modes(curvatures, start)
    sd = _deviation(noise, batch_size, expected=h.shape)
    rate = _stable(learning_rate, h)
    m = in_range(momentum, "momentum", 0, 1, closed=(True, False))
    first = np.tile(w0, (count(walkers, "walkers"), 1))
    buffer = np.zeros_like(first)

    def move(w: Array) -> Array:
        buffer[...] = m * buffer + h * w + sd * rng.standard_normal(w.shape)
        return w - rate * buffer

    return _run(first, move, records)


def scale_invariant_walk(
    records: ArrayLike,
    *,
    dimension: int,
    start_norm: float,
    gradient_norm: float,
    learning_rate: float,
    weight_decay: float = 0.0,
    walkers: int = 1,
    rng: np.random.Generator,
) -> Motion:
    """SGD on weights whose scale does not matter: w ← (1 − ηλ)·w − η·(g/‖w‖)·u, u ⊥ w random.

    Arguments:
        records: iterations to record `(record,)`.
        dimension: number of weights, 2 or more.
        start_norm: ‖w₀‖.
        gradient_norm: g, gradient norm at ‖w‖ = 1.
        learning_rate: η.
        weight_decay: λ >= 0; decay is stable while η·λ < 2.
        walkers: independent repetitions.
        rng: source of randomness.

    Returns:
        All walkers.

    References:
        Li, Lyu and Arora (2020), Reconciling Modern Deep Learning with Traditional Optimization
        Analyses, arXiv 2010.02916.
    """
    shape = (count(walkers, "walkers"), count(dimension, "dimension", least=2))
    force = positive(learning_rate, "learning_rate") * positive(gradient_norm, "gradient_norm")
    stable = 2.0 / learning_rate
    decay = in_range(weight_decay, "weight_decay", 0.0, stable, closed=(True, False))
    kept = 1.0 - learning_rate * decay

    def move(w: Array) -> Array:
        norm_sq = np.sum(w**2, axis=1, keepdims=True)
        u = rng.standard_normal(w.shape)
        u -= w * np.sum(u * w, axis=1, keepdims=True) / norm_sq
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        return kept * w - force / np.sqrt(norm_sq) * u

    first = rng.standard_normal(shape)
    first *= positive(start_norm, "start_norm") / np.linalg.norm(first, axis=1, keepdims=True)
    return _run(first, move, records)


def separable_logistic(inputs: ArrayLike, records: ArrayLike, *, learning_rate: float) -> Motion:
    """Gradient descent from 0 on the mean logistic loss of separable data.

        L = mean_n ln(1 + exp(−w·x_n)),    x_n already multiplied by its label ±1

    Arguments:
        inputs: x `(sample, dimension)`.
        records: iterations to record `(record,)`.
        learning_rate: η.

    Returns:
        One walker.

    References:
        Soudry et al. (2018), The implicit bias of gradient descent on separable data.
    """
    x = all_finite(inputs, "inputs")
    if x.ndim != 2 or not x.size:
        raise ValueError(f"inputs: found shape {x.shape}, expected (sample, dimension)")
    rate = positive(learning_rate, "learning_rate")

    def move(w: Array) -> Array:
        wrong = special.expit(-(w @ x.T))
        return w + rate * wrong @ x / len(x)

    return _run(np.zeros((1, x.shape[1])), move, records)


def drifting_walk(
    gradient: ArrayLike,
    records: ArrayLike,
    *,
    noise: ArrayLike,
    learning_rate: float,
    batch_size: float,
    walkers: int,
    rng: np.random.Generator,
) -> Motion:
    """SGD on a slope: a constant mean gradient G with independent Gaussian noise.

    Arguments:
        gradient: G `(dimension,)`.
        records: iterations to record `(record,)`.
        noise: gradient variance of one sample `(dimension,)`.
        learning_rate: η.
        batch_size: M, samples drawn with replacement.
        walkers: independent repetitions.
        rng: source of randomness.

    Returns:
        All walkers, from 0.
    """
    mean = all_finite(gradient, "gradient")
    if mean.ndim != 1 or not mean.size:
        raise ValueError(f"gradient: found shape {mean.shape}, expected (dimension,)")
    sd = _deviation(noise, batch_size, expected=mean.shape)
    rate = positive(learning_rate, "learning_rate")

    def move(w: Array) -> Array:
        return w - rate * (mean + sd * rng.standard_normal(w.shape))

    return _run(np.zeros((count(walkers, "walkers"), len(mean))), move, records)


def _run(start: Array, move: Callable[[Array], Array], records: ArrayLike) -> Motion:
    at = iterations(records, "records")
    squares = np.empty((3, len(at), len(start)))
    w, row = start, 0
    for iteration in range(at[-1] + 1):
        if iteration == at[row]:
            squares[:, row] = [
                np.sum((w - start) ** 2, axis=1),
                np.sum(w**2, axis=1),
                np.sum(w * start, axis=1),
            ]
            row += 1
        if iteration < at[-1]:
            w = move(w)
    distance_sq, weight_sq, overlap = squares
    return Motion(at, distance_sq, weight_sq, overlap, start.shape[1])


def _modes(curvatures: ArrayLike, start: ArrayLike) -> tuple[Array, Array]:
    h, w0 = all_positive(curvatures, "curvatures"), all_finite(start, "start")
    if h.ndim != 1 or not h.size or h.shape != w0.shape:
        raise ValueError(
            f"curvatures, start: found shapes {h.shape}, {w0.shape}, expected (mode,)"
        )
    return h, w0


def _deviation(noise: ArrayLike, batch_size: float, *, expected: tuple[int, ...]) -> Array:
    """Standard deviation of a batch gradient along each axis, √(c/M)."""
    variance = none_negative(noise, "noise")
    if variance.shape != expected:
        raise ValueError(f"noise: found shape {variance.shape}, expected {expected}")
    return np.sqrt(variance / positive(batch_size, "batch_size"))


def _stable(learning_rate: float, curvatures: Array) -> float:
    return in_range(learning_rate, "learning_rate", 0.0, 2.0 / float(curvatures.max()))
