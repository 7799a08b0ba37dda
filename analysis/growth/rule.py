"""P1's rule: what the intervals of exponents say together, on recordings and in plans alike."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from ultraslow.analysis.intervals import CONTRADICTED, Interval, decide, joint_level

# A law of exponent 0.05 differs from the logarithm by 12 % of D one decade beyond three decades of
# data; below that, records of a few decades and per-cent noise cannot tell them apart.
MARGIN = 0.05

# The smallest exponent told from 0 with 80 % power is 1.96 + 0.84 standard errors.
DETECTABLE = 2.8


Found = TypeVar("Found", bound=Interval)


def judged(
    at: Callable[[float], Sequence[Found]], *, level: float, margin: float = MARGIN
) -> tuple[Sequence[Found], list[str]]:
    """The intervals that decide, and the word of each.

    Where one lies wholly beyond the margin all are taken anew, at the level at which they hold
    jointly: a verdict for all arms from the worst of them needs that. The exponents of noisy runs
    are skew, and t intervals of a few of them too short in the tail: with the error halved,
    simulated sets are contradicted wrongly in less than 2 %.

    Arguments:
        at: from a confidence level to the intervals of all exponents.
        level: confidence level.
        margin: largest |p| that counts as log growth.

    Returns:
        The intervals, and as many words; `decision.overall` makes one word of these.
    """
    intervals = at(level)
    words = [decide(item.low, item.high, margin) for item in intervals]
    if CONTRADICTED not in words:
        return intervals, words
    wide = at(joint_level(level, len(intervals)))
    return wide, [decide(item.low, item.high, margin) for item in wide]


def too_few(kept: int, left_out: int) -> bool:
    """Whether so many runs had to be left out that the rest say nothing of the set."""
    return kept < max(left_out, 1)
