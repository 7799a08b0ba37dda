import json

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.runs.arms import (
    Place,
    arms,
    constant_rate,
    differences,
    one_per_seed,
    place_of,
    recordings,
    seeds,
    some_recordings,
    total_distance,
)
from ultraslow.diffusion.recording.schedule import log_spaced


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


def test_recordings_come_in_order_of_batch_size_and_seed(make, tree):
    pairs = [(1024, 1), (64, 2), (64, 10), (1024, 0)]
    runs = recordings(tree(*(make(batch_size=size, seed=seed) for size, seed in pairs)))
    assert [(int(r["batch_size"]), int(r["seed"])) for r in runs.values()] == [
        (64, 2),
        (64, 10),
        (1024, 0),
        (1024, 1),
    ]


def test_arms_part_runs_by_batch_size_scaling_and_rate(make):
    runs = {
        "a": make(batch_size=64, seed=0),
        "b": make(batch_size=64, seed=1),
        "c": make(batch_size=64, seed=0, rate=0.5),
        "d": make(batch_size=256, seed=0),
        "e": make(batch_size=64, seed=0, scaling="linear"),
    }
    assert sorted(arms(runs).values()) == [["a", "b"], ["c"], ["d"], ["e"]]


def test_added_noise_makes_another_arm_and_no_copy(make):
    runs = {
        f"{noise}-{seed}": make(seed=seed).assign_attrs(config=f'{{"gradient_noise": {noise}}}')
        for noise in (0.0, 0.003, 0.01)
        for seed in (0, 1)
    }
    assert list(one_per_seed(runs)) == list(runs)
    names = [str(arm) for arm in arms(runs)]
    assert names[0] == "batch size 64"
    assert names[1:] == [f"batch size 64 with added noise {noise}" for noise in (0.003, 0.01)]


def test_seeds_count_draws_and_not_recordings(make):
    runs = {
        "a": make(seed=0),
        "copy": make(seed=0),
        "b": make(seed=1),
        "c": make().drop_vars("seed"),
    }
    assert list(one_per_seed(runs)) == ["a", "b", "c"]
    assert seeds(list(runs.values())) == 3


def test_runs_of_unlike_networks_are_no_copies(make):
    runs = {"a": make(), "b": make(model="resnet20"), "c": make(weight_decay=5e-4), "d": make()}
    assert list(one_per_seed(runs)) == ["a", "b", "c"]


def test_of_the_runs_of_a_seed_the_one_that_goes_farthest_counts(make):
    lengths = {"a": (0, 300), "b": (1, 300), "rerun": (0, 3000), "copy": (0, 3000)}
    runs = {name: make(seed=seed, last=last) for name, (seed, last) in lengths.items()}
    assert list(one_per_seed(runs)) == ["b", "rerun"]
    assert list(one_per_seed(dict(reversed(runs.items())))) == ["copy", "b"]


def test_differences_name_what_should_be_equal(make):
    assert differences([make(seed=0), make(seed=1, batch_size=256)]) == ()
    found = differences([make(), make(model="vgg", momentum=0.9)])
    assert found == ("model: resnet8, vgg", "momentum: , 0.9")


def test_a_distance_is_unknown_where_that_of_one_tensor_is(make):
    run = make(records=[0, 1, 2, 4, 8])
    run["distance_sq"][3, 1] = np.nan
    assert np.flatnonzero(np.isnan(total_distance(run))).tolist() == [3]


def test_no_recording_is_an_error_that_says_what_was_expected(make, tree):
    assert list(some_recordings(tree(make()))) == ["r0"]
    with pytest.raises(ValueError, match="runs: found no recording, expected one or more"):
        some_recordings(tree())


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


TOLD = {"ladder": "limit", "rung": 3, "rung_name": "step 3"}


def run(config, **attributes):
    return xr.Dataset(attrs={"config": config, **attributes})


def test_a_runs_place_is_read_from_metadata_or_attributes():
    assert place_of(run(json.dumps(TOLD))) == Place("limit", 3, "step 3")
    plain = run("{}", rung="2", rung_name="warm-up", ladder="other")
    assert place_of(plain) == Place("other", 2, "warm-up")
    assert place_of(run(json.dumps(TOLD), rung=5)) == Place("limit", 5, "step 3")
    assert place_of(run(json.dumps({"rung": 0}))) == Place("", 0, "")


@pytest.mark.parametrize(
    "config",
    [
        "not JSON",
        "[1]",
        "{}",
        '{"rung": Infinity}',
        '{"rung": "top"}',
        '{"rung": null}',
        "[" * 10**5,
    ],
)
def test_a_run_that_says_nothing_of_use_stands_on_no_rung(config):
    assert place_of(run(config)) is None
    assert place_of(xr.Dataset()) is None
