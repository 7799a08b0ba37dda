"""P7: barriers are crossed; the logarithm of the time between two states is the barrier over T.

The barrier is the climb along the straight line between consecutive checkpoints. No path is
steeper than it has to be on that line: a climb near 0 shows that there is no barrier, and a high
one shows only that the straight line has one.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import CONTRADICTED, SEEDS, SUPPORTED
from ultraslow.analysis.predictions.evidence import (
    Arms,
    decided_by_arms,
    few_seeds,
    judge_arms,
    left_out,
    mostly,
    over,
)
from ultraslow.analysis.predictions.means import Zone
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import Span, constant_rate, measured_temperature
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number, plural, rounded

Array = NDArray[np.float64]

EFFECT = "barrier over T·ln Δt, geometric mean over pairs of checkpoints (1: activation)"
# As for the closure of slope and temperature: agreement means within a factor of 3.
FACTOR = 3.0
PAIRS = 4
RISE = "rise of the barrier a unit of ln Δt, over its mean (above 0: it rises)"
# A ratio above 1 by more than the factor decides nothing: the walker may go around.
_RATIO = Zone(-math.log(FACTOR), math.log(FACTOR), below=-math.log(FACTOR))
_RISES = Zone(0.0, math.inf)
# Where the times between checkpoints are too much alike to show a rise, nothing supports.
_BELOW = Zone(math.inf, math.inf, below=-math.log(FACTOR))
CHECKPOINTS = 6  # those of shipped recipes; the first line starts at w0, and is left out
_NO_START = Missing(
    "The lines between checkpoints were not measured at their start.",
    "line losses with the fraction 0 among them",
)
_PATHS = Missing("", "paths of least barrier between the checkpoints in place of straight lines")
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
    Supported when they lie within that factor and rise with ln Δt.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of barrier to T·ln Δt.
    """
    blank = question("P7", EFFECT)
    known, missing = study.comparable("line_loss", "noise_trace", "learning_rate")
    if missing is not None:
        return blank.lacking(missing, known.sample)
    started = known.where(lambda run: float(run["fraction"].min()) == 0)
    if not started.runs:
        return blank.lacking(_NO_START, known.sample)
    found = started.each(crossings)
    ratios = {name: _log_ratio(known.runs[name], items) for name, items in found.items()}
    rises = {name: _rise(items) for name, items in found.items()}
    used = mostly(started, (name for name, ratio in ratios.items() if math.isfinite(ratio)))
    what = f"{PAIRS} pairs of checkpoints at a constant rate and a measured temperature"
    judged = judge_arms(used, (ratios, _BELOW))
    if judged is None:
        return blank.lacking(_few(used, found, what), known.sample)
    if judged.word != CONTRADICTED:
        # Arms whose checkpoints are too evenly spaced to show a rise can only contradict.
        judged = judge_arms(used, (ratios, _RATIO), (rises, _RISES)) or judged
    entered = [item for name in judged.entered.runs for item in found[name]]
    of_arm = [item for name in judged.shown.runs for item in found[name]]
    span = float(min(i.start for i in of_arm)), float(max(i.end for i in of_arm))
    rising = judged.judged.measure == 1
    verdict = decided_by_arms(
        replace(blank, effect_meaning=RISE) if rising else blank,
        used,
        judged,
        reason=_reason(judged, span),
        assumptions=(
            _in_logarithms(entered),
            *left_out(known, started, "lines that were not measured at their start"),
            *left_out(started, used, f"fewer than {what}"),
        ),
        span=span,
        longer=_PATHS if judged.of(0).low > math.log(FACTOR) else None,
        show=float if rising else math.exp,
    )
    if rising:
        return verdict
    # At the least ratio that is told apart from none, the interval goes down to none.
    least = 0.0 if _is_nothing(judged.of(0).low) else verdict.effect_low
    return replace(verdict, null=(1 / FACTOR, FACTOR), effect_low=least)


_LOSSES = ("line_loss", "center_loss")


def crossings(run: xr.Dataset) -> list[Crossing]:
    """The ways between consecutive checkpoints at a constant learning rate.

    Arguments:
        run: a recording with `line_loss`.

    Returns:
        One crossing a checkpoint after the first in the stretch; those with an infinite or NaN
        loss are left out.
    """
    ordered = run[[name for name in _LOSSES if name in run]].sortby("fraction")
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
    measured = np.isfinite(run.variables["line_loss"].values).any(axis=1)
    if "center_loss" in run:
        measured |= np.isfinite(run.variables["center_loss"].values).any(axis=1)
    return np.flatnonzero(measured & (run.variables["iteration"].values > 0))


def _crossing(start: int, end: int, loss: Array) -> Crossing:
    climb = float(loss.max() - loss[0])
    logarithms = float(np.log(loss.max() / loss[0])) if loss[0] > 0 else math.nan
    return Crossing(start, end, climb, logarithms)


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


def _is_nothing(log_ratio: float) -> bool:
    """Whether a mean of ln(ΔL/(T·ln Δt)) is that of climbs which are all told as none."""
    return log_ratio <= math.log(_NOTHING) + 1e-9


def _rise(items: list[Crossing]) -> float:
    """Slope of the barrier over ln Δt, in units of the mean barrier; NaN for one or equal Δt."""
    if len(items) < 2:
        return math.nan
    clock = np.log([item.end - item.start for item in items])
    climb = np.array([item.barrier for item in items])
    if np.ptp(clock) < math.log(FACTOR) or not climb.mean() > 0:
        return math.nan
    centred = clock - clock.mean()
    return float(centred @ climb / (centred @ centred) / climb.mean())


def _few(used: Study, found: Mapping[str, list[Crossing]], what: str) -> Missing:
    """Checkpoints are lacking where seeds are there, else seeds."""
    pairs = max(map(len, found.values()), default=0)
    if pairs >= PAIRS:
        return few_seeds(used, what)
    return Missing(
        f"The landscape was scanned at too few checkpoints: {plural(pairs, 'pair')} of them at a "
        f"constant rate, and {PAIRS} are needed.",
        f"{CHECKPOINTS} checkpoints a run at which the landscape is measured "
        f"(`landscape_checkpoints`), in {SEEDS} seeds at one batch size",
        float(pairs + 1),
        float(CHECKPOINTS),
        "checkpoints",
    )


def _reason(found: Arms, span: Span) -> str:
    ratio = found.mean if found.judged.measure == 0 else found.of(0)
    factor = number(FACTOR)
    said = (
        f"At {found.name} the climb on the straight line between checkpoints is "
        f"{ratio.mapped(math.exp)} of T·ln Δt {over(span)}"
    )
    if found.word == CONTRADICTED and _is_nothing(ratio.value):
        return (
            f"At {found.name} the loss does not rise on the straight line between checkpoints: "
            f"the climb is {_NOTHING:g} of T·ln Δt or less {over(span)}; activation needs a third "
            f"of it or more.{found.others}"
        )
    if found.word == CONTRADICTED:
        return f"{said}; activation needs a third of it or more.{found.others}"
    if found.word == SUPPORTED:
        rise = f"it rises by {rounded(found.of(1).value)} of its mean a unit of ln Δt"
        return f"{said}, within a factor of {factor}, and {rise}.{found.others}"
    if found.judged.measure == 1:
        return f"{said}, but it is not shown to rise with ln Δt: {found.mean} a unit."
    if ratio.low > math.log(FACTOR):
        return f"{said}, more than activation needs; a walker may go around."
    return f"{said}, where {1 / FACTOR:.2g} to {factor} counts as activation."


def _in_logarithms(items: Iterable[Crossing]) -> str:
    """Where noise depends on the state, it is Δ ln L that sets the time of escape."""
    known = [item.log_barrier for item in items if math.isfinite(item.log_barrier)]
    mean = rounded(float(np.mean(known))) if known else "–"
    return f"climbs are {mean} in ln L on average; straight lines bound barriers from above"
