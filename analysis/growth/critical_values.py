"""The likelihood ratio of a true exponent, simulated at the recorded times.

The ratio 2[ℓ̂ − ℓ(p)] does not follow χ² on one trajectory of some dozens of autocorrelated
records: the noise model is estimated from the same records, and the onset may lie on its boundary.
Its distribution is therefore simulated in `Cell`s, each a noise model with nodes of exponent,
signal and onset, between which a critical value varies little, through the same code that fits the
data. A cell takes the fitted noise for the true one. How often the test then rejects a true
exponent was simulated under many kinds of noise, and `corrections` are the factors that make up
for what it was off by, on average.

References:
    Hansen (1999), Rev. Econ. Stat. 81, 594: the grid bootstrap, which this follows.
"""

from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .family import Frame, members
from .noise_models import NoiseModel, simulate_noise
from .surface import Products, products, surface_of

Array = NDArray[np.float64]

EXPONENT_NODES = np.array([-1.5, -1.0, -0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
SIGNAL_NODES = np.array([4.0, 10.0, 40.0])
ONSET_NODES = np.array([0.0, 0.12, 0.35, 0.7])  # of the range of ln(t₁ + τ)
_LONG = 8.0  # records a correlation must reach over to count as persistent
_SHORT_NOISE, _HIDDEN, _WALK, _ONSET = 0.8, 6.0, 3.0, 11.0  # see `corrections`


class Cell(NamedTuple):
    """A simulated situation: index of the noise model and of each node."""

    model: int
    exponent: int
    signal: int
    onset: int


@dataclass(frozen=True)
class NullRatios:
    """Likelihood ratios of true exponents on one time grid, simulated on first use and kept.

    Attributes:
        frame: shared quantities of the time grid.
        draws: simulated series per cell.
        seed: of the simulations; a cell's series do not depend on which cells came before.
        samples: sorted likelihood ratios of each cell so far, (draw,).
        locks: one for each cell begun, so that threads share the work and never repeat it.
        factors: of critical values, as `corrections` gives them.
    """

    frame: Frame
    draws: int = 1000
    seed: int = 0
    samples: dict[Cell, Array] = field(default_factory=dict)
    locks: dict[Cell, Lock] = field(default_factory=dict)
    factors: Array = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", corrections(self.frame))

    def simulate_cells(self, wanted: list[Cell]) -> None:
        """Add the samples of cells that are not there yet."""
        # Cells of one model come one after the other and share their noise.
        missing = sorted(cell for cell in wanted if cell not in self.samples)
        latest: tuple[int, Products] | None = None
        # First the cells that no other thread has begun, then the others, which may be waited for.
        for blocking in (False, True):
            for cell in missing:
                lock = self.locks.setdefault(cell, Lock())
                if not lock.acquire(blocking=blocking):
                    continue
                try:
                    if cell not in self.samples:
                        if latest is None or latest[0] != cell.model:
                            latest = cell.model, self.noise(cell.model)
                        self.samples[cell] = self.ratios(cell, latest[1])
                finally:
                    lock.release()

    def noise(self, model: int) -> Products:
        """Noise drawn from one model, the same for all its cells."""
        rng = np.random.default_rng([self.seed, model])
        drawn = simulate_noise(
            self.frame.models[model], self.frame.basis.times, self.draws, rng=rng
        )
        return products(self.frame, drawn)

    def ratios(self, cell: Cell, noise: Products) -> Array:
        """Sorted likelihood ratios of the true exponent in simulated series.

        The products of noise plus curve follow from those of either, without a pass over records.

        Arguments:
            cell: the situation to simulate.
            noise: of the cell's model.

        Returns:
            The ratios, shape (draw,).
        """
        frame = self.frame
        low, high = frame.basis.shift_low, frame.basis.shift_high
        exponent = np.array([EXPONENT_NODES[cell.exponent]])
        shift = np.array([low + ONSET_NODES[cell.onset] * (high - low)])
        curve, lengths = members(frame.basis, frame.grams, exponent, shift)
        length = lengths[0]
        strength = SIGNAL_NODES[cell.signal] / np.sqrt(length[cell.model])
        power = noise.power + 2 * strength * (noise.loads @ curve[0]) + strength**2 * length
        data = Products(power, noise.loads + strength * (frame.grams @ curve[0]))
        at = surface_of(frame, data, float(exponent[0]))
        return np.sort(np.maximum(2 * (at.peak.value - at.held.value), 0.0))


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
