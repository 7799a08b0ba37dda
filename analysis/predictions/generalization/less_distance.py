"""H-c: better held-out scores with an equal or smaller distance."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    chance_within,
    seeds_at_most,
    seeds_to_decide,
    unpaired,
)
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.scores import (
    MARGINS,
    MEANINGS,
    possible,
    rate_of,
    trainings,
    tuned_difference,
)
from ultraslow.analysis.study import Missing, Sample, Study
from ultraslow.analysis.text import number, plural, rounded

from .equal_updates import without_scores
from .gaps import untuned, without_value

EFFECT = "ratio of final distances, the better over the worse arm of a pair"
# Largest relative difference of distances that counts as none.
DISTANCE_MARGIN = 0.10
# One pair may agree with any claim; three arms make three pairs.
ARMS = 3
_THIRD = f"{SEEDS} seeds of a third arm: another batch size or length of training"
Array = NDArray[np.float64]


@dataclass(frozen=True)
class End:
    """How the runs of one arm ended.

    Attributes:
        name: the arm in words.
        batch_size: M, samples.
        scores: held-out scores at each learning rate that may be the best, shape (run,) each.
        log_distances: ln of the final distances at the same rates, shape (run,) each.
        rates: learning rates tried, in order.
        best: the one with the best mean score.
        last: last iteration.
    """

    name: str
    batch_size: int
    scores: tuple[Array, ...]
    log_distances: tuple[Array, ...]
    rates: tuple[float, ...]
    best: float
    last: int = 0

    @property
    def seeds(self) -> int:
        """Fewest runs at a rate."""
        return min(values.size for values in self.scores)

    @property
    def enclosed(self) -> bool:
        """Whether lower and higher rates than the best one were tried."""
        return self.rates[0] < self.best < self.rates[-1]

    @property
    def mean(self) -> float:
        """The best mean score."""
        return max(float(values.mean()) for values in self.scores)


@dataclass(frozen=True)
class Pair:
    """Two arms, the one with the better score first."""

    better: End
    worse: End
    score: Interval
    distance: Interval

    def __str__(self) -> str:
        ratio = ", ".join(rounded(math.exp(x)) for x in (self.distance.low, self.distance.high))
        return (
            f"{self.better.name} scores {self.score} above {self.worse.name} at "
            f"{rounded(math.exp(self.distance.value))} [{ratio}] of its distance"
        )


def less_distance(study: Study) -> Verdict:
    """Verdict on H-c.

    Of every pair of batch sizes and lengths, each at its best learning rate: supported when in
    some pair the better score, by more than the margin, comes with a distance that is equal or
    smaller; the error is shared among the pairs and the rates that may be best for the better
    arm, of which one has to show it against all that may be best for the other. Contradicted when
    scores of all pairs are told apart or equal, and the better one always moved farther, by more
    than the margin and at whichever of these rates.

    An arm at too large a rate moves far and scores badly, which says nothing of the claim. So the
    worse arm of a pair that supports it needs rates tried on both sides of its best one, and every
    arm where it is contradicted, as another rate of either might show the claim.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of distances of the pair it hangs on.
    """
    blank = replace(question("H-c", EFFECT), null=(0.0, 1 + DISTANCE_MARGIN))
    missing = without_scores(blank, study)
    if missing is not None:
        return missing
    kept = study.scored
    found = ends(kept)
    most = max(_finite(kept).values(), default=0)
    fewest = min((end.seeds for end in found), default=0)
    blank = replace(blank, sample=Sample(len(kept.runs), fewest, kept.batch_sizes))
    few = _of_few_seeds(kept.runs)
    if len(found) < 2:
        reason = (
            f"Fewer than two arms have {SEEDS} seeds with a held-out value at their end "
            f"(at most {most} seeds).{without_value(kept)}"
        )
        needed = f"{SEEDS} seeds at each of two batch sizes or more"
        return blank.lacking(Missing(reason, needed, most, SEEDS, "seeds"), blank.sample)
    what = MEANINGS[kept.metric]
    note = f"{what}; arms at the best of their learning rates, at the end of the runs"
    left = (
        [f"{plural(few, 'run')} left out: fewer than {SEEDS} seeds at their rate"] if few else []
    )
    blank = replace(blank, assumptions=(note, *left))
    verdict = _judge(blank, found, _clearer(kept), margin=MARGINS[kept.metric], level=study.level)
    if few and verdict.needed == _THIRD:
        needed = f"{SEEDS} seeds or more at the batch sizes and rates that have fewer"
        return replace(verdict, needed=needed, need=math.nan, have=math.nan, unit="")
    return verdict


def _finite(study: Study) -> Counter:
    """Runs with a finite final value, by batch size, length and rate."""
    found = trainings(study.runs, study.metric)
    known = [one for one in found if math.isfinite(one.at(max(one.last, 1)))]
    return Counter((one.batch_size, one.last, one.rate) for one in known)


def _of_few_seeds(runs: Mapping[str, xr.Dataset]) -> int:
    """Runs at a batch size, length and rate of fewer than `SEEDS` seeds."""
    return sum(count for count in _counts(runs).values() if count < SEEDS)


def _counts(runs: Mapping[str, xr.Dataset]) -> Counter:
    return Counter(
        (
            int(run.variables["batch_size"].values),
            int(run.variables["iteration"].values[-1]),
            rate_of(run),
        )
        for run in runs.values()
    )


def ends(study: Study) -> list[End]:
    """How each batch size and length ended, at the learning rates that may be the best.

    A rate that is too large moves weights far and scores badly, and says nothing of the claim.

    Arguments:
        study: the runs, scored.

    Returns:
        One item for each batch size and last iteration with `SEEDS` seeds at some rate.
    """
    groups: dict[tuple[int, int], dict[float, dict[object, tuple[float, float]]]] = {}
    scores = trainings(study.runs, study.metric)
    for run, one in zip(study.runs.values(), scores, strict=True):
        score, distance = one.at(max(one.last, 1)), _final_distance(run)
        # A run that trained to its end, of which the distance alone is lost, is no failed one.
        if math.isfinite(score) and not distance > 0:
            continue
        value = score, math.log(distance) if distance > 0 else math.nan
        rates = groups.setdefault((one.batch_size, one.last), {})
        rates.setdefault(one.rate, {}).setdefault(one.seed, value)
    found = [_best(key, rates) for key, rates in sorted(groups.items())]
    return [end for end in found if end is not None]


def _final_distance(run: xr.Dataset) -> float:
    return math.sqrt(float(run.variables["distance_sq"].values[-1].sum()))


def _best(
    key: tuple[int, int], rates: dict[float, dict[object, tuple[float, float]]]
) -> End | None:
    usable = {
        rate: seeds
        for rate, seeds in rates.items()
        if len(seeds) >= SEEDS and np.isfinite(list(seeds.values())).all()
    }
    if not usable:
        return None
    tables = {rate: np.asarray(list(seeds.values())) for rate, seeds in usable.items()}
    kept = possible({rate: table[:, 0] for rate, table in tables.items()})
    size, last = key
    return End(
        f"batch size {size} after {number(last)} iterations",
        size,
        tuple(tables[rate][:, 0] for rate in kept),
        tuple(tables[rate][:, 1] for rate in kept),
        tuple(sorted(tables)),
        max(tables, key=lambda rate: float(tables[rate][:, 0].mean())),
        last,
    )


def pairs(found: list[End], *, level: float) -> list[Pair]:
    """All pairs of arms, the better first.

    Arguments:
        found: two arms or more.
        level: confidence level of each interval.

    Returns:
        The pairs; the interval of a distance spans all rates that may be the best, as these move
        weights by other distances.
    """
    return [
        Pair(
            a,
            b,
            tuned_difference(a.scores, b.scores, level=level),
            _spanned(a.log_distances, b.log_distances, level=level),
        )
        for a, b in _ordered(found)
    ]


def _ordered(found: list[End]) -> list[tuple[End, End]]:
    return [(a, b) if a.mean >= b.mean else (b, a) for a, b in combinations(found, 2)]


def _spanned(above: Sequence[Array], below: Sequence[Array], *, level: float) -> Interval:
    """The difference of two means over all rates of both, its value the mean over them."""
    each = [unpaired(x, y).interval(level) for x in above for y in below]
    return Interval(
        float(np.mean([one.value for one in each])),
        min(one.low for one in each),
        max(one.high for one in each),
        min(one.n for one in each),
    )


def at_one_rate(found: list[End], *, level: float) -> list[Pair]:
    """All pairs with the better arm at each of its rates, the error shared among all of these.

    Arguments:
        found: two arms or more.
        level: confidence level of all intervals together, as those that support need it.

    Returns:
        The pairs; the score's interval is over all rates of the other arm, too.
    """
    single = [
        (replace(a, scores=(score,), log_distances=(distance,)), b)
        for a, b in _ordered(found)
        for score, distance in zip(a.scores, a.log_distances, strict=True)
    ]
    shared = 1 - (1 - level) / (2 * len(single))
    return [
        Pair(
            a,
            b,
            _spanned(a.scores, b.scores, level=shared),
            _spanned(a.log_distances, b.log_distances, level=shared),
        )
        for a, b in single
    ]


def _clearer(study: Study) -> str:
    """Arms that may differ more than those at hand, none of a batch beyond the training set."""
    largest = max(study.batch_sizes)
    sizes = {float(run["data_size"]) for run in study.runs.values() if "data_size" in run}
    most = min(sizes, default=math.inf)
    if _TIMES * largest <= most:
        return f"a batch size of {number(_TIMES * largest)}"
    if _LEAST_TIMES * largest <= most:
        return f"a batch of all {number(most)} samples"
    return f"trainings {_TIMES} times as long"


# How much larger a batch is advised, and from how much on the whole training set is one.
_TIMES, _LEAST_TIMES = 4, 2


def _judge(
    blank: Verdict, found: list[End], clearer: str, *, margin: float, level: float
) -> Verdict:
    limit = math.log1p(DISTANCE_MARGIN)
    count = len(found) * (len(found) - 1) // 2
    sharp = at_one_rate(found, level=level)
    less = [p for p in sharp if p.score.low > margin and p.distance.high < limit]
    tuned = [pair for pair in less if pair.worse.enclosed]
    if tuned:
        clearest = max(tuned, key=lambda pair: pair.score.low)
        told = _told(blank, SUPPORTED, clearest, f"{_capital(str(clearest))}.")
        return replace(told, effect_level=_shared(sharp, level))
    if less:
        clearest = max(less, key=lambda pair: pair.score.low)
        return _untuned(blank, clearest, clearest.worse, f"{_capital(str(clearest))}")
    plain = pairs(found, level=level)
    apart = [pair for pair in plain if pair.score.low > margin]
    equal = [pair for pair in plain if -margin < pair.score.low and pair.score.high < margin]
    farther = [pair for pair in apart if pair.distance.low > limit]
    if len(found) >= ARMS and apart and len(farther) == len(apart) == count - len(equal):
        nearest = min(farther, key=lambda pair: pair.distance.low)
        reason = f"In all {plural(len(apart), 'pair')} that differ in score the better one moved"
        reason += f" farther; least so {nearest}"
        loose = next((end for end in found if not end.enclosed), None)
        if loose is not None:
            return _untuned(blank, nearest, loose, reason)
        return _told(blank, CONTRADICTED, nearest, f"{reason}.")
    blank = _with_seeds(blank, sharp, plain, clearer, margin=margin, level=level)
    return _open(blank, plain, apart, few=len(found) < ARMS)


def _with_seeds(
    blank: Verdict,
    sharp: list[Pair],
    plain: list[Pair],
    clearer: str,
    *,
    margin: float,
    level: float,
) -> Verdict:
    """The seeds that would decide it: some pair for the claim, or all pairs against it.

    Where no arm that could be the worse one is tuned, rates that would.
    """
    able = [pair for pair in sharp if pair.worse.enclosed]
    if not able:
        worse = max(plain, key=lambda pair: pair.score.value).worse
        return _with_rates(blank, worse)
    limit = math.log1p(DISTANCE_MARGIN)
    shared = _shared(sharp, level)

    def less(pair: Pair, seeds: int) -> float:
        scores = chance_within(pair.score, seeds, low=margin, level=shared, arms=2)
        return scores * chance_within(pair.distance, seeds, high=limit, level=shared, arms=2)

    def farther(pair: Pair, seeds: int) -> float:
        scores = chance_within(pair.score, seeds, low=margin, level=level, arms=2)
        equal = chance_within(pair.score, seeds, low=-margin, high=margin, level=level, arms=2)
        return scores * chance_within(pair.distance, seeds, low=limit, level=level, arms=2) + equal

    def chance(seeds: int) -> float:
        against = math.prod(farther(pair, seeds) for pair in plain) if whole else 0.0
        return max(max(less(pair, seeds) for pair in able), against)

    ends_of = (end for pair in plain for end in (pair.better, pair.worse))
    whole = len(plain) > 1 and all(end.enclosed for end in ends_of)
    count = min(pair.score.n for pair in plain)
    more = seeds_to_decide(chance, count)
    if not more.count:
        needed = (
            f"perhaps {clearer}, which may differ more: up to {seeds_at_most(count)} seeds an arm "
            f"would decide {more.share} of studies"
        )
        return replace(blank, needed=needed)
    needed = more.in_words("an arm")
    return replace(blank, needed=needed, have=count, need=more.count, unit="seeds")


def _shared(sharp: list[Pair], level: float) -> float:
    """The level of what supports: scores and distances of so many pairs share the error."""
    return 1 - (1 - level) / (2 * len(sharp))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _told(blank: Verdict, word: str, pair: Pair, reason: str) -> Verdict:
    lasts = pair.better.last, pair.worse.last
    return blank.decided(
        word,
        pair.distance.mapped(math.exp),
        reason=reason,
        needed=blank.needed,
        meaning=f"{EFFECT}: {pair.better.name} over {pair.worse.name}",
        span=(float(min(lasts)), float(max(lasts))),
        have=blank.have,
        need=blank.need,
        unit=blank.unit,
    )


def _untuned(blank: Verdict, pair: Pair, loose: End, reason: str) -> Verdict:
    """That a pair would decide it if the rates of an arm had been tried to both sides."""
    missing = _rates(loose)
    told = f"{reason}, but {missing.reason[:1].lower()}{missing.reason[1:]}"
    return _told(_with_rates(blank, loose), UNDECIDABLE, pair, told)


def _with_rates(blank: Verdict, loose: End) -> Verdict:
    return blank.lacking(_rates(loose), blank.sample)


def _rates(loose: End) -> Missing:
    return untuned(loose.name, loose.rates, loose.best, seeds=SEEDS)


def _open(blank: Verdict, plain: list[Pair], apart: list[Pair], *, few: bool) -> Verdict:
    if not apart:
        widest = max(plain, key=lambda pair: pair.score.value)
        reason = f"No pair of {plural(len(plain), 'pair')} surely differs in score; {widest}."
        return _told(blank, UNDECIDABLE, widest, reason)
    nearest = min(apart, key=lambda pair: pair.distance.low)
    reason = f"Not every pair is told apart: {nearest}."
    if few and nearest.distance.low > math.log1p(DISTANCE_MARGIN):
        reason = f"One pair only, in which the better arm moved farther: {nearest}."
        blank = replace(blank, needed=_THIRD, have=2, need=ARMS, unit="arms")
    return _told(blank, UNDECIDABLE, nearest, reason)
