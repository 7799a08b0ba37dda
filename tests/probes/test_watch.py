import torch

from probes.watch import BackwardWatch


def test_a_watch_sees_passes_and_nothing_of_them():
    model = torch.nn.Linear(2, 1)
    watch = BackwardWatch(model, list(model.parameters()))
    assert not watch.making
    model(torch.ones(1, 2)).sum().backward()
    assert watch.making
    seen = watch.take()
    assert (watch.making, seen.units) == (False, 1)
    assert torch.isnan(seen.unit_sq).all()
