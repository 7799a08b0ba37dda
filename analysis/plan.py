"""Planning the runs that decide: how long, how many seeds, recorded when, at which batch sizes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from diffusion.schedule import log_spaced

from .design_power import exponent_error, exponents, seeds_power, simulated
from .pilot import Pilot
from .usable_fits import DECADES

Array = NDArray[np.float64]

# From four seeds on, intervals are taken across them; one run speaks of its own trajectory.
SEEDS = (4, 6, 10)
PER_DECADE = (6, 12, 25, 50)
_STEP = 0.25  # decades between the lengths considered
_LONGEST = 8.0  # decades: no training goes on for longer
_ALARMS = 2.0  # false alarms over their nominal share that are told


@dataclass(frozen=True)
class Question:
    """What is to be told apart, and how surely.

    Attributes:
        exponent: p of the power law to tell from the logarithm.
        power: probability with which it shall be told.
        level: confidence level of the test.
        draws: series simulated for each law and length.
    """

    exponent: float
    power: float = 0.8
    level: float = 0.95
    draws: int = 400


@dataclass(frozen=True)
class Option:
    """Runs that answer the question.

    Attributes:
        seeds: runs.
        last: last iteration of each; 0 where none of the lengths considered suffices.
        records: records of each run.
        power: simulated probability to tell the power law.
        false_alarms: simulated probability to reject a true log law.
        updates: updates of all runs together.
        samples: samples of all runs together; 0 where the batch size is unknown.
    """

    seeds: int
    last: int
    records: int
    power: float
    false_alarms: float
    updates: int
    samples: int

    @property
    def decades(self) -> float:
        """log10 of the last iteration."""
        return math.log10(max(self.last, 1))


@dataclass(frozen=True)
class Records:
    """When to record: a way of placing records, and what it makes of the exponent.

    Attributes:
        name: the way, in words.
        count: records.
        error: asymptotic standard error of the exponent.
    """

    name: str
    count: int
    error: float


@dataclass(frozen=True)
class Plan:
    """An answer to a question.

    Attributes:
        question: what was asked.
        pilot: what it was answered from.
        options: runs that would do, one item a number of seeds.
        records: ways of recording the cheapest option.
        batch_sizes: sizes that span the noise scale; empty where it is unknown.
        notes: what to know of it, in sentences.
    """

    question: Question
    pilot: Pilot
    options: tuple[Option, ...]
    records: tuple[Records, ...]
    batch_sizes: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def cheapest(self) -> Option | None:
        """The option with the fewest updates; None when none suffices.

        One that rejects a true log law too often is taken only where all of them do.
        """
        able = [option for option in self.options if option.last]
        sound = [option for option in able if not _alarming(option, self.question)]
        return min(sound or able, key=lambda option: option.updates, default=None)


def _alarming(option: Option, question: Question) -> bool:
    """Whether more than twice as many true log laws would be rejected as the level allows."""
    return option.false_alarms > _ALARMS * (1 - question.level)


def plan(
    question: Question,
    of: Pilot,
    *,
    rng: np.random.Generator,
    advance: Callable[[], None] | None = None,
) -> Plan:
    """The runs that would tell t^p from a logarithm.

    For each number of seeds the shortest training, in steps of a quarter of a decade, whose
    simulated power reaches what was asked. No training is shorter than the 2.5 decades beyond the
    onset that a verdict on the log law asks for.

    Arguments:
        question: exponent, power, level.
        of: the pilot.
        rng: source of random numbers.
        advance: called after each length that was simulated.

    Returns:
        The plan.

    Raises:
        ValueError: when the exponent is 0, or power or level are not between 0 and 1.
    """
    _check(question)
    simulate = _Simulations(question, of, rng, advance)
    options = tuple(_shortest(question, of, seeds, simulate) for seeds in SEEDS)
    notes = (*_notes(of), *_alarms(options, question))
    found = Plan(question, of, options, (), _batch_sizes(of), notes)
    best = found.cheapest
    return replace(found, records=_records(question, of, best.last)) if best else found


def _check(question: Question) -> None:
    if not (math.isfinite(question.exponent) and question.exponent):
        raise ValueError(f"exponent: found {question.exponent}, expected a number other than 0")
    for name, value in (("power", question.power), ("level", question.level)):
        if not 0.5 <= value < 1:
            raise ValueError(f"{name}: found {value}, expected a number from 0.5 to 1")
    if question.draws < 100:
        raise ValueError(f"draws: found {question.draws}, expected at least 100")


class _Simulations:
    """Power at a length, each length simulated once."""

    def __init__(
        self,
        question: Question,
        of: Pilot,
        rng: np.random.Generator,
        advance: Callable[[], None] | None,
    ) -> None:
        self._question, self._of, self._rng, self._advance = question, of, rng, advance
        self._fitted: dict[int, tuple[Array, Array]] = {}

    def power(self, seeds: int, last: int) -> tuple[float, float]:
        """Power and false alarms of so many seeds of this length."""
        level, spread = self._question.level, self._of.seed_spread
        # The same draws for every length, so that power rises smoothly with it.
        shares = [
            seeds_power(fitted, seeds, spread=spread, level=level, rng=np.random.default_rng(0))
            for fitted in self._of_several(last)
        ]
        return shares[0], shares[1]

    def _of_several(self, last: int) -> tuple[Array, Array]:
        """Fitted exponents under the power law and under the log law."""
        if last not in self._fitted:
            laws = [self._series(last, p) for p in (self._question.exponent, 0.0)]
            self._fitted[last] = exponents(laws[0]), exponents(laws[1])
            if self._advance is not None:
                self._advance()
        return self._fitted[last]

    def _series(self, last: int, exponent: float) -> xr.DataArray:
        draws, times = self._question.draws, record_times(last)
        return simulated(self._of, times, exponent, draws=draws, rng=self._rng)


def record_times(last: int, *, per_decade: int = 25) -> Array:
    """Iterations t ≥ 1 that the default schedule records."""
    return log_spaced(last, per_decade=per_decade)[1:].astype(np.float64)


def lengths(of: Pilot) -> list[int]:
    """Last iterations considered, from the shortest that a verdict takes."""
    shortest = (1 + of.onset) * 10**DECADES - of.onset
    steps = int((_LONGEST - math.log10(shortest)) / _STEP) + 1
    return [math.ceil(shortest * 10 ** (_STEP * k)) for k in range(max(steps, 1))]


def _shortest(question: Question, of: Pilot, seeds: int, simulate: _Simulations) -> Option:
    """The first length with power enough, found by halving: power rises with the length."""
    able = lengths(of)
    low, high = -1, _enough(question, of, seeds, able)
    while simulate.power(seeds, able[high])[0] < question.power:
        if high == len(able) - 1:
            return Option(seeds, 0, 0, math.nan, math.nan, 0, 0)
        low, high = high, min(high + 2, len(able) - 1)
    while high - low > 1:
        middle = (low + high) // 2
        if simulate.power(seeds, able[middle])[0] < question.power:
            low = middle
        else:
            high = middle
    return _option(of, seeds, able[high], simulate.power(seeds, able[high]))


def _enough(question: Question, of: Pilot, seeds: int, able: Sequence[int]) -> int:
    """Where the asymptotic error, half as large again, suffices: a place to start from."""
    for k, last in enumerate(able):
        error = 1.5 * exponent_error(of, record_times(last), question.exponent)
        if 2.8 * math.hypot(error, of.seed_spread) <= abs(question.exponent) * math.sqrt(seeds):
            return k
    return len(able) - 1


def _option(of: Pilot, seeds: int, last: int, found: tuple[float, float]) -> Option:
    updates = seeds * last
    records = record_times(last).size
    return Option(seeds, last, records, *found, updates, updates * of.batch_size)


def _records(question: Question, of: Pilot, last: int) -> tuple[Records, ...]:
    """Ways of recording a run of this length, the default schedule first."""
    count = record_times(last).size
    even = {
        "even in ln t": np.geomspace(1, last, count),
        "even in √t": np.linspace(1, math.sqrt(last), count) ** 2,
        "even in t": np.linspace(1, last, count),
    }
    designs = {f"{n} a decade": record_times(last, per_decade=n) for n in PER_DECADE}
    designs |= {name: np.unique(np.rint(times)) for name, times in even.items()}
    return tuple(
        Records(name, times.size, exponent_error(of, times, question.exponent))
        for name, times in designs.items()
    )


def _batch_sizes(of: Pilot) -> tuple[int, ...]:
    """Powers of two from B/10 to 10·B, each about three times the one before."""
    if not (math.isfinite(of.noise_scale) and of.noise_scale > 0):
        return ()
    wanted = of.noise_scale * np.geomspace(0.1, 10.0, 5)
    return tuple(sorted({int(2 ** max(round(math.log2(size)), 0)) for size in wanted}))


def _notes(of: Pilot) -> tuple[str, ...]:
    notes = ["the sample are seeds: one run speaks of its own trajectory only"]
    if not of.seed_spread:
        notes.append("no spread of exponents between seeds was known or found; any adds to this")
    if not math.isfinite(of.noise_scale):
        notes.append(
            "the noise scale B is unknown, so no batch sizes can be named: from B/10 to 10·B"
        )
    if of.noise.wanders:
        notes.append(
            "the pilot's residuals wander like a random walk, which longer runs do not mend"
        )
    return tuple(notes)


def _alarms(options: Sequence[Option], question: Question) -> tuple[str, ...]:
    """Which options would reject a true log law too often, and why."""
    found = [
        f"{one.seeds} ({one.false_alarms:.0%})" for one in options if _alarming(one, question)
    ]
    if not found:
        return ()
    return (
        f"with {', '.join(found)} seeds a true log law would be rejected more than twice as often "
        f"as level {question.level:g} allows: fitted exponents lean to one side by part of their "
        "error, which further seeds of that length do not mend",
    )
