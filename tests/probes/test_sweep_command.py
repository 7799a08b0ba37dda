from shutil import which

import pytest

from diffusion.commands import main
from probes.runs.sweep import Outcome
from probes.sweep_command import interruption

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


def test_a_dry_run_checks_and_lists_only(study_file, tmp_path, capsys):
    folder = tmp_path / "runs"
    assert main(["sweep", str(study_file), "--folder", str(folder), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "study: 2 runs, 0 done, 2 to train; processes of a run: 2" in text
    assert "sqrt-b320" in text and "batch size 320  3 iterations" in text
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
    words = ["sweep", str(study_file), "--folder", str(folder)]
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

    study_file.write_text(STUDY.replace("iterations = 3", "iterations = 4"))
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "found a recording of other settings (iterations: found 3, here 4)" in said
    assert "expected another --folder" in said


def test_an_interruption_says_what_was_kept():
    outcomes = [Outcome("a", "trained"), Outcome("b", "kept", iteration=7), Outcome("c", "begun")]
    assert interruption(outcomes) == (
        "interrupted: kept b up to iteration 7; c had no checkpoint yet and will begin anew."
        " The same command goes on."
    )
    assert "no run was under way" in interruption([Outcome("a", "left")])
