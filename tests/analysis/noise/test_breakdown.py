import math

import numpy as np
import pytest

from ultraslow.analysis.noise.breakdown import (
    breakdown,
    compare,
    noise_against_loss,
    noise_by_group,
    noise_by_part,
    part_of,
)
from ultraslow.analysis.noise.scale import noise_interval, run_noise_scale
from ultraslow.analysis.runs.tensor_groups import FIRST, INVARIANT, OTHERS


def test_an_arm_of_one_run_has_that_runs_noise_scale(make):
    run = make(batch_size=64, last=2000)
    (found,) = compare({"a": run})
    assert found.scale == run_noise_scale(run)
    assert (found.batch_size, found.runs) == (64, 1)


def test_arms_of_one_batch_size_are_not_mixed(make):
    """Twice the noise under the linear rule: a scale of its own, and not in the other's."""
    runs = {f"r{k}": make(seed=k, last=2000) for k in range(3)}
    loud = make(seed=0, last=2000, scaling="linear", rate=0.05)
    loud["noise_trace"].values[:] *= 2
    found = compare({**runs, "loud": loud})
    assert [(one.batch_size, one.arm, one.runs) for one in found] == [
        (64, "linear", 1),
        (64, "sqrt", 3),
    ]
    assert found[0].scale == run_noise_scale(loud)
    assert found[1].scale == compare(runs)[0].scale
    assert found[0].scale.estimate == pytest.approx(2 * found[1].scale.estimate, rel=0.1)
    told = breakdown({**runs, "loud": loud}, found)
    assert (told.batch_size, told.arm) == (64, "sqrt")
    assert told.parts == noise_by_part(list(runs.values()))


@pytest.mark.parametrize(("size", "place"), [(16, "below"), (200, "within"), (4096, "above")])
def test_the_batch_size_has_a_place_beside_the_noise_scale(make, size, place):
    runs = {f"r{k}": make(batch_size=size, seed=k, last=2000) for k in range(2)}
    (found,) = compare(runs)
    assert found.place == place  # the simulated noise scale is 200
    middle, low, high = found.crossover
    assert low < middle < high
    assert middle == pytest.approx(200 / size, rel=0.1)


def test_sizes_without_noise_are_passed_over_and_unknown_ones_said(make):
    bare = make(batch_size=8, gradient_sq=None, noise_trace=None, noise_updates=None)
    short = make(batch_size=32, records=[0, 1, 2])
    found = compare({"a": bare, "b": short})
    assert [one.batch_size for one in found] == [32]
    assert found[0].place == "unknown" and math.isnan(found[0].scale.low)


def test_parts_sum_over_their_tensors(make):
    runs = [make(seed=k, last=2000) for k in range(2)]
    # Part "linear" twice as noisy as part "conv".
    for run in runs:
        run["noise_trace"].values[:, 1:] *= 2
    found = noise_by_part(runs)
    assert list(found) == ["conv", "linear"]
    expected = []
    for name in ("gradient_sq", "noise_trace"):
        expected.append(np.concatenate([run[name].values[:, 1:].sum(axis=1) for run in runs]))
    updates = np.concatenate([run["noise_updates"].values for run in runs])
    assert found["linear"] == noise_interval(*expected, updates)
    assert found["linear"].estimate / found["conv"].estimate == pytest.approx(2.0)


def test_groups_are_those_that_exponents_are_told_of(make):
    """Noise scales 100, 200 and 800 of three groups; the network's share follows their |G|²."""
    factors = {FIRST: 0.5, INVARIANT: 1.0, OTHERS: 4.0}
    silent, telling = make(seed=0, last=2000), make(seed=1, last=2000, scale_invariant=[-1, 1, 0])
    for run in (silent, telling):
        run["noise_trace"].values[:] *= list(factors.values())
    found = noise_by_group([silent, telling])
    assert list(found) == list(factors)
    for group, factor in factors.items():
        assert found[group].estimate == pytest.approx(200 * factor, rel=0.05)
    # Where no run says which tensors are scale-invariant: (0.3·200 + 0.1·800)/(0.3 + 0.1).
    assert list(noise_by_group([silent])) == [FIRST, OTHERS]
    assert noise_by_group([silent])[OTHERS].estimate == pytest.approx(350, rel=0.05)


def test_the_batch_size_with_most_runs_is_taken_apart(make):
    sizes = {"a": 64, "b": 256, "c": 256}
    runs = {n: make(batch_size=b, seed=ord(n), last=2000) for n, b in sizes.items()}
    found = breakdown(runs, compare(runs))
    assert found.batch_size == 256
    assert found.groups == noise_by_group([runs["b"], runs["c"]])
    assert found.parts == noise_by_part([runs["b"], runs["c"]])
    assert found.by_loss.identical(noise_against_loss([runs["b"], runs["c"]]))
    short = {"a": make(records=[0, 1, 2])}
    assert breakdown(short, compare(short)) is None
    sharp = breakdown(runs, compare(runs), level=0.5).groups[FIRST]
    assert found.groups[FIRST].low < sharp.low < sharp.high < found.groups[FIRST].high


def test_runs_of_unlike_networks_have_no_common_parts(make):
    one = make(records=[0, 1, 10])
    other = one.assign_coords(tensor=["a.weight", "b.weight", "c.weight"])
    assert noise_by_part([one, other]) == noise_by_group([one, other]) == {}
    assert noise_by_part([]) == {}
    assert part_of("module.layer2.1.bn.weight") == "layer2"


def test_noise_that_grows_as_the_loss_falls_is_seen(make):
    run = make(last=20_000)
    # tr Σ ∝ loss^−½, on top of the simulated 200.
    run["noise_trace"].values[:] *= np.sqrt(2.3 / run["loss"].values)[:, None]
    found = noise_against_loss([run])
    loss, scale = found["loss"].values, found["estimate"].values
    assert np.all(np.diff(loss) < 0)
    assert loss[0] > 30 * loss[-1]
    np.testing.assert_allclose(scale, 200 * np.sqrt(2.3 / loss), rtol=0.15)
    assert np.all(found["low"] <= found["estimate"]) and np.all(found["high"] >= found["estimate"])


def test_without_losses_or_noise_there_is_nothing(make):
    assert noise_against_loss([make(loss=None)]).sizes["loss"] == 0
    assert noise_against_loss([]).sizes["loss"] == 0


def test_a_copy_adds_no_noise_measurements(make):
    runs = {"a": make(seed=0, last=2000), "b": make(seed=1, last=2000)}
    copied = runs | {"again": runs["a"]}
    assert compare(copied) == compare(runs)
    # Of a run and its rerun that measured noise, the rerun speaks.
    bare = make(seed=2, last=2000, noise_trace=None)
    assert compare({"bare": bare, "a": make(seed=2, last=2000)})[0].runs == 1


def test_a_batch_size_within_the_interval_is_within_it(make):
    run = make(batch_size=64, last=2000)
    scale = compare({"a": run})[0].scale
    places = {math.floor(scale.low): "below", math.ceil(scale.low): "within"}
    places |= {math.floor(scale.high): "within", math.ceil(scale.high): "above"}
    for size, place in places.items():
        assert compare({"a": run.assign_coords(batch_size=size)})[0].place == place


def test_comparisons_keep_the_level_asked_for(make):
    run = make(last=2000)
    for level in (0.8, 0.99):
        alone = run_noise_scale(run, level=level)
        assert compare({"a": run}, level=level)[0].scale == alone
        joined = run.assign_coords(tensor=["net.a", "net.b", "net.c"])
        assert noise_by_part([joined], level=level)["net"] == alone
    narrow, wide = (noise_against_loss([run], level=level) for level in (0.8, 0.99))
    assert np.all(narrow["low"] > wide["low"]) and np.all(narrow["high"] < wide["high"])
