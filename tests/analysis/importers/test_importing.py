import json
import os
import re
import resource
import shlex
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ultraslow as us
from ultraslow.analysis.growth import fit_totals
from ultraslow.analysis.runs import runs_of
from ultraslow.diffusion.recording import RecordError, StoreError, check

ROOT = Path(__file__).parents[3]


def table(columns, delimiter=","):
    rows = zip(*columns.values(), strict=True)
    lines = [delimiter.join(columns), *(delimiter.join(map(str, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def only(tree):
    (name,) = tree.children
    return tree[name].to_dataset()


def test_a_curve_becomes_a_recording_that_is_read_fitted_and_tested(run, write, tmp_path, capsys):
    steps = np.unique(np.geomspace(1, 10_000, 80).astype(int))
    distance = 1 + np.log(steps) + 0.01 * np.random.default_rng(0).standard_normal(steps.size)
    log = write("a-run.csv", table({"step": steps, "dist": distance, "lr": [0.1] * steps.size}))
    folder = tmp_path / "runs"
    assert run("import", log, "--output", folder, "--batch-size", 32) == 0
    told = capsys.readouterr().out
    assert "distance             dist" in told
    assert f"{folder / 'a-run.nc'}: {steps.size} records, iterations 1 to 10,000" in told
    assert run("info", folder) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "imported: a-run from a-run.csv" in told
    assert "no sketch in this recording (for P8): what was imported does not hold it" in told
    assert run("fit", folder, "--json") == 0
    (fit,) = json.loads(capsys.readouterr().out)["fits"]
    assert fit["exponent_low"] < 0 < fit["exponent_high"]
    assert abs(fit["exponent"]) < 0.1
    assert run("test", folder) == 0
    assert "P1" in capsys.readouterr().out


def test_distances_of_norm_and_cosine_are_those_of_the_weights(write, walk):
    log = write("log.csv", table({name: walk[name] for name in ("step", "norm", "cosine")}))
    found = only(us.import_runs(log, batch_size=8, learning_rate=0.1))
    np.testing.assert_allclose(found["distance_sq"][:, 0] ** 0.5, walk["distance"], atol=1e-7)
    np.testing.assert_allclose(found["weight_sq"][:, 0], walk["norm"] ** 2)
    np.testing.assert_allclose(found["overlap"][:, 0], walk["overlap"], atol=1e-9)
    assert "which holds if both are of the same tensors" in found.attrs["origin"]


def test_norm_beside_distance_gives_the_overlap(write, walk):
    log = write("log.csv", table({name: walk[name] for name in ("step", "norm", "distance")}))
    found = only(us.import_runs(log, batch_size=8))
    np.testing.assert_allclose(found["overlap"][:, 0], walk["overlap"], atol=1e-9)


def test_what_was_not_measured_is_not_there(write):
    log = write("log.csv", "step,distance\n0,0\n1,1\n2,1.5\n")
    found = only(us.import_runs(log, batch_size=8))
    check(found)
    assert np.isnan(found["weight_sq"]).all()
    assert np.isnan(found["overlap"]).all()
    assert found["tensor_size"].values.tolist() == [0]
    assert set(found.data_vars) == {"distance_sq", "weight_sq", "overlap"}


@pytest.mark.parametrize(
    "options",
    [
        {"where": "other == 0"},
        {"where": "not other > 0 and step < 1000"},
    ],
)
def test_pairs_of_checkpoints_are_told_apart(write, options):
    pairs = [(k, 0, k**0.5) for k in (1, 2, 3)] + [(k - 1, k, 0.1) for k in (1, 2, 3)]
    text = "step,other,euclidian_distance\n" + "".join(f"{a},{b},{c}\n" for a, b, c in pairs)
    log = write("pairs.csv", text)
    with pytest.raises(
        RecordError,
        match=r"steps begin anew, with 0 after 3 at line 5.*--where "
        r"'other == 0'",
    ):
        us.import_runs(log, batch_size=1)
    found = only(us.import_runs(log, batch_size=1, **options))
    np.testing.assert_allclose(found["distance_sq"][:, 0], [1, 2, 3])
    origin = json.loads(found.attrs["origin"])
    assert (origin["rows"], origin["used"]) == (6, 3)
    assert list(origin["left_out"].values()) == [3]


def test_runs_of_one_file_are_told_apart(write):
    rows = [(seed, step, seed + step) for step in range(1, 5) for seed in (1, 2)]
    log = write(
        "seeds.csv", "seed,step,distance\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows)
    )
    with pytest.raises(RecordError, match=r"both of step 1.*--by 'seed'"):
        us.import_runs(log, batch_size=1)
    found = us.import_runs(log, batch_size=1, by="seed")
    assert list(found.children) == ["seeds-seed-1", "seeds-seed-2"]
    for seed, node in enumerate(found.children.values(), start=1):
        assert int(node["seed"]) == seed
        np.testing.assert_allclose(node["distance_sq"][:, 0] ** 0.5, np.arange(1, 5) + seed)


def test_labels_come_from_words_and_settings(write):
    lines = [
        {"_meta": {"seed": 3, "optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1, "p": 97}}
    ]
    lines += [{"step": k, "distance": k, "batch_size": 16} for k in range(3)]
    log = write("log.jsonl", "\n".join(map(json.dumps, lines)))
    found = only(us.import_runs(log, labels={"data": "digits", "seed": 4}))
    assert (int(found["seed"]), str(found["data"].values)) == (4, "digits")
    assert float(found["base_learning_rate"]) == 0.01
    assert int(found["batch_size"]) == 16
    assert json.loads(found.attrs["origin"])["settings"]["p"] == 97


def test_existing_recordings_stay_unless_replaced(write, tmp_path):
    log = write("one.csv", "step,distance\n1,1\n2,2\n")
    us.import_runs(log, tmp_path / "runs", batch_size=8)
    before = (tmp_path / "runs" / "one.nc").read_bytes()
    with pytest.raises(FileExistsError, match="overwrite"):
        us.import_runs(log, tmp_path / "runs", batch_size=16)
    assert (tmp_path / "runs" / "one.nc").read_bytes() == before
    us.import_runs(log, tmp_path / "runs", batch_size=16, overwrite=True)
    assert int(only(us.load(tmp_path / "runs"))["batch_size"]) == 16
    assert os.listdir(tmp_path / "runs") == ["one.nc"]


def test_one_bad_file_among_many_leaves_nothing(run, write, tmp_path, capsys):
    good = write("good.csv", "step,distance\n1,1\n2,2\n")
    bad = write("bad.csv", "step,distance\n1,1\n2,two\n")
    folder = tmp_path / "runs"
    assert run("import", good, bad, "--output", folder, "--batch-size", 8) == 2
    assert not folder.exists()
    said = capsys.readouterr().err
    assert f"{bad}: line 3, column 'distance': found 'two', expected a number" in said


def test_a_dry_run_writes_nothing(run, write, tmp_path, capsys):
    log = write("log.csv", "step,distance,other\n1,1,1\n2,2,2\n")
    folder = tmp_path / "runs"
    words = ("import", log, "--output", folder, "--batch-size", 8, "--dry-run")
    assert run(*words) == 0
    assert "not used             other" in capsys.readouterr().out
    assert run(*words, "--json") == 0
    (made,) = json.loads(capsys.readouterr().out)["runs"]
    assert made["columns"] == {"iteration": "step", "distance": "distance"}
    assert not folder.exists()


def test_losses_between_records_are_averaged_and_scores_get_records(write):
    rows = ["step,distance,loss,val_acc"]
    rows += [
        f"{k},{k / 10 if k % 4 == 0 else ''},{k},{95 if k == 6 else ''}" for k in range(1, 13)
    ]
    found = only(us.import_runs(write("log.csv", "\n".join(rows)), batch_size=8))
    assert found["iteration"].values.tolist() == [4, 6, 8, 12]
    np.testing.assert_allclose(found["loss"], [2.5, 5.5, 7.5, 10.5])
    np.testing.assert_allclose(found["held_out"][:, 0], [np.nan, 0.95, np.nan, np.nan])
    assert found["metric"].values.tolist() == ["accuracy"]
    assert "percent" in found.attrs["origin"]


def test_the_fit_is_that_of_the_recording_it_was_printed_from(make, write):
    own = make(last=3000)
    distance = own["distance_sq"].sum("tensor") ** 0.5
    columns = {
        "step": own["iteration"].values,
        "distance": distance.values,
        "lr": own["learning_rate"].values,
    }
    tree = us.import_runs(write("log.csv", table(columns)), batch_size=64)
    fits = [fit_totals(runs_of(one)) for one in (tree, xr.DataTree.from_dict({"log": own}))]
    for name in ("exponent", "exponent_low", "exponent_high", "slope", "decade_ratio"):
        np.testing.assert_allclose(fits[0][name], fits[1][name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--label", "sed=1"), "--label: found 'sed=1', expected NAME=VALUE of run,"),
        (("--learning-rate", "cyclic:1,2"), "expected cyclic:LOW,HIGH,UP,DOWN"),
        (
            ("--learning-rate", "lrr"),
            "--learning-rate: there is no file and no column 'lrr'; there are the columns",
        ),
        (("--batch-size", "0"), "expected a number of samples, >= 1"),
        (("--where", "step = 1"), "equality is written =="),
        (("--where", "__import__('os')"), "expected comparisons of columns"),
        (("--distance", "dist"), "--distance: there is no column 'dist'"),
    ],
)
def test_requests_that_cannot_be_met_say_why(run, write, tmp_path, capsys, words, said):
    log = write("log.csv", "step,distance\n1,1\n2,2\n")
    size = () if "--batch-size" in words else ("--batch-size", "8")
    assert run("import", log, "--output", tmp_path / "runs", *size, *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("norm", [0, -1, float("inf")])
def test_an_initial_norm_that_is_none_is_refused(write, norm):
    log = write("log.csv", "step,norm,cosine\n1,1,.9\n2,1,.8\n")
    with pytest.raises(ValueError, match="initial norm: found .*, expected a number above 0"):
        us.import_runs(log, initial_norm=norm)


def test_nothing_is_imported_to_a_store(write):
    log = write("log.csv", "step,distance\n1,1\n2,2\n")
    with pytest.raises(StoreError, match="URL"):
        us.import_runs(log, "memory://imported")


def test_recordings_go_out_as_a_table_and_come_back(run, make, tmp_path, capsys):
    make(run="a", last=200).to_netcdf(tmp_path / "a.nc")
    assert run("export", tmp_path / "a.nc", "--output", tmp_path / "a.csv") == 0
    assert run("export", tmp_path / "a.nc") == 0
    assert capsys.readouterr().out == (tmp_path / "a.csv").read_text()
    assert run("export", tmp_path / "a.nc", "--output", tmp_path / "a.nc") == 2
    assert "is a recording, expected another name" in capsys.readouterr().err
    assert run("import", tmp_path / "a.csv", "--output", tmp_path / "back") == 0
    told = capsys.readouterr().out
    assert "not used             distance" in told
    assert int(only(us.load(tmp_path / "back"))["batch_size"]) == 64


def test_the_page_runs_as_it_stands(run, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "record" / "importing.md").read_text()
    monkeypatch.chdir(tmp_path)
    Path("metrics.csv").write_text("step,distance\n1,1\n2,2\n")
    Path("dist.csv").write_text("it0,it1,distance\n1,0,1\n2,0,2\n")
    Path("dist_8gpu.csv").write_text("it0,it1,euclidian_distance\n5000,0,1\n9000,0,2\n0,5000,1\n")
    rows = [{"step": k, "wn_hidden": 3 + k, "wn_total": 9, "cos_init": 1 - k / 9} for k in (0, 1)]
    text = "\n".join(map(json.dumps, [{"_meta": {"optimizer": "adamw"}}, *rows]))
    Path("mech__adamw_sc3.0_wd0.01_s0.jsonl").write_text(text)
    asked = re.findall(r"^ultraslow (.*)$", page, re.M)
    assert len(asked) == 3
    for words in asked:
        assert run(*shlex.split(words)) == 0
    (python,) = re.findall(r"```python\n(.*?)```", page, re.S)
    found = {}
    exec(python, found)
    assert found["runs"]["dist"]["iteration"].values.tolist() == [1, 2]


def test_of_an_unknown_batch_size_nothing_is_made_up(run, write, tmp_path, capsys):
    steps = np.unique(np.geomspace(1, 10_000, 60).astype(int))
    for seed in range(4):
        noise = np.random.default_rng(seed).standard_normal(steps.size)
        distance = 1 + np.log(steps) + 0.01 * noise
        write(f"s{seed}.csv", table({"step": steps, "dist": distance, "loss": 1 / steps}))
    logs = [tmp_path / f"s{seed}.csv" for seed in range(4)]
    folder = tmp_path / "runs"
    rate = ("--learning-rate", "0.1", "--label", "data_size=1000", "scaling=sqrt")
    assert run("import", *logs, "--output", folder, *rate) == 0
    assert "--batch-size tells it" in capsys.readouterr().out
    assert run("info", folder) == 0
    told = " ".join(capsys.readouterr().out.split())
    about = ("P2", "P2'", "P3", "P5", "P6", "H-a", "H-b", "H-c")
    assert f"no batch_size in all 4 (for {', '.join(about)}): ultraslow import and" in told
    assert run("test", folder, "--json") == 0
    verdicts = {row["prediction"]: row for row in json.loads(capsys.readouterr().out)["verdicts"]}
    assert verdicts["P1"]["effect"] is not None
    for key in about:
        assert verdicts[key]["reason"] == "The batch size of no run is known.", key
    assert run("batch", folder) == 2
    assert "no run's batch size is known" in capsys.readouterr().err
    assert run("fit", folder, "--json") == 0
    assert {row["batch_size"] for row in json.loads(capsys.readouterr().out)["fits"]} == {None}
    page = tmp_path / "report.html"
    assert run("report", folder, "--output", page) == 0
    assert "unknown batch size" in page.read_text()
    assert "batch size 0" not in page.read_text()
    assert "batch size 0" not in capsys.readouterr().out


LIGHTNING = """epoch,lr-SGD,step,train_loss,val_loss,weight_distance
,0.05,0,,,
0,,4,0.169,,0.0
0,,9,0.306,,0.196
0,,19,,0.049,
,0.05,20,,,
1,,29,0.039,,0.639
,0.005,40,,,
1,,49,0.01,,0.7
,0.005,60,,,
"""
TRAINER = {
    "global_step": 20,
    "train_batch_size": 16,
    "log_history": [
        {"epoch": 0.5, "grad_norm": 1.7, "learning_rate": 4.5e-05, "loss": 1.55, "step": 5},
        {"epoch": 1.0, "grad_norm": 1.7, "learning_rate": 3.8e-05, "loss": 1.33, "step": 10},
        {"epoch": 1.0, "eval_loss": 1.44, "eval_runtime": 0.0157, "step": 10},
        {"epoch": 1.5, "grad_norm": 1.7, "learning_rate": 3.2e-05, "loss": 1.28, "step": 15},
        {"epoch": 1.5, "train_runtime": 0.2, "train_loss": 1.39, "total_flos": 0.0, "step": 15},
    ],
}


def test_sparse_rows_of_lightning(write):
    run = only(us.import_runs(write("lightning_logs/version_0/metrics.csv", LIGHTNING)))
    assert run["iteration"].values.tolist() == [4, 9, 19, 29, 49]
    np.testing.assert_allclose(run["distance_sq"][:, 0] ** 0.5, [0, 0.196, np.nan, 0.639, 0.7])
    np.testing.assert_allclose(run["loss"], [0.169, 0.306, np.nan, 0.039, 0.01])
    np.testing.assert_allclose(run["learning_rate"], [0.05, 0.05, 0.05, 0.05, 0.005])
    np.testing.assert_allclose(run["learning_rate_sum"], [0.2, 0.45, 0.95, 1.45, 2.0])
    assert str(run["run"].values) == "lightning_logs-version_0"
    assert "epoch" not in run


def test_the_state_of_a_trainer(write):
    run = only(us.import_runs(write("out/trainer_state.json", json.dumps(TRAINER))))
    assert run["iteration"].values.tolist() == [5, 10, 15]
    assert run["loss"].values.tolist() == [1.55, 1.33, 1.28]
    np.testing.assert_array_equal(run["held_out"][:, 0], [np.nan, 1.44, np.nan])
    assert np.isnan(run["distance_sq"]).all()
    assert (str(run["run"].values), int(run["batch_size"])) == ("out", 0)


def test_a_loop_that_counts_from_the_first_update_is_noticed(write):
    log = write("zero.csv", "step,distance\n0,1\n1,1.5\n2,1.75\n")
    with pytest.raises(RecordError, match=r"found 1 at step 0, where .* is 0: .*--shift 1"):
        us.import_runs(log)
    assert only(us.import_runs(log, shift=1))["iteration"].values.tolist() == [1, 2, 3]
    with pytest.raises(RecordError, match="--shift: found -1, which makes a step -1"):
        us.import_runs(log, shift=-1)


def test_angles_that_cannot_be_are_left_out(write):
    log = write("other.csv", "step,distance,norm\n0,0,10\n1,1,10\n2,1,15\n")
    found = only(us.import_runs(log))
    assert np.isnan(found["overlap"]).all()
    assert found["weight_sq"].values[:, 0].tolist() == [100, 100, 225]
    assert "not of the same tensors" in found.attrs["origin"]


@pytest.mark.parametrize("there", [False, True])
def test_a_disk_without_room_leaves_what_was_there(run, write, tmp_path, capsys, there):
    small = write("small.csv", "step,distance\n1,1\n2,2\n")
    large = write("large.csv", table({"step": range(1, 9000), "distance": range(1, 9000)}))
    folder = tmp_path / "runs"
    if there:
        us.import_runs(small, folder, batch_size=3)
    before = {path.name: path.read_bytes() for path in folder.glob("*")}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))  # of one file, as of a quota
    try:
        assert run("import", small, large, "--output", folder, "--overwrite") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = capsys.readouterr().err
    assert "file too large: nothing was written; make room" in said.lower() and str(folder) in said
    assert {path.name: path.read_bytes() for path in folder.glob("*")} == before
    assert folder.exists() == there


def test_columns_called_like_labels_that_are_none_are_told(write):
    columns = {"step": [1, 2], "distance": [1, 2], "momentum": [0.9, 0.95], "scaling": [8, 8]}
    found = only(us.import_runs(write("one.csv", table(columns))))
    assert "momentum" not in found and "scaling" not in found
    told = json.loads(found.attrs["origin"])["assumptions"]
    assert any("'momentum' varies within a run" in one for one in told)
    assert any("'scaling' is no label: scaling: found '8', expected fixed" in one for one in told)
    with pytest.raises(RecordError, match="found '1' and '2' in one run.*--by seed"):
        us.import_runs(write("two.csv", "step,distance,seed\n1,1,1\n2,2,2\n"))


def test_a_rate_may_stand_in_a_file_of_its_own(write):
    log = write("run-tag-distance.csv", "Wall time,Step,Value\n1,2,1\n2,4,2\n3,6,3\n")
    for text in ("Wall time,Step,Value\n1,0,0.5\n2,6,0.2\n", "step,lr\n0,0.5\n6,0.2\n"):
        rates = write("rates.csv", text)
        found = only(us.import_runs(log, distance="Value", learning_rate=str(rates)))
        np.testing.assert_allclose(found["learning_rate"], [0.4, 0.3, 0.2])
        np.testing.assert_allclose(found["learning_rate_sum"], [0.85, 1.5, 1.95])
    with pytest.raises(RecordError, match="found no distance, norm, loss, learning rate"):
        us.import_runs(log, learning_rate=str(write("other.csv", "step,x\n0,0.5\n6,0.2\n")))


def test_a_batch_size_that_is_said_goes_before_a_column(write):
    log = write("ramp.csv", "step,distance,batch_size\n1,1,8\n2,2,16\n")
    with pytest.raises(RecordError, match="'batch_size': found '8' and '16' in one run"):
        us.import_runs(log)
    assert int(only(us.import_runs(log, batch_size=12))["batch_size"]) == 12


@pytest.mark.parametrize(
    "text",
    [
        "step,loss,lr\n1,0.5,0.1\n2,0.25,0.1\n",
        "step,val_acc\n0,0.5\n",
        "step,distance,lr\n0,0,0.1\n",
        "step,norm,lr\n0,1,0.1\n1,2,0.1\n",
    ],
)
def test_the_report_takes_what_has_no_distance(run, write, tmp_path, capsys, text):
    write("few.csv", text)
    assert run("import", tmp_path / "few.csv", "--output", tmp_path) == 0
    assert run("report", tmp_path / "few.nc", "--output", tmp_path / "page.html") == 2
    said = capsys.readouterr()
    assert "not fitted" in said.err
    assert (tmp_path / "page.html").exists()


def test_the_same_file_twice_is_refused(write):
    text = "step,distance\n1,1\n2,2\n"
    first, second = write("a.csv", text), write("b.csv", text)
    with pytest.raises(RecordError, match=r"b\.csv: is the same, byte by byte, as .*a\.csv"):
        us.import_runs([first, second])


def test_of_a_folder_what_holds_nothing_is_told_and_left_out(write, tmp_path):
    write("logs/hparams/metrics.csv", "step,accuracy_of_nothing\n1,1\n")
    with pytest.raises(RecordError, match="found no distance, norm, loss"):
        us.import_runs(tmp_path / "logs")
    write("logs/run/metrics.csv", "step,distance\n1,1\n2,2\n")
    found = only(us.import_runs(tmp_path / "logs"))
    assert found["distance_sq"].values[:, 0].tolist() == [1, 4]
    told = json.loads(found.attrs["origin"])["assumptions"][-1]
    assert told.startswith("left out: ") and "hparams" in told


@pytest.mark.parametrize("rate", ["-0.1", "-1e-09"])
def test_negative_rates_are_refused_with_their_place(write, rate):
    log = write("one.csv", f"step,distance,lr\n1,1,0.1\n2,2,{rate}\n")
    with pytest.raises(RecordError, match=f"line 3, column 'lr': found {rate}, expected"):
        us.import_runs(log)
    plain = write("plain.csv", "step,distance\n1,1\n2,2\n")
    with pytest.raises(RecordError, match=f"line 3, column 'lr': found {rate}, expected"):
        us.import_runs(plain, learning_rate=str(log))


@pytest.mark.parametrize(
    ("steps", "hinted"),
    [
        ([49, 99, 149], True),
        ([99, 199, 499], True),
        ([50, 100, 150], False),
        ([0, 49, 99], False),
        ([1, 2, 3], False),
        ([47, 97, 147], False),
    ],
)
def test_steps_one_below_an_interval_may_be_counted_from_0(write, steps, hinted):
    log = write("one.csv", table({"step": steps, "distance": [0, 1, 2]}))
    for shift in (0, 1) if steps[0] else (0,):
        told = json.loads(only(us.import_runs(log, shift=shift)).attrs["origin"])["assumptions"]
        assert any("--shift 1" in one for one in told) == (hinted and not shift)


@pytest.mark.parametrize(
    ("steps", "distance", "hinted"),
    [
        ([100_000, 100_001, 100_002], [0, 1, 2], True),
        ([100_000, 100_001, 100_002], [1, 2, 3], False),
        ([0, 1, 2], [0, 1, 2], False),
        ([1, 2, 3], [0, 1, 2], False),
    ],
)
def test_a_distance_of_0_at_a_late_step_may_be_where_training_begins(
    write, steps, distance, hinted
):
    log = write("one.csv", table({"step": steps, "distance": distance}))
    told = json.loads(only(us.import_runs(log)).attrs["origin"])["assumptions"]
    assert any("--shift -100000 counts from it" in one for one in told) == hinted
    if hinted:
        moved = only(us.import_runs(log, shift=-100_000))
        assert moved["iteration"].values.tolist() == [0, 1, 2]
        assert "--shift" not in moved.attrs["origin"]


def test_runs_told_apart_by_batch_size_have_it(write):
    columns = {"step": [1, 2, 1, 2], "distance": [1, 2, 1, 3], "batch_size": [32, 32, 64, 64]}
    found = us.import_runs(write("all.csv", table(columns)), by="batch_size")
    assert sorted(int(one["batch_size"]) for one in found.children.values()) == [32, 64]


def test_distances_of_another_kind_or_of_no_number_make_no_recording(write):
    other = write("one.csv", "step,relative_distance,loss\n1,0.1,2\n2,0.2,1\n")
    with pytest.raises(RecordError, match="'relative_distance', which is not known to be"):
        us.import_runs(other)
    assert only(us.import_runs(other, loss="loss"))["loss"].values.tolist() == [2, 1]
    with pytest.raises(RecordError, match="column 'distance': found no finite number"):
        us.import_runs(write("nan.csv", "step,distance\n1,nan\n2,nan\n"))


def test_a_rate_that_settings_name_is_told_and_not_taken(write):
    text = '{"_meta": {"lr": 0.001}}\n{"step": 1, "distance": 1}\n{"step": 2, "distance": 2}\n'
    found = only(us.import_runs(write("one.jsonl", text)))
    assert "learning_rate" not in found
    told = json.loads(found.attrs["origin"])["assumptions"]
    assert any("--learning-rate 0.001 says so" in one for one in told)


def test_the_rate_before_the_first_that_was_logged_is_told(write):
    text = "step,distance,lr\n5,1,0.5\n6,2,0.4\n7,3,0.3\n"
    found = only(us.import_runs(write("one.csv", text)))
    np.testing.assert_allclose(found["learning_rate_sum"].values, [2.5, 2.9, 3.2])
    told = json.loads(found.attrs["origin"])["assumptions"]
    assert any("up to update 5, the first that has one, it is taken to be 0.5" in x for x in told)


def test_a_rate_that_is_neither_file_nor_column_says_so(write):
    log = write("one.csv", "step,distance\n1,1\n2,2\n")
    with pytest.raises(RecordError, match="there is no file and no column 'nosuch.csv'"):
        us.import_runs(log, learning_rate="nosuch.csv")


def test_a_run_of_unknown_rate_is_fitted_on_iterations_and_judged_by_nothing(
    run, write, tmp_path, capsys
):
    steps = np.unique(np.geomspace(1, 10_000, 60).astype(int))
    noise = 0.002 * np.random.default_rng(1).standard_normal(steps.size)
    log = write("one.csv", table({"step": steps, "dist": 2 * steps**0.3 * np.exp(noise)}))
    assert run("import", log, "--output", tmp_path / "runs") == 0
    capsys.readouterr()
    assert run("fit", tmp_path / "runs", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (fit,) = found["iteration"]
    assert fit["exponent_low"] < 0.3 < fit["exponent_high"]
    (without,) = found["fits"]
    assert without["exponent"] is None
    assert run("fit", tmp_path / "runs") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "fitted on iterations over all records" in told and "nonfinite" not in told
    assert "--learning-rate 0.001" in told
    assert run("fit", tmp_path / "runs", "--clock", "samples") == 2
    assert "`ultraslow import --batch-size` says" in capsys.readouterr().err


def test_norms_that_jump_where_steps_go_back_are_of_two_runs(write, walk):
    half = {name: list(walk[name][:30]) for name in ("step", "norm", "cosine")}
    columns = {
        "step": [*half["step"], *half["step"][15:]],
        "weight_norm": [*half["norm"], *(2 * one for one in half["norm"][15:])],
        "cosine": [*half["cosine"], *half["cosine"][15:]],
    }
    with pytest.raises(RecordError, match="where 'weight_norm' jumps"):
        us.import_runs(write("two.csv", table(columns)))
    columns["weight_norm"] = [*half["norm"], *half["norm"][15:]]
    assert only(us.import_runs(write("one.csv", table(columns)))).sizes["iteration"] == 30


def test_losses_alone_that_jump_where_steps_go_back_are_of_two_runs(write):
    first = [f"{t},{2 - t / 100}" for t in range(1, 100)]
    second = [f"{t},{5 - t / 100}" for t in range(50, 150)]
    with pytest.raises(RecordError, match=r"'loss' jumps from 1\.255 to 4\.255 .medians"):
        us.import_runs(write("log.csv", "\n".join(["step,loss", *first, *second, ""])))
    # Where distances go on, losses are not asked.
    rows = [f"{row},{t}" for t, row in enumerate(first, 1)]
    rows += [f"{row},{t}" for t, row in enumerate(second, 50)]
    found = us.import_runs(write("both.csv", "\n".join(["step,loss,distance", *rows, ""])))
    assert found["both"]["iteration"].size == 149


def test_norms_below_0_and_labels_that_are_none_are_refused(write):
    log = write("norms.csv", "step,wn,cos_init\n0,1,1\n1,-1,0.5\n")
    with pytest.raises(RecordError, match=r"step 1, column 'wn': found -1, expected a norm of 0"):
        us.import_runs(log)
    with pytest.raises(ValueError, match="--label: found 'seeds', expected one of run, "):
        us.import_runs(log, labels={"seeds": 1})


def curve(**more):
    """A table of ten records at one batch size and rate, with further columns."""
    steps = np.arange(1, 11)
    return table({"step": steps, "distance": steps**0.5, **{k: [v] * 10 for k, v in more.items()}})


@pytest.mark.parametrize(
    ("more", "said", "expected"),
    [
        ({"lr": "1e-3"}, ("--learning-rate", 0.1), "lr (1e-3), as --learning-rate 0.1 was said"),
        (
            {"batch_size": 512},
            ("--batch-size", 64),
            "batch_size (512), as --batch-size 64 was said",
        ),
        ({"num_params": 10}, ("--weights", 9), "num_params (10), as --weights 9 was said"),
        ({"seed": 3}, ("--label", "seed=4"), "seed (3), as --label seed=4 was said"),
        (
            {"optimizer": "sgd"},
            ("--label", "optimizer=adam"),
            "optimizer (sgd), as --label optimizer=adam was said",
        ),
        ({"run": "a"}, ("--label", "run=b"), "run (a), as --label run=b was said"),
    ],
)
def test_a_column_that_was_said_otherwise_is_not_told_as_the_source(
    run, write, tmp_path, capsys, more, said, expected
):
    log, folder = write("log.csv", curve(**more)), tmp_path / "runs"
    assert run("import", log, "--output", folder, *said) == 0
    (name,) = more
    told = capsys.readouterr().out
    assert f"not used             {expected}" in told
    assert told.count(f"{name} ") == 1
    found = only(us.load(folder))
    origin = json.loads(found.attrs["origin"])
    assert origin["columns"] == {"iteration": "step", "distance": "distance"}
    assert origin["not_used"] == [expected]
    assert run("info", folder) == 0
    assert f"not used there: {expected}" in " ".join(capsys.readouterr().out.split())


def test_columns_that_nothing_is_taken_from_contradict_nothing(write):
    """One rate a step, one batch size a run: that holds for columns that are used alone."""
    rows = [(step, step, step % 2 + 1, 64 * step) for step in (1, 2, 3, 3)]
    text = "step,distance,lr,batch_size\n" + "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in rows)
    log = write("log.csv", text)
    with pytest.raises(RecordError, match="in one run, expected one value"):
        us.import_runs(log)
    found = only(us.import_runs(log, batch_size=64, learning_rate=0.1))
    assert int(found["batch_size"]) == 64
    assert json.loads(found.attrs["origin"])["not_used"] == [
        "lr (1 to 2), as --learning-rate 0.1 was said",
        "batch_size (64 to 192), as --batch-size 64 was said",
    ]
    sizes = us.import_runs(log, batch_size=64, by="batch_size")
    assert [json.loads(node.attrs["origin"])["not_used"] for node in sizes.children.values()] == [
        [f"batch_size ({64 * k}), as --batch-size 64 was said"] for k in (1, 2, 3)
    ]


def test_two_columns_of_a_rate_that_was_said_are_no_question(write):
    log = write("log.csv", curve(lr=1e-3, learning_rate=1e-2))
    origin = json.loads(only(us.import_runs(log, learning_rate=0.1)).attrs["origin"])
    assert [one.split()[0] for one in origin["not_used"]] == ["lr", "learning_rate"]
    assert not [one for one in origin["assumptions"] if "may each be" in one]


def test_settings_that_differ_from_what_was_said_are_told(write):
    meta = {"learning_rate": 0.5, "lr": 0.5, "batch_size": 128, "seed": 3, "optimizer": "sgd"}
    lines = [{"_meta": meta}, *({"step": k, "distance": k} for k in range(3))]
    log = write("log.jsonl", "\n".join(map(json.dumps, lines)))
    found = only(us.import_runs(log, learning_rate=0.1, batch_size=64, labels={"seed": 3}))
    assert json.loads(found.attrs["origin"])["not_used"] == [
        "learning_rate (0.5) of the file's settings, as --learning-rate 0.1 was said",
        "lr (0.5) of the file's settings, as --learning-rate 0.1 was said",
        "batch_size (128) of the file's settings, as --batch-size 64 was said",
    ]
    assert "base_learning_rate" not in found
    assert str(found["optimizer"].values) == "sgd"
    begun = only(us.import_runs(log, learning_rate="cosine:0.5,1000"))
    assert float(begun["base_learning_rate"]) == 0.5


def test_rates_of_an_exported_recording_that_are_said_otherwise_are_not_used(write):
    own = {name: range(1, 4) for name in ("iteration", "distance_sq", "weight_sq", "overlap")}
    rates = {"learning_rate": [0.5] * 3, "learning_rate_sum": [0.5, 1.0, 1.5], "seed": [1] * 3}
    log = write("own.csv", table({**own, **rates}))
    found = only(us.import_runs(log, batch_size=8, learning_rate=0.1, labels={"seed": 2}))
    np.testing.assert_allclose(found["learning_rate_sum"], [0.1, 0.2, 0.3])
    origin = json.loads(found.attrs["origin"])
    assert set(origin["columns"]) == set(own)
    assert [one.split(",")[0] for one in origin["not_used"]] == [
        "seed (1)",
        "learning_rate (0.5)",
        "learning_rate_sum (0.5 to 1.5)",
    ]


def test_columns_that_give_nothing_are_no_source(write):
    steps = np.arange(1, 11)
    more = {"epoch": steps // 5, "weight_decay": steps, "cos": steps / 10, "lr": ["NA"] * 10}
    log = write("log.csv", table({"step": steps, "d": steps, **more}))
    found = only(us.import_runs(log, batch_size=8, distance="d", cosine="cos", loss="lr"))
    assert json.loads(found.attrs["origin"])["columns"] == {"iteration": "step", "distance": "d"}


def test_distances_that_are_no_numbers_are_counted_and_told(run, write, tmp_path, capsys):
    cells = ["1", "2", "inf", "3", "NA", "4", "nan", "5", "", "6"]
    log = write("curve.csv", table({"step": range(1, 11), "dist": cells, "lr": [0.1] * 10}))
    folder = tmp_path / "runs"
    assert run("import", log, "--output", folder, "--batch-size", 8) == 0
    why = "of the curve, without a finite number: 'inf' at line 4, column 'dist', the first"
    assert f"curve: 3 rows left out {why}" in capsys.readouterr().out
    found = only(us.load(folder))
    assert json.loads(found.attrs["origin"])["left_out"] == {why: 3}
    assert run("info", folder) == 0
    assert f"curve: 3 rows left out {why}" in " ".join(capsys.readouterr().out.split())
    log = write("one.csv", table({"step": range(1, 5), "norm": 4 * [1], "cos": [1, "NaN", 0, 0]}))
    (told,) = json.loads(only(us.import_runs(log, shift=1, initial_norm=1)).attrs["origin"])[
        "left_out"
    ]
    assert told == "of the curve, without a finite number: 'NaN' at line 3, column 'cos'"


def test_points_in_steps_beside_commas_that_may_be_either_are_told_the_remedy(write):
    log = write("log.csv", "step;distance\n1.133;2,359\n2.133;2,459\n")
    with pytest.raises(
        RecordError, match="found '1.133'.* write 1133, and no comma in any number"
    ):
        us.import_runs(log)
    log = write("log.csv", "step;distance\n1133;2,359\n2133;2,459\n")
    with pytest.raises(RecordError, match=r"found '2,359', which is 2359 or 2\.359; expected"):
        us.import_runs(log)


def test_a_training_set_that_is_smaller_than_a_batch_is_refused(write):
    log = write("log.csv", curve(batch_size=64))
    with pytest.raises(RecordError, match="data_size: found 10 beside batches of 64, expected"):
        us.import_runs(log, labels={"data_size": 10})
    assert int(only(us.import_runs(log, labels={"data_size": 64}))["data_size"]) == 64
