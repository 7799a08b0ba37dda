"""How many seeds would decide: the chance that an interval, with more of them, lies in a region.

Seeds are added to those that are there. What these tell of the true value is its posterior under
the prior 1/σ, value + error·t; so an estimate that happens to lie near a margin does not make the
advice endless, as one would be that took it for the truth.

References:
    O'Hagan, Stevens and Campbell (2005), Pharmaceutical Statistics 4, 187: assurance.
"""

import math
from collections.abc import Callable

from scipy import stats

from .interval import Interval, t_quantile

ASSURED = 0.8  # chance of a decision that advice is for
_GROWTH = 1.15
# As many seeds more: where few are advised, those that are there agree by luck now and then.
_SPARE = 1.25


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

    With n₀ seeds and standard error s now, the estimate after n seeds is value + s·√(1 − n₀/n)·t,
    t of n₀ − 1 degrees of freedom an arm, and the ends are as far from it as they are now, times
    √(n₀/n) and the ratio of Student's quantiles.

    Arguments:
        found: the estimate now, with `n` seeds, two or more, and finite ends.
        seeds: n; where it is no more than now, the interval stays as it is.
        low: lower end of the region.
        high: upper end.
        level: confidence level of the interval.
        arms: samples of so many seeds that it is made of: 2 for a difference of two means.

    Returns:
        The chance.

    >>> wide = Interval(0.5, 0.0, 1.0, n=5)
    >>> [round(chance_within(wide, n, low=0.0, level=0.95), 2) for n in (6, 10, 40)]
    [0.82, 0.91, 0.95]
    """
    if not (found.n >= 2 and math.isfinite(found.low) and math.isfinite(found.high)):
        return 0.0
    seeds, freedom = max(seeds, found.n), arms * (found.n - 1)
    quantile = t_quantile(freedom, level)
    shrink = math.sqrt(found.n / seeds) * t_quantile(arms * (seeds - 1), level) / quantile
    least = low + (found.value - found.low) * shrink
    most = high - (found.high - found.value) * shrink
    if least >= most:
        return 0.0
    error = (found.high - found.low) / 2 / quantile * math.sqrt(1 - found.n / seeds)
    if error == 0:
        return float(least < found.value < most)
    ends = [(end - found.value) / error for end in (least, most)]
    return float(stats.t.cdf(ends[1], freedom) - stats.t.cdf(ends[0], freedom))


def seeds_at_most(count: int) -> int:
    """The most seeds that are advised where there are so many: beyond, another study is cheaper.

    >>> seeds_at_most(3), seeds_at_most(5)
    (15, 21)
    """
    return 3 * count + 6


def seeds_to_decide(chance: Callable[[int], float], count: int) -> int:
    """Seeds whose chance of a decision suffices, and a quarter more.

    Arguments:
        chance: of a decision with so many seeds.
        count: seeds that are there.

    Returns:
        Their number, in steps of a few percent; 0 where `seeds_at_most` do not suffice.
    """
    seeds = count + max(count // 2, 1)  # with fewer the spread may change the ends again
    while math.ceil(_SPARE * seeds) <= seeds_at_most(count):
        if chance(seeds) >= ASSURED:
            return math.ceil(_SPARE * seeds)
        seeds = max(seeds + 1, round(seeds * _GROWTH))
    return 0
