from dataclasses import replace
from pathlib import Path

import pytest
import torch
import xarray as xr

from ultraslow.diffusion.predictions import PREDICTIONS
from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.jobs.cost import arm_costs, served, size_on_disk
from ultraslow.probes.runs.recipe import find, read_recipe

CONFIG = Config(name="a", width=2, batch_size=160, microbatch=80, iterations=100)


def test_a_run_at_the_base_batch_size_serves_every_rule():
    base = replace(CONFIG, base_batch_size=160, scaling="fixed")
    assert {"P2", "P2'", "H-b"} <= set(served(base))
    large = replace(base, batch_size=320)
    assert not {"P2", "P2'", "H-b"} & set(served(large))
    assert "P2'" in served(replace(large, scaling="linear"))


def test_what_is_not_recorded_is_not_served():
    bare = replace(CONFIG, evaluations=0, path_length=False, trajectory=False)
    assert not {"P3", "H-a", "H-c", "P8", "P9", "P4", "P7", "P10"} & set(served(bare))
    assert {"P4", "P7", "P10"} <= set(
        served(replace(CONFIG, landscape_checkpoints=6, iterations=400))
    )


def test_a_short_run_serves_what_asks_for_no_length():
    whole = replace(CONFIG, scaling="sqrt", trajectory=True, landscape_checkpoints=6)
    given = {n: set(served(replace(whole, iterations=n))) for n in (99, 100, 317, 3163)}
    assert {"P3", "P4", "H-a", "H-c"} <= given[99]
    assert given[100] - given[99] == {"P2", "P2'", "H-b"}
    assert given[317] - given[100] == {"P1", "P1'", "P5", "P6", "P9", "P10"}
    assert given[3163] - given[317] == {"P8"}


def test_every_prediction_is_served_by_four_seeds_of_an_arm_of_the_study():
    arms = {}
    for config in read_recipe(find("limit-study")).runs:
        arms.setdefault(replace(config, seed=0, name=""), []).append(config)
    most = {key: max(len(a) for a in arms.values() if key in served(a[0])) for key in PREDICTIONS}
    assert min(most.values()) >= 4, most


def test_runs_are_gathered_by_arm_size_rate_and_length():
    seeds = [replace(CONFIG, name=f"s{seed}", seed=seed) for seed in range(3)]
    other = replace(CONFIG, name="o", base_learning_rate=0.1)
    longer = replace(CONFIG, name="l", iterations=200)
    names = {config.run: "arm" for config in (*seeds, other, longer)}
    threads = torch.get_num_threads()
    before = torch.get_rng_state()
    found = arm_costs([*seeds, other, longer], names, processes=1)
    assert [(one.rate, one.iterations, one.runs) for one in found] == [
        (0.05, 100, 3),
        (0.1, 100, 1),
        (0.05, 200, 1),
    ]
    assert found[0].seconds == pytest.approx(3 * found[1].seconds)
    assert 1.5 < found[2].seconds / found[1].seconds < 2.0  # the evaluations stay the same
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["sqrt-b256-s0", "fixed-b1024-s0"])
def test_the_size_on_disk_is_that_of_a_shipped_recording_within_a_third(name):
    file = Path(__file__).parents[4] / "data" / "cifar10-small" / f"{name}.nc"
    with xr.open_dataset(file) as shipped:
        tensors = shipped.sizes["tensor"]
    config = replace(CONFIG, iterations=1500, landscape_checkpoints=6)
    assert size_on_disk(config, tensors) == pytest.approx(file.stat().st_size, rel=1 / 3)
