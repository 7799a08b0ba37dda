"""Attaching probes to a model and its optimizer."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffusion.schedule import log_spaced

from .description import attributes, check_scalars, coordinates
from .processes import parameter_names, processes_of
from .recorder import Recorder
from .store import SegmentStore
from .writer import RecordingWriter

# A default schedule must not end before the run does.
_LAST = 10**9
_PROBES = frozenset({"distance", "noise"})


def attach(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    path: str | Path,
    *,
    batch_size: int,
    probes: Collection[str] | None = None,
    schedule: Sequence[int] | NDArray[np.integer] | None = None,
    metadata: Mapping[str, Any] | None = None,
    flush_seconds: float = 60.0,
) -> "Recorder":
    """Attach probes to a training run; the weights at this moment are w0.

    Attach after wrapping the model in DistributedDataParallel, on every process. Weight distance,
    learning rate,
    samples and times are always recorded; the loss when it is observed; gradient noise by default.

    A *unit* is one backward pass on one process. Units are taken to be equal: each holds
    batch_size/units samples
    and the losses are scaled so that gradients add up to the update's mean gradient (divide the
    loss of each of k
    accumulated microbatches by k). Where they are not, declare each with `Recorder.unit`.

    Arguments:
        model: the module, or its DistributedDataParallel wrapper.
        optimizer: the optimizer of the model's parameters; one step is one iteration.
        path: where to record: a live folder of this name, closed to `path` + `.nc`; written by
            rank 0.
        batch_size: samples in an update over all processes, M.
        probes: which probes to run, of `distance` (always on) and `noise`; all when None.
        schedule: iterations to record at; 0 and the last iteration are always recorded. Log-spaced
            when None.
        metadata: of the run. Keys that `diffusion.recording.FIELDS` declares without dimensions
            (seed, model, data,
            scaling, …) become coordinates, the rest is stored as JSON.
        flush_seconds: about how much time may be lost when the process is killed.

    Returns:
        The recorder, a context manager.

    Raises:
        ValueError: for a model without trainable parameters, an optimizer that does not own them,
            a recorder that is
            already attached, or an argument out of range.
        FileExistsError: when there is already a recording at `path`.
    """
    tensors = parameter_names(model)
    metadata = metadata or {}
    _check(optimizer, tensors, batch_size=batch_size, probes=probes)
    check_scalars(metadata)
    store = SegmentStore(path)
    processes = processes_of(model)
    static = {
        "run": store.folder.name,
        "batch_size": batch_size,
        "world_size": processes.size,
        "tensor": list(tensors),
        "tensor_size": [parameter.numel() for parameter in tensors.values()],
        **coordinates(optimizer, metadata),
    }
    noise = probes is None or "noise" in probes
    writer = RecordingWriter(store, static, attributes(metadata), noise)
    return Recorder(
        list(tensors.values()),
        optimizer,
        writer,
        processes=processes,
        batch_size=batch_size,
        schedule=_schedule(schedule),
        flush_seconds=flush_seconds,
    )


def _schedule(schedule: Sequence[int] | NDArray[np.integer] | None) -> frozenset[int]:
    if schedule is None:
        return frozenset(log_spaced(_LAST).tolist())
    iterations = np.asarray(schedule)
    if (
        iterations.ndim != 1
        or iterations.dtype.kind not in "iu"
        or np.any(np.diff(iterations) <= 0)
    ):
        raise ValueError(f"schedule: found {schedule!r}, expected increasing integers")
    return frozenset(iterations.tolist())


def _check(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, torch.nn.Parameter],
    *,
    batch_size: int,
    probes: Collection[str] | None,
) -> None:
    if not tensors:
        raise ValueError("model: found no trainable parameter, expected at least one")
    owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    strange = [name for name, parameter in tensors.items() if id(parameter) not in owned]
    if strange:
        raise ValueError(
            f"optimizer: does not own {len(strange)} of the model's {len(tensors)} trainable "
            f"parameters, the first is {strange[0]!r}"
        )
    if batch_size < 1:
        raise ValueError(
            f"batch_size: found {batch_size}, expected samples in an update, 1 or more"
        )
    unknown = sorted(set(probes or ()) - _PROBES)
    if unknown:
        raise ValueError(f"probes: found {unknown}, expected names of {sorted(_PROBES)}")
    hooks = optimizer._optimizer_step_post_hooks.values()
    if any(isinstance(getattr(hook, "__self__", None), Recorder) for hook in hooks):
        raise ValueError("optimizer: a recorder is already attached to it; close that one first")
