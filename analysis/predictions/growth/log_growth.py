"""P1: in the phase of constant learning rate the distance grows like the logarithm of t.

The exponent p of the growth family is 0 for that law. The sample are the seeds of an arm: the
spread between its runs needs no model of the noise within a run. The rule is `growth.judge`, which
plans use as well. Beside the verdict stand which laws forecast the last part of each arm, and the
exponents of groups of tensors: the whole distance may hide tensors that grow by another law.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import (
    ADVANTAGE,
    DECADES,
    DISQUALIFYING,
    LEAST_SEEDS,
    MARGIN,
    SETTLED,
    SUPPORT,
    Advantage,
    ArmCurves,
    Judgement,
    fit_tensors,
    judge,
    mean_decade_ratio,
    mostly_left_out,
    shortage,
    signed_root,
    told_apart,
    usable,
)
from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    joint_level,
    t_interval,
    t_quantile,
)
from ultraslow.analysis.predictions.evidence import left_out
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import Arm, grouped
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number, plural

from .extrapolation import extrapolations


def group_exponents(study: Study) -> tuple[str, ...]:
    """In words, the mean exponent of each group of tensors in each arm with enough seeds.

    Arguments:
        study: the runs.

    Returns:
        One phrase an arm of `SEEDS` runs or more; none where runs have a single tensor.
    """
    entered = study.of_arms()
    chosen = {name: grouped(run) for name, run in entered.runs.items()}
    if max((run.sizes["tensor"] for run in chosen.values()), default=0) < 2:
        return ()
    fits = fit_tensors(chosen, level=study.level, intervals=False)
    # An exponent whose onset is at its latest is off, and nothing here allows for it.
    known = fits["exponent"].where(~fits["status"].isin([*DISQUALIFYING, "onset_edge"]))
    return tuple(
        _phrase(arm, known.sel(node=names), level=study.level)
        for arm, names in entered.arms.items()
    )


def _phrase(arm: Arm, exponents: xr.DataArray, *, level: float) -> str:
    groups: Sequence[str] = exponents["tensor"].values.tolist()
    parts = [_part(group, exponents.sel(tensor=group).values, level=level) for group in groups]
    return f"p by tensors at {arm}: {', '.join(parts)}"


def _part(group: str, exponents: NDArray[np.float64], *, level: float) -> str:
    found = t_interval(exponents, level=level)
    if found.n < SEEDS:
        return f"{group} not estimated"
    return f"{group} {found}"


# P1 allows (ln t)^(2/α) for any α of the landscape; this is its case α = 2, which the exponent
# p = 0 stands for. An exponent other than 0 speaks against this case and not against all of P1.
STATEMENT = "With a constant learning rate the distance from the initial weights grows like log t."
EFFECT = "exponent p of the distance (0: log t, 0.5: diffusion, 1: ballistic)"
_POWER = 0.84  # standard errors beyond the quantile at which a test has 80 % power
_DIFFUSION = 10**0.5  # how much more a decade adds than the one before, for √t
_MOST_SEEDS = 50  # that anybody would train


def log_growth(study: Study) -> Verdict:
    """Verdict on P1, by the rule of `growth.judge`, arm by arm.

    Arms of fewer than `LEAST_SEEDS` usable runs, or of which most fits fail, do not speak.
    Runs that cannot be used, and arms that do not speak, change nothing about the others.

    Arguments:
        study: the runs.

    Returns:
        The verdict. Its effect is the exponent of the arm that carries it farthest.
    """
    runs = study.distinct
    blank = replace(question("P1", EFFECT), statement=STATEMENT)
    if runs.unlike is not None:
        return blank.lacking(runs.unlike, runs.sample)
    names, unusable = usable(runs.fits)
    if not names:
        reason = mostly_left_out(unusable, len(runs.runs))
        return blank.lacking(Missing(reason, shortage(runs.fits)), runs.sample)
    kept = runs.part(names)
    arms = speaking_arms(kept, runs)
    if not arms:
        return _without_arms(blank, kept, runs, unusable)
    entered = kept.part(name for arm in arms for name in arm.nodes)
    found = judge({arm.name: arm.curves for arm in arms}, level=study.level)
    silent = left_out(kept, entered, f"their arms have fewer than {LEAST_SEEDS} usable seeds")
    noted = [*extrapolations(kept), *group_exponents(kept), *told_apart(unusable)]
    shown = _shown(arms, found)
    return blank.decided(
        found.word,
        found.arms[shown.name].exponent,
        reason=_reason(shown, arms, found, level=study.level),
        needed=_needed(shown, found, entered.longer(10 * shown.last), level=study.level),
        meaning=f"{EFFECT}, mean of {len(shown.nodes)} seeds at {shown.name}",
        sample=entered.sample,
        assumptions=(
            f"constant learning rate over iterations {shown.first} to {shown.last}",
            "intervals across seeds, which are independent runs",
            *silent,
            *noted,
        ),
    )


@dataclass(frozen=True)
class SpeakingArm:
    """An arm with enough usable runs to speak on P1.

    Attributes:
        name: in words, told apart from all others.
        nodes: its usable runs.
        curves: what was found of them.
        ratios: ρ of each, how much the last decade added compared with the one before.
        first: iteration at which the constant rate of all of them begins.
        last: iteration at which it ends.
    """

    name: str
    nodes: tuple[str, ...]
    curves: ArmCurves
    ratios: NDArray[np.float64]
    first: int
    last: int


def speaking_arms(kept: Study, runs: Study) -> list[SpeakingArm]:
    """The arms that speak on P1.

    Arguments:
        kept: the runs whose fits can be used.
        runs: all runs.

    Returns:
        Arms of `LEAST_SEEDS` usable runs or more that are at least half of those long enough:
        fits that fail may do so where p is large or small, and a short run fails whatever p is.
    """
    found = []
    for arm, nodes in kept.arms.items():
        if len(nodes) < max(LEAST_SEEDS, len(_long_enough(runs, arm)) / 2):
            continue
        fits = kept.fits.sel(node=nodes)
        curves = ArmCurves(
            fits["exponent"].values,
            Advantage(fits["faster_advantage"].values, fits["slower_advantage"].values),
        )
        which = str(fits["arm"].values[0])
        found.append(
            SpeakingArm(
                f"{arm}, {which}" if which else str(arm),
                tuple(nodes),
                curves,
                fits["decade_ratio"].values,
                int(fits["first"].max()),
                int(fits["last"].min()),
            )
        )
    return found


def _long_enough(runs: Study, arm: Arm) -> list[str]:
    """Runs of an arm whose constant rate lasts long enough."""
    return [node for node in runs.arms[arm] if runs.fits["decades"].sel(node=node) >= DECADES]


def _without_arms(
    blank: Verdict, kept: Study, runs: Study, unusable: Mapping[str, str]
) -> Verdict:
    """Undecidable, as no arm has enough usable seeds."""
    counts = {arm: len(nodes) for arm, nodes in kept.arms.items()}
    arm, most = max(counts.items(), key=lambda item: item[1])
    reason = (
        f"The seeds are the sample, and no arm has {LEAST_SEEDS} that can be used: "
        f"{plural(most, 'seed')} at {arm}."
    )
    if most >= LEAST_SEEDS:
        whole = len(_long_enough(runs, arm))
        reason = f"Of {whole} seeds at {arm} only {most} can be used, fewer than half."
    if unusable:
        reason += f" {mostly_left_out(dict(unusable), len(runs.runs))}"
    more = LEAST_SEEDS - most
    tried = runs.fits.sel(node=_long_enough(runs, arm))
    needed = f"{plural(more, 'more seed')} at {arm}" if more > 0 else shortage(tried)
    clearest = max((_within_run(kept.fits.sel(node=node)) for node in kept.runs), key=_distance)
    return blank.decided(
        UNDECIDABLE,
        clearest,
        reason=f"{reason} Within {clearest.name} p = {clearest}, which says nothing of the next.",
        needed=needed,
        meaning=f"{EFFECT}, {clearest.name}",
        sample=kept.sample,
        assumptions=tuple(told_apart(dict(unusable))),
    )


def _within_run(fit: xr.Dataset) -> Interval:
    """Exponent of one run with the interval of its own fit."""
    ends = float(fit["exponent_low"]), float(fit["exponent_high"])
    name = f"run {str(fit['run'].values)[:80]}"
    return Interval(float(fit["exponent"]), *ends, n=1, name=name)


def _distance(exponent: Interval) -> float:
    return max(exponent.low, -exponent.high)


def _shown(arms: Sequence[SpeakingArm], found: Judgement) -> SpeakingArm:
    """The arm that the sentence is about: of those that carry the word, the clearest."""

    def clearness(arm: SpeakingArm) -> tuple[bool, float]:
        exponent = found.arms[arm.name].exponent
        if found.word == CONTRADICTED:
            return True, _distance(exponent)
        if found.word == SUPPORTED:
            return True, -exponent.farthest
        # An arm beyond the margin blocks support, however wide others are.
        return _distance(exponent) > MARGIN, exponent.farthest

    return max((arm for arm in arms if arm.name in found.carrying), key=clearness)


# d² = Σ θᵢ²·(1 − (1 − ηhᵢ)^t)²: by iteration t the modes with h > 1/(ηt) have arrived, so that a
# log-uniform h makes d² a sum over ln t, and d ∝ ln t where θ² grows along it.
_CAUSE = (
    "This says how the distance grows and not why: descent without noise on a quadratic whose "
    "curvatures spread over many decades can grow alike."
)


def _reason(
    shown: SpeakingArm, arms: Sequence[SpeakingArm], found: Judgement, *, level: float
) -> str:
    said = found.arms[shown.name]
    exponent = f"p = {said.exponent}"
    ratio = mean_decade_ratio(shown.ratios, level=level)
    added = (
        f"At {shown.name} the last decade of iterations {shown.first} to {shown.last} added "
        f"{ratio} times as much distance as the one before; a logarithm adds as much, "
        f"diffusion {_DIFFUSION:.2f} times."
    )
    settled = number(round(SETTLED * shown.last))
    if found.word == CONTRADICTED:
        law = "a power of t" if said.exponent.value > 0 else "a law that saturates"
        others = [name for name in found.carrying if name != shown.name]
        also = f" So say {len(others)} other arms." if len(others) > 1 else ""
        also = f" So does {others[0]}." if len(others) == 1 else also
        also = " No arm says so by itself, all together do." if found.together else also
        return (
            f"{added} {exponent}, and {law} fits better than any curve that becomes a logarithm "
            f"by iteration {settled}.{also} A power of log t is not told apart from it here."
        )
    if found.word == SUPPORTED:
        return (
            f"{added} {exponent} lies within ±{MARGIN:g}, and no power of t fits better than "
            f"curves that become a logarithm. {_CAUSE}"
        )
    if _distance(said.exponent) > MARGIN:
        return (
            f"{added} {exponent} lies beyond ±{MARGIN:g}, but a curve that becomes a logarithm by "
            f"iteration {settled} fits as well."
        )
    if said.exponent.farthest < MARGIN:
        better = "powers of t fit better than curves that become a logarithm"
        why = better if min(said.better) < ADVANTAGE else "not surely enough"
        return f"{added} {exponent} lies within ±{MARGIN:g}, but {why}."
    return f"{added} {exponent} reaches across ±{MARGIN:g}."


def _needed(shown: SpeakingArm, found: Judgement, longer: str, *, level: float) -> str:
    """What would decide, for the arm that the sentence is about: seeds, or a longer phase."""
    exponents, better = shown.curves.exponents, shown.curves.advantage
    mean = float(exponents.mean())
    beyond = abs(mean) > MARGIN
    if not beyond and min(found.arms[shown.name].better) < ADVANTAGE:
        return longer
    if beyond:
        powers = better.faster if mean > 0 else better.slower
        roots = signed_root(powers)
        each = [
            _seeds_for(abs(mean) - MARGIN, exponents, joint_level(level, len(found.arms))),
            _seeds_for(float(roots.mean()), roots, 1 - 2 * ADVANTAGE),
        ]
    else:
        each = [_seeds_for(MARGIN - abs(mean), exponents, 1 - SUPPORT * (1 - level))]
    if not all(each):
        return longer
    return f"{max(each)} seeds at {shown.name}, or {longer}"


def _seeds_for(distance: float, values: NDArray[np.float64], level: float) -> int:
    """Seeds at which a mean this far from its bound is told from it with 80 % power; 0: never.

    Arguments:
        distance: of the mean from the bound, on the side that is asked for.
        values: one number a seed, of which only the spread is used.
        level: of the two-sided interval that has to stay clear of the bound.
    """
    spread = float(values.std(ddof=1))
    for count in range(values.size + 1, _MOST_SEEDS + 1):
        if distance * math.sqrt(count) > (t_quantile(count - 1, level) + _POWER) * spread:
            return count
    return 0
