import numpy as np
import pytest

from analysis.aging import READINGS, Pairs, aging, displacements, residuals
from diffusion.schedule import log_spaced

TIMES = log_spaced(10_000, per_decade=8)
STARTED = np.maximum(TIMES, 1).astype(float)


def grid():
    start, lag = np.meshgrid(np.geomspace(10, 500, 8), np.geomspace(1, 19, 10))
    return Pairs(start.ravel(), (start * lag).ravel())


@pytest.mark.parametrize("reading", range(len(READINGS)))
def test_each_reading_collapses_what_obeys_it(reading):
    pairs = grid()
    x = pairs.arguments()[reading]
    log_distance = 1.5 * np.log(pairs.start) ** 0.7
    law = 0.3 + 1.2 * x - 0.1 * x**2
    log_square = law + (log_distance if reading < 2 else 0.0)
    found = residuals(log_square, log_distance, pairs)
    assert found[reading] < 1e-10
    assert np.delete(found, reading).min() > 1e-3


def brownian(make, clock, *, seeds=5, components=1024, rng=None):
    """Sketches of Brownian motion in a clock."""
    rng = rng or np.random.default_rng(0)
    steps = np.sqrt(np.diff(clock, prepend=0))[:, None]
    runs = {}
    for seed in range(seeds):
        walk = np.cumsum(steps * rng.standard_normal((TIMES.size, components)), axis=0)
        walk -= walk[0]
        squares = (walk**2).sum(axis=1)[:, None] * np.ones(3) / 3
        runs[f"s{seed}"] = make(seed=seed, records=TIMES, distance_sq=squares, sketch=walk)
    return runs


def test_displacements_are_those_of_the_walk(make):
    run = brownian(make, STARTED, seeds=1)["s0"]
    start, end = TIMES[20], TIMES[28]
    pairs = Pairs(np.array([start * 1.0]), np.array([end - start * 1.0]))
    square, distance = displacements(run, pairs)
    walk = run["sketch"].values
    assert square[0] == pytest.approx(np.log(((walk[28] - walk[20]) ** 2).sum()), abs=1e-6)
    assert distance[0] == pytest.approx(np.log((walk[20] ** 2).sum()), abs=1e-9)


@pytest.mark.parametrize(
    ("clock", "word"),
    [(np.log(STARTED + 1) ** 2, "supported"), (STARTED, "contradicted")],
)
def test_the_best_collapse_decides(make, clock, word):
    found = aging(brownian(make, clock))
    assert found.verdict == word
    assert (found.effect < 1) == (word == "supported")


def test_few_seeds_short_runs_and_no_sketch_are_named(make):
    assert "3 seeds at most" in aging(brownian(make, STARTED, seeds=3, components=8)).reason
    runs = brownian(make, STARTED, components=8)
    short = {name: run.isel(iteration=TIMES <= 2000) for name, run in runs.items()}
    assert "less than 2.5 decades" in aging(short).reason
    assert "'trajectory'" in aging({"r": make(records=[0, 1])}).needed
