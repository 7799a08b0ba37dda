import os

import pytest
import torch

from probes.runs.config import Config, ConfigError
from probes.runs.launch import Training, TrainingError, processes


def test_a_folder_that_cannot_be_made_is_found_before_anything_starts(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        list(Training([Config(folder=str(tmp_path / "file" / "runs"))], 2).events())


def test_a_failed_training_says_why_and_keeps_its_output(tmp_path):
    config = Config(folder=str(tmp_path), name="taken", batch_size=2, iterations=1, device="cpu")
    (tmp_path / "taken.nc").write_text("not a recording")
    with pytest.raises(TrainingError, match="process 0: .*found a recording at .*taken.nc"):
        list(Training([config], 2).events())
    assert "Traceback" in (tmp_path / "taken-output.txt").read_text()
    assert (tmp_path / "taken.nc").read_text() == "not a recording"


def test_number_of_processes():
    assert processes(Config(device="cpu", processes=3)) == 3
    assert processes(Config(device="cpu")) == 2


def test_more_processes_than_gpus_are_refused():
    found = torch.cuda.device_count()
    with pytest.raises(ConfigError, match=f"device: found {found} GPUs, expected {found + 1}"):
        processes(Config(device="cuda", processes=found + 1))


def test_stopping_early_leaves_no_process(tmp_path):
    others = set(trainings())
    config = Config(folder=str(tmp_path), batch_size=2, iterations=10**6, device="cpu")
    told = Training([config], 2).events()
    while next(told)["event"] != "at":
        pass
    before = set(trainings()) - others
    told.close()
    assert len(before) == 3  # torchrun and two processes
    assert not before & set(trainings())


def trainings():
    """Numbers of the living processes of trainings, also those of others."""
    found = []
    for number in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                line = file.read().decode()
        except OSError:
            continue
        if "probes.runs.train" in line:
            found.append(int(number))
    return found
