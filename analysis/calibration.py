"""Critical values of the likelihood ratio, simulated at the recorded times.

The ratio 2[ℓ̂ − ℓ(p)] does not follow χ² on one trajectory of some dozens of autocorrelated
records: the noise model is estimated from the same records, and the onset may lie on its boundary.
Its distribution is therefore simulated under the p that is tested, with the noise, onset and
strength of signal that fit best under it, through the same code that fits the data. Where the
interval ends is tested so, hence the interval is an inverted test. Two approximations remain: the
fitted noise stands in for the true one, and p, onset and signal are rounded to nodes, between
which the critical value varies little.

References:
    Hansen (1999), Rev. Econ. Stat. 81, 594: the grid bootstrap, which this follows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from .growth_family import regressor
from .inversion import Surface, constrained, signal, surface
from .likelihood import Frame, lengths, moments
from .noise_models import simulate
from .search import Lattice, Point

Array = NDArray[np.float64]

EXPONENT_NODES = np.array([-1.5, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0])
SIGNAL_NODES = np.array([4.0, 10.0, 40.0])
ONSET_NODES = np.array([0.0, 0.4, 0.8])  # of the range of ln(t₁ + τ)
# Simulated quantiles are noisy in the tail: several, each divided by its χ² counterpart, are
# averaged.
_TAIL = np.array([3.0, 2.5, 2.0, 1.6, 1.3, 1.0, 0.8, 0.6])


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
        return self._look_up(at, point, lambda sample, _: smooth_quantile(sample, level))

    def p_value(self, at: Surface, point: Point) -> Array:
        """The share of simulated ratios beyond each series' own."""
        return self._look_up(at, point, tail)

    def _look_up(
        self, at: Surface, point: Point, read: Callable[[Array, Array], float | Array]
    ) -> Array:
        keys, inverse = np.unique(cells(at, point), axis=0, return_inverse=True)
        wanted = [Cell(*map(int, key)) for key in keys]
        self._simulate(at.frame, wanted)
        found = ratio(at, point)
        values = np.empty(found.shape)
        for index, cell in enumerate(wanted):
            rows = inverse.ravel() == index
            values[rows] = read(self.samples[cell], found[rows])
        return values

    def _simulate(self, frame: Frame, wanted: list[Cell]) -> None:
        missing = [cell for cell in wanted if cell not in self.samples]
        # First the cells that no other thread has begun, then the others, which may be waited for.
        for blocking in (False, True):
            for cell in missing:
                lock = self.locks.setdefault(cell, Lock())
                if not lock.acquire(blocking=blocking):
                    continue
                try:
                    if cell not in self.samples:
                        self.samples[cell] = null_ratios(frame, cell, self)
                finally:
                    lock.release()


def ratio(at: Surface, point: Point) -> Array:
    """Likelihood ratio 2[ℓ̂ − ℓ(p)] of constrained maxima, shape (series,)."""
    return np.maximum(2 * (at.peak.value - point.value), 0.0)


def cells(at: Surface, point: Point) -> NDArray[np.int64]:
    """Cell of each series at a constrained maximum.

    Arguments:
        at: the surfaces.
        point: the constrained maxima.

    Returns:
        Model, exponent, signal and onset index, shape (series, 4).
    """
    low, high = at.frame.basis.shift_low, at.frame.basis.shift_high
    progress = (point.shift - low) / max(high - low, 1e-9)
    return np.stack(
        [
            point.model,
            _nearest(EXPONENT_NODES, point.exponent),
            _nearest(np.log(SIGNAL_NODES), np.log(np.maximum(signal(at, point), 1e-9))),
            _nearest(ONSET_NODES, progress),
        ],
        axis=1,
    )


def _nearest(nodes: Array, values: Array) -> NDArray[np.intp]:
    return np.abs(values[:, None] - nodes).argmin(axis=1)


def null_ratios(frame: Frame, cell: Cell, of: Calibrated) -> Array:
    """Sorted likelihood ratios of the true exponent in simulated series.

    Arguments:
        frame: shared quantities of the time grid.
        cell: the situation to simulate.
        of: lattice, number of draws and seed.

    Returns:
        The ratios, shape (draw,).
    """
    rng = np.random.default_rng([of.seed, *cell])
    low, high = frame.basis.shift_low, frame.basis.shift_high
    exponent = np.array([EXPONENT_NODES[cell.exponent]])
    shift = np.array([low + ONSET_NODES[cell.onset] * (high - low)])
    length = lengths(frame, frame.basis.coordinates(exponent, shift))[0, cell.model]
    curve = regressor(frame.basis.log_time(shift), exponent[:, None])
    noise = simulate(frame.models[cell.model], frame.basis.times, of.draws, rng=rng)
    values = noise + SIGNAL_NODES[cell.signal] / np.sqrt(length) * curve
    at = surface(frame, of.grid, moments(frame, values))
    return np.sort(ratio(*constrained(at, np.full(of.draws, exponent[0]))))


def smooth_quantile(sample: Array, level: float) -> float:
    """Quantile of a sorted sample of likelihood ratios.

    c(level) = χ²(level) · mean over q near level of [sample quantile(q) / χ²(q)].

    Arguments:
        sample: likelihood ratios, shape (draw,).
        level: probability below the quantile.

    Returns:
        The quantile.
    """
    around = 1 - (1 - level) * _TAIL
    return float(chi2.ppf(level, 1) * np.mean(np.quantile(sample, around) / chi2.ppf(around, 1)))


def tail(sample: Array, found: Array) -> Array:
    """Share of a sorted sample at or above each value, never quite 0: (1 + #)/(1 + draws)."""
    return (1 + sample.size - np.searchsorted(sample, found)) / (1 + sample.size)
