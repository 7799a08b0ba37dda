"""How many seeds would decide, and whether so many do."""

import math

import numpy as np
import pytest

from ultraslow.analysis.intervals import (
    Interval,
    MoreSeeds,
    chance_within,
    seeds_to_decide,
    t_interval,
    t_quantile,
)

LEVEL, MARGIN = 0.95, 0.1


REGIONS = {
    "above": (0.05, math.inf),
    "below": (-math.inf, 0.45),
    "between": (-0.1, 0.6),
}


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize(("arms", "now", "then"), [(1, 6, 15), (1, 3, 4), (2, 5, 9), (2, 2, 12)])
def test_the_chance_is_that_of_simulated_continuations(arms, now, then, region):
    """Seeds are drawn one by one from drawn means and spreads, and all of them judged."""
    rng = np.random.default_rng([now, then])
    there = rng.normal([[0.3], [0.0]][:arms], 0.1, (arms, now))
    freedom, draws = arms * (now - 1), 40_000
    pooled = math.sqrt(there.var(axis=1, ddof=1).mean())
    value, sign = there[0].mean() - there[1:].mean(axis=1).sum(), np.array([[1.0], [-1.0]])[:arms]
    half = t_quantile(freedom, LEVEL) * pooled * math.sqrt(arms / now)

    spread = pooled * np.sqrt(freedom / rng.chisquare(freedom, (draws, 1, 1)))
    centres = there.mean(axis=1)[:, None]
    mean = centres + spread / math.sqrt(now) * rng.standard_normal((draws, arms, 1))
    more = mean + spread * rng.standard_normal((draws, arms, then - now))
    everyone = np.concatenate([np.broadcast_to(there, (draws, arms, now)), more], axis=2)
    later = (sign * everyone.mean(axis=2, keepdims=True)).sum(axis=(1, 2))
    error = np.sqrt(everyone.var(axis=2, ddof=1).mean(axis=1) * arms / then)
    ends = t_quantile(arms * (then - 1), LEVEL) * error

    low, high = REGIONS[region]
    simulated = np.mean((later - ends > low) & (later + ends < high))
    found = Interval.around(value, half, n=now)
    chance = chance_within(found, then, low=low, high=high, level=LEVEL, arms=arms)
    assert chance == pytest.approx(simulated, abs=0.012)


def test_regions_that_the_interval_cannot_fit_in_have_no_chance():
    wide = Interval(0.0, -1.0, 1.0, 5)
    assert chance_within(wide, 6, low=-0.1, high=0.1, level=LEVEL) == 0.0
    assert chance_within(Interval(0.0, -math.inf, math.inf, 5), 9, low=-1, level=LEVEL) == 0.0
    assert chance_within(Interval(0.0, -1, 1, 1), 9, low=-1, level=LEVEL) == 0.0
    exact = Interval(0.2, 0.2, 0.2, 5)
    assert chance_within(exact, 9, low=0.1, level=LEVEL) == 1.0
    assert chance_within(exact, 9, low=0.3, level=LEVEL) == 0.0
    as_it_is = Interval(0.2, 0.15, 0.25, 5)
    assert [chance_within(as_it_is, 4, low=low, level=LEVEL) for low in (0.1, 0.2)] == [1.0, 0.0]


def test_the_fewest_seeds_are_looked_for_and_a_tenth_more_advised():
    assert seeds_to_decide(lambda seeds: float(seeds >= 7), 5) == MoreSeeds(5, 8, 1.0)
    assert seeds_to_decide(lambda seeds: 1.0, 4) == MoreSeeds(4, 7, 1.0)
    assert 15 <= seeds_to_decide(lambda seeds: float(seeds >= 13), 5).count <= 18
    # Three times those that there are, and six.
    assert seeds_to_decide(lambda seeds: float(seeds >= 21), 5).count == 21
    assert seeds_to_decide(lambda seeds: float(seeds >= 22), 5) == MoreSeeds(5, 0, 0.0)


def test_without_enough_seeds_the_likeliest_number_is_told_with_its_share():
    rising = seeds_to_decide(lambda seeds: 0.03 * seeds, 5)
    assert rising == MoreSeeds(5, 21, 0.63)
    assert rising.in_words("an arm") == "21 seeds an arm (now 5), which decides 63% of studies"
    # No more than decide as often.
    assert seeds_to_decide(lambda seeds: 0.7 + 0.001 * seeds, 5) == MoreSeeds(5, 7, 0.707)
    assert seeds_to_decide(lambda seeds: 0.49, 5) == MoreSeeds(5, 0, 0.49)


def decided(values):
    found = t_interval(values, level=LEVEL)
    return found.low > MARGIN or found.high < MARGIN


@pytest.mark.parametrize("seeds", [4, 5, 10])
def test_advice_that_is_followed_decides(seeds):
    """In four of five studies, over truths near the margin and far from it."""
    rng = np.random.default_rng(2)
    followed = []
    while len(followed) < 200:
        true = rng.uniform(-0.2, 0.4)
        now = rng.normal(true, 0.1, seeds)
        if decided(now):
            continue
        found = t_interval(now, level=LEVEL)
        wanted = seeds_to_decide(
            lambda n, found=found: sum(
                chance_within(found, n, level=LEVEL, **region)
                for region in ({"low": MARGIN}, {"high": MARGIN})
            ),
            seeds,
        )
        wanted = wanted.count if wanted.chance >= 0.8 else 0
        if wanted:
            followed.append(decided([*now, *rng.normal(true, 0.1, wanted - seeds)]))
    assert np.mean(followed) >= 0.8 - 2 * math.sqrt(0.16 / 200)
