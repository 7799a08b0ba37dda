"""Batch sizes off the hyperbola of the others."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from ultraslow.analysis.scores.critical_batch import from_steps
from ultraslow.analysis.scores.odd_sizes import _fitted, odd_sizes

SIZES = 16.0 * 2.0 ** np.arange(10)
EXACT = np.log(1000 * (1 + 500 / SIZES))


def noisy(scatter=0.02, seed=0):
    return EXACT + scatter * np.random.default_rng(seed).standard_normal(SIZES.size)


def turned(means):
    """The two largest sizes take 1.6 and 3 times as long, as where a rate is too large."""
    return means + np.log([1] * 8 + [1.6, 3.0])


def steps(means):
    return {float(m): {0.0: {0: math.exp(x)}} for m, x in zip(SIZES, means, strict=True)}


@pytest.mark.parametrize("count", [3, 4, 5, 6, 8, 10, 12])
def test_of_true_hyperbolas_two_in_a_hundred_are_said_to_have_odd_sizes(count):
    """At most 1 %: of 150 tables five or more have a probability of 1.8 % at that."""
    rng, sizes = np.random.default_rng([5, count]), 16.0 * 2.0 ** np.arange(count)
    found = 0
    for place in range(150):
        critical = np.exp(np.log(sizes).mean()) * (0.1, 1.0, 10.0)[place % 3]
        scatter = (0.01, 0.05)[place % 2]
        means = np.log1p(critical / sizes) + scatter * rng.standard_normal(count)
        found += odd_sizes(sizes, means) is not None
    assert found <= 4


def test_what_is_left_is_that_of_a_plain_fit():
    means, kept = noisy(0.1), [0, 1, 2, 4, 5, 6, 7, 8]

    def squares(place):
        rest = means[kept] - np.log1p(np.exp(place) / SIZES[kept])
        return float(np.sum((rest - rest.mean()) ** 2))

    best = optimize.minimize_scalar(squares, bounds=(3.0, 10.0), method="bounded")
    rest, off = _fitted(SIZES, means, np.ones(10), (3, 9))
    assert rest == pytest.approx(best.fun, rel=1e-6)
    assert np.sum(off[kept] ** 2) == pytest.approx(rest)


def test_a_size_is_odd_from_the_bound_of_the_f_test_on():
    """Of one of 10 sizes F has 1 and 7 degrees of freedom, and there are 17 choices at most."""
    base = noisy()
    told = []
    for shift in np.linspace(0.0, 0.3, 31):
        means = base + shift * (np.arange(10) == 3)
        whole, rest = (_fitted(SIZES, means, np.ones(10), out)[0] for out in ((), (3,)))
        p = stats.f.sf((whole - rest) / (rest / 7), 1, 7)
        told.append((p * 16 < 0.01, odd_sizes(SIZES, means) is not None))
    assert all(expected == found for expected, found in told)
    assert {found for _, found in told} == {True, False}


def test_iterations_that_rise_again_are_a_turn():
    means = turned(noisy())
    found = odd_sizes(SIZES, means)
    assert found.places == (8, 9)
    assert found.rise == pytest.approx(math.exp(means[9] - means[7]) - 1)
    told = found.in_words(SIZES)
    assert told.startswith("beyond batch size 2048 the iterations rise again, by ")
    # Iterations that fall faster there are none, and neither is a size that scatters.
    assert odd_sizes(SIZES, noisy()) is None
    falling = odd_sizes(SIZES, noisy() - np.log([1] * 8 + [1.6, 3.0]))
    assert falling is None or not falling.rise


def test_a_size_that_is_off_alone_is_told_with_its_factor():
    found = odd_sizes(SIZES, noisy() + np.log(3.0) * (np.arange(10) == 3))
    assert found.places == (3,) and found.rise == 0.0
    assert found.factor == pytest.approx(3.0, rel=0.1)
    assert "batch size 128 takes " in found.in_words(SIZES)
    assert odd_sizes(SIZES[:3], np.array([3.0, 2.0, 9.0])) is None


def test_the_estimate_of_a_turn_is_of_the_sizes_before_it_and_the_interval_holds_both():
    plain = from_steps(steps(turned(noisy())))
    before = from_steps(dict(list(steps(noisy()).items())[:8]))
    assert plain.status == "misfit"
    assert plain.size.value == pytest.approx(before.size.value, rel=1e-6)
    assert plain.fewest_steps == pytest.approx(before.fewest_steps, rel=1e-6)
    assert plain.size.low < before.size.low and plain.size.high >= before.size.high
    assert plain.size.contains(500) and plain.fewest_steps == pytest.approx(1000, rel=0.1)
    assert "the estimate is of the 8 sizes up to there, and of all 10: " in plain.reason


def test_a_size_that_is_off_alone_counts_and_the_interval_holds_both():
    shifted = noisy() + np.log(3.0) * (np.arange(10) == 3)
    found = from_steps(steps(shifted))
    without = from_steps({m: one for m, one in steps(shifted).items() if m != 128})
    assert found.status == "misfit" and without.status == "ok"
    assert found.size.low <= without.size.low and found.size.high >= without.size.high
    assert f"; without it: {without.size.value:.0f} [" in found.reason


@pytest.mark.parametrize("count", [3, 5])
def test_turns_are_told_across_seeds_too_and_odd_seeds_by_name(count):
    rng = np.random.default_rng(9)
    luck = 0.02 * rng.standard_normal((SIZES.size, count))
    table = {
        float(m): {0.0: {seed: math.exp(x) for seed, x in enumerate(row)}}
        for m, row in zip(SIZES, turned(EXACT)[:, None] + luck, strict=True)
    }
    found = from_steps(table, 4 if count > 4 else 1)
    assert found.status == "misfit" and "rise again" in found.reason
    assert found.size.contains(500)
    table[128.0][0.0][2] *= 10
    told = from_steps(table, 4 if count > 4 else 1).notes
    named = any(one.startswith("at batch size 128.0 seed 2 takes ") for one in told)
    assert named == (count > 3)
