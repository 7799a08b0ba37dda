"""Planning the runs that decide: how long, how many seeds, recorded when, at which batch sizes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.growth import ADVANTAGE, MARGIN, ONSET, SETTLED, SUPPORT
from ultraslow.analysis.intervals import UNDECIDABLE
from ultraslow.analysis.text import number, percent

from .advice import Advice, advise, state_of
from .pilot import Pilot
from .power import (
    LONGEST,
    Question,
    Shares,
    Simulations,
    check_question,
    exponent_error,
    record_times,
    training_lengths,
)

Array = NDArray[np.float64]

# From four seeds on, intervals are taken across them; one run speaks of its own trajectory.
PLANNED_SEEDS = (4, 6, 10)
PER_DECADE = (25, 6, 12, 50)  # of records; first the default schedule's, which others stand beside
_SURE = 3.1  # standard errors: 2.24 for half the error at level 0.95, and 0.84 for 80 % power
_HOPELESS = 0.5  # of them: lengths whose asymptotic error leaves fewer are not simulated
_USUAL = 0.1  # exponent that is asked about where nothing tells of one
_CLEAR = 1.5  # margins beyond which an exponent that was found is asked about
_FALLS = 0.05  # of the power: more than chance


@dataclass(frozen=True)
class Option:
    """Runs that answer the question.

    Attributes:
        seeds: runs.
        last: last iteration of each; 0 where none of the lengths considered suffices.
        records: records of each run.
        power: simulated probability that the verdict on P1 contradicts the log law under the
            power law.
        log_supported: simulated probability that it supports a true log law.
        false_alarms: simulated probability that it contradicts a true log law.
        alarms_at_once: the same of a log law of onset 0, where fitted exponents lean most to one
            side, as no onset can be fitted below 0.
        updates: updates of all runs together.
        samples: samples of all runs together; 0 where the batch size is unknown.
    """

    seeds: int
    last: int
    records: int
    power: float
    log_supported: float
    false_alarms: float
    alarms_at_once: float
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
        advice: what decides recordings that leave P1 open; None for others, and for numbers.
    """

    question: Question
    pilot: Pilot
    options: tuple[Option, ...]
    records: tuple[Records, ...]
    batch_sizes: tuple[int, ...]
    notes: tuple[str, ...]
    advice: Advice | None = None

    @property
    def cheapest(self) -> Option | None:
        """The option with the fewest updates; None when none suffices.

        One that contradicts a true log law too often is taken only where all of them do.
        """
        able = [option for option in self.options if option.last]
        sound = [option for option in able if not _alarming(option, self.question)]
        return min(sound or able, key=lambda option: option.updates, default=None)


def _alarming(option: Option, question: Question) -> bool:
    """Whether more true log laws would be contradicted than the level allows."""
    return max(option.false_alarms, option.alarms_at_once) > 1 - question.level


def plan_runs(
    question: Question,
    of: Pilot,
    *,
    rng: np.random.Generator,
    arms: int = 1,
    advance: Callable[[], None] | None = None,
) -> Plan:
    """The runs that would decide P1.

    Of recordings that leave it open: what decides them, as the verdict says it. Where an exponent
    is asked about, or nothing is open: for each number of seeds at one batch size the shortest
    training, in steps of a quarter of a decade, from which on the simulated power to tell t^p from
    a logarithm is what was asked. Sets of runs are judged as the verdict on P1 judges them, by
    `growth.arm_words`. No training is shorter than the 2.5 decades that this verdict asks for.

    Arguments:
        question: exponent, power, level.
        of: the pilot.
        rng: source of random numbers.
        arms: arms among which the verdict shares its error.
        advance: called after each length that was simulated.

    Returns:
        The plan.

    Raises:
        ValueError: when the exponent counts as log growth, a number is out of range, or growth
            sets in after any training.
    """
    check_question(question)
    if of.onset > 10**LONGEST:
        raise ValueError(
            f"onset: found {of.onset:g}, expected at most {10**LONGEST:g}, the last iteration of "
            "the longest training considered"
        )
    word = state_of(of, level=1 - (1 - question.level) / arms)
    advice = None
    if of.found is not None and word in ("", UNDECIDABLE):
        advice = advise(of, level=1 - (1 - question.level) / arms)
    said = _said(of, word)
    if math.isnan(question.exponent) and advice is None:
        question = replace(question, exponent=_own_exponent(of))
    if math.isnan(question.exponent):
        found = Plan(question, of, (), (), _batch_sizes(of), (*said, *_of_pilot(of)), advice)
        exponent, last = _own_exponent(of), advice.last if advice else 0
    else:
        simulate = Simulations(question, of, rng, advance)
        options = _shortest(question, of, simulate)
        notes = (
            *said,
            *_notes(question),
            *_of_pilot(of),
            *_alarms(options, question),
            *_log_laws(options, question, simulate),
            *_falling(simulate),
        )
        found = Plan(question, of, options, (), _batch_sizes(of), notes, advice)
        exponent, last = question.exponent, found.cheapest.last if found.cheapest else 0
    return replace(found, records=_records(of, last, exponent)) if last else found


def _said(of: Pilot, word: str) -> tuple[str, ...]:
    """What the recordings say by themselves, where they decide."""
    if of.found is None or word in ("", UNDECIDABLE):
        return ()
    return (f"these {of.found.exponents.size} seeds decide already: P1 is {word} by them",)


def _own_exponent(of: Pilot) -> float:
    """The mean exponent of the pilot, to two digits, where it lies clear of the margin."""
    mean = float(of.found.exponents.mean()) if of.found is not None else math.nan
    return round(mean, 2) if abs(mean) > _CLEAR * MARGIN else _USUAL


def _shortest(question: Question, of: Pilot, simulate: Simulations) -> tuple[Option, ...]:
    """For each number of seeds the first length from which on the power is enough.

    One length may pass by chance: the next one has to as well.
    """
    able = training_lengths()
    start = _hopeful(question, of, able)
    open_ones, found = set(PLANNED_SEEDS), dict[int, int]()
    for place in range(start, len(able)):
        for seeds in sorted(open_ones):
            here = able[place : place + 2]
            if all(simulate.power(seeds, last) >= question.power for last in here):
                found[seeds] = able[place]
        open_ones -= set(found)
        if not open_ones:
            break
    return tuple(
        _option(of, seeds, found[seeds], simulate.shares(seeds, found[seeds]))
        if seeds in found
        else Option(seeds, 0, 0, math.nan, math.nan, math.nan, math.nan, 0, 0)
        for seeds in PLANNED_SEEDS
    )


def _hopeful(question: Question, of: Pilot, able: Sequence[int]) -> int:
    """The first length whose asymptotic error leaves hope, with the most seeds."""
    beyond = abs(question.exponent) - MARGIN
    for k, last in enumerate(able):
        error = exponent_error(of, record_times(last), question.exponent)
        needed = _HOPELESS * _SURE * math.hypot(error, of.seed_spread)
        if needed <= beyond * math.sqrt(max(PLANNED_SEEDS)):
            return k
    return len(able) - 1


def _option(of: Pilot, seeds: int, last: int, found: Sequence[Shares]) -> Option:
    power, log, at_once = found
    shares = power.contradicted, log.supported, log.contradicted, at_once.contradicted
    updates = seeds * last
    records = record_times(last).size
    return Option(seeds, last, records, *shares, updates, updates * of.batch_size)


def _records(of: Pilot, last: int, exponent: float) -> tuple[Records, ...]:
    """Ways of recording a run of this length; the default schedule comes first."""
    count = record_times(last).size
    even = {
        "even in ln t": np.geomspace(1, last, count),
        "even in √t": np.linspace(1, math.sqrt(last), count) ** 2,
        "even in t": np.linspace(1, last, count),
    }
    designs = {f"{n} a decade": record_times(last, per_decade=n) for n in PER_DECADE}
    designs |= {name: np.unique(np.rint(times)) for name, times in even.items()}
    return tuple(
        Records(name, times.size, exponent_error(of, times, exponent))
        for name, times in designs.items()
    )


def _batch_sizes(of: Pilot) -> tuple[int, ...]:
    """Powers of two from B/10 to 10·B, each about three times the one before.

    None is larger than the training set, as far as that is known.
    """
    if not (math.isfinite(of.noise_scale) and of.noise_scale > 0):
        return ()
    wanted = of.noise_scale * np.geomspace(0.1, 10.0, 5)
    sizes = sorted({int(2 ** max(round(math.log2(size)), 0)) for size in wanted})
    return tuple(size for size in sizes if size <= (of.data_size or size))


def _notes(question: Question) -> tuple[str, ...]:
    """The legend: what the shares are, and the rule behind them."""
    return (
        "the sample are seeds: one run speaks of its own trajectory only",
        "power: how often the verdict on P1 is contradicted, from seeds at one batch size: the "
        f"interval of their mean exponent lies beyond ±{MARGIN:g}, and powers of t fit better "
        f"than late logarithms, at an error of {percent(ADVANTAGE)}. Late logarithms are "
        f"log(t + τ) with τ up to {percent(ONSET)} of the iterations, and curves that turn into "
        f"log t by {percent(SETTLED)} of them, from t^0.3 or faster or from what saturates",
        "log kept: how often it is supported if the law is log t: the interval lies within "
        f"±{MARGIN:g} at level {1 - SUPPORT * (1 - question.level):.4g}, and no power fits "
        "better; alarms: how often it is contradicted then, with the pilot's onset, and with an "
        "onset of 0",
    )


def _of_pilot(of: Pilot) -> tuple[str, ...]:
    """What is not known of the pilot, or costs power."""
    notes = []
    if not of.seed_spread:
        notes.append("no spread of exponents between seeds was known or found; any adds to this")
    if not math.isfinite(of.noise_scale):
        notes.append(
            "the noise scale B is unknown, so no batch sizes can be named: from B/10 to 10·B"
        )
    if of.noise.wanders:
        notes.append(
            "the pilot's residuals wander like a random walk and grow with the run, so that a "
            "longer run gains less than one whose noise stays as it is; the shares allow for it"
        )
    return tuple(notes)


def _falling(simulate: Simulations) -> tuple[str, ...]:
    """Where a longer training has less power, in words: a table would hide it."""
    lengths = simulate.lengths()
    for seeds in PLANNED_SEEDS:
        powers = np.array([simulate.power(seeds, last) for last in lengths])
        best = np.maximum.accumulate(powers)
        if powers.size and (best - powers).max() > _FALLS:
            least = int((best - powers).argmax())
            peak = int(powers[:least].argmax())
            return (
                f"power falls with the length somewhere: with {seeds} seeds from "
                f"{percent(powers[peak])} until iteration {number(lengths[peak])} to "
                f"{percent(powers[least])} until {number(lengths[least])}, as late logarithms "
                "and powers of a small exponent come to fit alike",
            )
    return ()


def _alarms(options: Sequence[Option], question: Question) -> tuple[str, ...]:
    """Which options would reject a true log law too often, and why."""
    found = [
        f"{one.seeds} ({max(one.false_alarms, one.alarms_at_once):.0%})"
        for one in options
        if _alarming(one, question)
    ]
    if not found:
        return ()
    return (
        f"with {', '.join(found)} seeds a true log law would be contradicted more often than "
        f"level {question.level:g} allows: fitted exponents lean to one side by part of their "
        "error, which further seeds of that length do not mend",
    )


def _log_laws(
    options: Sequence[Option], question: Question, simulate: Simulations
) -> tuple[str, ...]:
    """Where power is there and a true log law would be left undecided more often than asked."""
    short = [one for one in options if one.last and one.log_supported < question.power]
    if not short:
        return ()
    told = ", ".join(
        f"with {one.seeds} seeds until iteration {number(one.last)} in about "
        f"{round(10 * (1 - one.log_supported - one.false_alarms))}"
        for one in short
    )
    both = _deciding_both(short, question, simulate)
    rest = (
        f"both laws are decided with {question.power:.0%} power by {both}"
        if both
        else "no longer training was simulated that decides both laws so often"
    )
    return (
        f"these options are chosen for t^{question.exponent:g}; if the law is log t, of 10 such "
        f"studies so many would be left undecided: {told}; {rest}",
    )


def _deciding_both(short: Sequence[Option], question: Question, simulate: Simulations) -> str:
    """Numbers of seeds with the shortest simulated length that decides either law so often."""
    found = []
    for one in short:
        for last in (n for n in simulate.lengths() if n > one.last):
            power, log, at_once = simulate.shares(one.seeds, last)
            sound = max(log.contradicted, at_once.contradicted) <= 1 - question.level
            if sound and min(power.contradicted, log.supported) >= question.power:
                found.append(f"{one.seeds} seeds until iteration {number(last)}")
                break
    return " or ".join(found)
