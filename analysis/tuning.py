"""Scores of batch sizes at their best learning rates, chosen without looking at the same run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .held_out import Training

Array = NDArray[np.float64]
# Scores by learning rate and seed.
Scores = dict[float, dict[object, float]]


@dataclass(frozen=True)
class Tuned:
    """Scores of one batch size, each at the learning rate that is best for the other seeds.

    Attributes:
        scores: one a seed, shape (seed,).
        rates: learning rates tried, in order.
        best: the one with the best mean score.
    """

    scores: Array
    rates: tuple[float, ...]
    best: float

    @property
    def enclosed(self) -> bool:
        """Whether lower and higher rates than the best one were tried."""
        return self.rates[0] < self.best < self.rates[-1]


def scores_at(found: Sequence[Training], *, batch_size: int, iteration: float) -> Scores:
    """Scores of the runs of a batch size that were trained for so many iterations.

    Where no run ends there, those that go on at a constant rate are read at that iteration. A rate
    at which some run of that length has no finite score is left out: its mean over the runs that
    survived would flatter it.

    Arguments:
        found: what the runs scored.
        batch_size: M, samples.
        iteration: length of the training, iterations.

    Returns:
        Scores by rate and seed; of runs with equal rate and seed the first.
    """
    own = [one for one in found if one.batch_size == batch_size]
    ended = [one for one in own if one.ends(iteration)]
    scores: Scores = {}
    for one in ended or [one for one in own if one.finished(iteration)]:
        scores.setdefault(one.rate, {}).setdefault(one.seed, one.at(iteration))
    whole = {rate: seeds for rate, seeds in scores.items() if _all_finite(seeds)}
    return dict(sorted(whole.items()))


def _all_finite(scores: dict[object, float]) -> bool:
    return all(math.isfinite(value) for value in scores.values())


def tune(scores: Scores, *, seeds: int) -> Tuned | None:
    """Scores of the best learning rate, free of the bias of choosing it.

    The rate of each seed is the one with the best mean over the *other* seeds, so a run's luck
    does not choose its own rate.

    Arguments:
        scores: as `scores_at` gives them.
        seeds: fewest seeds of a rate that counts.

    Returns:
        The scores; None when no rate has so many seeds.
    """
    kept = {rate: values for rate, values in scores.items() if len(values) >= seeds}
    if not kept:
        return None
    chosen = [kept[rate][seed] for seed, rate in chosen_rates(kept).items()]
    best = max(kept, key=lambda rate: np.mean(list(kept[rate].values())))
    return Tuned(np.asarray(chosen), tuple(sorted(kept)), best)


def chosen_rates(scores: Scores) -> dict[object, float]:
    """For each seed, the learning rate with the best mean score of the other seeds.

    Arguments:
        scores: by rate and seed, two seeds or more at each rate.

    Returns:
        Rates by seed.
    """
    everyone = sorted({seed for values in scores.values() for seed in values}, key=str)
    return {seed: _best_without(scores, seed) for seed in everyone}


def _best_without(scores: Scores, seed: object) -> float:
    """The rate that does best on the other seeds, of those that this seed was run at."""
    others = {
        rate: float(np.mean([value for one, value in values.items() if one != seed]))
        for rate, values in scores.items()
        if seed in values
    }
    return max(others, key=others.__getitem__)
