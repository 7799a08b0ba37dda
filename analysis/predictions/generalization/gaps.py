"""Gaps of held-out scores between batch sizes, both with tuned learning rates."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ultraslow.analysis.intervals import Interval, chance_within, seeds_at_most, seeds_to_decide
from ultraslow.analysis.runs import Span, label
from ultraslow.analysis.runs.arms import called
from ultraslow.analysis.scores import (
    MARGINS,
    MEANINGS,
    ScoredRun,
    Tuned,
    scores_at,
    trainings,
    tune,
    tuned_difference,
)
from ultraslow.analysis.study import Missing, Sample, Study
from ultraslow.analysis.text import first_of, number, plural, rounded

# The predictions ask for five; fewer leave the interval of a gap at several times the margin.
TUNING_SEEDS = 5


@dataclass(frozen=True)
class Gap:
    """By how much a batch size does worse than the smallest one.

    Attributes:
        batch_size: M, samples.
        contrast: score of the smallest batch size less that of M.
        base: scores of the smallest batch size.
        large: scores of M.
        margin: largest gap that counts as none.
        centre: difference of the best means, around which the interval lies, and will lie with
            more seeds; where seeds choose their rates among tied ones, the estimate is another.
    """

    batch_size: int
    contrast: Interval
    base: Tuned
    large: Tuned
    margin: float
    centre: float

    @property
    def stays(self) -> bool:
        """Whether M does worse, and no rate beyond those tried could make up for it."""
        return self.contrast.low > self.margin and self.large.enclosed

    @property
    def closed(self) -> bool:
        """Whether M does as well, though the smallest batch size was tuned."""
        return self.contrast.high < self.margin and self.base.enclosed

    @property
    def untuned(self) -> Missing | None:
        """Which batch size stands in the way of a decision by its rates, and what to try."""
        if self.contrast.low > self.margin and not self.large.enclosed:
            return untuned(f"batch size {self.batch_size}", self.large.rates, self.large.best)
        if self.contrast.high < self.margin and not self.base.enclosed:
            return untuned("the smallest batch size", self.base.rates, self.base.best)
        return None

    def __str__(self) -> str:
        return f"{self.contrast} (batch size {self.batch_size})"


def untuned(
    name: str, rates: Sequence[float], best: float, *, seeds: int = TUNING_SEEDS
) -> Missing:
    """That rates on both sides of the best one were not tried, and which to try.

    Arguments:
        name: whose rates they are, in words.
        rates: learning rates tried, in order.
        best: the one with the best mean score.
        seeds: how many a rate takes.
    """
    subject = f"{name[:1].upper()}{name[1:]}"
    lower, higher = (number(rate) for rate in (rates[0] / 2, 2 * rates[-1]))
    if len(rates) == 1:
        return Missing(
            f"{subject} was not tuned: it was run at the one learning rate {rates[0]:g}.",
            f"learning rates {lower} and {higher} at {name} as well, {seeds} seeds each",
            1,
            3,
            "learning rates",
        )
    lowest = best == rates[0]
    return Missing(
        f"{subject} does best at the {'lowest' if lowest else 'highest'} learning rate tried, "
        f"{best:g}.",
        f"learning rate {lower if lowest else higher} at {name} as well, {seeds} seeds",
    )


@dataclass(frozen=True)
class Setting:
    """What gaps of a set of runs are measured against.

    Attributes:
        trainings: what the runs scored.
        metric: what is compared.
        base: the smallest batch size, samples.
        iterations: length of its training, iterations.
        margin: largest gap that counts as none.
        level: confidence level of gaps.
        whole: samples of the training set; 0 where nobody recorded them.
    """

    trainings: Sequence[ScoredRun]
    metric: str
    base: int
    iterations: int
    margin: float
    level: float
    whole: int = 0

    @property
    def end(self) -> Span:
        """The iteration that scores are about, as a range."""
        return float(self.iterations), float(self.iterations)

    def told(self, gap: Gap) -> str:
        """A gap in words: whose it is, its interval, and against which batch size."""
        worse = f"{gap.contrast} lower than batch size {self.base}"
        return f"batch size {gap.batch_size} scores {worse}"

    @property
    def equal(self) -> str:
        """What counts as equal, in words."""
        return f"where up to {rounded(self.margin)} counts as equal"

    @property
    def larger(self) -> list[int]:
        """The other batch sizes, in order."""
        return sorted({one.batch_size for one in self.trainings} - {self.base})

    def tuned(self, batch_size: int, iteration: float) -> Tuned | None:
        """Scores of a batch size at its best rate after so many iterations."""
        scores = scores_at(self.trainings, batch_size=batch_size, iteration=iteration)
        return tune(scores, seeds=TUNING_SEEDS)


def setting(study: Study) -> Setting | None:
    """What the gaps of a set of runs are measured against.

    The smallest batch size for the longest training that `TUNING_SEEDS` of its seeds have.

    Arguments:
        study: the runs, with held-out values.

    Returns:
        The setting; None when the smallest batch size has too few seeds at any length.
    """
    metric = study.metric
    found = trainings(study.runs, metric)
    base = min(one.batch_size for one in found)
    for last in sorted({one.last for one in found if one.batch_size == base}, reverse=True):
        margin, whole = MARGINS[metric], training_set(study)
        tried = Setting(found, metric, base, max(last, 1), margin, study.level, whole)
        if tried.tuned(base, last) is not None:
            return tried
    return None


def training_set(study: Study) -> int:
    """Samples of the training set; 0 where no run recorded them.

    Arguments:
        study: runs on equal data.
    """
    sizes = [int(str(label(run, "data_size", 0))) for run in study.runs.values()]
    return max(sizes, default=0)


def most_seeds(study: Study, batch_size: int) -> int:
    """Seeds at most of a batch size with a held-out value at one learning rate and length."""
    found = [one for one in trainings(study.runs, study.metric) if one.batch_size == batch_size]
    seeds: dict[tuple[float, int], set[object]] = {}
    for one in found:
        if math.isfinite(one.at(max(one.last, 1))):
            seeds.setdefault((one.rate, one.last), set()).add(one.seed)
    return max(map(len, seeds.values()), default=0)


def without_value(study: Study) -> str:
    """That some runs end without a finite value while others of their rate have one, in words."""
    ended: dict[tuple[int, float, int], tuple[list[str], list[str]]] = {}
    found = trainings(study.runs, study.metric)
    for run, one in zip(study.runs.values(), found, strict=True):
        known = math.isfinite(one.at(max(one.last, 1)))
        own = ended.setdefault((one.batch_size, one.rate, one.last), ([], []))
        own[known].append(called(run))
    names = [name for lost, kept in ended.values() if kept for name in lost]
    if not names:
        return ""
    verb = "ends" if len(names) == 1 else "end"
    return (
        f" {plural(len(names), 'run')} {verb} without a finite value ({first_of(names)}), and a "
        "mean over the others would flatter the rate."
    )


def equal_updates(given: Setting, batch_size: int) -> Gap | None:
    """The gap of a batch size after as many updates as the smallest; None without such runs."""
    return _gap(given, batch_size, given.iterations)


def equal_epochs(given: Setting, batch_size: int) -> Gap | None:
    """The gap after as many samples as the smallest batch size saw; None without such runs."""
    return _gap(given, batch_size, _equal_samples(given, batch_size))


def base_rate_epochs(given: Setting, batch_size: int) -> Interval | None:
    """The gap after as many samples, at the rate that is best for the smallest batch size."""
    base = given.tuned(given.base, given.iterations)
    iteration = _equal_samples(given, batch_size)
    scores = scores_at(given.trainings, batch_size=batch_size, iteration=iteration)
    if base is None or base.best not in scores or len(scores[base.best]) < TUNING_SEEDS:
        return None
    large = np.asarray(list(scores[base.best].values()))
    return tuned_difference(base.candidates.values(), [large], level=given.level)


def _equal_samples(given: Setting, batch_size: int) -> float:
    return max(given.iterations * given.base / batch_size, 1.0)


def _gap(given: Setting, batch_size: int, iteration: float) -> Gap | None:
    base = given.tuned(given.base, given.iterations)
    large = given.tuned(batch_size, iteration)
    if base is None or large is None:
        return None
    ends = tuned_difference(base.candidates.values(), large.candidates.values(), level=given.level)
    # Seeds' own luck does not choose their rates, so this estimate is not flattered.
    middle = float(base.scores.mean() - large.scores.mean())
    contrast = replace(ends, value=min(max(middle, ends.low), ends.high))
    return Gap(batch_size, contrast, base, large, given.margin, ends.value)


def meaning(given: Setting, batch_size: int, budget: str) -> str:
    """What a gap is, in words."""
    return (
        f"{MEANINGS[given.metric]}: batch size {given.base} less batch size {batch_size}, {budget}"
    )


def tuning_notes(gaps: list[Gap]) -> tuple[str, ...]:
    """How each batch size was tuned."""
    if not gaps:
        return ()
    noted = [f"smallest batch size: {_tried(gaps[0].base)}"]
    noted += [f"batch size {gap.batch_size}: {_tried(gap.large)}" for gap in gaps]
    return (*noted, "the error of choosing a rate is shared among those that may be the best")


def _tried(tuned: Tuned) -> str:
    rates = plural(len(tuned.rates), "learning rate")
    return f"best of {rates} {number(tuned.best)}"


def seeds_or_else(
    gaps: Sequence[Gap], chance: Callable[[int], float], otherwise: str
) -> tuple[str, float, float]:
    """How many seeds would decide, as an instruction; with how many there are, and that number.

    Arguments:
        gaps: on which it depends.
        chance: of a decision with so many seeds a batch size and learning rate.
        otherwise: what to do where no number of seeds would.
    """
    count = min((gap.contrast.n for gap in gaps), default=0)
    more = seeds_to_decide(chance, count)
    where = "at each batch size and learning rate"
    if more.count:
        return more.in_words(where), count, more.count
    needed = (
        f"nothing up to {seeds_at_most(count)} seeds {where} ({more.share} of such "
        f"studies would be decided), as the gap may lie near the margin: {otherwise} may show a "
        "clearer one"
    )
    return needed, math.nan, math.nan


def chance_beyond(gap: Gap, seeds: int, *, level: float) -> float:
    """Chance that more seeds put a gap beyond the margin."""
    return chance_within(_centred(gap), seeds, low=gap.margin, level=level, arms=2)


def chance_below(gap: Gap, seeds: int, *, level: float) -> float:
    """Chance that more seeds put a gap below the margin."""
    return chance_within(_centred(gap), seeds, high=gap.margin, level=level, arms=2)


def _centred(gap: Gap) -> Interval:
    """The interval of a gap, around the best means: it draws together around these."""
    return replace(gap.contrast, value=gap.centre)


def sample_of(given: Setting, gaps: list[Gap]) -> Sample:
    """Runs, fewest seeds and batch sizes behind some gaps."""
    sizes = sorted(
        {given.base, *(gap.batch_size for gap in gaps)} if gaps else {given.base, *given.larger}
    )
    members = [one for one in given.trainings if one.batch_size in sizes]
    counts = [tuned.scores.size for gap in gaps for tuned in (gap.base, gap.large)]
    return Sample(len(members), min(counts, default=0), tuple(sizes))
