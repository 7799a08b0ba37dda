"""P4 as a verdict: how the spread of loss differences grows with distance.

P4: the spread of loss differences grows like r^γ with γ = 1 up to the distances travelled.

For any differentiable loss the spread over random directions is ∝ r at small r. Beyond

    r× = 2·|∇L|·√N/|tr H|,

where the mean difference overtakes the spread, γ = 1 is a finding; below it, only γ ≠ 1 is. The
spread at each radius is taken over directions, which are the sample within a run; the evaluation
noise is subtracted, and radii where it is more than half the spread are left out.
"""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    decide,
    joint_level,
)
from ultraslow.analysis.predictions.evidence import arm_means, entering, few_seeds, named
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import distance_at
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import plural
from ultraslow.diffusion.walks import structure

Array = NDArray[np.float64]

# Directions that are drawn at random; those of a trajectory are where the run went.
RANDOM = ("isotropic", "filter", "noise")
TRAJECTORY = "trajectory"
# Radii for a slope, and how far apart the outermost have to be.
RADII, FACTOR = 3, 3.0
DIRECTIONS = 4
# Below twice the evaluation noise a spread is mostly that noise.
NOISE = 2.0


@dataclass(frozen=True)
class LossScan:
    """Loss differences around one record.

    Attributes:
        iteration: of the record.
        radius: r, increasing, shape (radius,).
        difference: ΔL, shape (radius, direction), finite.
        noise: standard deviation of a difference at r = 0.
    """

    iteration: int
    radius: Array
    difference: Array
    noise: float

    def spread(self) -> Array:
        """Standard deviation over directions without the noise; NaN where that dominates."""
        deviation = structure(self.difference).standard_deviation
        clear = deviation > NOISE * self.noise
        variance = np.where(clear, deviation**2 - self.noise**2, np.nan)
        return np.sqrt(variance)

    def crossover(self) -> float:
        """Smallest radius from which on the mean exceeds the spread; inf where it never does."""
        found = structure(self.difference)
        beyond = np.abs(found.mean) - 2 * found.mean_error > found.standard_deviation
        last_below = np.flatnonzero(~beyond)
        first = int(last_below[-1]) + 1 if last_below.size else 0
        return float(self.radius[first]) if first < self.radius.size else math.inf

    def falling(self, low: float) -> float:
        """Share of steps from one radius to the next beyond `low` along which the loss falls."""
        inside = self.radius >= low
        steps = np.diff(self.difference[inside], axis=0)
        clear = np.abs(steps) > NOISE * math.sqrt(2) * self.noise
        return float((steps[clear] < 0).mean()) if clear.any() else math.nan


def scans(run: xr.Dataset, ensemble: str, *, reach: float) -> list[LossScan]:
    """The landscape scans of one kind of direction, up to a radius.

    Arguments:
        run: a recording.
        ensemble: name of the kind of direction.
        reach: largest radius to use, the distance that was travelled.

    Returns:
        One scan a record where the loss was measured along `DIRECTIONS` directions or more. A
        record has one or two directions along the trajectory; those of all records make one scan.
    """
    if "loss_difference" not in run or ensemble not in run["ensemble"].values.tolist():
        return []
    named = [name for name in ("loss_difference", "difference_noise") if name in run]
    chosen = run[named].sel(ensemble=ensemble).sortby("radius")
    inside = (chosen["radius"].values > 0) & (chosen["radius"].values <= reach * (1 + 1e-9))
    near = chosen.isel(radius=np.flatnonzero(inside))
    values = near["loss_difference"].transpose("iteration", "radius", "direction").values
    rows = np.flatnonzero(np.isfinite(values).any(axis=(1, 2)))
    at, noise = near["iteration"].values[rows].tolist(), _noise(near)[rows]
    if ensemble == TRAJECTORY and rows.size:
        pooled = np.concatenate(list(values[rows]), axis=1)
        found = [_scan(at[-1], near["radius"].values, pooled, float(noise.mean()))]
    else:
        measured = zip(at, values[rows], noise.tolist(), strict=True)
        found = [_scan(when, near["radius"].values, part, own) for when, part, own in measured]
    return [scan for scan in found if scan is not None]


def scans_of(run: xr.Dataset) -> dict[str, list[LossScan]]:
    """The scans of each kind of direction that was measured, up to the distance travelled."""
    reach = distance_at(run, math.inf)
    found = {kind: scans(run, kind, reach=reach) for kind in (*RANDOM, TRAJECTORY)}
    return {kind: items for kind, items in found.items() if items}


def _scan(iteration: int, radius: Array, values: Array, noise: float) -> LossScan | None:
    """A scan without the directions that were not measured, up to where the first diverges.

    Beyond that radius, leaving out the direction that diverged would leave out the steepest.
    """
    measured = values[:, np.isfinite(values).any(axis=0)]
    finite = np.isfinite(measured).all(axis=1)
    last = int(finite.argmin()) if not finite.all() else finite.size
    if measured.shape[1] < DIRECTIONS or not last:
        return None
    return LossScan(iteration, radius[:last], measured[:last], noise)


def _noise(chosen: xr.Dataset) -> Array:
    if "difference_noise" not in chosen:
        return np.zeros(chosen.sizes["iteration"])
    return np.nan_to_num(chosen["difference_noise"].values)


def exponent(scan: LossScan, *, low: float = 0.0) -> float:
    """γ of one scan: least-squares slope of ln std(ΔL) over ln r from a radius on.

    Arguments:
        scan: the loss differences.
        low: smallest radius to use.

    Returns:
        γ; NaN with fewer than `RADII` usable radii, or less than a factor `FACTOR` between them.
    """
    spread = scan.spread()
    used = (scan.radius >= low) & np.isfinite(spread) & (spread > 0)
    radius = scan.radius[used]
    if radius.size < RADII or radius[-1] < FACTOR * radius[0]:
        return math.nan
    clock = np.log(radius) - np.log(radius).mean()
    return float(clock @ np.log(spread[used]) / (clock @ clock))


def outer_half(scan: LossScan) -> float:
    """From here on radii lie in the outer half in ln r, or within the outer factor `FACTOR`."""
    largest = float(scan.radius[-1])
    return min(math.sqrt(float(scan.radius[0]) * largest), largest / FACTOR) * (1 - 1e-9)


EFFECT = "exponent γ of the spread of loss differences"
# With γ = 0.8 or 1.2 the distance would go like (ln t)^1.25 or (ln t)^0.83. Over the three decades
# after t = 30 these are exponents p of 0.04 and −0.03: within the margin of P1.
MARGIN = 0.2
# A walker that only climbs meets no barrier: fewer falling steps than this are none.
FALLING = 0.05


@dataclass(frozen=True)
class _Finding:
    """What one run's scans of one kind of direction say.

    Attributes:
        outer: γ beyond the crossover, mean over scans; NaN where too few radii lie there.
        whole: γ over the outer half of the radii, in ln r, whatever the crossover.
        falling: share of falling steps beyond the crossover.
    """

    outer: float
    whole: float
    falling: float


def landscape_growth(study: Study) -> Verdict:
    """Verdict on P4.

    Supported when γ beyond the crossover lies within `MARGIN` of 1 in every arm, along random
    directions and along the trajectory, and the loss falls as well as it rises there. Contradicted
    when γ lies beyond the margin for one kind of direction of one arm, or when the loss does
    nothing but rise. Below the crossover agreement says nothing, and departures count.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with γ of the kind of direction it hangs on.
    """
    blank = question("P4", EFFECT)
    known, missing = study.comparable("loss_difference", "distance_sq")
    if missing is not None:
        return blank.lacking(missing, known.sample)
    there = {kind for run in known.runs.values() for kind in run["ensemble"].values.tolist()}
    kinds = [kind for kind in (*RANDOM, TRAJECTORY) if kind in there]
    wide = known.at(joint_level(study.level, len(kinds)))
    judged = [_judge(kind, wide) for kind in kinds]
    return _verdict(blank, known, [item for item in judged if item is not None], kinds)


def _finding(measured: list[LossScan]) -> _Finding:
    outer = [exponent(scan, low=scan.crossover()) for scan in measured]
    whole = [exponent(scan, low=outer_half(scan)) for scan in measured]
    falling = [scan.falling(scan.crossover()) for scan in measured]
    return _Finding(_mean(outer), _mean(whole), _mean(falling))


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


@dataclass(frozen=True)
class _Judged:
    kind: str
    word: str
    mean: Interval
    beyond: bool
    falling: Interval | None


def _judge(kind: str, study: Study) -> _Judged | None:
    """The word of one kind of direction: its worst arm."""
    measured = study.each(scans_of)
    found = {name: _finding(kinds.get(kind, [])) for name, kinds in measured.items()}
    outer = arm_means(study, {name: item.outer for name, item in found.items()})
    beyond = bool(outer)
    means = outer or arm_means(study, {name: item.whole for name, item in found.items()})
    if not means:
        return None
    falling = arm_means(study, {name: item.falling for name, item in found.items()})
    words = [decide(mean.low - 1, mean.high - 1, MARGIN) for mean in means]
    rising = next((item for item in falling if item.high < FALLING), None) if beyond else None
    least = rising or min(falling, key=lambda item: item.low, default=None)
    word = _word(words, beyond=beyond, falling=least)
    worst = max(means, key=lambda mean: max(abs(mean.low - 1), abs(mean.high - 1)))
    return _Judged(kind, word, worst, beyond, least if beyond else None)


def _word(words: list[str], *, beyond: bool, falling: Interval | None) -> str:
    if CONTRADICTED in words or (beyond and falling is not None and falling.high < FALLING):
        return CONTRADICTED
    signs = falling is not None and falling.low > FALLING
    return SUPPORTED if beyond and signs and set(words) == {SUPPORTED} else UNDECIDABLE


def _verdict(blank: Verdict, study: Study, judged: list[_Judged], kinds: list[str]) -> Verdict:
    if not judged:
        what = f"{RADII} radii or more up to the distance travelled, clear of the noise"
        return blank.lacking(few_seeds(study, what), study.sample)
    entered, few = entering(study)
    against = [item for item in judged if item.word == CONTRADICTED]
    complete = _both(judged) and all(item.word == SUPPORTED for item in judged)
    word = CONTRADICTED if against else SUPPORTED if complete else UNDECIDABLE
    worst = max(against or judged, key=lambda item: abs(item.mean.value - 1))
    return blank.decided(
        word,
        worst.mean,
        reason=_reason(word, worst),
        needed=_needed(judged),
        meaning=f"{EFFECT}, {worst.kind} directions",
        sample=entered.sample,
        assumptions=(*_assumptions(entered, kinds), *few),
    )


def _both(judged: list[_Judged]) -> bool:
    kinds = {item.kind for item in judged}
    return TRAJECTORY in kinds and bool(kinds & set(RANDOM))


def _reason(word: str, worst: _Judged) -> str:
    where = "beyond the crossover" if worst.beyond else "in the outer half of the radii"
    found = f"γ = {named(worst.mean)} along {worst.kind} directions {where}"
    if worst.falling is not None:
        found += f"; {worst.falling.value:.0%} of the steps outward lower the loss"
    if word == SUPPORTED:
        return f"γ is within {MARGIN:g} of 1 along all directions; the farthest is {found}."
    if word == UNDECIDABLE:
        below = "" if worst.beyond else ", where any smooth loss has γ = 1"
        return f"Neither shown to be 1 within {MARGIN:g} nor shown not to be: {found}{below}."
    if worst.falling is not None and worst.falling.high < FALLING:
        return f"The loss only rises, and there is no barrier to cross: {found}."
    return f"γ lies beyond {MARGIN:g} of 1: {found}."


def _needed(judged: list[_Judged]) -> str:
    kinds = {item.kind for item in judged}
    if TRAJECTORY not in kinds:
        return f"scans along the trajectory as well, {SEEDS} seeds"
    if not kinds & set(RANDOM):
        return f"scans along random directions as well, {SEEDS} seeds"
    if not all(item.beyond for item in judged):
        return (
            f"{RADII} radii or more between the crossover, where the mean loss difference "
            "overtakes its spread, and the distance travelled"
        )
    return "more directions a scan, or more seeds"


def _assumptions(study: Study, kinds: list[str]) -> tuple[str, ...]:
    runs = study.runs.values()
    modes = sorted({str(run.attrs.get("landscape_mode", "unknown"))[:20] for run in runs})
    subtracted = plural(sum("difference_noise" in run for run in runs), "run")
    return (
        f"directions: {', '.join(kinds)}",
        f"radii up to the distance travelled, evaluation noise subtracted in {subtracted}",
        f"mode of batch normalization during scans: {', '.join(modes)}",
        "other directions of one landscape stand for other landscapes",
    )
