"""Checkpoints of reference runs, from which an interrupted one goes on exactly.

A checkpoint is one file beside the recording. It holds the weights, the optimizer, and for each
process its buffers, random states and recorder. The order of the images is not in it: that is a
function of the seed, and a run that goes on draws it again up to where it was.

It is read with `torch.load(..., weights_only=True)`, which runs no code from the file.
"""

import glob
import os
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from ultraslow.diffusion.recording import whole_file

SUFFIX = ".checkpoint"
# Of the checkpoint that a finished run leaves, from which a longer one goes on.
LAST_SUFFIX = ".last-checkpoint"
# Seconds of training that a kill costs at most. A checkpoint takes a fraction of a second.
KEEP_SECONDS = 120.0
# About how often processes ask each other whether to go on: a small collective each time.
_ASK_SECONDS = 1.0
# Generators of a run by name; those that torch itself draws from are kept in any case.
Generators = Mapping[str, torch.Generator]
Decision = Literal["go", "keep", "stop"]


class Interrupted(Exception):
    """The run was asked to stop, and its checkpoint is on disk."""


def checkpoint_of(path: Path) -> Path:
    """The checkpoint beside a recording.

    Arguments:
        path: of the recording, without its ending.

    >>> checkpoint_of(Path("runs/a")).name
    'a.checkpoint'
    """
    return path.with_name(path.name + SUFFIX)


def last_checkpoint_of(path: Path) -> Path:
    """The checkpoint that a finished run leaves beside its recording, one update before its end.

    The last iteration of a run is recorded because it is the last one; a longer run makes that
    update anew, and records where it would have recorded.

    Arguments:
        path: of the recording, without its ending.
    """
    return path.with_name(path.name + LAST_SUFFIX)


class Stop:
    """Whether this process shall stop: it was asked to, or the one that started it is gone."""

    def __init__(self) -> None:
        self._asked = False
        self._parent = os.getppid()

    def ask(self, *_: object) -> None:
        """Ask for it; a signal handler."""
        self._asked = True

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self._asked or os.getppid() != self._parent


class Keeper:
    """Decides, alike on all processes, after which updates a checkpoint is due.

    Processes look at their clocks and are told to stop at different moments. They ask each other
    about once a second, after the same update.
    """

    def __init__(
        self, stop: Stop, device: torch.device, *, first: int, seconds: float = KEEP_SECONDS
    ) -> None:
        """Begin.

        Arguments:
            stop: of this process.
            device: of the process, for its collectives.
            first: the first update that will be made.
            seconds: between checkpoints.
        """
        self._stop = stop
        self._device = device
        self._seconds = seconds
        self._unkept = 0.0
        self._last, self._next = first - 1, first
        self._looked = time.monotonic()

    def decide(self, iteration: int) -> Decision:
        """What to do after an update; all processes call it.

        Arguments:
            iteration: the update that was just made.
        """
        if iteration < self._next:
            return "go"
        now = time.monotonic()
        told = torch.tensor([now - self._looked, float(self._stop.asked)], dtype=torch.float64)
        elapsed, asked = self._largest(told).tolist()
        self._looked = now
        made = iteration - self._last
        self._last = iteration
        self._next = iteration + max(1, int(made * _ASK_SECONDS / max(elapsed, 1e-9)))
        self._unkept += elapsed
        if asked:
            return "stop"
        if self._unkept < self._seconds:
            return "go"
        self._unkept = 0.0
        return "keep"

    def _largest(self, values: Tensor) -> Tensor:
        values = values.to(self._device)
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return values


def keep(
    path: Path,
    iteration: int,
    model: nn.Module,
    optimizer: Optimizer,
    *,
    recorder: Mapping[str, Any],
    generators: Generators,
    images_sha256: str = "",
    last: bool = False,
) -> None:
    """Write a checkpoint; the old one is replaced at once or not at all.

    All processes call it, rank 0 writes.

    Arguments:
        path: of the recording, without its ending.
        iteration: the update that was just made.
        model: unwrapped.
        optimizer: of the run.
        recorder: the recorder's state on this process.
        generators: by name.
        images_sha256: digest of the images; empty where it is not known.
        last: whether it is the one that a finished run leaves.
    """
    own = {
        "recorder": dict(recorder),
        "buffers": {name: b.detach().cpu() for name, b in model.named_buffers()},
        "random": _random(generators),
    }
    parts: list[Any] = [None] * dist.get_world_size()
    dist.gather_object(own, parts if dist.get_rank() == 0 else None)
    if dist.get_rank():
        return
    whole = {
        "iteration": iteration,
        "weights": {name: p.detach() for name, p in model.named_parameters()},
        "optimizer": optimizer.state_dict(),
        "processes": parts,
        "images_sha256": images_sha256,
    }
    _replace(last_checkpoint_of(path) if last else checkpoint_of(path), whole)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """The checkpoint beside a recording, None where there is none; all processes call it.

    Arguments:
        path: of the recording, without its ending.

    Raises:
        ValueError: for a checkpoint of another number of processes.
    """
    file = checkpoint_of(path)
    recorded = path.is_dir() or path.with_name(f"{path.name}.nc").is_file()
    if not file.exists() or not recorded:
        return None
    found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    here, there = dist.get_world_size(), len(found["processes"])
    if here != there:
        raise ValueError(
            f"processes: found {here}, expected {there} as in {file}: batch statistics belong to"
            " processes, so a run goes on exactly on as many only"
        )
    return found


def kept_at(path: Path) -> int:
    """The iteration of the checkpoint beside a recording; 0 where there is none that can be read.

    Arguments:
        path: of the recording, without its ending.
    """
    try:
        found = torch.load(checkpoint_of(path), map_location="cpu", weights_only=True, mmap=True)
        return int(found["iteration"])
    except (OSError, RuntimeError, KeyError, pickle.UnpicklingError):
        return 0


def restore(
    found: Mapping[str, Any], model: nn.Module, optimizer: Optimizer, generators: Generators
) -> Mapping[str, Any]:
    """Put a checkpoint into a run.

    Arguments:
        found: as `read` gives it.
        model: unwrapped, of the same shape.
        optimizer: of the same kind.
        generators: by name.

    Returns:
        The state of this process's recorder.
    """
    own = found["processes"][dist.get_rank()]
    model.load_state_dict({**found["weights"], **own["buffers"]})
    optimizer.load_state_dict(found["optimizer"])
    torch.set_rng_state(own["random"]["torch"])
    if "cuda" in own["random"]:
        torch.cuda.set_rng_state(own["random"]["cuda"])
    for name, generator in generators.items():
        generator.set_state(own["random"][name])
    recorder: Mapping[str, Any] = own["recorder"]
    return recorder


def _random(generators: Generators) -> dict[str, Tensor]:
    states = {name: generator.get_state() for name, generator in generators.items()}
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return {"torch": torch.get_rng_state(), **states}


def _replace(file: Path, content: Mapping[str, Any]) -> None:
    for left in file.parent.glob(f".{glob.escape(file.name)}.*.tmp"):  # of one that was killed
        left.unlink(missing_ok=True)
    with whole_file(file) as stream:
        torch.save(dict(content), stream)
