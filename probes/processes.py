"""Which processes train a run together, and the one collective that probes need."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """The processes whose gradients are averaged; rank 0 of them writes the recording."""

    size: int = 1
    rank: int = 0
    group: dist.ProcessGroup | None = None

    @property
    def writes(self) -> bool:
        """Whether this process writes the recording."""
        return self.rank == 0

    def add(self, values: Tensor) -> Tensor:
        """Sum over processes, in place where there are several."""
        if self.group is not None:
            dist.all_reduce(values, group=self.group)
        return values


def processes_of(model: torch.nn.Module) -> Processes:
    """The processes of a module: several under DistributedDataParallel, else this one alone."""
    if not isinstance(model, DistributedDataParallel):
        return Processes()
    group = model.process_group
    return Processes(dist.get_world_size(group), dist.get_rank(group), group)


def parameter_names(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Trainable parameters by the name they have in the unwrapped model; shared ones once.

    >>> list(parameter_names(torch.nn.Linear(2, 1)))
    ['weight', 'bias']
    """
    return {
        name.replace("_orig_mod.", "").removeprefix(
            "module." if isinstance(model, DistributedDataParallel) else ""
        ): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
