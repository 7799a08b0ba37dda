import math

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.predictions.batch_size.scaled_sets import (
    LINEAR,
    SQUARE_ROOT,
    Curves,
    lacking_sizes,
    log_curves,
    log_slopes,
    of_rule,
    ratio_of,
    set_aside,
    short_of_noise,
    unsound,
)
from ultraslow.analysis.runs import GRID, Arm, common_window, last_common_decade
from ultraslow.analysis.study import Study


def sweep(make, rule, *, seeds=2, **options):
    """Two batch sizes under a rule, rates as it says."""
    return {
        f"b{size}-s{seed}": make(
            batch_size=size,
            seed=seed,
            scaling=rule.scaling,
            **{"rate": 0.1 * (size / 64) ** rule.power, "last": 300} | options,
        )
        for size in (64, 256)
        for seed in range(seeds)
    }


@pytest.mark.parametrize("claim", [SQUARE_ROOT, LINEAR])
def test_runs_that_follow_their_rule_are_sound(make, claim):
    runs = sweep(make, claim)
    assert lacking_sizes(Study(runs), Study(runs), claim) is None
    assert unsound(Study(runs), claim) is None


@pytest.mark.parametrize(("claim", "other"), [(SQUARE_ROOT, LINEAR), (LINEAR, SQUARE_ROOT)])
def test_rates_of_another_rule_are_not(make, claim, other):
    wrong = {
        name: run.assign_coords(scaling=claim.scaling) for name, run in sweep(make, other).items()
    }
    found = unsound(Study(wrong), claim)
    assert found.reason.startswith(f"The learning rates do not follow {claim.symbol} (rate/")


def test_two_rates_at_one_batch_size_are_no_sweep(make):
    runs = sweep(make, LINEAR) | {"odd": make(seed=5, scaling="linear", rate=0.3, last=300)}
    assert unsound(Study(runs), LINEAR).reason == (
        "There are several learning rates at one batch size under the linear rule."
    )


def test_an_arm_of_one_seed_is_named(make):
    runs = sweep(make, LINEAR, seeds=1)
    found = lacking_sizes(Study(runs), Study(runs), LINEAR)
    assert found.needed == "another seed at each of batch size 64, batch size 256"


def test_batch_sizes_near_the_data_have_less_noise_than_the_rules_match(make):
    """Of 1000 samples, beside M₀ = 100: (1 − M/D)/0.9 is below 1/1.21 from M = 256.2 on."""
    runs = {
        str(size): make(batch_size=size, data_size=1000) for size in (100, 256, 257, 640, 1000)
    }
    found = short_of_noise(Study(runs), margin=0.1)
    assert found == pytest.approx({257: 0.9086, 640: 0.6325, 1000: 0.0}, abs=1e-4)
    assert short_of_noise(Study(runs), margin=0.0).keys() == {256, 257, 640, 1000}
    assert short_of_noise(Study(runs), margin=0.6).keys() == {1000}
    # Only what smaller batches have more of is missing.
    largest = {name: runs[name] for name in ("640", "1000")}
    assert short_of_noise(Study(largest), margin=0.1) == {1000: 0.0}
    assert short_of_noise(Study({"1000": runs["1000"]}), margin=0.1) == {}
    assert short_of_noise(Study({}), margin=0.1) == {}


def test_data_of_unknown_size_have_no_end(make):
    runs = {str(size): make(batch_size=size) for size in (64, 4096)}
    assert short_of_noise(Study(runs), margin=0.1) == {}
    (note,) = set_aside({4096: 0.25}, LINEAR)
    assert note == (
        "batch size 4096 set aside: drawn without replacement, the noise of its updates is "
        "√((1 − M/D)/(1 − M₀/D)) = 0.250 of what rates ∝ M stand for"
    )


ABOVE, MIDDLE, BELOW = (Arm(size, "sqrt", 1.0) for size in (4, 2, 1))


def test_welchs_interval_equals_scipys():
    rng = np.random.default_rng(0)
    above, below = rng.normal(1, 0.1, 5), rng.normal(0.9, 0.3, 3)
    logs = {ABOVE: above, BELOW: below}
    found = Curves(logs, 0.9).ratio(*logs)
    expected = stats.ttest_ind(above, below, equal_var=False).confidence_interval(0.9)
    np.testing.assert_allclose([found.low, found.high], expected)


def test_swapping_arms_mirrors_the_interval():
    rng = np.random.default_rng(1)
    logs = {ABOVE: rng.normal(1, 0.1, 4), BELOW: rng.normal(0.9, 0.3, 3)}
    one, other = (Curves(logs, 0.95).ratio(*pair) for pair in ((ABOVE, BELOW), (BELOW, ABOVE)))
    np.testing.assert_allclose(
        [one.value, one.low, one.high], [-other.value, -other.high, -other.low], rtol=1e-12
    )


def test_runs_that_are_equal_make_an_interval_of_no_length():
    logs = {ABOVE: np.full(3, 2.0), BELOW: np.full(2, 1.0)}
    found = Curves(logs, 0.95).ratio(ABOVE, BELOW)
    assert found.low == found.value == found.high == 1.0


def test_pairs_are_compared_at_the_start_the_middle_and_the_end():
    rng = np.random.default_rng(2)
    curves = {arm: rng.normal(size=(3, GRID)) for arm in (ABOVE, MIDDLE, BELOW)}
    found = [ratio.value for ratio in Curves(curves, 0.95).pairs_in_time()]
    expected = [
        curves[above][:, k].mean() - curves[below][:, k].mean()
        for below, above in ((BELOW, MIDDLE), (BELOW, ABOVE), (MIDDLE, ABOVE))
        for k in (0, 16, 32)
    ]
    np.testing.assert_allclose(sorted(found), sorted(expected), rtol=1e-12)


def test_pairs_go_by_batch_size_whatever_the_order_of_the_arms():
    rng = np.random.default_rng(2)
    logs = {arm: rng.normal(size=3) for arm in (MIDDLE, ABOVE, BELOW)}
    found = Curves(logs, 0.9).pairs()
    couples = [(MIDDLE, BELOW), (ABOVE, BELOW), (ABOVE, MIDDLE)]
    assert found == [Curves(logs, 0.9).ratio(*couple) for couple in couples]
    assert found[1].name == "batch 4 over batch 1"
    rows = {arm: np.tile(values[:, None], GRID) for arm, values in logs.items()}
    timed = Curves(rows, 0.9).pairs_in_time()
    assert [ratio.value for ratio in timed[::3]] == pytest.approx([one.value for one in found])


def test_curves_on_common_times_equal_a_loop_over_runs(make):
    runs = {f"r{k}": make(seed=k, last=200 + 50 * k, noise=0.02) for k in range(3)}
    times = last_common_decade(runs)
    assert common_window(runs) == (1, 200)
    np.testing.assert_allclose(times[[0, -1]], [20, 200])
    (curves,) = log_curves(Study(runs), times).logs.values()
    for run, row in zip(runs.values(), curves, strict=True):
        distance = np.sqrt(run["distance_sq"].values.sum(axis=1))[1:]
        iteration = run["iteration"].values[1:]
        for time, value in zip(times, row, strict=True):
            k = min(int(np.searchsorted(iteration, time * (1 - 1e-12))), len(iteration) - 1)
            share = math.log(time / iteration[k - 1]) / math.log(iteration[k] / iteration[k - 1])
            expected = (1 - share) * math.log(distance[k - 1]) + share * math.log(distance[k])
            assert value == pytest.approx(expected, rel=1e-9)


def test_one_number_a_run_comes_from_each_row():
    curves = {ABOVE: np.arange(6.0).reshape(2, 3)}
    np.testing.assert_array_equal(Curves(curves, 0.95).mean().logs[ABOVE], [1, 4])
    np.testing.assert_array_equal(Curves(curves, 0.95).at(-1).logs[ABOVE], [2, 5])


def test_a_ratio_beyond_floating_point_is_infinite_and_can_be_printed():
    assert ratio_of(800.0) == math.inf and ratio_of(600.0) == math.exp(600.0)
    logs = {ABOVE: np.array([900.0, -900.0]), BELOW: np.array([0.0, 1.0])}
    assert str(Curves(logs, 0.95).ratio(ABOVE, BELOW).mapped(ratio_of)).endswith("[0.000, ∞)")


def test_log_slopes_are_those_of_the_distance_and_not_of_its_logarithm(make):
    runs = {f"s{seed}": make(seed=seed, noise=0.0, slope=2.5, last=2000) for seed in range(2)}
    (found,) = log_slopes(Study(runs), np.geomspace(200, 2000, GRID)).logs.values()
    np.testing.assert_allclose(np.exp(found), 2.5, rtol=1e-3)


def test_a_distance_that_falls_has_no_log_slope(make):
    runs = {"up": make(noise=0.0), "down": make(noise=0.0, slope=-0.1, seed=1)}
    (found,) = log_slopes(Study(runs), np.geomspace(300, 3000, GRID)).logs.values()
    assert np.isnan(found).tolist() == [False, True]


def test_a_run_at_the_base_batch_size_serves_every_rule(make):
    base = {f"base-{seed}": make(batch_size=64, seed=seed, rate=0.05) for seed in range(3)}
    linear = {
        f"b{size}-{seed}": make(
            batch_size=size, seed=seed, rate=0.05 * size / 64, scaling="linear"
        )
        for size in (256, 1024)
        for seed in range(3)
    }
    off = {"off": make(batch_size=128, seed=0, rate=0.05)}
    study = Study({**base, **linear, **off})
    assert of_rule(study, LINEAR).batch_sizes == (64, 256, 1024)
    assert of_rule(study, SQUARE_ROOT).batch_sizes == (64, 128)
    # Where the rule itself was run at the base batch size, its own runs speak.
    own = {"own": make(batch_size=64, seed=0, rate=0.05, scaling="linear")}
    assert set(of_rule(Study({**base, **linear, **own}), LINEAR).runs) == {"own", *linear}
