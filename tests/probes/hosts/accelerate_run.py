"""Two processes by Accelerate, and by plain loops; recordings in a folder."""

import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import accelerated
import loops
import torch
import torch.distributed as dist
from accelerate import FullyShardedDataParallelPlugin
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from ultraslow.probes.distributed.processes import leave


def run(path, *, loads=None, **more):
    parts = accelerated.prepared(loops.network(dropout=0.0))
    with accelerated.recorder(*parts[:3], path, updates=8):
        if loads:
            parts[0].load_state(str(loads))
        return accelerated.train(*parts, **more)


def prepared_sharded():
    AcceleratorState._reset_state()
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    return accelerated.prepared(loops.network(dropout=0.0), fsdp_plugin=plugin)


def sharded(folder, ranks):
    """FSDP2, which Accelerate has on CPUs where it is not told that they are."""
    parts = prepared_sharded()
    assert isinstance(parts[1], FSDPModule)
    with accelerated.recorder(*parts[:3], folder / "sharded", updates=8):
        recorded = accelerated.train(*parts)
    loops.assert_same_weights(recorded, accelerated.train(*prepared_sharded()))
    model = loops.network(dropout=0.0)
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))

    @contextmanager
    def waiting():
        model.set_requires_gradient_sync(False)
        yield
        model.set_requires_gradient_sync(True)

    loops.train(model, folder / "sharded-plain", waiting=waiting, deals=loops.batches, **ranks)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    dealt = run(folder / "ddp")
    ranks = {"rank": dist.get_rank(), "world": dist.get_world_size()}
    bare = accelerated.train(*accelerated.prepared(loops.network(dropout=0.0)))
    assert all(map(torch.equal, dealt.parameters(), bare.parameters()))
    with suppress(OSError):
        run(folder / "broken", saves=folder / "saved", fails_at=(1, 4))
    run(folder / "broken", loads=folder / "saved", skip=1)
    model = DistributedDataParallel(loops.network(dropout=0.0))
    options = {"waiting": model.no_sync, "deals": loops.batches, **ranks}
    loops.train(model, folder / "ddp-plain", **options)
    sharded(folder, ranks)
    leave()
