"""The growth family d = a + b u(t; p, τ) and the small basis that spans all its members.

With ℓ = ln(t + τ) the regressor is u = (e^{pℓ} − 1)/p: the logarithm at p = 0, the square root at
p = ½, ballistic growth at p = 1 and algebraic saturation for p < 0. Over a fixed set of times
every member of the family is, to rounding, a combination of a dozen fixed vectors. Likelihoods are
therefore evaluated in the coordinates of those vectors and cost nothing per recorded time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EXPONENT_LOW, EXPONENT_HIGH = -2.0, 1.5
# Below this |pℓ| the quotients lose digits to cancellation and their Taylor series is exact to
# rounding.
_SERIES = 1e-3


def regressor(log_time: Array, exponent: Array) -> Array:
    """Growth regressor, the Box–Tidwell transform of time.

    u = (e^{pℓ} − 1)/p, and ℓ where p = 0.

    References:
        Box and Tidwell (1962), Technometrics 4, 531: a transform of the regressor, so that
        likelihoods at different p compare without a Jacobian.

    Arguments:
        log_time: ℓ = ln(t + τ), any shape.
        exponent: p, broadcast against `log_time`.

    Returns:
        u, of the broadcast shape.

    >>> regressor(np.log([1.0, 4.0]), np.array(0.5)).tolist()
    [0.0, 2.0]
    """
    log_time, exponent = np.broadcast_arrays(log_time, exponent)
    power = np.where(exponent == 0, 1.0, exponent)
    return np.where(exponent == 0, log_time, np.expm1(power * log_time) / power)


def exponent_slope(log_time: Array, exponent: Array) -> Array:
    """Derivative of the regressor in the exponent.

    ∂u/∂p = (ℓ e^{pℓ} − u)/p, and ℓ²/2 where p = 0.

    Arguments:
        log_time: ℓ, any shape.
        exponent: p, broadcast against `log_time`.

    Returns:
        ∂u/∂p, of the broadcast shape.
    """
    log_time, exponent = np.broadcast_arrays(log_time, exponent)
    product = exponent * log_time
    near = np.abs(product) < _SERIES
    power = np.where(near, 1.0, exponent)
    direct = (log_time * np.exp(product) - np.expm1(product) / power) / power
    return np.where(near, log_time**2 * (0.5 + product / 3 + product**2 / 8), direct)


def onset_slope(log_time: Array, exponent: Array) -> Array:
    """Derivative of the regressor in the onset, ∂u/∂τ = (t + τ)^{p − 1}."""
    return np.exp((exponent - 1.0) * log_time)


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
        return regressor(self.log_time(shift), exponent[..., None]) @ self.vectors

    def tangent(self, exponent: Array, shift: Array) -> tuple[Array, Array, Array]:
        """Coordinates of u, ∂u/∂p and ∂u/∂s, each of shape (*, rank)."""
        log_time, p = self.log_time(shift), exponent[..., None]
        along_onset = onset_slope(log_time, p) * np.exp(shift)[..., None] / self.unit
        curves = (regressor(log_time, p), exponent_slope(log_time, p), along_onset)
        return tuple(curve @ self.vectors for curve in curves)  # type: ignore[return-value]

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
    curves = regressor(empty.log_time(s), p[:, None])
    curves -= curves.mean(axis=1, keepdims=True)
    curves /= np.linalg.norm(curves, axis=1, keepdims=True)
    _, size, vectors = np.linalg.svd(curves, full_matrices=False)
    # The tangent vectors are limits of differences of members, hence the small threshold.
    rank = int(np.sum(size > 1e-8 * size[0]))
    return Basis(times, unit, np.ascontiguousarray(vectors[:rank].T), onsets)
