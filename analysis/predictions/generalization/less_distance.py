"""H-c: better held-out scores with an equal or smaller distance."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import CONTRADICTED, SEEDS, SUPPORTED, UNDECIDABLE, Interval
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.scores import (
    MARGINS,
    MEANINGS,
    possible,
    rate_of,
    trainings,
    tuned_difference,
)
from ultraslow.analysis.study import Sample, Study
from ultraslow.analysis.text import plural, rounded

from .equal_updates import without_scores

EFFECT = "ratio of final distances, the better over the worse arm of a pair"
# Largest relative difference of distances that counts as none.
DISTANCE_MARGIN = 0.10
# One pair may agree with any claim; three arms make three pairs.
ARMS = 3
_THIRD = "a third arm: another batch size or length of training"


@dataclass(frozen=True)
class End:
    """How the runs of one arm ended.

    Attributes:
        name: the arm in words.
        batch_size: M, samples.
        scores: held-out scores at each learning rate that may be the best, shape (run,) each.
        log_distances: ln of the final distances at the same rates, shape (run,) each.
    """

    name: str
    batch_size: int
    scores: tuple[NDArray[np.float64], ...]
    log_distances: tuple[NDArray[np.float64], ...]

    @property
    def seeds(self) -> int:
        """Fewest runs at a rate."""
        return min(values.size for values in self.scores)

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
    smaller; the error is shared among the pairs. Contradicted when scores of all pairs are told
    apart or equal, and the better one always moved farther, by more than the margin.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of distances of the pair it hangs on.
    """
    blank = question("H-c", EFFECT)
    missing = without_scores(blank, study)
    if missing is not None:
        return missing
    kept = study.scored
    found = ends(kept)
    fewest = min((end.seeds for end in found), default=0)
    blank = replace(blank, sample=Sample(len(kept.runs), fewest, kept.batch_sizes))
    if len(found) < 2:
        reason = f"Fewer than two arms have {SEEDS} seeds with a held-out value at their end."
        return replace(blank, reason=reason, needed=f"{SEEDS} seeds an arm or more")
    what = MEANINGS[kept.metric]
    note = f"{what}; arms at the best of their learning rates, at the end of the runs"
    few = _of_few_seeds(kept.runs)
    left = (
        [f"{plural(few, 'run')} left out: fewer than {SEEDS} seeds at their rate"] if few else []
    )
    blank = replace(blank, assumptions=(note, *left))
    verdict = _judge(blank, found, margin=MARGINS[kept.metric], level=study.level)
    if few and verdict.needed == _THIRD:
        needed = f"{SEEDS} seeds or more at the batch sizes and rates that have fewer"
        return replace(verdict, needed=needed)
    return verdict


def _of_few_seeds(runs: Mapping[str, xr.Dataset]) -> int:
    """Runs at a batch size, length and rate of fewer than `SEEDS` seeds."""
    keys = [
        (int(run["batch_size"].values), int(run["iteration"].values[-1]), rate_of(run))
        for run in runs.values()
    ]
    return sum(count for count in Counter(keys).values() if count < SEEDS)


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
        distance = math.sqrt(float(run["distance_sq"].values[-1].sum()))
        value = one.at(max(one.last, 1)), math.log(distance) if distance > 0 else math.nan
        rates = groups.setdefault((one.batch_size, one.last), {})
        rates.setdefault(one.rate, {}).setdefault(one.seed, value)
    found = [_best(key, rates) for key, rates in sorted(groups.items())]
    return [end for end in found if end is not None]


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
        f"batch size {size} after {last} iterations",
        size,
        tuple(tables[rate][:, 0] for rate in kept),
        tuple(tables[rate][:, 1] for rate in kept),
    )


def pairs(found: list[End], *, level: float) -> list[Pair]:
    """All pairs of arms, the better first.

    Arguments:
        found: two arms or more.
        level: confidence level of each interval.

    Returns:
        The pairs.
    """
    ordered = [(a, b) if a.mean >= b.mean else (b, a) for a, b in combinations(found, 2)]
    return [
        Pair(
            a,
            b,
            tuned_difference(a.scores, b.scores, level=level),
            tuned_difference(a.log_distances, b.log_distances, level=level),
        )
        for a, b in ordered
    ]


def _judge(blank: Verdict, found: list[End], *, margin: float, level: float) -> Verdict:
    limit = math.log1p(DISTANCE_MARGIN)
    count = len(found) * (len(found) - 1) // 2
    sharp = pairs(found, level=1 - (1 - level) / (2 * count))
    against = [p for p in sharp if p.score.low > margin and p.distance.high < limit]
    if against:
        clearest = max(against, key=lambda pair: pair.score.low)
        return _told(blank, SUPPORTED, clearest, f"{_capital(str(clearest))}.")
    plain = pairs(found, level=level)
    apart = [pair for pair in plain if pair.score.low > margin]
    equal = [pair for pair in plain if -margin < pair.score.low and pair.score.high < margin]
    farther = [pair for pair in apart if pair.distance.low > limit]
    if len(found) >= ARMS and apart and len(farther) == len(apart) == count - len(equal):
        nearest = min(farther, key=lambda pair: pair.distance.low)
        reason = f"In all {plural(len(apart), 'pair')} that differ in score the better one moved"
        reason += f" farther; least so {nearest}."
        return _told(blank, CONTRADICTED, nearest, reason)
    return _open(blank, plain, apart, few=len(found) < ARMS)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _told(blank: Verdict, word: str, pair: Pair, reason: str) -> Verdict:
    return blank.decided(
        word,
        pair.distance.mapped(math.exp),
        reason=reason,
        needed=blank.needed,
        meaning=f"{EFFECT}: {pair.better.name} over {pair.worse.name}",
    )


def _open(blank: Verdict, plain: list[Pair], apart: list[Pair], *, few: bool) -> Verdict:
    if not apart:
        reason = f"No pair of {plural(len(plain), 'pair')} differs in score beyond the margin."
        return replace(blank, reason=reason, needed="arms that differ in score, or more seeds")
    nearest = min(apart, key=lambda pair: pair.distance.low)
    reason = f"Not every pair is told apart: {nearest}."
    needed = "more seeds an arm"
    if few and nearest.distance.low > math.log1p(DISTANCE_MARGIN):
        reason = f"One pair only, in which the better arm moved farther: {nearest}."
        needed = _THIRD
    return _told(replace(blank, needed=needed), UNDECIDABLE, nearest, reason)
