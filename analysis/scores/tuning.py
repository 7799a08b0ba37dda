"""Scores of batch sizes at their best learning rates, and which rates may be the best.

Choosing a rate by the same runs that are then compared flatters it, so a seed's rate is chosen by
the other seeds. Where rates are nearly tied the choice still varies with the seeds, more than the
spread of the chosen scores shows; an interval then has to hold for every rate that may be the
best.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.intervals import Interval, unpaired, welch

from .held_out import ScoredRun

Array = NDArray[np.float64]
# A rate is given up where it is below the best at this level. Differences of tuned batch sizes are
# then covered in 95 to 100 % of simulated sets, whether rates are nearly tied or far apart, and in
# 93 % or more where the spread between seeds differs three times between rates.
_SCREEN = 0.95
# Scores by learning rate and seed.
Scores = dict[float, dict[object, float]]


@dataclass(frozen=True)
class Tuned:
    """Scores of one batch size, each at the learning rate that is best for the other seeds.

    Attributes:
        scores: one a seed that was run at that rate, shape (seed,).
        rates: learning rates tried, in order.
        best: the one with the best mean score.
        candidates: scores, shape (seed,) each, of the rates that may be the best.
    """

    scores: Array
    rates: tuple[float, ...]
    best: float
    candidates: Mapping[float, Array]

    @property
    def enclosed(self) -> bool:
        """Whether lower and higher rates than the best one were tried."""
        return self.rates[0] < self.best < self.rates[-1]


def scores_at(found: Sequence[ScoredRun], *, batch_size: int, iteration: float) -> Scores:
    """Scores of the runs of a batch size that were trained for so many iterations.

    Runs that end there come first; those that go on at a constant rate are read there. A rate at
    which some run of that length has no finite score is left out: its mean over the runs that
    survived would flatter it.

    Arguments:
        found: what the runs scored.
        batch_size: M, samples.
        iteration: length of the training, iterations.

    Returns:
        Scores by rate and seed; of runs with equal rate and seed the first.
    """
    own = [one for one in found if one.batch_size == batch_size and one.finished(iteration)]
    scores: Scores = {}
    for one in sorted(own, key=lambda one: not one.ends(iteration)):
        scores.setdefault(one.rate, {}).setdefault(one.seed, one.at(iteration))
    whole = {rate: seeds for rate, seeds in scores.items() if _all_finite(seeds)}
    return dict(sorted(whole.items()))


def _all_finite(scores: dict[object, float]) -> bool:
    return all(math.isfinite(value) for value in scores.values())


def tune(scores: Scores, *, seeds: int) -> Tuned | None:
    """Scores of the best learning rate, free of the bias of choosing it.

    The rate of each seed is the one with the best mean over the *other* seeds, so a run's luck
    does not choose its own rate. A seed that was not run at it has no score there and stays out.

    Arguments:
        scores: as `scores_at` gives them.
        seeds: fewest seeds of a rate that counts.

    Returns:
        The scores; None when no rate has so many seeds.
    """
    kept = {rate: values for rate, values in scores.items() if len(values) >= seeds}
    if not kept:
        return None
    rates = chosen_rates(kept)
    chosen = [kept[rate][seed] for seed, rate in rates.items() if seed in kept[rate]]
    tables = {rate: np.asarray(list(values.values())) for rate, values in sorted(kept.items())}
    best = max(tables, key=lambda rate: float(tables[rate].mean()))
    candidates = {rate: tables[rate] for rate in possible(tables)}
    return Tuned(np.asarray(chosen or tables[best]), tuple(tables), best, candidates)


def possible(tables: Mapping[float, Array]) -> list[float]:
    """The rates that may have the best mean score: all that are not clearly below the best found.

    Arguments:
        tables: scores by rate, shape (seed,) each, two seeds or more.

    Returns:
        Rates whose mean Welch's test does not put below the best mean at the level `_SCREEN`.
    """
    best = max(tables, key=lambda rate: float(tables[rate].mean()))
    ahead = {
        rate: unpaired(tables[best], values).interval(2 * _SCREEN - 1)
        for rate, values in tables.items()
        if rate != best
    }
    return [rate for rate in tables if rate == best or ahead[rate].low <= 0]


def tuned_difference(above: Iterable[Array], below: Iterable[Array], *, level: float) -> Interval:
    """The difference of two means, each of the best of some candidates that one cannot tell apart.

    The best mean found lies at or above that of the best rate, but for its error, and too high by
    chance where several are nearly tied. So the lower end of the difference shares its error among
    the candidates above, and the upper end among those below: max x̄ − max ȳ − t(α/k)·√(s²/n +
    s′²/n′), with the spread pooled over the candidates of a side. An interval over all pairs of
    candidates would be set by the worst of them.

    Arguments:
        above: scores of the candidates above, shape (run,) each.
        below: those below.
        level: confidence level.

    Returns:
        The difference of the best means.
    """
    sides = [list(above), list(below)]
    best = [max(float(values.mean()) for values in side) for side in sides]
    spread = [fmean(float(values.var(ddof=1)) for values in side) for side in sides]
    counts = [min(values.size for values in side) for side in sides]
    contrast = welch(best[0] - best[1], spread, counts)
    ends = [contrast.interval(1 - (1 - level) / len(side)) for side in sides]
    return Interval(contrast.value, ends[0].low, ends[1].high, contrast.n)


def chosen_rates(scores: Scores) -> dict[object, float]:
    """For each seed, the learning rate with the best mean score of the other seeds.

    Arguments:
        scores: by rate and seed, two seeds or more at each rate.

    Returns:
        Rates by seed, also of seeds that were not run at them.
    """
    everyone = sorted({seed for values in scores.values() for seed in values}, key=str)
    return {seed: _best_without(scores, seed) for seed in everyone}


def _best_without(scores: Scores, seed: object) -> float:
    """The rate that does best on the other seeds."""
    others = {
        rate: float(np.mean([value for one, value in values.items() if one != seed]))
        for rate, values in scores.items()
    }
    return max(others, key=others.__getitem__)
