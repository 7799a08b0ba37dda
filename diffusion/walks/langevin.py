"""Walkers in d dimensions: overdamped Langevin motion on random fields, SGD among it.

In ten dimensions a step costs about two cosines for each walker and plane wave: one half is the
cosine, the other the products with the wave vectors (`tests/benchmarks/bench_walks.py`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ultraslow.diffusion._validation import count, iterations, not_negative, positive

from .field import FourierField

Array = NDArray[np.float64]

# Waves times walkers in a block, so that wave vectors stay in the second-level cache.
_BLOCK = 12_000


@dataclass(frozen=True)
class Trajectory:
    """Walkers in d dimensions, recorded at some iterations.

    Attributes:
        iteration: `(record,)`, 0 or later.
        position: x `(record, field, walker, dimension)`, in the unit of length; 0 at the start,
            iteration 0, whether that is recorded or not.
        path_sq: Σ‖Δx‖² up to the record `(record, field, walker)`, length squared.
        potential: V at the record `(record, field, walker)`.
        gradient_sq: ‖∇V‖² at the record `(record, field, walker)`.
    """

    iteration: NDArray[np.int64]
    position: Array
    path_sq: Array
    potential: Array
    gradient_sq: Array

    @property
    def distance_sq(self) -> Array:
        """‖x_t − x_0‖² `(record, field, walker)`, x_0 = 0 the start of the motion."""
        return np.sum(self.position**2, axis=-1)


def langevin(
    field: FourierField,
    records: ArrayLike,
    *,
    step: float,
    temperature: float,
    rng: np.random.Generator,
    walkers: int = 1,
) -> Trajectory:
    """Overdamped Langevin motion from the origin, x ← x − h·∇V(x) + √(2Th)·ξ.

    Each field is an independent landscape; the walkers on one field share it. Gradient descent
    with learning rate η, batch size M and isotropic gradient noise of variance σ² a sample is the
    case h = η, T = ησ²/(2M). T = 0 is descent without noise.

    Arguments:
        field: independent landscapes.
        records: iterations to record `(record,)`, increasing, from 0 on.
        step: h > 0; stable while h is well below 2 over the largest curvature.
        temperature: T >= 0, in the unit of V.
        rng: source of randomness.
        walkers: walkers on each field.

    Returns:
        Positions, squared path, potential and gradient at the records.

    Raises:
        ValueError: when an argument is out of range.

    >>> from ultraslow.diffusion.walks.field import Spectrum, fourier_field
    >>> rng = np.random.default_rng(0)
    >>> field = fourier_field(Spectrum(1.0, 3), fields=2, rng=rng)
    >>> langevin(field, [0, 10], step=0.01, temperature=0.3, rng=rng).position.shape
    (2, 2, 1, 3)
    """
    at = iterations(records, "records")
    step = positive(step, "step")
    noise = np.sqrt(2.0 * not_negative(temperature, "temperature") * step)
    walkers = count(walkers, "walkers")
    size = max(1, _BLOCK // (field.phases.shape[1] * walkers))
    blocks = [slice(i, i + size) for i in range(0, len(field.phases), size)]
    walks = [
        _walk(field.part(block), at, step=step, noise=noise, rng=rng, walkers=walkers)
        for block in blocks
    ]
    columns = (np.concatenate(parts, axis=1) for parts in zip(*walks, strict=True))
    return Trajectory(at, *columns)


def _walk(
    field: FourierField,
    records: NDArray[np.int64],
    *,
    step: float,
    noise: float,
    rng: np.random.Generator,
    walkers: int,
) -> tuple[Array, Array, Array, Array]:
    fields, dimension, _ = field.wave_vectors.shape
    x = np.zeros((fields, walkers, dimension))
    length = np.zeros((fields, walkers))
    rows: list[tuple[Array, Array, Array, Array]] = []
    for iteration in range(records[-1] + 1):
        gradient = field.gradient(x)
        if iteration == records[len(rows)]:
            slope_sq = np.sum(gradient**2, axis=-1)
            rows.append((x.copy(), length.copy(), field.value(x), slope_sq))
        move = noise * rng.standard_normal(x.shape) - step * gradient
        length += np.sum(move**2, axis=-1)
        x += move
    position, path_sq, potential, gradient_sq = map(np.stack, zip(*rows, strict=True))
    return position, path_sq, potential, gradient_sq
