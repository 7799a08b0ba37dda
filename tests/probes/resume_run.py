"""A small training whose every batch is known, in parts that go on where a checkpoint was made.

Under torchrun it is the second of three parts, on two processes.
"""

import sys
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from ultraslow import probes
from ultraslow.probes.distributed.processes import leave

BATCH = 8
UNITS = 4
FIRST, SECOND, LAST = 12, 20, 30
PROBES = ("distance", "noise", "path", "trajectory")


def around():
    """A landscape with checkpoints before and after that of the training, and one between."""
    generator = torch.Generator().manual_seed(9)
    batches = list(torch.randn(2, 6, 5, generator=generator))
    return probes.Landscape(
        lambda model, batch: model(batch).square().mean(),
        batches,
        schedule=[4, 10, 14, 25],
        radii=[0.1, 1.0],
        directions=2,
    )


def network():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))


def microbatches(iteration, rank=0, world=1):
    """This process's inputs of an iteration: of the same four units all, or every second one."""
    generator = torch.Generator().manual_seed(1000 + iteration)
    inputs = torch.randn(UNITS, BATCH // UNITS, 5, generator=generator)
    return inputs[rank::world]


def update(model, optimizer, recorder, inputs):
    for index, unit in enumerate(inputs):
        last = index == len(inputs) - 1
        ddp = isinstance(model, DistributedDataParallel)
        with model.no_sync() if ddp and not last else nullcontext():
            loss = model(unit).square().mean()
            (loss / len(inputs)).backward()
        if recorder is not None:
            recorder.observe(loss=loss)
    optimizer.step()
    optimizer.zero_grad()


def part(path, model, *, start, stop, save=None, momentum=0.0, rank=0, world=1, **options):
    """Train from one iteration to another; the recorder, still open, and the checkpoint."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
    checkpoint, rate = options.pop("checkpoint", None), options.pop("rate", 0.1)
    if checkpoint is not None:
        optimizer.load_state_dict(checkpoint["optimizer"])
    recorder = probes.attach(model, optimizer, path, **{"batch_size": BATCH, **options})
    for iteration in range(start + 1, stop + 1):
        optimizer.param_groups[0]["lr"] = rate / iteration**0.5
        update(model, optimizer, recorder, microbatches(iteration, rank, world))
        if iteration == save:
            checkpoint = {
                "model": {name: whole(p) for name, p in model.state_dict().items()},
                "optimizer": deepcopy(optimizer.state_dict()),
                "recorder": recorder.state_dict(),
            }
    return recorder, checkpoint


def whole(weights):
    return (weights.full_tensor() if hasattr(weights, "full_tensor") else weights).clone()


def loaded(checkpoint):
    model = network()
    model.load_state_dict(
        {name.removeprefix("module."): value for name, value in checkpoint["model"].items()}
    )
    return model


def wrapped(kind, model):
    if kind == "ddp":
        return DistributedDataParallel(model)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(model[0], mesh=mesh)
    return fully_shard(model, mesh=mesh)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    for kind in ("ddp", "fsdp"):
        checkpoint = torch.load(folder / f"{kind}-first.pt", weights_only=True)
        model = wrapped(kind, loaded(checkpoint))
        recorder, later = part(
            folder / kind,
            model,
            start=FIRST,
            stop=SECOND + 3,
            save=SECOND,
            rank=rank,
            world=world,
            probes=PROBES,
            resume=checkpoint["recorder"],
            flush_seconds=0.0,
        )
        recorder.__exit__(KeyboardInterrupt, None, None)
        if rank == 0:
            torch.save(later, folder / f"{kind}-second.pt")
    # One and the same run on two processes, without a break and with one.
    for kind in ("ddp", "fsdp"):
        options = {"rank": rank, "world": world, "probes": PROBES, "momentum": 0.9}
        options["landscape"] = around()
        whole_run, _ = part(
            folder / f"{kind}-whole",
            wrapped(kind, network()),
            start=0,
            stop=LAST,
            save=FIRST,
            **options,
        )
        whole_run.close()
        cut, checkpoint = part(
            folder / f"{kind}-cut",
            wrapped(kind, network()),
            start=0,
            stop=FIRST + 3,
            save=FIRST,
            flush_seconds=0.0,
            **options,
        )
        cut.__exit__(KeyboardInterrupt, None, None)
        resumed, _ = part(
            folder / f"{kind}-cut",
            wrapped(kind, loaded(checkpoint)),
            start=FIRST,
            stop=LAST,
            checkpoint=checkpoint,
            resume=checkpoint["recorder"],
            **options,
        )
        resumed.close()
    # A whole run on two processes, whose w0 lies in two files, for one process to go on.
    recorder, later = part(
        folder / "sharded",
        wrapped("fsdp", network()),
        start=0,
        stop=FIRST,
        save=FIRST,
        rank=rank,
        world=world,
        probes=PROBES,
    )
    recorder.__exit__(KeyboardInterrupt, None, None)
    if rank == 0:
        torch.save(later, folder / "sharded-first.pt")
    leave()
