import math

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.predictions.batch_size.distance_ratio import (
    GRID,
    at_column,
    common_window,
    last_common_decade,
    log_curves,
    log_distance,
    log_ratio,
    log_slopes,
    means,
    pairs_in_time,
    pairs_of,
    ratio_of,
)
from ultraslow.analysis.runs.arms import Arm
from ultraslow.analysis.runs.clocks import CLOCKS, RATE, clock_values

ABOVE, MIDDLE, BELOW = (Arm(size, "sqrt", 1.0) for size in (4, 2, 1))


def test_welchs_interval_equals_scipys():
    rng = np.random.default_rng(0)
    above, below = rng.normal(1, 0.1, 5), rng.normal(0.9, 0.3, 3)
    logs = {ABOVE: above, BELOW: below}
    found = log_ratio(*logs, logs, level=0.9)
    expected = stats.ttest_ind(above, below, equal_var=False).confidence_interval(0.9)
    np.testing.assert_allclose([found.low, found.high], expected)


def test_swapping_arms_mirrors_the_interval():
    rng = np.random.default_rng(1)
    logs = {ABOVE: rng.normal(1, 0.1, 4), BELOW: rng.normal(0.9, 0.3, 3)}
    one, other = (log_ratio(*pair, logs, level=0.95) for pair in ((ABOVE, BELOW), (BELOW, ABOVE)))
    np.testing.assert_allclose(
        [one.log, one.low, one.high], [-other.log, -other.high, -other.low], rtol=1e-12
    )


def test_runs_that_are_equal_make_an_interval_of_no_length():
    logs = {ABOVE: np.full(3, 2.0), BELOW: np.full(2, 1.0)}
    found = log_ratio(ABOVE, BELOW, logs, level=0.95)
    assert found.low == found.log == found.high == 1.0


def test_pairs_are_compared_at_the_start_the_middle_and_the_end():
    rng = np.random.default_rng(2)
    curves = {arm: rng.normal(size=(3, GRID)) for arm in (ABOVE, MIDDLE, BELOW)}
    found = [ratio.log for ratio in pairs_in_time(curves, level=0.95)]
    expected = [
        curves[above][:, k].mean() - curves[below][:, k].mean()
        for below, above in ((BELOW, MIDDLE), (BELOW, ABOVE), (MIDDLE, ABOVE))
        for k in (0, 16, 32)
    ]
    np.testing.assert_allclose(sorted(found), sorted(expected), rtol=1e-12)


def test_pairs_go_by_batch_size_whatever_the_order_of_the_arms():
    rng = np.random.default_rng(2)
    logs = {arm: rng.normal(size=3) for arm in (MIDDLE, ABOVE, BELOW)}
    found = pairs_of(logs, level=0.9)
    assert [(ratio.numerator, ratio.denominator) for ratio in found] == [
        (MIDDLE, BELOW),
        (ABOVE, BELOW),
        (ABOVE, MIDDLE),
    ]
    for ratio in found:
        assert ratio == log_ratio(ratio.numerator, ratio.denominator, logs, level=0.9)
    assert str(found[1]).endswith("(batch 4 over batch 1)")
    rows = {arm: np.tile(values[:, None], GRID) for arm, values in logs.items()}
    timed = pairs_in_time(rows, level=0.9)
    assert [ratio.log for ratio in timed[::3]] == pytest.approx([one.log for one in found])


@pytest.mark.parametrize("clock", CLOCKS)
def test_windows_and_curves_are_on_the_clock_and_end_with_the_constant_rate(make, clock):
    records = np.arange(0, 101, 2)
    rate = np.where(records <= 60, 0.1, 0.01)
    sums = np.cumsum(rate * np.diff(records, prepend=0))
    runs = {
        "a": make(records=records, learning_rate=rate, learning_rate_sum=sums),
        "b": make(records=records[3:], seed=1, rate=0.1),
    }
    values = {name: clock_values(run, clock) for name, run in runs.items()}
    first, last = values["b"][0], values["a"][30]
    assert common_window(runs, clock=clock) == pytest.approx((first, last))
    times = last_common_decade(runs, clock=clock)
    np.testing.assert_allclose(times, np.geomspace(last / 10, last, GRID))
    (curve,) = log_curves({"a": runs["a"]}, times[:1] * 10, clock=clock).values()
    expected = 0.5 * np.log(runs["a"]["distance_sq"].values[30].sum())
    np.testing.assert_allclose(curve, expected, rtol=1e-12)
    (slopes,) = log_slopes({"a": runs["a"]}, times, clock=clock).values()
    distance = np.exp(log_distance(runs["a"], times, clock=clock))
    assert np.exp(slopes[0]) == pytest.approx(np.polyfit(np.log(times), distance, 1)[0])


def test_curves_on_common_times_equal_a_loop_over_runs(make):
    runs = {f"r{k}": make(seed=k, last=200 + 50 * k, noise=0.02) for k in range(3)}
    times = last_common_decade(runs)
    assert common_window(runs) == (1, 200)
    np.testing.assert_allclose(times[[0, -1]], [20, 200])
    (curves,) = log_curves(runs, times).values()
    for run, row in zip(runs.values(), curves, strict=True):
        distance = np.sqrt(run["distance_sq"].values.sum(axis=1))[1:]
        iteration = run["iteration"].values[1:]
        for time, value in zip(times, row, strict=True):
            k = min(int(np.searchsorted(iteration, time * (1 - 1e-12))), len(iteration) - 1)
            share = math.log(time / iteration[k - 1]) / math.log(iteration[k] / iteration[k - 1])
            expected = (1 - share) * math.log(distance[k - 1]) + share * math.log(distance[k])
            assert value == pytest.approx(expected, rel=1e-9)


def test_runs_without_a_rate_share_no_window(make):
    runs = {"a": make(), "b": make(learning_rate=None, seed=1)}
    assert common_window(runs) == (1, 0)


def test_one_number_a_run_comes_from_each_row():
    curves = {ABOVE: np.arange(6.0).reshape(2, 3)}
    np.testing.assert_array_equal(means(curves)[ABOVE], [1, 4])
    np.testing.assert_array_equal(at_column(curves, -1)[ABOVE], [2, 5])


def test_a_ratio_beyond_floating_point_is_infinite_and_can_be_printed():
    assert ratio_of(800.0) == math.inf and ratio_of(600.0) == math.exp(600.0)
    logs = {ABOVE: np.array([900.0, -900.0]), BELOW: np.array([0.0, 1.0])}
    assert log_ratio(ABOVE, BELOW, logs, level=0.95).short().endswith("[0.000, ∞)")


def test_log_slopes_are_those_of_the_distance_and_not_of_its_logarithm(make):
    runs = {f"s{seed}": make(seed=seed, noise=0.0, slope=2.5, last=2000) for seed in range(2)}
    (found,) = log_slopes(runs, np.geomspace(200, 2000, GRID)).values()
    np.testing.assert_allclose(np.exp(found), 2.5, rtol=1e-3)


def test_a_distance_that_falls_has_no_log_slope(make):
    runs = {"up": make(noise=0.0), "down": make(noise=0.0, slope=-0.1, seed=1)}
    (found,) = log_slopes(runs, np.geomspace(300, 3000, GRID)).values()
    assert np.isnan(found).tolist() == [False, True]


def test_records_at_rest_have_no_logarithm_and_are_passed_over(make):
    run = make(records=[0, 1, 2, 10, 100], noise=0.0)
    still = run.copy(deep=True)
    still["distance_sq"][1:3] = 0.0
    times = np.geomspace(10, 100, 5)
    np.testing.assert_array_equal(log_distance(still, times), log_distance(run, times))


def test_records_before_a_clock_starts_are_passed_over(make):
    # the rate is 0 up to iteration 2
    records = np.array([0, 1, 2, 10, 100])
    sums = 0.1 * np.maximum(records - 2, 0)
    run = make(records=records, learning_rate_sum=sums, noise=0.0)
    times = np.geomspace(1.0, 9.8, 5)
    late = run.isel(iteration=slice(3, None))
    assert np.isfinite(log_distance(run, times, clock=RATE)).all()
    np.testing.assert_array_equal(
        log_distance(run, times, clock=RATE), log_distance(late, times, clock=RATE)
    )
