"""Critical values of the likelihood ratio, simulated at the recorded times.

The ratio 2[ℓ̂ − ℓ(p)] does not follow χ² on one trajectory of some dozens of autocorrelated
records: the noise model is estimated from the same records, and the onset may lie on its boundary.
Its distribution is therefore simulated under the p that is tested, with the noise, onset and
strength of signal that fit best under it, through the same code that fits the data. Where the
interval ends is tested so, hence the interval is an inverted test. Two approximations remain: the
fitted noise stands in for the true one, which factors found by simulation make up for on average
(`corrections`), and p, onset and signal are rounded to nodes, between which the critical value
varies little.

References:
    Hansen (1999), Rev. Econ. Stat. 81, 594: the grid bootstrap, which this follows.

Factors of critical values for noise that is fitted to the same records.

A critical value simulated under the fitted noise takes that noise for the true one. How often the
test then rejects a true exponent was simulated under many kinds of noise, and what it was off by
is made up for here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from .interval import Surface, constrained, signal, surface
from .likelihood import Frame, Moments, lengths, log_likelihood, moments
from .maximum import Lattice, Point
from .noise_models import NoiseModel, simulate

Array = NDArray[np.float64]

_LONG = 8.0  # records a correlation must reach over to count as persistent
_SHORT_NOISE, _HIDDEN, _WALK, _ONSET = 0.8, 6.0, 3.0, 11.0  # see `corrections`


def corrections(frame: Frame) -> Array:
    """Factors of critical values that make up for the noise being fitted to the same records.

    The noise fitted to a curve under persistent noise is too tame more often than too wild, most
    of all where independent noise hides it or where an onset can pass for part of it, and the
    critical value simulated under the fitted noise is too small; under noise that fades within a
    few records the averaging over models makes it too large. The factors, which tend to 1 with the
    number n of records for persistent noise, were fitted to simulated rejections at 60 and 30
    records over 2.5 to 4 decades; tests/statistics judges them at others.

    Arguments:
        frame: shared quantities of the time grid.

    Returns:
        Factors, shape (2, model): for an onset at the start of its range and inside it. They are 1
        where the menu leaves no choice.
    """
    models, times = frame.models, frame.basis.times
    if len(models) == 1:
        return np.ones((2, 1))
    long = _LONG * np.log(times[-1] / times[0]) / (times.size - 1)
    rows = [
        [_correction(m, times.size, long=long, inside=inside) for m in models] for inside in (0, 1)
    ]
    return np.array(rows)


def _correction(model: NoiseModel, records: int, *, long: float, inside: int) -> float:
    plain = model.kind in ("white", "ar_log_t") and not model.nugget and not model.power
    if plain and model.length < long:
        return _SHORT_NOISE
    persistent = model.wanders or model.nugget > 0 or plain
    factor = 1 + _HIDDEN * (model.nugget > 0) / records
    factor *= 1 + _WALK * (model.wanders and not model.nugget) / records
    return factor * (1 + _ONSET * inside * persistent / records)


EXPONENT_NODES = np.array([-1.5, -1.0, -0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
SIGNAL_NODES = np.array([4.0, 10.0, 40.0])
ONSET_NODES = np.array([0.0, 0.12, 0.35, 0.7])  # of the range of ln(t₁ + τ)
_SHARPNESS = 3.0  # of the weights of noise models
_COUNTED = 0.02  # p-value below which draws are too few to count
_CONSIDERED = 3  # noise models whose critical values are averaged, at most
_IMPLAUSIBLE = 0.05  # weight, relative to the best noise model's, below which one is passed over
_TAIL = np.array([3.0, 2.5, 2.0, 1.6, 1.3, 1.0, 0.8, 0.6])  # quantiles averaged, in 1 − level


class Cell(NamedTuple):
    """A simulated situation: index of the noise model and of each node."""

    model: int
    exponent: int
    signal: int
    onset: int


class CriticalValues(Protocol):
    """Critical values of the likelihood ratio at constrained maxima."""

    def critical(self, at: Surface, point: Point, level: float) -> Array:
        """Value that a true exponent's ratio exceeds with probability 1 − level, (series,)."""

    def p_value(self, at: Surface, point: Point) -> Array:
        """Probability that a true exponent's ratio exceeds the one found, (series,)."""


@dataclass(frozen=True)
class Asymptotic:
    """Critical values from χ² with one degree of freedom; too small for autocorrelated noise."""

    def critical(self, at: Surface, point: Point, level: float) -> Array:
        """The χ² quantile."""
        return np.full(point.value.shape, chi2.ppf(level, 1))

    def p_value(self, at: Surface, point: Point) -> Array:
        """The χ² tail."""
        return chi2.sf(ratio(at, point), 1)


@dataclass(frozen=True)
class Calibrated:
    """Critical values simulated on first use and kept.

    Attributes:
        grid: lattice of the time grid.
        draws: simulated series per cell.
        seed: of the simulations; a cell's series do not depend on which cells came before.
        samples: sorted likelihood ratios of each cell so far.
        locks: one for each cell begun, so that threads share the work and never repeat it.
    """

    grid: Lattice
    draws: int = 1000
    seed: int = 0
    samples: dict[Cell, Array] = field(default_factory=dict)
    locks: dict[Cell, Lock] = field(default_factory=dict)

    def critical(self, at: Surface, point: Point, level: float) -> Array:
        """The simulated quantile of each series' cell."""
        read = smooth_quantile(level)
        return self._look_up(at, point, lambda sample, _, factor: factor * read(sample))

    def p_value(self, at: Surface, point: Point) -> Array:
        """The share of simulated ratios beyond each series' own, extrapolated below 2 %."""
        return self._look_up(at, point, lambda sample, found, factor: tail(sample, found / factor))

    def _look_up(
        self, at: Surface, point: Point, read: Callable[[Array, Array, float], float | Array]
    ) -> Array:
        factors = corrections(at.frame)
        weight = plausibility(at, point)
        rows, models = np.nonzero(weight)
        wanted, which = np.unique(_codes(nodes(at, point)[rows], models), return_inverse=True)
        found = ratio(at, point)[rows]
        situations = [_decoded(int(code)) for code in wanted]
        self._simulate(at.frame, situations)
        values = np.empty(rows.size)
        for index, cell in enumerate(situations):
            members = which == index
            factor = factors[int(cell.onset > 0), cell.model]
            values[members] = read(self.samples[cell], found[members], factor)
        total = np.zeros(weight.shape[0])
        np.add.at(total, rows, weight[rows, models] * values)
        return total

    def _simulate(self, frame: Frame, wanted: list[Cell]) -> None:
        # Cells of one model come one after the other and share their noise.
        missing = sorted(cell for cell in wanted if cell not in self.samples)
        latest: tuple[int, Moments] | None = None
        # First the cells that no other thread has begun, then the others, which may be waited for.
        for blocking in (False, True):
            for cell in missing:
                lock = self.locks.setdefault(cell, Lock())
                if not lock.acquire(blocking=blocking):
                    continue
                try:
                    if cell not in self.samples:
                        if latest is None or latest[0] != cell.model:
                            latest = cell.model, null_noise(frame, cell.model, self)
                        self.samples[cell] = null_ratios(frame, cell, self, latest[1])
                finally:
                    lock.release()


def ratio(at: Surface, point: Point) -> Array:
    """Likelihood ratio 2[ℓ̂ − ℓ(p)] of constrained maxima, shape (series,)."""
    return np.maximum(2 * (at.peak.value - point.value), 0.0)


def nodes(at: Surface, point: Point) -> NDArray[np.intp]:
    """Nearest nodes of each series at a constrained maximum.

    Arguments:
        at: the surfaces.
        point: the constrained maxima.

    Returns:
        Exponent, signal and onset index, shape (series, 3).
    """
    low, high = at.frame.basis.shift_low, at.frame.basis.shift_high
    progress = (point.shift - low) / max(high - low, 1e-9)
    strength = np.log(np.maximum(signal(at, point), 1e-9))
    columns = [
        _nearest(EXPONENT_NODES, point.exponent),
        _nearest(np.log(SIGNAL_NODES), strength),
        _nearest(ONSET_NODES, progress),
    ]
    return np.stack(columns, axis=1)


def _codes(nodes: NDArray[np.intp], models: NDArray[np.intp]) -> NDArray[np.intp]:
    """One number for each cell; sorting numbers is much faster than sorting rows."""
    exponent, strength, onset = nodes.T
    return ((models * EXPONENT_NODES.size + exponent) * 8 + strength) * 8 + onset


def _decoded(code: int) -> Cell:
    model, exponent = divmod(code // 64, EXPONENT_NODES.size)
    return Cell(model, exponent, code // 8 % 8, code % 8)


def plausibility(at: Surface, point: Point) -> Array:
    """Weights of the noise models at constrained maxima, ∝ (likelihood/largest likelihood)³.

    With all weight on the best model the critical value ignores that the model was chosen, and is
    too small where a correlation hides under independent noise; with weights ∝ likelihood it is
    too large for independent records. The cube was settled by simulation (tests/statistics).

    Arguments:
        at: the surfaces.
        point: the constrained maxima.

    Returns:
        Weights, shape (series, model), 0 for models far from the best; rows sum to 1.
    """
    curve = at.frame.basis.coordinates(point.exponent, point.shift)
    value = log_likelihood(at.frame, at.moments, curve)
    weight = np.exp(_SHARPNESS * (value - value.max(axis=1, keepdims=True)))
    rank = min(_CONSIDERED, weight.shape[1])
    least = np.partition(weight, -rank, axis=1)[:, -rank, None]
    weight[(weight < least) | (weight < _IMPLAUSIBLE)] = 0.0
    return weight / weight.sum(axis=1, keepdims=True)


def _nearest(nodes: Array, values: Array) -> NDArray[np.intp]:
    return np.abs(values[:, None] - nodes).argmin(axis=1)


def null_noise(frame: Frame, model: int, of: Calibrated) -> Moments:
    """Moments of noise drawn from one model, the same for all its cells.

    Arguments:
        frame: shared quantities of the time grid.
        model: index of the noise model.
        of: number of draws and seed.

    Returns:
        The moments.
    """
    rng = np.random.default_rng([of.seed, model])
    return moments(frame, simulate(frame.models[model], frame.basis.times, of.draws, rng=rng))


def null_ratios(frame: Frame, cell: Cell, of: Calibrated, noise: Moments) -> Array:
    """Sorted likelihood ratios of the true exponent in simulated series.

    The moments of noise plus curve follow from those of either, without a pass over the records.

    Arguments:
        frame: shared quantities of the time grid.
        cell: the situation to simulate.
        of: lattice and number of draws.
        noise: as returned by `null_noise` for the cell's model.

    Returns:
        The ratios, shape (draw,).
    """
    low, high = frame.basis.shift_low, frame.basis.shift_high
    exponent = np.array([EXPONENT_NODES[cell.exponent]])
    shift = np.array([low + ONSET_NODES[cell.onset] * (high - low)])
    curve = frame.basis.coordinates(exponent, shift)
    length = lengths(frame, curve)[0]
    strength = SIGNAL_NODES[cell.signal] / np.sqrt(length[cell.model])
    power = noise.power + 2 * strength * (noise.loads @ curve[0]) + strength**2 * length
    data = Moments(power, noise.loads + strength * (frame.grams @ curve[0]))
    at = surface(frame, of.grid, data)
    return np.sort(ratio(*constrained(at, np.full(of.draws, exponent[0]))))


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
