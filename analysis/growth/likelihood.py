"""Restricted likelihood of the growth family under a menu of noise models.

The curve d = a + b u(t; p, τ) is linear in a and b, so both are eliminated exactly (variable
projection), and σ² with them. What remains for noise shape C is

    ℓ(p, τ, C) = −(n − 2)/2 ln RSS − ½ ln|C| − ½ ln|X'C⁻¹X| + ½ ln|X'X|,   X = [1, u(p, τ)],

where the last term makes restricted likelihoods comparable between different X. Everything that
does not depend on a series is computed once per set of times (`Frame`); everything that does not
depend on (p, τ) is computed once per series (`Moments`).

References:
    Golub and Pereyra (1973), SIAM J. Numer. Anal. 10, 413: variable projection.
    Harville (1974), Biometrika 61, 383: the restricted likelihood with its determinant terms.

The growth family d = a + b u(t; p, τ) and the small basis that spans all its members.

With ℓ = ln(t + τ) the regressor is u = (e^{pℓ} − 1)/p: the logarithm at p = 0, the square root at
p = ½, ballistic growth at p = 1 and algebraic saturation for p < 0. Over a fixed set of times
every member of the family is, to rounding, a combination of a dozen fixed vectors. Likelihoods are
therefore evaluated in the coordinates of those vectors and cost nothing per recorded time.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ultraslow.diffusion.laws import growth_regressor

from .noise_models import NoiseModel, covariance, handicap

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


Index = NDArray[np.intp]


@dataclass(frozen=True)
class Frame:
    """What all series recorded at the same times share.

    Attributes:
        basis: the growth family at these times.
        models: the noise menu, of length (model,).
        whiteners: F with F'F = C⁻¹ less its projection on the constant, (model, time, time).
        loads: C⁻¹-projected basis vectors, (model, time, rank).
        grams: basis vectors' inner products in that metric, (model, rank, rank).
        constants: −½ ln|C| − ½ ln(1'C⁻¹1) + ½ ln n, less the model's handicap, (model,).
    """

    basis: Basis
    models: tuple[NoiseModel, ...]
    whiteners: Array
    loads: Array
    grams: Array
    constants: Array

    @property
    def freedom(self) -> int:
        """Residual degrees of freedom n − 2."""
        return self.basis.times.size - 2


@dataclass(frozen=True)
class Moments:
    """What the likelihood needs to know of each series.

    Attributes:
        power: squared length of the whitened series less its mean, (series, model).
        loads: inner products with the basis vectors, (series, model, rank).
    """

    power: Array
    loads: Array

    def __getitem__(self, rows: Index) -> Self:
        return type(self)(self.power[rows], self.loads[rows])


def frame(times: Array, models: tuple[NoiseModel, ...], *, onsets: tuple[float, float]) -> Frame:
    """Shared quantities of all series recorded at given times.

    Arguments:
        times: t, shape (time,), increasing and positive, iterations.
        models: the noise menu.
        onsets: the smallest and the largest onset allowed, iterations.

    Returns:
        The frame.
    """
    basis = family_basis(times, onsets)
    parts = [_whitener(covariance(model, times)) for model in models]
    whiteners = np.stack([part[0] for part in parts])
    turned = whiteners @ basis.vectors
    return Frame(
        basis,
        models,
        whiteners,
        whiteners.transpose(0, 2, 1) @ turned,
        turned.transpose(0, 2, 1) @ turned,
        np.array([part[1] for part in parts]) - [handicap(model) for model in models],
    )


def _whitener(shape: Array) -> tuple[Array, float]:
    """F as in `Frame.whiteners`, and the series-independent part of the likelihood."""
    root = np.linalg.cholesky(shape)
    inverse = np.linalg.inv(root)
    ones = inverse.sum(axis=1)
    length = float(ones @ ones)
    projected = inverse - np.outer(ones, ones @ inverse) / length
    log_det = 2 * float(np.sum(np.log(np.diagonal(root))))
    return projected, 0.5 * (-log_det - np.log(length) + np.log(shape.shape[0]))


def moments(frame: Frame, values: Array) -> Moments:
    """Sufficient statistics of each series under each noise model.

    Arguments:
        frame: the shared quantities.
        values: d, shape (series, time).

    Returns:
        The moments.
    """
    centred = values - values.mean(axis=1, keepdims=True)
    power = np.empty((values.shape[0], len(frame.models)))
    for index, whitener in enumerate(frame.whiteners):
        white = centred @ whitener.T
        power[:, index] = np.einsum("st,st->s", white, white)
    flat = frame.loads.transpose(1, 0, 2).reshape(values.shape[1], -1)
    return Moments(power, (centred @ flat).reshape(*power.shape, -1))


def log_likelihood(frame: Frame, moments: Moments, curve: Array) -> Array:
    """Restricted log-likelihood of each series at its own member of the family, for every model.

    Arguments:
        frame: the shared quantities.
        moments: of the series.
        curve: the members' coordinates, shape (series, rank).

    Returns:
        ℓ, shape (series, model).
    """
    fitted = (moments.loads @ curve[:, :, None])[:, :, 0]
    length = lengths(frame, curve)
    own = combine(frame.constants, frame.freedom, moments.power, fitted=fitted, length=length)
    return own + 0.5 * np.log(np.einsum("sr,sr->s", curve, curve))[:, None]


def lengths(frame: Frame, curve: Array) -> Array:
    """Squared length of family members in each model's metric, shape (series, model)."""
    # One product of all pairs of coordinates: no array of (series, model, rank).
    pairs = (curve[:, :, None] * curve[:, None, :]).reshape(curve.shape[0], -1)
    return pairs @ frame.grams.reshape(len(frame.models), -1).T


def combine(
    constant: Array | float, freedom: int, power: Array, *, fitted: Array, length: Array
) -> Array:
    """Restricted log-likelihood less ½ ln|u|², from inner products.

    Arguments:
        constant: as in `Frame.constants`.
        freedom: n − 2.
        power: ⟨d, d⟩ in the metric of the noise.
        fitted: ⟨d, u⟩.
        length: ⟨u, u⟩.

    Returns:
        ℓ − ½ ln|u|², of the broadcast shape.
    """
    residual = power - fitted**2 / length
    # A curve without noise leaves only rounding, of either sign.
    residual = np.maximum(residual, 1e-26 + 1e-14 * power)
    return constant - 0.5 * freedom * np.log(residual) - 0.5 * np.log(length)
