"""The likelihood ratio of a true exponent, simulated at the recorded times.

The signed root sign(p̂ − p) {2[ℓ̂ − ℓ(p)]}^½ is not standard normal on one trajectory of some dozens
of autocorrelated records: the noise model is estimated from the same records, the onset may lie on
its boundary, and p̂ errs farther to one side than to the other. Its distribution is therefore
simulated in `Cell`s, each a noise model with nodes of exponent, signal and onset, between which it
varies little, through the same code that fits the data. A cell takes the fitted noise for the true
one. How often the test then rejects a true exponent was simulated under many kinds of noise, and
`corrections` are the factors that make up for what it was off by, on average.

References:
    Hansen (1999), Rev. Econ. Stat. 81, 594: the grid bootstrap, which this follows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ultraslow.analysis.growth.family import Frame, members
from ultraslow.analysis.growth.noise_models import OFF_CLOCK, NoiseModel
from ultraslow.analysis.growth.surface import Products, products, surface_of
from ultraslow.analysis.runs import ONE_THREAD

from .disk import PATIENCE, Rows

Array = NDArray[np.float64]
Index = NDArray[np.intp]

EXPONENT_NODES = np.array([-1.5, -1.0, -0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
SIGNAL_NODES = np.array([4.0, 10.0, 40.0])
ONSET_NODES = np.array([0.0, 0.14, 0.42, 0.72, 1.0])  # of the range of ln(t₁ + τ)
# Standard normal deviates at which a sample is read, and the multiples of each around it.
DEVIATES = np.linspace(-2.25, 2.25, 19)
_AROUND = np.linspace(0.8, 1.2, 9)
LEAST_SPREAD = 0.5  # of signed roots over that of the standard normal: fewer than that is chance
_LONG = 8.0  # records a correlation must reach over to count as persistent
_SHORT_NOISE, _HIDDEN, _WALK, _ONSET = 0.85, 12.0, 12.0, 11.0  # see `corrections`
_OFF_CLOCK = 1.1  # where noise is looked for in iterations as well: there is more to choose from


class Cell(NamedTuple):
    """A simulated situation: index of the noise model and of each node."""

    model: int
    exponent: int
    signal: int
    onset: int


def numbers_of(nodes: Index, models: Index) -> Index:
    """The number that each cell goes by; sorting numbers is much faster than sorting rows.

    Arguments:
        nodes: exponent, signal and onset index, shape (series, 3).
        models: shape (series,).
    """
    exponent, signal, onset = nodes.T
    return ((models * EXPONENT_NODES.size + exponent) * 8 + signal) * 8 + onset


def cell_of(number: int) -> Cell:
    """The cell that goes by a number.

    >>> cell_of(int(numbers_of(np.array([[5, 2, 4]]), np.array([7]))[0]))
    Cell(model=7, exponent=5, signal=2, onset=4)
    """
    model, exponent = divmod(number // 64, EXPONENT_NODES.size)
    return Cell(model, exponent, number // 8 % 8, number % 8)


def number_of(cell: Cell) -> int:
    """The number that a cell goes by."""
    return int(numbers_of(np.array([cell[1:]]), np.array([cell.model]))[0])


def _nothing(_: Cell) -> None:
    return None


@dataclass(frozen=True)
class NullRatios:
    """Signed roots of true exponents on one time grid, simulated on first use and kept.

    Attributes:
        frame: shared quantities of the time grid.
        draws: simulated series per cell.
        seed: of the simulations; a cell's series do not depend on which cells came before.
        kept: where what is simulated is kept between calls; nowhere by default.
        known: the roots of cells that need no simulation, and None of others.
        roots: of each cell so far, what `roots_at_deviates` reads from its sample, (deviate,).
        noises: products of noise drawn from models, for as long as cells are being added.
        locks: one for each cell begun, so that threads share the work and never repeat it.
        factors: of critical values, as `corrections` gives them.
    """

    frame: Frame
    draws: int = 1000
    seed: int = 0
    kept: Rows = field(default_factory=lambda: Rows(None, DEVIATES.size))
    known: Callable[[Cell], Array | None] = _nothing
    roots: dict[Cell, Array] = field(default_factory=dict)
    noises: dict[int, Products] = field(default_factory=dict)
    locks: dict[Cell, Lock] = field(default_factory=dict)
    factors: Array = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", corrections(self.frame))
        self._take_over()

    def simulate_cells(self, wanted: list[Cell]) -> None:
        """Add the roots of cells that are not there yet."""
        missing = []
        for cell in sorted(cell for cell in wanted if cell not in self.roots):
            roots = self.known(cell)
            if roots is None:
                missing.append(cell)
            else:
                self.roots[cell] = roots
        # First the cells that no other thread and no other process has begun, then the others,
        # which may be waited for.
        for blocking in (False, True):
            for cell in missing:
                lock = self.locks.setdefault(cell, Lock())
                if not lock.acquire(blocking=blocking):
                    continue
                try:
                    self._add(cell, patience=PATIENCE if blocking else 0.0)
                finally:
                    lock.release()

    def _add(self, cell: Cell, *, patience: float) -> None:
        """A cell's roots, as another process has kept them or simulated here."""
        if cell in self.roots:
            return
        number = number_of(cell)
        with self.kept.claimed(number, patience=patience) as free:
            self._take_over()
            if free and cell not in self.roots:
                with ONE_THREAD:  # the last digits are those of every other call
                    sample = self.simulated(cell, self.noise(cell.model))
                self.roots[cell] = roots_at_deviates(sample)
                self.kept.add(number, self.roots[cell])

    def _take_over(self) -> None:
        """The cells that were kept since this was last called."""
        for number, roots in self.kept.new().items():
            cell = cell_of(number)
            if self.known(cell) is None:  # what is known has not to be found again
                self.roots.setdefault(cell, roots)

    def noise(self, model: int) -> Products:
        """Noise drawn from one model, the same for all its cells."""
        found = self.noises.get(model)
        if found is None:
            rng = np.random.default_rng([self.seed, model])
            root = self.frame.roots[model]
            drawn = rng.standard_normal((self.draws, root.shape[0])) @ root.T
            found = self.noises[model] = products(self.frame, drawn)
        return found

    def simulated(self, cell: Cell, noise: Products) -> Array:
        """Sorted signed roots of the true exponent in simulated series.

        The products of noise plus curve follow from those of either, without a pass over records.

        Arguments:
            cell: the situation to simulate.
            noise: of the cell's model.

        Returns:
            The roots, shape (draw,).
        """
        frame = self.frame
        low, high = frame.basis.shift_low, frame.basis.shift_latest
        exponent = np.array([EXPONENT_NODES[cell.exponent]])
        shift = np.array([low + ONSET_NODES[cell.onset] * (high - low)])
        curve, lengths = members(frame.basis, frame.grams, exponent, shift)
        length = lengths[0]
        strength = SIGNAL_NODES[cell.signal] / np.sqrt(length[cell.model])
        power = noise.power + 2 * strength * (noise.loads @ curve[0]) + strength**2 * length
        data = Products(power, noise.loads + strength * (frame.grams @ curve[0]))
        at = surface_of(frame, data, float(exponent[0]))
        return np.sort(at.root)


def roots_at_deviates(sample: Array) -> Array:
    """Signed roots that lie in a sample where `DEVIATES` lie in a standard normal one.

    R(z) = mean over f near 1 of [sample quantile(Φ(f z)) / f]: the sample is taken to be nearly a
    multiple of the normal in that range, and the mean is steadier than one quantile.

    Arguments:
        sample: sorted signed roots, shape (draw,).

    Returns:
        R, shape (deviate,), increasing, and at least `LEAST_SPREAD` times as far out as z.
    """
    around = ndtr(DEVIATES[:, None] * _AROUND)
    found = np.mean(np.quantile(sample, around) / _AROUND, axis=1)
    return increasing(found)


def increasing(found: Array) -> Array:
    """Signed roots that increase, at least `LEAST_SPREAD` times as far out as the deviates.

    Arguments:
        found: signed roots at `DEVIATES`, shape (deviate,).
    """
    least = LEAST_SPREAD * DEVIATES
    found = np.where(DEVIATES > 0, np.maximum(found, least), found)
    return np.maximum.accumulate(np.where(DEVIATES < 0, np.minimum(found, least), found))


def corrections(frame: Frame) -> Array:
    """Factors of critical values that make up for the noise being fitted to the same records.

    The noise fitted to a curve under persistent noise is too tame more often than too wild, most
    of all where independent noise hides it or where an onset can pass for part of it, and the
    critical value simulated under the fitted noise is too small; under noise that fades within a
    few records it is too large. The factors, which tend to 1 with the
    number n of records for persistent noise, were fitted to simulated rejections at 60 and 30
    records over 2.5 to 4 decades; tests/statistics judges them at others. On another clock than
    iterations the menu is longer, and one more factor was fitted to five schedules of the rate.

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
    longer = any(model.kind in OFF_CLOCK for model in models)
    return np.array(rows) * (_OFF_CLOCK if longer else 1.0)


def _correction(model: NoiseModel, records: int, *, long: float, inside: int) -> float:
    plain = model.kind in ("white", "ar_log_t") and not model.nugget and not model.power
    if plain and model.length < long:
        return _SHORT_NOISE
    persistent = model.wanders or model.nugget > 0 or plain
    factor = 1 + _HIDDEN * (model.nugget > 0) / records
    factor *= 1 + _WALK * (model.wanders and not model.nugget) / records
    return factor * (1 + _ONSET * inside * persistent / records)
