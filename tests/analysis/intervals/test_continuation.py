"""How many seeds would decide, and whether so many do."""

import math

import numpy as np
import pytest

from ultraslow.analysis.intervals import (
    Interval,
    chance_within,
    seeds_to_decide,
    t_interval,
    t_quantile,
)

LEVEL, MARGIN = 0.95, 0.1


def test_the_chance_is_that_of_simulated_continuations():
    rng = np.random.default_rng(0)
    now = rng.normal(0.3, 0.25, 6)
    found = t_interval(now, level=LEVEL)
    draws, wanted = 20_000, 15
    spread = now.std(ddof=1) * np.sqrt(5 / rng.chisquare(5, draws))
    mean = now.mean() + spread / math.sqrt(6) * rng.standard_normal(draws)
    more = mean[:, None] + spread[:, None] * rng.standard_normal((draws, wanted - 6))
    values = np.concatenate([np.broadcast_to(now, (draws, 6)), more], axis=1)
    half = t_quantile(wanted - 1, LEVEL) * values.std(axis=1, ddof=1) / math.sqrt(wanted)
    low = values.mean(axis=1) - half
    # The spread of the continuation is taken for that of now, which costs a few percent.
    assert chance_within(found, wanted, low=MARGIN, level=LEVEL) == pytest.approx(
        np.mean(low > MARGIN), abs=0.05
    )


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


def test_the_fewest_seeds_are_looked_for_and_a_quarter_more_advised():
    assert seeds_to_decide(lambda seeds: float(seeds >= 7), 5) == 9
    assert seeds_to_decide(lambda seeds: 1.0, 4) == 8
    assert 16 <= seeds_to_decide(lambda seeds: float(seeds >= 13), 5) <= 21
    # Three times those that there are, and six.
    assert seeds_to_decide(lambda seeds: float(seeds >= 18), 5) == 0
    assert seeds_to_decide(lambda seeds: 0.5, 5) == 0


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
        if wanted:
            followed.append(decided([*now, *rng.normal(true, 0.1, wanted - seeds)]))
    assert np.mean(followed) >= 0.8 - 2 * math.sqrt(0.16 / 200)
