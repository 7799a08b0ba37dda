import math
from dataclasses import replace

import numpy as np
import pytest

from ultraslow.analysis.intervals import t_interval
from ultraslow.analysis.noise.breakdown import (
    GradientNoise,
    arm_scales,
    network_part,
    noise_breakdown,
    run_noise_scale,
)
from ultraslow.analysis.noise.scale import Windows, noise_interval
from ultraslow.analysis.runs.readings import FIRST, INVARIANT, OTHERS


def test_an_arm_of_one_run_has_that_runs_noise_scale(make):
    run = make(batch_size=64, last=2000)
    (found,) = arm_scales({"a": run})
    assert found.scale == run_noise_scale(run)
    assert (found.batch_size, found.runs) == (64, 1)


def test_arms_of_one_batch_size_are_not_mixed(make):
    """Twice the noise under the linear rule: a scale of its own, and not in the other's."""
    runs = {f"r{k}": make(seed=k, last=2000) for k in range(3)}
    loud = make(seed=0, last=2000, scaling="linear", rate=0.05)
    loud["noise_trace"].values[:] *= 2
    found = arm_scales({**runs, "loud": loud})
    assert [(one.batch_size, one.arm, one.runs) for one in found] == [
        (64, "linear", 1),
        (64, "sqrt", 3),
    ]
    assert found[0].scale == run_noise_scale(loud)
    assert found[1].scale == arm_scales(runs)[0].scale
    assert found[0].scale.interval.value == pytest.approx(
        2 * found[1].scale.interval.value, rel=0.1
    )
    told = noise_breakdown({**runs, "loud": loud}, found)
    assert (told.batch_size, told.arm) == (64, "sqrt")
    assert told.parts == GradientNoise(list(runs.values())).by_part()


@pytest.mark.parametrize(("size", "place"), [(16, "below"), (200, "within"), (4096, "above")])
def test_the_batch_size_has_a_place_beside_the_noise_scale(make, size, place):
    runs = {f"r{k}": make(batch_size=size, seed=k, last=2000) for k in range(2)}
    (found,) = arm_scales(runs)
    assert found.place == place  # the simulated noise scale is 200
    assert found.crossover.low < found.crossover.value < found.crossover.high
    assert found.crossover.value == pytest.approx(200 / size, rel=0.1)


def test_sizes_without_noise_are_passed_over_and_unknown_ones_said(make):
    bare = make(batch_size=8, gradient_sq=None, noise_trace=None, noise_updates=None)
    short = make(batch_size=32, records=[0, 1, 2])
    found = arm_scales({"a": bare, "b": short})
    assert [one.batch_size for one in found] == [32]
    assert found[0].place == "unknown" and math.isnan(found[0].scale.interval.low)


def test_parts_sum_over_their_tensors(make):
    runs = [make(seed=k, last=2000) for k in range(2)]
    # Part "linear" twice as noisy as part "conv".
    for run in runs:
        run["noise_trace"].values[:, 1:] *= 2
    found = GradientNoise(runs).by_part()
    assert list(found) == ["conv", "linear"]
    windows = [
        Windows(
            *(run[name].values[:, 1:].sum(axis=1) for name in ("gradient_sq", "noise_trace")),
            run["noise_updates"].values,
        )
        for run in runs
    ]
    assert found["linear"] == replace(noise_interval(windows), first=1, last=2000)
    assert found["linear"].interval.value / found["conv"].interval.value == pytest.approx(2.0)


def test_groups_are_those_that_exponents_are_told_of(make):
    """Noise scales 100, 200 and 800 of three groups; the network's share follows their |G|²."""
    factors = {FIRST: 0.5, INVARIANT: 1.0, OTHERS: 4.0}
    silent, telling = make(seed=0, last=2000), make(seed=1, last=2000, scale_invariant=[-1, 1, 0])
    for run in (silent, telling):
        run["noise_trace"].values[:] *= list(factors.values())
    found = GradientNoise([silent, telling]).by_group()
    assert list(found) == list(factors)
    for group, factor in factors.items():
        assert found[group].interval.value == pytest.approx(200 * factor, rel=0.05)
    # Where no run says which tensors are scale-invariant: (0.3·200 + 0.1·800)/(0.3 + 0.1).
    assert list(GradientNoise([silent]).by_group()) == [FIRST, OTHERS]
    assert GradientNoise([silent]).by_group()[OTHERS].interval.value == pytest.approx(
        350, rel=0.05
    )


def test_the_batch_size_with_most_runs_is_taken_apart(make):
    sizes = {"a": 64, "b": 256, "c": 256}
    runs = {n: make(batch_size=b, seed=ord(n), last=2000) for n, b in sizes.items()}
    found = noise_breakdown(runs, arm_scales(runs))
    assert found.batch_size == 256
    assert found.groups == GradientNoise([runs["b"], runs["c"]]).by_group()
    assert found.parts == GradientNoise([runs["b"], runs["c"]]).by_part()
    assert found.by_loss.identical(GradientNoise([runs["b"], runs["c"]]).against_loss())
    short = {"a": make(records=[0, 1, 2])}
    assert noise_breakdown(short, arm_scales(short)) is None
    sharp = noise_breakdown(runs, arm_scales(runs), level=0.5).groups[FIRST]
    wide, narrow = found.groups[FIRST].interval, sharp.interval
    assert wide.low < narrow.low < narrow.high < wide.high


def test_runs_of_unlike_networks_have_no_common_parts(make):
    one = make(records=[0, 1, 10])
    other = one.assign_coords(tensor=["a.weight", "b.weight", "c.weight"])
    assert GradientNoise([one, other]).by_part() == GradientNoise([one, other]).by_group() == {}
    assert GradientNoise([]).by_part() == {}
    assert network_part("module.layer2.1.bn.weight") == "layer2"
    assert network_part("weights") == "weights"


def test_noise_that_grows_as_the_loss_falls_is_seen(make):
    run = make(last=20_000)
    # tr Σ ∝ loss^−½, on top of the simulated 200.
    run["noise_trace"].values[:] *= np.sqrt(2.3 / run["loss"].values)[:, None]
    found = GradientNoise([run]).against_loss()
    loss, scale = found["loss"].values, found["estimate"].values
    assert np.all(np.diff(loss) < 0)
    assert loss[0] > 30 * loss[-1]
    np.testing.assert_allclose(scale, 200 * np.sqrt(2.3 / loss), rtol=0.15)
    assert np.all(found["low"] <= found["estimate"]) and np.all(found["high"] >= found["estimate"])


def test_without_losses_or_noise_there_is_nothing(make):
    assert GradientNoise([make(loss=None)]).against_loss().sizes["loss"] == 0
    assert GradientNoise([]).against_loss().sizes["loss"] == 0


def test_a_copy_adds_no_noise_measurements(make):
    runs = {"a": make(seed=0, last=2000), "b": make(seed=1, last=2000)}
    copied = runs | {"again": runs["a"]}
    assert arm_scales(copied) == arm_scales(runs)
    # Of a run and its rerun that measured noise, the rerun speaks.
    bare = make(seed=2, last=2000, noise_trace=None)
    assert arm_scales({"bare": bare, "a": make(seed=2, last=2000)})[0].runs == 1


def test_a_batch_size_within_the_interval_is_within_it(make):
    run = make(batch_size=64, last=2000)
    scale = arm_scales({"a": run})[0].scale.interval
    places = {math.floor(scale.low): "below", math.ceil(scale.low): "within"}
    places |= {math.floor(scale.high): "within", math.ceil(scale.high): "above"}
    for size, place in places.items():
        assert arm_scales({"a": run.assign_coords(batch_size=size)})[0].place == place


def test_comparisons_keep_the_level_asked_for(make):
    run = make(last=2000)
    for level in (0.8, 0.99):
        alone = run_noise_scale(run, level=level)
        assert arm_scales({"a": run}, level=level)[0].scale == alone
        joined = run.assign_coords(tensor=["net.a", "net.b", "net.c"])
        assert GradientNoise([joined], level).by_part()["net"] == alone
    narrow, wide = (GradientNoise([run], level).against_loss() for level in (0.8, 0.99))
    assert np.all(narrow["low"] > wide["low"]) and np.all(narrow["high"] < wide["high"])


def test_a_recording_gives_back_its_noise_scale(make):
    found = run_noise_scale(make(last=20_000))
    assert found.interval.low < 200 < found.interval.high  # conftest.B_SIMPLE
    assert found.interval.high / found.interval.low < 1.1
    assert found.updates == 20_000


def test_a_recording_without_noise_says_why(make):
    run = make(gradient_sq=None, noise_trace=None, noise_updates=None)
    assert run_noise_scale(run).interval.reason == "no gradient noise was recorded"
    run.attrs["noise_absent"] = "every update had one unit"
    assert run_noise_scale(run).interval.reason == "every update had one unit"
    assert GradientNoise([run]).over_time().sizes["iteration"] == 0


def test_noise_over_time_follows_a_growing_noise_scale(make):
    runs = [make(seed=seed, last=10_000) for seed in range(3)]
    growth = 1 + runs[0]["iteration"] / 1000
    grown = [run.assign(noise_trace=run["noise_trace"] * growth) for run in runs]
    found = GradientNoise(grown).over_time()
    expected = 200 * (1 + found["iteration"] / 1000)
    late = found["iteration"] > 100
    np.testing.assert_allclose(found["estimate"][late], expected[late], rtol=0.1)
    assert bool((found["low"] < found["high"])[late].all())


@pytest.mark.parametrize("level", [0.8, 0.99])
def test_the_interval_is_that_of_the_windows_at_the_level_asked_for(make, level):
    run = make(last=2000)
    totals = [run[name].values.sum(axis=1) for name in ("gradient_sq", "noise_trace")]
    windows = Windows(*totals, run["noise_updates"].values.astype(float))
    expected = replace(noise_interval([windows], level=level), first=1, last=2000)
    assert run_noise_scale(run, level=level) == expected
    # The fifth of a decade that begins at 1000 ends at 1584.9.
    at = run["iteration"].values
    inside = (at >= 1000) & (at <= 1584)
    expected = noise_interval([windows._replace(inside=inside)], level=level)
    found = GradientNoise([run], level).over_time().sel(iteration=slice(1000, 1584))
    assert (found["estimate"].item(), found["low"].item(), found["high"].item()) == (
        expected.interval.value,
        expected.interval.low,
        expected.interval.high,
    )
    assert np.isfinite(expected.interval.low)


def test_a_window_with_an_unknown_tensor_does_not_count(make):
    run = make(last=2000)
    updates = int(run["noise_updates"].values[-1])
    run["noise_trace"][-1, 0] = np.nan
    assert run_noise_scale(run).updates == 2000 - updates


def test_a_bin_lies_at_the_geometric_middle_of_its_records(make):
    # Fifths of a decade begin at 100, 158.5, 251.2, 398.1 and 631.
    run = make(records=[0, 100, 144, 200, 300, 450, 900])
    found = GradientNoise([run]).over_time()["iteration"].values
    np.testing.assert_allclose(found, [120.0, 200.0, 300.0, 450.0, 900.0], rtol=1e-12)


def test_the_iterations_that_b_is_averaged_over_are_told(make):
    found = run_noise_scale(make(last=2000))
    assert (found.first, found.last) == (1, 2000)
    late = make(records=[500, 600, 700, 800, 900], noise_updates=[0, 100, 100, 100, 100])
    assert (run_noise_scale(late).first, run_noise_scale(late).last) == (501, 900)


def test_a_short_seed_does_not_shorten_the_others(make):
    """It is named and left out; one that covers nearly all limits what all speak of."""
    runs = {f"s{k}": make(run=f"s{k}", seed=k, last=2000) for k in range(3)}
    alone = arm_scales(runs)[0]
    short = make(run="short", seed=7, records=[*range(20), 30, 50, 100, 200])
    (found,) = arm_scales({**runs, "short": short})
    assert (found.scale, found.runs) == (alone.scale, 3)
    assert found.left_out == ("short has finite gradient noise in 200 of 2000 iterations",)
    records = runs["s0"]["iteration"].values
    cut_off = make(run="cut", seed=8, records=records[records <= 1500])
    (same,) = arm_scales({**runs, "cut": cut_off})
    last = cut_off["iteration"].values[-1]
    assert (same.scale, same.runs) == (alone.scale, 3)
    assert same.left_out == (f"cut has finite gradient noise in {last} of 2000 iterations",)
    longer = make(run="longer", seed=8, records=records[records <= 1900].tolist() + [1900])
    (both,) = arm_scales({**runs, "longer": longer})
    assert (both.runs, both.scale.first, both.left_out) == (4, 1, ())
    assert both.scale.last == 1900
    within = int(records[records <= 1900][-1])
    cut = {name: run.sel(iteration=slice(0, within)) for name, run in runs.items()}
    assert arm_scales({**cut, "longer": longer})[0].scale.interval.value == pytest.approx(
        both.scale.interval.value, rel=0.01
    )


def test_a_seed_without_finite_noise_is_named_and_left_out(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k, last=2000) for k in range(3)}
    alone = arm_scales(runs)[0].scale
    lost = make(run="lost", seed=5, last=2000)
    lost["gradient_sq"].values[:] = np.nan
    (found,) = arm_scales({**runs, "lost": lost})
    assert found.scale == alone
    assert found.left_out == ("lost has finite gradient noise in 0 of 2000 iterations",)
    (nothing,) = arm_scales({"lost": lost})
    assert nothing.place == "unknown"
    assert nothing.left_out == ("lost has no finite gradient noise",)


def test_names_and_their_order_do_not_matter(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k, last=2000) for k in range(4)}
    turned = {f"other-{name}": runs[name] for name in reversed(runs)}
    one, other = arm_scales(runs)[0].scale.interval, arm_scales(turned)[0].scale.interval
    np.testing.assert_allclose([one.low, one.high], [other.low, other.high], rtol=1e-12)


def test_of_three_seeds_each_bin_is_theirs(make):
    """Twin: Student's interval of the seeds' ratios within a bin of time, and of the loss."""
    runs = [make(seed=k, last=2000) for k in range(3)]
    noise = GradientNoise(runs)
    at = runs[0]["iteration"].values
    inside = (at >= 1000) & (at <= 1584)
    ratios = []
    for run in runs:
        g, s = (run[name].values.sum(axis=1)[inside] for name in ("gradient_sq", "noise_trace"))
        n = run["noise_updates"].values[inside]
        ratios.append((n @ s) / (n @ g))
    expected = t_interval(np.log(ratios), level=0.95)
    found = noise.over_time().sel(iteration=slice(1000, 1584))
    assert found["low"].item() == pytest.approx(np.exp(expected.low))
    assert found["high"].item() == pytest.approx(np.exp(expected.high))
    assert np.isfinite(noise.against_loss()["low"].values).all()
