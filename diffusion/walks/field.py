"""Random potentials in d dimensions with D(r) = E[(V(x) − V(y))²] ≈ c²·r^α.

Sums of plane waves over log-spaced wave numbers; the power holds between the shortest and the
longest wave. Each sampled field is Gaussian in the limit of many waves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ultraslow.diffusion._validation import count, in_range, none_negative, positive

from .potential import Structure, over_samples

Array = NDArray[np.float64]

# Above this dimension the Gamma function and the Bessel function of Ω leave the range of a float.
_HIGH = 200
# Nodes that average cos(u·cos θ) over directions to 1e-14, up to the u/√d where Ω is below 1e-15.
_NODES, _VANISHED = 80, 8.6


@dataclass(frozen=True)
class Spectrum:
    """The band of plane waves of a d-dimensional field with D(r) ≈ c²·r^α.

    Attributes:
        alpha: exponent α in (0, 2).
        dimension: d.
        strength: c, in the unit of V per length^(α/2).
        k_min: smallest wave number; D(r) falls short of the power above about 1/k_min.
        k_max: largest wave number; below about 1/k_max the field is smooth and D(r) ∝ r².
        modes: number of plane waves.
    """

    alpha: float
    dimension: int
    strength: float = 1.0
    k_min: float = 1e-2
    k_max: float = 10.0
    modes: int = 200

    def __post_init__(self) -> None:
        checked = {
            "alpha": in_range(self.alpha, "alpha", 0, 2),
            "dimension": count(self.dimension, "dimension"),
            "strength": positive(self.strength, "strength"),
            "k_min": in_range(self.k_min, "k_min", 0, positive(self.k_max, "k_max")),
            "k_max": positive(self.k_max, "k_max"),
            "modes": count(self.modes, "modes"),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class FourierField:
    """Independent sampled fields V(x) = Σ_j a_j·cos(k_j·x + φ_j).

    Attributes:
        amplitudes: a `(field, mode)`, in the unit of V.
        wave_vectors: k `(field, dimension, mode)`, inverse length.
        phases: φ `(field, mode)`, radians.
    """

    amplitudes: Array
    wave_vectors: Array
    phases: Array

    def value(self, position: Array) -> Array:
        """V `(field, walker)` at positions `(field, walker, dimension)`."""
        waves = np.cos(self._angles(position))
        return np.matmul(waves, self.amplitudes[:, :, None])[..., 0]

    def gradient(self, position: Array) -> Array:
        """∇V = −Σ_j a_j·sin(k_j·x + φ_j)·k_j, shaped like the positions."""
        waves = np.sin(self._angles(position))
        waves *= self.amplitudes[:, None, :]
        return -np.matmul(waves, self.wave_vectors.swapaxes(1, 2))

    def part(self, fields: slice) -> "FourierField":
        """The same potentials, some of them."""
        return FourierField(
            self.amplitudes[fields], self.wave_vectors[fields], self.phases[fields]
        )

    def _angles(self, position: Array) -> Array:
        angles = np.matmul(position, self.wave_vectors)
        angles += self.phases[:, None, :]
        return angles


def fourier_field(spectrum: Spectrum, *, fields: int, rng: np.random.Generator) -> FourierField:
    """Independent d-dimensional fields from a band of random plane waves.

    Each log-spaced bin of wave numbers holds one wave of random direction and phase, its wave
    number drawn uniformly in ln k inside the bin; a_j² = A·|k_j|^{−α}·Δln k, where A makes the
    full integral over k equal to c²·r^α.

    Arguments:
        spectrum: exponent, strength and band.
        fields: independent fields.
        rng: source of randomness.

    Returns:
        The sampled fields.

    >>> field = fourier_field(Spectrum(1.0, 3), fields=2, rng=np.random.default_rng(0))
    >>> field.value(np.zeros((2, 5, 3))).shape
    (2, 5)
    """
    shape = (count(fields, "fields"), spectrum.modes)
    width = np.log(spectrum.k_max / spectrum.k_min) / spectrum.modes
    bins = np.arange(spectrum.modes) + rng.random(shape)
    k = spectrum.k_min * np.exp(width * bins)
    directions = rng.standard_normal((shape[0], spectrum.dimension, shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    amplitudes = np.sqrt(_density(spectrum) * k**-spectrum.alpha * width)
    return FourierField(
        amplitudes, directions * k[:, None, :], rng.uniform(0, 2 * np.pi, size=shape)
    )


def expected_structure(spectrum: Spectrum, distance: ArrayLike) -> Array:
    """The structure function of `fourier_field`, averaged over fields, finite band included.

        D(r) = A·∫ k^{−α}·(1 − Ω_d(k·r)) dln k over [k_min, k_max]

    Ω_d(u) = Γ(d/2)·(2/u)^{d/2−1}·J_{d/2−1}(u) is the mean of cos(u·cos θ) over directions. Over
    all k the integral is c²·r^α.

    Arguments:
        spectrum: exponent, strength and band.
        distance: r `(*)`.

    Returns:
        D(r) `(*)`, in the unit of V squared.

    >>> band = Spectrum(1.0, 3, strength=2.0, k_min=1e-4, k_max=1e4)
    >>> bool(abs(expected_structure(band, 5.0) / (2.0**2 * 5.0) - 1) < 0.01)
    True
    """
    r = none_negative(distance, "distance")
    # Midpoints in ln k, dense enough to resolve the oscillations of Ω at the largest k·r.
    widest = float(np.max(r, initial=0.0)) * spectrum.k_max
    points = int(2000 + 20 * widest)
    width = np.log(spectrum.k_max / spectrum.k_min) / points
    k = spectrum.k_min * np.exp(width * (np.arange(points) + 0.5))
    weights = _density(spectrum) * k**-spectrum.alpha * width
    lost = [weights @ _lost(k * radius, spectrum.dimension) for radius in r.flat]
    return np.reshape(lost, r.shape)


def field_structure(
    field: FourierField, distance: ArrayLike, *, pairs: int, rng: np.random.Generator
) -> Structure:
    """The structure function of d-dimensional fields, over random pairs of points.

    Pairs start at random points of a box much larger than the distances and point in random
    directions.

    Arguments:
        field: independent fields, two or more.
        distance: r `(distance,)`, one or more.
        pairs: pairs a field and distance.
        rng: source of randomness.

    Returns:
        D(r) at each distance and its standard error over fields.

    Raises:
        ValueError: for one field only, no distance or a distance out of range.
    """
    r = np.atleast_1d(none_negative(distance, "distance"))
    if r.ndim != 1 or not r.size:
        raise ValueError(f"distance: found shape {r.shape}, expected one or more in a row")
    count(len(field.phases), "number of fields in field", least=2)
    shape = (len(field.phases), count(pairs, "pairs"), field.wave_vectors.shape[1])
    squares = []
    for radius in r:
        start = 1e3 * r.max() * rng.standard_normal(shape)
        direction = rng.standard_normal(shape)
        direction *= radius / np.linalg.norm(direction, axis=-1, keepdims=True)
        change = field.value(start + direction) - field.value(start)
        squares.append(np.mean(change**2, axis=1))
    return over_samples(r, np.stack(squares, axis=1))


def _density(spectrum: Spectrum) -> float:
    """A such that A·∫₀^∞ k^{−α}(1 − Ω_d(kr)) dln k = c²·r^α.

    The integral is 2^{−α}·Γ(1 − α/2)·Γ(d/2)/(α·Γ((d + α)/2))·r^α: integrate by parts and use
    Weber's integral of a power times a Bessel function.
    """
    half, a = spectrum.dimension / 2, spectrum.alpha
    ratio = np.exp(special.gammaln(half) - special.gammaln(half + a / 2))
    return float(spectrum.strength**2 * a * 2**a / (special.gamma(1 - a / 2) * ratio))


def _lost(u: Array, dimension: int) -> Array:
    """1 − Ω_d(u), by its power series at small u, where the difference would cancel."""
    half = dimension / 2
    series, term = np.zeros_like(u), np.ones_like(u)
    for m in range(1, 8):  # u < 1: the first term left out is below 1e-15
        term = term * -(u**2) / (4.0 * m * (half + m - 1.0))
        series -= term
    safe = np.maximum(u, 1.0)
    if dimension > _HIGH:
        return np.where(u < 1.0, series, 1.0 - _mean_of_many(safe, dimension))
    order = half - 1.0
    mean = special.gamma(half) * (2.0 / safe) ** order * special.jv(order, safe)
    return np.where(u < 1.0, series, 1.0 - mean)


def _mean_of_many(u: Array, dimension: int) -> Array:
    """Ω_d(u) in high dimensions, by quadrature with the density of cos θ, (1 − s²)^{(d−3)/2}."""
    s, weights = special.roots_gegenbauer(_NODES, dimension / 2 - 1.0)
    near = u < _VANISHED * np.sqrt(dimension)
    mean = np.zeros_like(u)
    for node, weight in zip(s[s > 0], weights[s > 0] / weights[s > 0].sum(), strict=True):
        mean[near] += weight * np.cos(node * u[near])
    return mean
