"""The likelihood surface of each series over exponent, onset and noise model, and its maxima.

The curve d = a + b u(t; p, τ) is linear in a and b, so both are eliminated exactly (variable
projection), and σ² with them. What remains for noise shape C is

    ℓ(p, τ, C) = −(n − 2)/2 ln RSS − ½ ln|C| − ½ ln|X'C⁻¹X| + ½ ln|X'X|,   X = [1, u(p, τ)],

where the last term makes restricted likelihoods comparable between different X. What does not
depend on (p, τ) is computed once per series (`Products`). Each series then climbs from the best
point of its frame's lattice to its own maximum by Gauss–Newton steps, and chooses its noise model
anew on the way; a step is kept only where it raises the likelihood. `surface` does all of this,
`profile` finds the maxima at given exponents.

References:
    Golub and Pereyra (1973), SIAM J. Numer. Anal. 10, 413: variable projection.
    Harville (1974), Biometrika 61, 383: the restricted likelihood with its determinant terms.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .family import EXPONENT_HIGH, EXPONENT_LOW, Frame, Lattice, Members, Point, members

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_CHUNK = 256  # series at a time: the lattice's values then stay in cache
_REVISIONS = 3  # of the noise model
_SETTLED = 1e-5  # of ℓ; a likelihood ratio is compared with critical values of about 4
_ROUNDS = 6  # Gauss–Newton steps for p and τ
_ONSET_ROUNDS = 3  # for τ alone
_CLEAN, _NEARLY = 1e-9, 1e-3  # shares of a clean curve's variance outside the family and the fit
_CLEAN_ROUNDS = 20  # for p and τ of clean curves


class OwnProducts(NamedTuple):
    """Products of each series under one noise model: power (series,), loads (series, rank)."""

    power: Array
    loads: Array


@dataclass(frozen=True)
class Products:
    """Inner products of each series in the metric of each noise model: all that ℓ needs.

    Attributes:
        power: of the series less its mean with itself, (series, model).
        loads: with the basis vectors, (series, model, rank).
    """

    power: Array
    loads: Array

    def __getitem__(self, rows: Index) -> Self:
        return type(self)(self.power[rows], self.loads[rows])

    def under(self, model: Index) -> OwnProducts:
        """The products of each series under one noise model of its own."""
        rows = np.arange(model.size)
        return OwnProducts(self.power[rows, model], self.loads[rows, model])


def products(frame: Frame, values: Array) -> Products:
    """Inner products of each series under each noise model.

    Arguments:
        frame: the shared quantities.
        values: d, shape (series, time).

    Returns:
        The products.
    """
    centred = values - values.mean(axis=1, keepdims=True)
    power = np.empty((values.shape[0], len(frame.models)))
    for index, whitener in enumerate(frame.whiteners):
        white = centred @ whitener.T
        power[:, index] = np.einsum("st,st->s", white, white)
    flat = frame.loads.transpose(1, 0, 2).reshape(values.shape[1], -1)
    return Products(power, (centred @ flat).reshape(*power.shape, -1))


def log_likelihood(frame: Frame, data: Products, own: Members) -> Array:
    """Restricted log-likelihood of each series at its own member of the family, for every model.

    Arguments:
        frame: the shared quantities.
        data: the series.
        own: the members, one a series.

    Returns:
        ℓ, shape (series, model).
    """
    curve, length = own
    fitted = (data.loads @ curve[:, :, None])[:, :, 0]
    value = _combine(frame.constants, frame.freedom, data.power, fitted=fitted, length=length)
    return value + 0.5 * np.log(np.einsum("sr,sr->s", curve, curve))[:, None]


def _combine(
    constant: Array | float, freedom: int, power: Array, *, fitted: Array, length: Array
) -> Array:
    """ℓ − ½ ln|u|² from ⟨d, d⟩, ⟨d, u⟩ and ⟨u, u⟩ in the metric of the noise."""
    residual = power - fitted**2 / length
    # A curve without noise leaves only rounding, of either sign.
    residual = np.maximum(residual, 1e-26 + 1e-14 * power)
    return constant - 0.5 * freedom * np.log(residual) - 0.5 * np.log(length)


@dataclass(frozen=True)
class LatticeScan:
    """The best of the lattice at each exponent.

    Attributes:
        exponents: p, shape (exponent,).
        value: ℓ, the largest over onsets and the lattice's noise models, (series, exponent).
        shift: s of that point, (series, exponent).
        usual_value: the same over the onsets that estimates may have.
        usual_shift: s of that point.
    """

    exponents: Array
    value: Array
    shift: Array
    usual_value: Array
    usual_shift: Array

    def __getitem__(self, rows: Index) -> Self:
        columns = self.value, self.shift, self.usual_value, self.usual_shift
        return type(self)(self.exponents, *(column[rows] for column in columns))


def scan_lattice(frame: Frame, data: Products) -> LatticeScan:
    """Lattice maximum of each series at each exponent.

    Arguments:
        frame: shared quantities of the time grid.
        data: the series.

    Returns:
        The scan; its values lie below the true profile by what the lattice's spacing costs.
    """
    lattice, count = frame.lattice, data.power.shape[0]
    starts = range(0, count, _CHUNK)
    parts = [_scan_chunk(lattice, data[np.arange(i, min(i + _CHUNK, count))]) for i in starts]
    columns = [np.concatenate(column, axis=1).T for column in zip(*parts, strict=True)]
    best, shift, usual_best, usual_shift = columns
    values = [-0.5 * frame.freedom * np.log(least) for least in (best, usual_best)]
    shifts = [lattice.shifts[index] for index in (shift, usual_shift)]
    return LatticeScan(lattice.exponents, values[0], shifts[0], values[1], shifts[1])


def _scan_chunk(lattice: Lattice, data: Products) -> tuple[Array, Index, Array, Index]:
    shape = (lattice.exponents.size, lattice.shifts.size, data.power.shape[0])
    best = np.full(shape, np.inf)
    for row, model in enumerate(lattice.models):
        fitted = (lattice.curves * lattice.scales[row][:, None]) @ data.loads[:, model].T
        residual = data.power[:, model] - np.square(fitted, out=fitted)
        np.maximum(residual, 1e-14 * data.power[:, model], out=residual)
        residual *= lattice.weights[row][:, None]
        np.minimum(best, residual.reshape(shape), out=best)
    usual, usual_shift = _least(best[:, : lattice.usual])
    if lattice.usual == lattice.shifts.size:
        return usual, usual_shift, usual, usual_shift
    late, late_shift = _least(best[:, lattice.usual :])
    shift = np.where(late < usual, late_shift + lattice.usual, usual_shift)
    return np.minimum(late, usual), shift, usual, usual_shift


def _least(values: Array) -> tuple[Array, Index]:
    """The least value over onsets, and its index."""
    index = values.argmin(axis=1)
    return np.take_along_axis(values, index[:, None], axis=1)[:, 0], index


def settle(frame: Frame, data: Products, exponent: Array, shift: Array) -> Point:
    """The best noise model at given points.

    Arguments:
        frame: shared quantities of the time grid.
        data: the series.
        exponent: p, shape (series,).
        shift: s, shape (series,).

    Returns:
        The points, with their model and value.
    """
    value = log_likelihood(frame, data, members(frame.basis, frame.grams, exponent, shift))
    model = value.argmax(axis=1)
    return Point(exponent, shift, model, np.take_along_axis(value, model[:, None], 1)[:, 0])


class Slopes(NamedTuple):
    """ℓ, and gradients r and information A of a step in (p, s), each of shape (series,)."""

    value: Array
    p: Array
    s: Array
    pp: Array
    ps: Array
    ss: Array


def slopes(frame: Frame, own: OwnProducts, point: Point) -> Slopes:
    """Gauss–Newton gradient and information of the projected problem, not yet divided by σ².

    g_θ = b P⊥ ∂u/∂θ, r_θ = ⟨g_θ, d⟩, A_θφ = ⟨g_θ, g_φ⟩ for θ, φ ∈ {p, s}, where P⊥ removes the
    constant and u, in the metric of the point's noise model.

    References:
        Kaufman (1975), BIT 15, 49: the derivative of the projection that is kept here.

    Arguments:
        frame: shared quantities of the time grid.
        own: the series, each under the noise model of its point.
        point: where to take them; its value is not read.

    Returns:
        The inner products, and ℓ, which they contain.
    """
    vectors = frame.basis.tangent(point.exponent, point.shift)
    gram = _metric(frame, vectors, point.model)
    data = np.einsum("isr,sr->is", vectors, own.loads)
    slope = data[0] / gram[0, 0]
    inner = slope**2 * (gram - gram[:, :1] * gram[:1] / gram[0, 0])
    right = slope * (data - gram[:, 0] * slope)
    constant = frame.constants[point.model]
    value = _combine(constant, frame.freedom, own.power, fitted=data[0], length=gram[0, 0])
    value += 0.5 * np.log(np.einsum("sr,sr->s", vectors[0], vectors[0]))
    return Slopes(value, right[1], right[2], inner[1, 1], inner[1, 2], inner[2, 2])


def _metric(frame: Frame, vectors: Array, model: Index) -> Array:
    """Inner products of vectors under each series' noise model, (vector, vector, series)."""
    turned = np.empty_like(vectors)
    order = np.argsort(model, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(model[order])) + 1):
        turned[:, rows] = vectors[:, rows] @ frame.grams[model[rows[0]]]
    return np.einsum("isr,jsr->ijs", turned, vectors)


Step = Callable[[Frame, Point, Slopes, Array], tuple[Array, Array]]


def onset_step(frame: Frame, point: Point, at: Slopes, damping: Array) -> tuple[Array, Array]:
    """The same p, and s after a damped step in the onset alone, as late as intervals allow for."""
    along = _ratio(at.s, at.ss * (1 + damping))
    return point.exponent, _bounded_shift(frame, point, along, frame.basis.shift_latest)


def joint_step(frame: Frame, point: Point, at: Slopes, damping: Array) -> tuple[Array, Array]:
    """Both p and s after a damped step, each within the range of estimates.

    Where the onset would leave its range it stops there, and p takes the step that is best given
    how far the onset went: δp = (r_p − A_ps δs)/A_pp.
    """
    pp, ss = at.pp * (1 + damping), at.ss * (1 + damping)
    determinant = pp * ss - at.ps**2
    free = determinant > 1e-12 * pp * ss
    along_s = np.where(free, (pp * at.s - at.ps * at.p) / np.where(free, determinant, 1.0), 0.0)
    latest = frame.basis.shift_high
    shift = _bounded_shift(frame, point, along_s, latest)
    along_p = _ratio(at.p - at.ps * (shift - point.shift), pp)
    exponent = np.clip(point.exponent + np.clip(along_p, -0.5, 0.5), EXPONENT_LOW, EXPONENT_HIGH)
    held = (exponent == point.exponent) & (along_p != 0)
    alone = _bounded_shift(frame, point, _ratio(at.s, ss), latest)
    return exponent, np.where(held, alone, shift)


def _bounded_shift(frame: Frame, point: Point, along: Array, latest: float) -> Array:
    return np.clip(point.shift + np.clip(along, -2, 2), frame.basis.shift_low, latest)


def _ratio(top: Array, bottom: Array) -> Array:
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0)


def climb(frame: Frame, data: Products, point: Point, step: Step, *, rounds: int) -> Point:
    """Points moved uphill, with the noise model chosen anew after each ascent until it stays.

    Arguments:
        frame: shared quantities of the time grid.
        data: the series.
        point: where to start.
        step: `joint_step` or `onset_step`.
        rounds: Gauss–Newton steps of an ascent.

    Returns:
        Points at least as high as those given.
    """
    rows, part = np.arange(point.value.size), data
    for _ in range(_REVISIONS):
        higher = _ascend(frame, part, _rows_of(point, rows), step, rounds=rounds)
        settled = settle(frame, part, higher.exponent, higher.shift)
        point = _with_rows(point, settled, rows)
        changed = np.flatnonzero(settled.model != higher.model)
        if changed.size == 0:
            break
        rows, part = rows[changed], part[changed]
    return point


def _ascend(frame: Frame, data: Products, point: Point, step: Step, *, rounds: int) -> Point:
    """Damped Gauss–Newton ascent under one noise model for each series.

    A series is done once a step changes its likelihood by less than `_SETTLED`.
    """
    own = data.under(point.model)
    at = slopes(frame, own, point)
    point = replace(point, value=at.value)
    damping = np.full(point.value.shape, 1e-3)
    rows = np.arange(point.value.size)
    here = point
    for _ in range(rounds):
        exponent, shift = step(frame, here, at, damping)
        tried = Point(exponent, shift, here.model, here.value)
        there = slopes(frame, own, tried)
        gain = there.value - at.value
        better = gain > 0
        here = _either(better, replace(tried, value=there.value), here)
        point = _with_rows(point, here, rows)
        moving = np.flatnonzero(np.abs(gain) > _SETTLED)
        if moving.size == 0:
            break
        at = Slopes(*(np.where(better, new, old) for new, old in zip(there, at, strict=True)))
        damping = np.where(better, damping / 5, damping * 20)[moving]
        at = Slopes(*(column[moving] for column in at))
        own = OwnProducts(own.power[moving], own.loads[moving])
        rows, here = rows[moving], _rows_of(here, moving)
    return point


def _either(first: NDArray[np.bool_], yes: Point, no: Point) -> Point:
    """Points of one set where the condition holds, of the other elsewhere; the models agree."""
    exponent = np.where(first, yes.exponent, no.exponent)
    shift = np.where(first, yes.shift, no.shift)
    return Point(exponent, shift, no.model, np.where(first, yes.value, no.value))


def _rows_of(point: Point, rows: Index) -> Point:
    return Point(*(getattr(point, item.name)[rows] for item in fields(Point)))


def _with_rows(whole: Point, part: Point, rows: Index) -> Point:
    """Points of which some rows are replaced by those of another set."""
    columns = [getattr(whole, item.name).copy() for item in fields(Point)]
    for column, item in zip(columns, fields(Point), strict=True):
        column[rows] = getattr(part, item.name)
    return Point(*columns)


def maximum(frame: Frame, data: Products, scan: LatticeScan) -> Point:
    """The maximum of each series' likelihood over p, τ and the noise menu.

    Arguments:
        frame: shared quantities of the time grid.
        data: the series.
        scan: the lattice's view of the same series.

    Returns:
        The maxima.
    """
    found = climb(frame, data, settle(frame, data, *_best(scan)), joint_step, rounds=_ROUNDS)
    rows = _clean(frame, data, found)
    if rows.size == 0:
        return found
    higher = _maximum_of_clean(frame, data[rows], scan[rows])
    kept = np.flatnonzero(higher.value > found.value[rows])
    return _with_rows(found, _rows_of(higher, kept), rows[kept])


def _best(scan: LatticeScan) -> tuple[Array, Array]:
    """Exponent and shift of the highest lattice point that an estimate may have."""
    best = scan.usual_value.argmax(axis=1)
    return scan.exponents[best], scan.usual_shift[np.arange(best.size), best]


def _clean(frame: Frame, data: Products, found: Point) -> Index:
    """Series of which hardly anything lies outside the family, and little outside the fit."""
    if frame.models[0].kind != "white" or frame.models[0].power:
        return np.empty(0, dtype=np.intp)
    # In the metric of independent noise the basis is orthonormal.
    loads, power = data.loads[:, 0], data.power[:, 0]
    rows = np.flatnonzero(power - np.einsum("sr,sr->s", loads, loads) < _CLEAN * power)
    curve = members(frame.basis, frame.grams, found.exponent[rows], found.shift[rows]).coordinates
    along = np.einsum("sr,sr->s", loads[rows], curve) ** 2 / np.einsum("sr,sr->s", curve, curve)
    return rows[power[rows] - along < _NEARLY * power[rows]]


def _maximum_of_clean(frame: Frame, data: Products, scan: LatticeScan) -> Point:
    # At the start their misfit is the lattice's spacing, which passes for a random walk, and under
    # that noise the climb ends early. It is therefore begun under independent noise.
    exponent, shift = _best(scan)
    start = Point(exponent, shift, np.zeros(exponent.size, dtype=np.intp), exponent)
    near = _ascend(frame, data, start, joint_step, rounds=_CLEAN_ROUNDS)
    start = settle(frame, data, near.exponent, near.shift)
    return climb(frame, data, start, joint_step, rounds=_CLEAN_ROUNDS)


@dataclass(frozen=True)
class Surface:
    """Likelihoods of a set of series on one time grid, with two points on each.

    Attributes:
        frame: shared quantities of the time grid.
        data: the series.
        scan: the lattice's view of them.
        peak: the maxima.
        held: the maxima at given exponents, above the peaks only with onsets that estimates may
            not have.
        root: the signed root sign(p̂ − p) {2[ℓ̂ − ℓ(p)]}^½ of these exponents p, (series,).
    """

    frame: Frame
    data: Products
    scan: LatticeScan
    peak: Point
    held: Point
    root: Array

    def __getitem__(self, rows: Index) -> Self:
        peak, held = _rows_of(self.peak, rows), _rows_of(self.held, rows)
        parts = self.data[rows], self.scan[rows], peak, held, self.root[rows]
        return type(self)(self.frame, *parts)


def ratio_root(peak: Point, held: Point) -> Array:
    """sign(p̂ − p) {2[ℓ̂ − ℓ(p)]}^½ of exponents held, shape (series,).

    References:
        Barndorff-Nielsen (1986), Biometrika 73, 307: the signed root, and why its sides differ.

    Arguments:
        peak: the maxima.
        held: the maxima at the exponents p.
    """
    ratio = np.maximum(2 * (peak.value - held.value), 0.0)
    return np.sign(peak.exponent - held.exponent) * np.sqrt(ratio)


def surface(frame: Frame, values: Array, exponent: float) -> Surface:
    """Likelihood surface of each series, with its maximum and the one at a given exponent.

    Arguments:
        frame: shared quantities of the time grid.
        values: d, shape (series, time), finite and not constant.
        exponent: p to hold.

    Returns:
        The surfaces; a peak that the search had missed is raised where the other point tells.
    """
    return surface_of(frame, products(frame, values), exponent)


def surface_of(frame: Frame, data: Products, exponent: float) -> Surface:
    """As `surface`, for series that are known by their inner products."""
    seen = scan_lattice(frame, data)
    peak = maximum(frame, data, seen)
    column = int(np.abs(seen.exponents - exponent).argmin())
    at = Surface(frame, data, seen, peak, peak, np.zeros(peak.value.shape))
    held = profile(at, np.full(peak.value.shape, exponent), seen.shift[:, column]).held
    usual = held.shift <= frame.basis.shift_high
    rows = np.flatnonzero((held.value > peak.value) & usual)
    if rows.size:
        higher = climb(frame, data[rows], _rows_of(held, rows), joint_step, rounds=_ROUNDS)
        peak = _with_rows(peak, higher, rows)
    return replace(at, peak=peak, held=held, root=ratio_root(peak, held))


def profile(at: Surface, exponent: Array, shift: Array) -> Surface:
    """The surfaces held at given exponents, where they are largest over τ and the noise menu.

    Arguments:
        at: the surfaces.
        exponent: p, shape (series,).
        shift: s to start from, shape (series,).

    Returns:
        The surfaces with `held` at these exponents.
    """
    start = settle(at.frame, at.data, exponent, shift)
    held = climb(at.frame, at.data, start, onset_step, rounds=_ONSET_ROUNDS)
    return replace(at, held=held, root=ratio_root(at.peak, held))


class Standing(NamedTuple):
    """What is known of each series at a point of its surface.

    Attributes:
        likelihood: ℓ of every noise model, (series, model).
        sigma: σ̂ = (RSS/(n − 2))^½ under the point's own, (series,).
        signal: strength of the growth, |b|·|u|/σ̂ in the metric of the noise: the slope over its
            error, (series,).
    """

    likelihood: Array
    sigma: Array
    signal: Array


def standing(at: Surface, point: Point) -> Standing:
    """Likelihoods, noise and signal at a point of each surface.

    Arguments:
        at: the surfaces.
        point: where to take them.
    """
    rows = np.arange(point.model.size)
    own = members(at.frame.basis, at.frame.grams, point.exponent, point.shift)
    curve = own.coordinates
    turned = np.empty_like(curve)
    for model in np.unique(point.model):
        turned[point.model == model] = curve[point.model == model] @ at.frame.grams[model]
    length = np.einsum("sr,sr->s", turned, curve)
    fitted = np.einsum("sr,sr->s", curve, at.data.loads[rows, point.model])
    power = at.data.power[rows, point.model]
    residual = np.maximum(power - fitted**2 / length, 1e-26 + 1e-14 * power)
    sigma = np.sqrt(residual / at.frame.freedom)
    likelihood = log_likelihood(at.frame, at.data, own)
    return Standing(likelihood, sigma, np.abs(fitted) / np.sqrt(length) / sigma)


def standard_error(at: Surface, sigma: Array) -> Array:
    """Asymptotic standard error of the exponent at the peaks, σ̂ (A_pp − A_ps²/A_ss)^{−½}.

    A_ps counts as 0 where the onset is known.

    Arguments:
        at: the surfaces.
        sigma: σ̂ at the peaks, shape (series,).

    Returns:
        The standard errors, shape (series,); inf where the curve has no information on p.
    """
    inner = slopes(at.frame, at.data.under(at.peak.model), at.peak)
    free = (inner.ss > 0) & (at.frame.basis.shift_high > at.frame.basis.shift_low)
    lost = np.where(free, inner.ps**2 / np.where(free, inner.ss, 1.0), 0.0)
    information = np.maximum(inner.pp - lost, 1e-9 * inner.pp)
    root = np.sqrt(np.where(information > 0, information, 1.0))
    return np.where(information > 0, sigma / root, np.inf)
