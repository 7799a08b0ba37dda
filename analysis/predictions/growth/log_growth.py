"""P1: in the phase of constant learning rate the distance grows like the logarithm of t.

The exponent p of the growth family is 0 for that law. The sample are the seeds of an arm: the
spread between its runs needs no model of the noise within a run. The rule is `growth.judge`, which
plans use as well. Beside the verdict stand the laws that survive by what they forecast, and the
exponents of groups of tensors: the whole distance may hide tensors that grow by another law.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.comparison import arm_compared, in_words
from ultraslow.analysis.growth import (
    BEGINNINGS,
    BENT,
    DECADES,
    DISQUALIFYING,
    LEAST_SEEDS,
    MARGIN,
    ONSET,
    SETTLED,
    ArmJudgement,
    Judgement,
    earlier_records,
    fit_tensors,
    judge,
    logarithm_ratio,
    mean_decade_ratio,
    misfit,
    mostly_left_out,
    shortage,
    told_apart,
    usable,
    with_beginnings,
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
from ultraslow.analysis.planning import Pilot, advise
from ultraslow.analysis.planning.pilot import pilot
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import Arm, arm_names, grouped, split_by_rate
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import fixed, number, percent, plural, sentence

from .each_arm import about, arms_say, otherwise
from .speaking import (
    SpeakingArm,
    clear_of_zero,
    falling,
    long_enough,
    power_of_logarithm,
    speaking_arms,
    telling_arm,
)


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
    fits = fit_tensors(chosen, level=study.level, intervals=False, phases=False)
    # An exponent that may have a late onset is off, and nothing here allows for it.
    off = [*DISQUALIFYING, "two_phases", "saturated", "p_unbounded", "onset_edge"]
    known = fits["exponent"].where(~fits["status"].isin(off))
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
NULL = (-MARGIN, MARGIN)
# What decides where growth has ended.
RATIO_EFFECT = "ratio of what the last decade added to what the one before did (1 or more: log t)"


def log_growth(study: Study) -> Verdict:
    """Verdict on P1, by the rule of `growth.judge`, arm by arm.

    Arms of fewer than `LEAST_SEEDS` usable runs, or of which most fits fail, do not speak.
    Runs that cannot be used, and arms that do not speak, change nothing about the others.

    Arguments:
        study: the runs.

    Returns:
        The verdict. Its effect is the exponent of the arm that carries it farthest.
    """
    runs = study.drawn(LEAST_SEEDS)
    blank = replace(question("P1", EFFECT), statement=STATEMENT, null=NULL)
    if runs.unlike is not None:
        return blank.lacking(runs.unlike, runs.sample)
    names, unusable = usable(with_beginnings(runs.fits, runs.runs))
    if not names:
        return blank.lacking(_no_run(runs, unusable), runs.sample)
    kept = runs.part(names)
    arms = speaking_arms(kept, runs)
    if not arms:
        return _without_arms(blank, kept, runs, unusable)
    entered = kept.part(node for arm in arms for node in arm.nodes)
    found = judge({arm.name: arm.curves for arm in arms}, level=study.level)
    shown = telling_arm(arms, found)
    advice, own = _advice(shown, found, kept), kept.part(shown.nodes)
    compared = arm_compared(shown.name, own.runs, level=study.level)
    besides = power_of_logarithm(shown, found, own, compared)
    brief, reason = _said(shown, arms, found, besides, level=study.level)
    if told := falling(arms, kept):
        brief, reason = brief and f"{told} {brief}", f"{told} {reason}"
    late = found.word == SUPPORTED and logarithm_ratio(shown.last, shown.onset) >= _AS_MUCH
    blank = replace(
        blank,
        brief=brief,
        about=about(arms, found, len(runs.arms)),
        law=shown.late_law if late else "",
    )
    verdict = blank.decided(
        found.word,
        found.arms[shown.name].exponent,
        reason=reason,
        needed=advice.needed,
        meaning=f"{EFFECT}, {_mean_of(shown)}",
        sample=entered.sample,
        assumptions=(
            *_conditions(shown, found),
            *_misfits(arms, kept),
            *_silent(kept, entered),
            f"by what they forecast at {shown.name}, {in_words(compared)}",
            *group_exponents(kept),
            *told_apart(unusable),
        ),
        span=(shown.first, shown.last),
        level=found.arms[shown.name].level,
        have=advice.have,
        need=advice.need,
        unit=advice.unit,
    )
    return _of_decades(verdict, shown, level=study.level) if found.ended else verdict


def _mean_of(shown: SpeakingArm) -> str:
    return f"mean of {len(shown.nodes)} seeds at {shown.name}"


def _of_decades(verdict: Verdict, shown: SpeakingArm, *, level: float) -> Verdict:
    """The verdict with ρ as its effect, as growth that has ended shows in it and not in p."""
    ratio = mean_decade_ratio(shown.ratios, level=level)
    return replace(
        verdict,
        effect=ratio.value,
        effect_low=ratio.low,
        effect_high=ratio.high,
        effect_level=level,
        effect_meaning=f"{RATIO_EFFECT}, {_mean_of(shown)}",
        null=(10**-MARGIN, math.inf),
    )


def told_arm(study: Study) -> tuple[SpeakingArm, str] | None:
    """The arm that P1's sentence on a study is about, and its word; None where no arm speaks."""
    runs = study.drawn(LEAST_SEEDS)
    kept = runs.part(usable(runs.fits)[0])
    arms = speaking_arms(kept, runs) if kept.runs else []
    if not arms:
        return None
    found = judge({arm.name: arm.curves for arm in arms}, level=study.level)
    return telling_arm(arms, found), found.word


def _no_run(runs: Study, unusable: Mapping[str, str]) -> Missing:
    """That no run can be used, and the decades that there are."""
    reason = mostly_left_out(dict(unusable), len(runs.runs))
    decades = float(runs.fits["decades"].max())
    if not decades < DECADES:
        return Missing(reason, shortage(runs.fits))
    if runs.ends_of_phase:  # how another training set would be learnt, none of these tell
        return Missing(reason, shortage(runs.fits), decades, DECADES, "decades")
    records = earlier_records(begun := with_beginnings(runs.fits, runs.runs))
    if records and begun["rest"].any():
        return Missing(reason, records, decades, DECADES, "decades")
    arm, own = _most_seeds(runs)
    way = _advised(own, str(arm), 1) if decades > 0 else Missing("", "")
    if records:
        longer = way.needed or shortage(runs.fits)
        return Missing(reason, f"{records}, or {longer}", decades, DECADES, "decades")
    if math.isfinite(way.need):
        return replace(way, reason=reason)
    return Missing(reason, way.needed or shortage(runs.fits), decades, DECADES, "decades")


def _most_seeds(runs: Study) -> tuple[Arm, Study]:
    """The arm of most runs, and these."""
    arm = max(runs.arms, key=lambda arm: len(runs.arms[arm]))
    return arm, runs.part(runs.arms[arm])


def _without_arms(
    blank: Verdict, kept: Study, runs: Study, unusable: Mapping[str, str]
) -> Verdict:
    """Undecidable, as no arm has enough usable seeds."""
    arm, own = _most_seeds(kept)
    most = len(own.runs)
    reason = (
        f"The seeds are the sample, and no arm has {LEAST_SEEDS} that can be used: "
        f"{plural(most, 'seed')} at {arm}."
    )
    split = split_by_rate(kept.arms, LEAST_SEEDS)
    reason = f"{reason} {split}" if split else reason
    whole = len(long_enough(runs, arm))
    if most >= LEAST_SEEDS:
        reason = f"Of {whole} seeds at {arm} only {most} can be used, fewer than half."
    if unusable:
        reason += f" {mostly_left_out(dict(unusable), len(runs.runs))}"
    # Of further seeds the same share fails; where it is most of them, other runs are needed.
    few = 2 * most >= whole
    more = math.ceil(LEAST_SEEDS * whole / most) - whole
    tried = runs.fits.sel(node=long_enough(runs, arm))
    way = Missing("", shortage(tried), most, math.ceil(whole / 2), "seeds")
    if few:
        way = Missing("", f"{plural(more, 'more seed')} at {arm}", most, LEAST_SEEDS, "seeds")
    if few and most == whole:
        advised = _advised(own, str(arm), 1)
        way = advised if advised.needed else way
    if split:
        way = replace(way, needed=f"{way.needed}, all at one learning rate")
    clearest = max(
        kept.runs, key=lambda node: clear_of_zero(_within_run(kept.fits.sel(node=node)))
    )
    fit = kept.fits.sel(node=clearest)
    effect = _within_run(fit)
    count = len(kept.runs)
    which = f", of {count} the farthest from log t," if count > 1 else ""
    return blank.decided(
        UNDECIDABLE,
        effect,
        reason=f"{reason} Within {effect.name}{which} p = {effect}, which says nothing of the "
        "next.",
        needed=way.needed,
        meaning=f"{EFFECT}, {effect.name}",
        sample=kept.sample,
        assumptions=tuple(told_apart(dict(unusable))),
        span=(int(fit["first"]), int(fit["last"])),
        have=way.have,
        need=way.need,
        unit=way.unit,
    )


def _within_run(fit: xr.Dataset) -> Interval:
    """Exponent of one run with the interval of its own fit."""
    ends = float(fit["exponent_low"]), float(fit["exponent_high"])
    name = f"run {str(fit['run'].values)[:80]}"
    return Interval(float(fit["exponent"]), *ends, n=1, name=name)


# The sentences.

# d² = Σ θᵢ²·(1 − (1 − ηhᵢ)^t)²: by iteration t the modes with h > 1/(ηt) have arrived, so that a
# log-uniform h makes d² a sum over ln t, and d ∝ ln t where θ² grows along it.
_CAUSE = (
    "this says how the distance grows and not why: descent without noise on a quadratic whose "
    "curvatures spread over many decades can grow alike"
)


def settled(last: float) -> str:
    """The iteration by which curves turn into late logarithms at the latest, in words."""
    return number(round(SETTLED * last))


def _said(
    shown: SpeakingArm,
    arms: Sequence[SpeakingArm],
    found: Judgement,
    besides: str,
    *,
    level: float,
) -> tuple[str, str]:
    """In brief, and how the distance grew, what tells it from the rival, which arms say so."""
    brief, said = _brief(shown, found, level=level), found.arms[shown.name]
    if brief and (others := otherwise(arms, found)):
        brief = f"{brief} {sentence(others)}"
    parts = [_growth(shown, found, level=level), _rival(shown, said, found.word), besides]
    told = [_end(shown, level=level)] if found.ended else [f"{part}." for part in parts if part]
    return brief, " ".join([*told, *arms_say(arms, found, level=level)])


def _end(shown: SpeakingArm, *, level: float) -> str:
    """That growth has all but ended, whatever a fit over all iterations makes of it."""
    ratio = mean_decade_ratio(shown.ratios, level=level)
    times = f"{fixed(ratio.value)} times {ratio.ends(fixed)} as much as the one before"
    added = "nothing" if ratio.high < _NOTHING else times
    return (
        f"Up to iteration {number(shown.last)} growth has all but ended at {shown.name}: its last "
        f"decade added {added}, where a logarithm adds as much or more."
    )


def _growth(shown: SpeakingArm, found: Judgement, *, level: float) -> str:
    """What anybody can read off the picture."""
    exponent = found.arms[shown.name].exponent
    span = f"Over iterations {number(shown.first)} to {number(shown.last)}"
    log = found.word == SUPPORTED
    grew = {
        SUPPORTED: f"the distance at {shown.name} grew like {shown.logarithm}",
        CONTRADICTED: f"the distance at {shown.name} grew like t^p",
        UNDECIDABLE: f"t^p fitted to the distance at {shown.name} comes out",
    }[found.word]
    beyond = "0.5 diffusion" if exponent.value > 0 else "below 0 growth ends"
    scale = f"up to ±{MARGIN:g} is log t" if log else f"0 is log t, {beyond}"
    decade = _last_decade(shown, exponent, level=level)
    shared = _shared(found.arms[shown.name], shown, len(found.arms), level=level)
    return f"{span} {grew} with p = {exponent}{shared} ({scale}); {decade}"


def _brief(shown: SpeakingArm, found: Judgement, *, level: float) -> str:
    """What the last decade added, in one sentence; empty where it cannot be compared."""
    ratio = mean_decade_ratio(shown.ratios, level=level)
    exponent = found.arms[shown.name].exponent
    if not math.isfinite(ratio.value):
        return ""
    told = f"{fixed(ratio.value)} {ratio.ends(fixed)} times as much distance as the one before"
    if ratio.high < _NOTHING:
        told = "no distance"
    by_log = max(logarithm_ratio(shown.last, shown.onset), 1.0) if _may_be_log(exponent) else 1.0
    added = f"At {shown.name} the last decade added {told}"
    if found.word == UNDECIDABLE:
        laws = f"p = {exponent} does not tell log t from a power"
        if clear_of_zero(exponent) > MARGIN:
            laws = f"p = {exponent} is no logarithm's, but late logarithms may fit as well"
        return f"{added}, and {laws}."
    if by_log >= _AS_MUCH:
        law = f"{shown.late_law} as fitted adds {fixed(by_log)} times as much"
        rest = "diffusion adds 3.16 times as much, but no power of t fits whole curves better"
        return f"{added}, and {law}; {rest}."
    return f"{added}, where a logarithm adds as much again and diffusion 3.16 times as much."


def _shared(said: ArmJudgement, shown: SpeakingArm, arms: int, *, level: float) -> str:
    """That an interval is as wide as it is since arms share the error, where that is much."""
    freedom, alone = shown.curves.exponents.size - 1, joint_level(level, 1)
    wider = t_quantile(freedom, said.level) / t_quantile(freedom, alone) - 1
    # Support has a level of its own.
    if said.level != joint_level(level, arms) or wider <= _WIDER:
        return ""
    return f" at {percent(said.level, 1)}, {percent(wider)} wider as {arms} arms share the error"


_WIDER = 0.1  # of an interval: less changes nothing that anybody would read off it


def _may_be_log(exponent: Interval) -> bool:
    """Whether an exponent is that of log t, or counts as it."""
    return exponent.contains(0.0) or exponent.farthest < MARGIN


def _last_decade(shown: SpeakingArm, exponent: Interval, *, level: float) -> str:
    """ρ beside that of the logarithm, with the onset that was fitted where it may be the law."""
    ratio = mean_decade_ratio(shown.ratios, level=level)
    if not math.isfinite(ratio.value):
        return "its last decade cannot be compared with the one before"
    told = f"{fixed(ratio.value)} times {ratio.ends(fixed)}"
    added = f"its last decade added {told} as much as the one before"
    if ratio.high < _NOTHING:
        added = "its last decade added nothing"
    expected = logarithm_ratio(shown.last, shown.onset)
    if _may_be_log(exponent) and expected > _AS_MUCH:
        law = f"{shown.late_law}, with the onset that was fitted,"
        return f"{added}, where {law} adds {fixed(expected)} times"
    return f"{added}; a logarithm past its onset adds 1 time as much, diffusion 3.16 times"


_NOTHING = 0.005  # ρ below which a decade adds nothing, or takes away: there is no less than none
_AS_MUCH = 1.05  # ρ below which a logarithm adds as much in both decades, to the eye


def _rival(shown: SpeakingArm, said: ArmJudgement, word: str) -> str:
    """What late logarithms and powers of t make of the curves."""
    faster = said.exponent.value > 0
    power = "a power of t" if faster else "a law that saturates"
    if word == SUPPORTED:
        return "Neither a power of t nor a law that saturates fits better"
    if word == CONTRADICTED:
        chance = said.better[0 if faster else 1]
        farther = _farther(shown, faster)
        told = f"Even the best late logarithm misses the curves {farther} {power}"
        if chance >= _RARE:
            return told
        return f"{told}, which chance would do in {_rarely(chance)} of studies"
    if clear_of_zero(said.exponent) > MARGIN:
        return _chance(shown, faster, power)
    if said.exponent.farthest < MARGIN:
        bent = "the last decade is none of a logarithm's"
        power = "powers of t fit better than logarithms that set in late"
        return f"Over all iterations this counts as log t, but {bent if said.bent else power}"
    ends = number(said.exponent.low, 2), number(said.exponent.high, 2)
    log = "log t is one of them"
    if not said.exponent.contains(0.0):
        log = f"those up to t^{number(math.copysign(MARGIN, said.exponent.value))} count as log t"
    return f"All laws from t^{ends[0]} to t^{ends[1]} are possible, and {log}"


_RARE = 0.05  # chances that a sentence tells; those of arms that show it together are larger


def _rarely(chance: float) -> str:
    """A small chance, as a share."""
    return "fewer than 0.1%" if chance < 0.001 else percent(chance, 1)


def _farther(shown: SpeakingArm, faster: bool) -> str:
    """By how much the best late logarithm misses the curves farther than the best power."""
    ratio = _misses(shown, faster)
    if ratio >= 2:
        return f"{number(ratio, 2)} times as far as"
    return f"{percent(ratio - 1, 0 if ratio >= 1.1 else 1)} farther than"


def _chance(shown: SpeakingArm, faster: bool, power: str) -> str:
    """That a late logarithm fits as well as a power, or too nearly so."""
    ratio = _misses(shown, faster)
    if ratio >= 2:
        return f"But the best late logarithm misses the curves {_farther(shown, faster)} {power}"
    if ratio >= 1 + _ALIKE:
        farther = _farther(shown, faster)
        return (
            f"But the best late logarithm misses the curves only {farther} {power}, which may be "
            "chance"
        )
    if ratio > 1 - _ALIKE:
        return f"But a late logarithm fits the curves as well as {power}"
    less = percent(1 - ratio, 0)
    return (
        f"But a late logarithm fits the curves better than {power}: it misses them by {less} less"
    )


_ALIKE = 0.01  # of the misfit: a difference that nobody would name


def _misses(shown: SpeakingArm, faster: bool) -> float:
    """Residuals of the best late logarithm over those of the best power, in the metric of A."""
    better = shown.curves.advantage
    return math.exp(float((better.faster if faster else better.slower).mean()) / 2)


def _conditions(shown: SpeakingArm, found: Judgement) -> tuple[str, ...]:
    """What the verdict takes for granted, and how it was tested."""
    count = len(found.arms)
    said = found.arms[shown.name]
    shared = f"the error is shared among {count} arms" if count > 1 else "one arm speaks"
    at = f"that of p, which decides, is the {percent(said.level, 1)} interval"
    power = 10**said.exponent.value
    return (
        f"constant learning rate over iterations {shown.first} to {shown.last}",
        f"intervals across seeds, which are independent runs; {shared}; {at}",
        f"late logarithms: log(t + τ) with τ up to {number(round(ONSET * shown.last))}; curves "
        f"that grow like t^{BEGINNINGS[0]:g} to t^{BEGINNINGS[-1]:g} at first, or begin with what "
        f"saturates, and are log t by about iteration {settled(shown.last)}",
        "powers of log t, which rougher landscapes predict, grow between log t and t^p: those "
        f"whose slope in log t grows like t^±{BENT:g} at most in the end count as log t, others "
        "are left to P1'",
        f"10^p = {number(power)} is what t^p without onset or bend adds in a decade for each 1 "
        "in the one before",
        *([_CAUSE] if found.word == SUPPORTED else []),
    )


def _misfits(arms: Sequence[SpeakingArm], kept: Study) -> tuple[str, ...]:
    """The arms whose curves leave the family of laws, in one phrase."""
    if "local_exponent" not in kept.fits:
        return ()
    fits = [(arm.name, kept.fits.sel(node=list(arm.nodes))) for arm in arms]
    told = [
        f"at {name}: {found}"
        for name, own in fits
        if (
            found := misfit(
                own["local_exponent"].values, own["law_exponent"].values, level=kept.level
            )
        )
    ]
    return (f"within the family there is a misfit {'; '.join(told)}",) if told else ()


def _silent(kept: Study, entered: Study) -> tuple[str, ...]:
    """Arms whose runs can be used but are too few, each named once."""
    few = {
        arm: len(nodes) for arm, nodes in kept.arms.items() if not set(nodes) & set(entered.runs)
    }
    if not few:
        return ()
    names = arm_names(kept.runs)
    listed = [
        f"{arm.batch_size}{f' ({which})' if (which := names[kept.arms[arm][0]]) else ''}: "
        f"{plural(count, 'seed')}"
        for arm, count in few.items()
    ]
    return (f"left out, as too few of their seeds can be used: batch size {'; '.join(listed)}",)


def _advice(shown: SpeakingArm, found: Judgement, kept: Study) -> Missing:
    """What would decide, for the arm that the sentence is about."""
    if found.word != UNDECIDABLE:
        return Missing("", "")
    own = kept.part(shown.nodes)
    if found.arms[shown.name].bent and found.arms[shown.name].exponent.farthest < MARGIN:
        # A law fitted to all iterations forecasts nothing of growth that has left it.
        later = 10.0 * shown.last
        why = "which shows whether the growth goes on as it bends"
        return Missing("", f"{own.longer(later)}, {why}", shown.last, later, "iterations")
    return _advised(own, shown.name, len(found.arms))


def _advised(own: Study, where: str, arms: int) -> Missing:
    """What would decide an arm: so many seeds until such an iteration.

    Arguments:
        own: its runs.
        where: its name.
        arms: arms that share the error of a contradiction.
    """
    try:
        of = pilot(own.runs, own.fits)
    except ValueError:  # no run could be fitted
        return Missing("", "")
    if of.found is None:
        return Missing("", "")
    way = advise(of, level=1 - (1 - own.level) / arms)
    needed = way.in_words(where, own.longer(way.last) if way.longer else "")
    count, last = way.outlook.present
    if not way.likely:
        return Missing("", needed)
    if way.longer:
        return Missing("", needed, last, way.last, "iterations")
    return Missing("", needed, count, way.seeds, "seeds")


def pilot_of(study: Study) -> tuple[Pilot, int]:
    """The arm that P1's verdict on a study is about, as a plan takes it.

    Arguments:
        study: the runs.

    Returns:
        The pilot, and the number of arms that share the error.

    Raises:
        ValueError: when no run could be fitted.
    """
    runs = study.drawn(LEAST_SEEDS)
    kept = runs.part(usable(runs.fits)[0])
    arms = speaking_arms(kept, runs) if kept.runs else []
    if not arms:
        _, own = _most_seeds(kept if kept.runs else runs)
        return pilot(own.runs, own.fits), 1
    found = judge({arm.name: arm.curves for arm in arms}, level=study.level)
    own = kept.part(telling_arm(arms, found).nodes)
    return pilot(own.runs, own.fits), len(arms)
