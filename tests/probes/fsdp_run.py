"""What the tests need of `fully_shard`, in one start of torchrun with four processes."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from ultraslow import probes
from ultraslow.probes.distributed.processes import leave

# Gradients are inputs: |μ|² = 4, tr Σ = 64, noise scale 16; 4096 dimensions make estimates sharp.
WIDTH = 4096
UPDATES = 30
MICROBATCH = 8


class Toy(torch.nn.Module):
    """Two groups of weights of odd sizes, one nested in the other, that shards must be padded
    for."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(1023, 1, bias=False)
        self.outer = torch.nn.Parameter(torch.zeros(WIDTH - 1023))
        torch.nn.init.zeros_(self.inner.weight)

    def forward(self, inputs):
        return self.inner(inputs[:, :1023])[:, 0] + inputs[:, 1023:] @ self.outer


def sharded(mesh, policy=None, *, nested=True):
    model = Toy()
    options = {"mesh": mesh, **({"mp_policy": policy} if policy else {})}
    if nested:
        fully_shard(model.inner, **options)
    return fully_shard(model, **options)


def held_out(model):
    return {"loss": model(torch.randn(MICROBATCH, WIDTH)).float().mean()}


def run(path, model, *, microbatches=1, sync="each"):
    """Train with probes, or bare without a path; return the full weights as float64 and the
    RNG."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    torch.manual_seed(dist.get_rank())
    mean = torch.full((WIDTH,), (4 / WIDTH) ** 0.5)
    batch_size = dist.get_world_size() * microbatches * MICROBATCH
    evaluation = probes.Evaluation(held_out, [0, 2], metrics=["loss"])
    options = {"batch_size": batch_size, "evaluation": evaluation}
    recorder = probes.attach(model, optimizer, path, **options) if path else None
    for update in range(UPDATES):
        for index in range(microbatches):
            if sync == "last":
                model.set_requires_gradient_sync(index == microbatches - 1)
            inputs = mean + torch.randn(MICROBATCH, WIDTH) * (64 / WIDTH) ** 0.5
            (model(inputs).float().mean() / microbatches).backward()
            if recorder:
                recorder.observe(loss=float(update))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()
    if recorder:
        recorder.close()
    whole = [parameter.detach().full_tensor() for parameter in model.parameters()]
    return {"weights": whole, "rng": torch.get_rng_state()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    flat = init_device_mesh("cpu", (4,))
    square = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))
    bfloat = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    half = MixedPrecisionPolicy(reduce_dtype=torch.float16)
    final = {
        "bare": run(None, sharded(flat)),
        "fsdp": run(folder / "fsdp", sharded(flat)),
        "one-group": run(folder / "one-group", sharded(flat, nested=False)),
        "reduce-each": run(folder / "reduce-each", sharded(flat), microbatches=2),
        "reduce-last": run(folder / "reduce-last", sharded(flat), microbatches=2, sync="last"),
        "bfloat16": run(folder / "bfloat16", sharded(flat, bfloat)),
        "float16": run(folder / "float16", sharded(flat, half)),
        "hsdp": run(folder / "hsdp", sharded(square)),
    }
    if dist.get_rank() == 0:
        torch.save(final, folder / "final.pt")
    leave()
