"""P2 and P2': with learning rates that follow the batch size, distance curves coincide.

P2: with η ∝ √M per iteration. P2': with η ∝ M in the summed learning rate, where the log-slopes
are equal as well. One number stands for a run: the mean of ln d over the last decade that all runs
have in common, in the logarithm of time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .clocks import ITERATION
from .curves import label, one_per_seed
from .decision import CONTRADICTED, SUPPORTED, UNDECIDABLE, decide
from .distance_ratio import (
    Curves,
    Ratio,
    at_column,
    last_common_decade,
    log_curves,
    log_ratio,
    log_slopes,
    means,
    pairs_in_time,
    pairs_of,
    ratio_of,
)
from .excess import explained_excess
from .grounds import sample, undecided
from .out_of_seed import best_clock
from .scaled_sets import (
    LINEAR,
    MARGIN,
    RATE_TOLERANCE,
    SEEDS,
    SQUARE_ROOT,
    Claim,
    missing_arm,
    scaled,
    set_aside,
    short_of_noise,
    sizes,
    smaller_batches,
    unsound,
    with_enough_seeds,
    without_short,
)
from .slope_law import slope_law
from .text import number
from .verdict import Verdict, question

EFFECT = "ratio of distances, largest over smallest batch size, last common decade"
# A slope over one decade is known a few times less well than the distance itself.
SLOPE_MARGIN = 0.25


def collapse(
    runs: dict[str, xr.Dataset], *, level: float = 0.95, margin: float = MARGIN
) -> Verdict:
    """Verdict on P2.

    Supported when every pair of batch sizes agrees within `margin` at the start, in the middle and
    at the end of the last common decade. Contradicted when the ratio of the largest to the
    smallest batch size lies beyond the margin both over that decade and at its end, so that a
    difference that is dying out decides nothing. This pair is chosen beforehand; no correction for
    the number of pairs is due.

    The claim is about gradient noise, and at batch sizes near the training set's there is less of
    it than √M presumes: they are set aside where that alone exceeds the margin (`short_of_noise`).

    Arguments:
        runs: recordings by node name.
        level: confidence level.
        margin: largest relative difference of distances that counts as none.

    Returns:
        The verdict, with the ratio of the extremes.
    """
    return _collapse(runs, SQUARE_ROOT, level=level, margin=margin)


def collapse_in_rate(
    runs: dict[str, xr.Dataset], *, level: float = 0.95, margin: float = MARGIN
) -> Verdict:
    """Verdict on P2'.

    As `collapse`, over the summed learning rate and under the linear rule, whose temperature has
    the factor 1 − M/D as well. It is supported only if
    the log-slopes agree within `SLOPE_MARGIN` as well, and contradicted also when those of the
    largest and the smallest batch size differ by more.

    Arguments:
        runs: recordings by node name.
        level: confidence level.
        margin: largest relative difference of distances that counts as none.

    Returns:
        The verdict, with the ratio of the extremes' distances.
    """
    return _collapse(runs, LINEAR, level=level, margin=margin)


def _collapse(
    runs: dict[str, xr.Dataset], claim: Claim, *, level: float, margin: float
) -> Verdict:
    of_rule = one_per_seed(scaled(runs, claim))
    short = short_of_noise(of_rule, margin=margin)
    candidates = without_short(of_rule, short)
    slopes = slope_law(runs, level=level)
    blank = question(claim.prediction, EFFECT)
    if slopes.arms:  # told even where the verdict lacks an arm: it rests on other runs as well
        blank = replace(blank, assumptions=(slopes.text(claim.power),))
    missing = missing_arm(runs, candidates, claim)
    if missing is not None:
        return undecided(blank, candidates, smaller_batches(missing, short, claim))
    chosen = with_enough_seeds(candidates)
    missing = unsound(chosen, claim)
    if missing is not None:
        return undecided(blank, chosen, missing)
    noted = (*_assumptions(candidates, chosen, claim), *set_aside(short, claim))
    noted = (*noted, *_explanations(chosen, level=level), slopes.text(claim.power))
    blank = replace(blank, sample=sample(chosen), assumptions=noted)
    times = last_common_decade(chosen, clock=claim.clock)
    found = _compare(log_curves(chosen, times, clock=claim.clock), level=level)
    verdict = _judge(blank, found, _span(times, claim), margin=margin)
    if claim.clock == ITERATION:
        return verdict
    return _with_slopes(verdict, log_slopes(chosen, times, clock=claim.clock), level=level)


@dataclass(frozen=True)
class _Ratios:
    """Ratios of distances: of the extremes over the decade and at its end, and of all pairs."""

    extremes: Ratio
    at_end: Ratio
    everywhere: list[Ratio]
    spread: float


def _compare(curves: Curves, *, level: float) -> _Ratios:
    largest, smallest = max(curves), min(curves)
    return _Ratios(
        log_ratio(largest, smallest, means(curves), level=level),
        log_ratio(largest, smallest, at_column(curves, -1), level=level),
        pairs_in_time(curves, level=level),
        max(float(values.mean(axis=1).std(ddof=1)) for values in curves.values()),
    )


def _judge(blank: Verdict, found: _Ratios, span: str, *, margin: float) -> Verdict:
    limit = math.log1p(margin)
    extremes, at_end = found.extremes, found.at_end
    word = UNDECIDABLE
    if all(decide(ratio.low, ratio.high, limit) == SUPPORTED for ratio in found.everywhere):
        word = SUPPORTED
    elif _beyond(extremes, limit) * _beyond(at_end, limit) > 0:
        word = CONTRADICTED
    widest = max(found.everywhere, key=lambda ratio: max(abs(ratio.low), abs(ratio.high)))
    needed = _needed((extremes, at_end), found.everywhere, blank.sample.seeds, limit=limit)
    between = f"distances of equal runs differ by {found.spread:.2%} between seeds at most"
    return replace(
        blank,
        verdict=word,
        reason=_reason(word, (extremes, at_end, widest), span=span, margin=margin),
        effect=ratio_of(extremes.log),
        effect_low=ratio_of(extremes.low),
        effect_high=ratio_of(extremes.high),
        assumptions=(*blank.assumptions, between),
        needed=needed if word == UNDECIDABLE else "",
    )


def _span(times: NDArray[np.float64], claim: Claim) -> str:
    if claim.clock == ITERATION:
        return f"iterations {times[0]:.0f} to {times[-1]:.0f}"
    return f"{claim.clock} from {number(times[0])} to {number(times[-1])}"


def _with_slopes(verdict: Verdict, slopes: Curves, *, level: float) -> Verdict:
    """The verdict on distances and slopes together."""
    if not all(np.isfinite(values).all() for values in slopes.values()):
        if verdict.verdict != SUPPORTED:
            return verdict
        reason = f"{verdict.reason} The distance of some runs falls, and has no log-slope."
        return replace(verdict, verdict=UNDECIDABLE, reason=reason, needed=_LONGER)
    limit = math.log1p(SLOPE_MARGIN)
    extremes = log_ratio(max(slopes), min(slopes), slopes, level=level)
    agree = all(
        decide(ratio.low, ratio.high, limit) == SUPPORTED
        for ratio in pairs_of(slopes, level=level)
    )
    word = verdict.verdict
    if _beyond(extremes, limit):
        word = CONTRADICTED
    elif word == SUPPORTED and not agree:
        word = UNDECIDABLE
    needed = (verdict.needed or _LONGER) if word == UNDECIDABLE else ""
    reason = f"{verdict.reason} The ratio of log-slopes is {extremes}"
    reason += f", against a margin of ±{SLOPE_MARGIN:.0%}."
    return replace(verdict, verdict=word, reason=reason, needed=needed)


_LONGER = "more seeds, or longer runs whose log-slopes are better known"


def _explanations(runs: dict[str, xr.Dataset], *, level: float) -> list[str]:
    """What else the set says: the clock that collapses best, and the drift at large batches."""
    return [text for text in (best_clock(runs, level=level), explained_excess(runs)) if text]


def _beyond(ratio: Ratio, limit: float) -> int:
    """1 above the margin, −1 below it, 0 where the interval touches it."""
    return int(ratio.low > limit) - int(ratio.high < -limit)


def _reason(word: str, found: tuple[Ratio, Ratio, Ratio], *, span: str, margin: float) -> str:
    extremes, at_end, widest = found
    if word == SUPPORTED:
        return (
            f"Over {span} every pair of batch sizes agrees within ±{margin:.0%}; "
            f"the least certain ratio is {widest}."
        )
    mean = f"Over {span} the ratio of distances is {extremes}, at the end {at_end.short()}"
    if word == CONTRADICTED:
        return f"{mean}: beyond ±{margin:.0%}."
    rest = f"neither within ±{margin:.0%} nor beyond it throughout"
    return f"{mean}: {rest}; of all pairs the farthest apart is {widest}."


def _needed(
    extremes: tuple[Ratio, Ratio], everywhere: Sequence[Ratio], count: int, *, limit: float
) -> str:
    """What would decide it: seeds where sharper intervals would, longer runs where they would not.

    With ever more seeds the intervals shrink to their centres. If these lie on both sides of the
    margin, no number of seeds leads to a verdict.
    """
    together = all(abs(ratio.log) < limit for ratio in everywhere)
    apart = min(abs(r.log) for r in extremes) > limit and extremes[0].log * extremes[1].log > 0
    if not (together or apart):
        return "longer runs, as the ratio still changes within the last decade"
    least = everywhere if together else extremes
    more = max(_seeds(ratio, count, limit) for ratio in least)
    if more > 1000:
        return "hardly more seeds: a ratio lies at the margin itself"
    return f"about {math.ceil(round(more, 6))} seeds a batch size instead of {count}"


def _seeds(ratio: Ratio, count: int, limit: float) -> float:
    """Seeds that would carry an interval off the margin, its centre staying where it is."""
    half, gap = (ratio.high - ratio.low) / 2, abs(limit - abs(ratio.log))
    return count * max((half / gap) ** 2, 1.0) if gap > 0 else math.inf


def _assumptions(
    candidates: dict[str, xr.Dataset], chosen: dict[str, xr.Dataset], claim: Claim
) -> tuple[str, ...]:
    few = sorted(set(sizes(candidates)) - set(sizes(chosen)))
    rule = f"rates ∝ {claim.symbol} within {RATE_TOLERANCE:.0%}"
    noted = [f"{rule}, constant in the compared decade"]
    noted += [_ghost_batches(chosen)] if claim.clock == ITERATION else []
    noted += [f"batch size {size} left out: fewer than {SEEDS} seeds" for size in few]
    return tuple(noted)


def _ghost_batches(runs: dict[str, xr.Dataset]) -> str:
    """The claim is about ghost batch normalization; recordings may not know of any."""
    sizes = {label(run, "ghost_size", None) for run in runs.values()}
    if None in sizes:
        return "ghost batch size not recorded, so that this part of the claim is not checked"
    return f"batch statistics over {', '.join(map(str, sorted(sizes, key=str)))} samples"
