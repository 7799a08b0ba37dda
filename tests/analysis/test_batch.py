import math

import numpy as np
import pytest

from analysis.batch import common_target, critical_batch, smoothed, steps_to

CRITICAL = 600.0
LAST = 20_000


def training(make, *, size, seed, noise=0.01, factor=1.0, last=LAST, **options):
    """A run whose loss falls as 2/(1 + t/(20·(1 + M_crit/M)))^0.5, slower off the best rate."""
    slow = (1 + CRITICAL / size) * (1 + np.log2(factor) ** 2)
    run = make(batch_size=size, seed=seed, last=last, **options)
    rng = np.random.default_rng([seed, size])
    ends = run["iteration"].values
    time = (ends + np.concatenate([[0], ends[:-1]]) + 1) / 2  # the middle of each window
    loss = 2 / np.sqrt(1 + time / (20 * slow)) * np.exp(noise * rng.standard_normal(time.size))
    rate = 0.1 * np.sqrt(size / 64) * factor
    return run.assign(loss=("iteration", loss)).assign_coords(base_learning_rate=rate)


def sweep(make, *, sizes=(64, 256, 1024, 4096), seeds=4, factors=(1.0,), **options):
    return {
        f"{size}-{factor}-{seed}": training(make, size=size, seed=seed, factor=factor, **options)
        for size in sizes
        for factor in factors
        for seed in range(seeds)
    }


def test_a_smoothed_loss_keeps_the_shape_of_a_slow_decay(make):
    run = training(make, size=64, seed=0, noise=0.0)
    time, loss = smoothed(run)
    slow = 20 * (1 + CRITICAL / 64)
    late = time > 10
    np.testing.assert_allclose(loss[late], 2 / np.sqrt(1 + time[late] / slow), rtol=0.03)


def test_the_first_crossing_is_found(make):
    run = training(make, size=1024, seed=0, noise=0.0)
    # 2/√(1 + t/(20·1.5859)) = 1 at t = 3·31.72 = 95.2.
    assert steps_to(run, 1.0) == pytest.approx(95.2, rel=0.03)
    assert math.isnan(steps_to(run, 0.0))
    assert steps_to(run, 10.0) < 1.5


def test_recorded_runs_give_the_critical_batch_size(make):
    found = critical_batch(sweep(make))
    assert found.status == "ok", found.reason
    assert found.low <= CRITICAL <= found.high
    assert found.high < 1.3 * found.low
    assert found.target == pytest.approx(common_target(sweep(make)))
    assert all("is not tuned" in note for note in found.notes)


def test_each_size_is_taken_at_its_fastest_rate(make):
    found = critical_batch(sweep(make, factors=(0.5, 1.0, 2.0)))
    assert found.notes == ()
    assert found.estimate == pytest.approx(CRITICAL, rel=0.15)


def test_a_size_that_does_not_reach_the_target_is_left_out(make):
    runs = sweep(make)
    runs |= sweep(make, sizes=(16,), last=100)
    found = critical_batch(runs, target=0.8)
    assert found.status == "ok" and 16 not in found.steps
    assert any("batch size 16 left out: 4 runs did not reach" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sizes": (64, 256)}, "those that do are 64, 256"),
        ({"seeds": 3}, "those that do are none"),
        ({"model": None}, "differ in"),
    ],
)
def test_what_is_missing_is_said(make, options, words):
    runs = sweep(make, **options)
    if "model" in options:
        runs |= {"other": training(make, size=64, seed=0)}
    found = critical_batch(runs)
    assert found.status == "missing" and words in found.reason
    assert math.isnan(found.estimate)
    assert str(found).startswith("no critical batch size")


def test_seeds_must_be_shared(make):
    runs = sweep(make)
    runs = {
        k: run.assign_coords(seed=int(run["seed"]) + int(run["batch_size"]))
        for k, run in runs.items()
    }
    assert "0 seeds are shared" in critical_batch(runs).reason


def test_without_losses_nothing_can_be_said(make):
    assert critical_batch({"a": make(loss=None)}).reason == "no run recorded its loss"


def test_steps_that_follow_no_hyperbola_are_said(make):
    runs = {}
    for name, run in sweep(make, seeds=6).items():
        slow = run["loss"].values * (1.5 if run["batch_size"] == 1024 else 1.0)
        runs[name] = run.assign(loss=("iteration", slow))
    found = critical_batch(runs)
    assert found.status == "misfit" and "lack of fit" in found.reason


def test_sizes_far_below_the_critical_one_do_not_bound_it(make):
    found = critical_batch(sweep(make, sizes=(1, 2, 4), noise=0.05))
    assert found.status == "unbounded" and math.isinf(found.high)
    assert "∞" in str(found)
