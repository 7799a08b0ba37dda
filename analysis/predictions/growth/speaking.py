"""The arms that speak on P1, and the one that its sentence is about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.growth import DECADES, LEAST_SEEDS, MARGIN, Advantage, ArmCurves, Judgement
from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, Interval
from ultraslow.analysis.runs import Arm, arm_names
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import of_batch_size


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


def _speaking(arm: Arm, nodes: Sequence[str], which: str, kept: Study) -> SpeakingArm:
    fits = kept.fits.sel(node=nodes)
    better = Advantage(fits["faster_advantage"].values, fits["slower_advantage"].values)
    return SpeakingArm(
        f"{of_batch_size(arm.batch_size)} ({which})" if which else str(arm),
        arm.batch_size,
        tuple(nodes),
        ArmCurves(fits["exponent"].values, better),
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
