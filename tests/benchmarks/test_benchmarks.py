"""Every benchmark runs in small, so that one which does not run any more is found."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
SMALL = {
    "accelerator": {
        "device": "cpu",
        "images": 4,
        "pixels": 32,
        "block": 1,
        "blocks": 3,
        "repeats": 2,
        "name": "resnet20",
    },
    "big": {"parameters": [8, 800], "ranks": [1], "updates": 2, "large": 1},
    "checkpoints": {"checkpoints": 3, "values": 50_000},
    "growth": {"count": 4, "others": 2, "profiled": 2},
    "probes": {
        "steps": 4,
        "images": 2,
        "repeats": 1,
        "runs": 1,
        "processes": 1,
        "network": "resnet20",
    },
    "scaling": {"series": (2, 4), "runs": (2, 3), "reports": (), "least": 0.0},
    "start": {"repeats": 1},
    "store": {"recordings": 3, "values": 10_000},
    "train": {"models": ["resnet8"], "count": 6},
    "walks": {"samples": 2, "compared": 1, "walkers": 2},
}
# Many times what is asked for, 0.3, 0.05 and 1 second, as other work may go on beside the tests.
LIMITS = {
    "ultraslow --help, seconds": 2.0,
    "import ultraslow, seconds": 0.5,
    "attach to the first record, seconds": 10.0,
}


def module(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_no_benchmark_is_left_out():
    assert set(module("run").names()) == {*SMALL, "cockpit"}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs_in_small(name):
    threads = torch.get_num_threads()
    try:
        figures = module(f"bench_{name}").measure(**SMALL[name])
    finally:
        torch.set_num_threads(threads)
    assert figures
    assert all(isinstance(value, float | int) for value in figures.values())
    timed = [
        value
        for figure, value in figures.items()
        if "coverage" not in figure and "power of" not in figure
    ]
    assert all(math.isfinite(value) and value > 0 for value in timed), figures
    assert all(figures[figure] < LIMITS[figure] for figure in figures.keys() & LIMITS), figures


def test_the_network_that_cockpit_is_compared_on():
    """Cockpit itself needs an environment of its own."""
    scores = module("bench_cockpit").network()(torch.randn(2, 3, 32, 32))
    assert scores.shape == (2, 10)
