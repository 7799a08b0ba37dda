import json

import numpy as np
import pytest

from ultraslow.analysis.runs import slopes
from ultraslow.analysis.runs.arms import injected_noise
from ultraslow.diffusion import scaling


def test_the_slope_of_a_logarithm_is_its_factor(make):
    run = make(slope=2.5, noise=0.0)
    assert slopes.slope(run, (300, 3000)) == pytest.approx(2.5, rel=1e-12)


def test_a_slope_needs_records(make):
    run = make(records=[0, 1, 10, 100, 1000], noise=0.0)
    assert np.isnan(slopes.slope(run, (100, 1000)))


def test_the_last_decade_is_shared(make):
    runs = {"a": make(last=3000), "b": make(last=2000, seed=1)}
    assert slopes.last_decade(runs) == (200.0, 2000.0)
    assert slopes.last_decade({"a": make(learning_rate=None)}) == (1.0, 0.0)
    assert slopes.last_decade({}) == (1.0, 0.0)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_temperature_equals_the_formula_of_the_theory(make, momentum):
    run = make(batch_size=64, rate=0.1, momentum=momentum, data_size=10_000)
    trace = slopes.window_mean(run, "noise_trace", (300, 3000))
    expected = scaling.langevin_temperature(
        0.1, 64, noise_trace=trace, weights=910, momentum=momentum
    )
    found = slopes.temperature(run, (300, 3000))
    assert found == pytest.approx(float(expected) * (1 - 64 / 10_000), rel=1e-12)


def test_added_noise_raises_the_temperature(make):
    plain = make(rate=0.1, momentum=0.5)
    warm = plain.assign_attrs(config=json.dumps({"gradient_noise": 0.3}))
    gained = slopes.temperature(warm, (300, 3000)) - slopes.temperature(plain, (300, 3000))
    assert gained == pytest.approx(0.1 * 0.3**2 / (2 * 0.5))


def test_a_mean_over_windows_counts_updates(make):
    run = make(
        records=[0, 1, 2, 12],
        noise_trace=np.array([[np.nan], [2.0], [4.0], [10.0]]) / 3 * np.ones(3),
    )
    # windows of 1, 1 and 10 updates
    assert slopes.window_mean(run, "noise_trace", (0, 12)) == pytest.approx(106 / 12)
    assert slopes.window_mean(run, "noise_trace", (1, 2)) == pytest.approx(4.0)
    assert np.isnan(slopes.window_mean(run, "noise_trace", (20, 30)))
    assert np.isnan(slopes.window_mean(run, "step_sq", (0, 12)))


def test_only_the_whole_training_set_without_added_noise_is_free_of_noise(make):
    whole = make(batch_size=100, data_size=100, records=[0, 1, 2])
    assert slopes.noise_free(whole)
    assert not slopes.noise_free(make(batch_size=64, data_size=100, records=[0, 1, 2]))
    assert not slopes.noise_free(make(batch_size=64, records=[0, 1, 2]))
    assert not slopes.noise_free(whole.assign_attrs(config='{"gradient_noise": 0.1}'))


@pytest.mark.parametrize("config", ["", "not JSON", "[1]", '{"gradient_noise": null}'])
def test_a_configuration_that_says_nothing_of_noise_adds_none(make, config):
    assert injected_noise(make(records=[0, 1]).assign_attrs(config=config)) == 0


def test_the_distance_reached_is_the_last_finite_one(make):
    run = make(records=[0, 1, 10, 100], noise=0.0)
    assert slopes.distance_at(run, 50) == pytest.approx(1 + np.log(10))
    run["distance_sq"][3] = np.nan
    assert slopes.distance_at(run, np.inf) == pytest.approx(1 + np.log(10))


@pytest.mark.parametrize(("last", "span"), [(9, (1.0, 0.0)), (10, (1.0, 10.0))])
def test_less_than_a_decade_is_none(make, last, span):
    assert slopes.last_decade({"a": make(last=100), "b": make(last=last)}) == span


def test_a_distance_that_moves_by_rounding_only_is_at_rest(make):
    run = make(noise=0.0)
    still = run.assign(distance_sq=1 + 1e-12 * run["distance_sq"])
    assert slopes.slope(still, (300, 3000)) > 0
    assert np.isnan(slopes.positive_slope(still, (300, 3000)))
    slow = run.assign(distance_sq=1 + 1e-6 * run["distance_sq"])
    assert slopes.positive_slope(slow, (300, 3000)) == slopes.slope(slow, (300, 3000))


def test_the_distance_reached_is_the_last_and_not_the_largest(make):
    squares = np.array([0.0, 1.0, 9.0, 4.0])[:, None] * np.ones(3) / 3
    run = make(records=[0, 1, 10, 100], distance_sq=squares)
    assert slopes.distance_at(run, np.inf) == pytest.approx(2.0)
    assert slopes.distance_at(run, 99) == pytest.approx(3.0)
    assert np.isnan(slopes.distance_at(run, -1))


def windows(make, **options):
    traces = np.array([[np.nan], [2.0], [4.0], [10.0]]) / 3 * np.ones(3)
    return make(**{"records": [0, 1, 2, 12], "noise_trace": traces, **options})


def test_windows_without_a_count_are_as_long_as_they_are(make):
    run = windows(make, noise_updates=None)
    # 1, 1 and 10 updates: (2 + 4 + 100)/12
    assert slopes.window_mean(run, "noise_trace", (0, 12)) == pytest.approx(106 / 12)


def test_a_window_with_an_unknown_tensor_or_without_updates_is_left_out(make):
    run = windows(make)
    run["noise_trace"][3, 1] = np.nan
    assert slopes.window_mean(run, "noise_trace", (0, 12)) == pytest.approx(3.0)
    empty = windows(make, noise_updates=[0, 0, 0, 0])
    assert np.isnan(slopes.window_mean(empty, "noise_trace", (0, 12)))


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, 0.1 / 50),
        ({"momentum": 0.9}, 0.1 / 50 / 0.1),
        ({"momentum": 0.9, "data_size": 100}, 0.1 * 0.01 / 0.1),  # (1 − 50/100)/50 = 0.01
        ({"data_size": 50}, 0.0),
        ({"data_size": 20}, 0.0),  # drawn with repetition, but no data are left out
    ],
)
def test_the_rate_over_the_batch_size_by_hand(make, options, value):
    run = make(batch_size=50, rate=0.1, records=[0, 1, 2], **options)
    assert slopes.rate_over_size(run) == pytest.approx(value)


@pytest.mark.parametrize(("recorded", "used"), [(0.9, 0.9), (1.0, 0.0), (-0.5, 0.0), (np.nan, 0)])
def test_a_momentum_that_is_none_counts_as_0(make, recorded, used):
    assert slopes.momentum(make(records=[0, 1], momentum=recorded)) == used


def test_runs_by_seed_leave_out_those_without_one(make):
    run = make(records=[0, 1], seed=3)
    runs = {"a": run, "b": run.drop_vars("seed")}
    assert slopes.by_seed(runs, runs) == {3: "a"}
