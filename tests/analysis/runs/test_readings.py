import json

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.runs import readings
from ultraslow.analysis.runs.phases import phases
from ultraslow.analysis.runs.readings import (
    CLOCKS,
    GRID,
    ITERATION,
    NOISE,
    RATE,
    SAMPLES,
    clock_values,
    common_window,
    constant_rate,
    injected_noise,
    last_common_decade,
    log_distance,
    total_distance,
)
from ultraslow.diffusion import scaling
from ultraslow.diffusion.recording.schedule import log_spaced

TIMES = np.unique(np.geomspace(1, 1e4, 50).astype(int))


def with_rates(make, rate, last=10_000):
    """A recording whose update t uses rate(t)."""
    iteration = log_spaced(last)
    used = rate(np.arange(1, last + 1))
    total = np.concatenate([[0.0], np.cumsum(used)])[iteration]
    return make(last=last, learning_rate=rate(np.maximum(iteration, 1)), learning_rate_sum=total)


def test_total_distance_adds_squares_over_tensors(make):
    run = make(noise=0.0, slope=2.0)
    time = run["iteration"].values[1:]
    np.testing.assert_allclose(total_distance(run)[1:], 1 + 2 * np.log(time))


RATES = {
    "constant": (lambda t: np.full(t.shape, 0.1), (1, 10_000)),
    "warm-up": (lambda t: 0.1 * np.minimum(t / 100, 1.0), (100, 10_000)),
    "drop": (lambda t: np.where(t <= 5000, 0.1, 0.01), (1, 5000)),
    "late start": (lambda t: np.where(t < 50, 0.0, 0.1), (50, 10_000)),
}


@pytest.mark.parametrize("case", RATES)
def test_the_stretch_of_constant_rate_ends_where_the_rate_changes(make, case):
    rate, (first, last) = RATES[case]
    run = with_rates(make, rate)
    found = constant_rate(run).iteration
    recorded = run["iteration"].values
    # Only whole windows count, so the ends lie at most one record inside.
    assert found[0] in recorded[recorded >= first][:2]
    assert found[-1] in recorded[recorded <= last][-2:]
    assert constant_rate(run).rate == pytest.approx(0.1)


def test_a_dip_between_records_is_seen_in_the_summed_rate(make):
    run = with_rates(make, lambda t: np.where((t > 310) & (t < 315), 0.0, 0.1))
    assert not np.isin(np.arange(311, 315), run["iteration"].values).any()
    assert constant_rate(run).iteration[-1] <= 310


def test_a_rate_that_always_changes_leaves_a_short_stretch(make):
    run = with_rates(make, lambda t: 0.1 * 0.5 * (1 + np.cos(np.pi * t / 10_000)))
    # cos falls by 1 % of the range at t/T = 0.064.
    assert constant_rate(run).iteration[-1] < 700


def test_without_rates_the_stretch_is_empty_and_says_why(make):
    stretch = constant_rate(make(learning_rate=None))
    assert stretch.iteration.size == 0
    assert stretch.decades == 0.0
    assert stretch.reason == "the learning rate was not recorded"


def test_a_distance_is_unknown_where_that_of_one_tensor_is(make):
    run = make(records=[0, 1, 2, 4, 8])
    run["distance_sq"][3, 1] = np.nan
    assert np.flatnonzero(np.isnan(total_distance(run))).tolist() == [3]


@pytest.mark.parametrize("seed", range(20))
def test_the_longest_stretch_is_that_of_a_loop_over_all_pairs(make, seed):
    rng = np.random.default_rng(seed)
    records = np.unique(rng.integers(1, 500, 14))
    rate = np.repeat(rng.choice([0.0, 0.1, 0.2], 5), 3)[: records.size]
    if not rate.any():
        rate[0] = 0.1
    summed = np.concatenate([[0.0], np.cumsum(rate[1:] * np.diff(records))])
    run = make(records=records, learning_rate=rate, learning_rate_sum=summed)
    longest = max(
        np.log10(records[k] / records[j])
        for j in range(records.size)
        for k in range(j, records.size)
        if rate[j] > 0 and (rate[j : k + 1] == rate[j]).all()
    )
    assert constant_rate(run).decades == pytest.approx(longest)


def test_phases_follow_the_recorded_rate():
    rates = np.where(TIMES < 10, 0.05, np.where(TIMES < 3000, 0.1, 0.01))
    found = phases(TIMES, rates)
    assert [phase.learning_rate for phase in found] == [0.05, 0.1, 0.01]
    assert sum(phase.records for phase in found) == TIMES.size
    longest = max(found, key=lambda phase: phase.decades)
    assert longest.learning_rate == 0.1
    assert longest.decades == pytest.approx(np.log10(longest.last / longest.first))


def test_rounding_to_float32_is_no_change():
    rates = np.full(TIMES.size, 0.1)
    rates[::2] = np.float32(0.1)
    assert len(phases(TIMES, rates)) == 1


def test_missing_rates_and_iteration_0_belong_to_no_phase():
    assert phases([0, 1, 2], [0.1, np.nan, 0.1])[0].first == 2
    assert phases([0], [0.1]) == []


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"learning_rate: found shape \(1,\)"):
        phases([1, 2], [0.1])


def test_a_change_undone_between_records_is_seen_in_the_summed_rate():
    rates = np.full(TIMES.size, 0.1)
    sums = 0.1 * TIMES - np.where(TIMES > 500, 3.0, 0.0)
    assert len(phases(TIMES, rates)) == 1
    found = phases(TIMES, rates, rate_sum=sums)
    assert [phase.last < 500 or phase.first > 500 for phase in found] == len(found) * [True]


def test_a_rate_that_drifts_is_cut_where_it_has_moved_by_a_hundredth():
    rates = 0.1 * (1 - np.arange(TIMES.size) / 400)
    found = phases(TIMES, rates)
    assert len(found) > 2
    edges = [np.searchsorted(TIMES, (phase.first, phase.last)) for phase in found]
    assert all(rates[a] - rates[b] <= 0.01 * rates[a] * (1 + 1e-9) for a, b in edges)


@pytest.mark.parametrize("iteration", [[1, 1, 2], [3, 2, 1], [1, np.nan, 3]])
def test_iterations_that_do_not_increase_are_refused(iteration):
    with pytest.raises(ValueError, match="iteration: expected finite values that increase"):
        phases(iteration, [1.0, 1.0, 1.0])


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


def test_the_slope_of_a_logarithm_is_its_factor(make):
    run = make(slope=2.5, noise=0.0)
    assert readings.slope(run, (300, 3000)) == pytest.approx(2.5, rel=1e-12)


def test_a_slope_needs_records(make):
    run = make(records=[0, 1, 10, 100, 1000], noise=0.0)
    assert np.isnan(readings.slope(run, (100, 1000)))


def test_the_last_decade_is_shared(make):
    runs = {"a": make(last=3000), "b": make(last=2000, seed=1)}
    assert readings.last_decade(runs) == (200.0, 2000.0)
    assert readings.last_decade({"a": make(learning_rate=None)}) == (1.0, 0.0)
    assert readings.last_decade({}) == (1.0, 0.0)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_temperature_equals_the_formula_of_the_theory(make, momentum):
    run = make(batch_size=64, rate=0.1, momentum=momentum, data_size=10_000)
    trace = readings.window_mean(run, "noise_trace", (300, 3000))
    expected = scaling.langevin_temperature(
        0.1, 64, noise_trace=trace, weights=910, momentum=momentum
    )
    found = readings.measured_temperature(run, (300, 3000))
    assert found == pytest.approx(float(expected) * (1 - 64 / 10_000), rel=1e-12)


def test_added_noise_raises_the_temperature(make):
    plain = make(rate=0.1, momentum=0.5)
    warm = plain.assign_attrs(config=json.dumps({"gradient_noise": 0.3}))
    gained = readings.measured_temperature(warm, (300, 3000)) - readings.measured_temperature(
        plain, (300, 3000)
    )
    assert gained == pytest.approx(0.1 * 0.3**2 / (2 * 0.5))


def test_a_mean_over_windows_counts_updates(make):
    run = make(
        records=[0, 1, 2, 12],
        noise_trace=np.array([[np.nan], [2.0], [4.0], [10.0]]) / 3 * np.ones(3),
    )
    # windows of 1, 1 and 10 updates
    assert readings.window_mean(run, "noise_trace", (0, 12)) == pytest.approx(106 / 12)
    assert readings.window_mean(run, "noise_trace", (1, 2)) == pytest.approx(4.0)
    assert np.isnan(readings.window_mean(run, "noise_trace", (20, 30)))
    assert np.isnan(readings.window_mean(run, "step_sq", (0, 12)))


def test_the_whole_training_set_without_added_noise_may_be_free_of_noise(make):
    whole = make(batch_size=100, data_size=100, records=[0, 1, 2])
    part = make(batch_size=64, data_size=100, records=[0, 1, 2])
    assert readings.whole_batch(whole) and not readings.whole_batch(part)
    assert not readings.whole_batch(make(batch_size=64, records=[0, 1, 2]))
    assert not readings.whole_batch(whole.assign_attrs(config='{"gradient_noise": 0.1}'))


@pytest.mark.parametrize(
    ("difference", "free"), [(None, None), (np.nan, None), (0.0, True), (1e-6, True), (0.4, False)]
)
def test_what_is_free_of_noise_is_measured_and_not_guessed(make, difference, free):
    """Ghost batches of 80 that are drawn anew make gradients differ by 0.4."""
    known = {} if difference is None else {"gradient_difference": difference}
    assert readings.noise_free(make(batch_size=9, data_size=9, records=[0, 1], **known)) is free
    for more in ({"batch_size": 8}, {"batch_size": 9, "added_noise": 0.1}):
        assert readings.noise_free(make(data_size=9, records=[0, 1], **more, **known)) is False


def test_added_noise_is_a_coordinate_before_it_is_a_setting(make):
    settings = make(records=[0, 1]).assign_attrs(config='{"settings": {"gradient_noise": 0.2}}')
    assert injected_noise(settings) == 0.2
    assert injected_noise(settings.assign_coords(added_noise=0.0)) == 0.0
    assert injected_noise(settings.assign_coords(added_noise=0.3)) == 0.3


@pytest.mark.parametrize("config", ["", "not JSON", "[1]", '{"gradient_noise": null}'])
def test_a_configuration_that_says_nothing_of_noise_adds_none(make, config):
    assert injected_noise(make(records=[0, 1]).assign_attrs(config=config)) == 0


def test_the_distance_reached_is_the_last_finite_one(make):
    run = make(records=[0, 1, 10, 100], noise=0.0)
    assert readings.distance_at(run, 50) == pytest.approx(1 + np.log(10))
    run["distance_sq"][3] = np.nan
    assert readings.distance_at(run, np.inf) == pytest.approx(1 + np.log(10))


@pytest.mark.parametrize(("last", "span"), [(9, (1.0, 0.0)), (10, (1.0, 10.0))])
def test_less_than_a_decade_is_none(make, last, span):
    assert readings.last_decade({"a": make(last=100), "b": make(last=last)}) == span


def test_a_distance_that_moves_by_rounding_only_is_at_rest(make):
    run = make(noise=0.0)
    still = run.assign(distance_sq=1 + 1e-12 * run["distance_sq"])
    assert readings.slope(still, (300, 3000)) > 0
    assert np.isnan(readings.positive_slope(still, (300, 3000)))
    slow = run.assign(distance_sq=1 + 1e-6 * run["distance_sq"])
    assert readings.positive_slope(slow, (300, 3000)) == readings.slope(slow, (300, 3000))


def test_the_distance_reached_is_the_last_and_not_the_largest(make):
    squares = np.array([0.0, 1.0, 9.0, 4.0])[:, None] * np.ones(3) / 3
    run = make(records=[0, 1, 10, 100], distance_sq=squares)
    assert readings.distance_at(run, np.inf) == pytest.approx(2.0)
    assert readings.distance_at(run, 99) == pytest.approx(3.0)
    assert np.isnan(readings.distance_at(run, -1))


def windows(make, **options):
    traces = np.array([[np.nan], [2.0], [4.0], [10.0]]) / 3 * np.ones(3)
    return make(**{"records": [0, 1, 2, 12], "noise_trace": traces, **options})


def test_windows_without_a_count_are_as_long_as_they_are(make):
    run = windows(make, noise_updates=None)
    # 1, 1 and 10 updates: (2 + 4 + 100)/12
    assert readings.window_mean(run, "noise_trace", (0, 12)) == pytest.approx(106 / 12)


def test_a_window_with_an_unknown_tensor_or_without_updates_is_left_out(make):
    run = windows(make)
    run["noise_trace"][1, 1] = np.nan
    assert readings.window_mean(run, "noise_trace", (0, 12)) == pytest.approx(104 / 11)
    # Of 12 updates two are known then: a mean over the beginning is none over the span.
    run["noise_trace"][3, 1] = np.nan
    assert np.isnan(readings.window_mean(run, "noise_trace", (0, 12)))
    assert readings.window_mean(run, "noise_trace", (1, 2)) == pytest.approx(4.0)
    empty = windows(make, noise_updates=[0, 0, 0, 0])
    assert np.isnan(readings.window_mean(empty, "noise_trace", (0, 12)))


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
    assert readings.rate_over_size(run) == pytest.approx(value)


@pytest.mark.parametrize(("recorded", "used"), [(0.9, 0.9), (1.0, 0.0), (-0.5, 0.0), (np.nan, 0)])
def test_a_momentum_that_is_none_counts_as_0(make, recorded, used):
    assert readings.momentum(make(records=[0, 1], momentum=recorded)) == used


def test_runs_by_seed_leave_out_those_without_one(make):
    run = make(records=[0, 1], seed=3)
    runs = {"a": run, "b": run.drop_vars("seed")}
    assert readings.by_seed(runs, runs) == {3: "a"}


def test_a_phase_ends_with_the_last_finite_distance(make):
    run = make(last=3000)
    at = run["iteration"].values
    assert readings.measured_until(run) == 3000 and readings.constant_rate(run).lost == 0
    run["distance_sq"][(at > 100) & (at < 200)] = np.nan  # a gap ends nothing
    assert readings.constant_rate(run).iteration[-1] == 3000
    run["distance_sq"][at > 1000, 1] = np.nan
    last = int(at[at <= 1000][-1])
    found = readings.constant_rate(run)
    assert (readings.measured_until(run), found.iteration[-1], found.lost) == (last, last, 3000)
    # Scores are asked of the whole training, and of what was never measured nothing is cut.
    assert readings.whole_constant_rate(run).iteration[-1] == 3000
    run["distance_sq"][:] = np.nan
    assert readings.constant_rate(run).iteration[-1] == 3000


def test_values_of_several_runs_at_one_time_have_no_slope():
    times = np.ones(2 * readings.RECORDS)
    slope, mean = readings.line(times, np.arange(times.size, dtype=float), (1.0, 10.0))
    assert np.isnan(slope) and np.isnan(mean)
    both = np.concatenate([times, 10 * times])
    slope, _ = readings.line(both, 3 * np.log(both), (1.0, 10.0))
    assert slope == pytest.approx(3.0)


def test_groups_that_were_recorded_are_those_that_are_told():
    run = xr.Dataset(
        {"distance_sq": (("iteration", "tensor"), [[1.0, 2.0, 4.0, 8.0]])},
        {"tensor": ["attention", "embed", "mlp", "head"], "iteration": [1]},
    )
    plain = readings.group_places(run)
    assert {name: list(at) for name, at in plain.items()} == {
        readings.FIRST: [0],
        readings.OTHERS: [1, 2, 3],
    }
    run.attrs["tensor_groups"] = json.dumps({"mlp": "*.mlp.*", "attention": ["*.attn.*"]})
    found = readings.grouped(run)
    assert found["tensor"].values.tolist() == ["attention", "mlp", readings.OTHERS]
    assert found["distance_sq"].values.tolist() == [[1.0, 4.0, 10.0]]
