"""What verdicts rest on: numbers of single runs, across the seeds of each arm."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    UNDECIDABLE,
    Interval,
    seeds_at_most,
    t_interval,
)
from ultraslow.analysis.runs import (
    Span,
    arm_names,
    constant_rate,
    label,
    noise_free,
    split_by_rate,
)
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import first_of, number, plural

from .means import Judged, Measure, Zone, judge, seeds_needed
from .verdict import Verdict

# Seeds of runs that may have been too short: what is missing is about the length as well.
LONG_SEEDS = "seeds with enough decades"


def driven_by_noise(study: Study) -> tuple[Study, tuple[str, ...]]:
    """The runs whose updates have gradient noise, and a note on the others: no walk without it."""
    kept = study.where(lambda run: noise_free(run) is False)
    return kept, left_out(study, kept, "no gradient noise is known to drive them")


def mostly(tried: Study, usable: Iterable[str]) -> Study:
    """The usable runs of arms in which they are at least half of those that were tried.

    What makes a run unusable may depend on what is asked of it; a few of many seeds are a choice.
    """
    known = set(usable)
    found = {arm: [name for name in names if name in known] for arm, names in tried.arms.items()}
    return tried.part(
        name
        for arm, names in found.items()
        if 2 * len(names) >= len(tried.arms[arm])
        for name in names
    )


def reach(runs: Study) -> Span:
    """First and last iteration of constant rate that all runs have."""
    stretches = [constant_rate(run).iteration for run in runs.runs.values()]
    return float(max(item[0] for item in stretches)), float(min(item[-1] for item in stretches))


def most_seen(ends: Mapping[str, float], enough: Callable[[list[str]], bool]) -> list[str]:
    """The runs that are compared up to one iteration: those that go on for as long as most do.

    Of the iterations at which runs end the latest is taken that at least half of them reach, among
    those whose runs are enough; where there is none, the latest whose runs are enough. The choice
    knows nothing of what is compared, and a short run does not end what others show.

    Arguments:
        ends: last iteration of each run, by name.
        enough: whether runs can be compared.

    Returns:
        Names of the runs that reach it; none where nothing is enough.
    """
    reaching = {end: [name for name, last in ends.items() if last >= end] for end in ends.values()}
    fit = {end: names for end, names in reaching.items() if end > 1 and enough(names)}
    most = [end for end, names in fit.items() if 2 * len(names) >= len(ends)]
    return fit[max(most or fit)] if fit else []


def over(span: Span) -> str:
    """A span of iterations in words."""
    return f"over iterations {number(round(span[0]))} to {number(round(span[1]))}"


@dataclass(frozen=True)
class Arms:
    """What the arms of a study say on a claim, with their names.

    Attributes:
        judged: the word and the mean that it hangs on.
        measures: what was judged.
        names: of the arms, in words.
        entered: the runs that did.
        level: confidence level of an arm's interval.
        members: nodes of the runs of each arm.
    """

    judged: Judged
    measures: tuple[Measure, ...]
    names: tuple[str, ...]
    entered: Study
    level: float
    members: tuple[tuple[str, ...], ...]

    @property
    def word(self) -> str:
        """Supported, contradicted or undecidable."""
        return self.judged.word

    @property
    def name(self) -> str:
        """The arm that the word hangs on."""
        return self.names[self.judged.arm]

    @property
    def shown(self) -> Study:
        """The runs of that arm; others may be shorter or longer."""
        return self.entered.part(self.members[self.judged.arm])

    @property
    def mean(self) -> Interval:
        """The mean that the word hangs on, named after its arm."""
        found = self.judged.mean
        return replace(found, name=f"mean of {found.n} seeds at {self.name}")

    @property
    def others(self) -> str:
        """In words, which other arms carry the word, and which do not; empty for one arm."""
        carrying = [self.names[k] for k in self.judged.carrying if k != self.judged.arm]
        if self.judged.together:
            return " No arm says so by itself, all together do."
        if self.word == UNDECIDABLE or not carrying:
            return ""
        which = carrying[0] if len(carrying) == 1 else f"{len(carrying)} other arms"
        return f" So {'does' if len(carrying) == 1 else 'do'} {which}."

    def of(self, measure: int) -> Interval:
        """The mean of a measure in the arm that the word hangs on."""
        return t_interval(self.measures[measure].values[self.judged.arm], level=self.level)

    def told_by(self, measure: int) -> "Arms":
        """The same, told by the mean of another measure in that arm, at the level that decided."""
        values = self.measures[measure].values[self.judged.arm]
        mean = t_interval(values, level=self.judged.level)
        return replace(self, judged=replace(self.judged, measure=measure, mean=mean))


def judge_arms(study: Study, *numbers: tuple[Mapping[str, float], Zone]) -> Arms | None:
    """The verdict of all arms on one or more numbers a run (`means.judge`).

    Arguments:
        study: the runs.
        numbers: one number a run, by node name, and the zone of its mean. An arm speaks with
            `SEEDS` runs of which all are finite.

    Returns:
        What the arms say; None where no arm speaks.
    """
    known = study.part(
        n
        for n in study.runs
        if all(math.isfinite(values.get(n, math.nan)) for values, _ in numbers)
    )
    arms = {arm: names for arm, names in known.arms.items() if len(names) >= SEEDS}
    if not arms:
        return None
    measures = tuple(
        Measure(zone, [np.array([values[name] for name in names]) for names in arms.values()])
        for values, zone in numbers
    )
    entered = study.part(name for names in arms.values() for name in names)
    titles = arm_titles(entered)
    return Arms(
        judge(measures, level=study.level),
        measures,
        tuple(titles[names[0]] for names in arms.values()),
        entered,
        study.level,
        tuple(map(tuple, arms.values())),
    )


def arm_titles(study: Study) -> dict[str, str]:
    """The arm of each run in words, told apart from the others of its batch size."""
    which = arm_names(study.runs)
    return {
        name: f"{arm}, {which[name]}" if which[name] else str(arm)
        for arm, names in study.arms.items()
        for name in names
    }


def more_seeds(
    measures: Sequence[Measure], have: int, where: str, *, level: float, otherwise: Missing
) -> Missing:
    """How many seeds would decide, as an instruction; another one where none are likely to.

    Arguments:
        measures: what is known, undecided.
        have: seeds an arm that are there.
        where: of which runs there are to be more, in words.
        level: confidence level of an arm's interval.
        otherwise: what else would decide.
    """
    more = replace(seeds_needed(measures, level=level), there=have)
    if not more.count:
        return otherwise
    return Missing("", more.in_words(where), float(have), float(more.count), "seeds")


def decided_by_arms(
    blank: Verdict,
    study: Study,
    found: Arms,
    *,
    reason: str,
    assumptions: tuple[str, ...],
    span: Span,
    longer: Missing | None = None,
    show: Callable[[float], float] = math.exp,
) -> Verdict:
    """The verdict that rests on means across seeds, by default of logarithms.

    Arguments:
        blank: with the prediction's words.
        study: the runs that were used; those of arms with fewer than `SEEDS` seeds did not enter.
        found: what the arms say.
        reason: why, with the numbers.
        assumptions: what the decision takes for granted.
        span: first and last iteration that it speaks of.
        longer: what would decide it where no number of seeds does.
        show: from what was judged to the effect.
    """
    mean = found.mean
    zone = found.measures[found.judged.measure].zone
    few = left_out(study, found.entered, f"their arms have fewer than {SEEDS} seeds")
    count = len(found.names)
    which = "both" if count == 2 else f"all {count}"
    told = f"the interval holds together with those of {which} arms"
    joint = (told,) if found.word == CONTRADICTED and count > 1 else ()
    need = Missing("", "")
    if found.word == UNDECIDABLE:
        there = found.entered.sample.seeds
        need = more_seeds(
            found.measures,
            there,
            "an arm",
            level=found.level,
            otherwise=longer or many_seeds(there),
        )
    return blank.decided(
        found.word,
        mean.mapped(show),
        reason=reason,
        needed=need.needed,
        meaning=f"{blank.effect_meaning}, {mean.name}",
        sample=found.entered.sample,
        assumptions=(*assumptions, *joint, *few),
        null=(show(zone.low), show(zone.high)),
        span=span,
        level=found.judged.level,
        have=need.have,
        need=need.need,
        unit=need.unit,
    )


def entering(study: Study) -> tuple[Study, tuple[str, ...]]:
    """The runs that enter means across seeds, of arms with `SEEDS`; and a note on the others."""
    entered = study.of_arms()
    return entered, left_out(study, entered, f"their arms have fewer than {SEEDS} seeds")


def named(mean: Interval, show: Callable[[float], float] = float) -> str:
    """A mean with its interval and whose it is, on a scale of choice."""
    return f"{mean.mapped(show)} ({mean.name})"


def many_seeds(have: int) -> Missing:
    """That no number of seeds that anybody would train decides."""
    return Missing("", _no_number(have))


def _no_number(have: int, where: str = "an arm") -> str:
    return (
        f"nothing up to {seeds_at_most(have)} seeds {where}, as the mean may lie near a bound of "
        "its zone, or between what is for the claim and what is against it"
    )


def until(iteration: float, last: float, where: str = "") -> Missing:
    """Training on, as what would decide.

    Arguments:
        iteration: until when.
        last: iteration that was reached.
        where: of which runs, in words.
    """
    wanted = float(math.ceil(iteration))
    needed = f"training on at the same rate until iteration {number(wanted)}{where}"
    return Missing("", needed, last, wanted, "iterations")


def undecided_by_seeds(have: int, last: float, where: str = "an arm") -> Missing:
    """That no number of seeds decides, and that longer runs are another question.

    Arguments:
        have: seeds that are there.
        last: iteration that was reached.
        where: of which runs there would be more, in words.
    """
    later = (
        f"what runs beyond iteration {number(round(last))} would show cannot be told from these"
    )
    return Missing("", f"{_no_number(have, where)}; {later}")


def few_seeds(study: Study, what: str, unit: str = "seeds") -> Missing:
    """That no arm has enough seeds with a usable number.

    Arguments:
        study: the runs that have one.
        what: the number, in words.
        unit: what is counted; `LONG_SEEDS` where runs may have been too short.
    """
    counts = {arm: study.seeds(arm) for arm in study.arms}
    most = max(counts.values(), default=0)
    largest = dict.fromkeys(str(arm) for arm, count in counts.items() if count == most)
    where = f", at {first_of(list(largest))}" if largest else ""
    split = split_by_rate(study.arms, SEEDS)
    return Missing(
        f"The seeds are the sample, and no arm has {SEEDS} with {what} "
        f"({plural(most, 'seed')} at most{where}).{f' {split}' if split else ''}",
        f"{SEEDS} seeds or more at one batch size, with {what}",
        float(most),
        float(SEEDS),
        unit,
    )


def left_out(study: Study, kept: Study, why: str) -> tuple[str, ...]:
    """A note on the runs that were left out, with the names of some, where there are any."""
    names = [str(label(study.runs[n], "run"))[:40] for n in study.runs if n not in kept.runs]
    if not names:
        return ()
    return (f"{plural(len(names), 'run')} left out: {why} ({first_of(names)})",)
