"""Sets of runs at several batch sizes under a rule for the learning rate, and their curves.

Runs are compared on the last decade of iterations that all of them have in common, in ln t, and by
ratios. Seeds are the sample, and the variance is not pooled over arms, since larger batches may
spread less.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import Interval, unpaired
from ultraslow.analysis.runs import (
    GRID,
    ITERATION,
    RATE,
    Arm,
    clock_values,
    common_window,
    constant_rate,
    distances,
    label,
    last_common_decade,
    log_distance,
    measured_until,
    sampling_share,
    split_by_rate,
)
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number, plural, rounded

Array = NDArray[np.float64]

# Fewest seeds from which anything is known of the spread between them.
LEAST_SEEDS = 2
# The claim is about the slow phase. In the first updates d ∝ learning rate at any batch size, so
# the earliest decade can only differ; the last one is compared.
DECADES = 2.0
RATE_TOLERANCE = 0.01
# Largest relative difference that counts as none.
MARGIN = 0.10
TIMES = 3  # start, middle and end of the decade


@dataclass(frozen=True)
class Claim:
    """That batch sizes coincide on a clock when rates follow a rule.

    Attributes:
        prediction: its number.
        scaling: the rule as recordings name it.
        power: of M in the rate.
        symbol: what the rate is proportional to.
        rule: the rule in words.
        clock: one of `CLOCKS`.
    """

    prediction: str
    scaling: str
    power: float
    symbol: str
    rule: str
    clock: str


SQUARE_ROOT = Claim("P2", "sqrt", 0.5, "√M", "√M rule", ITERATION)
LINEAR = Claim("P2'", "linear", 1.0, "M", "linear rule", RATE)


@dataclass(frozen=True)
class Curves:
    """What stands for the distances of each arm's runs: curves, or one number a run.

    Attributes:
        logs: ln d, or ln of a slope, of each arm's runs, shape (run, time) or (run,).
        level: confidence level of ratios.
    """

    logs: Mapping[Arm, Array]
    level: float

    def mean(self) -> "Curves":
        """The mean over time, one number a run."""
        return self._each(lambda values: values.mean(axis=1))

    def at(self, column: int) -> "Curves":
        """One number a run: that at one of the times."""
        return self._each(lambda values: values[:, column])

    def _each(self, number: Callable[[Array], Array]) -> "Curves":
        return replace(self, logs={arm: number(values) for arm, values in self.logs.items()})

    def extremes(self) -> Interval:
        """Ratio of the largest to the smallest batch size, from one number a run."""
        return self.ratio(max(self.logs), min(self.logs))

    def ratio(self, above: Arm, below: Arm) -> Interval:
        """Logarithm of the ratio of two arms' distances, from one number a run.

        ln d̄ − ln d̄′ with Welch's interval (`unpaired`).
        """
        name = f"batch {above.batch_size} over batch {below.batch_size}"
        found = unpaired(self.logs[above], self.logs[below]).interval(self.level)
        return replace(found, name=name)

    def pairs(self) -> list[Interval]:
        """Ratios of all pairs of arms from one number a run."""
        return [self.ratio(above, below) for below, above in combinations(sorted(self.logs), 2)]

    def pairs_in_time(self) -> list[Interval]:
        """Ratios of all pairs at the start, in the middle and at the end of the times."""
        columns = np.linspace(0, GRID - 1, TIMES).astype(int)
        together = [self.at(column).pairs() for column in columns]
        return [ratio for pair in zip(*together, strict=True) for ratio in pair]


def of_rule(study: Study, claim: Claim) -> Study:
    """The runs whose rate follows a rule, by name or by number, one a seed.

    At its base batch size every rule asks for the same rate, so that a run there which was
    recorded under another rule serves this one as well. It does where no run of the rule's own
    name has its batch size, its rate over M^power is theirs within `RATE_TOLERANCE`, and no
    noise was added to its gradients.

    Arguments:
        study: the runs.
        claim: the claim.
    """
    own = study.where(lambda run: str(label(run, "scaling")) == claim.scaling)
    constants = {arm.rate / arm.batch_size**claim.power for arm in own.arms if arm.rate > 0}
    equal = {
        name
        for arm, names in study.arms.items()
        if arm.batch_size not in own.batch_sizes and arm.noise == 0
        for name in names
        if any(
            abs(arm.rate / arm.batch_size**claim.power / one - 1) <= RATE_TOLERANCE
            for one in constants
        )
    }
    return study.part(name for name in study.runs if name in own.runs or name in equal).distinct


def log_curves(study: Study, times: Array, *, clock: str = ITERATION) -> Curves:
    """Each arm's ln d on common times, linear in the logarithm of time between records.

    Arguments:
        study: the runs.
        times: of the clock, shape (time,).
        clock: one of `CLOCKS`.

    Returns:
        ln d of each arm's runs, shape (run, time).
    """
    logs = {
        arm: np.stack([log_distance(study.runs[name], times, clock=clock) for name in names])
        for arm, names in study.arms.items()
    }
    return Curves(logs, study.level)


def log_slopes(study: Study, times: Array, *, clock: str = ITERATION) -> Curves:
    """Logarithm of each run's slope dd/d ln t over the times; NaN where the distance falls."""
    centred = np.log(times) - np.log(times).mean()
    logs = {}
    for arm, curves in log_curves(study, times, clock=clock).logs.items():
        slopes = np.exp(curves) @ centred / (centred @ centred)
        logs[arm] = np.log(slopes, out=np.full_like(slopes, np.nan), where=slopes > 0)
    return Curves(logs, study.level)


def ratio_of(value: float) -> float:
    """The ratio behind its logarithm; infinite where it would overflow."""
    return math.exp(value) if value < 700 else math.inf


def short_of_noise(study: Study, *, margin: float = MARGIN) -> dict[int, float]:
    """Batch sizes too near the training set's for a rule that matches gradient noise.

    Rates ∝ √M or M match updates whose noise has the covariance Σ/M. Drawn without replacement it
    is (1 − M/D)·Σ/M, so that beside the smallest batch size M₀ the noise of an update falls short
    of the rule by the factor √((1 − M/D)/(1 − M₀/D)), which is 0 at M = D at any rate.

    Arguments:
        study: the runs; those without `data_size` count as drawn from unlimited data.
        margin: largest relative difference that counts as none.

    Returns:
        The factor, by batch size, where it alone makes a difference beyond the margin.
    """
    shares: dict[int, float] = {}
    for run in study.runs.values():
        size = int(run.variables["batch_size"].values)
        shares[size] = min(sampling_share(run), shares.get(size, 1.0))
    first = shares.get(min(shares, default=0), 1.0)
    found = {size: math.sqrt(share / first) for size, share in shares.items() if share < first}
    return {size: found[size] for size in sorted(found) if found[size] * (1 + margin) < 1}


def without_short(study: Study, short: Mapping[int, float]) -> Study:
    """The runs without those of batch sizes that `short_of_noise` names."""
    return study.where(lambda run: int(run.variables["batch_size"].values) not in short)


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


def lacking_sizes(study: Study, candidates: Study, claim: Claim) -> Missing | None:
    """Why there are not enough arms, and what would complete them.

    Arguments:
        study: all runs.
        candidates: those under the rule, one a seed.
        claim: the claim.

    Returns:
        What is missing, or None.
    """
    if not candidates.runs:
        runs = study.runs.values()
        found = sorted({str(run.variables["scaling"].values) for run in runs if "scaling" in run})
        listed = ", ".join(item[:40] for item in found) or "none recorded"
        return Missing(
            f"No run has the scaling rule {claim.scaling!r} (found: {listed}).",
            f"runs at two or more batch sizes with scaling {claim.scaling!r}, {LEAST_SEEDS} seeds "
            "each",
        )
    known = candidates.batch_sizes
    if len(known) < 2:
        return Missing(
            f"Only batch size {known[0]} was run under the {claim.rule}.",
            f"a second batch size with the rate scaled by {claim.symbol}, {LEAST_SEEDS} seeds or "
            "more",
        )
    if len(candidates.of_arms(LEAST_SEEDS).batch_sizes) < 2:
        short = [str(arm) for arm, names in candidates.arms.items() if len(names) < LEAST_SEEDS]
        split = split_by_rate(candidates.arms, LEAST_SEEDS)
        return Missing(
            f"Fewer than two batch sizes have {LEAST_SEEDS} seeds, and the seeds are the sample."
            f"{f' {split}' if split else ''}",
            f"another seed at each of {', '.join(short)}" if short else "runs with other seeds",
        )
    return None


def sound_part(study: Study, claim: Claim) -> tuple[Study, tuple[str, ...]]:
    """The arms that can be compared, and a note on each that cannot be and would block the others.

    Left out are arms off the rule that most batch sizes follow, runs that end before the slow
    phase, and runs without a distance somewhere in the decade that is compared; nothing is where
    fewer than two batch sizes would be left.

    Arguments:
        study: arms of `LEAST_SEEDS` or more under the rule.
        claim: the claim.

    Returns:
        The runs, and the notes.
    """
    notes: list[str] = []
    for cut, why in (
        (_of_one_rule, f"off the {claim.rule} of the others"),
        (_long_enough, f"over before iteration {int(10**DECADES)}, or within a decade"),
        (_measured, "without a distance in the decade that is compared"),
    ):
        kept = cut(study, claim).of_arms(LEAST_SEEDS)
        if len(kept.batch_sizes) < 2 or len(kept.runs) == len(study.runs):
            continue
        gone = {arm: [n for n in names if n not in kept.runs] for arm, names in study.arms.items()}
        notes += [
            f"{plural(len(names), 'run')} left out at {arm} and rate {number(arm.rate)}: {why}"
            for arm, names in gone.items()
            if names
        ]
        study = kept
    return study, tuple(notes)


def _of_one_rule(study: Study, claim: Claim) -> Study:
    """The arms of one constant rate/M^power: that of most batch sizes, of equals of most runs."""
    constants = {arm: arm.rate / arm.batch_size**claim.power for arm in study.arms}
    groups = [
        [arm for arm, other in constants.items() if 0 <= other / one - 1 <= RATE_TOLERANCE]
        for one in constants.values()
        if one > 0
    ]
    if not groups:
        return study

    def rank(group: list[Arm]) -> tuple[int, int, float]:
        runs = sum(len(study.arms[arm]) for arm in group)
        return len({arm.batch_size for arm in group}), runs, -constants[group[0]]

    return study.part(name for arm in max(groups, key=rank) for name in study.arms[arm])


def _long_enough(study: Study, claim: Claim) -> Study:
    """The runs that reach the slow phase at a constant rate, over a decade or more."""

    def long(run: xr.Dataset) -> bool:
        times = constant_rate(run).iteration
        return bool(times.size and times[-1] >= max(10**DECADES, 10 * times[0]))

    return study.where(long)


def _measured(study: Study, claim: Claim) -> Study:
    """The runs with a distance throughout the compared decade."""
    first, last = common_window(study.runs, clock=claim.clock)
    if last < 10 * first:
        return study
    times = last_common_decade(study.runs, clock=claim.clock)
    early = _lost_early(study)
    return study.part(
        name
        for name, run in study.runs.items()
        if name not in early and not _lost(run, times, claim).size
    )


def _lost_early(study: Study) -> set[str]:
    """Runs whose distance is lost before the iteration that all would reach without that."""
    stretches = {name: constant_rate(run) for name, run in study.runs.items()}
    last = min(one.lost or one.iteration[-1] for one in stretches.values())
    return {name for name, one in stretches.items() if one.lost and one.iteration[-1] < last}


def _lost(run: xr.Dataset, times: Array, claim: Claim) -> NDArray[np.int64]:
    """Places of records in the compared decade without a finite, positive distance."""
    found = distances(run)
    values = clock_values(run, claim.clock)
    inside = (values >= times[0]) & (values <= times[-1])
    return np.flatnonzero(inside & ~(np.isfinite(found) & (found > 0)))


def unsound(study: Study, claim: Claim) -> Missing | None:
    """Why the runs cannot be compared, and what would mend it; None when they can."""
    if study.unlike is not None:
        return study.unlike
    lacking = sorted({constant_rate(run).reason for run in study.runs.values()} - {""})
    if lacking:
        return Missing(
            f"In some runs {'; '.join(lacking)}.", "runs with a recorded rate that is positive"
        )
    unscaled = _departure_from_rule(study, claim)
    if unscaled:
        return Missing(unscaled, f"runs whose rates do follow {claim.symbol}")
    return _short(study, claim) or _unmeasured(study, claim)


def _short(study: Study, claim: Claim) -> Missing | None:
    first, last = common_window(study.runs)
    if last < 10 * first or last < 10**DECADES:
        return Missing(
            f"The runs share a constant learning rate only from iteration {first} to {last}.",
            study.longer(max(int(10**DECADES), 10 * int(first))),
            float(last),
            float(max(10**DECADES, 10 * first)),
            "iterations",
        )
    first, last = common_window(study.runs, clock=claim.clock)
    if last < 10 * first:
        return Missing(
            f"The runs share less than a decade of {claim.clock}: "
            f"{number(first)} to {number(last)}.",
            "longer runs of the smaller batch sizes at their learning rates",
            math.log10(last / first) if last > first > 0 else 0.0,
            1.0,
            "decades",
        )
    return None


def _unmeasured(study: Study, claim: Claim) -> Missing | None:
    """Runs without a distance somewhere in the compared decade: diverged, or at rest."""
    times, early = last_common_decade(study.runs, clock=claim.clock), _lost_early(study)
    for node, run in study.runs.items():
        lost = _lost(run, times, claim)
        if node in early:
            lost = np.flatnonzero(run.variables["iteration"].values > measured_until(run))
        if lost.size:
            at = int(run.variables["iteration"].values[lost[0]])
            value = distances(run)[lost[0]]
            name = str(run.variables["run"].values)[:80]
            return Missing(
                f"The distance of run {name} is {value:g} at iteration {at}.",
                f"{LEAST_SEEDS} runs a batch size whose distance is known up to iteration "
                f"{number(common_window(study.runs)[1])}",
            )
    return None


def _departure_from_rule(study: Study, claim: Claim) -> str:
    ratios = {arm.batch_size: arm.rate / arm.batch_size**claim.power for arm in study.arms}
    if len(ratios) < len(study.arms):
        return f"There are several learning rates at one batch size under the {claim.rule}."
    low, high = min(ratios.values()), max(ratios.values())
    if not low > 0 or high / low - 1 > RATE_TOLERANCE:
        listed = ", ".join(f"{size}: {value:.3g}" for size, value in ratios.items())
        return (
            f"The learning rates do not follow {claim.symbol} "
            f"(rate/{claim.symbol} by batch size: {listed})."
        )
    return ""
