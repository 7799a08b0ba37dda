import re

import numpy as np

from ultraslow.analysis.predictions.growth.log_growth import group_exponents
from ultraslow.analysis.runs.readings import FIRST, INVARIANT, OTHERS, constant_rate, grouped
from ultraslow.analysis.study import Study


def test_groups_are_sums_over_their_tensors(make):
    run = make(scale_invariant=[1, 1, 0])
    found = grouped(run)
    assert found["tensor"].values.tolist() == [FIRST, INVARIANT, OTHERS]
    np.testing.assert_array_equal(found["distance_sq"].values, run["distance_sq"].values)
    plain = grouped(make())
    assert plain["tensor"].values.tolist() == [FIRST, OTHERS]
    np.testing.assert_allclose(
        plain["distance_sq"].sel(tensor=OTHERS), run["distance_sq"][:, 1:].sum("tensor")
    )


def test_the_order_of_the_axes_does_not_matter_and_what_a_fit_needs_is_kept(make):
    rate = np.where(make()["iteration"] <= 2000, 0.1, 0.01)
    run = make(learning_rate=rate, scale_invariant=[1, 1, 0])
    turned = run.assign(distance_sq=run["distance_sq"].transpose("tensor", "iteration"))
    assert grouped(turned).identical(grouped(run))
    for kept in (run, run.drop_vars("learning_rate"), run.drop_vars("learning_rate_sum")):
        whole, groups = constant_rate(kept), constant_rate(grouped(kept))
        np.testing.assert_array_equal(groups.iteration, whole.iteration)
        assert groups.reason == whole.reason


def test_each_arm_has_the_exponents_of_its_own_runs(make):
    small = {f"a{seed}": make(seed=seed) for seed in range(4)}
    large = {f"b{seed}": make(seed=seed, batch_size=256, exponent=0.4) for seed in range(4)}
    one, other = group_exponents(Study(small | large))
    assert one == group_exponents(Study(small))[0]
    assert other == group_exponents(Study(large))[0]
    assert "at batch size 64: first tensor 0.0" in one.replace("−", "")
    assert "at batch size 256: first tensor 0.4" in other or "first tensor 0.39" in other


def test_a_tensor_of_another_law_is_seen(make):
    runs = {}
    for seed in range(4):
        run, other = make(seed=seed), make(seed=seed + 10, exponent=0.4)
        run["distance_sq"][:, 0] = other["distance_sq"].values[:, 0]
        runs[f"s{seed}"] = run
    (phrase,) = group_exponents(Study(runs))
    assert phrase.startswith("p by tensors at batch size 64: first tensor 0.4")
    assert "other tensors 0.00" in phrase or "other tensors −0.00" in phrase


def test_single_tensors_and_few_seeds_have_no_groups(make):
    runs = {f"s{seed}": make(seed=seed) for seed in range(4)}
    single = {name: run.isel(tensor=[0]) for name, run in runs.items()}
    assert group_exponents(Study(single)) == ()
    assert group_exponents(Study({"s0": runs["s0"]})) == ()


def test_groups_that_do_not_grow_are_not_estimated(make):
    runs = {f"s{seed}": make(seed=seed) for seed in range(4)}
    for run in runs.values():
        run["distance_sq"][:, 0] = 1.0
    assert "first tensor not estimated" in group_exponents(Study(runs))[0]


def test_a_group_is_unknown_where_one_of_its_tensors_is(make):
    run = make()
    run["distance_sq"][5, 2] = np.nan
    found = grouped(run)["distance_sq"]
    assert np.flatnonzero(np.isnan(found.sel(tensor=OTHERS))).tolist() == [5]
    assert np.isfinite(found.sel(tensor=FIRST)).all()


def test_tensors_that_may_be_scale_invariant_are_not_taken_for_it(make):
    run = make()
    run["scale_invariant"] = "tensor", np.array([0, -1, 1], dtype=np.int8)
    assert grouped(run)["tensor"].values.tolist() == [FIRST, INVARIANT, OTHERS]
    np.testing.assert_array_equal(
        grouped(run)["distance_sq"].sel(tensor=INVARIANT), run["distance_sq"][:, 2]
    )


def first_tensor(phrase):
    """Mean and ends of the first tensor's exponent."""
    found = re.search(r"first tensor (\S+) \[(\S+), (\S+)\]", phrase.replace("−", "-"))
    return [float(text) for text in found.groups()]


def wide(make, seeds):
    """Runs whose first tensor has another exponent in each seed."""
    runs = {}
    for seed in range(seeds):
        run, other = make(seed=seed), make(seed=seed, exponent=0.2 * (1 + seed % 4))
        run["distance_sq"][:, 0] = other["distance_sq"].values[:, 0]
        runs[f"s{seed}"] = run
    return runs


def test_groups_have_students_interval_at_the_level_asked_for(make):
    # Exponents 0.2, 0.4, 0.6, 0.8: mean 0.5, s/√4 = 0.1291; t of 3 degrees of freedom is 1.6377
    # at 80 % and 3.1824 at 95 %.
    for level, reach in ((0.8, 1.6377 * 0.1291), (0.95, 3.1824 * 0.1291)):
        (phrase,) = group_exponents(Study(wide(make, 4), level))
        np.testing.assert_allclose(
            first_tensor(phrase), [0.5, 0.5 - reach, 0.5 + reach], atol=0.015
        )
    assert group_exponents(Study(wide(make, 3))) == ()


def test_a_seed_whose_exponent_is_no_estimate_does_not_count(make):
    runs = wide(make, 5)
    noise = np.random.default_rng(0).standard_normal(runs["s4"].sizes["iteration"])
    runs["s4"]["distance_sq"][:, 0] = 1 + 0.01 * noise
    others = {name: run for name, run in runs.items() if name != "s4"}
    four, five = (group_exponents(Study(known))[0] for known in (others, runs))
    assert first_tensor(four) == first_tensor(five)
