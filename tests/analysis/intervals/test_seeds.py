"""Known answers and coverage of what is said across runs."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import ttest_1samp

from ultraslow.analysis.intervals.seeds import (
    across_runs,
    between_arms,
    calibration_ratio,
    false_discoveries,
    pool,
    standard_errors,
)


def test_interval_across_runs_is_the_one_sample_t_interval():
    values = [0.11, 0.32, 0.05, 0.21, 0.18]
    found, oracle = across_runs(values, level=0.9), ttest_1samp(values, 0.0)
    interval = oracle.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert found.reason == ""


@pytest.mark.parametrize("values", [[], [0.3], [np.nan, 0.3]])
def test_fewer_than_two_runs_bound_nothing_and_say_so(values):
    found = across_runs(values)
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert "nothing is known of the spread" in found.reason


def test_runs_without_a_value_are_counted():
    assert "1 run(s) without a finite value" in across_runs([0.1, 0.2, np.nan]).reason


def test_interval_across_runs_covers_with_runs_of_unequal_precision():
    # Five runs whose standard errors differ threefold: at least 95 %, 2000 draws, ± 1.0 %.
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((2000, 5)) * [1.0, 1.5, 2.0, 2.5, 3.0]
    fits = [across_runs(draw) for draw in draws]
    assert np.mean([fit.low <= 0 <= fit.high for fit in fits]) > 0.94


def test_two_arms_use_the_smaller_arm():
    first, second = [1.0, 1.2, 0.8, 1.1], [0.5, 0.4, 0.6]
    found = between_arms(first, second)
    # Means 1.025 and 0.5, variances 0.0291667 and 0.01, so error² = 0.00729167 + 0.00333333,
    # and t_{0.975, 2} = 4.30265.
    half = 4.302653 * np.sqrt(0.010625)
    assert found.mean == pytest.approx(0.525)
    assert (found.low, found.high) == pytest.approx((0.525 - half, 0.525 + half))


def test_two_arms_name_the_arm_that_is_short():
    assert between_arms([1.0, 2.0, 3.0, 4.0], [1.0]).reason.startswith("second arm: 1 run(s)")


def fits(exponent, half):
    data = {
        "exponent": (("run", "tensor"), exponent),
        "exponent_low": (("run", "tensor"), exponent - half),
        "exponent_high": (("run", "tensor"), exponent + half),
    }
    return xr.Dataset(data, attrs={"level": 0.95})


def test_calibration_ratio_compares_spread_and_standard_error():
    exponent = np.array([[0.0], [0.1], [0.2]])  # standard deviation 0.1
    assert standard_errors(fits(exponent, 1.959964 * 0.05)).values == pytest.approx(0.05)
    ratio = calibration_ratio(fits(exponent, 1.959964 * 0.05))
    assert ratio.dims == ("tensor",)
    assert ratio.values == pytest.approx(2.0)


def test_calibration_ratio_is_0_where_half_of_the_intervals_are_unbounded():
    found = fits(np.array([[0.0], [0.1], [0.2], [0.3]]), 0.1)
    low = found["exponent_low"].copy()
    low[2:] = -np.inf
    assert calibration_ratio(found.assign(exponent_low=low)).item() == 0
    low[2] = 0.1
    assert calibration_ratio(found.assign(exponent_low=low)).item() > 0


@pytest.mark.filterwarnings("error")
def test_equal_estimates_pool_without_a_warning():
    found = pool([0.1, 0.1, 0.1], [0.2, 0.1, 0.3])
    assert (found.mean, found.share) == (pytest.approx(0.1), 0)


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
    found = pool(value, error)
    heterogeneity, mean = paule_mandel(value, error**2)
    assert found.mean == pytest.approx(mean, rel=1e-4)
    assert found.heterogeneity == pytest.approx(np.sqrt(heterogeneity), rel=1e-3)
    assert found.low < mean < found.high


def test_pool_leaves_out_what_has_no_bounded_interval():
    found = pool([0.1, 0.2, 0.3], [0.1, np.inf, 0.1])
    assert (found.used, found.left_out) == (2, 1)
    assert np.isnan(pool([0.1], [0.1]).mean)


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
    known, more = across_runs(values), across_runs([np.nan, *values, np.inf])
    assert (more.low, more.high, more.p_value) == (known.low, known.high, known.p_value)
    assert (more.mean, more.runs) == (known.mean, 5)


def test_the_sign_of_the_values_does_not_matter():
    values = np.array([0.11, 0.32, 0.05, 0.21, 0.18])
    up, down = across_runs(values), across_runs(-values)
    assert (down.low, down.high, down.p_value) == (-up.high, -up.low, up.p_value)
    up, down = between_arms(values, [0.0, 0.1]), between_arms([0.0, 0.1], values)
    assert (down.low, down.high, down.p_value) == (-up.high, -up.low, up.p_value)


def test_the_p_value_of_two_arms_is_that_of_the_smaller_arm():
    found = between_arms([1.0, 1.2, 0.8, 1.1], [0.5, 0.4, 0.6])
    # t² = 0.525²/0.010625 = 441/17, and with two degrees of freedom p = 1 − √(t²/(t² + 2)).
    assert found.p_value == pytest.approx(1 - np.sqrt(441 / 475))
    assert (found.runs, found.spread) == (3, pytest.approx(np.sqrt(0.010625)))


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_estimates_of_equal_error_pool_to_students_interval(level):
    # With equal weights Hartung and Knapp's variance of the mean is s²/k, whatever τ².
    values = [0.1, 0.4, 0.2, 0.6]
    found, expected = pool(values, [0.05] * 4, level=level), across_runs(values, level=level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-6)
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
