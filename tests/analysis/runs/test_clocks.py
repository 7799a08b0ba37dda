import numpy as np
import pytest

from ultraslow.analysis.runs.clocks import (
    CLOCKS,
    GRID,
    ITERATION,
    NOISE,
    RATE,
    SAMPLES,
    clock_values,
    common_window,
    last_common_decade,
    log_distance,
)


def test_clocks_are_sums_over_updates(make):
    run = make(batch_size=256, rate=0.1, records=[0, 1, 10])
    expected = {
        ITERATION: [0, 1, 10],
        RATE: [0, 0.1, 1.0],
        NOISE: np.array([0, 0.01, 0.1]) / 256,
        SAMPLES: [0, 256, 2560],
    }
    for clock in CLOCKS:
        np.testing.assert_allclose(clock_values(run, clock), expected[clock], rtol=1e-12)


def test_the_summed_rate_follows_from_a_constant_one(make):
    run = make(rate=0.1, records=[0, 1, 10], learning_rate_sum=None)
    np.testing.assert_allclose(clock_values(run, RATE), [0, 0.1, 1.0])


def test_a_recorded_sum_is_taken_as_it_is(make):
    # A warm-up: the sum lags behind rate · iteration.
    run = make(batch_size=256, rate=0.1, records=[0, 1, 10], learning_rate_sum=[0, 0.05, 0.95])
    np.testing.assert_allclose(clock_values(run, RATE), [0, 0.05, 0.95])
    np.testing.assert_allclose(clock_values(run, NOISE), np.array([0, 0.005, 0.095]) / 256)


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
    curve = log_distance(runs["a"], times[:1] * 10, clock=clock)
    expected = 0.5 * np.log(runs["a"]["distance_sq"].values[30].sum())
    np.testing.assert_allclose(curve, expected, rtol=1e-12)


def test_runs_without_a_rate_share_no_window(make):
    runs = {"a": make(), "b": make(learning_rate=None, seed=1)}
    assert common_window(runs) == (1, 0)


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
