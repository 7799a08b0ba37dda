"""How a run is made parallel, where the probes cannot follow it: refused by name.

What is averaged over which processes decides every number of a recording. Where that cannot be
known, or where the tensors that a module shows are not those that are trained, nothing is
recorded. Libraries are recognised by the names of their modules and not imported.
"""

import gc
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.tensor import DTensor

from .meetings import said_by_all
from .processes import sharded_parameters, unwrapped

_WHAT_WORKS = (
    "what can be recorded is DistributedDataParallel, also with ZeroRedundancyOptimizer, and "
    "fully_shard of torch.distributed.fsdp"
)


class _Foreign(NamedTuple):
    """A library that trains in its own way.

    Arguments:
        module: the beginning of its modules' names.
        name: as people call it.
        does: what hides the numbers.
    """

    module: str
    name: str
    does: str


_FLAT = "keeps weights and gradients in flat buffers of its own"
_REDUCES = "averages gradients out of sight"
_FOREIGN = (
    _Foreign("deepspeed.runtime.", "DeepSpeed", _FLAT),
    _Foreign("deepspeed.pipe.", "DeepSpeed", "cuts the model into the stages of a pipeline"),
    _Foreign("megatron.", "Megatron", _FLAT),
    _Foreign("fairscale.nn.", "FairScale", _FLAT),
    _Foreign("apex.parallel.", "Apex", _REDUCES),
    _Foreign("apex.contrib.optimizers.", "Apex", _FLAT),
    _Foreign("horovod.", "Horovod", _REDUCES),
    _Foreign("colossalai.", "Colossal-AI", _FLAT),
)


def refuse_unseen(model: object, optimizer: object) -> None:
    """Refuse what hides weights or gradients from the probes.

    Arguments:
        model: as it was given, of whatever type.
        optimizer: of whatever type, and those that it wraps.

    Raises:
        ValueError: naming what was found and what works instead.
    """
    for one in _within(optimizer):
        _refuse_foreign("optimizer", one)
    if not isinstance(model, torch.nn.Module):
        return
    for module in model.modules():
        _refuse_foreign("model", module)
    if any(getattr(parameter, "tensor_model_parallel", False) for parameter in model.parameters()):
        raise ValueError(f"model: found tensor parallelism as Megatron makes it; {_WHAT_WORKS}")
    if _is_flat(model):
        raise ValueError(
            "model: found FullyShardedDataParallel (FSDP1), which shows flat shards in place of "
            "the tensors; shard the model with torch.distributed.fsdp.fully_shard (FSDP2), and "
            "attach to that"
        )
    _refuse_tensor_parallel(model)
    if _is_stage(model):
        raise ValueError(
            "model: found a stage of a pipeline, which holds a part of the network only; "
            f"{_WHAT_WORKS}"
        )


def refuse_one_path(
    folder: Path, model: torch.nn.Module, *, told: bool, notice: Callable[[], None]
) -> None:
    """Ask about several processes whose model does not tell whether they train together.

    Those that would record at one path are refused, all of them; else there is a warning. It may
    take half a minute, where some do not record.

    Arguments:
        folder: of the recording.
        model: as it was given.
        told: whether the user has said which processes train together, or that none do.
        notice: called when the others are waited for.

    Raises:
        ValueError: on all processes, where several of them give one path.
    """
    if told or not dist.is_initialized() or dist.get_world_size() == 1:
        return
    if unwrapped(model) is not model or any(isinstance(p, DTensor) for p in model.parameters()):
        return
    words = str(folder.resolve())
    given = Counter(said_by_all("`attach` a bare model", words, notice=lambda _: notice()))
    path, most = given.most_common(1)[0]
    _first_at(words)
    if most > 1:
        raise ValueError(
            f"path: {most} processes of one group record at one path, {path}; pass processes=True "
            "if you average gradients yourself, processes=False and a path for each rank if not"
        )
    warnings.warn(
        f"recording {folder}: {dist.get_world_size()} processes run and the model is not "
        "wrapped, so that what this process sees is recorded as the whole; where gradients "
        "are averaged by hand, attach with processes=True, where each process trains a model "
        "of its own, with processes=False",
        RuntimeWarning,
        stacklevel=4,
    )


def explained(error: FileExistsError, folder: Path) -> FileExistsError:
    """The error, with its cause where another process of this program has come first.

    It has waited for this one, given up and recorded alone.

    Arguments:
        error: as this process found a recording.
        folder: where.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return error
    first, rank = _first_at(str(folder.resolve())), dist.get_rank()
    if first in (-1, rank):
        return error
    return FileExistsError(
        f"path: processes {first} and {rank} came to `attach` at {folder} too far apart, so that "
        f"they did not meet and process {first} records there alone: call "
        "torch.distributed.barrier() before us.attach on all of them, and pass processes=True if "
        f"you average gradients yourself, processes=False and a path for each if not ({error})"
    )


def _first_at(path: str) -> int:
    """The first process that attached a bare model at a path, this one perhaps; −1 if unknown."""
    store = dist.PrefixStore("ultraslow paths", dist.distributed_c10d._get_default_store())
    try:
        return int(bytes(store.compare_set(path, "", str(dist.get_rank()))))
    except RuntimeError:  # the store is gone
        return -1


def _within(optimizer: Any) -> Iterator[object]:
    """The optimizer and those that it wraps."""
    known: set[int] = set()
    while optimizer is not None and id(optimizer) not in known:
        known.add(id(optimizer))
        yield optimizer
        optimizer = vars(optimizer).get("optimizer") if hasattr(optimizer, "__dict__") else None


def _refuse_foreign(argument: str, found: object) -> None:
    modules = [f"{kind.__module__}." for kind in type(found).__mro__]
    for library in _FOREIGN:
        if any(module.startswith(library.module) for module in modules):
            raise ValueError(
                f"{argument}: found {type(found).__name__} of {library.name}, which "
                f"{library.does}; {_WHAT_WORKS}"
            )


def _is_flat(model: torch.nn.Module) -> bool:
    """Whether FSDP1 holds the weights of the module, from within or from without."""
    if any(isinstance(module, FullyShardedDataParallel) for module in model.modules()):
        return True
    if not dist.is_initialized():
        return False
    wrappers = (o for o in gc.get_objects() if type(o) is FullyShardedDataParallel)
    inner = set(map(id, model.modules()))
    return any(id(module) in inner for wrapper in wrappers for module in wrapper.modules())


def _refuse_tensor_parallel(model: torch.nn.Module) -> None:
    """Refuse weights that are cut over more processes than average gradients."""
    meshes = {
        id(parameter.sharded_param): group.mesh_info.mesh
        for parameter, group in sharded_parameters(model)
    }
    for name, parameter in model.named_parameters():
        if not isinstance(parameter, DTensor):
            continue
        mesh, data = parameter.device_mesh, meshes.get(id(parameter))
        if data is None or mesh.ndim > data.ndim:
            axes = mesh.mesh_dim_names or tuple(map(str, range(mesh.ndim)))
            raise ValueError(
                f"model: found tensor parallelism: {name} is cut as {parameter.placements} over "
                f"the mesh {dict(zip(axes, mesh.shape, strict=True))}, and not by fully_shard "
                f"alone; {_WHAT_WORKS}"
            )


def _is_stage(model: torch.nn.Module) -> bool:
    """Whether the module is what a stage of a pipeline runs."""
    stages = sys.modules.get("torch.distributed.pipelining.stage")
    if stages is None or not dist.is_initialized():
        return False
    base = stages._PipelineStageBase
    running = (o.submod for o in gc.get_objects() if issubclass(type(o), base))
    inner = unwrapped(model)
    return any(unwrapped(module) is inner for module in running)
