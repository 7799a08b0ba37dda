"""P4 as a verdict: how the spread of loss differences grows with distance."""

import math
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from .decision import CONTRADICTED, SUPPORTED, UNDECIDABLE, decide, joint_level
from .grounds import SEEDS, Mean, arm_means, comparable, entering, few_seeds, sample, undecided
from .roughness import RADII, RANDOM, TRAJECTORY, Scan, exponent, outer_half, scans
from .slopes import distance_at
from .text import plural
from .verdict import Verdict, question

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


def landscape_growth(runs: dict[str, xr.Dataset], *, level: float = 0.95) -> Verdict:
    """Verdict on P4.

    Supported when γ beyond the crossover lies within `MARGIN` of 1 in every arm, along random
    directions and along the trajectory, and the loss falls as well as it rises there. Contradicted
    when γ lies beyond the margin for one kind of direction of one arm, or when the loss does
    nothing but rise. Below the crossover agreement says nothing, and departures count.

    Arguments:
        runs: recordings by node name.
        level: confidence level.

    Returns:
        The verdict, with γ of the kind of direction it hangs on.
    """
    blank = question("P4", EFFECT)
    known, missing = comparable(runs, fields=("loss_difference", "distance_sq"))
    if missing is not None:
        return undecided(blank, known, missing)
    kinds = [kind for kind in (*RANDOM, TRAJECTORY) if _has(known, kind)]
    found = {kind: _findings(known, kind) for kind in kinds}
    wide = joint_level(level, len(kinds))
    judged = [_judge(kind, found[kind], known, level=wide) for kind in kinds]
    return _verdict(blank, known, [item for item in judged if item is not None], kinds)


def _has(runs: dict[str, xr.Dataset], kind: str) -> bool:
    return any(kind in run["ensemble"].values.tolist() for run in runs.values())


def _findings(runs: dict[str, xr.Dataset], kind: str) -> dict[str, _Finding]:
    found = {}
    for name, run in runs.items():
        reach = distance_at(run, math.inf)
        found[name] = _finding(scans(run, kind, reach=reach))
    return found


def _finding(measured: list[Scan]) -> _Finding:
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
    mean: Mean
    beyond: bool
    falling: Mean | None


def _judge(
    kind: str, found: dict[str, _Finding], runs: dict[str, xr.Dataset], *, level: float
) -> _Judged | None:
    """The word of one kind of direction: its worst arm."""
    outer = arm_means({n: f.outer for n, f in found.items()}, runs, level=level)
    beyond = bool(outer)
    means = outer or arm_means({n: f.whole for n, f in found.items()}, runs, level=level)
    if not means:
        return None
    falling = arm_means({n: f.falling for n, f in found.items()}, runs, level=level)
    words = [decide(mean.low - 1, mean.high - 1, MARGIN) for mean in means]
    rising = next((item for item in falling if item.high < FALLING), None) if beyond else None
    least = rising or min(falling, key=lambda item: item.low, default=None)
    word = _word(words, beyond=beyond, falling=least)
    worst = max(means, key=lambda mean: max(abs(mean.low - 1), abs(mean.high - 1)))
    return _Judged(kind, word, worst, beyond, least if beyond else None)


def _word(words: list[str], *, beyond: bool, falling: Mean | None) -> str:
    if CONTRADICTED in words or (beyond and falling is not None and falling.high < FALLING):
        return CONTRADICTED
    signs = falling is not None and falling.low > FALLING
    return SUPPORTED if beyond and signs and set(words) == {SUPPORTED} else UNDECIDABLE


def _verdict(
    blank: Verdict, runs: dict[str, xr.Dataset], judged: list[_Judged], kinds: list[str]
) -> Verdict:
    if not judged:
        what = f"{RADII} radii or more up to the distance travelled, clear of the noise"
        return undecided(blank, runs, few_seeds(runs, what))
    entered, few = entering(runs)
    against = [item for item in judged if item.word == CONTRADICTED]
    complete = _both(judged) and all(item.word == SUPPORTED for item in judged)
    word = CONTRADICTED if against else SUPPORTED if complete else UNDECIDABLE
    worst = max(against or judged, key=lambda item: abs(item.mean.value - 1))
    return replace(
        blank,
        verdict=word,
        reason=_reason(word, worst),
        effect_meaning=f"{EFFECT}, {worst.kind} directions",
        effect=worst.mean.value,
        effect_low=worst.mean.low,
        effect_high=worst.mean.high,
        sample=sample(entered),
        assumptions=(*_assumptions(entered, kinds), *few),
        needed="" if word != UNDECIDABLE else _needed(judged),
    )


def _both(judged: list[_Judged]) -> bool:
    kinds = {item.kind for item in judged}
    return TRAJECTORY in kinds and bool(kinds & set(RANDOM))


def _reason(word: str, worst: _Judged) -> str:
    where = "beyond the crossover" if worst.beyond else "in the outer half of the radii"
    found = f"γ = {worst.mean.text()} along {worst.kind} directions {where}"
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


def _assumptions(runs: dict[str, xr.Dataset], kinds: list[str]) -> tuple[str, ...]:
    modes = sorted({str(run.attrs.get("landscape_mode", "unknown"))[:20] for run in runs.values()})
    return (
        f"directions: {', '.join(kinds)}",
        f"radii up to the distance travelled, evaluation noise subtracted in {_subtracted(runs)}",
        f"mode of batch normalization during scans: {', '.join(modes)}",
        "other directions of one landscape stand for other landscapes",
    )


def _subtracted(runs: dict[str, xr.Dataset]) -> str:
    count = sum("difference_noise" in run for run in runs.values())
    return plural(count, "run")
