"""A run of known truth, started by torchrun: |G|² = 4, tr Σ = 64, noise scale 16.

The loss of a sample x is w·x, so its gradient is x itself, drawn from N(μ, σ²·1) with |μ|² = 4 and d·σ² = 64.
"""

import argparse
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import probes

WIDTH = 64
TRUTH = 16.0


def run(path, *, updates, microbatches, microbatch, distributed=False, rank=0, world=1, seed=0):
    generator = torch.Generator().manual_seed(1000 * seed + rank)
    model = torch.nn.Linear(WIDTH, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    wrapped = DistributedDataParallel(model) if distributed else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    mean = torch.full((WIDTH,), (4 / WIDTH) ** 0.5)
    batch_size = world * microbatches * microbatch
    with probes.attach(wrapped, optimizer, path, batch_size=batch_size) as recorder:
        for _ in range(updates):
            for index in range(microbatches):
                waits = distributed and index + 1 < microbatches
                with wrapped.no_sync() if waits else nullcontext():
                    inputs = mean + torch.randn(microbatch, WIDTH, generator=generator)
                    loss = wrapped(inputs).mean() / microbatches
                    loss.backward()
                recorder.observe(loss=loss * microbatches)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--microbatches", type=int, default=1)
    parser.add_argument("--microbatch", type=int, default=16)
    arguments = vars(parser.parse_args())
    dist.init_process_group("gloo")
    run(**arguments, distributed=True, rank=dist.get_rank(), world=dist.get_world_size())
    dist.destroy_process_group()
