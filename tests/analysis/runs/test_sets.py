import json
import random

import pytest
import xarray as xr

from ultraslow import analysis
from ultraslow.analysis.runs import ALL, equal_sets, one_per_seed, rungs_in_words

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
        ([5e-4, 0.0, 5e-4], {"weight decay 0.0005": [0, 2], "no weight decay": [1]}),
        # Of equally many that of less decay comes first: the theory is about none.
        ([5e-4, 0.0], {"no weight decay": [1], "weight decay 0.0005": [0]}),
        ([10.0, 9.0], {"weight decay 9": [1], "weight decay 10": [0]}),
        ([None, 0.0, 0.0], {"no weight decay": [1, 2], "unknown weight decay": [0]}),
    ],
)
def test_each_weight_decay_is_a_set(decays, sets):
    labels = [{} if decay is None else {"weight_decay": decay} for decay in decays]
    runs = {f"n{k}": run(f"r{k}", **own) for k, own in enumerate(labels)}
    found = listed(runs)
    assert found == {name: [f"n{k}" for k in places] for name, places in sets.items()}
    assert list(found) == list(sets)


def test_sets_are_told_apart_by_the_fewest_things_that_differ():
    runs = {
        "a": run("a", optimizer="sgd", data_size=50_000),
        "b": run("b", optimizer="adamw", data_size=50_000),
        "c": run("c", optimizer="adamw", data_size=10_000),
    }
    assert set(listed(runs)) == {
        "SGD, 50,000 samples",
        "AdamW, 50,000 samples",
        "AdamW, 10,000 samples",
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
    decayed = make(run="decayed", batch_size=64, seed=0, weight_decay=5e-4, noise=0.003)
    alone, together = analysis.test(tree(*runs)), analysis.test(tree(*runs, decayed))
    assert together["set"].values.tolist() == ["no weight decay", "weight decay 0.0005"]
    assert together["recordings"].values.tolist() == [4, 1]
    assert together.attrs["note"] == ""
    same = together.sel(set="no weight decay", drop=True)
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
