"""The growth family d = a + b u(t; p, τ) and the small basis that spans all its members.

With ℓ = ln(t + τ) the regressor is u = (e^{pℓ} − 1)/p: the logarithm at p = 0, the square root at
p = ½, ballistic growth at p = 1 and algebraic saturation for p < 0. Over a fixed set of times
every member of the family is, to rounding, a combination of a dozen fixed vectors. Likelihoods are
therefore evaluated in the coordinates of those vectors and cost nothing per recorded time.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffusion.laws import growth_regressor

Array = NDArray[np.float64]

EXPONENT_LOW, EXPONENT_HIGH = -2.0, 1.5
# Where all |pℓ| lie below this the quotients lose digits to cancellation, and their Taylor series
# is exact to 1e-10.
_SERIES = 1e-3


class Tangent(NamedTuple):
    """The regressor and its derivatives, each of shape (*, time).

    Attributes:
        curve: u.
        exponent: ∂u/∂p.
        onset: ∂u/∂τ.
    """

    curve: Array
    exponent: Array
    onset: Array


def tangent(log_time: Array, exponent: Array) -> Tangent:
    """The regressor u = (e^{pℓ} − 1)/p with its derivatives in p and τ.

    ∂u/∂p = (ℓ e^{pℓ} − u)/p, and ℓ²/2 where p = 0; ∂u/∂τ = e^{(p − 1)ℓ}.

    Arguments:
        log_time: ℓ = ln(t + τ), shape (*, time).
        exponent: p, shape (*, 1).

    Returns:
        The three curves.
    """
    product = exponent * log_time
    grown = np.expm1(product)
    near = np.abs(product).max(axis=-1, keepdims=True) < _SERIES
    power = np.where(near, 1.0, exponent)
    curve = grown / power
    along = (log_time * (grown + 1.0) - curve) / power
    if near.any():
        curve = np.where(near, log_time * (1 + product / 2 + product**2 / 6), curve)
        along = np.where(near, log_time**2 * (0.5 + product / 3 + product**2 / 8), along)
    return Tangent(curve, along, (grown + 1.0) * np.exp(-log_time))


@dataclass(frozen=True)
class Basis:
    """Orthonormal vectors that span the family, less its mean, over fixed times.

    Attributes:
        times: t, shape (time,), iterations.
        unit: the time that is 1 inside the computation, iterations.
        vectors: shape (time, rank), orthonormal and orthogonal to the constant.
        onsets: the smallest and the largest onset allowed, iterations.
    """

    times: Array
    unit: float
    vectors: Array
    onsets: tuple[float, float]

    def log_time(self, shift: Array) -> Array:
        """ln((t + τ)/unit) for shift s = ln(t₁ + τ), shape (*shift, time)."""
        onset = np.exp(shift) - self.times[0]
        return np.log((self.times + onset[..., None]) / self.unit)

    def coordinates(self, exponent: Array, shift: Array) -> Array:
        """Coordinates of u(p, s), shape (*, rank)."""
        return growth_regressor(self.log_time(shift), exponent[..., None]) @ self.vectors

    def tangent(self, exponent: Array, shift: Array) -> Array:
        """Coordinates of u, ∂u/∂p and ∂u/∂s, shape (3, *, rank)."""
        curves = tangent(self.log_time(shift), exponent[..., None])
        along_onset = curves.onset * np.exp(shift)[..., None] / self.unit
        return np.stack([curves.curve, curves.exponent, along_onset]) @ self.vectors

    @property
    def shift_low(self) -> float:
        """Shift s at the smallest onset allowed."""
        return float(np.log(self.times[0] + self.onsets[0]))

    @property
    def shift_high(self) -> float:
        """Shift s at the largest onset allowed."""
        return float(np.log(self.times[0] + self.onsets[1]))


def family_basis(times: Array, onsets: tuple[float, float]) -> Basis:
    """Basis of the growth family over given times.

    Arguments:
        times: t, shape (time,), increasing and positive, iterations.
        onsets: the smallest and the largest onset to span, iterations; equal ones fix it.

    Returns:
        The basis; its rank follows from the singular values of a dense sample of the family.
    """
    unit = float(np.exp(np.mean(np.log(times))))
    empty = Basis(times, unit, np.empty((times.size, 0)), onsets)
    exponents = np.linspace(EXPONENT_LOW - 0.1, EXPONENT_HIGH + 0.1, 73)
    shifts = np.linspace(empty.shift_low, empty.shift_high, 25 if onsets[1] > onsets[0] else 1)
    p, s = (axis.ravel() for axis in np.meshgrid(exponents, shifts, indexing="ij"))
    curves = growth_regressor(empty.log_time(s), p[:, None])
    curves -= curves.mean(axis=1, keepdims=True)
    curves /= np.linalg.norm(curves, axis=1, keepdims=True)
    _, size, vectors = np.linalg.svd(curves, full_matrices=False)
    # The tangent vectors are limits of differences of members, hence the small threshold.
    rank = int(np.sum(size > 1e-8 * size[0]))
    return Basis(times, unit, np.ascontiguousarray(vectors[:rank].T), onsets)
