"""P2: with learning rates ∝ √M the distance curves of all batch sizes coincide per iteration.

One number stands for a run: the mean of ln d over the last decade of iterations that all runs have
in common, in ln t. Runs are compared by ratios, seeds are the sample, and the variance is not
pooled over arms, since larger batches may spread less.
"""

import math
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from .curves import Arm, arms, constant_rate, differences, one_per_seed, seeds, total_distance
from .text import interval, rounded
from .verdict import CONTRADICTED, SUPPORTED, UNDECIDABLE, Sample, Verdict, decide

PREDICTION = "P2"
STATEMENT = "With learning rates ∝ √M, distances at all batch sizes coincide per iteration."
EFFECT = "ratio of distances, largest over smallest batch size, last common decade"
SCALING = "sqrt"
MARGIN = 0.10
SEEDS = 2
# The claim is about the slow phase. In the first updates d ∝ learning rate at any batch size, so
# the earliest decade can only differ; the last one is compared.
DECADES = 2.0
_RATE_TOLERANCE = 0.01
_TIMES = 3
_GRID = 33

Curves = dict[Arm, NDArray[np.float64]]


@dataclass(frozen=True)
class Ratio:
    """Logarithm of the ratio of two arms' distances, with its interval.

    Attributes:
        numerator: the arm above.
        denominator: the arm below.
        log: mean difference of ln d.
        low: lower end of its interval.
        high: upper end.
    """

    numerator: Arm
    denominator: Arm
    log: float
    low: float
    high: float

    def short(self) -> str:
        """The ratio with its interval."""
        ends = interval(math.exp(self.low), _safe_exp(self.high), show=rounded)
        return f"{rounded(math.exp(self.log))} {ends}"

    def __str__(self) -> str:
        sizes = f"batch {self.numerator.batch_size} over batch {self.denominator.batch_size}"
        return f"{self.short()} ({sizes})"


def collapse(
    runs: dict[str, xr.Dataset], *, level: float = 0.95, margin: float = MARGIN
) -> Verdict:
    """Verdict on P2.

    Supported when every pair of batch sizes agrees within `margin` at the start, in the middle and
    at the end of the last common decade. Contradicted when the ratio of the largest to the
    smallest batch size lies beyond the margin both over that decade and at its end, so that a
    difference that is dying out decides nothing. This pair is chosen beforehand; no correction for
    the number of pairs is due.

    References:
        Welch (1947), Biometrika 34, 28: two samples of unequal variance.

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
    times = _last_common_decade(chosen)
    return _judge(blank, _log_curves(chosen, times), times, level=level, margin=margin)


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
    first, last = _common_window(runs)
    if last < 10 * first or last < 10**DECADES:
        return (
            f"The runs share a constant learning rate only from iteration {first} to {last}.",
            f"runs with a constant rate up to iteration {max(int(10**DECADES), 10 * first)}",
        )
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


def _common_window(runs: dict[str, xr.Dataset]) -> tuple[int, int]:
    stretches = [constant_rate(run).iteration for run in runs.values()]
    if not all(item.size for item in stretches):
        return 1, 0
    return max(int(item[0]) for item in stretches), min(int(item[-1]) for item in stretches)


def _last_common_decade(runs: dict[str, xr.Dataset]) -> NDArray[np.float64]:
    last = _common_window(runs)[1]
    return np.geomspace(last / 10, last, _GRID)


def _log_curves(runs: dict[str, xr.Dataset], times: NDArray[np.float64]) -> Curves:
    """Each arm's ln d on common times, linear in ln t between records."""
    return {
        arm: np.stack([_log_distance(runs[name], times) for name in names])
        for arm, names in arms(runs).items()
    }


def _log_distance(run: xr.Dataset, times: NDArray[np.float64]) -> NDArray[np.float64]:
    distance = total_distance(run)
    known = (distance["iteration"].values >= 1) & (distance.values > 0)
    at = np.log(distance["iteration"].values[known])
    return np.interp(np.log(times), at, np.log(distance.values[known]))


def _judge(
    blank: Verdict, curves: Curves, times: NDArray[np.float64], *, level: float, margin: float
) -> Verdict:
    limit = math.log1p(margin)
    extremes = log_ratio(max(curves), min(curves), _means(curves), level=level)
    at_end = log_ratio(max(curves), min(curves), _at(curves, -1), level=level)
    everywhere = _pairs_in_time(curves, level=level)
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
        effect=math.exp(extremes.log),
        effect_low=math.exp(extremes.low),
        effect_high=_safe_exp(extremes.high),
        assumptions=(*blank.assumptions, _between_seeds(curves)),
        needed=_needed((at_end, widest), blank.sample.seeds, limit) if word == UNDECIDABLE else "",
    )


def _beyond(ratio: Ratio, limit: float) -> int:
    """1 above the margin, −1 below it, 0 where the interval touches it."""
    return int(ratio.low > limit) - int(ratio.high < -limit)


def _means(curves: Curves) -> Curves:
    return {arm: values.mean(axis=1) for arm, values in curves.items()}


def _at(curves: Curves, column: int) -> Curves:
    return {arm: values[:, column] for arm, values in curves.items()}


def _pairs_in_time(curves: Curves, *, level: float) -> list[Ratio]:
    columns = np.linspace(0, _GRID - 1, _TIMES).astype(int)
    return [
        log_ratio(above, below, _at(curves, column), level=level)
        for below, above in combinations(sorted(curves), 2)
        for column in columns
    ]


def log_ratio(numerator: Arm, denominator: Arm, logs: Curves, *, level: float) -> Ratio:
    """Ratio of two arms' distances from one ln d a run, by Welch's interval.

    Arguments:
        numerator: the arm above.
        denominator: the arm below.
        logs: ln d of each arm's runs, shape (run,).
        level: confidence level.

    Returns:
        The ratio's logarithm with its interval.
    """
    above, below = logs[numerator], logs[denominator]
    variance = [above.var(ddof=1) / above.size, below.var(ddof=1) / below.size]
    total = sum(variance)
    parts = variance[0] ** 2 / (above.size - 1) + variance[1] ** 2 / (below.size - 1)
    freedom = total**2 / parts if parts > 0 else float(min(above.size, below.size) - 1)
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * math.sqrt(total)
    middle = float(above.mean() - below.mean())
    return Ratio(numerator, denominator, middle, middle - half, middle + half)


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


def _needed(found: tuple[Ratio, Ratio], count: int, limit: float) -> str:
    """Seeds that would carry the less certain of two intervals off the margin."""
    ratio = max(found, key=lambda item: item.high - item.low)
    half, gap = (ratio.high - ratio.low) / 2, abs(limit - abs(ratio.log))
    more = math.ceil(count * (half / gap) ** 2) if gap > 0 else math.inf
    if more > 1000:
        return "hardly more seeds: a ratio lies at the margin itself"
    if more <= count:
        return "longer runs: the ratio still changes within the last decade"
    return f"about {more} seeds a batch size instead of {count}"


def _between_seeds(curves: Curves) -> str:
    spread = max(float(values.mean(axis=1).std(ddof=1)) for values in curves.values())
    return f"distances of equal runs differ by {spread:.2%} between seeds at most"


def _assumptions(
    candidates: dict[str, xr.Dataset], chosen: dict[str, xr.Dataset]
) -> tuple[str, ...]:
    few = sorted(set(_sizes(candidates)) - set(_sizes(chosen)))
    noted = [f"rates ∝ √M within {_RATE_TOLERANCE:.0%}, constant in the compared decade"]
    noted += [f"batch size {size} left out: fewer than {SEEDS} seeds" for size in few]
    return tuple(noted)


def _sizes(runs: dict[str, xr.Dataset]) -> tuple[int, ...]:
    return tuple(sorted({int(run["batch_size"].values) for run in runs.values()}))


def _sample(runs: dict[str, xr.Dataset]) -> Sample:
    members = [[runs[name] for name in names] for names in arms(runs).values()]
    return Sample(len(runs), min((seeds(arm) for arm in members), default=0), _sizes(runs))


def _safe_exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
