"""P1's rule: what the runs of each arm say, and all arms together; on recordings and in plans.

A run says two things: the exponent p̂ of the growth family over all its iterations, and by how
much powers of t fit it better than curves that have become logarithms (`late_logarithm`). Both are
numbers a run, so that the spread between seeds gives their errors, however records depend on each
other. An arm speaks

- *against* the logarithm where the interval of its mean exponent lies beyond ±`MARGIN`, and powers
  on that side fit better than late logarithms do, with a one-sided t test;
- *for* it where the interval lies within ±`MARGIN` at a third of the error, and no power has the
  advantage;
- else neither.

Without the second half a curve that becomes a logarithm after an onset or a faster beginning would
be taken for a power: its exponent over all iterations is far from 0 as well.

What the last decade added beside the one before (`decade_ratio`, ρ) says two things more, with no
fit. A logarithm has ρ ≥ 1, so that nothing is supported where ρ lies clearly below that, or beyond
the latest onset's. And where less than a third was added the growth has all but ended, which is
no logarithm, whatever a fit over all iterations makes of it.

The logarithm is contradicted where one arm speaks against it with the error shared among all, or
all do together (Stouffer's sum), or where the growth of one has ended; it is supported where an
arm speaks for it and none lies beyond the margin. What this gets wrong and how often it tells is
simulated: tests/statistics/p1_table.md.

References:
    Ibragimov and Müller (2010), Journal of Business & Economic Statistics 28, 453: t tests across
    clusters. Stouffer et al. (1949), The American Soldier I, 45: the sum of normal deviates.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    joint_level,
    t_interval,
    t_quantile,
)
from ultraslow.analysis.runs import fitted_by, rests_at
from ultraslow.analysis.text import number, plural

from .family import EXPONENT_HIGH, EXPONENT_LOW
from .late_logarithm import MARGIN as MARGIN, Advantage
from .noise_models import WALKS
from .status import WEAK_SIGNAL

Array = NDArray[np.float64]

DECADES = 2.5
# More reasons than this make the sentence unreadable.
_REASONS = 3
# Runs that are named one by one; of more their number is told.
_NAMED = 4
# Statuses of a fit whose exponent is no estimate: p is unidentified where nothing grows, and a
# change of the rate changes the law. What a run's own interval says leaves none out, as the sample
# are the seeds: of t with noise of 0.2 % of the growth p̂ is 1.00 ± 0.01, and the interval of each
# run is open, since growth may have set in late. Where p̂ is off to one side, as that of late
# logarithms is and that of logarithms under noise of a fifth of the growth, no power has the
# advantage.
DISQUALIFYING = ("weak_signal", "rate_changed")
_VAGUE = "weak_signal"
# The smallest exponent told from 0 with 80 % power is 1.96 + 0.84 standard errors.
DETECTABLE = 2.8
# Fewest seeds of an arm that speaks: t quantiles of two ask for curves without noise.
LEAST_SEEDS = 3
# Error of the test that powers fit better. Where a late logarithm is true they do so far more
# rarely, as its family is the richer one.
ADVANTAGE = 0.05
_LEANING = 0.1  # error at which an arm is found beyond the margin, and nothing is supported
_ROUNDING = 1e-12  # of the largest value: a spread below it is none
# Support has this part of the error: a law at the margin would else be supported with all of it.
SUPPORT = 0.35
# Growth has ended where the last decade adds less than this share of the one before: t^p with
# p < −.48. A logarithm that begins with what saturates by T/25 may have .44.
ENDED = 1 / 3
_ENDED_ERROR = 0.002  # of that test, beside the error of the others
# ρ of log(t + T/10), of the latest onset that support allows.
_LATEST_RATIO = 3.15
_BENT_ERROR = 0.05  # of the test that ρ is none of a logarithm, beyond the margin


@dataclass(frozen=True)
class ArmCurves:
    """What was found of the runs of one arm.

    Attributes:
        exponents: p̂, shape (seed,).
        advantage: by how much powers fit better than late logarithms, of the same runs.
        ratios: ρ of the same runs; None where it is not looked at, as of curves that are planned.
    """

    exponents: Array
    advantage: Advantage
    ratios: Array | None = None


@dataclass(frozen=True)
class ArmJudgement:
    """What one arm says.

    Attributes:
        word: supported, contradicted or undecidable, of this arm by itself.
        exponent: mean p̂ with the interval that decides: where the arm is for the logarithm or lies
            within the margin, the one that has to do so; else the one that has to lie beyond, and
            holds together with those of the other arms.
        level: of that interval.
        beyond: one-sided p-values of |p| ≤ margin, against larger and against smaller exponents.
        better: one-sided p-values of A ≤ 0, for powers on these two sides.
        ended: one-sided p-value of ρ ≥ `ENDED`; 1 where ρ is not known.
        bent: whether ρ is none of a logarithm's.
    """

    word: str
    exponent: Interval
    level: float
    beyond: tuple[float, float]
    better: tuple[float, float]
    ended: float = 1.0
    bent: bool = False


@dataclass(frozen=True)
class Judgement:
    """What all arms say.

    Attributes:
        word: supported, contradicted or undecidable.
        carrying: names of the arms that carry the word.
        arms: what each arm says, by name, of those with `LEAST_SEEDS` runs.
        together: whether no arm contradicts by itself, but all do together.
        ended: whether it is contradicted since growth has ended, and by nothing else.
    """

    word: str
    carrying: tuple[str, ...]
    arms: Mapping[str, ArmJudgement]
    together: bool = False
    ended: bool = False


def judge(curves: Mapping[str, ArmCurves], *, level: float) -> Judgement:
    """What arms say on P1.

    Arguments:
        curves: the runs of each arm, by its name.
        level: confidence level.

    Returns:
        The judgement; undecidable where no arm has `LEAST_SEEDS` runs.

    >>> found = Advantage(np.array([2.0, 2.1, 1.9, 2.2]), np.full(4, -1.0))
    >>> judge({"M 64": ArmCurves(np.array([0.44, 0.46, 0.45, 0.47]), found)}, level=0.95).word
    'contradicted'
    """
    speaking = {name: arm for name, arm in curves.items() if arm.exponents.size >= LEAST_SEEDS}
    count = len(speaking)
    arms = {name: _judge_arm(name, arm, level, count) for name, arm in speaking.items()}
    error = (1 - joint_level(level, 1)) / 2
    for side in (0, 1):
        against = {
            name: found.beyond[side]
            for name, found in arms.items()
            if found.better[side] < ADVANTAGE
        }
        alone = tuple(name for name, p_value in against.items() if p_value < error / count)
        together = (
            count > 1
            and _stouffer([found.beyond[side] for found in arms.values()]) < error
            and _stouffer([found.better[side] for found in arms.values()]) < ADVANTAGE
        )
        if alone or together:
            own = tuple(name for name, p_value in against.items() if p_value < error)
            alike = tuple(name for name, found in arms.items() if found.beyond[side] < 0.5)
            return Judgement(CONTRADICTED, alone or own or alike, arms, not alone)
    ended = tuple(name for name, found in arms.items() if found.ended < _ENDED_ERROR / count)
    if ended:
        return Judgement(CONTRADICTED, ended, arms, ended=True)
    supporting = tuple(name for name, found in arms.items() if found.word == SUPPORTED)
    # By each arm's own test: joint intervals of few seeds are so wide that no power would block.
    leaning = any(found.bent or min(found.beyond) < _LEANING for found in arms.values())
    word = SUPPORTED if supporting and not leaning else UNDECIDABLE
    return Judgement(word, supporting if word == SUPPORTED else tuple(arms), arms)


def _judge_arm(name: str, arm: ArmCurves, level: float, count: int) -> ArmJudgement:
    tested = _tests(arm.exponents, arm.advantage)
    word = str(arm_words(arm.exponents, arm.advantage, level=level, ratios=arm.ratios))
    unknown = np.full(arm.exponents.shape, np.nan)
    ratio = _ratio_tests(unknown if arm.ratios is None else arm.ratios)
    deciding = joint_level(level, count)
    exponent = _mean(arm.exponents, deciding, name)
    if word == SUPPORTED or exponent.farthest < MARGIN:
        deciding = 1 - SUPPORT * (1 - level)
        exponent = _mean(arm.exponents, deciding, name)
    sides = tested.beyond.tolist(), tested.better.tolist()
    return ArmJudgement(
        word,
        exponent,
        deciding,
        tuple(sides[0]),
        tuple(sides[1]),
        float(ratio.ended),
        bool(ratio.bent),
    )


def _mean(exponents: Array, level: float, name: str) -> Interval:
    """Mean p̂ with its interval, open where a seed is as far out as exponents are looked for."""
    found = t_interval(exponents, level=level, name=name)
    low = -math.inf if exponents.min() <= EXPONENT_LOW else found.low
    high = math.inf if exponents.max() >= EXPONENT_HIGH else found.high
    half = t_quantile(exponents.size - 1, level) * float(_least_error(exponents))
    low, high = min(low, found.value - half), max(high, found.value + half)
    return replace(found, low=low, high=high)


class _Tests(NamedTuple):
    """One-sided p-values against larger and smaller exponents, each of shape (2, *)."""

    beyond: Array
    better: Array


def _tests(exponents: Array, advantage: Advantage) -> _Tests:
    least = _least_error(exponents)
    beyond = np.stack([_one_sided(side * exponents - MARGIN, least) for side in (1, -1)])
    roots = [signed_root(advantage.faster), signed_root(advantage.slower)]
    return _Tests(beyond, np.stack([_one_sided(root) for root in roots]))


class _RatioTests(NamedTuple):
    """What ρ says, each of shape (*,)."""

    ended: Array  # p-values of ρ ≥ `ENDED`
    bent: NDArray[np.bool_]  # whether ρ is none of a logarithm's


def _ratio_tests(ratios: Array) -> _RatioTests:
    """Of ρ, shape (*, seed); NaN, where a run has none, decides nothing."""
    known = np.isfinite(ratios) & (ratios > 0)
    logs = np.log(np.where(known, ratios, 1.0))
    whole = np.asarray(known.all(axis=-1))
    margin = MARGIN * math.log(10)
    ended = np.where(whole, _one_sided(math.log(ENDED) - logs), 1.0)
    below = _one_sided(-margin - logs)
    above = _one_sided(logs - math.log(_LATEST_RATIO) - margin)
    return _RatioTests(ended, np.where(whole, np.minimum(below, above) < _BENT_ERROR, False))


def arm_words(
    exponents: Array, advantage: Advantage, *, level: float, ratios: Array | None = None
) -> NDArray[np.str_]:
    """What arms say, each by itself, of many simulated ones at once.

    Arguments:
        exponents: p̂, shape (*, seed), of `LEAST_SEEDS` seeds or more.
        advantage: by how much powers fit better, of the same shape.
        level: confidence level.
        ratios: ρ, of the same shape; None where it is not looked at.

    Returns:
        Supported, contradicted or undecidable, shape (*,).
    """
    tested = _tests(exponents, advantage)
    error = (1 - joint_level(level, 1)) / 2
    against = ((tested.beyond < error) & (tested.better < ADVANTAGE)).any(axis=0)
    # The two one-sided tests of equivalence at the error of support.
    within = np.stack([_one_sided(MARGIN - exponents), _one_sided(MARGIN + exponents)])
    supported = (within < SUPPORT * (1 - level) / 2).all(axis=0)
    supported &= (tested.better > ADVANTAGE).all(axis=0)
    if ratios is not None:
        ratio = _ratio_tests(ratios)
        supported &= ~ratio.bent
        against |= ratio.ended < _ENDED_ERROR
    return np.where(against, CONTRADICTED, np.where(supported, SUPPORTED, UNDECIDABLE))


def _least_error(exponents: Array) -> Array:
    """Least standard error of mean exponents over the last axis.

    Seeds at an end of the exponents that are looked for lie there or beyond: alike as they are,
    they do not tell their spread. It is taken to be the margin, or more.
    """
    outermost = (exponents <= EXPONENT_LOW) | (exponents >= EXPONENT_HIGH)
    return np.where(outermost.any(axis=-1), MARGIN / math.sqrt(exponents.shape[-1]), 0.0)


def _one_sided(values: Array, least: Array | float = 0.0) -> Array:
    """p-values of means of 0 or less over the last axis, of this standard error at least."""
    count = values.shape[-1]
    mean, error = values.mean(axis=-1), values.std(axis=-1, ddof=1) / math.sqrt(count)
    error = np.maximum(error, least)
    # Seeds that agree to rounding are no draws, and tell nothing of the spread.
    spread = error > _ROUNDING * np.abs(values).max(axis=-1)
    ratio = np.divide(mean, error, out=np.zeros_like(mean), where=spread)
    return np.asarray(stdtr(count - 1, -ratio))  # as stats.t.sf, which checks much for longer


def signed_root(values: Array) -> Array:
    """√|A| with the sign of A: A grows with the square of the signal, and is skew."""
    return np.sign(values) * np.sqrt(np.abs(values))


def _stouffer(p_values: list[float]) -> float:
    deviates = -ndtri(np.clip(p_values, 1e-12, 1 - 1e-12))
    return float(ndtr(-deviates.sum() / math.sqrt(len(p_values))))


_ASKED = (
    "decades",
    "last",
    "first",
    "fitted",
    "begun",
    "rest",
    "status",
    "reason",
    "exponent",
    "noise_kind",
)


def with_beginnings(fits: xr.Dataset, runs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Fits with what short phases are told by.

    Arguments:
        fits: as `fit_totals` gives them.
        runs: the recordings by node name.

    Returns:
        The fits with `begun`, the first iteration of the phase where the records begin with it,
        and `rest`, that of a first record whose distance is 0; 0 otherwise.
    """
    begun, rest = [], []
    for node, first in zip(fits["node"].values.tolist(), fits["first"].values, strict=True):
        times = runs[node].variables["iteration"].values
        begun.append(int(first) if first > 1 and first == times[times > 0][0] else 0)
        rest.append(rests_at(runs[node]))
    return fits.assign(begun=("node", begun), rest=("node", rest))


def usable(fits: xr.Dataset) -> tuple[list[str], dict[str, str]]:
    """Nodes whose fit can speak on P1, and why the others cannot.

    A late onset leaves no run out: `late_logarithm` allows for it, and p̂ is unbiased with it.
    """
    kept: list[str] = []
    left_out: dict[str, str] = {}
    few = fits[[name for name in _ASKED if name in fits]]  # of many more, which are slow to choose
    for node in fits["node"].values.tolist():
        fit = few.sel(node=node)
        why = _shortcoming(fit)
        if why:
            left_out[_unused_name(str(fit["run"].values)[:80], left_out)] = why
        else:
            kept.append(node)
    return kept, left_out


def _unused_name(run: str, left_out: dict[str, str]) -> str:
    """The run's name, told apart from runs of the same name."""
    return run if run not in left_out else f"{run} ({len(left_out) + 1})"


def _shortcoming(fit: xr.Dataset) -> str:
    decades = float(fit["decades"])
    if not float(fit["last"]) > 0:
        return str(fit["reason"].values) or "no phase of constant learning rate"
    if decades < DECADES and int(fit.get("fitted", 0)):
        return (
            f"{fitted_by(int(fit['fitted']))}: {decades:.2f} decades before it, {DECADES} needed"
        )
    if decades < DECADES and int(fit.get("rest", 0)):
        return (
            f"{decades:.2f} decades of constant learning rate, {DECADES} needed, counted from an "
            f"iteration 0 before the records, though the distance is 0 at iteration "
            f"{number(int(fit['rest']))}"
        )
    if decades < DECADES and int(fit.get("begun", 0)):
        return (
            f"the records span {decades:.2f} decades of constant learning rate, from iteration "
            f"{number(int(fit['begun']))} on, {DECADES} needed"
        )
    if decades < DECADES:
        return f"{decades:.2f} decades of constant learning rate, {DECADES} needed"
    if str(fit["status"].values) == _VAGUE:
        return _vague(fit)
    if not math.isfinite(float(fit["exponent"])) or str(fit["status"].values) in DISQUALIFYING:
        return str(fit["reason"].values)
    return ""


def _vague(fit: xr.Dataset) -> str:
    """That a run does not grow, or wobbles; alike for all runs of which the same is true."""
    begin, end = number(int(fit["first"])), number(int(fit["last"]))
    if _wobbles(fit):
        return (
            f"the distance wobbles like a random walk over iterations {begin} to {end}, which "
            f"hides the shape of its growth (less than {WEAK_SIGNAL:g} standard errors from 0)"
        )
    return (
        f"from iteration {begin} on, up to {end}, the weights do not move beyond their noise "
        f"(growth less than {WEAK_SIGNAL:g} standard errors from 0)"
    )


def _wobbles(fit: xr.Dataset) -> bool:
    return str(fit.get("noise_kind", xr.DataArray("")).values) in WALKS


def mostly_left_out(left_out: dict[str, str], total: int) -> str:
    """Why too few runs can be used, each reason once with the number of its runs."""
    kept = total - len(left_out)
    share = f"Only {kept} of {total} runs can be used" if kept else _none_of(total)
    reasons = Counter(left_out.values()).most_common()
    if len(reasons) == 1:
        return f"{share}: {reasons[0][0]}."
    listed = [f"{why} ({plural(count, 'run')})" for why, count in reasons[:_REASONS]]
    more = sum(count for _, count in reasons[_REASONS:])
    listed += [f"other reasons ({plural(more, 'run')})"] if more else []
    return f"{share}: {'; '.join(listed)}."


def told_apart(left_out: dict[str, str]) -> list[str]:
    """Runs that were left out beside others that were not: each by name, or many by their number.

    >>> told_apart({"a": "too short"})
    ['left out a: too short']
    """
    if len(left_out) <= _NAMED:
        return [f"left out {run}: {why}" for run, why in left_out.items()]
    reasons = Counter(left_out.values()).most_common()
    listed = [f"left out {plural(count, 'run')}: {why}" for why, count in reasons[:_NAMED]]
    more = sum(count for _, count in reasons[_NAMED:])
    return [*listed, f"left out {plural(more, 'run')} for other reasons"] if more else listed


def _none_of(total: int) -> str:
    return "The run cannot be used" if total == 1 else f"None of the {total} runs can be used"


def earlier_records(fits: xr.Dataset) -> str:
    """What records rather than longer trainings would change, an instruction; empty for nothing.

    Arguments:
        fits: `with_beginnings`.
    """
    short = fits["decades"] < DECADES
    resting = sorted({int(x) for x in fits["rest"].values[short.values] if x})
    if resting:
        return (
            "iterations counted from where the distance is 0, if that is where training begins: "
            f"`ultraslow import --shift -{resting[0]}` does so"
        )
    known = fits.isel(node=((fits["begun"] > 0) & short).values)
    latest = int(float(known["last"].min()) / 10**DECADES) if known.sizes["node"] else 0
    return f"records from iteration {number(latest)} on at the latest" if latest >= 1 else ""


def shortage(fits: xr.Dataset) -> str:
    """What to do, in plain words: mostly, until which iteration to train on."""
    if not (fits["last"] > 0).any():
        return (
            "recordings that hold the learning rate; where it was constant, "
            "`ultraslow import --learning-rate 0.001` says so"
        )
    if not (fits["last"] > fits["first"]).any():
        return (
            "runs at a constant learning rate: it changes from record to record here, where "
            "`ultraslow fit` follows growth by the summed rate Ση"
        )
    reached = int(fits["last"].max())
    last = float((fits["first"].clip(min=1) * 10**DECADES).max())
    short = fits["decades"] < DECADES
    if "fitted" in fits and 2 * int(((fits["fitted"] > 0) & short).sum()) > int(short.sum()):
        return (
            f"a larger training set, not fitted before iteration {number(math.ceil(last))}: this "
            f"one is by iteration {number(reached)}, and longer runs would not change that"
        )
    weak = [node for node in fits["node"].values if fits["status"].sel(node=node) == _VAGUE]
    if 2 * len(weak) > fits.sizes["node"]:
        if 2 * sum(_wobbles(fits.sel(node=node)) for node in weak) > len(weak):
            return "longer runs, whose growth is clear of the wobble; more records would not help"
        return "runs whose weights move on: longer ones, or at a higher learning rate"
    if last <= int(fits["last"].min()):
        return f"more records in the phase of constant learning rate, up to iteration {reached}"
    return (
        f"training on at the same constant learning rate until iteration {number(math.ceil(last))}"
        f" or later; it was constant up to iteration {number(reached)}, and {DECADES:g} decades "
        "are needed"
    )
