"""Runs as jobs of a Slurm cluster, each on one node, through the package submitit.

The command that submits them follows them until all are done. Interrupted, it leaves them running;
started again, it follows those that still wait or run instead of submitting them once more.

Slurm ends jobs before their runs do: at their time limit, and for others that come first. It says
so by SIGUSR2 where it is asked to: then the run is kept in a checkpoint and the job asks to be
queued again. Or by SIGTERM alone, as also when a user cancels the job: then the run is kept, and
whether the job comes back is Slurm's to decide. A job that comes back, whatever ended it, goes on
where the run was kept last. What happened is noted beside the log files, told by the command that
follows, and stands in the recording.
"""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.training import kept_at

from .sweep import Event, Outcome, Sweep, last_iteration, make_ready, state

# The log files and the pickled calls of submitit, in the folder of the recordings.
FOLDER = "jobs"
_IDS = "submitted.json"
_ENDED = "ended-early.jsonl"  # a line for each time that a job was
# Time limits that a job may use up; a run that goes on from its checkpoint always comes further.
_LIMITS = 10_000
# Seconds before its end that a job is told of it: twice what keeping a run may take.
_WARNING = 120
# Cores of a process that trains on a GPU: one for it and some for images.
_CORES_OF_A_GPU = 8


class Job(Protocol):
    """What is used of a job of submitit."""

    job_id: str

    @property
    def paths(self) -> Any:
        """Its files."""

    def done(self, force_check: bool = False) -> bool:
        """Whether it has ended."""

    def result(self) -> Outcome:
        """What it returned; raises where it failed."""


class ClusterRun:
    """One run as a job, which goes on where it was when Slurm ends it early and starts it again.

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
        self._told = False  # that it has to end

    def __call__(self) -> Outcome:
        """Train the run, on the node of the job; go on where an earlier job was ended."""
        if state(self.config) == "done":  # the job was lost after its work
            return Outcome(self.config.run, "trained")
        make_ready(self.config)  # a job that was killed before its first checkpoint has left some
        self._sweep = Sweep([self.config], self.count, study={self.config.run: self.study})
        with _on_sigterm(self._terminated):
            [outcome] = self._sweep.train(lambda event: None)
        return outcome

    def checkpoint(self) -> Any:
        """Keep what is done and be queued again; submitit calls it before Slurm ends the job."""
        from submitit.helpers import DelayedSubmission

        self._keep("requeued")
        return DelayedSubmission(ClusterRun(self.config, self.count, self.study))

    def _terminated(self) -> None:
        """Keep what is done and end; whoever has asked to knows whether the job comes back."""
        if not self._told:  # else it is on its way to the queue
            self._keep("ended")
            sys.exit(128 + signal.SIGTERM)

    def _keep(self, event: Literal["requeued", "ended"]) -> None:
        self._told = True
        if self._sweep is not None:
            self._sweep.stop()
        done = state(self.config) == "done"  # meanwhile
        iteration = self.config.iterations if done else kept_at(self.config.path)
        note = {"event": event, "run": self.config.run, "iteration": iteration}
        file = Path(self.config.folder) / FOLDER / _ENDED
        with suppress(OSError), file.open("a", encoding="utf-8") as notes:
            notes.write(json.dumps(note) + "\n")


@contextmanager
def _on_sigterm(action: Callable[[], None]) -> Iterator[None]:
    """Do something when this process is told to end; in a thread nothing is heard."""
    try:
        before = signal.signal(signal.SIGTERM, lambda *_: action())
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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

    executor = submitit.SlurmExecutor(folder=folder / FOLDER, max_num_timeout=_LIMITS)
    executor.update_parameters(
        job_name="ultraslow",
        time=round(hours * 60),
        nodes=1,
        ntasks_per_node=1,  # torchrun starts the processes of the run
        cpus_per_task=count * (_CORES_OF_A_GPU if gpus else 1),
        signal_delay_s=_WARNING,
        additional_parameters={"requeue": True},  # also where a node fails
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
        heard: is called with events as those of `sweep.Sweep.train`, and with
            `{"event": "requeued", "run", "iteration"}` when a job was ended early and is queued
            again, with the iteration that the run goes on from; `ended` where it is not.
        seconds: between two looks.

    Returns:
        What became of each run, in order.
    """
    outcomes: dict[str, Outcome] = {}
    notes = _Notes(Path(configs[0].folder) / FOLDER / _ENDED, set(jobs))
    while True:
        for note in notes.new():
            heard(note)
        for config in configs:
            if config.run not in outcomes and jobs[config.run].done():
                outcomes[config.run] = _outcome(config, jobs[config.run])
                heard(_last_event(outcomes[config.run]))
            elif config.run not in outcomes:
                heard({"event": "seen", "run": config.run, "iteration": _seen(config)})
        if len(outcomes) == len(jobs):
            return [outcomes[config.run] for config in configs]
        time.sleep(seconds)


class _Notes:
    """What jobs have noted of their early ends, from now on."""

    def __init__(self, file: Path, runs: set[str]) -> None:
        self._file = file
        self._runs = runs
        self._read = file.stat().st_size if file.exists() else 0

    def new(self) -> list[Event]:
        """Notes of these runs since the last call; of whole lines, as one may be half written."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as file:
            file.seek(self._read)
            whole, line, _ = file.read().rpartition(b"\n")
        self._read += len(whole + line)
        notes = [json.loads(one) for one in whole.splitlines() if one.strip()]
        return [note for note in notes if note["run"] in self._runs]


def _outcome(config: Config, job: Job) -> Outcome:
    try:
        return job.result()
    except Exception as error:
        if state(config) == "done":  # the job ended badly after its work
            return Outcome(config.run, "trained", made=config.iterations)
        kept = kept_at(config.path)
        if kept and not _has_failed(job):
            return Outcome(config.run, "kept", iteration=kept)
        reason = f"job {job.job_id} of {config.run} failed: {error}"
        return Outcome(config.run, "failed", reason)


def _has_failed(job: Job) -> bool:
    """Whether the job itself says so; one that was cancelled, or lost its node, says nothing."""
    return job.paths.result_pickle.exists()


def _last_event(outcome: Outcome) -> Event:
    if outcome.status == "trained":
        return {"event": "end", "run": outcome.run}
    if outcome.status == "kept":
        return {"event": "seen", "run": outcome.run, "iteration": outcome.iteration}
    return {"event": "failed", "run": outcome.run, "reason": outcome.reason}


def _seen(config: Config) -> int:
    try:
        return max(0, last_iteration(config))
    except (ValueError, OSError):  # it is being written
        return 0
