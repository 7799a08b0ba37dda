import numpy as np

from analysis.groups import FIRST, INVARIANT, OTHERS, group_exponents, grouped


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


def test_a_tensor_of_another_law_is_seen(make):
    runs = {}
    for seed in range(4):
        run, other = make(seed=seed), make(seed=seed + 10, exponent=0.4)
        run["distance_sq"][:, 0] = other["distance_sq"].values[:, 0]
        runs[f"s{seed}"] = run
    (phrase,) = group_exponents(runs, level=0.95)
    assert phrase.startswith("p by tensors at batch size 64: first tensor 0.4")
    assert "other tensors 0.00" in phrase or "other tensors −0.00" in phrase


def test_single_tensors_and_few_seeds_have_no_groups(make):
    runs = {f"s{seed}": make(seed=seed) for seed in range(4)}
    single = {name: run.isel(tensor=[0]) for name, run in runs.items()}
    assert group_exponents(single, level=0.95) == ()
    assert group_exponents({"s0": runs["s0"]}, level=0.95) == ()


def test_groups_that_do_not_grow_are_not_estimated(make):
    runs = {f"s{seed}": make(seed=seed) for seed in range(4)}
    for run in runs.values():
        run["distance_sq"][:, 0] = 1.0
    assert "first tensor not estimated" in group_exponents(runs, level=0.95)[0]
