import math

import numpy as np
import pytest

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.scores.critical_batch import CriticalBatch, _judged, critical_batch
from ultraslow.analysis.scores.hyperbola import Hyperbola
from ultraslow.analysis.scores.target_loss import common_target, steps_to

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


def test_recorded_runs_give_the_critical_batch_size(make):
    found = critical_batch(sweep(make))
    assert found.status == "ok", found.reason
    assert found.size.low <= CRITICAL <= found.size.high
    assert found.size.high < 1.3 * found.size.low
    assert found.target == pytest.approx(common_target(sweep(make)))
    assert all("is not tuned" in note for note in found.notes)


def test_iterations_are_geometric_means_over_seeds_at_the_fastest_rate(make):
    runs = sweep(make, sizes=(64, 256, 1024), factors=(1.0, 2.0), noise=0.05)
    # The order of runs does not matter, nor runs that recorded no loss.
    turned = {"bare": make(loss=None, batch_size=16), **dict(reversed(runs.items()))}
    found = critical_batch(turned, target=0.8)
    assert found == critical_batch(runs, target=0.8)
    for size, steps in found.steps.items():
        each = [
            [steps_to(runs[f"{size}-{factor}-{seed}"], 0.8) for seed in range(4)]
            for factor in (1.0, 2.0)
        ]
        assert steps == pytest.approx(np.exp(np.log(each).mean(axis=1)).min())


def test_the_level_and_the_seed_of_the_bootstrap_are_those_asked_for(make):
    runs = sweep(make, noise=0.05)
    wide, narrow, other = (
        critical_batch(runs, level=level, seed=seed)
        for level, seed in ((0.95, 0), (0.8, 0), (0.95, 1))
    )
    # Student's quantiles of 3 degrees of freedom: 3.1824 at 95 % and 1.6377 at 80 %.
    ratio = math.log(wide.size.high / wide.size.low) / math.log(narrow.size.high / narrow.size.low)
    assert ratio == pytest.approx(3.1824 / 1.6377, rel=1e-4)
    assert wide.size.low != other.size.low == pytest.approx(wide.size.low, rel=0.1)


FIT = {"fewest_steps": 90.0, "misfit": 0.5}


@pytest.mark.parametrize(
    ("fit", "status", "words"),
    [
        ({}, "ok", ""),
        ({"misfit": 0.011}, "ok", ""),
        ({"misfit": 0.009}, "misfit", "lack of fit, p = 0.009"),
        ({"low": 0.0}, "unbounded", "do not bound it below"),
        ({"high": math.inf}, "unbounded", "do not bound it above"),
        ({"misfit": math.nan}, "unchecked", "4 seeds for 5 batch sizes, 5 needed"),
        ({"misfit": 0.009, "low": 0.0}, "misfit", "; the batch sizes run do not bound it below"),
        ({"misfit": math.nan, "low": 0.0}, "unbounded", "; whether the iterations follow"),
        ({"beyond": 0.011}, "ok", ""),
        ({"beyond": 0.009}, "misfit", "grow with the batch size, which no hyperbola does"),
        ({"beyond": 0.009, "fewest_steps": math.nan}, "misfit", "fall faster than 1/M"),
    ],
)
def test_a_fit_that_does_not_hold_is_no_estimate_and_open_ends_are_said(fit, status, words):
    unknown = Interval(math.nan, math.nan, math.nan, 4)
    blank = CriticalBatch(unknown, target=0.8, steps=dict.fromkeys((1, 2, 4, 8, 16), 9.0))
    ends = fit.get("low", 400.0), fit.get("high", 600.0)
    rest = {name: value for name, value in fit.items() if name not in ("low", "high")}
    found = _judged(Hyperbola(Interval(500.0, *ends, 4), **{**FIT, **rest}), blank)
    assert found.status == status and words in found.reason
    assert (found.reason == "") == (status == "ok")
    if "beyond" in fit and status == "misfit":
        assert math.isnan(found.size.value) and str(found).startswith("no critical batch size")
    else:
        assert (found.size.value, found.size.low, found.size.high) == (500.0, *ends)
        assert found.fewest_steps == 90.0


def test_seeds_that_are_equal_leave_the_fit_unchecked(make):
    found = critical_batch(sweep(make, noise=0.0))
    assert found.status == "unchecked" and found.reason.endswith(": the seeds hardly differ")


def test_of_a_seed_that_was_run_twice_the_longer_run_counts(make):
    runs = sweep(make)
    # Broken off, and slower by noise that was added: neither stands in the way of the others.
    short = {f"a-{name}": run for name, run in sweep(make, last=300).items()}
    heated = {
        f"b-{name}": run.assign_attrs(config='{"gradient_noise": 0.1}')
        for name, run in sweep(make, factors=(1.7,)).items()
    }
    found, alone = critical_batch(short | heated | runs), critical_batch(runs)
    assert (found.size.value, found.size.low, found.target) == (
        alone.size.value,
        alone.size.low,
        alone.target,
    )
    assert (found.steps, found.notes) == (alone.steps, alone.notes)
    assert critical_batch(runs | short | {"copy": runs["64-1.0-0"]}) == alone


def test_each_size_is_taken_at_its_fastest_rate(make):
    found = critical_batch(sweep(make, factors=(0.5, 1.0, 2.0)))
    assert found.notes == ()
    assert found.size.value == pytest.approx(CRITICAL, rel=0.15)


def test_a_size_that_does_not_reach_the_target_is_left_out(make):
    runs = sweep(make)
    runs |= sweep(make, sizes=(16,), last=100)
    found = critical_batch(runs, target=0.8)
    assert found.status == "ok" and 16 not in found.steps
    assert any("batch size 16 left out: 4 runs did not reach" in note for note in found.notes)
    # Of a rate with too few seeds it does not matter how many of them reached it.
    runs |= sweep(make, sizes=(16,), last=100, factors=(2.0,), seeds=2)
    notes = critical_batch(runs, target=0.8).notes
    why = "4 runs did not reach the target, fewer than 4 seeds"
    assert f"batch size 16 left out: {why}" in notes


@pytest.mark.parametrize(
    ("options", "words", "needed"),
    [
        ({"sizes": (64, 256)}, "those that do are 64, 256", "runs at 1 more batch size"),
        ({"seeds": 1, "sizes": (64,)}, "those that do are 64", "runs at 2 more batch sizes"),
    ],
)
def test_what_is_missing_is_said(make, options, words, needed):
    runs = sweep(make, **options)
    found = critical_batch(runs)
    assert found.status == "missing" and words in found.reason
    assert needed in found.needed and str(found).endswith(f"Would give one: {found.needed}")
    assert math.isnan(found.size.value)
    assert str(found).startswith("no critical batch size")


def test_the_seeds_that_an_arm_lacks_are_named_and_adding_them_gives_one(make):
    runs = sweep(make, sizes=(64, 256, 1024), factors=(1.0, 2.0))
    whole = dict(runs)
    for seed in range(4):
        del runs[f"1024-2.0-{seed}"]
    del runs["1024-1.0-2"]
    found = critical_batch(runs, target=0.8)
    assert found.needed == "1 more seed at batch size 1024 and learning rate 0.4 (seed 2)"
    assert (found.status, found.basis, found.size.n) == ("ok", "runs", 4 + 4 + 3)
    assert found.size.low <= CRITICAL <= found.size.high
    assert found.notes[-1] == f"an interval across seeds would need {found.needed}"
    # Another seed is none that the others have.
    runs["other"] = training(make, size=1024, seed=7)
    found = critical_batch(runs, target=0.8)
    assert (found.basis, found.size.n) == ("runs", 12)
    assert found.needed == "1 more seed at batch size 1024 and learning rate 0.4 (seed 2)"
    runs["1024-1.0-2"] = whole["1024-1.0-2"]
    assert critical_batch(runs, target=0.8).basis == "seeds"


def test_who_follows_what_is_advised_has_an_interval_across_seeds_of_all_sizes(make):
    sizes = (32, 64, 128, 256, 512, 1024, 2048, 4096)
    runs = sweep(make, sizes=sizes, seeds=1)
    listed = "32, 64, 128, 256, 512, 1024, 2048, 4096"
    one = critical_batch(runs, target=0.8)
    rates = "0.0707, 0.1, 0.141, 0.2, 0.283, 0.4, 0.566, 0.8"
    assert one.needed == (
        f"3 more seeds each at batch sizes {listed} and learning rates {rates} in turn"
    )
    followed = critical_batch(sweep(make, sizes=sizes), target=0.8)
    assert (followed.basis, list(followed.steps)) == ("seeds", list(sizes))
    bare = {name: run.drop_vars("seed") for name, run in runs.items()}
    assert critical_batch(bare, target=0.8).needed == (
        f"{one.needed}, the same at all of them, which `ultraslow label` tells"
    )
    slow = critical_batch(sweep(make, sizes=sizes), target=1e-3).needed
    assert slow == f"longer training at batch sizes {listed}, or a higher target"


def test_runs_of_another_set_do_not_stand_in_the_way(make):
    alone = critical_batch(sweep(make))
    decayed = sweep(make, sizes=(64, 256), weight_decay=5e-4)
    decayed = {f"decayed-{name}": run for name, run in decayed.items()}
    found = critical_batch(decayed | sweep(make))
    assert (found.status, found.steps, found.target) == ("ok", alone.steps, alone.target)
    assert found.notes[0] == (
        "of the set unknown weight decay; others are left out: weight decay 0.0005 (8 recordings)"
    )
    assert found.notes[1:] == alone.notes
    # Where none of the sets is enough, the reason is that of the largest.
    assert "those that do are 64, 256" in critical_batch(decayed).reason


def test_runs_of_other_seeds_at_each_size_tell_by_how_they_differ(make):
    runs = sweep(make, sizes=(64, 256, 1024))
    runs = {
        k: run.assign_coords(seed=int(run["seed"]) + int(run["batch_size"]))
        for k, run in runs.items()
    }
    found = critical_batch(runs)
    assert (found.basis, found.size.n, found.record()["seeds"]) == ("runs", 12, 0)
    assert found.size.low <= CRITICAL <= found.size.high
    assert found.notes[0].startswith("the interval comes from how runs at a batch size differ")
    assert found.needed.startswith(
        "4 more seeds each at batch sizes 64, 256 and learning rates 0.1, 0.2 in turn (seeds 10"
    )


def test_one_run_a_size_has_an_interval_from_the_misfit(make):
    runs = sweep(make, seeds=1, sizes=(64, 128, 256, 512, 1024, 4096))
    # A loss, its iterations and a batch size are enough.
    bare = {name: run[["loss"]].drop_vars("seed") for name, run in runs.items()}
    for found in (critical_batch(runs, target=0.7), critical_batch(bare, target=0.7)):
        assert (found.status, found.basis, found.size.n) == ("ok", "misfit", 6)
        assert found.size.low <= CRITICAL <= found.size.high
        assert found.size.high < 1.3 * found.size.low
        assert found.notes[0] == (
            "the interval comes from the misfit of one run a size: it takes in how well the "
            "hyperbola holds, not how runs differ"
        )
        expected = [steps_to(run, found.target) for run in runs.values()]
        np.testing.assert_allclose(list(found.steps.values()), expected)


def test_the_fastest_rates_tell_a_noise_scale_where_others_enclose_them(make):
    runs = sweep(make, factors=(0.5, 1.0, 2.0), sizes=(64, 256, 1024))
    rates = critical_batch(runs).rates
    # The fastest rates of these runs are 0.1·√(M/64), which bend as no ε_max/(1 + B/M) does.
    assert rates.rates == pytest.approx({64: 0.1, 256: 0.2, 1024: 0.4})
    assert rates.notes == (
        "rates were tried 2 times apart at most",
        "a power of M describes the best rates better: M^0.5, off by 0% at most where the form is "
        "off by 16%",
    )
    assert rates.status == "unbounded" and rates.basis == "misfit"
    assert "could not be checked: 3 batch sizes, 4 needed" in rates.reason
    one = critical_batch(sweep(make, factors=(1.0, 2.0), sizes=(64, 256, 1024))).rates
    assert one.status == "missing" and "at the edge of those tried" in one.notes[0]
    assert critical_batch(sweep(make)).rates is None


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
    assert found.status == "unbounded" and math.isinf(found.size.high)
    assert "∞" in str(found) or "larger than" in str(found)


@pytest.mark.parametrize("after", [math.nan, 50.0])
def test_a_run_that_diverges_does_not_set_the_target_and_is_named(make, after):
    whole = sweep(make, factors=(1.0, 2.0))
    aim = common_target({name: run for name, run in whole.items() if "1024-2.0" not in name})
    bad = whole["1024-2.0-3"]
    late = np.where(bad["iteration"] > 3, after, bad["loss"])
    found = critical_batch(whole | {"1024-2.0-3": bad.assign(loss=("iteration", late))})
    assert found.status == "ok" and found.target == aim
    assert found.size.low <= CRITICAL <= found.size.high
    assert any(note.startswith("1 run did not count") for note in found.notes)
    assert any(note.endswith("1024-2.0-3") for note in found.notes)
    # The fuller rate of 1024 stays; that the other is out is said.
    assert any("learning rate 0.8 of batch size 1024 left out" in note for note in found.notes)


def test_rates_that_miss_the_target_are_named_with_their_size(make):
    found = critical_batch(sweep(make, factors=(1.0, 8.0), last=2000), target=0.5)
    missed = "learning rate 3.2 of batch size 1024 left out: 4 runs did not reach the target"
    assert found.status == "ok" and missed in found.notes
    fewer = sweep(make) | sweep(make, sizes=(256,), factors=(2.0,), seeds=2)
    assert critical_batch(fewer, target=0.5).notes[1:3] == (
        "batch size 64 was run at one learning rate and is not tuned",
        "batch size 256 was run at one learning rate with 4 seeds and is not tuned",
    )


@pytest.mark.parametrize("target", [1.99, 5.0])
def test_a_target_that_the_first_record_has_met_is_refused(make, target):
    runs = sweep(make, last=2000)
    found = critical_batch(runs, target=target)
    assert found.status == "missing" and math.isnan(found.size.value)
    assert "has reached loss" in found.reason and found.needed == "a lower target"
    first = min(float(run["loss"].values[1]) for run in runs.values())
    assert f"(loss {first:.4g} at batch size 4096)" in found.reason


def test_fewer_seeds_than_batch_sizes_leave_the_fit_unchecked(make):
    runs = sweep(make, sizes=(64, 128, 256, 1024, 4096))
    found = critical_batch(runs)
    assert found.status == "unchecked"
    assert "could not be checked: 4 seeds for 5 batch sizes, 5 needed" in found.reason
    assert found.size.low <= CRITICAL <= found.size.high


@pytest.mark.parametrize(
    ("power", "words"),
    [(-1.002, "critical batch size larger than"), (0.002, "critical batch size smaller than")],
)
def test_a_best_fit_at_the_edge_is_a_bound_and_no_estimate(make, power, words):
    runs = {}
    for name, run in sweep(make, seeds=5).items():
        size, ends = int(run["batch_size"]), run["iteration"].values
        rng = np.random.default_rng([int(run["seed"]), size])
        slow = 4000 * (size / 64) ** power
        time = (ends + np.concatenate([[0], ends[:-1]]) + 1) / 2
        loss = 2 / np.sqrt(1 + time / slow) * np.exp(0.03 * rng.standard_normal(ends.size))
        runs[name] = run.assign(loss=("iteration", loss))
    found = critical_batch(runs, target=0.9)
    side = "above" if power < 0 else "below"
    assert found.status == "unbounded" and words in str(found), found
    assert math.isnan(found.size.value) and f"do not bound it {side}" in found.reason


def test_no_finite_loss_is_no_loss_to_reach(make):
    runs = {name: run.assign(loss=run["loss"] * math.nan) for name, run in sweep(make).items()}
    assert "must reach a common target, and those that do are none" in critical_batch(runs).reason


def test_a_run_that_ends_before_the_target_sets_none_and_blocks_nothing(make):
    runs = sweep(make, seeds=5)
    name = next(iter(runs))
    without = {other: run for other, run in runs.items() if other != name}
    alone = critical_batch(without)
    at = runs[name]["iteration"].values
    early = runs[name].isel(iteration=at <= 0.5 * at[-1])
    lost = runs[name].copy(deep=True)
    lost["loss"][at > 0.7 * at[-1]] = np.nan
    for broken in (early, lost):
        found = critical_batch({**runs, name: broken})
        assert (found.steps, found.target) == (alone.steps, alone.target)
        assert found.notes[0].startswith("1 run left out, as the loss ends before the target")
