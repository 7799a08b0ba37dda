"""P1: in the phase of constant learning rate the distance grows like the logarithm of t.

The exponent p of the growth family is 0 for that law. The sample are the seeds of an arm: with
four or more, the interval of an arm's mean exponent comes from the spread between its runs, which
needs no model of the noise within a run. With fewer, each run's own interval is used; it speaks of
that trajectory and not of the next seed.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from scipy import stats

from .curves import Arm, arms, differences, one_per_seed, seeds
from .fits import fit_totals
from .text import interval, number, rounded
from .verdict import CONTRADICTED, SUPPORTED, UNDECIDABLE, Sample, Verdict, decide

PREDICTION = "P1"
STATEMENT = "With a constant learning rate the distance from the initial weights grows like log t."
EFFECT = "exponent p of the distance (0: log t, 0.5: diffusion, 1: ballistic)"
# A law of exponent 0.05 differs from the logarithm by 12 % of D one decade beyond three decades of
# data; below that, records of a few decades and per-cent noise cannot tell them apart.
MARGIN = 0.05
DECADES = 2.5
SEEDS = 4
# Smallest exponent told from 0 with 80 % power is 2.8 standard errors; an interval inside the
# margin with 80 % power needs a margin of 1.96 + 1.28 of them.
_DETECTABLE, _EQUIVALENCE = 2.8, 3.24
# se ∝ (σ/D)/(Λ √n) with D = bΛ and n ∝ Λ, hence se ∝ Λ^−2.5 in the decades Λ.
_DECADES_POWER = 2.5

# Critical values are simulated up to this level.
_HIGHEST = 0.99


@dataclass(frozen=True)
class Estimate:
    """An exponent with its interval, of an arm or of a run.

    Attributes:
        name: whose it is, in words.
        exponent: p.
        low: lower end of the interval.
        high: upper end.
        error: standard error.
        decades: of growth beyond the onset.
        seeds: number of runs behind it.
    """

    name: str
    exponent: float
    low: float
    high: float
    error: float
    decades: float
    seeds: int = 1

    @property
    def farthest(self) -> float:
        """Distance of the interval's far end from 0."""
        return max(abs(self.low), abs(self.high))


def log_growth(
    runs: dict[str, xr.Dataset],
    fits: xr.Dataset | None = None,
    *,
    level: float = 0.95,
    margin: float = MARGIN,
) -> Verdict:
    """Verdict on P1.

    Supported when the interval of every arm lies inside ±`margin`; contradicted when that of one
    arm, with half the error shared among all arms, lies wholly beyond it. The interval given with
    a contradiction is that wider one.

    References:
        Ibragimov and Müller (2010), Journal of Business & Economic Statistics 28, 453: the t
        interval across clusters.

    Arguments:
        runs: recordings by node name.
        fits: `fits.fit_totals(runs, level=level)`, when it is at hand.
        level: confidence level.
        margin: largest |p| that counts as log growth.

    Returns:
        The verdict, with the exponent that is farthest from 0.
    """
    runs = one_per_seed(runs)
    unlike = differences(runs.values())
    if unlike:
        reason = f"The runs differ in what they should share ({'; '.join(unlike)})."
        return _undecided(runs, reason, needed="test the sets of equal runs apart")
    fits = fit_totals(runs, level=level) if fits is None else fits.sel(node=list(runs))
    usable, left_out = _usable(fits)
    if len(usable) < len(left_out) or not usable:
        return _undecided(runs, _all_left_out(left_out, len(runs)), needed=_shortage(fits))
    kept = {name: runs[name] for name in usable}
    verdict = _judge(kept, fits.sel(node=usable), level=level, margin=margin)
    return replace(verdict, assumptions=(*verdict.assumptions, *left_out))


def _undecided(runs: dict[str, xr.Dataset], reason: str, *, needed: str) -> Verdict:
    sample = _sample(runs)
    return Verdict(
        PREDICTION, STATEMENT, UNDECIDABLE, reason, EFFECT, sample=sample, needed=needed
    )


def _usable(fits: xr.Dataset) -> tuple[list[str], tuple[str, ...]]:
    """Nodes whose fit can speak on P1, and why the others cannot.

    Before its onset τ a law is a straight line whatever its exponent. A run that has not gone on
    for `DECADES` beyond it shows the end of its first phase and not yet its law.
    """
    usable, left_out = [], []
    for node in fits["node"].values.tolist():
        fit = fits.sel(node=node)
        why = _shortcoming(fit)
        if why:
            left_out.append(f"left out {str(fit['run'].values)[:80]}: {why}")
        else:
            usable.append(node)
    return usable, tuple(left_out)


def _shortcoming(fit: xr.Dataset) -> str:
    decades, grown = float(fit["decades"]), float(fit["grown_decades"])
    if decades < DECADES:
        return f"{decades:.2f} decades of constant learning rate, {DECADES} needed"
    if not math.isfinite(float(fit["exponent"])):
        return str(fit["reason"].values)
    if grown < DECADES:
        onset = number(round(float(fit["onset"])))
        return f"growth sets in at iteration {onset}, {grown:.2f} decades before the end"
    return ""


def _all_left_out(left_out: tuple[str, ...], total: int) -> str:
    share = "No run" if len(left_out) == total else f"Only {total - len(left_out)} of {total} runs"
    return f"{share} can be used; {left_out[-1]}."


def _shortage(fits: xr.Dataset) -> str:
    """The iteration until which the slowest run to set in would have to go on."""
    onset = fits["onset"].fillna(0.0)
    last = (fits["first"].clip(min=1) + onset) * 10**DECADES - onset
    longest = max(float(last.max()), float(fits["last"].max()))
    return f"a constant learning rate up to iteration {number(float(f'{longest:.2g}'))} or more"


def _judge(
    runs: dict[str, xr.Dataset], fits: xr.Dataset, *, level: float, margin: float
) -> Verdict:
    estimates = _estimates(runs, fits, level=level)
    words = [decide(item.low, item.high, margin) for item in estimates]
    if CONTRADICTED in words:
        # A verdict for all arms from the worst of them needs intervals that hold jointly. The
        # exponents of noisy runs are skew, and t intervals of a few of them too short in the tail:
        # with the error halved, simulated sets are contradicted wrongly in less than 2 %.
        joint = 1 - (1 - level) / (2 * len(estimates))
        wide = fits if _across(runs) else _widened(runs, joint)
        estimates = _estimates(runs, wide, level=joint)
        words = [decide(item.low, item.high, margin) for item in estimates]
    word = _overall(words)
    worst = _deciding(estimates, words, word)
    return Verdict(
        PREDICTION,
        STATEMENT,
        word,
        _reason(worst, word, margin),
        f"{EFFECT}, {worst.name}",
        *(worst.exponent, worst.low, worst.high),
        sample=_sample(runs),
        assumptions=_assumptions(runs, fits),
        needed=_needed(worst, margin) if word == UNDECIDABLE else "",
    )


def _widened(runs: dict[str, xr.Dataset], level: float) -> xr.Dataset:
    """Fits at a higher level; beyond `_HIGHEST` intervals are stretched as a normal one would."""
    fits = fit_totals(runs, level=min(level, _HIGHEST))
    stretch = float(stats.norm.ppf(0.5 + level / 2) / stats.norm.ppf(0.5 + _HIGHEST / 2))
    middle = fits["exponent"]
    ends = {name: fits[name] - middle for name in ("exponent_low", "exponent_high")}
    return fits.assign({name: middle + max(stretch, 1.0) * end for name, end in ends.items()})


def _across(runs: dict[str, xr.Dataset]) -> bool:
    return all(len(names) >= SEEDS for names in arms(runs).values())


def _estimates(runs: dict[str, xr.Dataset], fits: xr.Dataset, *, level: float) -> list[Estimate]:
    """Across seeds where the arm has enough of them, run by run where not."""
    found: list[Estimate] = []
    for arm, names in arms(runs).items():
        members = fits.sel(node=names)
        if len(names) >= SEEDS:
            found.append(across_seeds(arm, members, level=level))
        else:
            found.extend(_within(members.sel(node=name)) for name in names)
    return found


def across_seeds(arm: Arm, fits: xr.Dataset, *, level: float) -> Estimate:
    """Mean exponent of an arm with its t interval across seeds.

    p̄ ± t_{S−1} · s/√S

    Arguments:
        arm: the arm.
        fits: fits of its S runs along `node`.
        level: confidence level.

    Returns:
        The estimate.
    """
    exponent = fits["exponent"].values
    error = float(exponent.std(ddof=1) / math.sqrt(exponent.size))
    half = error * float(stats.t.ppf(0.5 + level / 2, exponent.size - 1))
    mean = float(exponent.mean())
    name = f"mean of {exponent.size} seeds at {arm}"
    decades = float(fits["grown_decades"].min())
    return Estimate(name, mean, mean - half, mean + half, error, decades, exponent.size)


def _within(fit: xr.Dataset) -> Estimate:
    low, high = float(fit["exponent_low"]), float(fit["exponent_high"])
    error = float(fit["detectable"]) / _DETECTABLE
    name = f"run {str(fit['run'].values)[:80]}"
    return Estimate(name, float(fit["exponent"]), low, high, error, float(fit["grown_decades"]))


def _overall(words: list[str]) -> str:
    if CONTRADICTED in words:
        return CONTRADICTED
    return SUPPORTED if set(words) == {SUPPORTED} else UNDECIDABLE


def _deciding(estimates: list[Estimate], words: list[str], word: str) -> Estimate:
    """The estimate that the verdict hangs on: the farthest from 0 of those that say it."""
    saying = [item for item, said in zip(estimates, words, strict=True) if said == word]
    nearest = [min(abs(item.low), abs(item.high)) for item in saying]
    if word == CONTRADICTED:
        return saying[int(np.argmax(nearest))]
    return max(saying, key=lambda item: item.farthest)


def _reason(worst: Estimate, word: str, margin: float) -> str:
    ends = interval(worst.low, worst.high, show=rounded)
    found = f"p = {rounded(worst.exponent)} {ends} ({worst.name})"
    if word == SUPPORTED:
        return f"Every interval lies inside ±{margin:g}; the farthest from 0 is {found}."
    if word == CONTRADICTED:
        law = "a power of t" if worst.exponent > 0 else "a law that saturates"
        return f"The interval lies wholly beyond ±{margin:g}: {found}, {law}."
    excluded = worst.low > 0 or worst.high < 0
    also = (
        " and excludes 0, but departures within the margin are not ruled out" if excluded else ""
    )
    return f"The interval reaches across ±{margin:g}{also}: {found}."


def _sample(runs: dict[str, xr.Dataset]) -> Sample:
    members = [[runs[name] for name in names] for names in arms(runs).values()]
    sizes = tuple(sorted({int(run["batch_size"].values) for run in runs.values()}))
    return Sample(len(runs), min(seeds(arm) for arm in members), sizes)


def _assumptions(runs: dict[str, xr.Dataset], fits: xr.Dataset) -> tuple[str, ...]:
    decades = fits["grown_decades"].values
    shortest = int(np.argmin(decades))
    first, last = int(fits["first"][shortest]), int(fits["last"][shortest])
    rate = (
        f"constant learning rate, {decades.min():.2f} decades beyond the onset of growth "
        f"(iterations {first} to {last})"
    )
    if _across(runs):
        return (rate, "intervals across seeds, which are independent runs")
    scope = f"within runs, as some arms have fewer than {SEEDS} seeds"
    return (rate, f"intervals {scope}: the spread between seeds is not covered")


def _needed(worst: Estimate, margin: float) -> str:
    ratio = _EQUIVALENCE * worst.error / margin
    if not math.isfinite(ratio):
        return "a longer run: its exponent is not identified"
    if ratio <= 1:
        return "more seeds: the estimate lies too near the margin for this sample"
    count = max(SEEDS, math.ceil(worst.seeds * ratio**2))
    decades = worst.decades * ratio ** (1 / _DECADES_POWER)
    return f"about {count} seeds an arm of this length, or runs of about {decades:.1f} decades"
