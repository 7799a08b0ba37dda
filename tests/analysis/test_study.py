import json

import numpy as np
import pytest
import xarray as xr

from ultraslow import analysis
from ultraslow.analysis import study
from ultraslow.analysis.runs.arms import one_per_seed
from ultraslow.analysis.study import SOURCES, Study, of_one, of_one_study
from ultraslow.diffusion.recording.fields import FIELDS

FEW = [0, 1, 2, 4, 8]
FITS = xr.Dataset({"exponent": ("node", [1.0, 2.0])}, coords={"node": ["a", "b"]})


def run(name, decay):
    found = xr.Dataset(coords={"run": name})
    return found if decay is None else found.assign_coords(weight_decay=decay)


@pytest.mark.parametrize(
    ("decays", "kept", "told"),
    [
        ([0.0, 0.0], [0, 1], ""),
        ([None, None], [0, 1], ""),
        (
            [5e-4, 0.0, 5e-4],
            [0, 2],
            "weight decay 0.0005; 1 recording of weight decay 0.0 is left",
        ),
        (
            [5e-4, 0.0],
            [1],
            "weight decay 0.0; 1 recording of weight decay 0.0005 is left out: r0.",
        ),
        ([10.0, 9.0], [1], "weight decay 9.0; 1 recording of weight decay 10.0"),
        ([None, 0.0], [1], "1 recording of weight decay unknown is left out: r0."),
        (
            [0.1, 0.2, 0.0, 0.0],
            [2, 3],
            "2 recordings of weight decay 0.1, 0.2 are left out: r0, r1.",
        ),
        ([1.0] * 4 + [0.0] * 5, [4, 5, 6, 7, 8], "are left out: r0, r1, r2, …."),
    ],
)
def test_the_decay_that_most_runs_have(decays, kept, told):
    runs = {f"n{i}": run(f"r{i}", decay) for i, decay in enumerate(decays)}
    found, left_out = of_one(runs, "weight_decay")
    assert list(found) == [f"n{i}" for i in kept]
    assert told in left_out
    assert bool(told) == bool(left_out)


def test_runs_with_decay_are_neither_copies_nor_in_the_verdicts(make, tree):
    runs = [
        make(run=f"b{size}-s{seed}", batch_size=size, seed=seed, weight_decay=0.0)
        for size in (64, 256)
        for seed in (0, 1)
    ]
    decayed = make(run="decayed", batch_size=64, seed=0, weight_decay=5e-4)
    alone, together = analysis.test(tree(*runs)), analysis.test(tree(*runs, decayed))
    assert "1 recording of weight decay 0.0005 is left out: decayed." in together.attrs["note"]
    assert "repeat" not in together.attrs["note"]
    np.testing.assert_array_equal(together["runs"], alone["runs"])
    np.testing.assert_array_equal(together["reason"], alone["reason"])


def on_rung(made, ladder, number):
    return made.assign_attrs(config=json.dumps({"ladder": ladder, "rung": number}))


def test_of_a_ladder_the_baseline_alone_is_kept():
    runs = {
        "plain": run("plain", 0.0),
        "a1": on_rung(run("a1", 0.0), "a", 1),
        "b0": on_rung(run("b0", 0.0), "b", 0),
        "b3": on_rung(run("b3", 0.0), "b", 3),
        "halving": on_rung(run("halving", 0.0), "", 2),  # a rung of no ladder
    }
    found, told = of_one_study(runs)
    assert list(found) == ["plain", "b0", "halving"]
    assert told == (
        "Of a ladder verdicts count the baseline; 2 recordings of higher rungs are left out: "
        "a1, b3."
    )
    assert of_one_study({name: runs[name] for name in ("plain", "b0")})[1] == ""


def test_where_a_baseline_lacks_the_lowest_rung_is_kept_and_named():
    runs = {f"r{k}-{s}": on_rung(run(f"r{k}-{s}", 0.0), "a", k) for k in (5, 6) for s in (0, 1)}
    found, told = of_one_study(runs)
    assert list(found) == ["r5-0", "r5-1"]
    assert told.startswith("Of a ladder verdicts count rung 5, the lowest here; 2 recordings")


def test_the_foot_of_a_ladder_is_a_copy_of_the_same_plain_run(make):
    made = make(run="a", seed=3)
    runs = {"a": made, "foot": on_rung(made, "l", 0), "other": on_rung(made, "m", 0)}
    assert list(one_per_seed(runs)) == ["a"]
    runs["upper"] = on_rung(made, "m", 1)
    assert list(one_per_seed(runs)) == ["a", "upper"]


def test_rungs_do_not_outvote_the_runs_of_a_study():
    """Three rungs with weight decay against two plain runs without."""
    rungs = {f"r{k}": on_rung(run(f"r{k}", 5e-4), "a", k) for k in range(3)}
    found, told = of_one_study({**rungs, "p": run("p", 0.0), "q": run("q", 0.0)})
    assert list(found) == ["p", "q"]
    assert "left out: r1, r2." in told and told.endswith("left out: r0.")


def test_rungs_are_no_copies_of_one_another_in_verdicts(make, tree):
    rungs = [
        on_rung(make(run=f"r{k}-s{seed}", seed=seed), "a", k) for k in (0, 1) for seed in (0, 1)
    ]
    found = analysis.test(tree(*rungs))
    assert "repeat" not in found.attrs["note"]
    assert found["runs"].values.max() == 2


def test_runs_on_a_part_of_the_images_are_another_study(make):
    runs = {f"r{k}": make(run=f"r{k}", seed=k, data_size=50_000) for k in range(3)}
    runs["part"] = make(run="part", seed=0, data_size=10_000)
    found, told = of_one_study(runs)
    assert list(found) == ["r0", "r1", "r2"]
    assert "about the runs of data size 50000" in told
    assert "1 recording of data size 10000 is left out: part." in told


def arms(make, seeds, sizes=(64,), **options):
    return {
        f"b{size}-s{seed}": make(run=f"b{size}-s{seed}", batch_size=size, seed=seed, **options)
        for size in sizes
        for seed in range(seeds)
    }


def test_every_source_is_a_field_of_the_contract():
    assert set(SOURCES) <= set(FIELDS)


def test_what_no_run_recorded_is_named(make):
    runs = arms(make, 2, records=FEW)
    _, missing = Study(runs).comparable("distance_sq", "step_sq")
    assert missing.reason == "No run recorded step_sq."
    assert "'path'" in missing.needed


def test_a_field_that_is_nan_throughout_was_not_recorded(make):
    runs = {"r": make(records=FEW, loss=np.full(5, np.nan))}
    _, missing = Study(runs).comparable("learning_rate", "sketch")
    assert missing.reason == "No run recorded sketch."


def test_runs_that_differ_are_listed_and_refused(make):
    # Whatever its seed: that of another run makes it no copy.
    runs = arms(make, 2, records=FEW) | {"other": make(records=FEW, model="resnet20", seed=0)}
    _, missing = Study(runs).comparable("distance_sq")
    assert "model: resnet20, resnet8" in missing.reason
    assert "sets of equal runs apart" in missing.needed


def test_runs_without_the_field_are_left_out_and_a_copy_is_no_seed(make):
    runs = arms(make, 3, records=FEW, step_sq=np.ones((5, 3)))
    more = {"bare": make(seed=8, records=FEW), "copy": runs["b64-s0"]}
    kept, missing = Study(runs | more).comparable("step_sq")
    assert missing is None
    assert list(kept.runs) == list(runs)


def test_a_run_without_the_field_does_not_stand_in_the_way_of_its_rerun(make):
    bare = arms(make, 3, records=FEW)
    whole = arms(make, 3, records=FEW, step_sq=np.ones((5, 3)))
    again = {f"{name}-again": run for name, run in whole.items()}
    kept, missing = Study(bare | again).comparable("step_sq")
    assert missing is None
    assert list(kept.runs) == list(again)
    # Nor one that broke off, whichever comes first.
    short = arms(make, 3, records=FEW[:3], step_sq=np.ones((3, 3)))
    for runs in (short | again, again | short):
        assert list(Study(runs).comparable("step_sq")[0].runs) == list(again)


def test_copies_are_named_once_and_the_rest_is_counted(make):
    runs = arms(make, 5, records=FEW)
    assert Study(runs).repeated == ""
    one = runs | {"again": runs["b64-s0"]}
    assert Study(one).repeated == (
        "1 recording repeats the seed of another at the same batch size, rule and rate: b64-s0. "
        "Verdicts count one of each, the longest that recorded what they need."
    )
    all_twice = runs | {f"{name}-again": run for name, run in runs.items()}
    assert "and rate: b64-s0, b64-s1, b64-s2, …. Verdicts" in Study(all_twice).repeated


def test_the_sample_has_the_seeds_of_its_smallest_arm(make):
    runs = arms(make, 5, records=FEW) | arms(make, 3, sizes=(256,), records=FEW)
    found = Study(runs).sample
    assert (found.runs, found.seeds, found.batch_sizes) == (8, 3, (64, 256))


def test_a_part_keeps_the_fits_of_the_whole_and_they_are_made_once(make, monkeypatch):
    asked = []
    monkeypatch.setattr(study, "fit_totals", lambda runs, **_: asked.append(list(runs)) or FITS)
    whole = Study({"a": make(records=FEW), "b": make(records=FEW, seed=1)}, 0.9)
    for part in (whole.part(["b"]), whole.where(lambda run: int(run["seed"]) == 1).at(0.8)):
        assert part.fits["exponent"].values.tolist() == [2.0]
    assert whole.fits is FITS and asked == [["a", "b"]]


def test_arms_of_few_seeds_are_left_out_and_the_others_stand_together(make):
    runs = arms(make, 4, records=FEW) | arms(make, 2, sizes=(256,), records=FEW)
    shuffled = {name: runs[name] for name in sorted(runs, key=lambda name: name[::-1])}
    assert {name.split("-")[0] for name in Study(shuffled).of_arms().runs} == {"b64"}
    two = [name.split("-")[0] for name in Study(shuffled).of_arms(2).runs]
    assert two == ["b64"] * 4 + ["b256"] * 2


def test_noise_that_was_added_keeps_a_run_from_the_scores(train):
    rng = np.random.default_rng(0)
    runs = {f"s{k}": train(seed=k, rng=rng) for k in range(2)}
    runs["copy"] = runs["s0"]
    runs["hot"] = train(seed=2, rng=rng).assign_attrs(config='{"gradient_noise": 0.1}')
    found = Study(runs).scored
    assert (list(found.runs), found.metric) == (["s0", "s1"], "accuracy")
    assert Study({}).metric == "" and not Study({}).scored.runs


def test_what_is_read_off_a_run_is_read_once(make):
    asked = []

    def reading(run):
        asked.append(int(run["seed"]))
        return asked[-1]

    whole = Study({name: make(records=FEW, seed=k) for k, name in enumerate("abc")})
    assert whole.part(["b"]).each(reading) == {"b": 1}
    assert whole.at(0.9).each(reading) == {"a": 0, "b": 1, "c": 2}
    assert whole.part(["c", "a"]).each(reading) == {"c": 2, "a": 0}
    assert sorted(asked) == [0, 1, 2]
