import numpy as np

from ultraslow.analysis.runs.clocks import CLOCKS, ITERATION, NOISE, RATE, SAMPLES, clock_values


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
