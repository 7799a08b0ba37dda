import json
import random

import numpy as np
import pytest
import xarray as xr

from ultraslow import analysis
from ultraslow.analysis.runs import ALL, counted_in_words, draws, equal_sets, rungs_in_words
from ultraslow.analysis.runs.arms import copies, diverged, one_per_seed, stopped_early

FEW = [0, 1, 2, 4, 8]


def run(name, **labels):
    return xr.Dataset(coords={"run": name, "batch_size": 64, **labels}).assign_coords(
        iteration=[0, 1]
    )


def listed(runs):
    return {found.name: list(found.nodes) for found in equal_sets(runs)}


def test_one_set_of_equal_runs_is_all_runs(make):
    runs = {f"s{k}": make(seed=k, batch_size=64 * (1 + k), records=FEW) for k in range(3)}
    assert listed(runs) == {ALL: list(runs)}


@pytest.mark.parametrize(
    ("decays", "sets"),
    [
        ([5e-4, 0.0, 5e-4], {"weight decay 0.0005": [0, 2], "weight decay 0": [1]}),
        # Of equally many that of less decay comes first: the theory is about none.
        ([5e-4, 0.0], {"weight decay 0": [1], "weight decay 0.0005": [0]}),
        ([10.0, 9.0], {"weight decay 9": [1], "weight decay 10": [0]}),
        ([None, 0.0, 0.0], {"weight decay 0": [1, 2], "unknown weight decay": [0]}),
    ],
)
def test_each_weight_decay_is_a_set(decays, sets):
    labels = [{} if decay is None else {"weight_decay": decay} for decay in decays]
    runs = {f"n{k}": run(f"r{k}", **own) for k, own in enumerate(labels)}
    found = listed(runs)
    assert found == {name: [f"n{k}" for k in places] for name, places in sets.items()}
    assert list(found) == list(sets)


def test_sets_are_told_apart_by_all_that_differs():
    runs = {
        "a": run("a", optimizer="sgd", data_size=50_000),
        "b": run("b", optimizer="adamw", data_size=50_000),
        "c": run("c", optimizer="adamw", data_size=10_000),
    }
    assert set(listed(runs)) == {
        "data size 50,000, sgd",
        "data size 50,000, adamw",
        "data size 10,000, adamw",
    }


def test_order_and_names_of_runs_do_not_change_the_sets(make):
    made = [
        make(seed=k, records=FEW, optimizer=optimizer)
        for k in range(3)
        for optimizer in ("sgd", "adamw")
    ]
    first = {f"r{k}": one for k, one in enumerate(made)}
    order = list(range(len(made)))
    random.Random(0).shuffle(order)
    second = {f"x{k}": made[k] for k in order}
    renamed = {
        name: sorted(int(node[1:]) for node in nodes) for name, nodes in listed(second).items()
    }
    assert renamed == {
        name: sorted(int(node[1:]) for node in nodes) for name, nodes in listed(first).items()
    }
    assert list(listed(first)) == list(listed(second))


def test_runs_of_another_set_change_no_verdict(make, tree):
    runs = [
        make(run=f"b{size}-s{seed}", batch_size=size, seed=seed, weight_decay=0.0)
        for size in (64, 256)
        for seed in (0, 1)
    ]
    decayed = make(run="decayed", batch_size=64, seed=0, weight_decay=5e-4)
    alone, together = analysis.test(tree(*runs)), analysis.test(tree(*runs, decayed))
    assert together["set"].values.tolist() == ["weight decay 0", "weight decay 0.0005"]
    assert together["recordings"].values.tolist() == [4, 1]
    assert together.attrs["note"] == ""
    same = together.sel(set="weight decay 0", drop=True)
    xr.testing.assert_allclose(same, alone.isel(set=0, drop=True))


def on_rung(made, ladder, number):
    return made.assign_attrs(config=json.dumps({"ladder": ladder, "rung": number}))


def test_of_a_ladder_the_baseline_alone_is_kept():
    runs = {
        "plain": run("plain"),
        "a1": on_rung(run("a1"), "a", 1),
        "a0": on_rung(run("a0"), "a", 0),
        "b0": on_rung(run("b0"), "b", 0),
        "b3": on_rung(run("b3"), "b", 3),
        "halving": on_rung(run("halving"), "", 2),  # a rung of no ladder
    }
    assert listed(runs) == {ALL: ["plain", "a0", "b0", "halving"]}
    assert rungs_in_words(runs) == (
        "Of a ladder verdicts count the lowest rung; 2 recordings of higher rungs are left out: "
        "a1, b3."
    )
    assert rungs_in_words({name: runs[name] for name in ("plain", "b0")}) == ""


def test_a_ladder_without_its_baseline_is_judged_at_its_lowest_rung_by_itself():
    runs = {f"r{k}-{s}": on_rung(run(f"r{k}-{s}"), "a", k) for k in (5, 6) for s in (0, 1)}
    assert listed(runs) == {ALL: ["r5-0", "r5-1"]}
    assert listed({**runs, "p": run("p")}) == {
        "rung 5 of a": ["r5-0", "r5-1"],
        "plain runs": ["p"],
    }


def test_the_foot_of_a_ladder_repeats_the_same_plain_run(make):
    made = make(run="a", seed=3)
    runs = {"a": made, "foot": on_rung(made, "l", 0), "other": on_rung(made, "m", 0)}
    assert list(one_per_seed(runs)) == ["a"]
    runs["upper"] = on_rung(made, "m", 1)
    assert list(one_per_seed(runs)) == ["a", "upper"]


def test_rungs_are_no_copies_of_one_another_in_verdicts(make, tree):
    rungs = [
        on_rung(make(run=f"r{k}-s{seed}", seed=seed), "a", k) for k in (0, 1) for seed in (0, 1)
    ]
    found = analysis.test(tree(*rungs))
    assert "repeat" not in found.attrs["note"] and "cop" not in found.attrs["note"]
    assert found["runs"].values.max() == 2


def test_a_copy_under_another_name_and_seed_is_no_seed(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k) for k in range(3)}
    fakes = {
        "relabelled": runs["s0"].assign_coords(seed=7, run="relabelled"),
        "shortened": runs["s1"].isel(iteration=slice(0, 40)).assign_coords(seed=8, run="short"),
        "thinned": runs["s2"].isel(iteration=slice(0, None, 3)).assign_coords(seed=9, run="thin"),
        "rounded": runs["s0"]
        .assign(distance_sq=runs["s0"]["distance_sq"].astype(np.float32))
        .assign_coords(seed=6, run="rounded"),
    }
    for order in (runs | fakes, fakes | runs):
        found = copies(order)
        assert set(found) | set(found.values()) <= set(order)
        assert len(draws(order)) == 3
    assert copies(runs | fakes) == {
        "relabelled": "s0",
        "rounded": "s0",
        "shortened": "s1",
        "thinned": "s2",
    }
    assert counted_in_words(runs | fakes) == (
        "4 recordings are copies of others, with the same distance at every record: relabelled "
        "of s0, rounded of s0, thin of s2, …. Each curve counts once."
    )


def test_other_seeds_are_no_copies(make):
    runs = {f"s{k}": make(seed=k, noise=1e-4) for k in range(5)}
    assert copies(runs) == {} and list(draws(runs)) == list(runs)
    assert counted_in_words(runs) == ""
    # Nor runs of which too little is known to tell them apart.
    one = make(records=[0, 1])
    assert copies({"a": one, "b": one.assign_coords(seed=5)}) == {}


def test_repeated_seeds_are_named_and_counted(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k, records=FEW) for k in range(5)}
    # Run again elsewhere: other digits, and no other draw.
    again = make(run="again", seed=0, records=FEW, noise=0.003)
    assert counted_in_words(runs | {"again": again}) == (
        "1 recording repeats the seed of another at the same batch size, rule and rate: again. "
        "Verdicts count one of each, the longest that recorded what they need."
    )


def test_seeds_that_stopped_early_are_left_out_and_named(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k, last=3000) for k in range(4)}
    runs["short"] = make(run="short", seed=8, last=900)
    diverged = make(run="nan", seed=9, last=3000)
    late = diverged["iteration"].values > 1000
    diverged["distance_sq"].values[late] = np.nan
    runs["nan"] = diverged
    last = int(diverged["iteration"].values[~late][-1])
    assert stopped_early(runs) == {"short": 900, "nan": last}
    assert list(draws(runs)) == ["s0", "s1", "s2", "s3"]
    assert counted_in_words(runs) == (
        "2 recordings are left out of comparisons between distances, as finite distances end "
        f"before half of what the arm reached: short at iteration 900, nan at iteration {last}."
    )


def test_one_long_seed_does_not_make_the_others_short(make):
    runs = {f"s{k}": make(seed=k, last=1000) for k in range(4)}
    assert stopped_early(runs | {"long": make(seed=8, last=10_000)}) == {}
    # Nor is an arm short because another one is long.
    other = {"o": make(batch_size=256, seed=0, last=10_000)}
    assert stopped_early(runs | other) == {}


def test_copies_are_named_by_their_files(make):
    run = make(run="s0").assign_attrs(path="runs/s0.nc")
    copy = run.assign_attrs(path="elsewhere/another.nc")
    said = counted_in_words({"s0": run, "s0-2": copy})
    assert "1 recording is a copy of another" in said and "another.nc of s0.nc" in said


def test_a_run_that_learns_nothing_is_left_out_and_named(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k) for k in range(4)}
    lost = make(run="lost", seed=9)
    late = lost["iteration"].values > 100
    lost["distance_sq"].values[late] *= 25.0**2
    lost["loss"].values[late] = 2.303
    assert diverged(runs) == () and diverged(runs | {"lost": lost}) == ("lost",)
    assert list(draws(runs | {"lost": lost})) == list(runs)
    assert counted_in_words(runs | {"lost": lost}) == (
        "1 recording is left out of comparisons between distances, as the training loss ends "
        "where it began while that of the arm fell: lost."
    )
    # Where no run of an arm learns, or too few say so, nothing is told from that.
    still = {name: run.assign(loss=2.3 + 0 * run["loss"]) for name, run in runs.items()}
    assert diverged(still | {"lost": lost}) == ()
    assert diverged({"s0": runs["s0"], "lost": lost}) == ()
