"""Pairs of laws: the statistic by hand, its size where both laws hold, and clear cases."""

import numpy as np
import pytest
from scipy.stats import norm

from analysis.candidates import candidate
from analysis.noise_models import NoiseModel, simulate
from analysis.vuong import compare_pair, regularized

TIMES = np.geomspace(10, 1e5, 60)
WHITE = NoiseModel("white")


def test_statistic_is_the_sum_of_the_definition():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 20))
    epsilon = 20 ** (-1 / 6) * np.log(np.log(20)) ** (1 / 3)
    total = 0.0
    for k in range(1, 21):
        own, other = (1.0, 1.0 + epsilon) if k % 2 else (1.0 + epsilon, 1.0)
        total += own * first[k - 1] - other * second[k - 1]
    total -= 3 * 0.5 * (1 + epsilon / 2)
    spread = (1 + epsilon) * np.var(first - second)
    spread += epsilon**2 / 2 * (np.var(first) + np.var(second))
    statistic, difference = regularized(first, second, excess=3)
    assert statistic == pytest.approx(total / np.sqrt(20 * spread))
    assert difference == pytest.approx(np.mean(first - second) - 3 / 40)


def test_the_statistic_does_not_depend_on_the_unit_of_the_distance():
    values = np.log(TIMES) + 0.1 * simulate(WHITE, TIMES, 1, rng=np.random.default_rng(1))[0]
    laws = (candidate("log"), candidate("power"))
    for count in (59, 60):
        found = [
            compare_pair(TIMES[:count], scale * values[:count], laws, noise=WHITE).statistic
            for scale in (1.0, 1e4)
        ]
        assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_the_law_that_holds_is_named():
    values = TIMES**0.5 + 0.5 * simulate(WHITE, TIMES, 1, rng=np.random.default_rng(2))[0]
    found = compare_pair(TIMES, values, (candidate("log"), candidate("power")), noise=WHITE)
    assert (found.better, found.statistic < 0) == ("power", True)
    swapped = compare_pair(TIMES, values, (candidate("power"), candidate("log")), noise=WHITE)
    assert swapped.better == "power"


def test_two_laws_that_both_hold_are_rarely_told_apart():
    # A logarithm and one with an onset, of a true logarithm: the case where the plain statistic
    # has
    # no limit. Four standard errors of 100 draws at 5 %.
    laws = (candidate("log"), candidate("log with onset"))
    draws = np.log(TIMES) + 0.1 * simulate(WHITE, TIMES, 100, rng=np.random.default_rng(3))
    told = [compare_pair(TIMES, row, laws, noise=WHITE).better != "" for row in draws]
    assert np.mean(told) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)


@pytest.mark.parametrize(
    ("times", "values", "message"),
    [
        (TIMES[:9], np.ones(9), "times: found 9 records"),
        (TIMES, np.full(60, np.inf), "values: found 60 that are not finite"),
        (TIMES, np.ones(60), "values: found a constant"),
        (TIMES[::-1], np.log(TIMES), "times: expected positive values that increase"),
    ],
)
def test_messages(times, values, message):
    laws = (candidate("log"), candidate("power"))
    with pytest.raises(ValueError, match=message):
        compare_pair(times, values, laws, noise=WHITE)


def test_a_law_is_named_where_the_two_sided_p_value_is_small_enough():
    laws = (candidate("log"), candidate("power"))
    values = TIMES**0.05 + 0.1 * simulate(WHITE, TIMES, 1, rng=np.random.default_rng(4))[0]
    found = compare_pair(TIMES, values, laws, noise=WHITE)
    assert found.p_value == pytest.approx(2 * norm.sf(abs(found.statistic)))
    for off in (-0.01, 0.01):
        named = compare_pair(TIMES, values, laws, noise=WHITE, level=1 - found.p_value - off)
        assert (named.better != "") == (off > 0)
