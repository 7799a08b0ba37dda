"""The test of an exponent, and its inversion to an interval.

An exponent p is tested by the likelihood ratio 2[ℓ̂ − ℓ(p)] against a critical value, taken from
simulations with the noise, onset and strength of signal that fit best under that p
(`critical_values`), or from χ². The interval holds every p whose ratio stays below it. It may
reach beyond the exponents considered, when nothing in the curve contradicts even the outermost,
and is then unbounded on that side: p has no meaning where the slope b vanishes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from .critical_values import EXPONENT_NODES, ONSET_NODES, SIGNAL_NODES, Cell, NullRatios
from .family import EXPONENT_HIGH, EXPONENT_LOW, Basis, Point
from .surface import Standing, Surface, profile, standard_error, standing

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

POWER = 0.8  # probability with which `Inversion.detectable` would be told from 0
_SHARPNESS = 3.0  # of the weights of noise models
_CONSIDERED = 3  # noise models whose critical values are averaged, at most
_IMPLAUSIBLE = 0.05  # weight, relative to the best noise model's, below which one is passed over
_COUNTED = 0.02  # p-value below which draws are too few to count
_TAIL = np.array([3.0, 2.5, 2.0, 1.6, 1.3, 1.0, 0.8, 0.6])  # quantiles averaged, in 1 − level
_DOUBLINGS = 7
_SECANTS = 6
# Likelihood ratios that no critical value comes near at levels of 0.8 to 0.99 (simulated ones lie
# between 1.2 and 25); beyond them none needs to be simulated.
_SURELY_INSIDE, _SURELY_OUTSIDE = 1.0, 30.0


class ExponentTest(Protocol):
    """A test of the exponents that surfaces are held at."""

    @property
    def level(self) -> float:
        """The confidence level."""

    def critical(self, at: Surface) -> Array:
        """Value that a true exponent's ratio exceeds with probability 1 − level, (series,)."""

    def p_value(self, at: Surface) -> Array:
        """Probability that a true exponent's ratio exceeds the one found, (series,)."""


@dataclass(frozen=True)
class Asymptotic:
    """The test by χ² with one degree of freedom; rejects too often under autocorrelated noise."""

    level: float

    def critical(self, at: Surface) -> Array:
        """The χ² quantile."""
        return np.full(at.held.value.shape, chi2.ppf(self.level, 1))

    def p_value(self, at: Surface) -> Array:
        """The χ² tail."""
        return chi2.sf(ratio(at), 1)


@dataclass(frozen=True)
class Calibrated:
    """The test by simulated ratios, averaged over the noise models that are plausible."""

    level: float
    null: NullRatios

    def critical(self, at: Surface) -> Array:
        """The simulated quantile of each series' cell."""
        read = smooth_quantile(self.level)
        return self._look_up(at, lambda sample, _, factor: factor * read(sample))

    def p_value(self, at: Surface) -> Array:
        """The share of simulated ratios beyond each series' own, extrapolated below 2 %."""
        return self._look_up(at, lambda sample, found, factor: tail(sample, found / factor))

    def _look_up(self, at: Surface, read: Callable[[Array, Array, float], float | Array]) -> Array:
        here = standing(at, at.held)
        weight = plausibility(here)
        rows, models = np.nonzero(weight)
        codes = _codes(nodes(at.frame.basis, at.held, here)[rows], models)
        wanted, which = np.unique(codes, return_inverse=True)
        found = ratio(at)[rows]
        cells = [_decoded(int(code)) for code in wanted]
        if any(cell not in self.null.samples for cell in cells):
            self.null.simulate_cells(cells)
        values = np.empty(rows.size)
        for index, cell in enumerate(cells):
            members = which == index
            factor = self.null.factors[int(cell.onset > 0), cell.model]
            values[members] = read(self.null.samples[cell], found[members], factor)
        total = np.zeros(weight.shape[0])
        np.add.at(total, rows, weight[rows, models] * values)
        return total


def ratio(at: Surface) -> Array:
    """Likelihood ratio 2[ℓ̂ − ℓ(p)] of the exponents held, shape (series,)."""
    return np.maximum(2 * (at.peak.value - at.held.value), 0.0)


def plausibility(here: Standing) -> Array:
    """Weights of the noise models at a point, ∝ (likelihood/largest likelihood)³.

    With all weight on the best model the critical value ignores that the model was chosen, and is
    too small where a correlation hides under independent noise; with weights ∝ likelihood it is
    too large for independent records. The cube was settled by simulation (tests/statistics).

    Arguments:
        here: of the point.

    Returns:
        Weights, shape (series, model), 0 for models far from the best; rows sum to 1.
    """
    value = here.likelihood
    weight = np.exp(_SHARPNESS * (value - value.max(axis=1, keepdims=True)))
    rank = min(_CONSIDERED, weight.shape[1])
    least = np.partition(weight, -rank, axis=1)[:, -rank, None]
    weight[(weight < least) | (weight < _IMPLAUSIBLE)] = 0.0
    return weight / weight.sum(axis=1, keepdims=True)


def nodes(basis: Basis, point: Point, here: Standing) -> Rows:
    """Nearest nodes of each series at a point.

    Arguments:
        basis: of the time grid.
        point: the point.
        here: what is known there.

    Returns:
        Exponent, signal and onset index, shape (series, 3).
    """
    low, high = basis.shift_low, basis.shift_high
    progress = (point.shift - low) / max(high - low, 1e-9)
    columns = [
        _nearest(EXPONENT_NODES, point.exponent),
        _nearest(np.log(SIGNAL_NODES), np.log(np.maximum(here.signal, 1e-9))),
        _nearest(ONSET_NODES, progress),
    ]
    return np.stack(columns, axis=1)


def _nearest(nodes: Array, values: Array) -> Rows:
    return np.abs(values[:, None] - nodes).argmin(axis=1)


def _codes(nodes: Rows, models: Rows) -> Rows:
    """One number for each cell; sorting numbers is much faster than sorting rows."""
    exponent, strength, onset = nodes.T
    return ((models * EXPONENT_NODES.size + exponent) * 8 + strength) * 8 + onset


def _decoded(code: int) -> Cell:
    model, exponent = divmod(code // 64, EXPONENT_NODES.size)
    return Cell(model, exponent, code // 8 % 8, code % 8)


def smooth_quantile(level: float) -> Callable[[Array], float]:
    """Function that reads a quantile from a sorted sample of likelihood ratios.

    c = χ²(level) · mean over q near level of [sample quantile(q) / χ²(q)]: the sample is taken to
    be nearly a multiple of χ² in that range, and the mean is steadier than one quantile.

    Arguments:
        level: probability below the quantile.

    Returns:
        The function from a sample, shape (draw,), to c.
    """
    around = 1 - (1 - level) * _TAIL
    factor = chi2.ppf(level, 1) / chi2.ppf(around, 1)
    return lambda sample: float(np.mean(np.quantile(sample, around) * factor))


def tail(sample: Array, found: Array) -> Array:
    """Share of a sorted sample at or above each value.

    (1 + #)/(1 + draws) where that exceeds 2 %; below, where too few draws lie, the tail of the
    multiple of χ² that has the sample's 95 % quantile, which is an extrapolation.

    Arguments:
        sample: likelihood ratios, shape (draw,).
        found: values, shape (series,).

    Returns:
        The shares, shape (series,).
    """
    counted = (1 + sample.size - np.searchsorted(sample, found)) / (1 + sample.size)
    scale = smooth_quantile(0.95)(sample) / chi2.ppf(0.95, 1)
    smooth = chi2.sf(found / scale, 1)
    return np.where(counted > _COUNTED, counted, np.minimum(counted, smooth))


class Inversion(NamedTuple):
    """What the test tells of each series, each of shape (series,).

    Attributes:
        low: lower end of the interval of p, −inf where unbounded.
        high: upper end, +inf where unbounded.
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
    critical: Array
    log_ratio: Array
    log_p_value: Array
    detectable: Array
    sigma: Array
    signal: Array


def invert(at: Surface, test: ExponentTest) -> Inversion:
    """The interval of the exponent, the test of the one held, and what could be told from it.

    The interval's ends enclose every lattice exponent inside, where the set of such exponents is
    in pieces.

    Arguments:
        at: the surfaces, held at the log law.
        test: of exponents.

    Returns:
        The interval, with the figures it rests on.
    """
    here = standing(at, at.peak)
    error = standard_error(at, here.sigma)
    peak = Trial(at.peak.exponent, at.peak.shift, -np.sqrt(np.full(error.shape, _USUAL)))
    ends = [_end(at, peak, error, test, edge) for edge in (EXPONENT_LOW, EXPONENT_HIGH)]
    critical = test.critical(replace(at, held=at.peak))
    return Inversion(
        low=ends[0],
        high=ends[1],
        critical=critical,
        log_ratio=ratio(at),
        log_p_value=test.p_value(at),
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
    quantiles = norm.ppf((1 + level) / 2) + norm.ppf(POWER)
    return quantiles * error * np.sqrt(critical / chi2.ppf(level, 1))


_USUAL = chi2.ppf(0.95, 1)  # stands in for critical values that need not be known


@dataclass(frozen=True)
class Trial:
    """Exponents on trial, (series,).

    Attributes:
        exponent: p.
        shift: s = ln(t₁ + τ) of the constrained maximum there.
        excess: √LR − √c, nearly linear in p and positive outside the interval.
    """

    exponent: Array
    shift: Array
    excess: Array


def _trial(at: Surface, exponent: Array, shift: Array, test: ExponentTest) -> Trial:
    held = profile(at, exponent, shift)
    found = ratio(held)
    limit = np.full(found.shape, _USUAL)
    rows = np.flatnonzero((found > _SURELY_INSIDE) & (found < _SURELY_OUTSIDE))
    if rows.size:
        limit[rows] = test.critical(held[rows])
    return Trial(exponent, held.held.shift, np.sqrt(found) - np.sqrt(limit))


def _filled(whole: Trial, rows: Rows, part: Trial, chosen: Rows) -> Trial:
    """Trials of which some rows are replaced by chosen ones of another set."""
    columns = [column.copy() for column in (whole.exponent, whole.shift, whole.excess)]
    for column, new in zip(columns, (part.exponent, part.shift, part.excess), strict=True):
        column[rows] = new[chosen]
    return Trial(*columns)


def _end(at: Surface, peak: Trial, error: Array, test: ExponentTest, edge: float) -> Array:
    """The end of the interval on the side of an edge of the exponents considered."""
    inside, beyond = _bracket(at, _outermost(at, peak, test, edge), error, test, edge)
    unbounded = beyond.excess <= 0
    for _ in range(_SECANTS):
        inside, beyond = _narrow(at, inside, beyond, test)
    return np.where(unbounded, np.sign(edge) * np.inf, _crossing(inside, beyond))


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
