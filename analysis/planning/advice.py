"""What decides an arm that P1 leaves undecided: so many seeds until such an iteration.

One instruction: of all designs of up to `MOST_TIMES` as many iterations and `seeds_at_most`, the
one with the fewest further updates whose simulated continuations are decided often enough
(`outlook`). Where none is, the likeliest is named with its share; where that decides less often
than not, it says perhaps, and why no more can be promised. Only where next to no study would be
decided nothing is named. The verdict and `ultraslow plan` advise by this one function.
"""

import math
from dataclasses import dataclass

from ultraslow.analysis.growth import DECADES, LEAST_SEEDS, arm_words
from ultraslow.analysis.text import number, percent, plural

from .outlook import Outlook, outlook
from .pilot import Pilot

PROMISED = 0.8  # share of studies that followed advice decides
_LIKELY = 0.5  # of studies: below it a design is no instruction
_WORTHWHILE = 0.1  # below it no design is named
_ALIKE = 0.02  # of a share, by which designs differ by chance


@dataclass(frozen=True)
class Advice:
    """What decides an undecided arm.

    Attributes:
        outlook: what all designs would decide.
        seeds: runs in all; 0 where no design decides more than a few studies.
        last: iteration until which all of them train; 0 likewise.
        chance: of a decision, by the advised design; of the best one where none suffices.
    """

    outlook: Outlook
    seeds: int
    last: int
    chance: float

    @property
    def promised(self) -> bool:
        """Whether the design decides as often as advice promises."""
        return bool(self.seeds) and self.chance >= PROMISED

    @property
    def likely(self) -> bool:
        """Whether the design decides more often than not."""
        return bool(self.seeds) and self.chance >= _LIKELY

    @property
    def longer(self) -> bool:
        """Whether runs have to be longer than those that there are."""
        return self.last > self.outlook.present[1]

    def in_words(self, where: str, longer: str = "") -> str:
        """One instruction, or what may help and why no more can be promised.

        Arguments:
            where: the arm.
            longer: how to come to the later iteration, where that is more than to train on.
        """
        count, last = self.outlook.present
        if not self.seeds:
            most, end = self.outlook.seeds[-1], self.outlook.lasts[-1]
            return (
                f"nothing up to {plural(most, 'seed')} at {where} until iteration {number(end)} "
                f"({percent(self.chance)} of such studies would be decided), as "
                f"{self.outlook.obstacle}"
            )
        later = longer or f"training on at the same rate until iteration {number(self.last)}"
        told = later
        if self.seeds != count:
            told = f"{plural(self.seeds, 'seed')} at {where} (now {count})"
            told += f", and {later} in all of them" if self.longer else ""
        if self.promised:
            return told
        told = f"{told}, which decides {percent(self.chance)} of studies"
        return told if self.likely else f"perhaps {told}, as {self.outlook.obstacle}"


def advise(of: Pilot, *, level: float) -> Advice:
    """What decides an arm that P1's rule leaves undecided.

    Arguments:
        of: the arm, as `pilot` reads it; of one run or more.
        level: confidence level at which the arm is judged.

    Returns:
        The design that takes the fewest further updates of those that decide often enough.

    Raises:
        ValueError: when nothing was found of any run.
    """
    return advised_by(outlook(of, level=level))


def advised_by(ahead: Outlook) -> Advice:
    """What is advised where designs decide so often.

    Arguments:
        ahead: shares that each design decides.

    Returns:
        The design that takes the fewest further updates of those that decide often enough: as
        often as is promised, or hardly more rarely than the likeliest.
    """
    count, last = ahead.present
    cost = {
        (seeds * until - count * last, seeds, until): float(ahead.decided[row, column])
        for row, seeds in enumerate(ahead.seeds)
        for column, until in enumerate(ahead.lasts)
    }
    further = {design: chance for design, chance in cost.items() if design[0] > 0}
    best = max(further.values())
    if best < _WORTHWHILE:
        return Advice(ahead, 0, 0, best)
    enough = PROMISED if best >= PROMISED else best - _ALIKE
    design = min(design for design, chance in further.items() if chance >= enough)
    return Advice(ahead, design[1], design[2], cost[design])


def state_of(of: Pilot, *, level: float) -> str:
    """What P1's rule says of the pilot's arm alone, one of its words.

    Empty where it cannot speak: too few seeds, or too short ones.
    """
    found = of.found
    if found is None or found.exponents.size < LEAST_SEEDS:
        return ""
    if math.log10(of.times[-1] / of.times[0]) < DECADES:
        return ""
    return str(arm_words(found.exponents, found.advantage, level=level))
