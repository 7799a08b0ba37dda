"""What the means of numbers across the seeds of several arms say on a claim together.

A claim names a zone for each number. An arm speaks for it where the intervals of all its means
lie in their zones, and against it where one lies beyond. The claim is contradicted where one arm
speaks against it at `joint_level`, or all arms do together (Stouffer's sum); it is supported where
all arms speak for it, or some do at `joint_level` and no other leans beyond its zone. So an arm of
which little is known does not take away what the others show.

What would decide is simulated as well: arms are continued by seeds like those that are there, with
mean and spread drawn from what these tell of them, and judged by the same rule.

References:
    Ibragimov and Müller (2010), Journal of Business & Economic Statistics 28, 453: t tests across
    clusters. Stouffer et al. (1949), The American Soldier I, 45: the sum of normal deviates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from ultraslow.analysis.intervals import (
    ASSURED,
    CONTRADICTED,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    MoreSeeds,
    advised,
    joint_level,
    seeds_at_most,
    t_interval,
)

Array = NDArray[np.float64]

# An arm leans beyond a zone where its interval at this level does not reach into it.
_LEANING = 0.8
_DRAWS = 400
_GRID = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 26, 32, 40, 50, 65, 80, 100)


@dataclass(frozen=True)
class Zone:
    """Where a mean lies if a claim holds, and what speaks against it.

    Attributes:
        low: lowest mean at which the claim holds.
        high: highest one.
        below: means that are surely smaller speak against the claim.
        above: means that are surely larger do.
    """

    low: float
    high: float
    below: float = -math.inf
    above: float = math.inf

    @classmethod
    def within(cls, margin: float, centre: float = 0.0) -> "Zone":
        """The zone centre ± margin, whatever lies beyond which speaks against the claim."""
        ends = centre - margin, centre + margin
        return cls(*ends, *ends)

    def outside(self, found: Interval) -> float:
        """How far an interval reaches out of the zone; negative where it lies within."""
        return max(self.low - found.low, found.high - self.high)

    def beyond(self, found: Interval) -> float:
        """How far an interval lies beyond what speaks against the claim; else negative."""
        return max(self.below - found.high, found.low - self.above)


@dataclass(frozen=True)
class Measure:
    """One number a run, and where its mean has to lie.

    Attributes:
        zone: where the claim holds.
        values: the numbers, shape (seed,), of each arm.
    """

    zone: Zone
    values: Sequence[Array]


@dataclass(frozen=True)
class Judged:
    """What arms say on a claim.

    Attributes:
        word: supported, contradicted or undecidable.
        arm: place of the arm that the word hangs on: the clearest against the claim, else the one
            that reaches farthest.
        measure: place of the measure that it hangs on.
        mean: of that measure in that arm, with its interval.
        level: confidence level of that interval.
        carrying: places of the arms that carry the word.
        together: whether no arm contradicts by itself, but all do together.
    """

    word: str
    arm: int
    measure: int
    mean: Interval
    level: float
    carrying: tuple[int, ...]
    together: bool = False


def judge(measures: Sequence[Measure], *, level: float) -> Judged:
    """What arms say, from the numbers of their runs.

    Arguments:
        measures: one or more, of the same arms; each arm has two runs or more.
        level: confidence level of an arm's interval.

    Returns:
        The word and what it hangs on.

    >>> claim = Measure(Zone.within(0.1), [np.array([0.01, -0.02, 0.02, 0.0])])
    >>> judge([claim], level=0.95).word
    'supported'
    """
    found = _rule([_summary(measure) for measure in measures], level)
    arms = range(len(measures[0].values))
    intervals = [[t_interval(x, level=level) for x in one.values] for one in measures]
    places = [(q, k) for q in range(len(measures)) for k in arms]
    if found.contradicted:
        joint = joint_level(level, 1 if found.together else _contradicting(measures))
        wide = [[t_interval(x, level=joint) for x in one.values] for one in measures]
        clearness = {(q, k): measures[q].zone.beyond(wide[q][k]) for q, k in places}
        q, k = max(places, key=clearness.__getitem__)
        own = tuple(sorted({arm for (_, arm), size in clearness.items() if size > 0})) or (k,)
        return Judged(CONTRADICTED, k, q, wide[q][k], joint, own, bool(found.together))
    if found.supported:
        own = tuple(np.flatnonzero(found.supporting).tolist())
        k = max(own, key=lambda arm: measures[0].zone.outside(intervals[0][arm]))
        return Judged(SUPPORTED, k, 0, intervals[0][k], level, own)
    # What leaves it open: the first measure that does not lie in its zone throughout.
    reach = [[m.zone.outside(i) for i in row] for m, row in zip(measures, intervals, strict=True)]
    q = next((q for q, row in enumerate(reach) if max(row) >= 0), 0)
    k = max(arms, key=reach[q].__getitem__)
    return Judged(UNDECIDABLE, k, q, intervals[q][k], level, tuple(arms))


def seeds_needed(measures: Sequence[Measure], *, level: float) -> MoreSeeds:
    """Seeds an arm with which the claim would be decided, by simulated continuations.

    Mean and spread of each arm are drawn from what its seeds tell of them (the normal model with
    the prior 1/σ), seeds are added, and all of them judged again.

    Arguments:
        measures: what is known; undecided.
        level: confidence level of an arm's interval.

    Returns:
        The seeds an arm that are to be advised (`intervals.advised`).
    """
    rng = np.random.default_rng(0)
    known = [_summary(measure) for measure in measures]
    true = [_drawn(one, rng) for one in known]
    most, tried = max(int(one.count.max()) for one in known), dict[int, float]()
    for more in _GRID:
        wanted = most + more
        if wanted > seeds_at_most(most):
            break
        longer = [_continued(*pair, wanted, rng) for pair in zip(known, true, strict=True)]
        found = _rule(longer, level)
        tried[wanted] = float((found.supported | found.contradicted).mean())
        if tried[wanted] >= ASSURED:
            break
    return advised(tried, most)


@dataclass(frozen=True)
class _Summary:
    """Mean, spread and number of a measure's values, shape (*, arm)."""

    zone: Zone
    mean: Array
    spread: Array
    count: Array


@dataclass(frozen=True)
class _Words:
    """What sets of arms say, shape (*,)."""

    contradicted: NDArray[np.bool_]
    together: NDArray[np.bool_]
    supported: NDArray[np.bool_]
    supporting: NDArray[np.bool_]


def _summary(measure: Measure) -> _Summary:
    each = [np.asarray(x, dtype=np.float64) for x in measure.values]
    mean = np.array([x.mean() for x in each])
    spread = np.array([x.std(ddof=1) for x in each])
    return _Summary(measure.zone, mean, spread, np.array([float(x.size) for x in each]))


def _contradicting(measures: Sequence[Measure] | Sequence[_Summary]) -> int:
    """How many means could speak against the claim by themselves."""
    bounded = sum(math.isfinite(m.zone.below) or math.isfinite(m.zone.above) for m in measures)
    first = measures[0]
    arms = len(first.values) if isinstance(first, Measure) else first.mean.shape[-1]
    return max(bounded, 1) * arms


def _ends(one: _Summary, level: float) -> tuple[Array, Array]:
    half = stdtrit(one.count - 1, 0.5 + level / 2) * one.spread / np.sqrt(one.count)
    return one.mean - half, one.mean + half


def _rule(known: Sequence[_Summary], level: float) -> _Words:
    """The words of many sets of arms at once."""
    arms = known[0].mean.shape[-1]
    shared = joint_level(level, _contradicting(known))
    error = (1 - joint_level(level, 1)) / 2
    shape = known[0].mean.shape
    alone = together = np.zeros(shape[:-1], dtype=bool)
    surely = within = np.ones(shape, dtype=bool)
    leaning = np.zeros(shape, dtype=bool)
    for one in known:
        low, high = _ends(one, shared)
        alone = alone | ((low > one.zone.above) | (high < one.zone.below)).any(axis=-1)
        if arms > 1:
            together = together | (_stouffer(one) < error)
        low, high = _ends(one, level)
        within = within & (low > one.zone.low) & (high < one.zone.high)
        low, high = _ends(one, joint_level(level, arms))
        surely = surely & (low > one.zone.low) & (high < one.zone.high)
        low, high = _ends(one, _LEANING)
        leaning = leaning | (low >= one.zone.high) | (high <= one.zone.low)
    contradicted = alone | together
    everywhere = np.asarray(within.all(axis=-1))
    some = surely.any(axis=-1) & ~leaning.any(axis=-1)
    supporting = np.where(everywhere[..., None], within, surely)
    return _Words(contradicted, together & ~alone, ~contradicted & (everywhere | some), supporting)


def _stouffer(one: _Summary) -> Array:
    """p-value of all arms together against the claim, on the side that is clearer, shape (*,)."""
    error = np.maximum(one.spread / np.sqrt(one.count), 1e-300)
    sums = []
    for distance in (one.mean - one.zone.above, one.zone.below - one.mean):
        p_values = stdtr(one.count - 1, -np.clip(distance / error, -1e6, 1e6))
        deviates = -ndtri(np.clip(p_values, 1e-12, 1 - 1e-12))
        sums.append(ndtr(-deviates.sum(axis=-1) / math.sqrt(one.mean.shape[-1])))
    return np.minimum(*sums)


def _drawn(one: _Summary, rng: np.random.Generator) -> tuple[Array, Array]:
    """Means and spreads that the seeds allow, shape (draw, arm)."""
    freedom = one.count - 1
    shape = (_DRAWS, one.mean.size)
    spread = one.spread * np.sqrt(freedom / rng.chisquare(freedom, shape))
    return one.mean + spread / np.sqrt(one.count) * rng.standard_normal(shape), spread


def _continued(
    one: _Summary, true: tuple[Array, Array], wanted: int, rng: np.random.Generator
) -> _Summary:
    """The summary after so many seeds an arm in all, of drawn means and spreads."""
    mean, spread = true
    more = wanted - one.count
    sample = mean + spread / np.sqrt(more) * rng.standard_normal(mean.shape)
    within = spread**2 * np.where(more > 1, rng.chisquare(np.maximum(more - 1, 1), mean.shape), 0)
    between = one.count * more / wanted * (sample - one.mean) ** 2
    squares = (one.count - 1) * one.spread**2 + within + between
    pooled = (one.count * one.mean + more * sample) / wanted
    total = np.full_like(one.count, float(wanted))
    return _Summary(one.zone, pooled, np.sqrt(squares / (wanted - 1)), total)
