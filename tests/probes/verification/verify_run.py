"""What the tests of `us.verify` need of two processes: every way of training, in one start."""

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

import ultraslow as us
from ultraslow.probes.distributed.processes import leave


def network(norm=torch.nn.BatchNorm1d):
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 9),
        norm(9),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(9, 3),
    )


def distributed():
    return DistributedDataParallel(network())


def compressed():
    model = distributed()
    model.register_comm_hook(None, fp16_compress_hook)
    return model


def sharded(**options):
    model = network(torch.nn.LayerNorm)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(model[0], mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


def averaged(model):
    """Average gradients over processes by hand."""
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()


def verified(model, *, passes=1, size=8, told=None, by_hand=False, **options):
    """Verify a step of so many passes; the result, and whether the process is as before."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(dist.get_rank())

    def step():
        for index in range(passes):
            waits = index + 1 < passes and isinstance(model, DistributedDataParallel)
            with model.no_sync() if waits else nullcontext():
                inputs, targets = torch.randn(size, 6), torch.randint(3, (size,))
                loss = torch.nn.functional.cross_entropy(model(inputs).float(), targets)
                (loss / passes).backward()
        if by_hand:
            averaged(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()

    def state():
        values = [getattr(v, "_local_tensor", v).clone() for v in model.state_dict().values()]
        return [*values, torch.get_rng_state()]

    before = state()
    batch_size = told or dist.get_world_size() * passes * size
    found = us.verify(step, model, optimizer, batch_size=batch_size, **options)
    same = all(map(torch.equal, before, state())) and not optimizer.state
    return {
        **asdict(found),
        "digits": {row.quantity: row.digits for row in found.rows},
        "same": same,
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    bfloat = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    half = MixedPrecisionPolicy(reduce_dtype=torch.float16)
    found = {
        "DDP": verified(distributed()),
        "accumulated": verified(distributed(), passes=3),
        "compressed": verified(compressed()),
        "one process's batch size": verified(distributed(), told=8),
        "by hand": verified(network(), passes=2, by_hand=True, processes=True),
        "by hand, not told": verified(network(), passes=2, told=16, by_hand=True),
        "FSDP2": verified(sharded()),
        "FSDP2, accumulated": verified(sharded(), passes=2),
        "FSDP2, bfloat16": verified(sharded(mp_policy=bfloat)),
        "FSDP2, float16": verified(sharded(mp_policy=half)),
    }
    (folder / f"{dist.get_rank()}.json").write_text(json.dumps(found))
    leave()
