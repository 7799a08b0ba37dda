"""Jobs through submitit's executor for this machine, which runs each in a process of its own."""

from dataclasses import replace
from shutil import which

import pytest
import submitit
import xarray as xr

from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.jobs.slurm import ClusterRun, followed, slurm, submitted
from ultraslow.probes.runs.jobs.sweep import state

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
