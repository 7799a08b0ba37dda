"""Which processes train a run together, what each holds, and the collective that probes need."""

import gc
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.nn.parallel import DataParallel, DistributedDataParallel

_T = TypeVar("_T")


@dataclass(frozen=True)
class Processes:
    """The processes whose gradients are averaged; rank 0 of them writes the recording.

    Arguments:
        size: number of processes, W.
        rank: this one's place among them.
        groups: process groups that cover them; summing over one after the other sums over all.
        copies: how many of them hold the same weights: all under DDP, one under FSDP2, the
            replicas under HSDP.
        by_hand: whether the training loop averages gradients itself, after the backward pass.
        ranks: their places among all processes of the program.
    """

    size: int = 1
    rank: int = 0
    groups: tuple[dist.ProcessGroup, ...] = ()
    copies: int = 1
    by_hand: bool = False
    ranks: tuple[int, ...] = field(default=(), compare=False)

    @property
    def writes(self) -> bool:
        """Whether this process writes the recording."""
        return self.rank == 0

    def add(self, values: Tensor) -> Tensor:
        """Sum over processes, in place where there are several."""
        for group in self.groups:
            dist.all_reduce(values, group=group)
        return values

    @property
    def sharded(self) -> bool:
        """Whether each holds a part of the weights only."""
        return self.copies < self.size

    def add_parts(self, values: Tensor) -> Tensor:
        """Sum over the processes that hold parts of the weights; the values where each holds all.

        A collective only where weights are sharded.
        """
        return self.add(values) / self.copies if self.sharded else values


def processes_of(
    model: torch.nn.Module, given: dist.ProcessGroup | bool | None = None
) -> Processes:
    """The processes of a module: several under DDP, FSDP2 and HSDP, else those given, or this one.

    Arguments:
        model: as it is trained.
        given: the processes that average gradients by hand, True for all there are; None or False
            where none do.

    Raises:
        ValueError: for weights that are distributed in another way, or processes that are none.
    """
    wrapper = _undecorated(model)
    sharded = [p for p in model.parameters() if isinstance(p, DTensor)]
    if given and (sharded or isinstance(wrapper, DistributedDataParallel)):
        raise ValueError(
            f"processes: found {given} with a model that is wrapped and tells its own; leave "
            "processes out"
        )
    if isinstance(wrapper, DistributedDataParallel):
        return _all_alike(wrapper.process_group)
    if sharded:
        return _mesh_processes(sharded)
    return _by_hand(given) if given else Processes()


def _by_hand(given: dist.ProcessGroup | bool) -> Processes:
    if not dist.is_initialized():
        raise ValueError(
            f"processes: found {given} before torch.distributed.init_process_group was called"
        )
    group = dist.distributed_c10d._get_default_group() if given is True else given
    if not isinstance(group, dist.ProcessGroup) or dist.get_rank(group) < 0:
        raise ValueError(
            f"processes: found {given!r}, expected a process group of which this process is one, "
            "or True for all processes"
        )
    return replace(_all_alike(group), by_hand=True)


def _all_alike(group: dist.ProcessGroup) -> Processes:
    """The processes of a group, each of which holds all weights."""
    size = dist.get_world_size(group)
    ranks = tuple(dist.get_process_group_ranks(group))
    return Processes(size, dist.get_rank(group), (group,), size, ranks=ranks)


def fail_together(
    processes: Processes,
    action: Callable[[], _T],
    *,
    device: torch.device,
    elsewhere: Callable[[], Exception],
) -> _T:
    """Act on this process; where one process fails, all do: the others wait in a collective.

    Arguments:
        processes: that all make this call.
        action: what to do on this one.
        device: of the collective.
        elsewhere: the error of those on which nothing failed, when another did.

    Returns:
        What the action returned here.
    """
    fault, result = None, None
    try:
        result = action()
    except Exception as error:
        fault = error
    failed = torch.tensor(float(fault is not None), device=device)
    failures = float(processes.add(failed))
    if fault is not None:
        raise fault
    if failures:
        raise elsewhere()
    return result  # type: ignore[return-value]


def in_step(
    processes: Processes,
    action: Callable[[], _T],
    *,
    device: torch.device,
    what: str,
    always: bool = False,
) -> _T:
    """Act on this process; fail together where weights are sharded, and so the others would wait.

    Arguments:
        processes: that all make this call.
        action: what to do on this one.
        device: of the collective.
        what: fails, as the error of the others names it.
        always: to fail together also where each process holds all weights.
    """
    if not (always or processes.sharded):
        return action()
    return fail_together(
        processes,
        action,
        device=device,
        elsewhere=lambda: RuntimeError(f"{what}: failed on another process"),
    )


def leave() -> NoReturn:
    """End this process of a group, in success; nothing after the call is run, nor at exit.

    The interpreter is not shut down: one of Gloo's threads may still hold tensors of the last
    collective, and when it drops them meanwhile, the process aborts and with it all the others
    (torch 2.13, <https://github.com/pytorch/pytorch/issues/190489>).
    """
    gc.collect()  # networks hold the processes' connections; these must not outlive the group
    dist.barrier()
    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether the module's weights are sharded by `fully_shard`."""
    return any(isinstance(module, FSDPModule) for module in model.modules())


def resharded(model: _T) -> _T:
    """A model of `fully_shard` with the parameters that its optimizer has; others as they are.

    A forward pass leaves those of the outermost module gathered, also one that has only evaluated;
    they are gathered anew where they are needed.
    """
    for module in model.modules() if isinstance(model, torch.nn.Module) else ():
        if isinstance(module, FSDPModule):
            module.reshard()
    return model


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def first_index(tensor: Tensor) -> int:
    """Position of the first local value in the whole tensor, row-major.

    `fully_shard` cuts the first dimension into chunks of equal length, the last ones shorter.

    Raises:
        ValueError: for a tensor that is cut along another dimension.
    """
    if not isinstance(tensor, DTensor):
        return 0
    axes = [axis for axis, placement in enumerate(tensor.placements) if placement.is_shard()]
    if any(not tensor.placements[axis].is_shard(0) for axis in axes) or len(axes) > 1:
        raise ValueError(
            f"parameter: found {tensor.placements}, expected one cut along dimension 0"
        )
    rows = tensor.shape[0]
    start = 0
    for axis in axes:
        chunk = -(-rows // tensor.device_mesh.shape[axis])
        start = min(tensor.device_mesh.get_local_rank(axis) * chunk, rows)
    return start * (tensor.numel() // rows if rows else 0)


def part_like(whole: Tensor, tensor: Tensor) -> Tensor:
    """What this process would hold of a whole tensor that is sharded like another of its shape."""
    mine, start = local(tensor), first_index(tensor)
    return whole.reshape(-1)[start : start + mine.numel()].view(mine.shape)


def parameter_names(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Trainable parameters by the name they have in the unwrapped model.

    Shared ones come once, and those without any value not at all.

    >>> list(parameter_names(torch.nn.Linear(2, 1)))
    ['weight', 'bias']
    """
    wrapped = isinstance(_undecorated(model), DistributedDataParallel | DataParallel)
    prefix = "module." if wrapped else ""
    return {
        name.replace("_orig_mod.", "").removeprefix(prefix): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.numel()
    }


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The module within DistributedDataParallel, which can be called by one process alone."""
    wrapper = _undecorated(model)
    return wrapper.module if isinstance(wrapper, DistributedDataParallel) else model


def within_wrapper(model: torch.nn.Module) -> bool:
    """Whether the module is that within a DistributedDataParallel.

    DDP leaves no trace on the module, so it is looked for among all live objects, which takes some
    milliseconds.
    """
    if not dist.is_initialized() or unwrapped(model) is not model:
        return False
    wrappers = (o for o in gc.get_objects() if type(o) is DistributedDataParallel)
    inner = _undecorated(model)
    return any(_undecorated(wrapper.module) is inner for wrapper in wrappers)


def was_wrapped(model: torch.nn.Module, parameters: Sequence[torch.nn.Parameter]) -> bool:
    """Whether a module was distributed since these parameters were read from it.

    `fully_shard` replaces the parameters; of those that are frozen or thawed nothing is replaced.
    Where it had replaced them before, those that are gathered just now are still the model's.
    """
    own = [tensor.sharded_param for tensor, _ in sharded_parameters(model)]
    now = {id(parameter) for parameter in (*model.parameters(), *own)}
    return any(id(parameter) not in now for parameter in parameters) or within_wrapper(model)


def sharded_parameters(model: torch.nn.Module) -> Iterator[tuple[Any, Any]]:
    """What `fully_shard` knows of each parameter, with the group that it is gathered in."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            for group in module._get_fsdp_state()._fsdp_param_groups:
                for parameter in group.fsdp_params:
                    yield parameter, group


def wrapped_late(model: torch.nn.Module, parameters: Sequence[torch.nn.Parameter]) -> str:
    """What to say of a module that was distributed after these were read; empty where not."""
    if not was_wrapped(model, parameters):
        return ""
    return (
        "the model was wrapped, or layers of it were replaced, after the probes were attached, so "
        "they do not see the whole run; replace and wrap first, then attach"
    )


def _mesh_processes(parameters: Sequence[DTensor]) -> Processes:
    layouts = {(p.device_mesh, tuple(map(str, p.placements))) for p in parameters}
    mesh, placements = parameters[0].device_mesh, parameters[0].placements
    if len(layouts) > 1 or not all(isinstance(p, Shard | Replicate) for p in placements):
        found = sorted({str(layout) for _, layout in layouts})
        raise ValueError(
            f"model: found weights distributed as {found}, "
            "expected one mesh of fully_shard, sharded or replicated and sharded"
        )
    coordinate = mesh.get_coordinate() or [0] * mesh.ndim
    rank = 0
    for index, length in zip(coordinate, mesh.shape, strict=True):
        rank = rank * length + index
    replicated = [
        s for s, p in zip(mesh.shape, placements, strict=True) if isinstance(p, Replicate)
    ]
    everyone = mesh.size() == dist.get_world_size()
    axes = [mesh.get_group(axis) for axis in range(mesh.ndim)]
    groups = (dist.distributed_c10d._get_default_group(),) if everyone else tuple(axes)
    ranks = tuple(mesh.mesh.flatten().tolist())
    return Processes(mesh.size(), rank, groups, math.prod(replicated), ranks=ranks)


def may_join(model: torch.nn.Module) -> bool:
    """Whether processes may run out of data before others, within DDP's `join`."""
    return bool(getattr(getattr(_undecorated(model), "_join_config", None), "enable", False))


def _undecorated(model: torch.nn.Module) -> torch.nn.Module:
    """The module that `torch.compile` was given."""
    inner = getattr(model, "_orig_mod", model)
    return inner if isinstance(inner, torch.nn.Module) else model
