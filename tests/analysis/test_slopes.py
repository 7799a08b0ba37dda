import json

import numpy as np
import pytest

from analysis import slopes
from diffusion import scaling


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
    expected = scaling.temperature(0.1, 64, noise_trace=trace, weights=910, momentum=momentum)
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
    assert slopes.injected_noise(make(records=[0, 1]).assign_attrs(config=config)) == 0


def test_the_distance_reached_is_the_last_finite_one(make):
    run = make(records=[0, 1, 10, 100], noise=0.0)
    assert slopes.distance_at(run, 50) == pytest.approx(1 + np.log(10))
    run["distance_sq"][3] = np.nan
    assert slopes.distance_at(run, np.inf) == pytest.approx(1 + np.log(10))
