"""Nothing waits for the device between flushes, and a flush copies once."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ultraslow import probes
from ultraslow.probes.buffer.flush import Flushes

# What makes the host wait for a device: reading a scalar, a size that depends on values.
WAITS = {
    "_local_scalar_dense",
    "item",
    "is_nonzero",
    "nonzero",
    "equal",
    "masked_select",
    "unique2",
}


class Reads(TorchDispatchMode):
    """Counts operations that would wait for an accelerator, and copies to the host."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in WAITS:
            self.waits.append(name)
        return function(*args, **(kwargs or {}))


def test_scalar_reads_are_counted():
    with Reads() as reads:
        float(torch.ones(1).sum())
        bool(torch.ones(()) > 0)
    assert len(reads.waits) == 2


@pytest.mark.parametrize("optional", [[], ["path", "trajectory"]])
def test_no_host_synchronization_between_flushes(tmp_path, optional, monkeypatch):
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    recorder = probes.attach(
        model,
        optimizer,
        tmp_path / "run",
        batch_size=8,
        probes=["noise", *optional],
        schedule=range(0, 66, 5),
        flush_seconds=3600,
    )

    def train(updates):
        for _ in range(updates):
            for _ in range(2):
                loss = model(torch.randn(4, 20)).square().mean() / 2
                loss.backward()
                recorder.observe(loss=loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
            optimizer.step()
            optimizer.zero_grad()

    train(6)  # past the first, early flush
    flushes = []
    depart = Flushes._depart
    monkeypatch.setattr(Flushes, "_depart", lambda self: flushes.append(1) or depart(self))
    with Reads() as reads:
        train(60)
    assert flushes == []
    assert reads.waits == []
    recorder.close()
    assert flushes == [1]


def test_what_is_said_of_units_waits_for_nothing(tmp_path):
    model = torch.nn.Linear(20, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    recorder = probes.attach(
        model, optimizer, tmp_path / "run", batch_size=8, scaler=scaler, flush_seconds=3600
    )

    def train(updates):
        for _ in range(updates):
            with recorder.unmeasured():
                scaler.scale(model.weight.square().sum()).backward()
            for _ in range(2):
                recorder.unit(size=4, weight=0.5)
                with recorder.one_unit():
                    out = model(torch.randn(4, 20))
                    scaler.scale(out.square().mean()).backward(retain_graph=True)
                    scaler.scale(out.mean()).backward()
            for p in model.parameters():
                p.grad /= scaler._scale
            optimizer.step()
            optimizer.zero_grad()

    train(6)  # past the first, early flush
    with Reads() as reads:
        train(10)
    assert reads.waits == []
    recorder.close()


def test_a_flush_is_one_collective_and_one_copy(tmp_path, monkeypatch):
    """Counted where they happen: the sum over processes, and `Tensor.cpu`."""
    model = torch.nn.Linear(20, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=8, schedule=[0, 3, 6])
    for _ in range(7):
        model(torch.randn(8, 20)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    sums, copies = [], []
    add, cpu = type(recorder._processes).add, torch.Tensor.cpu
    monkeypatch.setattr(
        type(recorder._processes), "add", lambda self, values: sums.append(1) or add(self, values)
    )
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: copies.append(1) or cpu(self))
    recorder.close()
    assert (sums, copies) == ([1], [1])


def test_records_that_are_no_checkpoint_do_not_read_the_device(tmp_path):
    model = torch.nn.Linear(20, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batches = [torch.randn(8, 20) for _ in range(2)]
    landscape = probes.Landscape(lambda m, x: m(x).square().mean(), batches, schedule=[0, 200])
    recorder = probes.attach(
        model,
        optimizer,
        tmp_path / "run",
        batch_size=8,
        evaluation=probes.Evaluation(lambda m: {"loss": 0.0}, schedule=[0, 200]),
        landscape=landscape,
        schedule=range(0, 60, 5),
        flush_seconds=3600,
    )

    def train(updates):
        for _ in range(updates):
            model(batches[0]).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

    train(6)  # past the first, early flush
    with Reads() as reads:
        train(50)
    assert reads.waits == []
    with pytest.warns(RuntimeWarning, match="goes beyond the last iteration"):
        recorder.close()
