"""The same training by a plain loop, which hosts are compared with, and what is compared."""

import re
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch.distributed.tensor import DTensor

from ultraslow import probes

PAGES = Path(__file__).parents[3] / "docs" / "record"
SAMPLES, WIDTH, CLASSES = 150, 6, 3
ACCUMULATED, EACH = 3, 8
UPDATES = 14  # of one process in two epochs: six of three batches each and one of a short batch
CLIP, RATE, MOMENTUM = 0.2, 0.1, 0.9
# Of times and places, and of how units were declared.
OWN = {"wall_time", "probe_seconds"}


def example(host):
    """The code of the page on a host."""
    page = (PAGES / f"{host}.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
    return code


def data():
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(SAMPLES, WIDTH, generator=generator)
    return torch.utils.data.TensorDataset(
        inputs, torch.randint(CLASSES, (SAMPLES,), generator=generator)
    )


def network(dropout=0.1):
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Linear(WIDTH, 8),
        torch.nn.ReLU(),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(8, CLASSES),
    )


def loader(rank=0, world=1):
    """Of one epoch in order, dealt out to processes."""
    sampler = torch.utils.data.DistributedSampler(data(), world, rank, shuffle=False)
    return torch.utils.data.DataLoader(data(), batch_size=EACH, sampler=sampler)


def loss_of(model, batch):
    return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])


def optimizer_of(model):
    return torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)


def options(updates=UPDATES):
    """Of a recording of every update."""
    return {"schedule": range(updates + 1), "quiet": True}


def dealt(samples, rank=0, world=1):
    """Batches of one epoch, as Accelerate deals them out: in turn, filled up from the start."""
    whole = EACH * world if world > 1 else 1
    samples = (samples * 2)[: -(-len(samples) // whole) * whole]
    batches = [samples[i : i + EACH] for i in range(0, len(samples), EACH)]
    return batches[rank::world]


def batches(rank=0, world=1):
    """Batches of the data, as Accelerate deals them out."""
    return [
        tuple(map(torch.stack, zip(*batch, strict=True)))
        for batch in dealt([*data()], rank, world)
    ]


def train(model, path, *, epochs=2, rank=0, world=1, waiting=nullcontext, deals=loader):
    """Train a wrapped model as hosts do: clipped, and with a short last accumulation."""
    torch.manual_seed(7)
    optimizer = optimizer_of(model)
    size, updates = EACH * ACCUMULATED * world, UPDATES if world == 1 else 8
    with probes.attach(
        model, optimizer, path, batch_size=size, data_size=SAMPLES, **options(updates)
    ) as recorder:
        for _ in range(epochs):
            epoch = list(deals(rank, world))
            for index, batch in enumerate(epoch):
                steps = (index + 1) % ACCUMULATED == 0 or index + 1 == len(epoch)
                recorder.unit(size=len(batch[0]), weight=1 / ACCUMULATED / world)
                with nullcontext() if steps else waiting():
                    loss = loss_of(model, batch)
                    (loss / ACCUMULATED).backward()
                recorder.observe(loss=loss.detach())
                if steps:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                    optimizer.step()
                    optimizer.zero_grad()
    return model


def assert_same_weights(one, two):
    """Two sharded models, to the bit, on this process."""
    pairs = list(zip(one.parameters(), two.parameters(), strict=True))
    assert all(isinstance(p, DTensor) for pair in pairs for p in pair)
    assert all(torch.equal(p.to_local(), q.to_local()) for p, q in pairs)


def assert_same(path, other, *, but=(), tolerance=1e-6):
    """Two recordings hold the same, to a relative tolerance, but for times."""
    one, two = (xr.load_dataset(Path(f"{place}.nc")) for place in (path, other))
    assert set(one) - {*OWN, *but} == set(two) - {*OWN, *but}
    for name in set(two) - {*OWN, *but}:
        if one[name].dtype.kind in "fiu":
            np.testing.assert_allclose(
                one[name].values, two[name].values, rtol=tolerance, atol=1e-12, err_msg=name
            )
