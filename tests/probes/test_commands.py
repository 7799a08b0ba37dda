import re
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import xarray as xr

from diffusion.commands import main
from diffusion.recording import check
from probes.runs.config import Config
from probes.runs.demo import study


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
        "import sys, argparse, probes.commands as c;"
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
        (["--config", "/nowhere/run.toml"], "No such file or directory: '/nowhere/run.toml'"),
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
    stale = folder / study("")[0].run  # what an earlier demo left is replaced
    stale.mkdir(parents=True)
    stale.with_name(stale.name + ".nc").write_text("stale")
    (stale / "segment-000000000000.nc").write_text("stale")
    assert main(["demo", "--folder", str(folder), "--quick"]) == 0
    assert (folder / "report.html").stat().st_size > 1000
    assert "report.html" in capsys.readouterr().out
    names = sorted(config.run + ".nc" for config in study(""))
    assert sorted(path.name for path in folder.glob("*.nc")) == names
    for path in folder.glob("*.nc"):
        with xr.open_dataset(path) as recording:
            check(recording, path.name)
            assert np.isfinite(recording["noise_trace"].sum("tensor").values[1:]).all()


def test_demo_refuses_a_folder_with_other_recordings(tmp_path, capsys):
    (tmp_path / "precious.nc").write_text("")
    assert main(["demo", "--folder", str(tmp_path)]) == 2
    assert "--folder: found precious.nc" in capsys.readouterr().err
    assert (tmp_path / "precious.nc").exists()
