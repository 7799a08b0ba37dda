import json
import re
import subprocess
import sys
from dataclasses import fields
from shutil import which

import numpy as np
import pytest
import xarray as xr

import ultraslow as us
from ultraslow.diffusion.cli import main
from ultraslow.diffusion.recording.contract import check
from ultraslow.probes.runs.cli import interruption
from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.jobs.sweep import Outcome
from ultraslow.probes.runs.recipe import study


def test_help_names_every_setting_and_has_an_example(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "ultraslow train --batch-size" in text
    for setting in fields(Config):
        assert "--" + setting.name.replace("_", "-") in text, setting.name


def test_command_modules_load_without_heavy_libraries():
    code = (
        "import sys, argparse, ultraslow.probes.runs.cli as c;"
        "[f(argparse.ArgumentParser()) for f in (c.train, c.demo)];"
        "print(sorted({'torch', 'xarray', 'tqdm', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch-size", "5000"], "batch_size: found 5000, expected at most the 1440"),
        (["--batch-size", "81"], "batch_size: found 81, expected a multiple of the 2 processes"),
        (["--model", "resnet7"], "model: found 'resnet7'"),
        (["--config", "/nowhere/run.toml"], "/nowhere/run.toml: no such file or directory"),
    ],
)
def test_faults_of_the_request_end_with_status_2(words, message, tmp_path, capsys):
    assert main(["train", "--device", "cpu", "--folder", str(tmp_path / "runs"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_faults_of_a_file_name_the_file(tmp_path, capsys):
    path = tmp_path / "run.toml"
    path.write_text("batchsize = 8\n")
    assert main(["train", "--config", str(path)]) == 2
    assert f"{path}: batchsize: unknown key, expected one of" in capsys.readouterr().err


def test_a_recording_is_never_overwritten(tmp_path, capsys):
    (tmp_path / "mine.nc").write_text("precious")
    assert main(["train", "--device", "cpu", "--folder", str(tmp_path), "--name", "mine"]) == 2
    assert "name: found a recording at" in capsys.readouterr().err
    assert (tmp_path / "mine.nc").read_text() == "precious"


def test_train_records_and_names_the_recording(tmp_path, capsys):
    path = tmp_path / "run.toml"
    path.write_text('width = 2\niterations = 900\nname = "first"\ndevice = "cpu"\n')
    words = ["train", "--config", str(path), "--folder", str(tmp_path), "--iterations", "3"]
    assert main(words) == 0
    told = capsys.readouterr()
    assert f"recording: {tmp_path / 'first'}.nc" in told.out
    assert re.search(r"held-out accuracy: \d+\.\d%", told.out)
    assert re.search(r"3 iterations in [\d.]+ s, [\d,]+ images a second", told.out)
    with xr.open_dataset(tmp_path / "first.nc") as recording:
        assert recording["iteration"].values.tolist() == [0, 1, 2, 3]


def test_demo_end_to_end(tmp_path, capsys):
    folder = tmp_path / "demo"
    stale = folder / study("").runs[0].run  # what an earlier demo left is replaced
    stale.mkdir(parents=True)
    stale.with_name(stale.name + ".nc").write_text("stale")
    (stale / "segment-000000000000.nc").write_text("stale")
    assert main(["demo", "--folder", str(folder), "--quick"]) == 0
    assert (folder / "report.html").stat().st_size > 1000
    assert "report.html" in capsys.readouterr().out
    names = sorted(config.run + ".nc" for config in study("", quick=True).runs)
    assert sorted(path.name for path in folder.glob("*.nc")) == names
    for path in folder.glob("*.nc"):
        with xr.open_dataset(path) as recording:
            check(recording, path.name)
            assert np.isfinite(recording["noise_trace"].sum("tensor").values[1:]).all()
            place = json.loads(recording.attrs["config"])
            assert (place["recipe"], place["arm"]) == ("demo", path.name.partition("-b")[0])


def test_demo_says_what_it_lacks_before_anything_trains(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert main(["demo", "--folder", str(tmp_path / "demo")]) == 2
    told = capsys.readouterr().err
    assert "scikit-learn, which is not installed; `pip install 'ultraslow[demo]'`" in told
    assert "`ultraslow demo --recorded` needs none" in told
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow  # two minutes on two idle cores
@pytest.mark.timeout(1800)
def test_the_demo_decides_for_and_against(tmp_path, capsys):
    folder = tmp_path / "demo"
    assert main(["demo", "--folder", str(folder)]) == 0
    known, told = capsys.readouterr().out.split("\n\nTraining ")
    assert known.startswith("What is known: 15 recordings")
    verdicts = us.test(us.load(folder))["verdict"].squeeze().to_series()
    assert verdicts[["P1", "P2", "P9"]].eq("contradicted").all()
    assert verdicts["P2'"] == "supported"
    assert len(told.splitlines()) <= 14


def test_the_demo_shows_a_recorded_study_or_trains_and_not_both(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["demo", "--recorded", "--quick", "--folder", str(tmp_path)])
    assert stopped.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_demo_refuses_a_folder_with_other_recordings(tmp_path, capsys):
    (tmp_path / "precious.nc").write_text("")
    assert main(["demo", "--folder", str(tmp_path)]) == 2
    assert "--folder: found precious.nc" in capsys.readouterr().err
    assert (tmp_path / "precious.nc").exists()


STUDY = """
about = "two runs"
[settings]
width = 2
iterations = 3
evaluations = 1
device = "cpu"
[[arms]]
arm = "sqrt"
scaling = "sqrt"
batch_size = [160, 320]
"""


@pytest.fixture
def study_file(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def test_shipped_recipes_are_listed(capsys):
    assert main(["sweep", "list"]) == 0
    text = capsys.readouterr().out
    assert "hoffer2017-cifar10    ResNet-44 on CIFAR-10" in text
    assert "cifar10-small" in text


def test_a_dry_run_only_says_what_arms_are_cost_and_serve(study_file, tmp_path, capsys):
    folder = tmp_path / "runs"
    assert main(["sweep", str(study_file), "--folder", str(folder), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "study: 2 runs, 0 done, 2 to train; processes of a run: 2" in text
    lines = [line.split() for line in text.splitlines() if line.startswith("sqrt")]
    assert [line[1:5] for line in lines] == [
        ["160", "0.05", "3", "1"],
        ["320", "0.05", "3", "1"],
    ]
    assert all("P3" in line and "P1" not in line for line in lines)  # three updates are too few
    assert float(lines[1][5]) >= float(lines[0][5]) >= 0  # minutes of processor time
    assert "All of them: about 0.0 core-hours" in text
    assert not folder.exists()


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (("160", "2000"), [], "sqrt-b2000: batch_size: found 2000, expected at most the 1440"),
        (("width", "widht"), [], "settings: widht: unknown key, expected one of data"),
        ((" = 3", " = "), [], "not a TOML file"),
        (("", ""), ["--scale", "2"], "scale: found 2.0, expected a number above 0 and at most 1"),
        (("", ""), ["--processes", "3"], "batch_size: found 160, expected a multiple of the 3"),
        (("", ""), ["--data", "cifar10"], "data_folder: found none, expected the folder"),
        (
            ('arm = "sqrt"', 'arm = "sqrt"\nprocesses = [1, 2]'),
            [],
            "processes: found 1 and 2 in different arms, expected one for all",
        ),
    ],
)
def test_faults_end_with_status_2_before_anything_starts(
    study_file, tmp_path, capsys, change, words, message
):
    study_file.write_text(STUDY.replace(*change) if change[0] else STUDY)
    folder = tmp_path / "runs"
    assert main(["sweep", str(study_file), "--folder", str(folder), *words]) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.skipif(which("srun") is not None, reason="there is a Slurm here")
def test_slurm_that_is_not_there_is_told(study_file, tmp_path, capsys):
    assert main(["sweep", str(study_file), "--folder", str(tmp_path / "runs"), "--slurm"]) == 2
    assert "expected a Slurm cluster and submitit" in capsys.readouterr().err


def test_an_unknown_recipe_is_told_with_those_there_are(capsys):
    assert main(["sweep", "hoffer"]) == 2
    assert "found no file hoffer, expected one or a recipe of the package" in (
        capsys.readouterr().err
    )


def test_a_sweep_goes_on_where_it_stopped_and_refuses_other_settings(study_file, tmp_path, capsys):
    folder = tmp_path / "runs"
    words = ["sweep", str(study_file), "--folder", str(folder), "--processes", "1"]
    assert main(words) == 0
    assert "2 trained" in capsys.readouterr().out
    # Without a checkpoint a run that was interrupted begins anew; the other is done.
    (folder / "sqrt-b160.nc").unlink()
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "2 runs, 1 done, 1 to train, 1 of them begun" in text
    assert "1 trained" in text
    assert sorted(path.name for path in folder.glob("*.nc")) == ["sqrt-b160.nc", "sqrt-b320.nc"]
    assert main(words) == 0
    assert "2 done, 0 to train" in capsys.readouterr().out

    study_file.write_text(STUDY.replace("iterations = 3", "iterations = 3\nmomentum = 0.5"))
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "found a recording of other settings (momentum: found 0.9, here 0.5)" in said
    assert "expected another --folder" in said


def test_finished_runs_are_lengthened_where_they_left_a_checkpoint(
    study_file, tmp_path, capsys, reproduce
):
    folder = tmp_path / "runs"
    words = ["sweep", str(study_file), "--folder", str(folder), "--processes", "1"]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--iterations", "6"]) == 0
    text = capsys.readouterr().out
    assert "0 done, 2 to train, 2 of them begun, 2 of these finished at a shorter length" in text
    for name in ("sqrt-b160", "sqrt-b320"):
        with xr.open_dataset(folder / f"{name}.nc") as recording:
            assert recording["iteration"].values.tolist() == list(range(7))
            # It says the new length, and beside it what it was first meant to be.
            assert json.loads(recording.attrs["config"])["settings"]["iterations"] == 6
            (part,) = json.loads(recording.attrs["resumed"])
            assert part["config_before"] == {"settings": {"iterations": 3}}
    # Made anew at that length it is the same to the bit, of the same settings.
    assert main([*words[:3], str(tmp_path / "anew"), *words[4:], "--iterations", "6"]) == 0
    longer, anew = (reproduce.recordings(one) for one in (folder, tmp_path / "anew"))
    assert {row.word for row in reproduce.compared(longer, anew)} == {"equal"}
    assert [reproduce.arm(longer[name]) for name in anew] == list(
        map(reproduce.arm, anew.values())
    )
    capsys.readouterr()
    # What is longer than it is asked to be is done.
    assert main(words) == 0
    assert "2 done, 0 to train" in capsys.readouterr().out
    (folder / "sqrt-b160.last-checkpoint").unlink()
    before = (folder / "sqrt-b160.nc").read_bytes()
    assert main([*words, "--iterations", "9"]) == 2
    said = capsys.readouterr().err
    assert "sqrt-b160: found a recording that ends at iteration 6, without the checkpoint" in said
    assert (folder / "sqrt-b160.nc").read_bytes() == before


def test_a_longer_run_is_another_where_its_rate_falls(study_file, tmp_path, capsys):
    study_file.write_text(STUDY.replace("iterations = 3", 'iterations = 3\ndecay = "cosine"'))
    words = ["sweep", str(study_file), "--folder", str(tmp_path), "--processes", "1"]
    assert main(words) == 0
    assert main([*words, "--iterations", "6"]) == 2
    assert "of other settings (iterations: found 3, here 6)" in capsys.readouterr().err


def test_seeds_are_added_to_those_of_the_recipe(study_file, tmp_path, capsys):
    words = ["sweep", str(study_file), "--folder", str(tmp_path / "runs"), "--dry-run"]
    assert main([*words, "--seeds", "3"]) == 2
    assert "sqrt: seed: found no list, expected a list of seeds" in capsys.readouterr().err
    study_file.write_text(STUDY + "seed = [4, 2]\n")
    assert main([*words, "--seeds", "3"]) == 0
    assert "study: 6 runs, 0 done, 6 to train" in capsys.readouterr().out
    assert main([*words, "--seeds", "0"]) == 2
    assert "--seeds: found 0, expected 1 or more" in capsys.readouterr().err


def test_arms_are_chosen_by_name(study_file, tmp_path, capsys):
    study_file.write_text(STUDY + '[[arms]]\narm = "other"\nscaling = "linear"\n')
    words = ["sweep", str(study_file), "--folder", str(tmp_path / "runs"), "--dry-run"]
    assert main([*words, "--arms", "other"]) == 0
    assert "study: 1 runs, 0 done, 1 to train" in capsys.readouterr().out
    assert main([*words, "--arms", "sqrt", "othr"]) == 2
    said = capsys.readouterr().err
    assert "--arms: found 'othr', expected some of sqrt, other (other?)" in said


def test_an_interruption_says_what_was_kept():
    outcomes = [Outcome("a", "trained"), Outcome("b", "kept", iteration=7), Outcome("c", "begun")]
    assert interruption(outcomes) == (
        "interrupted: kept b up to iteration 7; c had no checkpoint yet and will begin anew."
        " The same command goes on."
    )
    assert "no run was under way" in interruption([Outcome("a", "left")])


def test_what_to_run_next_can_be_run_as_it_stands(tmp_path, monkeypatch):
    """`make demo` installs beside the checkout, where no shell looks."""
    from ultraslow.probes.runs import cli

    program = tmp_path / ".venv" / "bin" / "ultraslow"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program), "demo"])
    monkeypatch.setenv("PATH", "")
    assert "see why: .venv/bin/ultraslow test demo --verbose" in cli._next("demo", quick=False)
    monkeypatch.setenv("PATH", str(program.parent))
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert "see why: ultraslow test demo --verbose" in cli._next("demo", quick=False)
