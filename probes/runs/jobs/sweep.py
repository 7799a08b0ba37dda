"""Sweeps: many runs, of which some may be done already, on this machine.

Runs are dealt out to a few *jobs*. A job is one torchrun, which trains its runs one after the
other in one set of processes; when a run fails, a new one goes on with those after it.
"""

import json
import os
import queue
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from ultraslow.diffusion.recording import Lease
from ultraslow.probes.runs.config import PLACES, Config
from ultraslow.probes.runs.training import checkpoint_of, evaluated_at, last_checkpoint_of
from ultraslow.probes.storage import SegmentStore

from .launch import Training, TrainingError

Event = Mapping[str, Any]
State = Literal["absent", "half", "done"]

# Settings that say how long a run is.
_LENGTH = ("iterations", "epochs", "adapt_epochs")
# Seconds that jobs have to end after they were asked to; torchrun kills its processes after 30.
_PATIENCE = 45.0


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        run: its name.
        status: `trained`; `failed`; `kept`: interrupted, to be continued from a checkpoint;
            `begun`: interrupted before there was one; or `left`: not begun.
        reason: of a failure, as its processes told it.
        iteration: of the checkpoint of a run that was kept.
        made: updates that were made in this sweep.
        accuracy: held-out, NaN unless trained.
        seconds: that its updates took in this sweep, NaN unless trained.
    """

    run: str
    status: Literal["trained", "failed", "kept", "begun", "left"]
    reason: str = ""
    iteration: int = 0
    made: int = 0
    accuracy: float = float("nan")
    seconds: float = float("nan")


def state(config: Config) -> State:
    """Whether a run is recorded: not at all, in part, or to its end.

    A closed recording may be one of part of the run: whoever is told to end closes it.
    """
    store = SegmentStore(config.path)
    if store.file.exists() and last_iteration(config) >= config.iterations:
        return "done"
    there = store.file.exists() or store.folder.exists()
    return "half" if there or checkpoint_of(config.path).exists() else "absent"


def last_iteration(config: Config) -> int:
    """The last iteration that a run's recording holds, -1 for none.

    Raises:
        RecordError: when the recording is damaged.
    """
    records = SegmentStore(config.path).read()
    return -1 if records is None else int(records["iteration"].values[-1])


def differences(config: Config) -> list[str]:
    """What the recording of a run says otherwise than its settings; of none there are none.

    Raises:
        RecordError: when the recording is damaged.
    """
    records = SegmentStore(config.path).read()
    if records is None:
        return []
    stored, default = _settings(records), asdict(Config())
    # At a constant rate a run of another length is the same run, up to the shorter of the two.
    free = set(PLACES)
    if config.decay == "constant":
        free |= set(_LENGTH)
        if _evaluated_alike({**default, **stored}, config):
            free.add("evaluations")
    return [
        f"{key}: found {stored.get(key)!r}, here {value!r}"
        for key, value in asdict(config).items()
        # Recordings of an earlier version lack settings that were added since.
        if key not in free and stored.get(key, default[key]) != value
    ]


def _evaluated_alike(stored: Mapping[str, Any], config: Config) -> bool:
    """Whether two lengths of a run are evaluated at the same iterations of the shorter one."""
    lengths = stored["iterations"], config.iterations
    counts = stored["evaluations"], config.evaluations
    if not all(counts):
        return False
    ours, theirs = map(evaluated_at, lengths, counts)
    short = min(lengths)
    return np.array_equal(ours[ours <= short], theirs[theirs <= short])


def _settings(records: xr.Dataset) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(records.attrs.get("config", "{}")).get("settings", {})
    return found


def finished_at(config: Config) -> int:
    """The iteration that a run ended at which was to be shorter than it is to be now; 0 for none.

    Raises:
        RecordError: when the recording is damaged.
    """
    store = SegmentStore(config.path)
    if not store.file.exists() or checkpoint_of(config.path).exists():
        return 0
    records = store.read()
    if records is None:
        return 0
    last = last_iteration(config)
    return last if _first_length(records) <= last < config.iterations else 0


def _first_length(records: xr.Dataset) -> int:
    """Iterations that a run was first meant to have, before it was made longer."""
    parts = json.loads(records.attrs.get("resumed", "[]"))
    earlier = [part.get("config_before", {}).get("settings", {}) for part in parts]
    lengths = [
        found["iterations"] for found in (*earlier, _settings(records)) if "iterations" in found
    ]
    return int(lengths[0]) if lengths else 0


def can_go_on(config: Config) -> bool:
    """Whether a run that finished at a shorter length left the checkpoint to go on from."""
    return last_checkpoint_of(config.path).exists()


def make_ready(config: Config) -> None:
    """Let a run go on from where it finished, or from its checkpoint; or begin anew without one.

    Raises:
        FileExistsError: when another process records there now, or a finished run cannot go on.
    """
    ended = finished_at(config)
    if not ended:
        return discard_half(config)
    if not can_go_on(config):
        raise FileExistsError(
            f"{config.path}: found a recording that ends at iteration {ended} and no checkpoint"
        )
    os.replace(last_checkpoint_of(config.path), checkpoint_of(config.path))
    return None


def discard_half(config: Config) -> None:
    """Remove what an interrupted run left, where there is no checkpoint to go on from.

    Raises:
        FileExistsError: when another process records there now.
    """
    store, checkpoint = SegmentStore(config.path), checkpoint_of(config.path)
    if state(config) != "half" or (store.folder.exists() and checkpoint.exists()):
        return
    if store.folder.exists():
        Lease(store.folder).acquire()
        shutil.rmtree(store.folder)
    for left in (store.file, checkpoint):
        left.unlink(missing_ok=True)


class Sweep:
    """Runs that are trained by a few jobs at a time."""

    def __init__(
        self,
        configs: Sequence[Config],
        count: int,
        *,
        jobs: int = 1,
        study: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Deal the runs out, so that those to be trained first come first on every job.

        Arguments:
            configs: the runs, already checked, in order.
            count: processes of each.
            jobs: how many to train at a time.
            study: by name of a run what its recording shall say of it beside its settings.
        """
        dealt = [list(configs[job::jobs]) for job in range(jobs)]
        dealt = [runs for runs in dealt if runs]
        self._jobs = [_Job(runs, count, study or {}, len(dealt)) for runs in dealt]
        self._outcomes = {config.run: Outcome(config.run, "left") for config in configs}
        self._threads: list[threading.Thread] = []

    def train(self, heard: Callable[[Event], None]) -> list[Outcome]:
        """Train all runs; on an interruption keep what can be kept.

        Arguments:
            heard: is called with every event of every job, see `launch.Training.events`, and with
                `{"event": "failed", "run", "reason"}` where a run failed.

        Returns:
            What became of each run, in order; after an interruption, which is not raised, some
            are `kept`, `begun` or `left`.
        """
        events: queue.Queue[Event] = queue.Queue()
        self._threads = [threading.Thread(target=job.train, args=(events,)) for job in self._jobs]
        for thread in self._threads:
            thread.start()
        try:
            self._listen(events, heard)
        except KeyboardInterrupt:
            self.stop()
            self._drain(events)
        for thread in self._threads:
            thread.join()
        return list(self._outcomes.values())

    def stop(self) -> None:
        """Ask all jobs to keep what they have and to end, and wait until they did."""
        for job in self._jobs:
            job.stop()
        for thread in self._threads:
            thread.join(_PATIENCE)
        for job in self._jobs:
            job.kill()

    def _listen(self, events: "queue.Queue[Event]", heard: Callable[[Event], None]) -> None:
        working = len(self._jobs)
        while working:
            event = events.get()
            working -= event["event"] == "over"
            self._note(event)
            heard(event)

    def _drain(self, events: "queue.Queue[Event]") -> None:
        while not events.empty():
            self._note(events.get())

    def _note(self, event: Event) -> None:
        run = event.get("run", "")
        match event["event"]:
            case "at" if self._outcomes[run].status == "left":
                self._outcomes[run] = Outcome(run, "begun")
            case "resumed" | "kept":
                self._outcomes[run] = Outcome(run, "kept", iteration=event["iteration"])
            case "end":
                self._outcomes[run] = Outcome(
                    run,
                    "trained",
                    made=event["iterations"],
                    accuracy=event["accuracy"],
                    seconds=event["seconds"],
                )
            case "failed":
                self._outcomes[run] = Outcome(run, "failed", event["reason"])


class _Job:
    """Runs that are trained one after the other, past those that fail."""

    def __init__(
        self,
        configs: list[Config],
        count: int,
        study: Mapping[str, Mapping[str, Any]],
        jobs: int,
    ) -> None:
        self._left = configs
        self._count = count
        self._study = study
        self._jobs = jobs
        self._training: Training | None = None
        self._stopped = False

    def train(self, events: "queue.Queue[Event]") -> None:
        """Put all that is told on the queue, then `{"event": "over"}`."""
        try:
            while self._left and not self._stopped:
                self._once(events)
        finally:
            events.put({"event": "over"})

    def stop(self) -> None:
        self._stopped = True
        if self._training is not None:
            self._training.stop()

    def kill(self) -> None:
        if self._training is not None:
            self._training.kill()

    def _once(self, events: "queue.Queue[Event]") -> None:
        """Train until all are done or one failed; a start that fails would fail for all."""
        self._training = Training(self._left, self._count, study=self._study, jobs=self._jobs)
        if self._stopped:  # meanwhile
            return
        met = 0
        try:
            for event in self._training.events():
                met += event["event"] == "start"
                if event["event"] == "end":
                    self._left = self._left[1:]
                events.put(event)
        except (TrainingError, OSError) as error:
            failed = self._left[:1] if met else self._left
            for config in failed:
                events.put({"event": "failed", "run": config.run, "reason": str(error)})
            self._left = self._left[len(failed) :]
        else:
            self._left = []
