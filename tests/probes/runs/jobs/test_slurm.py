"""Jobs through submitit's executor for this machine, which runs each in a process of its own."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import xarray as xr

from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.jobs.slurm import ClusterRun, _Notes, followed, slurm, submitted
from ultraslow.probes.runs.jobs.sweep import Sweep, last_iteration, state
from ultraslow.probes.storage import SegmentStore

submitit = pytest.importorskip("submitit")

CONFIG = Config(width=2, batch_size=160, iterations=3, evaluations=0, device="cpu", name="a")


@pytest.mark.slow
def test_runs_train_as_jobs_and_failures_are_told(tmp_path):
    good = replace(CONFIG, folder=str(tmp_path))
    runs = [good, replace(good, name="b", model="json:loads", width=0)]
    executor = submitit.LocalExecutor(folder=tmp_path / "jobs")
    executor.update_parameters(timeout_min=5)
    jobs = submitted(executor, runs, 2, study={"a": {"arm": "first"}})
    told = []
    outcomes = followed(jobs, runs, told.append, seconds=0.2)
    assert [outcome.status for outcome in outcomes] == ["trained", "failed"]
    assert "training of b failed" in outcomes[1].reason
    assert state(good) == "done"
    with xr.open_dataset(f"{good.path}.nc") as recording:
        assert '"arm": "first"' in recording.attrs["config"]
    assert {event["event"] for event in told} >= {"end", "failed"}


def family(pid):
    """Processes that a process has started, and those that these have, as far as they live."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, open_ones = [], [pid]
    while open_ones:
        children = parents.get(open_ones.pop(), [])
        found += children
        open_ones += children
    return found


def at_iteration(config, number, *, patience=120):
    """Wait until a run has come so far."""
    until = time.monotonic() + patience
    while not (config.path.exists() and kept_or_live(config) >= number):
        assert time.monotonic() < until
        time.sleep(0.2)


def kept_or_live(config):
    try:
        return last_iteration(config)
    except (ValueError, OSError):
        return -1


def recorded(config):
    with xr.open_dataset(f"{config.path}.nc") as recording:
        return recording.load()


def assert_whole(config, undisturbed):
    """Nothing of a run that was ended early is lost, and the recording says that it was."""
    found, expected = recorded(config), recorded(undisturbed)
    assert json.loads(found.attrs["resumed"])
    at = found.sel(iteration=expected["iteration"])
    for name in ("distance_sq", "noise_trace", "loss", "samples", "learning_rate_sum"):
        np.testing.assert_array_equal(at[name], expected[name], err_msg=name)


@pytest.mark.slow
def test_a_job_that_is_preempted_is_queued_again_and_loses_nothing(tmp_path):
    """SIGUSR2 reaches every process of a job, as Slurm sends it."""
    long = replace(CONFIG, iterations=400, folder=str(tmp_path))
    undisturbed = replace(long, name="undisturbed")
    Sweep([undisturbed], 2).train(lambda event: None)
    executor = submitit.LocalExecutor(folder=tmp_path / "jobs", max_num_timeout=9)
    executor.update_parameters(timeout_min=9)
    jobs = submitted(executor, [long], 2, study={})
    at_iteration(long, 4)
    for process in family(jobs["a"]._process.pid):
        os.kill(process, signal.SIGUSR2)
    told = []
    [outcome] = followed(jobs, [long], told.append, seconds=0.2)
    assert outcome.status == "trained"
    [again] = [event for event in told if event["event"] == "requeued"]
    assert again["run"] == "a" and 4 <= again["iteration"] < 400
    assert_whole(long, undisturbed)


@pytest.mark.slow
def test_a_job_that_is_only_told_to_end_is_kept_and_goes_on_when_it_comes_back(tmp_path):
    """SIGTERM, as of a preemption without warning or of a user."""
    long = replace(CONFIG, iterations=400, folder=str(tmp_path))
    undisturbed = replace(long, name="undisturbed")
    Sweep([undisturbed], 2).train(lambda event: None)
    executor = submitit.LocalExecutor(folder=tmp_path / "jobs")
    executor.update_parameters(timeout_min=9)
    jobs = submitted(executor, [long], 2, study={})
    at_iteration(long, 4)
    told = []
    for process in family(jobs["a"]._process.pid):
        os.kill(process, signal.SIGTERM)
    [outcome] = followed(jobs, [long], told.append, seconds=0.2)
    assert outcome.status == "kept" and 4 <= outcome.iteration < 400
    assert {"event": "ended", "run": "a", "iteration": outcome.iteration} in told
    jobs = submitted(executor, [long], 2, study={})
    [outcome] = followed(jobs, [long], told.append, seconds=0.2)
    assert outcome.status == "trained"
    assert_whole(long, undisturbed)


@pytest.mark.slow
def test_a_job_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path):
    """And one that was lost after its work has nothing to do."""
    run = replace(CONFIG, folder=str(tmp_path))
    SegmentStore(run.path).folder.mkdir()
    (SegmentStore(run.path).folder / "initial-00000-of-00001.safetensors").touch()
    job = ClusterRun(run, 2, {})
    [outcome] = [job()]
    assert outcome.status == "trained" and outcome.made == 3
    assert ClusterRun(run, 2, {})().status == "trained"
    assert len(recorded(run)["iteration"]) == 4


def test_notes_are_told_when_their_line_is_whole(tmp_path):
    file = tmp_path / "ended.jsonl"
    file.write_text('{"run": "a", "event": "ended", "iteration": 1}\n')
    notes = _Notes(file, {"a", "b"})
    assert notes.new() == []
    with file.open("a") as stream:
        stream.write('{"run": "c", "event": "ended", "iteration": 2}\n{"run": "b", ')
    assert notes.new() == []
    with file.open("a") as stream:
        stream.write('"event": "requeued", "iteration": 3}\n')
    assert notes.new() == [{"run": "b", "event": "requeued", "iteration": 3}]
    assert notes.new() == []


def test_what_is_asked_of_slurm(tmp_path, monkeypatch):
    """Only the text of a submission: it is written where a program of the name of srun is."""
    stub = tmp_path / "srun"
    stub.write_text("#!/bin/sh\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    executor = slurm(tmp_path, count=2, gpus=False, hours=1.5)
    text = executor._make_submission_file_text("train", "id")
    for line in ("--requeue", "--signal=USR2@120", "--time=90", "--ntasks-per-node=1"):
        assert f"#SBATCH {line}\n" in text


class Listed:
    """An executor that only notes what it is given, and whose jobs run for ever."""

    class job_class:
        def __init__(self, folder, job_id):
            self.job_id = job_id

        def done(self, force_check=False):
            return self.job_id == "ended"

    def __init__(self, folder):
        self.folder = folder
        self.given = []

    def submit(self, call):
        self.given.append(call.config.run)
        return self.job_class(self.folder, f"job-{call.config.run}")


def test_jobs_that_are_under_way_are_not_submitted_again(tmp_path):
    runs = [replace(CONFIG, name=name) for name in "ab"]
    executor = Listed(tmp_path / "jobs")
    first = submitted(executor, runs[:1], 2, study={})
    again = submitted(executor, runs, 2, study={})
    assert executor.given == ["a", "b"]
    assert [again[name].job_id for name in "ab"] == [first["a"].job_id, "job-b"]


def test_a_job_that_is_ended_early_asks_for_the_same_run_again():
    delayed = ClusterRun(CONFIG, 2, {"arm": "x"}).checkpoint()
    assert delayed.function.config == CONFIG
    assert delayed.function.study == {"arm": "x"}


@pytest.mark.skipif(which("srun") is not None, reason="there is a Slurm here")
def test_slurm_that_is_not_there_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="srun"):
        slurm(tmp_path, count=2, gpus=False, hours=1.0)
