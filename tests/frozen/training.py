"""A short training by two processes with every probe, recorded: `training.py FOLDER ddp|fsdp`."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from ultraslow import probes as product

UPDATES = 20
CHECKPOINTS = [0, 5, 10, 20]


def network():
    """Convolution, batch norm, and linear layers of odd sizes, that shards must be padded for."""
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 5, 3),
        torch.nn.BatchNorm2d(5),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(5 * 36, 7),
        torch.nn.ReLU(),
        torch.nn.Linear(7, 3),
    )


def batch(size=8):
    return torch.randn(size, 1, 8, 8), torch.randint(3, (size,))


def loss_of(model, inputs_and_targets):
    inputs, targets = inputs_and_targets
    return torch.nn.functional.cross_entropy(model(inputs), targets)


def optional(held_out, batches):
    """The probes that must be asked for."""
    return {
        "probes": ["noise", "path", "trajectory"],
        "evaluation": product.Evaluation(
            lambda model: {"loss": loss_of(model, held_out)}, CHECKPOINTS, metrics=["loss"]
        ),
        "landscape": product.Landscape(loss_of, batches, CHECKPOINTS, directions=2),
        "metadata": {"seed": 3, "scaling": "sqrt", "data": "noise", "settings": {"width": 5}},
    }


def train(path, model, *, microbatches):
    """Two groups of parameters, momentum, clipping and a rate that decays once."""
    first, *others = model.parameters()
    groups = [{"params": [first], "lr": 0.02}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9)
    decay = torch.optim.lr_scheduler.MultiStepLR(optimizer, [15])
    torch.manual_seed(100 + dist.get_rank())
    options = optional(batch(), [batch() for _ in range(3)])
    size = 8 * microbatches * dist.get_world_size()
    with product.attach(model, optimizer, path, batch_size=size, **options) as recorder:
        for _ in range(UPDATES):
            for _ in range(microbatches):
                loss = loss_of(model, batch()) / microbatches
                loss.backward()
                recorder.observe(loss=loss.detach() * microbatches)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            decay.step()


def sharded():
    model = network()
    mesh = init_device_mesh("cpu", (2,))
    for layer in (model[4], model[6]):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


if __name__ == "__main__":
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    wrap = {"ddp": lambda: DistributedDataParallel(network()), "fsdp": sharded}[kind]
    for microbatches in (1, 2):
        train(folder / f"{kind}-{microbatches}", wrap(), microbatches=microbatches)
    dist.barrier()
    sys.stdout.flush()
    # Threads of the backend may outlive the group and crash at the interpreter's end.
    os._exit(0)
