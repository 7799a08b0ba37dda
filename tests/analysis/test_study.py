import numpy as np
import xarray as xr

from ultraslow.analysis import study
from ultraslow.analysis.study import SOURCES, Study
from ultraslow.diffusion.recording.fields import FIELDS

FEW = [0, 1, 2, 4, 8]
FITS = xr.Dataset({"exponent": ("node", [1.0, 2.0])}, coords={"node": ["a", "b"]})


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


def test_a_study_shows_its_arms(make):
    """Also runs whose names and rules are markup; nothing is fitted for it."""
    runs = {f"r{k}": make(run="<b>", seed=k, batch_size=64 * (1 + k // 2)) for k in range(4)}
    study = Study(runs)
    assert repr(study) == "<Study of 4 runs: batch sizes 64, 128, 2 seeds or more>"
    page = study._repr_html_()
    assert page.count("<tr>") == 3
    assert "<td>3000</td>" in page
    assert "fits" not in vars(study)
    odd = Study({"a": make(model="<script>", scaling="<i>")})
    assert "<script>" not in odd._repr_html_()
    assert "<i>" not in odd._repr_html_()
    assert repr(Study({})) == "<Study of 0 runs: no batch size, 0 seeds or more>"
    assert "<table>" in Study({})._repr_html_()
