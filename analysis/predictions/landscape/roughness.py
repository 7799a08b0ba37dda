"""P4 as a verdict: how the spread of loss differences grows with distance.

P4: the spread of loss differences grows like r^γ with γ = 1 up to the distances travelled.

For any differentiable loss the spread over random directions is ∝ r at small r. Beyond

    r× = 2·|∇L|·√N/|tr H|,

where the mean difference overtakes the spread, γ = 1 is a finding; below it, only γ ≠ 1 is. The
spread at each radius is taken over directions, which are the sample within a run; the evaluation
noise is subtracted, and radii where it is more than half the spread are left out.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
)
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
from ultraslow.analysis.runs import Span, distance_at
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import number, plural
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

    def falling(self, low: float) -> tuple[int, int]:
        """Of the steps from one radius to the next beyond `low`: how many lower the loss, and all.

        Those of which the noise leaves open whether they do are not counted.
        """
        inside = self.radius >= low
        steps = np.diff(self.difference[inside], axis=0)
        clear = np.abs(steps) > NOISE * math.sqrt(2) * self.noise
        return int((steps[clear] < 0).sum()), int(clear.sum())


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
    kinds = run.variables["ensemble"].values.tolist() if "loss_difference" in run else []
    if ensemble not in kinds:
        return []
    place = kinds.index(ensemble)
    radii = run.variables["radius"].values
    order = np.argsort(radii, kind="stable")
    near = order[(radii[order] > 0) & (radii[order] <= reach * (1 + 1e-9))]
    losses = run.variables["loss_difference"].isel(ensemble=place)
    values = losses.transpose("iteration", "radius", "direction").values[:, near]
    rows = np.flatnonzero(np.isfinite(values).any(axis=(1, 2)))
    at, noise = run.variables["iteration"].values[rows].tolist(), _noise(run, place)[rows]
    if ensemble == TRAJECTORY and rows.size:
        pooled = np.concatenate(list(values[rows]), axis=1)
        found = [_scan(at[-1], radii[near], pooled, float(noise.mean()))]
    else:
        measured = zip(at, values[rows], noise.tolist(), strict=True)
        found = [_scan(when, radii[near], part, own) for when, part, own in measured]
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


def _noise(run: xr.Dataset, ensemble: int) -> Array:
    if "difference_noise" not in run:
        return np.zeros(run.sizes["iteration"])
    return np.nan_to_num(run.variables["difference_noise"].isel(ensemble=ensemble).values)


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
FALLS = "share of steps outward that lower the loss"
# With γ = 0.8 or 1.2 the distance would go like (ln t)^1.25 or (ln t)^0.83. Over the three decades
# after t = 30 these are exponents p of 0.04 and −0.03: within the margin of P1.
MARGIN = 0.2
# A walker that only climbs meets no barrier: fewer falling steps than this are none.
FALLING = 0.05
# Steps of a run from which a share is told: of 60 in four seeds none falls in 5 % of cases where
# one in twenty would.
_STEPS = math.ceil(3 / (FALLING * SEEDS))
_GAMMA = Zone.within(MARGIN, 1.0)
_SHARE = Zone(FALLING, math.inf, below=FALLING)
# Below the crossover agreement says nothing, and departures count.
_DEPARTS = Zone(math.inf, -math.inf, 1 - MARGIN, 1 + MARGIN)


@dataclass(frozen=True)
class _Finding:
    """What one run's scans of one kind of direction say.

    Attributes:
        outer: γ beyond the crossover, mean over scans; NaN where too few radii lie there.
        whole: γ over the outer half of the radii, in ln r, whatever the crossover.
        falling: share of falling steps beyond the crossover; NaN for fewer than `_STEPS`.
        steps: how many these are.
    """

    outer: float
    whole: float
    falling: float
    steps: int


@dataclass(frozen=True)
class _Judged:
    """What the arms say of one kind of direction, beyond the crossover or below it."""

    kind: str
    found: Arms
    beyond: bool


def landscape_growth(study: Study) -> Verdict:
    """Verdict on P4.

    Supported when γ beyond the crossover lies within `MARGIN` of 1, along random directions and
    along the trajectory, and the loss falls as well as it rises there. Contradicted when γ lies
    beyond the margin for one kind of direction of one arm, or when the loss does nothing but rise.
    Below the crossover agreement says nothing, and departures count.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with what it hangs on: γ of a kind of direction, or the share of falling
        steps.
    """
    blank = question("P4", EFFECT)
    known, missing = study.comparable("loss_difference", "distance_sq")
    if missing is not None:
        return blank.lacking(missing, known.sample)
    there = {
        kind for run in known.runs.values() for kind in run.variables["ensemble"].values.tolist()
    }
    kinds = [kind for kind in (*RANDOM, TRAJECTORY) if kind in there]
    wide = known.at(1 - (1 - study.level) / len(kinds))
    judged = [item for kind in kinds for item in _judge(kind, wide)]
    if not judged:
        what = f"{RADII} radii or more up to the distance travelled, clear of the noise"
        return blank.lacking(few_seeds(_with_radii(known), what), known.sample)
    return _verdict(blank, known, judged, kinds)


def _with_radii(study: Study) -> Study:
    scanned = study.each(scans_of)
    return study.part(
        name
        for name, kinds in scanned.items()
        if any(math.isfinite(_finding(items).whole) for items in kinds.values())
    )


def _finding(measured: list[LossScan]) -> _Finding:
    outer = [exponent(scan, low=scan.crossover()) for scan in measured]
    whole = [exponent(scan, low=outer_half(scan)) for scan in measured]
    counts = [scan.falling(scan.crossover()) for scan in measured]
    steps = sum(all_ for _, all_ in counts)
    falling = sum(fell for fell, _ in counts) / steps if steps >= _STEPS else math.nan
    return _Finding(_mean(outer), _mean(whole), falling, steps)


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _judge(kind: str, study: Study) -> list[_Judged]:
    """The word of one kind of direction: of arms beyond the crossover, and of the others."""
    measured = study.each(scans_of)
    found = {name: _finding(kinds.get(kind, [])) for name, kinds in measured.items()}
    outer = {name: item.outer for name, item in found.items()}
    falling = {name: item.falling for name, item in found.items()}
    beyond = mostly(study, (n for n in found if math.isfinite(outer[n] + falling[n]))).of_arms()
    arms = set(beyond.arms)
    inside = study.part(n for arm, names in study.arms.items() if arm not in arms for n in names)
    whole = {name: item.whole for name, item in found.items()}
    below = judge_arms(inside, (whole, _DEPARTS))
    above = judge_arms(beyond, (outer, _GAMMA), (falling, _SHARE))
    both = [(above, True), (below, False)]
    return [_Judged(kind, item, far) for item, far in both if item is not None]


def _verdict(blank: Verdict, study: Study, judged: list[_Judged], kinds: list[str]) -> Verdict:
    against = [item for item in judged if item.found.word == CONTRADICTED]
    beyond = [item for item in judged if item.beyond]
    complete = _both(beyond) and all(item.found.word == SUPPORTED for item in beyond)
    word = CONTRADICTED if against else SUPPORTED if complete else UNDECIDABLE
    still_open = [item for item in judged if item.found.word == UNDECIDABLE] or judged
    shown = _clearest(against or (judged if complete else still_open))
    found = shown.found
    falls = found.judged.measure == 1
    measured = study.part({name for item in judged for name in item.found.entered.runs})
    verdict = decided_by_arms(
        replace(blank, effect_meaning=FALLS if falls else f"{EFFECT}, {shown.kind} directions"),
        found.entered,
        replace(found, judged=replace(found.judged, word=word)),
        reason=_reason(word, shown),
        assumptions=(
            *_assumptions(measured, kinds),
            *left_out(study, measured, f"their arms have fewer than {SEEDS} seeds with radii"),
        ),
        span=_scanned(found.shown),
        show=float,
    )
    null = verdict.null if shown.beyond else (1 - MARGIN, 1 + MARGIN)
    verdict = replace(verdict, null=null, sample=measured.sample)
    if falls and found.mean.high == 0:
        verdict = _none_of(verdict, _steps(shown), level=study.level)
    return verdict if word != UNDECIDABLE else _with_need(verdict, judged)


def _none_of(verdict: Verdict, steps: int, *, level: float) -> Verdict:
    """Where no step lowers the loss, the share of those that do is below 1 − (1 − level)^(1/n)."""
    told = f"the share's upper end takes the {steps} steps as independent"
    return replace(
        verdict,
        effect_high=1 - (1 - level) ** (1 / steps),
        effect_level=level,
        assumptions=(*verdict.assumptions, told),
    )


def _clearest(items: list[_Judged]) -> _Judged:
    """Of several kinds the one whose mean lies farthest from what is claimed."""

    def off(item: _Judged) -> tuple[bool, float]:
        judged = item.found.judged
        zone = _GAMMA if judged.measure == 0 else _SHARE
        margin = MARGIN if judged.measure == 0 else FALLING
        far = max(zone.below - judged.mean.value, judged.mean.value - zone.above)
        return item.beyond, far / margin

    return max(items, key=off)


def _scanned(study: Study) -> Span:
    """First and last iteration at which the landscape was scanned."""
    at = [
        scan.iteration
        for kinds in study.each(scans_of).values()
        for items in kinds.values()
        for scan in items
    ]
    return float(min(at)), float(max(at))


def _both(judged: list[_Judged]) -> bool:
    kinds = {item.kind for item in judged}
    return TRAJECTORY in kinds and bool(kinds & set(RANDOM))


def _reason(word: str, shown: _Judged) -> str:
    found, where = shown.found, f"along {shown.kind} directions"
    if found.judged.measure == 1 and word != SUPPORTED:
        steps = f"of the {number(_steps(shown))} steps outward {where}"
        share = f"{found.mean.value:.0%} {found.mean.ends(lambda x: f'{x:.0%}')}"
        fall = "none" if found.mean.high == 0 else share
        verb = "lowers" if found.mean.high == 0 else "lower"
        when = over(_scanned(found.shown))
        said = f"At {found.name} {fall} {steps} {verb} the loss, {when}"
        return f"{said}; among barriers {FALLING:.0%} or more do.{found.others}"
    said = (
        f"At {found.name} the spread of loss differences {where} grows like r^γ, γ = {found.mean}"
    )
    zone = f"{1 - MARGIN:g} to {1 + MARGIN:g}"
    if word == SUPPORTED:
        share = f"{found.of(1).value:.0%} of the steps outward lower the loss"
        return f"{said}, within {zone} as along all directions, and {share}.{found.others}"
    if word == CONTRADICTED:
        return f"{said}, where {zone} counts as 1.{found.others}"
    below = "" if shown.beyond else "; so close to the weights any smooth loss has γ = 1"
    return f"{said}, where {zone} counts as 1{below}."


def _steps(shown: _Judged) -> int:
    """Steps of all runs of the arm that are clear of the noise."""
    found = shown.found
    own = found.entered.part(list(found.entered.arms.values())[found.judged.arm])
    scanned = own.each(scans_of).values()
    return sum(_finding(kinds.get(shown.kind, [])).steps for kinds in scanned)


def _with_need(verdict: Verdict, judged: list[_Judged]) -> Verdict:
    """The instruction that more seeds are no answer to, where there is one."""
    kinds = {item.kind for item in judged}
    beyond = [item for item in judged if item.beyond]
    if not (TRAJECTORY in kinds and kinds & set(RANDOM)):
        which = "random directions" if TRAJECTORY in kinds else "the trajectory"
        needed = f"scans along {which} as well, {SEEDS} seeds"
        return replace(verdict, needed=needed, have=1.0, need=2.0, unit="kinds of directions")
    if _both(beyond):
        return verdict
    far = max(_radii_beyond(item) for item in judged)
    needed = (
        f"{RADII} radii or more between the crossover, where the mean loss difference overtakes "
        "its spread, and the distance travelled"
    )
    return replace(verdict, needed=needed, have=float(far), need=float(RADII), unit="radii")


def _radii_beyond(item: _Judged) -> int:
    scanned = item.found.entered.each(scans_of).values()
    counts = [
        int((scan.radius >= scan.crossover()).sum())
        for kinds in scanned
        for scan in kinds.get(item.kind, [])
    ]
    return min(max(counts, default=0), RADII - 1)


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
