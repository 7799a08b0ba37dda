"""Known answers and coverage of what is said across runs."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import ttest_1samp

from ultraslow.analysis.intervals.seeds import (
    false_discoveries,
    pool,
    standard_errors,
    t_interval,
)


def test_interval_across_runs_is_the_one_sample_t_interval():
    values = [0.11, 0.32, 0.05, 0.21, 0.18]
    found, oracle = t_interval(values, level=0.9), ttest_1samp(values, 0.0)
    interval = oracle.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.reason == ""


@pytest.mark.parametrize("values", [[], [0.3], [np.nan, 0.3]])
def test_fewer_than_two_runs_bound_nothing_and_say_so(values):
    found = t_interval(values, level=0.95)
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert "nothing is known of the spread" in found.reason


def test_runs_without_a_value_are_counted():
    assert "1 run(s) without a finite value" in t_interval([0.1, 0.2, np.nan], level=0.95).reason


def test_interval_across_runs_covers_with_runs_of_unequal_precision():
    # Five runs whose standard errors differ threefold: at least 95 %, 2000 draws, ± 1.0 %.
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((2000, 5)) * [1.0, 1.5, 2.0, 2.5, 3.0]
    fits = [t_interval(draw, level=0.95) for draw in draws]
    assert np.mean([fit.contains(0.0) for fit in fits]) > 0.94


def fits(exponent, half):
    data = {
        "exponent": (("run", "tensor"), exponent),
        "exponent_low": (("run", "tensor"), exponent - half),
        "exponent_high": (("run", "tensor"), exponent + half),
    }
    return xr.Dataset(data, attrs={"level": 0.95})


@pytest.mark.filterwarnings("error")
def test_equal_estimates_pool_without_a_warning():
    found = pool([0.1, 0.1, 0.1], [0.2, 0.1, 0.3], level=0.95)
    assert (found.mean.value, found.share) == (pytest.approx(0.1), 0)


def paule_mandel(value, variance):
    """τ² with Σ (y − μ)²/(v + τ²) = k − 1, by bisection."""
    low, high = 0.0, 10.0
    for _ in range(200):
        middle = (low + high) / 2
        weight = 1 / (variance + middle)
        mean = np.sum(weight * value) / weight.sum()
        high, low = (
            (high, middle)
            if np.sum(weight * (value - mean) ** 2) > value.size - 1
            else (
                middle,
                low,
            )
        )
    return middle, mean


def test_pooled_mean_solves_the_paule_mandel_equation():
    value, error = np.array([0.1, 0.2, 0.15, 0.05]), np.array([0.01, 0.02, 0.01, 0.015])
    found = pool(value, error, level=0.95)
    heterogeneity, mean = paule_mandel(value, error**2)
    assert found.mean.value == pytest.approx(mean, rel=1e-4)
    assert found.heterogeneity == pytest.approx(np.sqrt(heterogeneity), rel=1e-3)
    assert found.mean.low < mean < found.mean.high


def test_pool_leaves_out_what_has_no_bounded_interval():
    found = pool([0.1, 0.2, 0.3], [0.1, np.inf, 0.1], level=0.95)
    assert (found.mean.n, found.left_out) == (2, 1)
    assert np.isnan(pool([0.1], [0.1], level=0.95).mean.value)


def test_false_discoveries_are_those_below_the_step_up_line():
    p_values = np.array([0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205])
    found = false_discoveries(p_values, runs=3, dependent=False)
    # Benjamini–Hochberg by hand: the largest k with p_(k) ≤ 0.05 k/8 is 2.
    assert found.rejected.tolist() == [True, True] + 6 * [False]
    assert found.note == "2 of 8 tensors, from 3 independent run(s)"


def test_false_discoveries_pass_over_missing_p_values():
    found = false_discoveries([0.0001, np.nan], runs=1)
    assert found.rejected.tolist() == [True, False]
    assert np.isnan(found.adjusted[1])


def test_what_is_left_out_narrows_no_interval():
    values = [0.11, 0.32, 0.05, 0.21, 0.18]
    known, more = t_interval(values, level=0.95), t_interval([np.nan, *values, np.inf], level=0.95)
    assert (more.low, more.high) == (known.low, known.high)
    assert (more.value, more.n) == (known.value, 5)


def test_the_sign_of_the_values_does_not_matter():
    values = np.array([0.11, 0.32, 0.05, 0.21, 0.18])
    up, down = t_interval(values, level=0.95), t_interval(-values, level=0.95)
    assert (down.low, down.high) == (-up.high, -up.low)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_estimates_of_equal_error_pool_to_students_interval(level):
    # With equal weights Hartung and Knapp's variance of the mean is s²/k, whatever τ².
    values = [0.1, 0.4, 0.2, 0.6]
    found, expected = pool(values, [0.05] * 4, level=level), t_interval(values, level=level)
    assert (found.mean.low, found.mean.high) == pytest.approx(
        (expected.low, expected.high), rel=1e-6
    )
    # τ² = s² − v, with s² = 0.0491667.
    assert found.heterogeneity == pytest.approx(np.sqrt(0.0491667 - 0.0025), rel=1e-3)


P_VALUES = np.array([0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205])


def test_dependent_tensors_pay_the_sum_of_reciprocals():
    found = false_discoveries(P_VALUES, runs=3)
    # Σ 1/i up to 8 is 2.717857: the first p-value becomes 0.001·8·2.717857, and the second lies
    # above 0.05·2/(8·2.717857) = 0.0046.
    assert found.adjusted[0] == pytest.approx(0.02174286)
    assert found.rejected.tolist() == [True] + 7 * [False]


def test_the_rate_is_the_one_asked_for():
    # The largest k with p_(k) ≤ rate·k/8: at 0.4 all eight, at 0.001 none.
    for rate, count in ((0.4, 8), (0.05, 2), (0.001, 0)):
        found = false_discoveries(P_VALUES, runs=3, rate=rate, dependent=False)
        assert (found.rejected.sum(), found.rate) == (count, rate)


def test_standard_errors_know_the_level_of_their_intervals():
    found = fits(np.array([[0.0], [0.1]]), 1.281552 * 0.05).assign_attrs(level=0.8)
    assert standard_errors(found).values == pytest.approx(0.05)
