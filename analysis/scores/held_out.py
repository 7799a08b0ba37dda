"""Held-out values of recordings as scores: larger is better.

A score is the accuracy as it is, or −ln of the loss, so that a difference of scores is a
difference of accuracies or the logarithm of a ratio of losses.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.runs import label, setting_of, whole_constant_rate

# In order of preference: the claims are about accuracy.
METRICS = ("accuracy", "loss")
# Differences of scores that count as none: one percentage point of accuracy, a third of the
# smallest gap that Hoffer et al. (2017) report between batch sizes before they mend it (their
# gaps are 1 to 10 points); and 5 % of the loss.
MARGINS = {"accuracy": 0.01, "loss": math.log(1.05)}
MEANINGS = {"accuracy": "held-out accuracy", "loss": "logarithm of the held-out loss, sign turned"}
# Runs of equal epochs differ by rounding to whole updates.
TOLERANCE = 0.02


def metric_of(runs: Iterable[xr.Dataset]) -> str:
    """The metric to compare runs by: accuracy where any run has it, else loss; "" for none."""
    known = {name for run in runs for name in METRICS if np.isfinite(_values(run, name)).any()}
    return next((name for name in METRICS if name in known), "")


def has(run: xr.Dataset, metric: str) -> bool:
    """Whether a recording evaluated a metric, be its values finite or not."""
    return "held_out" in run and metric in run.variables["metric"].values.tolist()


def _values(run: xr.Dataset, metric: str) -> NDArray[np.float64]:
    if not has(run, metric):
        return np.empty(0)
    return run.variables["held_out"].values[
        :, run.variables["metric"].values.tolist().index(metric)
    ]


def once(runs: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """The runs without those that repeat another's batch size, rate, seed and length.

    Unlike `arms.one_per_seed` it keeps trainings of several lengths: they have other scores. Two
    rules may give one rate; which of their runs is kept goes by the rule and not by names.
    """
    kept: dict[tuple[object, ...], str] = {}
    for name, run in runs.items():
        key = (*_draw(name, run), int(run.variables["iteration"].values[-1]))
        if key not in kept or _rule_of(run) < _rule_of(runs[kept[key]]):
            kept[key] = name
    names = set(kept.values())
    return {name: run for name, run in runs.items() if name in names}


def _rule_of(run: xr.Dataset) -> str:
    return str(label(run, "scaling"))


def longest_trainings(runs: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Of each batch size, rate and seed the run that goes farthest, of equals the first."""
    kept: dict[tuple[object, ...], str] = {}
    for name, run in runs.items():
        key = _draw(name, run)
        if (
            key not in kept
            or run.variables["iteration"].values[-1] > runs[kept[key]]["iteration"].values[-1]
        ):
            kept[key] = name
    return {name: run for name, run in runs.items() if name in kept.values()}


def _draw(name: str, run: xr.Dataset) -> tuple[object, ...]:
    size = int(run.variables["batch_size"].values)
    return size, rate_of(run), setting_of(run), label(run, "seed", name)


@dataclass(frozen=True)
class ScoredRun:
    """What a run scored, and when its training counts as finished.

    Attributes:
        batch_size: M, samples.
        rate: the learning rate it was started with.
        seed: its seed, or its node's name where it has none.
        last: its last iteration.
        constant: the iteration up to which its rate was constant from the start; 0 for none, and
            where nothing was evaluated before the end.
        iteration: iterations t ≥ 1 of finite scores, shape (evaluation,).
        score: the scores, shape (evaluation,).
    """

    batch_size: int
    rate: float
    seed: object
    last: int
    constant: int
    iteration: NDArray[np.int64]
    score: NDArray[np.float64]

    def ends(self, iteration: float) -> bool:
        """Whether the run ends at an iteration, within `TOLERANCE`."""
        if self.last < 1 or iteration < 1:  # a run that holds its beginning only
            return False
        return abs(math.log(self.last / iteration)) <= TOLERANCE

    def finished(self, iteration: float) -> bool:
        """Whether it is a whole training of this length: it ends there, or goes on as before.

        In the middle of a falling rate a run is no finished training of that length.
        """
        return self.ends(iteration) or iteration <= self.constant

    def at(self, iteration: float) -> float:
        """The score after so many iterations.

        Arguments:
            iteration: length of the training, iterations.

        Returns:
            The score at the evaluation nearest in ln t; NaN when none lies within `TOLERANCE` or
            the run was not finished by then.
        """
        if not self.iteration.size or iteration < 1 or not self.finished(iteration):
            return math.nan
        away = np.abs(np.log(self.iteration / iteration))
        nearest = int(np.argmin(away))
        return float(self.score[nearest]) if away[nearest] <= TOLERANCE else math.nan


def trainings(runs: Mapping[str, xr.Dataset], metric: str) -> list[ScoredRun]:
    """What each run scored.

    Arguments:
        runs: recordings by node name.
        metric: one of `METRICS`.

    Returns:
        One item a run, in their order.
    """
    return [_training(name, run, metric) for name, run in runs.items()]


def _training(name: str, run: xr.Dataset, metric: str) -> ScoredRun:
    values, at = _values(run, metric), run.variables["iteration"].values
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = values if metric == "accuracy" else -np.log(values)
    known = np.isfinite(scores) & (at[: scores.size] > 0)
    earlier = known.any() and at[: scores.size][known][0] < at[-1]
    return ScoredRun(
        batch_size=int(run.variables["batch_size"].values),
        rate=rate_of(run),
        seed=label(run, "seed", name),
        last=int(at[-1]),
        constant=_constant_until(run) if earlier else 0,
        iteration=at[: scores.size][known],
        score=scores[known],
    )


def _constant_until(run: xr.Dataset) -> int:
    stretch = whole_constant_rate(run).iteration
    # A first record of the rate after iteration 1 says nothing of a warm-up before it.
    return int(stretch[-1]) if stretch.size and stretch[0] <= 1 else 0


def rate_of(run: xr.Dataset) -> float:
    """The learning rate a run was started with, or its highest where a warm-up starts at 0."""
    base = float(str(label(run, "base_learning_rate", 0.0)))
    if not base > 0 and "learning_rate" in run:
        base = float(np.nanmax(run.variables["learning_rate"].values))
    return float(f"{base:.4g}")
