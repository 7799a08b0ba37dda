import numpy as np
import pytest
import torch

from ultraslow.probes.buffer.row import RowReader
from ultraslow.probes.buffer.units import DeclaredUnits
from ultraslow.probes.distributed.processes import Processes
from ultraslow.probes.gradients.hooks import GradientTap
from ultraslow.probes.steps import Optimizers


def reader(model, optimizer, *, skipped=0, measure=True, warn=print):
    parameters = list(model.parameters())
    tap = GradientTap(parameters, processes=1, failed=print, measure=measure)
    more = {"scaler": None, "skipped": skipped, "warn": warn}
    optimizers = Optimizers([optimizer], parameters)
    return RowReader(optimizers, parameters, tap=tap, units=DeclaredUnits(print), **more)


def problem():
    model = torch.nn.Linear(2, 1, bias=False)
    return model, torch.optim.SGD(model.parameters(), lr=0.25)


def test_a_row_holds_units_clipping_and_skipped_steps():
    model, optimizer = problem()
    rows = reader(model, optimizer, skipped=2)
    for _ in range(2):
        model(torch.tensor([[3.0, 4.0]])).sum().backward()
    assert rows.units == 2
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    rows.before_step(optimizer)
    row, seconds = rows.read()
    assert row.unit_sq.tolist() == [50.0]  # two units of squared norm 25
    assert row.total_sq.tolist() == [100.0]
    assert row.clip.tolist() == [[100.0] * 3, pytest.approx([1.0] * 3, rel=1e-4)]
    assert (row.skipped, row.shares.units, row.learning_rate) == (2, 2, 0.25)
    assert rows.units == rows.skipped == 0
    assert seconds > 0
    rows.close()
    model(torch.ones(1, 2)).sum().backward()
    assert rows.units == 0


def test_clipping_is_seen_on_three_tensors_in_their_order():
    layers = [torch.nn.Linear(size, 1, bias=False) for size in (4, 3, 2)]
    model = torch.nn.Sequential(*layers)
    groups = [{"params": layers[0].parameters()}, {"params": layers[1].parameters()}]
    optimizer = torch.optim.SGD([*groups, {"params": layers[2].parameters()}], lr=0.1)
    rows = reader(model, optimizer)
    sum(layer(torch.ones(1, layer.in_features)).sum() for layer in layers).backward()
    for factor, layer in zip((1.0, 0.5, 0.25), layers, strict=True):
        layer.weight.grad *= factor
    rows.before_step(optimizer)
    row, _ = rows.read()
    # The largest, the one in the other half, the largest of another group.
    assert row.clip[0].tolist() == pytest.approx([4, 2, 3])
    assert row.clip[1].tolist() == pytest.approx([4, 2 / 16, 3 / 4])


def test_where_noise_is_not_measured_squares_are_unknown():
    model, optimizer = problem()
    row, _ = reader(model, optimizer, measure=False).read()
    assert torch.isnan(row.unit_sq).all()
    assert torch.isnan(row.clip).all()


def test_a_fused_optimizer_that_skipped_makes_no_row():
    model, optimizer = problem()
    rows = reader(model, optimizer)
    assert not rows.is_void([0])
    model(torch.ones(1, 2)).sum().backward()
    optimizer.found_inf = torch.tensor(1.0)
    assert rows.is_void([0])
    assert (rows.skipped, rows.units) == (1, 0)


def test_a_learning_rate_on_the_device_is_copied():
    model, _ = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.5))
    row, _ = reader(model, optimizer, measure=False).read()
    optimizer.param_groups[0]["lr"].fill_(0.1)
    assert float(row.learning_rate) == 0.5


def test_groups_that_come_and_go_leave_as_many_rates():
    layers = [torch.nn.Linear(2, 1, bias=False) for _ in range(3)]
    groups = [{"params": layer.parameters(), "lr": 0.1} for layer in layers]
    optimizer = torch.optim.SGD(groups[:2])
    told = []
    rows = reader(torch.nn.Sequential(*layers[:2]), optimizer, measure=False, warn=told.append)
    optimizer.add_param_group(groups[2])
    for _ in range(2):
        assert rows.group_rates(Processes())["group_learning_rate"].tolist() == [0.1, 0.1]
    (once,) = filter(None, told)
    assert "1 parameters began to train after" in once
    assert "requires_grad_" in once
    del optimizer.param_groups[1:]
    np.testing.assert_equal(
        rows.group_rates(Processes())["group_learning_rate"].numpy(), [0.1, np.nan]
    )


def test_clipping_of_a_gradient_that_the_step_itself_computes_is_unknown():
    model, optimizer = problem()
    rows = reader(model, optimizer)
    model(torch.ones(1, 2)).sum().backward()
    rows.before_step(optimizer)
    rows.read()
    optimizer.zero_grad(set_to_none=False)
    rows.before_step(optimizer)  # the gradient that it finds is none of a pass
    model(torch.ones(1, 2)).sum().backward()
    row, _ = rows.read()
    assert torch.isnan(row.clip[1]).all()
    assert torch.isfinite(row.clip[0]).all()
