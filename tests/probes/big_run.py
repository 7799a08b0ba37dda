"""What probes take of a model of so many weights: memory, processor time and bytes that are sent.

    torchrun … big_run.py '{"weights": 1e8, "place": "disk", "path": "folder/run"}'

Several processes shard the model by `fully_shard`, from the meta device on. Process 0 prints a
line of JSON for each argument; lists have an entry for each process. `place` is "bare" for a run
without probes.
"""

import ctypes
import gc
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

import ultraslow as us
from ultraslow.probes.distributed.processes import leave

LAYERS = 8
# Imported in bare runs as well: the libraries' own memory is none of the model's.
ATTACH, COST = us.attach, us.cost


def network(weights, *, layers=LAYERS):
    """Square layers on the meta device."""
    width = max(1, round((weights / layers) ** 0.5))
    with torch.device("meta"):
        return torch.nn.Sequential(
            *(torch.nn.Linear(width, width, bias=False) for _ in range(layers))
        )


def filled(model, *, sharded):
    """The same with values, each process its own part."""
    if sharded:
        for layer in model:
            fully_shard(layer)
        fully_shard(model)
    model.to_empty(device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            own = parameter.to_local() if sharded else parameter
            own.normal_(std=parameter.shape[0] ** -0.5)
    return model


class Sent:
    """Bytes that this process gives to each sum over processes, and writes while it lasts."""

    def __init__(self):
        self.given, self.written, self._sum = [], [], dist.all_reduce
        dist.all_reduce = self

    def __call__(self, tensor, *arguments, **options):
        before = written()
        done = self._sum(tensor, *arguments, **options)
        self.given.append(tensor.nbytes)
        self.written.append(written() - before)
        return done

    def stop(self):
        dist.all_reduce = self._sum


def written():
    return int(Path("/proc/self/io").read_text().split("wchar: ")[1].split()[0])


def peak():
    """The most memory since it was last forgotten, in bytes."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def forget_peak():
    held()
    Path("/proc/self/clear_refs").write_text("5")


def held():
    """What is in memory between two updates, in bytes, when what was freed is given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return 1024 * int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])


def step(model, optimizer, passes):
    """Processor seconds of an update."""
    begun = time.process_time()
    for _ in range(passes):
        (model(torch.ones(1, model[0].in_features)).square().mean() / passes).backward()
    optimizer.step()
    optimizer.zero_grad()
    return time.process_time() - begun


def run(weights, place, path, *, updates=4, probes=("noise",), groups=None, before=0, passes=2):
    """Figures of this process, by name."""
    sharded = dist.is_initialized() and dist.get_world_size() > 1
    meta = network(weights)
    ranks = dist.get_world_size() if sharded else 1
    where = {"initial_on": place} if place != "bare" else {}
    told = COST(meta, ranks=ranks, sharded=sharded, probes=probes, groups=groups, **where)
    model = filled(meta, sharded=sharded)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    bare = [step(model, optimizer, passes) for _ in range(before)]
    forget_peak()
    seconds, sent = [], Sent() if sharded else None
    if place == "bare":
        seconds = [step(model, optimizer, passes) for _ in range(updates)]
        rest = held()
    else:
        options = {"probes": probes, "groups": groups, "quiet": True, **where}
        options |= {"flush_seconds": 0.0, "schedule": range(updates + 1)}
        recorder = ATTACH(model, optimizer, path, batch_size=passes * ranks, **options)
        attached = len(sent.given) if sharded else 0
        seconds = [step(model, optimizer, passes) for _ in range(updates)]
        rest = held()
        given = sent.given[attached:] if sharded else []
        wrote = sent.written[attached:] if sharded else []
        recorder.close()
    found = {
        "peak": peak(),
        "held": rest,
        "seconds": seconds,
        "bare_seconds": bare,
        "cost": asdict(told),
    }
    if sharded:
        sent.stop()
    return {**found, **({"given": given, "written": wrote} if place != "bare" else {})}


if __name__ == "__main__":
    torch.set_num_threads(1)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several:
        dist.init_process_group("gloo")
    for settings in sys.argv[1:]:
        own = run(**json.loads(settings))
        parts = [own]
        if several:
            parts = [None] * dist.get_world_size()
            dist.all_gather_object(parts, own)
        if not several or dist.get_rank() == 0:
            print(json.dumps({name: [part[name] for part in parts] for name in own}), flush=True)
    if several:
        leave()
