"""Runs as jobs of a Slurm cluster, each on one node, through the package submitit.

The command that submits them follows them until all are done. Interrupted, it leaves them running;
started again, it follows those that still wait or run instead of submitting them once more.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ultraslow.probes.runs.config import Config

from .sweep import Event, Outcome, Sweep, last_iteration, state

# The log files and the pickled calls of submitit, in the folder of the recordings.
FOLDER = "jobs"
_IDS = "submitted.json"
# Cores of a process that trains on a GPU: one for it and some for images.
_CORES_OF_A_GPU = 8


class Job(Protocol):
    """What is used of a job of submitit."""

    job_id: str

    def done(self, force_check: bool = False) -> bool:
        """Whether it has ended."""

    def result(self) -> Outcome:
        """What it returned; raises where it failed."""


class ClusterRun:
    """One run as a job, which goes on where it was when Slurm ends it early and queues it again.

    Arguments:
        config: of the run.
        count: processes.
        study: what the recording shall say of it beside its settings.
    """

    def __init__(self, config: Config, count: int, study: Mapping[str, Any]) -> None:
        self.config = config
        self.count = count
        self.study = study
        self._sweep: Sweep | None = None

    def __call__(self) -> Outcome:
        """Train the run, on the node of the job."""
        self._sweep = Sweep([self.config], self.count, study={self.config.run: self.study})
        [outcome] = self._sweep.train(lambda event: None)
        return outcome

    def checkpoint(self) -> Any:
        """Keep what is done; submitit calls it shortly before Slurm ends the job."""
        from submitit.helpers import DelayedSubmission

        if self._sweep is not None:
            self._sweep.stop()
        return DelayedSubmission(ClusterRun(self.config, self.count, self.study))


def slurm(folder: Path, *, count: int, gpus: bool, hours: float, partition: str = "") -> Any:
    """The executor that submits to Slurm.

    Arguments:
        folder: of the recordings.
        count: processes of a run.
        gpus: whether each has a GPU.
        hours: time limit of a job.
        partition: of Slurm; its default when empty.

    Raises:
        RuntimeError: where there is no Slurm.
        ModuleNotFoundError: where submitit is not installed.
    """
    import submitit

    executor = submitit.SlurmExecutor(folder=folder / FOLDER)
    executor.update_parameters(
        job_name="ultraslow",
        time=round(hours * 60),
        nodes=1,
        ntasks_per_node=1,  # torchrun starts the processes of the run
        cpus_per_task=count * (_CORES_OF_A_GPU if gpus else 1),
        **({"gpus_per_node": count} if gpus else {}),
        **({"partition": partition} if partition else {}),
    )
    return executor


def submitted(
    executor: Any,
    configs: Sequence[Config],
    count: int,
    *,
    study: Mapping[str, Mapping[str, Any]],
) -> dict[str, Job]:
    """A job for each run: those that are under way, and new ones for the others.

    Arguments:
        executor: of submitit.
        configs: the runs, already checked.
        count: processes of each.
        study: by name of a run what its recording shall say of it.
    """
    folder = Path(executor.folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / _IDS
    known = json.loads(file.read_text()) if file.exists() else {}
    jobs: dict[str, Job] = {}
    for config in configs:
        run = config.run
        job = (
            executor.job_class(folder=executor.folder, job_id=known[run]) if run in known else None
        )
        if job is None or job.done(force_check=True):
            job = executor.submit(ClusterRun(config, count, study.get(run, {})))
        jobs[run] = job
        file.write_text(json.dumps({**known, **{name: j.job_id for name, j in jobs.items()}}))
    return jobs


def followed(
    jobs: Mapping[str, Job],
    configs: Sequence[Config],
    heard: Callable[[Event], None],
    *,
    seconds: float = 15.0,
) -> list[Outcome]:
    """Wait for all jobs, showing how far their recordings are.

    Arguments:
        jobs: by name of the run.
        configs: the runs.
        heard: is called with events as those of `sweep.Sweep.train`.
        seconds: between two looks.

    Returns:
        What became of each run, in order.
    """
    outcomes: dict[str, Outcome] = {}
    while True:
        for config in configs:
            if config.run not in outcomes and jobs[config.run].done():
                outcomes[config.run] = _outcome(config, jobs[config.run])
                heard(_last_event(outcomes[config.run]))
            elif config.run not in outcomes:
                heard({"event": "seen", "run": config.run, "iteration": _seen(config)})
        if len(outcomes) == len(jobs):
            return [outcomes[config.run] for config in configs]
        time.sleep(seconds)


def _outcome(config: Config, job: Job) -> Outcome:
    try:
        return job.result()
    except Exception as error:
        if state(config) == "done":  # the job ended badly after its work
            return Outcome(config.run, "trained", made=config.iterations)
        reason = f"job {job.job_id} of {config.run} failed: {error}"
        return Outcome(config.run, "failed", reason)


def _last_event(outcome: Outcome) -> Event:
    if outcome.status == "trained":
        return {"event": "end", "run": outcome.run}
    return {"event": "failed", "run": outcome.run, "reason": outcome.reason}


def _seen(config: Config) -> int:
    try:
        return max(0, last_iteration(config))
    except (ValueError, OSError):  # it is being written
        return 0
