"""Intervals for the exponent by inverting the likelihood-ratio test.

The interval holds every p whose ratio 2[ℓ̂ − ℓ(p)] stays below a critical value. It may reach
beyond the exponents considered, when nothing in the curve contradicts even the outermost, and is
then unbounded on that side: p has no meaning where the slope b vanishes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from .likelihood import EXPONENT_HIGH, EXPONENT_LOW, Frame, Moments
from .maximum import (
    Lattice,
    Point,
    Scan,
    climb,
    joint_step,
    maximum,
    profile,
    scan,
    slopes,
    with_rows,
)

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

_DOUBLINGS = 7
# Likelihood ratios that no critical value comes near at levels of 0.8 to 0.99 (simulated ones lie
# between 1.2 and 25); beyond them none needs to be simulated.
_SURELY_INSIDE, _SURELY_OUTSIDE = 1.0, 30.0
_SECANTS = 6


@dataclass(frozen=True)
class Surface:
    """Likelihoods of a set of series on one time grid, with their maxima.

    Attributes:
        frame: shared quantities of the time grid.
        moments: of the series.
        scan: the lattice's view of them.
        peak: the maxima.
    """

    frame: Frame
    moments: Moments
    scan: Scan
    peak: Point

    def __getitem__(self, rows: Rows) -> Self:
        return type(self)(self.frame, self.moments[rows], self.scan[rows], self.peak[rows])


def surface(frame: Frame, grid: Lattice, moments: Moments) -> Surface:
    """Likelihood surface of each series.

    Arguments:
        frame: shared quantities of the time grid.
        grid: its lattice.
        moments: of the series.

    Returns:
        The surfaces.
    """
    seen = scan(frame, grid, moments)
    return Surface(frame, moments, seen, maximum(frame, moments, seen))


def constrained(
    at: Surface, exponent: Array, *, near: Array | None = None
) -> tuple[Surface, Point]:
    """Maxima at given exponents, and surfaces whose peaks are not below them.

    Arguments:
        at: the surfaces.
        exponent: p, shape (series,).
        near: s to start from; by default the lattice's best at the nearest exponent.

    Returns:
        The surfaces, with any peak raised that the search had missed, and the constrained maxima.
    """
    if near is None:
        column = np.abs(at.scan.exponents - exponent[:, None]).argmin(axis=1)
        near = at.scan.shift[np.arange(column.size), column]
    point = profile(at.frame, at.moments, exponent, near)
    return replace(at, peak=_raised(at, point)), point


def _raised(at: Surface, point: Point) -> Point:
    rows = np.flatnonzero(point.value > at.peak.value)
    if rows.size == 0:
        return at.peak
    higher = climb(at.frame, at.moments[rows], point[rows], joint_step, rounds=6)
    return with_rows(at.peak, higher, rows)


def standard_error(at: Surface, point: Point) -> Array:
    """Asymptotic standard error of the exponent, σ̂ (A_pp − A_ps²/A_ss)^{−½}.

    A_ps counts as 0 where the onset is known.

    Arguments:
        at: the surfaces.
        point: where to take it.

    Returns:
        The standard errors, shape (series,); inf where the curve has no information on p.
    """
    inner = slopes(at.frame, at.moments, point)
    free = (inner.ss > 0) & (at.frame.basis.shift_high > at.frame.basis.shift_low)
    lost = np.where(free, inner.ps**2 / np.where(free, inner.ss, 1.0), 0.0)
    information = np.maximum(inner.pp - lost, 1e-9 * inner.pp)
    root = np.sqrt(np.where(information > 0, information, 1.0))
    return np.where(information > 0, residual_scale(at, point) / root, np.inf)


def residual_scale(at: Surface, point: Point) -> Array:
    """σ̂ = (RSS/(n − 2))^½ at given points, shape (series,)."""
    return _fit_at(at, point)[0]


Critical = Callable[[Surface, Point], Array]


def interval(at: Surface, critical: Critical) -> tuple[Array, Array]:
    """Exponents whose likelihood ratio stays below its critical value.

    Arguments:
        at: the surfaces.
        critical: the critical value of each series at a constrained maximum.

    Returns:
        The ends, each of shape (series,), −inf and +inf where unbounded; they enclose every
        lattice exponent inside, where the set of such exponents is in pieces.
    """
    peak = Trial(at.peak, -np.sqrt(np.full(at.peak.value.shape, chi2.ppf(0.95, 1))))
    return _end(at, peak, critical, EXPONENT_LOW), _end(at, peak, critical, EXPONENT_HIGH)


@dataclass(frozen=True)
class Trial:
    """Constrained maxima and their excess √LR − √c, nearly linear in p and positive outside."""

    point: Point
    excess: Array


def _trial(at: Surface, exponent: Array, shift: Array, critical: Critical) -> Trial:
    point = profile(at.frame, at.moments, exponent, shift)
    found = np.maximum(2 * (at.peak.value - point.value), 0)
    limit = np.full(found.shape, chi2.ppf(0.95, 1))
    rows = np.flatnonzero((found > _SURELY_INSIDE) & (found < _SURELY_OUTSIDE))
    if rows.size:
        limit[rows] = critical(at[rows], point[rows])
    return Trial(point, np.sqrt(found) - np.sqrt(limit))


def _filled(whole: Trial, part: Trial, rows: Rows) -> Trial:
    excess = whole.excess.copy()
    excess[rows] = part.excess
    return Trial(with_rows(whole.point, part.point, rows), excess)


def _rows(trial: Trial, rows: Rows) -> Trial:
    return Trial(trial.point[rows], trial.excess[rows])


def _end(at: Surface, peak: Trial, critical: Critical, edge: float) -> Array:
    inside, beyond = _bracket(at, _outermost(at, peak, critical, edge), critical, edge)
    unbounded = beyond.excess <= 0
    for _ in range(_SECANTS):
        inside, beyond = _narrow(at, inside, beyond, critical)
    return np.where(unbounded, np.sign(edge) * np.inf, _crossing(inside, beyond))


def _outermost(at: Surface, peak: Trial, critical: Critical, edge: float) -> Trial:
    """The peak, or the lattice point farthest out that is still inside."""
    outward = np.sign(edge) * (at.scan.exponents - peak.point.exponent[:, None])
    below = 2 * (peak.point.value[:, None] - at.scan.value) <= peak.excess[:, None] ** 2
    inside = below & (outward > 0)
    rows = np.flatnonzero(inside.any(axis=1))
    if rows.size == 0:
        return peak
    column = np.where(inside, outward, -np.inf).argmax(axis=1)[rows]
    part = at[rows]
    found = _trial(part, at.scan.exponents[column], at.scan.shift[rows, column], critical)
    kept = np.flatnonzero(found.excess <= 0)
    return _filled(peak, _rows(found, kept), rows[kept])


def _bracket(at: Surface, inside: Trial, critical: Critical, edge: float) -> tuple[Trial, Trial]:
    """A trial inside the interval and one outside it, or at the edge."""
    width = np.clip(2.2 * standard_error(at, at.peak), 1e-7, 0.5) * np.sign(edge)
    start = _towards(inside.point.exponent, width, edge)
    beyond = _trial(at, start, inside.point.shift, critical)
    for _ in range(_DOUBLINGS):
        rows = np.flatnonzero((beyond.excess <= 0) & (beyond.point.exponent != edge))
        if rows.size == 0:
            break
        inside = _filled(inside, _rows(beyond, rows), rows)
        width = 2 * width
        here = inside.point[rows]
        further = _towards(here.exponent, width[rows], edge)
        beyond = _filled(beyond, _trial(at[rows], further, here.shift, critical), rows)
    return inside, beyond


def _towards(exponent: Array, width: Array, edge: float) -> Array:
    moved = exponent + width
    return np.minimum(moved, edge) if edge > 0 else np.maximum(moved, edge)


def _crossing(inside: Trial, beyond: Trial) -> Array:
    gap = beyond.excess - inside.excess
    share = np.where(gap > 0, -inside.excess / np.where(gap > 0, gap, 1.0), 1.0)
    span = beyond.point.exponent - inside.point.exponent
    return inside.point.exponent + np.clip(share, 0.0, 1.0) * span


def _narrow(at: Surface, inside: Trial, beyond: Trial, critical: Critical) -> tuple[Trial, Trial]:
    """One secant step, kept away from the bracket's ends."""
    start, span = inside.point.exponent, beyond.point.exponent - inside.point.exponent
    share = (_crossing(inside, beyond) - start) / np.where(span == 0, 1.0, span)
    trial = _trial(at, start + np.clip(share, 0.02, 0.98) * span, beyond.point.shift, critical)
    within, without = np.flatnonzero(trial.excess <= 0), np.flatnonzero(trial.excess > 0)
    return (
        _filled(inside, _rows(trial, within), within),
        _filled(beyond, _rows(trial, without), without),
    )


def signal(at: Surface, point: Point) -> Array:
    """Strength of the growth, |b|·|u|/σ̂ in the metric of the noise: the slope over its error.

    Arguments:
        at: the surfaces.
        point: where to take it.

    Returns:
        The ratio, shape (series,).
    """
    return _fit_at(at, point)[1]


def _fit_at(at: Surface, point: Point) -> tuple[Array, Array]:
    """σ̂ and the slope over its standard error."""
    rows = np.arange(point.model.size)
    curve = at.frame.basis.coordinates(point.exponent, point.shift)
    turned = np.empty_like(curve)
    for model in np.unique(point.model):
        turned[point.model == model] = curve[point.model == model] @ at.frame.grams[model]
    length = np.einsum("sr,sr->s", turned, curve)
    fitted = np.einsum("sr,sr->s", curve, at.moments.loads[rows, point.model])
    power = at.moments.power[rows, point.model]
    residual = np.maximum(power - fitted**2 / length, 1e-26 + 1e-14 * power)
    sigma = np.sqrt(residual / at.frame.freedom)
    return sigma, np.abs(fitted) / np.sqrt(length) / sigma
