"""Maximum of the growth likelihood by Gauss–Newton steps from a shared lattice.

Each series climbs from its best lattice point to its own maximum and chooses its noise model anew
on the way. A step is kept only where it raises the likelihood.

Lattice over the growth family, the same for all series of a time grid.

It finds the neighbourhood of each series' maximum without starting values. Its spacing would be
coarse beside the standard error of a clean curve, so no test statistic is taken from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .likelihood import (
    EXPONENT_HIGH,
    EXPONENT_LOW,
    Frame,
    Moments,
    combine,
    lengths,
    log_likelihood,
)

Array = NDArray[np.float64]
Index = NDArray[np.intp]

SPACING = 0.125  # of the lattice in p; 0 is one of its points
_CHUNK = 256  # series at a time: the lattice's values then stay in cache


@dataclass(frozen=True)
class Lattice:
    """Members of the family on a grid of exponents and onsets.

    Attributes:
        exponents: p, shape (exponent,).
        shifts: s = ln(t₁ + τ), shape (shift,).
        curves: coordinates of each member, (exponent · shift, rank).
        models: indices of the noise models the lattice is searched under.
        weights: factor of RSS that turns it into exp(−2ℓ/(n − 2)), (model, exponent · shift).
        scales: 1/|u| in each model's metric, (model, exponent · shift).
    """

    exponents: Array
    shifts: Array
    curves: Array
    models: tuple[int, ...]
    weights: Array
    scales: Array


@dataclass(frozen=True)
class Scan:
    """The best of the lattice at each exponent.

    Attributes:
        exponents: p, shape (exponent,).
        value: ℓ, the largest over onsets and the lattice's noise models, (series, exponent).
        shift: s of that point, (series, exponent).
    """

    exponents: Array
    value: Array
    shift: Array

    def __getitem__(self, rows: Index) -> Self:
        return type(self)(self.exponents, self.value[rows], self.shift[rows])


def lattice(frame: Frame) -> Lattice:
    """Grid over the family for the models that differ most from each other.

    Arguments:
        frame: shared quantities of the time grid.

    Returns:
        The lattice.
    """
    exponents = np.arange(EXPONENT_LOW, EXPONENT_HIGH + SPACING / 2, SPACING)
    shifts = _shifts(frame)
    p, s = (axis.ravel() for axis in np.meshgrid(exponents, shifts, indexing="ij"))
    curves = frame.basis.coordinates(p, s)
    models = _contrasting(frame)
    length = lengths(frame, curves)[:, list(models)].T
    constant = frame.constants[list(models), None] + 0.5 * np.log(
        np.einsum("gr,gr->g", curves, curves)
    )
    weights = np.exp(-2 / frame.freedom * (constant - 0.5 * np.log(length)))
    return Lattice(exponents, shifts, curves, models, weights, 1 / np.sqrt(length))


def _shifts(frame: Frame) -> Array:
    low, high = frame.basis.shift_low, frame.basis.shift_high
    if high - low < 1e-9:
        return np.array([low])
    return np.linspace(low, high, max(3, 1 + round((high - low) / 0.6)))


def _contrasting(frame: Frame) -> tuple[int, ...]:
    """One model of each kind, with the middle one of the correlated kinds."""
    plain = [i for i, model in enumerate(frame.models) if not model.nugget and not model.power]
    groups = [[i for i in plain if frame.models[i].kind == kind] for kind in _kinds(frame)]
    return tuple(group[len(group) // 2] for group in groups if group)


def _kinds(frame: Frame) -> tuple[str, ...]:
    return tuple(dict.fromkeys(model.kind for model in frame.models))


def scan(frame: Frame, lattice: Lattice, moments: Moments) -> Scan:
    """Lattice maximum of each series at each exponent.

    Arguments:
        frame: shared quantities of the time grid.
        lattice: the grid.
        moments: of the series.

    Returns:
        The scan; its values lie below the true profile by what the lattice's spacing costs.
    """
    count = moments.power.shape[0]
    starts = range(0, count, _CHUNK)
    parts = [_scan_chunk(lattice, moments[np.arange(i, min(i + _CHUNK, count))]) for i in starts]
    best = np.concatenate([part[0] for part in parts], axis=1).T
    shift = np.concatenate([part[1] for part in parts], axis=1).T
    value = -0.5 * frame.freedom * np.log(best)
    return Scan(lattice.exponents, value, lattice.shifts[shift])


def _scan_chunk(lattice: Lattice, moments: Moments) -> tuple[Array, Index]:
    shape = (lattice.exponents.size, lattice.shifts.size, moments.power.shape[0])
    best = np.full(shape, np.inf)
    for row, model in enumerate(lattice.models):
        fitted = (lattice.curves * lattice.scales[row][:, None]) @ moments.loads[:, model].T
        residual = moments.power[:, model] - np.square(fitted, out=fitted)
        np.maximum(residual, 1e-14 * moments.power[:, model], out=residual)
        residual *= lattice.weights[row][:, None]
        np.minimum(best, residual.reshape(shape), out=best)
    shift = best.argmin(axis=1)
    return np.take_along_axis(best, shift[:, None], axis=1)[:, 0], shift


_REVISIONS = 3  # of the noise model
_SETTLED = 1e-5  # of ℓ; a likelihood ratio is compared with critical values of about 4
_CLEAN, _NEARLY = 1e-9, 1e-3  # shares of a clean curve's variance outside the family and the fit
_CLEAN_ROUNDS = 20  # Gauss–Newton steps for clean curves


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

    def __getitem__(self, rows: Index) -> Self:
        return type(self)(
            self.exponent[rows], self.shift[rows], self.model[rows], self.value[rows]
        )


def settle(frame: Frame, moments: Moments, exponent: Array, shift: Array) -> Point:
    """The best noise model at given points.

    Arguments:
        frame: shared quantities of the time grid.
        moments: of the series.
        exponent: p, shape (series,).
        shift: s, shape (series,).

    Returns:
        The points, with their model and value.
    """
    value = log_likelihood(frame, moments, frame.basis.coordinates(exponent, shift))
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


def slopes(frame: Frame, moments: Moments, point: Point) -> Slopes:
    """Gauss–Newton gradient and information of the projected problem, not yet divided by σ².

    g_θ = b P⊥ ∂u/∂θ, r_θ = ⟨g_θ, d⟩, A_θφ = ⟨g_θ, g_φ⟩ for θ, φ ∈ {p, s}, where P⊥ removes the
    constant and u, in the metric of the point's noise model.

    References:
        Kaufman (1975), BIT 15, 49: the derivative of the projection that is kept here.

    Arguments:
        frame: shared quantities of the time grid.
        moments: of the series.
        point: where to take them; its value is not read.

    Returns:
        The inner products, and ℓ, which they contain.
    """
    return _slopes(frame, _under(moments, point.model), point)


class _Own(NamedTuple):
    """Moments of each series under its own noise model: power (series,), loads (series, rank)."""

    power: Array
    loads: Array


def _under(moments: Moments, model: Index) -> _Own:
    rows = np.arange(model.size)
    return _Own(moments.power[rows, model], moments.loads[rows, model])


def _slopes(frame: Frame, own: _Own, point: Point) -> Slopes:
    vectors = frame.basis.tangent(point.exponent, point.shift)
    gram = _metric(frame, vectors, point.model)
    data = np.einsum("isr,sr->is", vectors, own.loads)
    slope = data[0] / gram[0, 0]
    inner = slope**2 * (gram - gram[:, :1] * gram[:1] / gram[0, 0])
    right = slope * (data - gram[:, 0] * slope)
    constant = frame.constants[point.model]
    value = combine(constant, frame.freedom, own.power, fitted=data[0], length=gram[0, 0])
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
    """The same p, and s after a damped step in the onset alone."""
    return point.exponent, _bounded_shift(frame, point, _ratio(at.s, at.ss * (1 + damping)))


def joint_step(frame: Frame, point: Point, at: Slopes, damping: Array) -> tuple[Array, Array]:
    """Both p and s after a damped step, each within its range.

    Where the onset would leave its range it stops there, and p takes the step that is best given
    how far the onset went: δp = (r_p − A_ps δs)/A_pp.
    """
    pp, ss = at.pp * (1 + damping), at.ss * (1 + damping)
    determinant = pp * ss - at.ps**2
    free = determinant > 1e-12 * pp * ss
    along_s = np.where(free, (pp * at.s - at.ps * at.p) / np.where(free, determinant, 1.0), 0.0)
    shift = _bounded_shift(frame, point, along_s)
    along_p = _ratio(at.p - at.ps * (shift - point.shift), pp)
    exponent = np.clip(point.exponent + np.clip(along_p, -0.5, 0.5), EXPONENT_LOW, EXPONENT_HIGH)
    held = (exponent == point.exponent) & (along_p != 0)
    alone = onset_step(frame, point, at, damping)[1]
    return exponent, np.where(held, alone, shift)


def _bounded_shift(frame: Frame, point: Point, along: Array) -> Array:
    moved = point.shift + np.clip(along, -2, 2)
    return np.clip(moved, frame.basis.shift_low, frame.basis.shift_high)


def _ratio(top: Array, bottom: Array) -> Array:
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0)


def climb(frame: Frame, moments: Moments, point: Point, step: Step, *, rounds: int) -> Point:
    """Points moved uphill, with the noise model chosen anew after each ascent until it stays.

    Arguments:
        frame: shared quantities of the time grid.
        moments: of the series.
        point: where to start.
        step: `joint_step` or `onset_step`.
        rounds: Gauss–Newton steps of an ascent.

    Returns:
        Points at least as high as those given.
    """
    rows, part = np.arange(point.value.size), moments
    for _ in range(_REVISIONS):
        higher = _ascend(frame, part, point[rows], step, rounds=rounds)
        settled = settle(frame, part, higher.exponent, higher.shift)
        point = with_rows(point, settled, rows)
        changed = np.flatnonzero(settled.model != higher.model)
        if changed.size == 0:
            break
        rows, part = rows[changed], part[changed]
    return point


def _ascend(frame: Frame, moments: Moments, point: Point, step: Step, *, rounds: int) -> Point:
    """Damped Gauss–Newton ascent under one noise model for each series.

    A series is done once a step changes its likelihood by less than `_SETTLED`.
    """
    own = _under(moments, point.model)
    at = _slopes(frame, own, point)
    point = replace(point, value=at.value)
    damping = np.full(point.value.shape, 1e-3)
    rows = np.arange(point.value.size)
    here = point
    for _ in range(rounds):
        exponent, shift = step(frame, here, at, damping)
        tried = Point(exponent, shift, here.model, here.value)
        there = _slopes(frame, own, tried)
        gain = there.value - at.value
        better = gain > 0
        here = _either(better, replace(tried, value=there.value), here)
        point = with_rows(point, here, rows)
        moving = np.flatnonzero(np.abs(gain) > _SETTLED)
        if moving.size == 0:
            break
        at = Slopes(*(np.where(better, new, old) for new, old in zip(there, at, strict=True)))
        damping = np.where(better, damping / 5, damping * 20)[moving]
        at = Slopes(*(column[moving] for column in at))
        own, rows, here = _Own(own.power[moving], own.loads[moving]), rows[moving], here[moving]
    return point


def _either(first: NDArray[np.bool_], yes: Point, no: Point) -> Point:
    """Points of one set where the condition holds, of the other elsewhere; the models agree."""
    exponent = np.where(first, yes.exponent, no.exponent)
    shift = np.where(first, yes.shift, no.shift)
    return Point(exponent, shift, no.model, np.where(first, yes.value, no.value))


def with_rows(whole: Point, part: Point, rows: Index) -> Point:
    """Points of which some rows are replaced by those of another set."""
    columns = [getattr(whole, item.name).copy() for item in fields(Point)]
    for column, item in zip(columns, fields(Point), strict=True):
        column[rows] = getattr(part, item.name)
    return Point(*columns)


def maximum(frame: Frame, moments: Moments, scan: Scan, *, rounds: int = 6) -> Point:
    """The maximum of each series' likelihood over p, τ and the noise menu.

    Arguments:
        frame: shared quantities of the time grid.
        moments: of the series.
        scan: the lattice's view of the same series.
        rounds: Gauss–Newton steps.

    Returns:
        The maxima.
    """
    found = climb(frame, moments, settle(frame, moments, *_best(scan)), joint_step, rounds=rounds)
    rows = _clean(frame, moments, found)
    if rows.size == 0:
        return found
    higher = _maximum_of_clean(frame, moments[rows], scan[rows])
    kept = np.flatnonzero(higher.value > found.value[rows])
    return with_rows(found, higher[kept], rows[kept])


def _best(scan: Scan) -> tuple[Array, Array]:
    """Exponent and shift of the highest lattice point."""
    best = scan.value.argmax(axis=1)
    return scan.exponents[best], scan.shift[np.arange(best.size), best]


def _clean(frame: Frame, moments: Moments, found: Point) -> Index:
    """Series of which hardly anything lies outside the family, and little outside the fit."""
    if frame.models[0].kind != "white" or frame.models[0].power:
        return np.empty(0, dtype=np.intp)
    # In the metric of independent noise the basis is orthonormal.
    loads, power = moments.loads[:, 0], moments.power[:, 0]
    rows = np.flatnonzero(power - np.einsum("sr,sr->s", loads, loads) < _CLEAN * power)
    curve = frame.basis.coordinates(found.exponent[rows], found.shift[rows])
    along = np.einsum("sr,sr->s", loads[rows], curve) ** 2 / np.einsum("sr,sr->s", curve, curve)
    return rows[power[rows] - along < _NEARLY * power[rows]]


def _maximum_of_clean(frame: Frame, moments: Moments, scan: Scan) -> Point:
    # At the start their misfit is the lattice's spacing, which passes for a random walk, and under
    # that noise the climb ends early. It is therefore begun under independent noise.
    exponent, shift = _best(scan)
    start = Point(exponent, shift, np.zeros(exponent.size, dtype=np.intp), exponent)
    near = _ascend(frame, moments, start, joint_step, rounds=_CLEAN_ROUNDS)
    start = settle(frame, moments, near.exponent, near.shift)
    return climb(frame, moments, start, joint_step, rounds=_CLEAN_ROUNDS)


def profile(
    frame: Frame, moments: Moments, exponent: Array, shift: Array, *, rounds: int = 3
) -> Point:
    """The maximum over τ and the noise menu at given exponents.

    Arguments:
        frame: shared quantities of the time grid.
        moments: of the series.
        exponent: p, shape (series,).
        shift: s to start from, shape (series,).
        rounds: Gauss–Newton steps.

    Returns:
        The constrained maxima.
    """
    start = settle(frame, moments, exponent, shift)
    return climb(frame, moments, start, onset_step, rounds=rounds)
