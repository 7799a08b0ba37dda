"""Loops of two processes whose units are not equal: recordings and their twins in a folder."""

import sys
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from situations import CLASSES, WIDTH, Twin, mean_loss, network
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from ultraslow import probes
from ultraslow.probes.distributed.processes import leave

# Sizes of each process's units, update by update.
EQUAL = [[(4, 4), (4, 4)], [(4,), (4,)], [(4, 4), (4, 4)]]
CASES = {
    # name: wrapper, sizes by update and process, batch size, what is declared, joined
    "last batch is short": ("ddp", [[(4,), (4,)], [(4,), (4,)], [(1,), (1,)]], 8, (), False),
    "remainder": ("ddp", EQUAL, 16, (), False),
    "remainder, declared": ("ddp", EQUAL, 16, ("size", "weight"), False),
    "unequal processes": ("ddp", [[(4,), (4,)], [(4,), (2,)]], 8, (), False),
    "unequal processes, declared": ("ddp", [[(4,), (2,)], [(3,), (4,)]], 8, ("size",), False),
    "two losses": ("ddp", [[(4,), (4,)]] * 3, 8, (), True),
    "two losses, sharded": ("fsdp", [[(4,), (4,)]] * 3, 8, (), True),
    "last batch is short, sharded": ("fsdp", [[(4,), (4,)], [(1,), (1,)]], 8, (), False),
}
# name: wrapper, optimizers, which of them clear, how, since when gradients are unknown
CLEARED = {
    "none, sharded": ("fsdp", 1, (), "none", 3),
    "none of two, sharded": ("fsdp", 2, (), "none", 3),
    "one of two, sharded": ("fsdp", 2, (0,), "none", 3),
    "the other of two": ("ddp", 2, (1,), "none", 3),
    "all, sharded": ("fsdp", 2, (0, 1), "none", 0),
    "to zero, sharded": ("fsdp", 2, (0, 1), "zero", 0),
    "each before its own pass": ("ddp", 2, (0, 1), "late", 0),
}
LEFT_OUT = {"remainder": [1], "unequal processes": [1]}


def train(path, kind, updates, batch_size, declared, joined, *, rank, world):
    bare = network()
    model = DistributedDataParallel(bare) if kind == "ddp" else fully_shard(network())
    # Of sharded weights the twin follows a whole copy, which takes the same steps.
    twin, optimizer = Twin(bare), torch.optim.SGD(model.parameters(), lr=0.05)
    torch.manual_seed(rank)
    usual = len(updates[0][rank])
    with probes.attach(
        model, optimizer, path, batch_size=batch_size, schedule=range(len(updates) + 1)
    ) as recorder:
        for sizes in updates:
            for index, size in enumerate(sizes[rank]):
                made = torch.randn(size, WIDTH), torch.randint(CLASSES, (size,))
                losses = [partial(mean_loss, batch=made)] * (1 + joined)
                weight = 1 / (usual * world)
                twin.unit(weight, size, *losses)
                if declared:
                    more = {"weight": weight} if "weight" in declared else {}
                    recorder.unit(size=size, **more)
                waits = kind == "ddp" and index + 1 < len(sizes[rank])
                with (
                    model.no_sync() if waits else nullcontext(),
                    recorder.one_unit() if joined else nullcontext(),
                ):
                    for loss in losses:
                        (loss(model) / usual).backward()
            optimizer.step()
            optimizer.zero_grad()
            if kind == "fsdp":
                follow(model, bare)
            twin.step()
    parts = [None] * world
    dist.all_gather_object(parts, twin.updates)
    twin.updates = [sum(units, []) for units in zip(*parts, strict=True)]
    return twin


def clears(path, kind, count, cleared, how, *, rank):
    """Six updates, of which those from the third on find some gradients uncleared."""
    bare = network()
    late = {"find_unused_parameters": True} if how == "late" else {}
    model = DistributedDataParallel(bare, **late) if kind == "ddp" else fully_shard(bare)
    weights = list(model.parameters())
    groups = [weights[:2], weights[2:]] if count == 2 else [weights]
    optimizers = [torch.optim.SGD(group, lr=0.05) for group in groups]
    torch.manual_seed(rank)
    with probes.attach(model, optimizers, path, batch_size=8, schedule=range(7)) as recorder:
        for update in range(1, 7):
            for one in (1, 0) if how == "late" else (None,):
                if how == "late":
                    optimizers[one].zero_grad()
                    for number, group in enumerate(groups):
                        for p in group:
                            p.requires_grad_(number == one)
                made = torch.randn(4, WIDTH), torch.randint(CLASSES, (4,))
                mean_loss(model, made).backward()
            for optimizer in optimizers:
                optimizer.step()
            for number, optimizer in enumerate(optimizers) if how != "late" else ():
                if update < 2 or number in cleared:
                    optimizer.zero_grad(set_to_none=how == "none")
    return recorder


def follow(model, bare):
    with torch.no_grad():
        for one, other in zip(bare.parameters(), model.parameters(), strict=True):
            one.copy_(other.full_tensor())


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    ranks = {"rank": dist.get_rank(), "world": dist.get_world_size()}
    for name, (kind, updates, *rest) in CASES.items():
        twin = train(folder / name, kind, updates, *rest, **ranks)
        if ranks["rank"] == 0:
            np.savez(
                folder / f"{name}.npz",
                distance_sq=twin.distance_sq,
                samples=twin.samples(),
                units=[len(one) for one in twin.updates],
                estimates=twin.estimates(),
            )
    for name, (kind, count, cleared, how, _) in CLEARED.items():
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            clears(folder / name, kind, count, cleared, how, rank=ranks["rank"])
        told = [str(one.message) for one in said]
        (folder / f"{name} {ranks['rank']}.txt").write_text("\n".join(told))
    leave()
