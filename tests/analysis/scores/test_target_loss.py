import math

import numpy as np
import pytest

from ultraslow.analysis.scores.target_loss import (
    common_target,
    first_loss,
    lowest_loss,
    smoothed,
    steps_to,
    untrained,
)


def decay(make, *, slow=50.0, seed=0, size=64, rate=0.1, last=20_000):
    """A run whose loss falls as 2/(1 + t/slow)^½ without noise."""
    run = make(batch_size=size, seed=seed, last=last)
    ends = run["iteration"].values
    time = (ends + np.concatenate([[0], ends[:-1]]) + 1) / 2  # the middle of each window
    loss = ("iteration", 2 / np.sqrt(1 + time / slow))
    return run.assign(loss=loss).assign_coords(base_learning_rate=rate)


def cut(run, at, value=math.nan):
    return run.assign(loss=run["loss"].where(run["iteration"] <= at, value))


def test_a_smoothed_loss_keeps_the_shape_of_a_slow_decay(make):
    time, loss = smoothed(decay(make))
    late = time > 10
    np.testing.assert_allclose(loss[late], 2 / np.sqrt(1 + time[late] / 50), rtol=0.03)


def test_a_smoothed_loss_equals_a_naive_loop(make):
    run = decay(make, last=2000)
    run["loss"][:] += 0.1 * np.random.default_rng(0).standard_normal(run["loss"].size)
    run["loss"][30] = np.nan
    ends, loss = run["iteration"].values, run["loss"].values
    windows = [
        (np.log((before + 1 + end) / 2), end - before, value)  # middle, updates, loss
        for before, end, value in zip(ends[:-1], ends[1:], loss[1:], strict=True)
        if np.isfinite(value)
    ]
    expected = []
    for middle, _, _ in windows:
        near = [window for window in windows if abs(window[0] - middle) <= 0.23]
        updates = [n for _, n, _ in near]
        expected.append([np.average([w[k] for w in near], weights=updates) for k in (0, 2)])
    time, value = smoothed(run)
    np.testing.assert_allclose(np.log(time), [at for at, _ in expected], atol=1e-12)
    np.testing.assert_allclose(value, [mean for _, mean in expected], rtol=1e-12)


def test_a_crossing_between_windows_is_linear_in_the_logarithm_of_time(make):
    run = decay(make)
    time, loss = smoothed(run)
    between = 0.25 * loss[40] + 0.75 * loss[41]
    assert steps_to(run, between) == pytest.approx(time[40] ** 0.25 * time[41] ** 0.75, rel=1e-9)
    # a loss that is just reached is reached
    assert steps_to(run, loss.min()) == pytest.approx(time[loss.argmin()], rel=1e-9)


def test_the_first_crossing_is_found(make):
    run = decay(make)
    # 2/√(1 + t/50) = 1 at t = 150.
    assert steps_to(run, 1.0) == pytest.approx(150.0, rel=0.03)
    assert math.isnan(steps_to(run, 0.0))
    assert steps_to(run, 10.0) == 0.0  # the first record is there already: not known


def test_a_run_without_a_finite_loss_has_neither_first_nor_lowest(make):
    run = decay(make)
    assert first_loss(run) == pytest.approx(2 / math.sqrt(1 + 1 / 50), rel=0.01)
    assert lowest_loss(run) == smoothed(run)[1].min()
    assert math.isnan(first_loss(cut(run, -1))) and math.isnan(lowest_loss(cut(run, -1)))


def test_runs_that_diverge_or_hardly_train_are_told(make):
    runs = {
        "good": decay(make),
        "slower": decay(make, slow=400.0),
        "flat": decay(make, slow=1e6),
        "nan": cut(decay(make), 3),
        "jump": cut(decay(make), 3, 50.0),
        "never": cut(decay(make), -1),
        "early": cut(decay(make), 9_000),  # it fell far, and ends before half its iterations
        "late": cut(decay(make), 15_000),
    }
    assert untrained(runs) == ("flat", "nan", "jump", "never", "early")


def test_a_run_hardly_trains_that_fell_less_than_half_as_far_as_the_best(make):
    best = decay(make)
    first = first_loss(best)

    def fallen(share):
        return best.assign(loss=first - share * (first - best["loss"]))

    # One of another batch size is held to its own best; a loss may come back up.
    back = best.assign(loss=best["loss"].where(best["iteration"] < 12_000, first))
    runs = {"a": best, "b": fallen(0.55), "c": fallen(0.45), "back": back}
    runs |= {"d": fallen(0.2).assign_coords(batch_size=128)}
    assert untrained(runs) == ("c",)


def test_every_run_of_a_size_may_diverge(make):
    runs = {"a": cut(decay(make), 3), "b": cut(decay(make), 3), "c": decay(make, size=128)}
    assert untrained(runs) == ("a", "b")


def test_the_target_hangs_on_rates_that_train_with_seeds_enough(make):
    good = {f"g{seed}": decay(make, seed=seed) for seed in range(4)}
    slow = {f"s{seed}": decay(make, seed=seed, slow=400.0, rate=0.2) for seed in range(4)}
    few = {f"f{seed}": decay(make, seed=seed, slow=900.0, rate=0.3) for seed in range(3)}
    assert common_target(good | few) == lowest_loss(good["g0"])
    assert common_target(good | slow) == lowest_loss(slow["s0"])
    assert common_target(good | slow | {"s3": cut(slow["s3"], 3)}) == lowest_loss(good["g0"])
    assert math.isnan(common_target(few))
    # Copies are no seeds, and seeds of another batch size are none of this one.
    assert math.isnan(common_target(few | {"copy": few["f0"]}))
    assert math.isnan(common_target(few | {"other": decay(make, seed=3, size=128, rate=0.3)}))
