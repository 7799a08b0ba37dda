"""Held-out values of recordings as scores: larger is better.

A score is the accuracy as it is, or −ln of the loss, so that a difference of scores is a
difference of accuracies or the logarithm of a ratio of losses.
"""

import math
from collections.abc import Iterable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .curves import constant_rate

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
    return "held_out" in run and metric in run["metric"].values.tolist()


def _values(run: xr.Dataset, metric: str) -> NDArray[np.float64]:
    return run["held_out"].sel(metric=metric).values if has(run, metric) else np.empty(0)


def score(run: xr.Dataset, metric: str, iteration: float) -> float:
    """The score of a run that was trained for so many iterations.

    It is taken at the end of the run, or earlier if the learning rate was constant until then: in
    the middle of a falling rate a run is no finished training of that length.

    Arguments:
        run: a recording.
        metric: one of `METRICS`.
        iteration: t, iterations.

    Returns:
        The score at the evaluation nearest to t in ln t; NaN when none lies within `TOLERANCE` or
        the run was not finished by then.
    """
    values, at = _values(run, metric), run["iteration"].values
    if not values.size or not finished(run, iteration):
        return math.nan
    known = np.isfinite(values) & (at > 0)
    if not known.any():
        return math.nan
    away = np.abs(np.log(at[known] / iteration))
    nearest = int(np.argmin(away))
    if away[nearest] > TOLERANCE:
        return math.nan
    return _score(float(values[known][nearest]), metric)


def finished(run: xr.Dataset, iteration: float) -> bool:
    """Whether a run is a whole training of this length: it ends there, or its rate is constant."""
    if ends(run, iteration):
        return True
    stretch, last = constant_rate(run).iteration, float(run["iteration"].values[-1])
    # A first record of the rate after iteration 1 says nothing of a warm-up before it.
    return last > iteration and bool(stretch.size) and stretch[0] <= 1 <= iteration <= stretch[-1]


def ends(run: xr.Dataset, iteration: float) -> bool:
    """Whether a run ends at an iteration, within `TOLERANCE`."""
    last = float(run["iteration"].values[-1])
    return abs(math.log(max(last, 1.0) / iteration)) <= TOLERANCE


def _score(value: float, metric: str) -> float:
    if metric == "accuracy":
        return value
    return -math.log(value) if value > 0 else math.nan
