"""What the tests need of two processes, in one start of torchrun: recordings and final states in a
folder."""

import json
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ultraslow import probes
from ultraslow.probes.distributed.processes import leave
from ultraslow.probes.gradients import hooks

# Of the toy: gradients are inputs, |μ|² = 4, tr Σ = 64, so the noise scale is 16.
WIDTH = 1024
UPDATES = 500


def toy(path, *, updates, microbatches, microbatch, distributed=False, rank=0, world=1):
    """Train the toy whose gradient is its input, clipped hard so that clipped gradients would
    show."""
    generator = torch.Generator().manual_seed(rank)
    model = torch.nn.Linear(WIDTH, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    wrapped = DistributedDataParallel(model) if distributed else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    mean = torch.full((WIDTH,), (4 / WIDTH) ** 0.5)
    with probes.attach(
        wrapped, optimizer, path, batch_size=world * microbatches * microbatch
    ) as recorder:
        for _ in range(updates):
            for index in range(microbatches):
                waits = distributed and index + 1 < microbatches
                with wrapped.no_sync() if waits else nullcontext():
                    noise = torch.randn(microbatch, WIDTH, generator=generator)
                    inputs = mean + noise * (64 / WIDTH) ** 0.5
                    loss = wrapped(inputs).mean() / microbatches
                    loss.backward()
                recorder.observe(loss=loss * microbatches)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()


def network():
    """A small network with everything that holds state: batch norm, dropout, an unused
    parameter."""
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 36, 3),
    )


def train(path, *, updates=12, microbatches=2, distributed=False, rank=0, world=1):
    """Train the small network, with probes when there is a path; return everything that must not
    differ."""
    model = network()
    wrapped = DistributedDataParallel(model) if distributed else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    torch.manual_seed(100 + rank)
    size = 4 * microbatches * world
    recorder = probes.attach(wrapped, optimizer, path, batch_size=size) if path else None
    for _ in range(updates):
        for index in range(microbatches):
            waits = distributed and index + 1 < microbatches
            with wrapped.no_sync() if waits else nullcontext():
                inputs, targets = torch.randn(4, 1, 8, 8), torch.randint(3, (4,))
                loss = torch.nn.functional.cross_entropy(wrapped(inputs), targets) / microbatches
                loss.backward()
            if recorder:
                recorder.observe(loss=loss.detach() * microbatches)
        optimizer.step()
        optimizer.zero_grad()
    if recorder:
        recorder.close()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict()["state"],
        "rng": torch.get_rng_state(),
    }


def broken(path, *, rank, world):
    """The noise probe fails on the second process, in the middle of the training."""
    model = DistributedDataParallel(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with probes.attach(
        model, optimizer, path, batch_size=world * 4, schedule=range(9), flush_seconds=0.0
    ) as recorder:
        for update in range(8):
            with patch(
                "ultraslow.probes.gradients.hooks.SquaresAgain.__call__",
                rank and update == 4 and fail or hooks.SquaresAgain.__call__,
            ):
                loss = model(torch.randn(4, 1, 8, 8)).square().mean()
                loss.backward()
            recorder.observe(loss=loss)
            optimizer.step()
            optimizer.zero_grad()


def fail(*_):
    raise OSError("gone")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    ranks = {"distributed": True, "rank": dist.get_rank(), "world": dist.get_world_size()}
    toy(folder / "ddp", updates=UPDATES, microbatches=1, microbatch=16, **ranks)
    toy(folder / "ddp-accumulated", updates=UPDATES, microbatches=4, microbatch=8, **ranks)
    for name, path in (("bare", None), ("probed", folder / "probed")):
        torch.save(train(path, **ranks), folder / f"{name}-{ranks['rank']}.pt")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        broken(folder / "broken", rank=ranks["rank"], world=ranks["world"])
    told = [str(warning.message) for warning in caught]
    (folder / f"broken-{ranks['rank']}.json").write_text(json.dumps(told))
    leave()
