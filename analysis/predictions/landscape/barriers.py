"""P7: barriers are crossed; the logarithm of the time between two states is the barrier over T.

The barrier is the climb along the straight line between consecutive checkpoints. No path is
steeper than it has to be on that line: a climb near 0 shows that there is no barrier, and a high
one shows only that the straight line has one.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, UNDECIDABLE, Interval
from ultraslow.analysis.predictions.evidence import (
    arm_means,
    decided_by_arms,
    few_seeds,
    judge_arms,
    left_out,
    named,
)
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import constant_rate, measured_temperature
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number, rounded

Array = NDArray[np.float64]

EFFECT = "barrier over T·ln Δt, geometric mean over pairs of checkpoints (1: activation)"
# As for the closure of slope and temperature: agreement means within a factor of 3.
FACTOR = 3.0
PAIRS = 4
# A climb of nothing has no logarithm; this share of T·ln Δt is no barrier by any reading.
_NOTHING = 1e-3


@dataclass(frozen=True)
class Crossing:
    """The straight way between two checkpoints.

    Attributes:
        start: iteration it starts at.
        end: iteration it ends at.
        barrier: largest climb above the loss at its start, ΔL ≥ 0.
        log_barrier: the same of ln L; NaN where the loss is not positive.
    """

    start: int
    end: int
    barrier: float
    log_barrier: float


def barriers(study: Study) -> Verdict:
    """Verdict on P7.

    Contradicted when the barriers of one arm lie below T·ln Δt by more than a factor of 3.
    Supported when they lie within that factor in every arm and rise with ln Δt.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of barrier to T·ln Δt.
    """
    blank = question("P7", EFFECT)
    known, missing = study.comparable("line_loss", "noise_trace", "learning_rate")
    missing = missing or _no_start(known)
    if missing is not None:
        return blank.lacking(missing, known.sample)
    found = {name: crossings(run) for name, run in known.runs.items()}
    ratios = {name: _log_ratio(known.runs[name], items) for name, items in found.items()}
    used = known.part(name for name, ratio in ratios.items() if math.isfinite(ratio))
    what = f"{PAIRS} pairs of checkpoints at a constant rate and a measured temperature"
    judged = judge_arms(used, ratios, _rule)
    if judged is None:
        return blank.lacking(few_seeds(used, what), known.sample)
    word, mean = judged
    rises = arm_means(used, {name: _rise(found[name]) for name in used.runs})
    if word == SUPPORTED and not (rises and all(rise.low > 0 for rise in rises)):
        word = UNDECIDABLE
    return decided_by_arms(
        blank,
        used,
        word,
        mean,
        reason=_reason(word, mean, rises),
        assumptions=(
            _in_logarithms(item for name in used.runs for item in found[name]),
            *left_out(known, used, f"fewer than {what}"),
        ),
        needed=_needed(mean),
    )


def crossings(run: xr.Dataset) -> list[Crossing]:
    """The ways between consecutive checkpoints at a constant learning rate.

    Arguments:
        run: a recording with `line_loss`.

    Returns:
        One crossing a checkpoint after the first in the stretch; those with an infinite or NaN
        loss are left out.
    """
    ordered = run.sortby("fraction")
    rows = _checkpoints(ordered)
    at = ordered["iteration"].values[rows].tolist()
    stretch = constant_rate(run).iteration
    if not stretch.size:
        return []
    starts = [0, *at[:-1]] if at and at[0] > 0 else [math.nan, *at[:-1]]
    found = []
    for start, end, row in zip(starts, at, rows, strict=True):
        loss = ordered["line_loss"].values[row]
        if start >= stretch[0] and end <= stretch[-1] and np.isfinite(loss).all():
            found.append(_crossing(int(start), int(end), loss))
    return found


def _checkpoints(run: xr.Dataset) -> NDArray[np.int64]:
    """Rows after iteration 0 at which the landscape was measured, with or without a line.

    A run that was resumed may have lost the checkpoint that a line starts from.
    """
    measured = np.isfinite(run["line_loss"].values).any(axis=1)
    if "center_loss" in run:
        measured |= np.isfinite(run["center_loss"].values).any(axis=1)
    return np.flatnonzero(measured & (run["iteration"].values > 0))


def _crossing(start: int, end: int, loss: Array) -> Crossing:
    climb = float(loss.max() - loss[0])
    logarithms = float(np.log(loss.max() / loss[0])) if loss[0] > 0 else math.nan
    return Crossing(start, end, climb, logarithms)


def _no_start(study: Study) -> Missing | None:
    if any(float(run["fraction"].min()) > 0 for run in study.runs.values()):
        return Missing(
            "The lines between checkpoints were not measured at their start.",
            "line losses with the fraction 0 among them",
        )
    return None


def _log_ratio(run: xr.Dataset, items: list[Crossing]) -> float:
    """Mean of ln(ΔL/(T·ln Δt)) over the crossings; NaN with too few."""
    ratios = []
    for item in items:
        heat = measured_temperature(run, (item.start, item.end))
        if heat > 0 and item.end - item.start > 1:
            ratios.append(item.barrier / (heat * math.log(item.end - item.start)))
    if len(ratios) < PAIRS:
        return math.nan
    return float(np.mean(np.log(np.maximum(ratios, _NOTHING))))


def _rise(items: list[Crossing]) -> float:
    """Slope of the barrier over ln Δt, in units of the mean barrier; NaN for equal Δt."""
    clock = np.log([item.end - item.start for item in items])
    climb = np.array([item.barrier for item in items])
    if np.ptp(clock) < math.log(FACTOR) or not climb.mean() > 0:
        return math.nan
    centred = clock - clock.mean()
    return float(centred @ climb / (centred @ centred) / climb.mean())


def _rule(low: float, high: float) -> str:
    """A ratio above 1 by more than the factor decides nothing: the walker may go around."""
    margin = math.log(FACTOR)
    if high < -margin:
        return CONTRADICTED
    return SUPPORTED if -margin < low and high < margin else UNDECIDABLE


def _reason(word: str, mean: Interval, rises: list[Interval]) -> str:
    found = f"the climb on straight lines over T·ln Δt is {named(mean, math.exp)}"
    if word == CONTRADICTED:
        return f"There is no barrier of the height that activation needs: {found}."
    rise = f"it rises by {rounded(rises[0].value)} of its mean a unit of ln Δt" if rises else ""
    if word == SUPPORTED:
        factor = number(FACTOR)
        return f"Barriers are those of activation within a factor of {factor}: {found}; {rise}."
    if mean.low > math.log(FACTOR):
        lines = "The straight lines climb higher than activation needs"
        return f"{lines}: {found}; a walker may go around."
    return f"Not told to be within a factor of {number(FACTOR)} and rising with ln Δt: {found}."


def _needed(mean: Interval) -> str:
    if mean.low > math.log(FACTOR):
        return "paths of least barrier between the checkpoints in place of straight lines"
    return f"more checkpoints at log-spaced iterations, or more than {mean.n} seeds"


def _in_logarithms(items: Iterable[Crossing]) -> str:
    """Where noise depends on the state, it is Δ ln L that sets the time of escape."""
    known = [item.log_barrier for item in items if math.isfinite(item.log_barrier)]
    mean = rounded(float(np.mean(known))) if known else "–"
    return f"climbs are {mean} in ln L on average; straight lines bound barriers from above"
