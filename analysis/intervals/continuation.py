"""How many seeds would decide: the chance that an interval, with more of them, lies in a region.

Seeds are added to those that are there. What these tell of mean and spread is their posterior
under the prior 1/σ, and both are drawn from it: so an estimate that happens to lie near a margin
does not make the advice endless, as one would be that took it for the truth, and seeds that happen
to agree do not make it too small, as a spread would that was taken for known.

References:
    O'Hagan, Stevens and Campbell (2005), Pharmaceutical Statistics 4, 187: assurance.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from ultraslow.analysis.text import percent

from .interval import Interval, t_quantile

ASSURED = 0.8  # chance of a decision that advice is for
_LIKELY = 0.5  # below it a number of seeds is no instruction
_ALIKE = 0.02  # of a chance: more seeds for less than that are none to ask for
_GROWTH = 1.15
# As many seeds more: where more would be needed than are ever advised, those who are told a number
# are those whose seeds agree by luck (tests/statistics/advice_table.md).
_SPARE = 1.1
# Midpoints of so many equal shares of spreads, and of shifts; chances are right to .003.
_NODES = (np.arange(48) + 0.5) / 48


def chance_within(
    found: Interval,
    seeds: int,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    level: float,
    arms: int = 1,
) -> float:
    """Chance that the interval of an estimate lies within a region after more seeds.

    With n₀ seeds an arm, k arms, f₀ = k(n₀ − 1) degrees of freedom and standard error s now, the
    true spread is √(f₀/u) times that of now, u ~ χ²_f₀. After n seeds the estimate has moved by
    s·√(f₀/u)·√(1 − n₀/n)·z, z ~ N(0, 1), and its ends are as far from it as now, times √(n₀/n),
    the ratio of Student's quantiles and that of the spreads, of which the square is

    (f₀ + (f₀/u)·(v + z²))/(k(n − 1)), v ~ χ²_{k(n − n₀) − 1}:

    squares of now, of the new seeds, and of the shift, which lengthens the interval as well.

    Arguments:
        found: the estimate now, with `n` seeds, two or more, and finite ends.
        seeds: n; where it is no more than now, the interval stays as it is.
        low: lower end of the region.
        high: upper end.
        level: confidence level of the interval.
        arms: k, samples of so many seeds that it is made of: 2 for a difference of two means.

    Returns:
        The chance.

    >>> wide = Interval(0.5, 0.0, 1.0, n=5)
    >>> [round(chance_within(wide, n, low=0.0, level=0.95), 2) for n in (6, 10, 40)]
    [0.81, 0.85, 0.93]
    """
    if not (found.n >= 2 and math.isfinite(found.low) and math.isfinite(found.high)):
        return 0.0
    if seeds <= found.n:
        return float(low < found.low and found.high < high)
    freedom, total = arms * (found.n - 1), arms * (seeds - 1)
    quantiles = [t_quantile(each, level) for each in (freedom, total)]
    error = (found.high - found.low) / 2 / quantiles[0]
    spread = (freedom / special.chdtri(freedom, _NODES))[:, None]  # σ²/s²
    moved = special.ndtri(_NODES)
    value = found.value + error * np.sqrt((1 - found.n / seeds) * spread) * moved
    shrink = math.sqrt(found.n / seeds) * quantiles[1] / quantiles[0]
    below, above = shrink * (found.value - found.low), shrink * (found.high - found.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.fmin((value - low) / below, (high - value) / above)  # of the later spread over s
    most = (total * np.maximum(room, 0.0) ** 2 - freedom) / spread - moved**2  # of v
    chances = special.chdtr(arms * (seeds - found.n) - 1, np.maximum(most, 0.0))
    return float(np.where(most > 0, chances, 0.0).mean())


def seeds_at_most(count: int) -> int:
    """The most seeds that are advised where there are so many: beyond, another study is cheaper.

    >>> seeds_at_most(3), seeds_at_most(5)
    (15, 21)
    """
    return 3 * count + 6


@dataclass(frozen=True)
class MoreSeeds:
    """Seeds that are advised.

    Attributes:
        there: seeds that there are.
        count: seeds in all; 0 where no number decides more often than not.
        chance: of a decision with so many; of the best number where none is advised.
    """

    there: int
    count: int
    chance: float

    def in_words(self, where: str) -> str:
        """The instruction, with the share of studies that it decides where that is not promised.

        Arguments:
            where: of which runs there are to be so many, in words.

        >>> MoreSeeds(5, 21, 0.66).in_words("an arm")
        '21 seeds an arm (now 5), which decides 66% of studies'
        """
        told = f"{self.count} seeds {where} (now {self.there})"
        if self.chance >= ASSURED:
            return told
        return f"{told}, which decides {self.share} of studies"

    @property
    def share(self) -> str:
        """The chance in words.

        >>> MoreSeeds(5, 0, 0.26).share, MoreSeeds(5, 0, 0.001).share
        ('26%', 'fewer than 1%')
        """
        return percent(self.chance) if self.chance >= 0.01 else "fewer than 1%"


def advised(tried: Mapping[int, float], count: int) -> MoreSeeds:
    """The number of seeds to advise, of those that were tried.

    Arguments:
        tried: chance of a decision, by number of seeds; from the fewest on, up to the first whose
            chance suffices.
        count: seeds that are there.

    Returns:
        The number whose chance suffices, and a tenth more; where none does, the fewest that decide
        as often as any, if that is more often than not.
    """
    best, most = max(tried.values()), seeds_at_most(count)
    if best >= ASSURED:
        enough = min(seeds for seeds, share in tried.items() if share >= ASSURED)
        return MoreSeeds(count, min(math.ceil(_SPARE * enough), most), tried[enough])
    fewest = min(seeds for seeds, share in tried.items() if share >= best - _ALIKE)
    return MoreSeeds(count, fewest if best >= _LIKELY else 0, tried[fewest])


def seeds_to_decide(chance: Callable[[int], float], count: int) -> MoreSeeds:
    """Seeds whose chance of a decision suffices, or else the likeliest number (`advised`).

    Arguments:
        chance: of a decision with so many seeds.
        count: seeds that are there.

    Returns:
        Their number, in steps of a few percent up to `seeds_at_most`.
    """
    most, tried = seeds_at_most(count), dict[int, float]()
    seeds = count + max(count // 2, 1)  # with fewer the spread may change the ends again
    while True:
        tried[seeds] = chance(seeds)
        if tried[seeds] >= ASSURED or seeds == most:
            return advised(tried, count)
        seeds = min(max(seeds + 1, round(seeds * _GROWTH)), most)
