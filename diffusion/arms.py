"""What a simulator is given and what it gives: an arm of a set of runs, and a track."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .ranges import count, positive
from .scaling import RULES, Rule, learning_rate, noise_factor

Array = NDArray[np.float64]
Iterations = NDArray[np.int64]


@dataclass(frozen=True)
class Arm:
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
            learning_rate(
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

    def track(self, arm: Arm, records: Iterations) -> Track:
        """The motion of one arm at the given iterations."""
        ...
