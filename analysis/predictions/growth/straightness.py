"""P9: the motion is random and not driven; its straightness is far below 1 and falls.

R(t) = ‖w_t − w_0‖²/Σ‖Δw_s‖² is 1 for independent updates and t for a straight line. Momentum m
makes one update after the other alike: independent gradients then give (1 + m)/(1 − m), which is
divided out.
"""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ultraslow.analysis.growth import DECADES
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
from ultraslow.analysis.runs import constant_rate, line, momentum, total_distance
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import number, rounded

EFFECT = "straightness R at the end of the constant rate, momentum divided out (1: diffusion)"
# "Far below 1" is read as a factor of 3, as for the closure of slope and temperature.
FAR = 1 / 3
# Diffusion itself has R = 1. Within 10 % of it or above, nothing holds the walker back.
DRIVEN = 0.9

_WHAT = f"{DECADES:g} decades of constant rate and a path without gaps"


@dataclass(frozen=True)
class _Course:
    """ln R at the end, and d ln R/d ln t over the last decade."""

    end: float
    fall: float


def random_motion(study: Study) -> Verdict:
    """Verdict on P9.

    Supported when R lies below `FAR` and falls in every arm, contradicted when R lies above
    `DRIVEN` in one.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with R at the end of the constant rate.
    """
    blank = question("P9", EFFECT)
    known, missing = study.comparable("step_sq", "learning_rate")
    if missing is not None:
        return blank.lacking(missing, known.sample)
    courses = {name: course for name, run in known.runs.items() if (course := _course(run))}
    used = known.part(courses)
    found = judge_arms(used, {name: course.end for name, course in courses.items()}, _rule)
    if found is None:
        return blank.lacking(few_seeds(used, _WHAT), known.sample)
    word, mean = found
    falls = arm_means(used, {name: course.fall for name, course in courses.items()})
    if word == SUPPORTED and not all(item.high < 0 for item in falls):
        word = UNDECIDABLE
    steepest = max(falls, key=lambda item: item.high)
    return decided_by_arms(
        blank,
        used,
        word,
        mean,
        reason=_reason(word, mean, steepest),
        assumptions=(_momentum(used), *left_out(known, used, f"not {_WHAT}")),
        needed=_needed(mean),
    )


def _rule(low: float, high: float) -> str:
    if high < math.log(FAR):
        return SUPPORTED
    return CONTRADICTED if low > math.log(DRIVEN) else UNDECIDABLE


def _course(run: xr.Dataset) -> _Course | None:
    stretch = constant_rate(run)
    # A repaired recording says which records it lost; their part of the path is lost as well.
    if stretch.decades < DECADES or "gaps" in run.attrs:
        return None
    distance = total_distance(run)
    at = distance["iteration"].values
    path = np.cumsum(np.where(at > 0, run["step_sq"].sum("tensor", skipna=False).values, 0.0))
    known = (path > 0) & (distance.values > 0) & (at >= 1)
    free = (1 + momentum(run)) / (1 - momentum(run))
    log_ratio = np.log(distance.values[known] ** 2 / path[known] / free)
    last = float(stretch.iteration[-1])
    fall = line(at[known], log_ratio, (last / 10, last))[0]
    # A gap in the path leaves its length unknown from there on.
    if last not in at[known] or math.isnan(fall):
        return None
    return _Course(float(log_ratio[at[known] == last][0]), fall)


def _reason(word: str, mean: Interval, fall: Interval) -> str:
    found = f"R = {named(mean, math.exp)}"
    course = f"d ln R/d ln t = {named(fall)} over the last decade"
    if word == SUPPORTED:
        return (
            f"R is below {rounded(FAR)} and falls in every arm; the largest is {found}, {course}."
        )
    if word == CONTRADICTED:
        return f"R is that of diffusion or larger: {found}, {course}."
    neither = f"R is shown neither to be below {rounded(FAR)} and falling nor above {DRIVEN:g}"
    return f"{neither}: {found}, {course}."


def _needed(mean: Interval) -> str:
    if mean.high < math.log(FAR):
        return "longer runs, until R falls in every arm"
    return f"longer runs, or more than {mean.n} seeds an arm"


def _momentum(study: Study) -> str:
    found = sorted({momentum(run) for run in study.runs.values()})
    listed = ", ".join(map(number, found))
    return f"momentum {listed}, for which independent gradients would give (1 + m)/(1 − m)"
