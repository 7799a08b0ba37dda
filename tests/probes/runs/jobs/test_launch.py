import os
import platform
import signal
import subprocess
import sys
import time

import pytest
import torch

from ultraslow.probes.runs.config import Config, ConfigError
from ultraslow.probes.runs.jobs.launch import Training, TrainingError, _environment, processes


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
    config = Config(folder=str(tmp_path), batch_size=2, iterations=10**6, device="cpu")
    told = Training([config], 2).events()
    while next(told)["event"] != "at":
        pass
    before = {number for number in trainings() if descends_from(number, os.getpid())}
    told.close()
    assert len(before) == 3  # torchrun and two processes
    assert not before & set(trainings())


STARTER = """
import sys
from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.jobs.launch import Training
run = Config(folder=sys.argv[1], batch_size=2, iterations=10**6, device="cpu", name="told")
for event in Training([run], 2).events():
    print(event["event"], flush=True)
"""


@pytest.mark.parametrize("way", ["SIGTERM", "SIGKILL"])
def test_a_starter_that_ends_takes_the_training_along_which_is_kept(tmp_path, way):
    others = set(trainings())
    command = [sys.executable, "-c", STARTER, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as starter:
        while starter.stdout.readline() not in ("at\n", ""):
            pass
        before = set(trainings()) - others
        starter.send_signal(getattr(signal, way))
        patience = time.monotonic() + 60
        while before & set(trainings()) and time.monotonic() < patience:
            time.sleep(0.1)
    assert len(before) >= 3
    assert not before & set(trainings())
    assert (tmp_path / "told.checkpoint").exists()
    assert (tmp_path / "told").is_dir()


def test_a_training_that_says_nothing_is_ended(tmp_path):
    config = Config(folder=str(tmp_path), batch_size=2, iterations=10**6, device="cpu", name="a")
    with pytest.raises(TrainingError, match=r"training of a failed\n  .* said nothing for 0.01 s"):
        list(Training([config], 2, silence=0.01).events())


def descends_from(number, ancestor):
    """Whether a process is below another; tests beside this one train as well."""
    while number > 1 and number != ancestor:
        try:
            with open(f"/proc/{number}/stat") as file:
                number = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return number == ancestor


def trainings():
    """Numbers of the living processes of trainings, also those of others."""
    found = []
    for number in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                line = file.read().decode()
        except OSError:
            continue
        if "ultraslow.probes.runs.training.train" in line:
            found.append(int(number))
    return found


FAULTS = """
import resource
import numpy as np
def fill():
    np.empty(5_000_000).fill(1.0)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_freed_memory_is_kept_for_the_next_update():
    """Page faults of filling 40 MB again and again: 20 · 40 MB / 2 MB at least where given
    back."""

    def faults(environment):
        said = subprocess.run(
            [sys.executable, "-c", FAULTS], env=environment, capture_output=True, check=True
        )
        return int(said.stdout)

    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    assert faults(plain) >= 400
    assert faults({**_environment(2), **plain}) < 40


def test_what_the_user_set_stays(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = _environment(2)
    assert (found["MALLOC_TRIM_THRESHOLD_"], found["OMP_NUM_THREADS"]) == ("131072", "3")
