"""The arms that speak on P1, and the one that its sentence is about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.comparison import LATE_LOGARITHM, LOGARITHM, ArmLaws
from ultraslow.analysis.growth import (
    DECADES,
    LEAST_SEEDS,
    MARGIN,
    Advantage,
    ArmCurves,
    ArmJudgement,
    Judgement,
    falls,
    judge,
    signed_root,
    usable,
)
from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SUPPORTED,
    Interval,
    t_interval,
)
from ultraslow.analysis.predictions.landscape import log_power, power_advantage, shifted_power
from ultraslow.analysis.runs import Arm, arm_names
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import first_of, number, of_batch_size


@dataclass(frozen=True)
class SpeakingArm:
    """An arm with enough usable runs to speak on P1.

    Attributes:
        name: in words, told apart from all others that speak.
        batch_size: M, samples.
        nodes: its usable runs.
        curves: what was found of them.
        ratios: ρ of each, how much the last decade added compared with the one before.
        onset: τ, mean of the fits, iterations.
        first: iteration at which the constant rate of all of them begins.
        last: iteration at which it ends.
    """

    name: str
    batch_size: int
    nodes: tuple[str, ...]
    curves: ArmCurves
    ratios: NDArray[np.float64]
    onset: float
    first: int
    last: int

    @property
    def short(self) -> str:
        """Its name in a list of arms."""
        return self.name.removeprefix("batch size ")

    @property
    def late_law(self) -> str:
        """The logarithm with the onset that was fitted."""
        return f"log(t + {number(round(self.onset))})"

    @property
    def logarithm(self) -> str:
        """Its law where it counts as log t, with the iteration from which its slope shows that."""
        begins = _BEGUN * round(self.onset)
        if begins <= self.last / 100:  # all of the last two decades are logarithmic
            return "log t"
        seen = begins <= _SEEN * self.last
        since = f", log t from about iteration {number(begins)} on," if seen else ""
        return f"{self.late_law}{since}"


_BEGUN = 10  # onsets after which log(t + τ) grows within 10 % as log t does
_SEEN = 0.3  # of the iterations: what sets in later than half a decade before the end is not seen


def speaking_arms(kept: Study, runs: Study) -> list[SpeakingArm]:
    """The arms that speak on P1.

    Arguments:
        kept: the runs whose fits can be used.
        runs: all runs.

    Returns:
        Arms of `LEAST_SEEDS` usable runs or more that are at least half of those long enough:
        fits that fail may do so where p is large or small, and a short run fails whatever p is.
    """
    members = {
        arm: nodes
        for arm, nodes in kept.arms.items()
        if len(nodes) >= max(LEAST_SEEDS, len(long_enough(runs, arm)) / 2)
    }
    # Told apart from each other alone: an arm that says nothing lengthens no name.
    words = arm_names({node: kept.runs[node] for nodes in members.values() for node in nodes})
    return [_speaking(arm, nodes, words[nodes[0]], kept) for arm, nodes in members.items()]


def falling(arms: Sequence[SpeakingArm], kept: Study) -> str:
    """That the distance of some arms falls, in a sentence; empty where none does."""
    names = [arm.name for arm in arms if falls(kept.fits.sel(node=list(arm.nodes)))]
    if not names:
        return ""
    return f"The distance falls at {first_of(names)}, which no law of growth describes."


def judged_arms(study: Study) -> list[tuple[SpeakingArm, ArmJudgement]]:
    """The arms that speak on P1, each with what it would say were it the only one.

    Word and interval belong together then; the verdict on P1 shares the error among all arms, and
    its intervals are wider.

    Arguments:
        study: a set of equal runs.
    """
    runs = study.drawn(LEAST_SEEDS)
    kept = runs.part(usable(runs.fits)[0])
    arms = speaking_arms(kept, runs) if kept.runs else []
    alone = [judge({arm.name: arm.curves}, level=study.level) for arm in arms]
    return [(arm, found.arms[arm.name]) for arm, found in zip(arms, alone, strict=True)]


def deciding_arms(study: Study) -> list[tuple[SpeakingArm, ArmJudgement]]:
    """The arms that speak on P1, each as the verdict takes it: they share the error.

    Arguments:
        study: a set of equal runs.
    """
    runs = study.drawn(LEAST_SEEDS)
    kept = runs.part(usable(runs.fits)[0])
    arms = speaking_arms(kept, runs) if kept.runs and runs.unlike is None else []
    found = judge({arm.name: arm.curves for arm in arms}, level=study.level)
    return [(arm, found.arms[arm.name]) for arm in arms]


def _speaking(arm: Arm, nodes: Sequence[str], which: str, kept: Study) -> SpeakingArm:
    fits = kept.fits.sel(node=nodes)
    better = Advantage(fits["faster_advantage"].values, fits["slower_advantage"].values)
    return SpeakingArm(
        f"{of_batch_size(arm.batch_size)} ({which})" if which else str(arm),
        arm.batch_size,
        tuple(nodes),
        ArmCurves(fits["exponent"].values, better, fits["decade_ratio"].values),
        fits["decade_ratio"].values,
        float(fits["onset"].mean()),
        int(fits["first"].max()),
        int(fits["last"].min()),
    )


def long_enough(runs: Study, arm: Arm) -> list[str]:
    """Runs of an arm whose constant rate lasts long enough."""
    return [node for node in runs.arms[arm] if runs.fits["decades"].sel(node=node) >= DECADES]


def telling_arm(arms: Sequence[SpeakingArm], found: Judgement) -> SpeakingArm:
    """The arm that sentence and picture are about: of those that carry the word, the clearest."""

    def clearness(arm: SpeakingArm) -> tuple[bool, float]:
        exponent = found.arms[arm.name].exponent
        if found.word == CONTRADICTED:
            return True, clear_of_zero(exponent)
        if found.word == SUPPORTED:
            return True, -exponent.farthest
        # An arm beyond the margin blocks support, however wide others are.
        return clear_of_zero(exponent) > MARGIN, exponent.farthest

    return max((arm for arm in arms if arm.name in found.carrying), key=clearness)


def clear_of_zero(exponent: Interval) -> float:
    """How far an interval keeps clear of 0; below 0 where it holds 0."""
    return max(exponent.low, -exponent.high)


def power_of_logarithm(shown: SpeakingArm, found: Judgement, own: Study, compared: ArmLaws) -> str:
    """That a power of ln t describes an arm better than powers of t do; empty where none does.

    Such growth is no logarithm, and P1 is contradicted rightly; but it is no power of t either.
    It is what P1' is about, and q is taken as P1' takes it. Either its fits leave less unexplained
    than those of powers of t, by a t test across seeds, or its forecasts hold and theirs do not.

    Arguments:
        shown: the arm.
        found: what all arms say.
        own: its runs.
        compared: the laws on them.

    Returns:
        A clause, without a full stop.
    """
    exponent = found.arms[shown.name].exponent
    surviving = set(compared.surviving)
    no_logarithm = clear_of_zero(exponent) > MARGIN and not surviving & {LOGARITHM, LATE_LOGARITHM}
    if found.word != CONTRADICTED and not no_logarithm:
        return ""
    powers = list(own.each(log_power).values())
    q = t_interval(powers, level=own.level)
    if q.n < len(powers) or not (q.low > 1 if exponent.value > 0 else q.high < 1):
        return ""
    shifted = t_interval(list(own.each(shifted_power).values()), level=own.level)
    if not (shifted.low > 1 if exponent.value > 0 else shifted.high < 1):
        return ""
    # How the start is read decides q: an interval across seeds, which share it, would mislead.
    readings = sorted({number(one.value, 2) for one in (q, shifted)})
    told = f"A power of the logarithm, about (ln t)^{' to (ln t)^'.join(readings)},"
    rest = "P1' speaks of such growth, which is not log t"
    forecasts = not compared.tolerance and _LOG_POWER in surviving
    if exponent.value < 0:
        alone = forecasts and "saturating power" not in surviving
        return f"{told} forecasts them, and no power of t does: {rest}" if alone else ""
    advantage = signed_root(np.array(list(own.each(power_advantage).values())))
    better = t_interval(advantage, level=own.level)
    if better.high < 0:
        return f"{told} fits them better than any power of t: {rest}"
    alone = forecasts and "power" not in surviving and not better.low > 0
    return f"{told} forecasts them, and no power of t does: {rest}" if alone else ""


_LOG_POWER = "power of the log"  # its name among the laws that are compared
