"""Two processes whose training loop averages gradients itself, and the like under DDP.

python by_hand_run.py FOLDER, under torchrun.
"""

import json
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ultraslow import probes
from ultraslow.probes.distributed.processes import leave

UPDATES = 12


def network():
    torch.manual_seed(5)
    return torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.ReLU(), torch.nn.Linear(9, 3))


def mean(gradient):
    dist.all_reduce(gradient)
    gradient /= dist.get_world_size()


def added(gradient):
    dist.all_reduce(gradient)


def within_pass(parameter):
    mean(parameter.grad)


def run(
    path,
    *,
    ddp=False,
    divided=1,
    weight=None,
    reduce=mean,
    clip=None,
    microbatches=1,
    hooked=False,
    **options,
):
    """Train, and return the weights."""
    model = network()
    wrapped = DistributedDataParallel(model) if ddp else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    generator = torch.Generator().manual_seed(dist.get_rank())
    options = {"batch_size": 8 * microbatches, "schedule": range(UPDATES + 1), **options}
    with probes.attach(wrapped, optimizer, path, quiet=True, **options) as recorder:
        if hooked:
            for parameter in model.parameters():
                parameter.register_post_accumulate_grad_hook(within_pass)
        for _ in range(UPDATES):
            for index in range(microbatches):
                waits = ddp and index + 1 < microbatches
                with wrapped.no_sync() if waits else nullcontext():
                    loss = wrapped(torch.randn(4, 6, generator=generator)).square().mean()
                    if weight is not None:
                        recorder.unit(size=4, weight=weight)
                    (loss / microbatches / divided).backward()
                recorder.observe(loss=loss)
            for parameter in model.parameters() if not (ddp or hooked) else ():
                reduce(parameter.grad)
            if clip is not None:
                clip(model.parameters())
            optimizer.step()
            optimizer.zero_grad()
    return [parameter.detach().clone() for parameter in model.parameters()]


def by_norm(parameters):
    torch.nn.utils.clip_grad_norm_(parameters, 0.1)


def lightly(parameters):
    torch.nn.utils.clip_grad_norm_(parameters, 0.3)


def by_value(parameters):
    torch.nn.utils.clip_grad_value_(parameters, 0.02)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    hand = {"processes": True}
    run(folder / "ddp", ddp=True, clip=by_norm, microbatches=2)
    run(folder / "hand", clip=by_norm, microbatches=2, **hand)
    run(folder / "ddp-plain", ddp=True)
    summed = {"reduce": added, "divided": 2, **hand}
    run(folder / "summed", clip=lightly, microbatches=2, weight=1 / 4, **summed)
    run(folder / "ddp-lightly", ddp=True, clip=lightly, microbatches=2)
    run(folder / "undivided", reduce=added, weight=1.0, **hand)
    run(folder / "hooked", hooked=True, processes=dist.new_group([0, 1]))
    told = {}
    for name, options in (
        ("added", {"reduce": added, **hand}),
        ("apart", {"reduce": lambda gradient: None, **hand}),
        ("value", {"clip": by_value, **hand}),
        ("silent", {"processes": False}),
        ("unsaid", {}),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            alone = "processes" not in options or not options["processes"]
            run(folder / (f"{name}-{dist.get_rank()}" if alone else name), **options)
        told[name] = [str(warning.message) for warning in caught]
    (folder / f"told-{dist.get_rank()}.json").write_text(json.dumps(told))
    leave()
