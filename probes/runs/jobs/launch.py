"""Starting reference runs on several processes, and hearing how they go.

One torchrun trains a whole list of runs, because starting processes and reading images takes time.
It writes one JSON object a line on its standard output; everything else it prints is kept for the
case that it fails.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from ultraslow.probes.distributed import SILENCE, SilenceError, lines, torchrun
from ultraslow.probes.runs.config import Config, ConfigError

# Processes on a machine without GPUs when nothing else is asked for.
_CPU_PROCESSES = 2
# The C library gives large blocks back to the system when they are freed, and every activation is
# one: a tenth of the time of updates on the host went into getting their pages anew. Now they are
# kept (glibc's mallopt(3); other libraries do not read these).
_KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**26),
}


class TrainingError(RuntimeError):
    """A training that ended before its time; the message is what its processes said of it."""


def processes(config: Config) -> int:
    """How many processes a run trains on: as many as asked for, else one a GPU, or 2 without.

    Raises:
        ConfigError: when the machine has fewer GPUs than the run needs.
    """
    if config.device == "cpu":
        return config.processes or _CPU_PROCESSES
    import torch

    found = torch.cuda.device_count()
    count = config.processes or found or _CPU_PROCESSES
    if count > found and (found or config.device == "cuda"):
        raise ConfigError(
            config.run,
            [f"device: found {found} GPUs, expected {count}, one a process, or device cpu"],
        )
    return count


class Training:
    """One torchrun that trains runs one after the other on this machine."""

    def __init__(
        self,
        configs: Sequence[Config],
        count: int,
        *,
        study: Mapping[str, Mapping[str, Any]] | None = None,
        jobs: int = 1,
        silence: float = SILENCE,
    ) -> None:
        """Declare what to train; nothing is started yet.

        Arguments:
            configs: the runs, already checked.
            count: number of processes.
            study: by name of a run what its recording shall say of it beside its settings.
            jobs: trainings that share this machine's cores, this one among them.
            silence: seconds without a word from the processes after which they are ended.
        """
        self._configs = list(configs)
        self._count = count
        self._study = study or {}
        self._jobs = jobs
        self._silence = silence
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def events(self) -> Iterator[Mapping[str, Any]]:
        """Train, yielding what the processes tell; closing the iterator stops them.

        Yields:
            `{"event": "start"}` when the processes have met; `{"event": "at", "run", "iteration",
            "loss"}` now and then; `{"event": "end", "run", "accuracy", "seconds", "iterations"}`
            after each run, with the held-out accuracy, the time that its updates took and how many
            these were; `{"event": "images", "run", "sha256", "expected"}` where the pixels are not
            those of the recipe.

        Raises:
            TrainingError: when a process failed or all were silent for too long; the message names
                the file that holds their output. After `stop` there is no such error.
        """
        Path(self._configs[0].folder).mkdir(parents=True, exist_ok=True)
        faults: list[str] = []
        left = [config.run for config in self._configs]
        with tempfile.TemporaryDirectory(prefix="ultraslow-") as scratch:
            output = Path(scratch, "output.txt")
            with output.open("w", encoding="utf-8") as kept:
                try:
                    for event in self._heard(self._list(Path(scratch, "runs.json")), kept):
                        if event["event"] == "fault":
                            faults.append(f"process {event['rank']}: {event['message']}")
                            continue
                        if event["event"] == "end":
                            left.remove(event["run"])
                        yield event
                except SilenceError as error:
                    faults.append(str(error))
            # A process that dies while it exits has lost nothing: every recording is closed.
            if self._status and left and not self._stopped:
                reason = _explanation(faults, output, self._configs[0].path.with_name(left[0]))
                raise TrainingError(reason)

    def stop(self) -> None:
        """Ask the processes to keep what they can and to end; another thread may call it."""
        self._stopped = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End torchrun now; its processes notice, keep what they have and end.

        One that hangs ends itself after half a minute, see `probes.distributed.children`.
        """
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    @property
    def _status(self) -> int:
        return self._process.returncode if self._process is not None else 0

    def _list(self, path: Path) -> Path:
        """The file that tells the processes what to train."""
        runs = [
            {"settings": asdict(config), "study": self._study.get(config.run, {})}
            for config in self._configs
        ]
        path.write_text(json.dumps(runs), encoding="utf-8")
        return path

    def _heard(self, runs: Path, kept: IO[str]) -> Iterator[Mapping[str, Any]]:
        arguments = [
            "--nproc-per-node",
            str(self._count),
            "-m",
            "ultraslow.probes.runs.training.train",
            str(runs),
        ]
        environment = _environment(self._count * self._jobs)
        with torchrun(arguments, environment=environment, stderr=kept) as self._process:
            if self._stopped:  # before it was started
                self.stop()
            for line in lines(self._process, silence=self._silence):
                event = _event(line)
                if event is None:
                    kept.write(line)
                else:
                    yield event


def _environment(count: int) -> dict[str, str]:
    """The environment of so many processes: what the user set, and what one machine needs."""
    threads = max(1, (os.cpu_count() or 1) // count)
    # Names of hosts need not resolve on a laptop or in a container; the loopback always does.
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    return {
        "OMP_NUM_THREADS": str(threads),
        # The process that forks workers imports numpy, and must have one thread when it forks.
        "OPENBLAS_NUM_THREADS": "1",
        **_KEPT_MEMORY,
        **loopback,
        **os.environ,
    }


def _event(line: str) -> Mapping[str, Any] | None:
    """The event on a line of output, or None where the line is something else."""
    if not line.startswith('{"event":'):
        return None
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _explanation(faults: list[str], output: Path, run: Path) -> str:
    kept = run.with_name(f"{run.name}-output.txt")
    text = output.read_text(encoding="utf-8", errors="replace")
    kept.write_text(text, encoding="utf-8")
    # Whose fault was the cause and who only lost the others is for the reader to judge.
    causes = sorted(faults) or [_exit_code(text)]
    return "\n  ".join([f"training of {run.name} failed", *causes, f"all output is in {kept}"])


def _exit_code(text: str) -> str:
    """What torchrun says of processes that could not say anything themselves."""
    lines = [line.strip() for line in text.splitlines()]
    found = [line for line in lines if line.startswith(("exitcode", "traceback"))]
    if found:
        return f"a process ended with {found[0]}"
    said = [line for line in lines if line]
    return (
        f"the processes ended, their last words were: {said[-1]}" if said else "they said nothing"
    )
