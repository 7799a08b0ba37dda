"""Each recipe of the package, run for real at a tiny scale."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from probes.runs.recipe import find, planned, read, shipped
from probes.runs.sweep import Sweep

# What is left of each recipe's batches and images: hundreds at most.
SCALES = {"limit-imagenet": 1e-4, "demo": 0.02, "temperature": 0.02}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of noise in ten classes of 32² pixels."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for part, count in (("train", 13), ("test", 2)):
        for label in range(10):
            home = folder / part / f"class{label}"
            home.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(home / f"{index}.png")
    return str(folder)


@pytest.mark.slow
def test_first_and_last_run_of_every_recipe(images, tmp_path):
    chosen = []
    for name in shipped():
        scale = SCALES.get(name, 0.002)
        digits = read(find(name)).runs[0].data == "digits"
        # The folder has just the images that are left of 50,000.
        made = {"data": "folder", "data_folder": images, "samples": 50_000}
        overrides = {} if digits else made
        overrides |= (
            {"image_size": 64, "workers": 1, "samples": 1_280_000}
            if name == "limit-imagenet"
            else {}
        )
        places = {"folder": str(tmp_path / name), "processes": 2, "device": "cpu"}
        recipe = read(find(name), overrides={**overrides, **places}, scale=scale)
        runs = planned(recipe, name, processes=2, scale=scale).runs
        # The landscape takes many passes, and is measured in other tests.
        little = {"evaluations": 1, "landscape_checkpoints": 0}
        ends = (runs[0], runs[-1])
        chosen += [replace(run, name=f"{name}-{run.run}", **little) for run in ends]
    outcomes = Sweep(chosen, 2).train(lambda event: None)
    assert [(o.run, o.status, o.reason) for o in outcomes] == [
        (config.run, "trained", "") for config in chosen
    ]
