"""The test of an exponent, and its inversion to an interval.

An exponent p is tested by the signed root sign(p̂ − p) {2[ℓ̂ − ℓ(p)]}^½ of its likelihood ratio. It
stands for a standard normal deviate z: by its rank among signed roots simulated with the noise,
onset and strength of signal that fit best under that p (`critical_values`), or as it is. The
interval holds every p whose |z| stays below the normal quantile, so that it misses as often below
as above, and the p-value of the exponent held is that of its own z: it lies in the interval where
its p-value exceeds 1 − level, and nowhere else. The interval may reach beyond the exponents
considered, when nothing in the curve contradicts even the outermost, and is then unbounded on that
side: p has no meaning where the slope b vanishes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtr, ndtri

from ultraslow.analysis.growth.critical_values import (
    DEVIATES,
    EXPONENT_NODES,
    ONSET_NODES,
    SIGNAL_NODES,
    NullRatios,
    cell_of,
    numbers_of,
)

from .family import EXPONENT_HIGH, EXPONENT_LOW, Basis, Point
from .surface import Standing, Surface, profile, standard_error, standing

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

POWER = 0.8  # probability with which `Inversion.detectable` would be told from 0
_NEAR = 1e-3  # of s = ln(t₁ + τ) to the latest onset allowed
_DOUBLINGS = 7
_SECANTS = 6
# Signed roots that no quantile comes near at levels of 0.8 to 0.99 (simulated ones lie between
# 0.6 and 5); beyond them none needs to be simulated.
_SURELY_INSIDE, _SURELY_OUTSIDE = 0.55, 5.5


class ExponentTest(Protocol):
    """A test of the exponents that surfaces are held at."""

    @property
    def level(self) -> float:
        """The confidence level."""

    def deviate(self, at: Surface) -> Array:
        """|z| of each exponent held, at least 0: it is rejected beyond the normal quantile."""

    def critical(self, at: Surface) -> Array:
        """Likelihood ratio at the normal quantile, both sides averaged, shape (series,)."""


@dataclass(frozen=True)
class Asymptotic:
    """The test by χ² with one degree of freedom; rejects too often under autocorrelated noise."""

    level: float

    def deviate(self, at: Surface) -> Array:
        """The root of the likelihood ratio."""
        return np.abs(at.root)

    def critical(self, at: Surface) -> Array:
        """The χ² quantile."""
        return np.full(at.held.value.shape, chdtri(1, 1 - self.level))


@dataclass(frozen=True)
class Calibrated:
    """The test by signed roots simulated under the noise that is likeliest."""

    level: float
    null: NullRatios

    def deviate(self, at: Surface) -> Array:
        """The deviate that each series' signed root has among simulated ones."""
        root = at.root
        side = np.sign(root)

        def read(roots: Array, rows: Rows, factor: float) -> Array:
            return np.maximum(side[rows] * deviates(roots, root[rows] / np.sqrt(factor)), 0.0)

        return self._read(at, read)

    def critical(self, at: Surface) -> Array:
        """The square of the mean distance of both quantiles of signed roots from 0."""
        quantile = -ndtri((1 - self.level) / 2)

        def read(roots: Array, _: Rows, factor: float) -> Array:
            # As `deviates` extrapolates beyond the outermost.
            out = min(quantile, DEVIATES[-1])
            ends = np.interp([-out, out], DEVIATES, roots) * quantile / out
            return factor * np.square((ends[1] - ends[0]) / 2)

        return self._read(at, read)

    def _read(self, at: Surface, read: Callable[[Array, Rows, float], Array]) -> Array:
        """What is read from the cell of each series."""
        here = standing(at, at.held)
        numbers = numbers_of(nodes(at.frame.basis, at.held, here), at.held.model)
        wanted, which = np.unique(numbers, return_inverse=True)
        cells = [cell_of(int(number)) for number in wanted]
        if any(cell not in self.null.roots for cell in cells):
            self.null.simulate_cells(cells)
        values = np.empty(numbers.size)
        for index, cell in enumerate(cells):
            rows = np.flatnonzero(which == index)
            factor = self.null.factors[int(cell.onset > 0), cell.model]
            values[rows] = read(self.null.roots[cell], rows, factor)
        return values


def deviates(roots: Array, found: Array) -> Array:
    """Standard normal deviates that signed roots stand for.

    Beyond the outermost of `DEVIATES`, where too few draws lie, the roots are taken to be a
    multiple of the normal: an extrapolation.

    Arguments:
        roots: of a cell, as `roots_at_deviates` gives them.
        found: signed roots, shape (series,).

    Returns:
        z, shape (series,).
    """
    inside = np.interp(found, roots, DEVIATES)
    beyond = (found > roots[-1]) | (found < roots[0])
    outermost = np.where(found > 0, roots[-1] / DEVIATES[-1], roots[0] / DEVIATES[0])
    return np.where(beyond, found / outermost, inside)


def nodes(basis: Basis, point: Point, here: Standing) -> Rows:
    """Nearest nodes of each series at a point.

    Arguments:
        basis: of the time grid.
        point: the point.
        here: what is known there.

    Returns:
        Exponent, signal and onset index, shape (series, 3).
    """
    low, high = basis.shift_low, basis.shift_latest
    progress = (point.shift - low) / max(high - low, 1e-9)
    columns = [
        _nearest(EXPONENT_NODES, point.exponent),
        _nearest(np.log(SIGNAL_NODES), np.log(np.maximum(here.signal, 1e-9))),
        _nearest(ONSET_NODES, progress),
    ]
    return np.stack(columns, axis=1)


def _nearest(nodes: Array, values: Array) -> Rows:
    return np.abs(values[:, None] - nodes).argmin(axis=1)


class Inversion(NamedTuple):
    """What the test tells of each series, each of shape (series,).

    Attributes:
        low: lower end of the interval of p, −inf where unbounded.
        high: upper end, +inf where unbounded.
        late: whether an end is unbounded as the onset there is the latest allowed.
        critical: critical value of the likelihood ratio at p̂.
        log_ratio: likelihood ratio of the exponent held, p = 0.
        log_p_value: its p-value.
        detectable: smallest |p| that would be told from 0 with probability `POWER`; inf where the
            curve carries no information on p.
        sigma: σ̂ at the peak.
        signal: slope over its standard error at the peak.
    """

    low: Array
    high: Array
    late: NDArray[np.bool_]
    critical: Array
    log_ratio: Array
    log_p_value: Array
    detectable: Array
    sigma: Array
    signal: Array


def invert(at: Surface, test: ExponentTest) -> Inversion:
    """The interval of the exponent, the test of the one held, and what could be told from it.

    The interval's ends enclose every lattice exponent inside, and the one held, where the set of
    such exponents is in pieces; the p-value of one between the pieces is that of the piece beyond.

    Arguments:
        at: the surfaces, held at the log law.
        test: of exponents.

    Returns:
        The interval, with the figures it rests on.
    """
    here = standing(at, at.peak)
    error = standard_error(at, here.sigma)
    quantile = -ndtri((1 - test.level) / 2)
    held = Trial(at.held.exponent, at.held.shift, test.deviate(at) - quantile)
    peak = Trial(at.peak.exponent, at.peak.shift, np.full(error.shape, -quantile))
    ends = [_end(at, peak, held, error, test, edge) for edge in (EXPONENT_LOW, EXPONENT_HIGH)]
    excess = held.excess
    for sign, end in zip((-1, 1), ends, strict=True):
        enclosed = end.late | (sign * (end.inside.exponent - held.exponent) > 0)
        between = enclosed & (sign * (held.exponent - peak.exponent) > 0)
        excess = np.where(between, np.minimum(excess, end.inside.excess), excess)
    critical = test.critical(replace(at, held=at.peak))
    return Inversion(
        low=ends[0].value,
        high=ends[1].value,
        late=ends[0].late | ends[1].late,
        critical=critical,
        log_ratio=np.square(at.root),
        log_p_value=np.minimum(2 * ndtr(-quantile - excess), 1.0),
        detectable=told_from_log(error, critical, test.level),
        sigma=here.sigma,
        signal=here.signal,
    )


def told_from_log(error: Array, critical: Array, level: float) -> Array:
    """Smallest |p| that a log law would be told from, with probability `POWER`.

    (z_{(1+level)/2} + z_{POWER}) · se(p̂) · (c/χ²)^½, with c the critical value at the fit. It
    takes the resolution of the exponent to be the same at the fit and at the log law.

    Arguments:
        error: se(p̂), shape (series,).
        critical: c, shape (series,).
        level: confidence level.

    Returns:
        |p|, shape (series,).
    """
    quantiles = ndtri((1 + level) / 2) + ndtri(POWER)
    return quantiles * error * np.sqrt(critical / chdtri(1, 1 - level))


@dataclass(frozen=True)
class Trial:
    """Exponents on trial, (series,).

    Attributes:
        exponent: p.
        shift: s = ln(t₁ + τ) of the constrained maximum there.
        excess: |z| less the normal quantile, nearly linear in p and positive outside the interval.
    """

    exponent: Array
    shift: Array
    excess: Array


class End(NamedTuple):
    """An end of the interval, each of shape (series,).

    Attributes:
        value: p, ±inf where unbounded.
        inside: the outermost exponents tried that lie inside.
        late: whether it is unbounded as the onset there is the latest allowed.
    """

    value: Array
    inside: Trial
    late: NDArray[np.bool_]


def _trial(at: Surface, exponent: Array, shift: Array, test: ExponentTest) -> Trial:
    held = profile(at, exponent, shift)
    deviate = np.abs(held.root)
    rows = np.flatnonzero((deviate > _SURELY_INSIDE) & (deviate < _SURELY_OUTSIDE))
    if rows.size:
        deviate[rows] = test.deviate(held[rows])
    return Trial(exponent, held.held.shift, deviate + ndtri((1 - test.level) / 2))


def _filled(whole: Trial, rows: Rows, part: Trial, chosen: Rows) -> Trial:
    """Trials of which some rows are replaced by chosen ones of another set."""
    columns = [column.copy() for column in (whole.exponent, whole.shift, whole.excess)]
    for column, new in zip(columns, (part.exponent, part.shift, part.excess), strict=True):
        column[rows] = new[chosen]
    return Trial(*columns)


def _end(
    at: Surface, peak: Trial, held: Trial, error: Array, test: ExponentTest, edge: float
) -> End:
    """The end of the interval on the side of an edge of the exponents considered."""
    inside = _outermost(at, peak, test, edge)
    # The exponent held is tried like others: inside, the interval reaches to it or beyond.
    sign = np.sign(edge)
    out = sign * (held.exponent - inside.exponent) > 0
    rows = np.flatnonzero(out & (held.excess <= 0))
    inside, beyond = _bracket(at, _filled(inside, rows, held, rows), error, test, edge)
    out = sign * (held.exponent - inside.exponent) > 0
    nearer = sign * (beyond.exponent - held.exponent) > 0
    unbounded = beyond.excess <= 0
    rows = np.flatnonzero(out & nearer & (held.excess > 0) & ~unbounded)
    beyond = _filled(beyond, rows, held, rows)
    for _ in range(_SECANTS):
        inside, beyond = _narrow(at, inside, beyond, test)
    rows = np.flatnonzero(unbounded)
    # With a later onset exponents farther out would fit as well.
    basis = at.frame.basis
    fitted = basis.shift_latest > basis.shift_low
    late = fitted & (inside.shift >= basis.shift_latest - _NEAR) & ~unbounded
    value = np.where(unbounded | late, sign * np.inf, _crossing(inside, beyond))
    return End(value, _filled(inside, rows, beyond, rows), late)


def _outermost(at: Surface, peak: Trial, test: ExponentTest, edge: float) -> Trial:
    """The peak, or the lattice point farthest out that is still inside."""
    outward = np.sign(edge) * (at.scan.exponents - peak.exponent[:, None])
    below = 2 * (at.peak.value[:, None] - at.scan.value) <= peak.excess[:, None] ** 2
    inside = below & (outward > 0)
    rows = np.flatnonzero(inside.any(axis=1))
    if rows.size == 0:
        return peak
    column = np.where(inside, outward, -np.inf).argmax(axis=1)[rows]
    found = _trial(at[rows], at.scan.exponents[column], at.scan.shift[rows, column], test)
    kept = np.flatnonzero(found.excess <= 0)
    return _filled(peak, rows[kept], found, kept)


def _bracket(
    at: Surface, inside: Trial, error: Array, test: ExponentTest, edge: float
) -> tuple[Trial, Trial]:
    """A trial inside the interval and one outside it, or at the edge."""
    width = np.clip(2.2 * error, 1e-7, 0.5) * np.sign(edge)
    beyond = _trial(at, _towards(inside.exponent, width, edge), inside.shift, test)
    for _ in range(_DOUBLINGS):
        rows = np.flatnonzero((beyond.excess <= 0) & (beyond.exponent != edge))
        if rows.size == 0:
            break
        inside = _filled(inside, rows, beyond, rows)
        width = 2 * width
        further = _towards(inside.exponent[rows], width[rows], edge)
        found = _trial(at[rows], further, inside.shift[rows], test)
        beyond = _filled(beyond, rows, found, np.arange(rows.size))
    return inside, beyond


def _towards(exponent: Array, width: Array, edge: float) -> Array:
    moved = exponent + width
    return np.minimum(moved, edge) if edge > 0 else np.maximum(moved, edge)


def _narrow(at: Surface, inside: Trial, beyond: Trial, test: ExponentTest) -> tuple[Trial, Trial]:
    """One secant step, kept away from the bracket's ends."""
    start, span = inside.exponent, beyond.exponent - inside.exponent
    share = (_crossing(inside, beyond) - start) / np.where(span == 0, 1.0, span)
    trial = _trial(at, start + np.clip(share, 0.02, 0.98) * span, beyond.shift, test)
    within, without = np.flatnonzero(trial.excess <= 0), np.flatnonzero(trial.excess > 0)
    return _filled(inside, within, trial, within), _filled(beyond, without, trial, without)


def _crossing(inside: Trial, beyond: Trial) -> Array:
    """Where a line through both trials crosses the end of the interval."""
    gap = beyond.excess - inside.excess
    share = np.where(gap > 0, -inside.excess / np.where(gap > 0, gap, 1.0), 1.0)
    return inside.exponent + np.clip(share, 0.0, 1.0) * (beyond.exponent - inside.exponent)
