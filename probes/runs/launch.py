"""Starting reference runs on several processes, and hearing how they go.

One torchrun trains a whole list of runs, because starting processes costs seconds. It writes one
JSON object a line on its standard output; everything else it prints is kept for the case that it
fails.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from .config import Config, ConfigError

# Processes on a machine without GPUs when nothing else is asked for.
_CPU_PROCESSES = 2
# Seconds that processes have to end after they were asked to.
_PATIENCE = 10.0


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


def events(configs: Sequence[Config], count: int) -> Iterator[Mapping[str, Any]]:
    """Train runs one after the other on `count` processes, yielding what these tell.

    Arguments:
        configs: the runs, already checked.
        count: number of processes.

    Yields:
        `{"event": "start"}` when the processes have met; `{"event": "at", "run", "iteration",
        "loss"}` now and then; `{"event": "end", "run", "accuracy", "seconds"}` after each run,
        with the held-out accuracy and the time that its updates took.

    Raises:
        TrainingError: when a process failed; the message names the file that holds its output.
    """
    folder = Path(configs[0].folder)
    folder.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    left = {config.run for config in configs}
    with tempfile.TemporaryDirectory(prefix="ultraslow-") as scratch:
        runs, output = Path(scratch, "runs.json"), Path(scratch, "output.txt")
        runs.write_text(json.dumps([asdict(config) for config in configs]), encoding="utf-8")
        with output.open("w", encoding="utf-8") as kept, _started(runs, count, kept) as process:
            for event in _heard(process, kept):
                if event["event"] == "fault":
                    faults.append(f"process {event['rank']}: {event['message']}")
                    continue
                if event["event"] == "end":
                    left.discard(event["run"])
                yield event
        # A process that dies while it exits has lost nothing: every recording is closed.
        if process.returncode and left:
            raise TrainingError(_explanation(faults, output, folder))


def _heard(process: subprocess.Popen[str], kept: IO[str]) -> Iterator[Mapping[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        event = _event(line)
        if event is None:
            kept.write(line)
        else:
            yield event


@contextmanager
def _started(runs: Path, count: int, kept: IO[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(count), "-m", "probes.runs.train", str(runs)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=kept, text=True, env=_environment(count)
    )
    with process:  # waits and closes the pipe
        try:
            yield process
        except BaseException:
            _stop(process)
            raise


def _environment(count: int) -> dict[str, str]:
    """The environment of the processes: what the user set, and what one machine needs."""
    threads = max(1, (os.cpu_count() or 1) // count)
    # Names of hosts need not resolve on a laptop or in a container; the loopback always does.
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    return {"OMP_NUM_THREADS": str(threads), **loopback, **os.environ}


def _stop(process: subprocess.Popen[str]) -> None:
    """End a torchrun; it ends its processes when it is told to end."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _event(line: str) -> Mapping[str, Any] | None:
    """The event on a line of output, or None where the line is something else."""
    if not line.startswith('{"event":'):
        return None
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _explanation(faults: list[str], output: Path, folder: Path) -> str:
    kept = folder / "training-output.txt"
    text = output.read_text(encoding="utf-8", errors="replace")
    kept.write_text(text, encoding="utf-8")
    # Whose fault was the cause and who only lost the others is for the reader to judge.
    causes = sorted(faults) or [_exit_code(text)]
    return "\n  ".join(["training failed", *causes, f"all output is in {kept}"])


def _exit_code(text: str) -> str:
    """What torchrun says of a process that could not say anything itself."""
    found = [line.strip() for line in text.splitlines() if line.strip().startswith("exitcode")]
    return f"a process ended with {found[-1]}" if found else "torchrun could not start it"
