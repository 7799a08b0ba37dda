"""Gradients that are held in place of being copied, and what is seen where that goes wrong."""

import pytest
import torch
import xarray as xr

import ultraslow as us
from ultraslow.probes.gradients.hooks import GradientTap

INPUTS = torch.tensor([[1.0, 2.0, 3.0]])


def passes(tap, model, *, units=1):
    """One update of so many passes, without a step."""
    for _ in range(units):
        model(INPUTS).sum().backward()
    seen = tap.take()
    model.zero_grad()
    return seen


def tapped(model):
    faults = []
    return GradientTap(list(model.parameters()), processes=1, failed=faults.append), faults


@pytest.mark.parametrize("units", [1, 2, 3])
def test_squares_are_those_of_each_pass_however_many_were_made_before(units):
    model = torch.nn.Linear(3, 2)
    tap, faults = tapped(model)
    for _ in range(6):
        seen = passes(tap, model, units=units)
        assert (seen.units, seen.fault) == (units, "")
        assert seen.unit_sq.tolist() == [units * 28.0, units * 2.0]
        assert seen.total_sq.tolist() == [units**2 * 28.0, units**2 * 2.0]
    assert tap._small.left or units > 1
    assert not faults


def test_zeros_in_place_of_no_gradients_are_seen():
    model = torch.nn.Linear(3, 2)
    tap, _ = tapped(model)
    for count in range(1, 8):
        model(INPUTS).sum().backward()
        seen = tap.take()
        assert seen.unit_sq.tolist() == [28.0, 2.0], count
        assert seen.total_sq.tolist() == [28.0, 2.0]
        model.zero_grad(set_to_none=count % 2 == 0)


@pytest.mark.parametrize("units", [1, 2])
def test_a_tensor_that_takes_part_only_later_is_seen(units):
    model = torch.nn.ModuleList([torch.nn.Linear(3, 2), torch.nn.Linear(3, 1)])
    tap, faults = tapped(model)
    for count in range(8):
        for _ in range(units):
            loss = model[0](INPUTS).sum()
            (loss + model[1](INPUTS).sum() if count > 3 else loss).backward()
        seen = tap.take()
        model.zero_grad()
        late = [14.0, 1.0] if count > 3 else [0.0, 0.0]
        assert seen.unit_sq.tolist() == [units * x for x in (28.0, 2.0, *late)]
        assert seen.total_sq.tolist() == [units**2 * x for x in (28.0, 2.0, *late)]
    assert not faults


@pytest.mark.parametrize(("change", "units"), [("enlarge", 1), ("enlarge", 2), ("take away", 1)])
def test_what_becomes_of_a_gradient_after_others_were_left_alone(change, units):
    """The update in which it begins has no known gradient, the next ones are measured again."""
    model = torch.nn.Linear(3, 2)
    tap, _ = tapped(model)
    for _ in range(4):
        passes(tap, model)

    def enlarge(parameter):
        parameter.grad.mul_(10)

    def take_away(parameter):
        parameter.grad = None

    hook = enlarge if change == "enlarge" else take_away
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(hook)
    first = passes(tap, model, units=units)
    assert "changed" in first.fault
    assert torch.isnan(first.unit_sq).all()
    for _ in range(3):
        seen = passes(tap, model)
        assert seen.fault == ""
        assert seen.unit_sq.tolist() == [28.0, 2.0]
        assert seen.total_sq.tolist() == ([2800.0, 200.0] if change == "enlarge" else [28.0, 2.0])


class Shared(torch.autograd.Function):
    """x·wᵀ, with the gradient of w in a place that is used again where it is given."""

    place: torch.Tensor | None = None

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.t()

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        if Shared.place is None:
            return g @ w, g.t() @ x
        return g @ w, torch.mm(g.t(), x, out=Shared.place)


@pytest.mark.parametrize("units", [1, 2])
def test_memory_that_is_used_again_only_later_leaves_one_update_out(units):
    weights = [torch.nn.Parameter(torch.randn(4, 4)) for _ in range(2)]
    tap = GradientTap(weights, processes=1, failed=pytest.fail)
    inputs = torch.randn(3, 4)

    def loss(product):
        return product(torch.tanh(product(inputs, weights[0])), weights[1]).square().sum()

    faults = []
    for count in range(8):
        Shared.place = torch.empty(4, 4) if count > 3 else None
        for _ in range(units):
            loss(Shared.apply).backward()
        seen = tap.take()
        faults += [count] if seen.fault else []
        true = torch.autograd.grad(loss(lambda x, w: x @ w.t()), weights)
        squares = [float(g.square().sum()) for g in true]
        if not seen.fault:
            assert seen.unit_sq.tolist() == pytest.approx([units * sq for sq in squares])
            assert seen.total_sq.tolist() == pytest.approx([units**2 * sq for sq in squares])
        for weight in weights:
            weight.grad = None
    Shared.place = None
    assert faults == [4]


def test_an_update_of_changed_gradients_is_told_of_and_left_out(tmp_path):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    hooks = []

    def enlarge(parameter):
        parameter.grad.mul_(10)

    with us.attach(model, optimizer, tmp_path / "run", batch_size=2, quiet=True) as recorder:
        for count in range(8):
            if count == 5:
                hooks = [p.register_post_accumulate_grad_hook(enlarge) for p in model.parameters()]
            for _ in range(2):
                loss = model(INPUTS + torch.randn(1, 3)).sum() / 2
                loss.backward()
            if count == 5:
                with pytest.warns(RuntimeWarning, match="gradients were changed in the backward"):
                    optimizer.step()
            else:
                optimizer.step()
            optimizer.zero_grad()
            recorder.observe(loss=loss)
            for hook in hooks if count == 5 else ():
                hook.remove()
    records = xr.load_dataset(tmp_path / "run.nc")
    assert records["noise_updates"].values.tolist() == [0, 1, 1, 1, 1, 1, 0, 1, 1]
