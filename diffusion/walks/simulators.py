"""Simulators: the settings of one kind of motion each, as values.

A simulator turns the `Setup` of a run (batch size, learning rate, seed) into a `Track`, its motion
at the records. Runs of one seed share the landscape or the start; the noise differs between batch
sizes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ultraslow.diffusion._validation import count, finite, in_range, not_negative, positive
from ultraslow.diffusion.laws import law_named
from ultraslow.diffusion.scaling import RULES, Rule, noise_factor, scaled_learning_rate

from . import line, potential, sgd
from .field import Spectrum, fourier_field
from .langevin import langevin

Array = NDArray[np.float64]
Iterations = NDArray[np.int64]


@dataclass(frozen=True)
class Setup:
    """What distinguishes the runs of a set.

    Attributes:
        batch_size: M, samples.
        base_learning_rate: η₀, at the base batch size.
        base_batch_size: M₀, samples.
        scaling: rule from batch size to learning rate.
        data_size: D, samples; 0 draws batches with replacement.
        seed: seed of the run.
    """

    batch_size: int = 64
    base_learning_rate: float = 0.05
    base_batch_size: int = 64
    scaling: Rule = "sqrt"
    data_size: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        count(self.batch_size, "batch_size")
        positive(self.base_learning_rate, "base_learning_rate")
        count(self.base_batch_size, "base_batch_size")
        if self.scaling not in RULES:
            raise ValueError(f"scaling: found {self.scaling!r}, expected one of {RULES}")
        count(self.data_size, "data_size", least=0)
        count(self.seed, "seed", least=0)

    @property
    def rate(self) -> float:
        """The learning rate η(M)."""
        return float(
            scaled_learning_rate(
                self.scaling,
                self.base_learning_rate,
                batch_size=self.batch_size,
                base_batch_size=self.base_batch_size,
                data_size=self.data_size or None,
            )
        )

    @property
    def noise_ratio(self) -> float:
        """c(M)/c(M₀), the variance of the batch gradient over that at the base batch size.

        Raises:
            ValueError: when the base batch is all the data, whose gradient has no noise.
        """
        noise = noise_factor([self.batch_size, self.base_batch_size], self.data_size or None)
        if noise[1] == 0:
            raise ValueError(
                f"base_batch_size: found {self.base_batch_size}, expected a value below data_size"
                f" {self.data_size}: the full batch has no noise to compare with"
            )
        return float(noise[0] / noise[1])

    @property
    def heat(self) -> float:
        """T(M)/T(M₀), the temperature relative to that of the base batch size."""
        return self.rate / self.base_learning_rate * self.noise_ratio

    def landscape_rng(self) -> np.random.Generator:
        """Randomness that all batch sizes of a seed share."""
        return np.random.default_rng([self.seed, 0])

    def noise_rng(self) -> np.random.Generator:
        """Randomness of this run alone."""
        return np.random.default_rng([self.seed, 1, self.batch_size])


@dataclass(frozen=True)
class Track:
    """The motion of one simulated run, `(record,)` each.

    Attributes:
        distance_sq: ‖w_t − w_0‖².
        weight_sq: ‖w_t‖².
        overlap: ⟨w_t, w_0⟩.
        weights: number of weights.
        loss: loss at the record, or None.
        gradient_sq: |G|² at the record, or None.
        noise_trace: S = tr Σ, the same everywhere; 0 where unknown.
    """

    distance_sq: Array
    weight_sq: Array
    overlap: Array
    weights: int
    loss: Array | None = None
    gradient_sq: Array | None = None
    noise_trace: float = 0.0


class Simulator(Protocol):
    """One kind of motion with its settings; a frozen dataclass."""

    def track(self, arm: Setup, records: Iterations) -> Track:
        """The motion of one arm at the given iterations."""
        ...


@dataclass(frozen=True)
class FieldWalk:
    """SGD on a d-dimensional random potential with D(r) ≈ strength²·r^α.

    Attributes:
        alpha: α in (0, 2).
        dimension: number of weights.
        strength: c.
        k_min: smallest wave number.
        k_max: largest wave number.
        modes: plane waves.
        temperature: T at the base batch size and rate.
    """

    alpha: float = 1.0
    dimension: int = 10
    strength: float = 1.6
    k_min: float = 3e-3
    k_max: float = 3.0
    modes: int = 100
    temperature: float = 0.5

    def track(self, arm: Setup, records: Iterations) -> Track:
        """One walker on the landscape of the arm's seed."""
        band = Spectrum(
            self.alpha, self.dimension, self.strength, self.k_min, self.k_max, self.modes
        )
        temperature = not_negative(self.temperature, "temperature") * arm.heat
        walk = langevin(
            fourier_field(band, fields=1, rng=arm.landscape_rng()),
            records,
            step=arm.rate,
            temperature=temperature,
            rng=arm.noise_rng(),
        )
        moved = walk.distance_sq[:, 0, 0]
        noise = noise_factor(arm.batch_size, arm.data_size or None)
        return Track(
            moved,
            moved,
            np.zeros_like(moved),
            self.dimension,
            loss=walk.potential[:, 0, 0],
            gradient_sq=walk.gradient_sq[:, 0, 0],
            noise_trace=self.dimension * 2.0 * temperature / (arm.rate * float(noise) or np.inf),
        )


@dataclass(frozen=True)
class LineWalk:
    """A walker on a line: the exact thermal distance √⟨x²⟩ on one fractional Brownian potential.

    Attributes:
        hurst: H = α/2 in (0, 1).
        strength: standard deviation of a step of the potential.
        reach: sites on either side.
        temperature: T at the base batch size and rate.
    """

    hurst: float = 0.5
    strength: float = 1.0
    reach: int = 1000
    temperature: float = 1.0

    def track(self, arm: Setup, records: Iterations) -> Track:
        """Time is Ση/η₀, in jumps between equal neighbours."""
        v = potential.fractional_brownian(
            self.reach,
            hurst=self.hurst,
            samples=1,
            rng=arm.landscape_rng(),
            scale=positive(self.strength, "strength"),
        )
        temperature = positive(self.temperature, "temperature") * arm.heat
        moved = records > 0
        times = records[moved] * arm.rate / arm.base_learning_rate
        distance_sq = np.zeros(len(records))
        distance_sq[moved] = line.occupation(v, times, temperature=temperature).mean_sq[0]
        return Track(distance_sq, distance_sq, np.zeros_like(distance_sq), 1)


@dataclass(frozen=True)
class NoisyQuadratic:
    """SGD on a quadratic with log-uniform curvatures and gradient noise ∝ curvature (N1, N2).

    Attributes:
        modes: number of weights.
        smallest: smallest curvature.
        largest: largest curvature.
        start: initial distance of each mode to the minimum.
        noise: gradient variance of one sample over curvature.
        momentum: m.
    """

    modes: int = 200
    smallest: float = 1e-4
    largest: float = 1.0
    start: float = 1.0
    noise: float = 1.0
    momentum: float = 0.0

    def track(self, arm: Setup, records: Iterations) -> Track:
        """One repetition; noise 0 is gradient descent."""
        largest = positive(self.largest, "largest")
        smallest = in_range(self.smallest, "smallest", 0.0, largest, closed=(False, True))
        h = np.geomspace(smallest, largest, count(self.modes, "modes"))
        spread = not_negative(self.noise, "noise") * float(
            noise_factor(arm.batch_size, arm.data_size or None)
        )
        motion = sgd.noisy_quadratic(
            h,
            np.full(self.modes, self.start),
            records,
            noise=spread * h,
            learning_rate=arm.rate,
            batch_size=1.0,
            walkers=1,
            rng=arm.noise_rng(),
            momentum=self.momentum,
        )
        return _of_motion(motion)


@dataclass(frozen=True)
class ScaleInvariant:
    """SGD on weights behind a normalization layer, with or without decay (N3, N4).

    Attributes:
        dimension: number of weights.
        start_norm: ‖w₀‖.
        gradient_norm: norm of the batch gradient at unit weights, at the base batch size.
        weight_decay: λ.
    """

    dimension: int = 500
    start_norm: float = 10.0
    gradient_norm: float = 10.0
    weight_decay: float = 0.0

    def track(self, arm: Setup, records: Iterations) -> Track:
        """One repetition; the gradient is all noise, so its norm goes with 1/√M."""
        motion = sgd.scale_invariant_walk(
            records,
            dimension=self.dimension,
            start_norm=self.start_norm,
            gradient_norm=self.gradient_norm * float(np.sqrt(arm.noise_ratio)),
            learning_rate=arm.rate,
            weight_decay=self.weight_decay,
            rng=arm.noise_rng(),
        )
        return _of_motion(motion)


@dataclass(frozen=True)
class Separable:
    """Gradient descent on separable logistic regression (N5); the batch size sets the rate only.

    Attributes:
        margin: γ.
        dimension: number of weights; the data are mirror images about the first axis.
        spread: standard deviation of the data along the other axes.
    """

    margin: float = 1.0
    dimension: int = 4
    spread: float = 1.0

    def track(self, arm: Setup, records: Iterations) -> Track:
        """Descent from 0."""
        others = count(self.dimension, "dimension", least=2) - 1
        spread = not_negative(self.spread, "spread")
        sideways = spread * arm.landscape_rng().standard_normal((10 * self.dimension, others))
        along = np.full((2 * len(sideways), 1), positive(self.margin, "margin"))
        x = np.hstack([along, np.concatenate([sideways, -sideways])])
        return _of_motion(sgd.separable_logistic(x, records, learning_rate=arm.rate))


@dataclass(frozen=True)
class DriftingWalk:
    """SGD on a constant slope with independent noise (N7): diffusion first, drift later.

    Attributes:
        dimension: number of weights.
        gradient_sq: |G|².
        noise_trace: S = tr Σ of one sample.
    """

    dimension: int = 100
    gradient_sq: float = 1.0
    noise_trace: float = 1000.0

    def track(self, arm: Setup, records: Iterations) -> Track:
        """One repetition."""
        size = count(self.dimension, "dimension")
        g = not_negative(self.gradient_sq, "gradient_sq")
        s = not_negative(self.noise_trace, "noise_trace")
        spread = s / size * float(noise_factor(arm.batch_size, arm.data_size or None))
        motion = sgd.drifting_walk(
            np.full(size, np.sqrt(g / size)),
            records,
            noise=np.full(size, spread),
            learning_rate=arm.rate,
            batch_size=1.0,
            walkers=1,
            rng=arm.noise_rng(),
        )
        track = _of_motion(motion)
        return Track(
            track.distance_sq,
            track.weight_sq,
            track.overlap,
            size,
            gradient_sq=np.full(len(records), g),
            noise_trace=s,
        )


@dataclass(frozen=True)
class LawCurve:
    """A growth law with Gaussian noise that is correlated in ln t; any law, exactly.

    Attributes:
        law: name of a law of `growth.LAWS` or `null.NULL_LAWS`.
        parameters: some or all of the law's parameters; its example gives the others.
        noise: standard deviation over the final distance.
        correlation: correlation length in ln t; 0 is white noise.
        batch_exponent: y in d ∝ (M/M₀)^y; 0 makes batch sizes coincide.
        start_norm: ‖w₀‖; weights move at a right angle to it.
    """

    law: str = "growth"
    parameters: Mapping[str, ArrayLike] = field(default_factory=dict)
    noise: float = 0.01
    correlation: float = 0.3
    batch_exponent: float = 0.0
    start_norm: float = 10.0

    def track(self, arm: Setup, records: Iterations) -> Track:
        """The curve at the arm's batch size; distances that noise makes negative become 0."""
        moved = records > 0
        t = records[moved].astype(np.float64)
        law = law_named(self.law)
        d = law.distance(t, law.completed(self.parameters))
        d = d + not_negative(self.noise, "noise") * d[-1] * self._noise(t, arm.noise_rng())
        distance = np.zeros(len(records))
        distance[moved] = np.maximum(d, 0.0)
        growth = finite(self.batch_exponent, "batch_exponent")
        distance *= (arm.batch_size / arm.base_batch_size) ** growth
        start_sq = positive(self.start_norm, "start_norm") ** 2
        return Track(
            distance**2, start_sq + distance**2, np.full(len(records), start_sq), weights=1000
        )

    def _noise(self, t: Array, rng: np.random.Generator) -> Array:
        """A stationary Gaussian process with correlation e^{−Δln t/ℓ}, at the times t."""
        length = not_negative(self.correlation, "correlation")
        kept = np.exp(-np.diff(np.log(t)) / length) if length > 0 else np.zeros(len(t) - 1)
        noise = rng.standard_normal(len(t))
        for i, share in enumerate(kept):
            noise[i + 1] = share * noise[i] + np.sqrt(1.0 - share**2) * noise[i + 1]
        return noise


def _of_motion(motion: sgd.Motion) -> Track:
    return Track(
        motion.distance_sq[:, 0], motion.weight_sq[:, 0], motion.overlap[:, 0], motion.weights
    )
