"""P2: with learning rates ∝ √M the distance curves of all batch sizes coincide per iteration.

One number stands for a run: the mean of ln d over the last decade of iterations that all runs have
in common, in ln t.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from diffusion.predictions import PREDICTIONS

from .curves import arms, constant_rate, differences, label, one_per_seed, seeds, total_distance
from .distance_ratio import (
    Curves,
    Ratio,
    at_column,
    common_window,
    last_common_decade,
    log_curves,
    log_ratio,
    means,
    pairs_in_time,
    ratio_of,
)
from .verdict import CONTRADICTED, SUPPORTED, UNDECIDABLE, Sample, Verdict, decide

PREDICTION = "P2"
STATEMENT = PREDICTIONS[PREDICTION].statement
EFFECT = "ratio of distances, largest over smallest batch size, last common decade"
SCALING = "sqrt"
MARGIN = 0.10
SEEDS = 2
# The claim is about the slow phase. In the first updates d ∝ learning rate at any batch size, so
# the earliest decade can only differ; the last one is compared.
DECADES = 2.0
_RATE_TOLERANCE = 0.01


def collapse(
    runs: dict[str, xr.Dataset], *, level: float = 0.95, margin: float = MARGIN
) -> Verdict:
    """Verdict on P2.

    Supported when every pair of batch sizes agrees within `margin` at the start, in the middle and
    at the end of the last common decade. Contradicted when the ratio of the largest to the
    smallest batch size lies beyond the margin both over that decade and at its end, so that a
    difference that is dying out decides nothing. This pair is chosen beforehand; no correction for
    the number of pairs is due.

    Arguments:
        runs: recordings by node name.
        level: confidence level.
        margin: largest relative difference of distances that counts as none.

    Returns:
        The verdict, with the ratio of the extremes.
    """
    candidates = one_per_seed({name: run for name, run in runs.items() if _is_scaled(run)})
    blank = Verdict(PREDICTION, STATEMENT, UNDECIDABLE, "", EFFECT, sample=_sample(candidates))
    missing = _missing_arm(runs, candidates)
    if missing is not None:
        return replace(blank, reason=missing[0], needed=missing[1])
    chosen = _with_enough_seeds(candidates)
    blank = replace(blank, sample=_sample(chosen), assumptions=_assumptions(candidates, chosen))
    unsound = _unsound(chosen)
    if unsound is not None:
        return replace(blank, reason=unsound[0], needed=unsound[1])
    times = last_common_decade(chosen)
    return _judge(blank, log_curves(chosen, times), times, level=level, margin=margin)


def _is_scaled(run: xr.Dataset) -> bool:
    return "scaling" in run and str(run["scaling"].values) == SCALING


def _with_enough_seeds(runs: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    kept = [
        name
        for names in arms(runs).values()
        if seeds([runs[n] for n in names]) >= SEEDS
        for name in names
    ]
    return {name: runs[name] for name in kept}


def _missing_arm(
    runs: dict[str, xr.Dataset], candidates: dict[str, xr.Dataset]
) -> tuple[str, str] | None:
    """Why there are not enough arms, and what would complete them."""
    if not candidates:
        found = sorted({str(run["scaling"].values) for run in runs.values() if "scaling" in run})
        listed = ", ".join(item[:40] for item in found) or "none recorded"
        return (
            f"No run has the scaling rule {SCALING!r} (found: {listed}).",
            f"runs at two or more batch sizes with scaling {SCALING!r}, {SEEDS} seeds each",
        )
    sizes = _sizes(candidates)
    if len(sizes) < 2:
        return (
            f"Only batch size {sizes[0]} was run under the √M rule.",
            f"a second batch size with the rate scaled by √M, {SEEDS} seeds or more",
        )
    if len(_sizes(_with_enough_seeds(candidates))) < 2:
        short = [str(arm) for arm, names in arms(candidates).items() if len(names) < SEEDS]
        return (
            f"Fewer than two batch sizes have {SEEDS} seeds, and the seeds are the sample.",
            f"another seed at {', '.join(short)}" if short else "runs with different seeds",
        )
    return None


def _unsound(runs: dict[str, xr.Dataset]) -> tuple[str, str] | None:
    """Why the runs cannot be compared, and what would mend it."""
    unlike = differences(runs.values())
    if unlike:
        reason = f"The runs differ in what they should share ({'; '.join(unlike)})."
        return reason, "test the sets of equal runs apart"
    if any(constant_rate(run).reason for run in runs.values()):
        return "The learning rate of some runs was not recorded.", "runs with a recorded rate"
    unscaled = _departure_from_rule(runs)
    if unscaled:
        return unscaled, "runs whose rates do follow √M"
    first, last = common_window(runs)
    if last < 10 * first or last < 10**DECADES:
        return (
            f"The runs share a constant learning rate only from iteration {first} to {last}.",
            f"training on with a constant learning rate until iteration "
            f"{max(int(10**DECADES), 10 * first)} or later",
        )
    return _unmeasured(runs)


def _unmeasured(runs: dict[str, xr.Dataset]) -> tuple[str, str] | None:
    """Runs without a distance somewhere in the compared decade: diverged, or at rest."""
    times = last_common_decade(runs)
    for run in runs.values():
        distance = total_distance(run)
        inside = (distance["iteration"] >= times[0]) & (distance["iteration"] <= times[-1])
        values = distance.values[inside.values]
        wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if wrong.size:
            at = int(distance["iteration"].values[inside.values][wrong[0]])
            name = str(run["run"].values)[:80]
            reason = f"The distance of run {name} is {values[wrong[0]]:g} at iteration {at}."
            return reason, "runs whose weights move and stay finite over the last common decade"
    return None


def _departure_from_rule(runs: dict[str, xr.Dataset]) -> str:
    ratios = {arm.batch_size: arm.rate / math.sqrt(arm.batch_size) for arm in arms(runs)}
    if len(ratios) < len(arms(runs)):
        return "There are several learning rates at one batch size under the √M rule."
    low, high = min(ratios.values()), max(ratios.values())
    if not low > 0 or high / low - 1 > _RATE_TOLERANCE:
        listed = ", ".join(f"{size}: {value:.3g}" for size, value in ratios.items())
        return f"The learning rates do not follow √M (rate/√M by batch size: {listed})."
    return ""


def _judge(
    blank: Verdict, curves: Curves, times: NDArray[np.float64], *, level: float, margin: float
) -> Verdict:
    limit = math.log1p(margin)
    extremes = log_ratio(max(curves), min(curves), means(curves), level=level)
    at_end = log_ratio(max(curves), min(curves), at_column(curves, -1), level=level)
    everywhere = pairs_in_time(curves, level=level)
    word = UNDECIDABLE
    if all(decide(ratio.low, ratio.high, limit) == SUPPORTED for ratio in everywhere):
        word = SUPPORTED
    elif _beyond(extremes, limit) * _beyond(at_end, limit) > 0:
        word = CONTRADICTED
    widest = max(everywhere, key=lambda ratio: max(abs(ratio.low), abs(ratio.high)))
    span = f"iterations {times[0]:.0f} to {times[-1]:.0f}"
    return replace(
        blank,
        verdict=word,
        reason=_reason(word, (extremes, at_end, widest), span=span, margin=margin),
        effect=ratio_of(extremes.log),
        effect_low=ratio_of(extremes.low),
        effect_high=ratio_of(extremes.high),
        assumptions=(*blank.assumptions, _between_seeds(curves)),
        needed=_needed((extremes, at_end), everywhere, blank.sample.seeds, limit=limit)
        if word == UNDECIDABLE
        else "",
    )


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


def _between_seeds(curves: Curves) -> str:
    spread = max(float(values.mean(axis=1).std(ddof=1)) for values in curves.values())
    return f"distances of equal runs differ by {spread:.2%} between seeds at most"


def _assumptions(
    candidates: dict[str, xr.Dataset], chosen: dict[str, xr.Dataset]
) -> tuple[str, ...]:
    few = sorted(set(_sizes(candidates)) - set(_sizes(chosen)))
    noted = [f"rates ∝ √M within {_RATE_TOLERANCE:.0%}, constant in the compared decade"]
    noted += [_ghost_batches(chosen)]
    noted += [f"batch size {size} left out: fewer than {SEEDS} seeds" for size in few]
    return tuple(noted)


def _ghost_batches(runs: dict[str, xr.Dataset]) -> str:
    """The claim is about ghost batch normalization; recordings may not know of any."""
    sizes = {label(run, "ghost_size", None) for run in runs.values()}
    if None in sizes:
        return "ghost batch size not recorded, so that this part of the claim is not checked"
    return f"batch statistics over {', '.join(map(str, sorted(sizes, key=str)))} samples"


def _sizes(runs: dict[str, xr.Dataset]) -> tuple[int, ...]:
    return tuple(sorted({int(run["batch_size"].values) for run in runs.values()}))


def _sample(runs: dict[str, xr.Dataset]) -> Sample:
    members = [[runs[name] for name in names] for names in arms(runs).values()]
    return Sample(len(runs), min((seeds(arm) for arm in members), default=0), _sizes(runs))
