import json

import pytest
import xarray as xr

from ultraslow.analysis.runs.arms import (
    LadderPlace,
    arms,
    one_per_seed,
    place_of,
    runs_of,
    seeds,
    setting_differences,
    some_runs,
)


def test_recordings_come_in_order_of_batch_size_and_seed(make, tree):
    pairs = [(1024, 1), (64, 2), (64, 10), (1024, 0)]
    runs = runs_of(tree(*(make(batch_size=size, seed=seed) for size, seed in pairs)))
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
    assert setting_differences([make(seed=0), make(seed=1, batch_size=256)]) == ()
    found = setting_differences([make(), make(model="vgg", momentum=0.9)])
    assert found == ("model: resnet8, vgg", "momentum: , 0.9")


def test_no_recording_is_an_error_that_says_what_was_expected(make, tree):
    assert list(some_runs(tree(make()))) == ["r0"]
    with pytest.raises(ValueError, match="runs: found no recording, expected one or more"):
        some_runs(tree())


TOLD = {"ladder": "limit", "rung": 3, "rung_name": "step 3"}


def run(config, **attributes):
    return xr.Dataset(attrs={"config": config, **attributes})


def test_a_runs_place_is_read_from_metadata_or_attributes():
    assert place_of(run(json.dumps(TOLD))) == LadderPlace("limit", 3, "step 3")
    plain = run("{}", rung="2", rung_name="warm-up", ladder="other")
    assert place_of(plain) == LadderPlace("other", 2, "warm-up")
    assert place_of(run(json.dumps(TOLD), rung=5)) == LadderPlace("limit", 5, "step 3")
    assert place_of(run(json.dumps({"rung": 0}))) == LadderPlace("", 0, "")


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
