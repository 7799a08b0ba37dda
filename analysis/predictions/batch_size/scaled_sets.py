"""Which runs of a sweep over batch sizes can be compared under a rule for the learning rate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ultraslow.analysis.predictions.evidence import Missing, unlike
from ultraslow.analysis.runs import (
    ITERATION,
    RATE,
    clock_values,
    constant_rate,
    label,
    sampling_share,
    seeds,
    total_distance,
)
from ultraslow.analysis.runs.arms import arms
from ultraslow.analysis.text import number, rounded

from .distance_ratio import common_window, last_common_decade

SEEDS = 2
# The claim is about the slow phase. In the first updates d ∝ learning rate at any batch size, so
# the earliest decade can only differ; the last one is compared.
DECADES = 2.0
RATE_TOLERANCE = 0.01
# Largest relative difference that counts as none.
MARGIN = 0.10


@dataclass(frozen=True)
class Claim:
    """That batch sizes coincide on a clock when rates follow a rule.

    Attributes:
        prediction: its number.
        scaling: the rule as recordings name it.
        power: of M in the rate.
        symbol: what the rate is proportional to.
        rule: the rule in words.
        clock: one of `clocks.CLOCKS`.
    """

    prediction: str
    scaling: str
    power: float
    symbol: str
    rule: str
    clock: str


SQUARE_ROOT = Claim("P2", "sqrt", 0.5, "√M", "√M rule", ITERATION)
LINEAR = Claim("P2'", "linear", 1.0, "M", "linear rule", RATE)


def scaled(runs: dict[str, xr.Dataset], claim: Claim) -> dict[str, xr.Dataset]:
    """The runs whose recordings name the rule."""
    return {name: run for name, run in runs.items() if str(label(run, "scaling")) == claim.scaling}


def with_enough_seeds(runs: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """The runs of arms with `SEEDS` seeds or more."""
    kept = [
        name
        for names in arms(runs).values()
        if seeds([runs[n] for n in names]) >= SEEDS
        for name in names
    ]
    return {name: runs[name] for name in kept}


def short_of_noise(runs: Mapping[str, xr.Dataset], *, margin: float) -> dict[int, float]:
    """Batch sizes too near the training set's for a rule that matches gradient noise.

    Rates ∝ √M or M match updates whose noise has the covariance Σ/M. Drawn without replacement it
    is (1 − M/D)·Σ/M, so that beside the smallest batch size M₀ the noise of an update falls short
    of the rule by the factor √((1 − M/D)/(1 − M₀/D)), which is 0 at M = D at any rate.

    Arguments:
        runs: recordings by node name; those without `data_size` count as drawn from unlimited
            data.
        margin: largest relative difference that counts as none.

    Returns:
        The factor, by batch size, where it alone makes a difference beyond the margin.
    """
    shares: dict[int, float] = {}
    for run in runs.values():
        size = int(run["batch_size"].values)
        shares[size] = min(sampling_share(run), shares.get(size, 1.0))
    first = shares.get(min(shares, default=0), 1.0)
    found = {size: math.sqrt(share / first) for size, share in shares.items() if share < first}
    return {size: found[size] for size in sorted(found) if found[size] * (1 + margin) < 1}


def without_short(
    runs: dict[str, xr.Dataset], short: Mapping[int, float]
) -> dict[str, xr.Dataset]:
    """The runs without those of batch sizes that `short_of_noise` names."""
    return {n: run for n, run in runs.items() if int(run["batch_size"].values) not in short}


def set_aside(short: Mapping[int, float], claim: Claim) -> tuple[str, ...]:
    """A note on each batch size that `short_of_noise` names."""
    return tuple(
        f"batch size {size} set aside: drawn without replacement, the noise of its updates is "
        f"√((1 − M/D)/(1 − M₀/D)) = {rounded(share)} of what rates ∝ {claim.symbol} stand for"
        for size, share in short.items()
    )


def smaller_batches(missing: Missing, short: Mapping[int, float], claim: Claim) -> Missing:
    """What is missing where batch sizes were set aside: arms far below the training set's size."""
    if not short:
        return missing
    told = "; ".join(set_aside(short, claim))
    return replace(
        missing,
        reason=f"{missing.reason} {told[:1].upper()}{told[1:]}.",
        needed=f"{missing.needed}, far below the size of the training set",
    )


def sizes(runs: dict[str, xr.Dataset]) -> tuple[int, ...]:
    """Batch sizes of the runs, in order."""
    return tuple(sorted({int(run["batch_size"].values) for run in runs.values()}))


def missing_arm(
    runs: dict[str, xr.Dataset], candidates: dict[str, xr.Dataset], claim: Claim
) -> Missing | None:
    """Why there are not enough arms, and what would complete them.

    Arguments:
        runs: all recordings.
        candidates: those under the rule, one a seed.
        claim: the claim.

    Returns:
        What is missing, or None.
    """
    if not candidates:
        found = sorted({str(run["scaling"].values) for run in runs.values() if "scaling" in run})
        listed = ", ".join(item[:40] for item in found) or "none recorded"
        return Missing(
            f"No run has the scaling rule {claim.scaling!r} (found: {listed}).",
            f"runs at two or more batch sizes with scaling {claim.scaling!r}, {SEEDS} seeds each",
        )
    known = sizes(candidates)
    if len(known) < 2:
        return Missing(
            f"Only batch size {known[0]} was run under the {claim.rule}.",
            f"a second batch size with the rate scaled by {claim.symbol}, {SEEDS} seeds or more",
        )
    if len(sizes(with_enough_seeds(candidates))) < 2:
        short = [str(arm) for arm, names in arms(candidates).items() if len(names) < SEEDS]
        return Missing(
            f"Fewer than two batch sizes have {SEEDS} seeds, and the seeds are the sample.",
            f"another seed at {', '.join(short)}" if short else "runs with different seeds",
        )
    return None


def unsound(runs: dict[str, xr.Dataset], claim: Claim) -> Missing | None:
    """Why the runs cannot be compared, and what would mend it; None when they can."""
    differing = unlike(runs)
    if differing is not None:
        return differing
    lacking = sorted({constant_rate(run).reason for run in runs.values()} - {""})
    if lacking:
        return Missing(
            f"In some runs {'; '.join(lacking)}.", "runs with a recorded rate that is positive"
        )
    unscaled = _departure_from_rule(runs, claim)
    if unscaled:
        return Missing(unscaled, f"runs whose rates do follow {claim.symbol}")
    return _short(runs, claim) or _unmeasured(runs, claim)


def _short(runs: dict[str, xr.Dataset], claim: Claim) -> Missing | None:
    first, last = common_window(runs)
    if last < 10 * first or last < 10**DECADES:
        return Missing(
            f"The runs share a constant learning rate only from iteration {first} to {last}.",
            f"training on with a constant learning rate until iteration "
            f"{max(int(10**DECADES), 10 * int(first))} or later",
        )
    first, last = common_window(runs, clock=claim.clock)
    if last < 10 * first:
        return Missing(
            f"The runs share less than a decade of {claim.clock}: "
            f"{number(first)} to {number(last)}.",
            "longer runs of the smaller batch sizes at their learning rates",
        )
    return None


def _unmeasured(runs: dict[str, xr.Dataset], claim: Claim) -> Missing | None:
    """Runs without a distance somewhere in the compared decade: diverged, or at rest."""
    times = last_common_decade(runs, clock=claim.clock)
    for run in runs.values():
        distance = total_distance(run)
        values = clock_values(run, claim.clock)
        inside = (values >= times[0]) & (values <= times[-1])
        found = distance.values[inside]
        wrong = np.flatnonzero(~(np.isfinite(found) & (found > 0)))
        if wrong.size:
            at = int(distance["iteration"].values[inside][wrong[0]])
            name = str(run["run"].values)[:80]
            return Missing(
                f"The distance of run {name} is {found[wrong[0]]:g} at iteration {at}.",
                "runs whose weights move and stay finite over the last common decade",
            )
    return None


def _departure_from_rule(runs: dict[str, xr.Dataset], claim: Claim) -> str:
    ratios = {arm.batch_size: arm.rate / arm.batch_size**claim.power for arm in arms(runs)}
    if len(ratios) < len(arms(runs)):
        return f"There are several learning rates at one batch size under the {claim.rule}."
    low, high = min(ratios.values()), max(ratios.values())
    if not low > 0 or high / low - 1 > RATE_TOLERANCE:
        listed = ", ".join(f"{size}: {value:.3g}" for size, value in ratios.items())
        return (
            f"The learning rates do not follow {claim.symbol} "
            f"(rate/{claim.symbol} by batch size: {listed})."
        )
    return ""
