"""The growth family over fixed times, and all else that series recorded at the same times share.

    d = a + b u(t; p, τ),    u = (e^{pℓ} − 1)/p,    ℓ = ln(t + τ)

The regressor u is the logarithm at p = 0, the square root at p = ½, ballistic growth at p = 1 and
algebraic saturation for p < 0. Over fixed times every member of the family is, to rounding, a
combination of a dozen fixed vectors, its `Basis`. Likelihoods are therefore evaluated in the
coordinates of those vectors and cost nothing per recorded time. A `Frame` holds the basis with
what the noise menu makes of it and a coarse lattice of members to begin searches from; it is
computed once per set of times.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ultraslow.diffusion.laws import growth_regressor

from .noise_models import NoiseModel, handicap, noise_covariance

Array = NDArray[np.float64]
Index = NDArray[np.intp]

EXPONENT_LOW, EXPONENT_HIGH = -2.0, 1.5
# Where all |pℓ| lie below this the quotients lose digits to cancellation, and their Taylor series
# is exact to 1e-10.
_SERIES = 1e-3
_LEAST = 1e-9  # of the variance
SPACING = 0.125  # of the lattice in p; 0 is one of its points


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


def curve_gradients(log_time: Array, exponent: Array, slope: Array) -> Array:
    """Derivatives of d in (a, b, p, τ).

    Arguments:
        log_time: ln(t + τ), shape (series, time).
        exponent: p, shape (series,).
        slope: b, shape (series,).

    Returns:
        The derivatives, shape (series, time, 4).
    """
    curves, b = tangent(log_time, exponent[:, None]), slope[:, None]
    ones = np.ones_like(log_time)
    return np.stack([ones, curves.curve, b * curves.exponent, b * curves.onset], axis=-1)


@dataclass(frozen=True)
class Basis:
    """Orthonormal vectors that span the family, less its mean, over fixed times.

    Attributes:
        times: t, shape (time,), iterations.
        unit: the time that is 1 inside the computation, iterations.
        shift_low: s = ln(t₁ + τ) at the smallest onset allowed.
        shift_high: s at the largest onset an estimate may have; the same where the onset is known.
        shift_latest: s at the largest onset that intervals allow for.
        vectors: shape (time, rank), orthonormal and orthogonal to the constant.
    """

    times: Array
    unit: float
    shift_low: float
    shift_high: float
    shift_latest: float
    vectors: Array

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


def family_basis(times: Array, onsets: tuple[float, float], latest: float | None = None) -> Basis:
    """Basis of the growth family over given times.

    Arguments:
        times: t, shape (time,), increasing and positive, iterations.
        onsets: the smallest and the largest onset of estimates, iterations; equal ones fix it.
        latest: the largest onset that intervals allow for, iterations; by default the same.

    Returns:
        The basis; its rank follows from the singular values of a dense sample of the family.
    """
    unit = float(np.exp(np.mean(np.log(times))))
    ends = (*onsets, onsets[1] if latest is None else latest)
    low, high, last = (float(np.log(times[0] + onset)) for onset in ends)
    empty = Basis(times, unit, low, high, last, np.empty((times.size, 0)))
    exponents = np.linspace(EXPONENT_LOW - 0.1, EXPONENT_HIGH + 0.1, 73)
    shifts = np.linspace(low, last, 33 if last > low else 1)
    p, s = (axis.ravel() for axis in np.meshgrid(exponents, shifts, indexing="ij"))
    curves = growth_regressor(empty.log_time(s), p[:, None])
    curves -= curves.mean(axis=1, keepdims=True)
    curves /= np.linalg.norm(curves, axis=1, keepdims=True)
    _, size, vectors = np.linalg.svd(curves, full_matrices=False)
    # The tangent vectors are limits of differences of members, hence the small threshold.
    rank = int(np.sum(size > 1e-8 * size[0]))
    # Vectors of small singular values hold some of the constant again.
    kept = vectors[:rank].T - vectors[:rank].mean(axis=1)
    return Basis(times, unit, low, high, last, np.linalg.qr(kept)[0])


class Members(NamedTuple):
    """Members of the family.

    Attributes:
        coordinates: of u, shape (member, rank).
        squared_lengths: ⟨u, u⟩ in each noise model's metric, shape (member, model).
    """

    coordinates: Array
    squared_lengths: Array


def members(basis: Basis, grams: Array, exponent: Array, shift: Array) -> Members:
    """Members u(p, s) of the family.

    Arguments:
        basis: of the time grid.
        grams: the basis vectors' inner products, as in `Frame`.
        exponent: p, shape (member,).
        shift: s, shape (member,).
    """
    curve = basis.coordinates(exponent, shift)
    # One product of all pairs of coordinates: no array of (member, model, rank).
    pairs = (curve[:, :, None] * curve[:, None, :]).reshape(-1, curve.shape[1] ** 2)
    return Members(curve, pairs @ grams.reshape(grams.shape[0], -1).T)


@dataclass(frozen=True)
class Lattice:
    """Members of the family on a grid of exponents and onsets, the same for all series.

    It finds the neighbourhood of each series' maximum without starting values. Its spacing would
    be coarse beside the standard error of a clean curve, so no test statistic is taken from it.

    Attributes:
        exponents: p, shape (exponent,).
        shifts: s = ln(t₁ + τ), shape (shift,).
        usual: how many of them, from the first, estimates may have.
        curves: coordinates of each member, (exponent · shift, rank).
        models: indices of the noise models the lattice is searched under.
        weights: factor of RSS that turns it into exp(−2ℓ/(n − 2)), (model, exponent · shift).
        scales: 1/|u| in each model's metric, (model, exponent · shift).
    """

    exponents: Array
    shifts: Array
    usual: int
    curves: Array
    models: tuple[int, ...]
    weights: Array
    scales: Array


@dataclass(frozen=True)
class Frame:
    """What all series recorded at the same times share.

    Attributes:
        basis: the growth family at these times.
        models: the noise menu, of length (model,).
        freedom: residual degrees of freedom n − 2.
        roots: L with LL' = C, (model, time, time).
        whiteners: F with F'F = C⁻¹ less its projection on the constant, (model, time, time).
        loads: C⁻¹-projected basis vectors, (model, time, rank).
        grams: basis vectors' inner products in that metric, (model, rank, rank).
        constants: −½ ln|C| − ½ ln(1'C⁻¹1) + ½ ln n, less the model's handicap, (model,).
        lattice: members to begin a search from.
    """

    basis: Basis
    models: tuple[NoiseModel, ...]
    freedom: int
    roots: Array
    whiteners: Array
    loads: Array
    grams: Array
    constants: Array
    lattice: Lattice


def frame(
    times: Array,
    models: tuple[NoiseModel, ...],
    *,
    onsets: tuple[float, float],
    latest: float | None = None,
    iterations: Array | None = None,
) -> Frame:
    """Shared quantities of all series recorded at given times.

    Arguments:
        times: t, shape (time,), increasing and positive, iterations or readings of another clock.
        models: the noise menu.
        onsets: the smallest and the largest onset of estimates, iterations.
        latest: the largest onset that intervals allow for, iterations; by default the same.
        iterations: at the records, where times are another clock's.

    Returns:
        The frame.
    """
    basis = family_basis(times, onsets, latest)
    roots = _roots(np.stack([noise_covariance(model, times, iterations) for model in models]))
    whiteners, constants = _whiteners(roots)
    turned = whiteners @ basis.vectors
    grams = turned.transpose(0, 2, 1) @ turned
    constants = constants - [handicap(model) for model in models]
    return Frame(
        basis=basis,
        models=models,
        freedom=times.size - 2,
        roots=roots,
        whiteners=whiteners,
        loads=whiteners.transpose(0, 2, 1) @ turned,
        grams=grams,
        constants=constants,
        lattice=_lattice(basis, models, grams, constants),
    )


def _roots(shapes: Array) -> Array:
    """L with LL' = C, for C + 10⁻⁹ I·(mean variance) where records lie closer than rounding tells.

    They do on clocks that hardly move, such as a summed rate that has all but ended.
    """
    try:
        return np.asarray(np.linalg.cholesky(shapes))
    except np.linalg.LinAlgError:
        return np.stack([_root(shape) for shape in shapes])


def _root(shape: Array) -> Array:
    try:
        return np.asarray(np.linalg.cholesky(shape))
    except np.linalg.LinAlgError:
        raised = shape + _LEAST * np.diagonal(shape).mean() * np.eye(len(shape))
        return np.asarray(np.linalg.cholesky(raised))


def _whiteners(roots: Array) -> tuple[Array, Array]:
    """F as in `Frame.whiteners`, and the series-independent part of each likelihood, (model,)."""
    inverses = np.linalg.inv(roots)
    ones = inverses.sum(axis=2)
    length = (ones[:, None] @ ones[:, :, None])[:, 0]
    along = (ones[:, None] @ inverses)[:, 0]
    projected = inverses - ones[:, :, None] * along[:, None] / length[..., None]
    log_det = 2 * np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    constants = 0.5 * (-log_det - np.log(length[:, 0]) + np.log(roots.shape[1]))
    return projected, constants


def _lattice(
    basis: Basis, models: tuple[NoiseModel, ...], grams: Array, constants: Array
) -> Lattice:
    exponents = np.arange(EXPONENT_LOW, EXPONENT_HIGH + SPACING / 2, SPACING)
    usual = _shifts(basis.shift_low, basis.shift_high)
    shifts = np.concatenate([usual, _shifts(basis.shift_high, basis.shift_latest)[1:]])
    p, s = (axis.ravel() for axis in np.meshgrid(exponents, shifts, indexing="ij"))
    curves, lengths = members(basis, grams, p, s)
    searched = list(_contrasting(models))
    length = lengths[:, searched].T
    constant = constants[searched, None] + 0.5 * np.log(np.einsum("gr,gr->g", curves, curves))
    weights = np.exp(-2 / (basis.times.size - 2) * (constant - 0.5 * np.log(length)))
    scales = 1 / np.sqrt(length)
    return Lattice(exponents, shifts, usual.size, curves, tuple(searched), weights, scales)


def _shifts(low: float, high: float) -> Array:
    count = max(3, 1 + round((high - low) / 0.6))
    return np.linspace(low, high, count) if high - low >= 1e-9 else np.array([low])


def _contrasting(models: tuple[NoiseModel, ...]) -> tuple[int, ...]:
    """One model of each kind, with the middle one of the correlated kinds."""
    simple = [not (model.nugget or model.power) and model.hurst == 0.5 for model in models]
    plain = np.flatnonzero(simple).tolist()
    kinds = dict.fromkeys(model.kind for model in models)
    groups = [[i for i in plain if models[i].kind == kind] for kind in kinds]
    return tuple(group[len(group) // 2] for group in groups if group)


@dataclass(frozen=True)
class Point:
    """Where each series stands on its likelihood surface.

    Attributes:
        exponent: p, shape (series,).
        shift: s = ln(t₁ + τ), shape (series,).
        model: index of the noise model, shape (series,).
        value: ℓ there, shape (series,).
    """

    exponent: Array
    shift: Array
    model: Index
    value: Array


class Parameters(NamedTuple):
    """What is left to estimate where p, τ and the noise model are given.

    Attributes:
        offset: a, the distance at t + τ = 1 iteration, shape (series,).
        slope: b, shape (series,).
        onset: τ, iterations, shape (series,).
        covariance: of (a, b, p, τ), σ²(J'C⁻¹J)⁺, shape (series, 4, 4), asymptotic; an exponent or
            onset at the edge of its range counts as known.
    """

    offset: Array
    slope: Array
    onset: Array
    covariance: Array


def parameters(frame: Frame, point: Point, values: Array, sigma: Array) -> Parameters:
    """Generalized-least-squares a and b of each series, with time in iterations.

    Arguments:
        frame: shared quantities of the time grid.
        point: (p, τ) and noise model of each series.
        values: d, shape (series, time).
        sigma: σ, shape (series,), unit of the distance.

    Returns:
        The parameters of d = a + b [(t + τ)^p − 1]/p.
    """
    offset, slope = np.empty(values.shape[0]), np.empty(values.shape[0])
    covariance = np.empty((values.shape[0], 4, 4))
    for model in np.unique(point.model):
        rows = np.flatnonzero(point.model == model)
        root, exponent, shift = frame.roots[model], point.exponent[rows], point.shift[rows]
        curves = growth_regressor(frame.basis.log_time(shift), exponent[:, None])
        a, b = _generalized_least_squares(root, curves, values[rows])
        offset[rows], slope[rows] = to_iterations(a, b, exponent, unit=frame.basis.unit)
        covariance[rows] = _unit_covariance(frame.basis, root, exponent, shift, slope[rows])
    onset = np.maximum(np.exp(point.shift) - frame.basis.times[0], 0.0)
    return Parameters(offset, slope, onset, covariance * (sigma**2)[:, None, None])


def _generalized_least_squares(root: Array, curve: Array, values: Array) -> tuple[Array, Array]:
    """Offset a and slope b of each series on its own curve, under one noise."""
    count = values.shape[0]
    white = np.linalg.solve(root, np.concatenate([np.ones((1, values.shape[1])), curve, values]).T)
    ones, curves, data = white[:, 0], white[:, 1 : 1 + count], white[:, 1 + count :]
    weight = ones @ ones
    mean_curve, mean_data = ones @ curves / weight, ones @ data / weight
    centred = curves - np.outer(ones, mean_curve)
    slope = np.sum(centred * data, axis=0) / np.sum(centred**2, axis=0)
    return mean_data - slope * mean_curve, slope


def to_iterations(
    offset: Array, slope: Array, exponent: Array, *, unit: float
) -> tuple[Array, Array]:
    """Offset a and slope b for time in iterations, from those for time in another unit T.

    b → b T^{−p}, a → a − b T^{−p} (T^p − 1)/p.
    """
    scaled = slope * unit**-exponent
    return offset - scaled * growth_regressor(
        np.log(np.full_like(exponent, unit)), exponent
    ), scaled


def _unit_covariance(
    basis: Basis, root: Array, exponent: Array, shift: Array, slope: Array
) -> Array:
    """(J'C⁻¹J)⁺ for the parameters (a, b, p, τ), shape (series, 4, 4)."""
    free_onset = (shift > basis.shift_low + 1e-9) & (shift < basis.shift_high - 1e-9)
    free_exponent = (exponent > EXPONENT_LOW) & (exponent < EXPONENT_HIGH)
    onset = np.exp(shift) - basis.times[0]
    log_time = np.log(basis.times + onset[:, None])
    design = np.linalg.inv(root) @ curve_gradients(log_time, exponent, slope)
    design[..., 2] *= free_exponent[:, None]
    design[..., 3] *= free_onset[:, None]
    length = np.linalg.norm(design, axis=1, keepdims=True)
    length[length == 0] = 1.0
    unit = design / length
    inside = np.linalg.pinv(unit.transpose(0, 2, 1) @ unit, rcond=1e-12, hermitian=True)
    return inside / (length * length.transpose(0, 2, 1))
