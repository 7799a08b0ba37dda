"""P9: the motion is random and not driven; its straightness is far below 1 and falls.

R(t) = ‖w_t − w_0‖²/Σ‖Δw_s‖² is 1 for independent updates and t for a straight line. Momentum m
makes one update after the other alike: independent gradients then give (1 + m)/(1 − m), which is
divided out.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import DECADES
from ultraslow.analysis.intervals import CONTRADICTED, SEEDS, SUPPORTED
from ultraslow.analysis.predictions.evidence import (
    LONG_SEEDS,
    Arms,
    decided_by_arms,
    driven_by_noise,
    few_seeds,
    judge_arms,
    left_out,
    reach,
    until,
)
from ultraslow.analysis.predictions.means import Zone
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import constant_rate, distances, line, momentum
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number, rounded
from ultraslow.diffusion.recording import has_holes

EFFECT = "straightness R at the end of the constant rate, momentum divided out (1: diffusion)"
FALL = "d ln R/d ln t over the last decade (below 0: R falls)"
# "Far below 1" is read as a factor of 3, as for the closure of slope and temperature.
FAR = 1 / 3
# Diffusion itself has R = 1. Within 10 % of it or above, nothing holds the walker back.
DRIVEN = 0.9
# Nor where R, not far below 1, stays: t^p has 2p − 1, here at least that of t^.45, and logarithms
# fall like ln²t/t.
STEADY = -0.1

_HEIGHT = Zone(-math.inf, math.log(FAR), above=math.log(DRIVEN))
# Nobody trains longer by more than this factor for one verdict.
_FARTHEST = 1000.0
_FALL = Zone(-math.inf, 0.0)
# Above 0 where R is not far below 1 and does not fall either: the smaller of both excesses.
_STAYS = Zone(-math.inf, math.inf, above=0.0)

_WHAT = f"{DECADES:g} decades of constant rate and a path without gaps"


@dataclass(frozen=True)
class _Course:
    """ln R at the end, and d ln R/d ln t over the last decade."""

    end: float
    fall: float


def random_motion(study: Study) -> Verdict:
    """Verdict on P9.

    Supported when R lies below `FAR` and falls; contradicted when, in one arm, R lies above
    `DRIVEN`, or above `FAR` and does not fall: d ln R/d ln t above `STEADY`.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with R at the end of the constant rate, or with its fall where that decides.
    """
    blank = question("P9", EFFECT)
    known, missing = study.comparable("step_sq", "learning_rate")
    if missing is not None:
        return blank.lacking(missing, known.sample)
    noisy, still = driven_by_noise(known)
    if not noisy.runs:
        return blank.lacking(_still(), known.sample)
    courses = {name: course for name, run in noisy.runs.items() if (course := _course(run))}
    used = noisy.part(courses)
    ends = {name: course.end for name, course in courses.items()}
    falls = {name: course.fall for name, course in courses.items()}
    stays = {
        name: min(course.end - math.log(FAR), course.fall - STEADY)
        for name, course in courses.items()
    }
    found = judge_arms(used, (ends, _HEIGHT), (falls, _FALL), (stays, _STAYS))
    if found is None:
        return blank.lacking(few_seeds(used, _WHAT, LONG_SEEDS), known.sample)
    steady = found.judged.measure == 2
    if steady:
        by_height = judge_arms(used, (ends, _HEIGHT), (falls, _FALL))
        if by_height is not None and by_height.word == CONTRADICTED:
            found, steady = by_height, False
        else:
            found = found.told_by(0)
    falling = found.judged.measure == 1
    span = reach(found.shown)
    return decided_by_arms(
        replace(blank, effect_meaning=FALL) if falling else blank,
        used,
        found,
        reason=_reason(found, span[1], steady=steady),
        assumptions=(_momentum(used), *left_out(noisy, used, f"not {_WHAT}"), *still),
        span=span,
        longer=_longer(found, span[1]),
        show=float if falling else math.exp,
    )


def _course(run: xr.Dataset) -> _Course | None:
    stretch = constant_rate(run)
    # A repaired recording says which records it lost; their part of the path is lost as well.
    if stretch.decades < DECADES or has_holes(run.attrs):
        return None
    at, ratio = path_ratio(run)
    last = float(stretch.iteration[-1])
    fall = line(at, np.log(ratio), (last / 10, last))[0]
    # A gap in the path leaves its length unknown from there on.
    if last not in at or math.isnan(fall):
        return None
    return _Course(float(np.log(ratio[at == last][0])), fall)


def path_ratio(run: xr.Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Straightness R at each record, momentum divided out.

    R(t) = ‖w_t − w_0‖²/Σ‖Δw_s‖² · (1 − m)/(1 + m).

    Arguments:
        run: a recording of `step_sq`.

    Returns:
        Iterations t ≥ 1 at which path and distance are known, and R, both of shape (record,).
    """
    distance = distances(run)
    at = run.variables["iteration"].values.astype(float)
    path = np.cumsum(
        np.where(at > 0, run.variables["step_sq"].sum("tensor", skipna=False).values, 0.0)
    )
    known = (path > 0) & (distance > 0) & (at >= 1)
    free = (1 + momentum(run)) / (1 - momentum(run))
    return at[known], distance[known] ** 2 / path[known] / free


def _reason(found: Arms, last: float, *, steady: bool) -> str:
    ratio, fall = found.of(0).mapped(math.exp), found.of(1)
    if found.judged.measure == 0:
        ratio = found.mean.mapped(math.exp)
    said = (
        f"At {found.name} the squared distance at iteration {number(last)} is {ratio} times that "
        "of independent updates of the same lengths"
    )
    falls = f"d ln R/d ln t = {fall}"
    if found.word == SUPPORTED:
        return f"{said}, below {rounded(FAR)}, and that share falls: {falls}.{found.others}"
    if found.judged.measure == 1:
        return f"{said}, but that share is not shown to fall: {falls}."
    if steady:
        low = f"not below {rounded(FAR)}, and that share does not fall"
        return f"{said}: {low} ({falls}, which tends to −1 for logarithms).{found.others}"
    bounds = f"below {rounded(FAR)} it is held back, from {DRIVEN:g} on it is not"
    return f"{said}; {bounds}.{found.others}"


def _longer(found: Arms, last: float) -> Missing:
    """Until when to train on, where R moves on as it does now."""
    end, fall = found.of(0), found.of(1).value
    wanted = (math.log(FAR) - end.high) / fall if fall < 0 else math.inf
    if fall > 0:
        wanted = (math.log(DRIVEN) - end.low) / fall
    decades = wanted / math.log(10) if 0 < wanted < math.log(_FARTHEST) else 1.0
    return until(last * 10**decades, last)


def _still() -> Missing:
    return Missing(
        "No run is known to have gradient noise, and what is not random cannot be told from it.",
        f"an arm of {SEEDS} seeds at a batch size below that of the training set",
        0.0,
        float(SEEDS),
        "seeds",
    )


def _momentum(study: Study) -> str:
    found = sorted({momentum(run) for run in study.runs.values()})
    listed = ", ".join(map(number, found))
    return f"momentum {listed}, for which independent gradients would give (1 + m)/(1 − m)"
