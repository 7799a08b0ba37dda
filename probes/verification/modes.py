r"""The ways of training that `ultraslow verify` goes through, started under torchrun.

    python -m torch.distributed.run --standalone --nproc-per-node 4 \
        -m ultraslow.probes.verification.modes 400

prints one JSON object a mode.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from ultraslow.probes.distributed import end_with_torchrun, leave

from .toy import Verification, verify_toy

Mode = Callable[..., Verification]


def modes_alone() -> dict[str, Mode]:
    """Ways of training with one process."""
    here = partial(verify_toy, device=_device())
    compiled = partial(torch.compile, backend="aot_eager")
    return {
        "plain, 2 backward passes": partial(here, sizes=(16, 16)),
        "accumulated, 8 microbatches": partial(here, sizes=(4,) * 8),
        "unequal units": partial(here, sizes=(4, 28)),
        "float16 loss scaling": partial(
            here,
            scaler=torch.amp.GradScaler(_device().type, init_scale=2.0**12),
            autocast=torch.float16,
        ),
        "torch.compile": partial(here, compiled),
    }


def modes_together() -> dict[str, Mode]:
    """Ways of training with several processes; HSDP only where they make a square."""
    here = partial(verify_toy, device=_device())
    mesh = init_device_mesh(_device().type, (dist.get_world_size(),))
    sharded = partial(_shard, mesh=mesh)
    bfloat = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    modes: dict[str, Mode] = {
        "DDP": partial(here, DistributedDataParallel, sizes=(16,)),
        "DDP, no_sync": partial(
            here, DistributedDataParallel, sizes=(8, 8), accumulating=lambda m: m.no_sync()
        ),
        "torch.compile of DDP": partial(here, _compiled, sizes=(16,)),
        "DDP, own comm hook (fp16)": partial(here, _compressed, sizes=(16,)),
        "FSDP2": partial(here, sharded, sizes=(16,)),
        "FSDP2, accumulated": partial(here, sharded, sizes=(8, 8), accumulating=_without_sync),
        "FSDP2, bfloat16": partial(here, partial(sharded, mp_policy=bfloat), sizes=(16,)),
    }
    if dist.get_world_size() == 4:
        names = ("replicate", "shard")
        square = init_device_mesh(_device().type, (2, 2), mesh_dim_names=names)
        modes["HSDP, 2×2"] = partial(here, partial(_shard, mesh=square), sizes=(16,))
    return modes


def _compiled(model: nn.Module) -> nn.Module:
    """A wrapped module, compiled."""
    compiled: Any = torch.compile(DistributedDataParallel(model), backend="aot_eager")
    return compiled


def _compressed(model: nn.Module) -> DistributedDataParallel:
    """A module whose own communication hook halves what is sent."""
    wrapped = DistributedDataParallel(model)
    wrapped.register_comm_hook(None, fp16_compress_hook)
    return wrapped


def _shard(model: nn.Module, **options: Any) -> nn.Module:
    """Shard a part of the model as a group of its own, then the rest."""
    fully_shard(model.first, **options)  # type: ignore[arg-type]
    fully_shard(model, **options)
    return model


@contextmanager
def _without_sync(model: nn.Module) -> Iterator[None]:
    assert isinstance(model, FSDPModule)
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def main(updates: int) -> None:
    """Run every mode that fits the number of processes; rank 0 prints."""
    end_with_torchrun()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    modes = modes_together() if dist.get_world_size() > 1 else modes_alone()
    for name, mode in modes.items():
        found = mode(updates=updates)
        if dist.get_rank() == 0:
            print(json.dumps({"mode": name, **asdict(found), "passed": found.passed}), flush=True)
    leave()


if __name__ == "__main__":
    main(int(sys.argv[1]))
