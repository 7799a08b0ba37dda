import gc
import importlib.util
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
import xarray as xr

from ultraslow.diffusion.noise import noise_scale
from ultraslow.probes.gradients.hooks import GradientTap
from ultraslow.probes.steps.hearing import listening

SPEC = importlib.util.spec_from_file_location("ddp_run", Path(__file__).parents[1] / "ddp_run.py")
runs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(runs)


def mean_estimates(path):
    recording = xr.load_dataset(path)
    updates = recording["noise_updates"]
    means = [
        float((recording[name].sum("tensor") * updates).sum() / updates.sum())
        for name in ("gradient_sq", "noise_trace")
    ]
    return *means, int(updates.sum()), recording


def assert_truth(path, units):
    gradient_sq, noise_trace, updates, recording = mean_estimates(path)
    assert updates == runs.UPDATES
    assert np.all(recording["units"].values[1:] == units)
    # 500 updates of effective dimension 1024: standard errors of about 0.3 % (theory of the
    # estimators, see ultraslow.diffusion.noise); 3 % is the figure to keep.
    assert noise_scale(gradient_sq, noise_trace) == pytest.approx(16, rel=0.03)
    assert gradient_sq == pytest.approx(4, rel=0.03)
    assert noise_trace == pytest.approx(64, rel=0.03)


def test_toy_in_a_plain_module_with_two_units(tmp_path):
    runs.toy(tmp_path / "plain", updates=runs.UPDATES, microbatches=2, microbatch=16)
    assert_truth(tmp_path / "plain.nc", units=2)


def test_toy_with_gradient_accumulation(tmp_path):
    runs.toy(tmp_path / "accumulated", updates=runs.UPDATES, microbatches=8, microbatch=4)
    assert_truth(tmp_path / "accumulated.nc", units=8)


def test_toy_under_ddp(two_processes):
    assert_truth(two_processes / "ddp.nc", units=2)


def test_toy_under_ddp_with_no_sync(two_processes):
    assert_truth(two_processes / "ddp-accumulated.nc", units=8)


def tapped(model):
    faults = []
    tap = GradientTap(list(model.parameters()), processes=1, failed=faults.append)
    return tap, faults


def test_sums_equal_those_of_separate_backward_passes():
    model = runs.network().double()
    batches = [(torch.randn(4, 1, 8, 8).double(), torch.randint(3, (4,))) for _ in range(3)]
    tap, _ = tapped(model.eval())

    def gradients(loss):
        return torch.autograd.grad(loss, list(model.parameters()))

    losses = [
        torch.nn.functional.cross_entropy(model(inputs), targets) / 3
        for inputs, targets in batches
    ]
    parts = [gradients(loss) for loss in losses]
    tap.take()  # autograd.grad ran the hooks too
    for inputs, targets in batches:
        (torch.nn.functional.cross_entropy(model(inputs), targets) / 3).backward()
    seen = tap.take()
    unit_sq, total_sq = seen.unit_sq, seen.total_sq
    assert seen.units == 3
    twin = [sum(float(part[i].square().sum()) for part in parts) for i in range(len(parts[0]))]
    total = [float(sum(part[i] for part in parts).square().sum()) for i in range(len(parts[0]))]
    np.testing.assert_allclose(unit_sq, twin, rtol=1e-12)
    np.testing.assert_allclose(total_sq, total, rtol=1e-12)


@pytest.mark.parametrize("limit", [0, 1 << 18])
def test_gradients_are_squared_as_they_came(limit, monkeypatch):
    """Whether at once or after the pass, and whatever becomes of `.grad` in it."""
    monkeypatch.setattr("ultraslow.probes.gradients.hooks.SMALL", limit)
    model = torch.nn.Linear(3, 2)
    tap, _ = tapped(model)

    def enlarge(parameter):
        parameter.grad.mul_(10)

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(enlarge)
    inputs = torch.tensor([[1.0, 2.0, 3.0]])
    model(inputs).sum().backward()  # d/dW = the inputs in both rows, d/db = 1
    seen = tap.take()
    assert seen.unit_sq.tolist() == [28.0, 2.0]
    assert seen.total_sq.tolist() == [2800.0, 200.0]


class Reusing(torch.autograd.Function):
    """x·wᵀ, with the gradient of w in a place that the next call writes over."""

    PLACE = torch.empty(4, 4)

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.t()

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w, torch.mm(g.t(), x, out=Reusing.PLACE)


def test_memory_that_is_used_again_in_the_pass_does_no_harm():
    weights = [torch.nn.Parameter(torch.randn(4, 4)) for _ in range(2)]
    tap = GradientTap(weights, processes=1, failed=lambda error: None)
    first, second = weights
    inputs = torch.randn(3, 4)
    Reusing.apply(torch.tanh(Reusing.apply(inputs, first)), second).square().sum().backward()
    true = torch.autograd.grad(
        (torch.tanh(inputs @ first.t()) @ second.t()).square().sum(), weights
    )
    assert tap.take().unit_sq.tolist() == pytest.approx([float(g.square().sum()) for g in true])


class Idle(torch.autograd.Function):
    """A function that has no gradient for its second argument."""

    @staticmethod
    def forward(ctx, x, w):
        return x + 0 * w

    @staticmethod
    def backward(ctx, g):
        return g, None


def test_a_gradient_that_is_none_counts_as_zero():
    model = torch.nn.Linear(2, 2)
    idle = torch.nn.Parameter(torch.ones(2))
    faults = []
    tap = GradientTap([*model.parameters(), idle], processes=1, failed=faults.append)
    Idle.apply(model(torch.ones(1, 2)), idle).sum().backward()
    seen = tap.take()
    assert (seen.units, faults, seen.unit_sq.tolist()) == (1, [], [4.0, 2.0, 0.0])


def test_a_parameter_without_gradient_counts_as_zero():
    model = torch.nn.ModuleList([torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)])
    tap, _ = tapped(model)
    model[0](torch.ones(1, 2)).sum().backward()
    seen = tap.take()
    assert seen.unit_sq.tolist() == seen.total_sq.tolist() == pytest.approx([2, 1, 0, 0])


def test_a_backward_pass_that_raised_leaves_no_trace():
    model = torch.nn.Linear(2, 1, bias=False)
    tap, faults = tapped(model)
    broken = model(torch.ones(1, 2)).sum()
    first = model.weight.register_hook(lambda gradient: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        broken.backward()
    first.remove()
    model(torch.ones(1, 2)).sum().backward()
    seen = tap.take()
    assert (seen.units, faults) == (1, [])
    assert seen.unit_sq.tolist() == pytest.approx([2])


@pytest.mark.parametrize("set_to_none", [False, True])
@pytest.mark.parametrize("broken", [False, True])
def test_units_whose_gradients_were_cleared_are_forgotten(set_to_none, broken):
    """Where the second pass of an update raised, or its loss was found to be of no use."""
    model = torch.nn.Linear(2, 1)
    tap, faults = tapped(model)
    model(torch.ones(1, 2)).sum().backward()
    loss = 5 * model(torch.ones(1, 2)).sum()
    if broken:
        hook = model.weight.register_hook(lambda gradient: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            loss.backward()
        hook.remove()
    model.zero_grad(set_to_none=set_to_none)
    for _ in range(2):
        (3 * model(torch.ones(1, 2)).sum()).backward()
    seen = tap.take()
    assert (seen.units, seen.discarded, seen.lost, faults) == (2, 1, 1, [])
    assert seen.unit_sq.tolist() == pytest.approx([2 * 18, 2 * 9])
    assert seen.total_sq.tolist() == pytest.approx([72, 36])


def test_gradients_changed_between_passes_are_not_taken_for_cleared():
    model = torch.nn.Linear(2, 1, bias=False)
    tap, _ = tapped(model)
    for _ in range(2):
        model(torch.ones(1, 2)).sum().backward()
        model.weight.grad.mul_(0.5)
    assert (tap.take().units, tap.take().discarded) == (2, 0)


def test_hooks_on_tensors_that_were_there_before_come_first():
    model = torch.nn.Linear(2, 1, bias=False)
    model.weight.register_hook(lambda gradient: 10 * gradient)
    tap, _ = tapped(model)
    model(torch.ones(1, 2)).sum().backward()
    seen = tap.take()
    assert float(seen.unit_sq) == float(seen.total_sq) == pytest.approx(200)


def test_a_gradient_that_is_there_in_the_end_is_that_of_the_update():
    """As with replicas that are reduced after the last of several passes."""
    model = torch.nn.Linear(2, 1, bias=False)
    faults, aside = [], []
    tap = GradientTap(list(model.parameters()), processes=2, failed=faults.append)

    def keep(parameter):
        aside.append(parameter.grad)
        parameter.grad = sum(aside) if len(aside) == 2 else None

    model.weight.register_post_accumulate_grad_hook(keep)
    for _ in range(2):
        model(torch.ones(1, 2)).sum().backward()
    assert float(tap.take().total_sq) == pytest.approx(8)
    assert faults == []
    model.weight.grad = None
    model(torch.ones(1, 2)).sum().backward()
    assert torch.isnan(tap.take().total_sq).all()
    assert ["taken away" in str(fault) for fault in faults] == [True]


def test_closing_removes_all_hooks_and_a_tap_that_is_lost_listens_to_no_optimizer():
    model = torch.nn.Linear(2, 1)
    tap, _ = tapped(model)
    assert tap in listening()
    tap.close()
    assert tap not in listening()
    model(torch.ones(1, 2)).sum().backward()
    assert tap.take().units == 0
    tap, _ = tapped(torch.nn.Linear(2, 1))
    gone = weakref.ref(tap)
    del tap
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("converted", [[0], [1], [0, 1]])
def test_tensors_of_another_type_are_heard_at_once(converted):
    """Some, and all, of two tensors are converted after they were hooked."""
    first, second = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False)
    both = torch.nn.ModuleList([first, second])
    tap, faults = tapped(both)
    for index in converted:
        both[index].double()
    hidden = first(torch.ones(1, 2).to(first.weight.dtype))
    second(hidden.to(second.weight.dtype)).sum().backward()
    expected = [float(module.weight.grad.square().sum()) for module in both]
    seen = tap.take()
    assert seen.units == 1 and not faults
    assert seen.unit_sq.tolist() == pytest.approx(expected, rel=1e-6)
    assert seen.total_sq.tolist() == pytest.approx(expected, rel=1e-6)


def test_weights_that_are_swapped_around_each_pass_are_heard_with_no_more_hooks():
    """Low precision in the pass and float32 in the step, as in loops of one's own."""
    model = torch.nn.Linear(2, 1, bias=False)
    tap, _ = tapped(model)
    held = len(tap._handles)
    for _ in range(5):
        whole = model.weight.data
        model.weight.data = whole.bfloat16()
        for _ in range(2):
            model(torch.ones(1, 2).bfloat16()).sum().backward()
        model.weight.grad, model.weight.data = None, whole
        seen = tap.take()
        assert (seen.units, float(seen.unit_sq), float(seen.total_sq)) == (2, 4.0, 8.0)
    assert len(tap._handles) == held


def test_low_precision_gradients_neither_overflow_nor_vanish():
    model = torch.nn.Linear(2, 1, bias=False).half()
    tap, _ = tapped(model)
    model.weight.backward(torch.tensor([[300.0, 1e-4]]).half())
    assert float(tap.take().unit_sq) == pytest.approx(9e4 + 1e-8)
    model.weight.grad = None
    model.weight.backward(torch.tensor([[0.0, 1e-4]]).half())
    assert float(tap.take().unit_sq) == pytest.approx(1e-8, rel=1e-3)


def test_a_failure_silences_the_tap_and_poisons_its_sums(monkeypatch):
    model = torch.nn.Linear(2, 1)
    tap, faults = tapped(model)
    monkeypatch.setattr("ultraslow.probes.gradients.hooks.SquaresAgain.__call__", lambda *_: 1 / 0)
    model(torch.ones(1, 2)).sum().backward()
    assert [type(fault) for fault in faults] == [ZeroDivisionError]
    assert torch.isnan(tap.take().unit_sq).all()
    assert model.weight.grad.tolist() == [[1, 1]]


def test_a_failure_in_an_early_unit_leaves_no_count_of_the_later_ones(monkeypatch):
    model = torch.nn.Linear(2, 1)
    tap, faults = tapped(model)
    with monkeypatch.context() as patch:
        patch.setattr("ultraslow.probes.gradients.hooks.SquaresAgain.__call__", lambda *_: 1 / 0)
        model(torch.ones(1, 2)).sum().backward()
    model(torch.ones(1, 2)).sum().backward()
    seen = tap.take()
    assert len(faults) == 1
    assert np.isnan(seen.units)
    assert torch.isnan(seen.unit_sq).all()
    assert torch.isnan(seen.total_sq).all()


def test_gradients_cleared_without_a_step_are_discarded():
    model = torch.nn.Linear(2, 1, bias=False)
    tap, _ = tapped(model)
    model(torch.ones(1, 2)).sum().backward()
    model.zero_grad()  # as after a step that mixed precision skipped
    model(2 * torch.ones(1, 2)).sum().backward()
    seen = tap.take()
    assert (seen.units, seen.discarded) == (1, 1)
    assert float(seen.unit_sq) == pytest.approx(8.0)


def test_the_loss_scale_is_undone():
    model = torch.nn.Linear(2, 1, bias=False)
    scale = torch.tensor(1024.0)
    tap = GradientTap(
        list(model.parameters()), processes=1, failed=pytest.fail, scale=lambda: scale
    )
    (model(torch.ones(1, 2)).sum() * scale).backward()
    seen = tap.take()
    assert float(seen.unit_sq) == float(seen.total_sq) == pytest.approx(2.0)


def test_gradients_that_are_only_returned_make_no_unit():
    model = torch.nn.Linear(2, 1, bias=False)
    tap, _ = tapped(model)
    model(torch.ones(1, 2)).sum().backward()
    torch.autograd.grad(model(3 * torch.ones(1, 2)).sum(), [model.weight])
    model(torch.ones(1, 2)).sum().backward(inputs=[model.weight])
    seen = tap.take()
    assert (seen.units, float(seen.unit_sq)) == (2, pytest.approx(4.0))


def test_a_pass_within_another_is_refused():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    tap, faults = tapped(model)
    inner = torch.utils.checkpoint.checkpoint(
        model[1], model[0](torch.ones(1, 2)), use_reentrant=True
    )
    inner.sum().backward()
    assert ["use_reentrant=False" in str(fault) for fault in faults] == [True]
    assert torch.isnan(tap.take().unit_sq).all()


@pytest.mark.filterwarnings("ignore:Using backward")
def test_sums_of_gradients_that_can_be_differentiated_are_plain_numbers():
    model = torch.nn.Linear(2, 1, bias=False)
    tap, _ = tapped(model)
    model(torch.ones(1, 2)).square().sum().backward(create_graph=True)
    model.weight.grad = None  # it holds on to its own graph
    seen = tap.take()
    assert not seen.unit_sq.requires_grad
    assert not seen.total_sq.requires_grad


def test_a_watch_sees_passes_and_nothing_of_them():
    model = torch.nn.Linear(2, 1)
    watch = GradientTap(list(model.parameters()), processes=1, failed=print, measure=False)
    assert not watch.making
    model(torch.ones(1, 2)).sum().backward()
    assert watch.making
    seen = watch.take()
    assert (watch.making, seen.units) == (False, 1)
    assert torch.isnan(seen.unit_sq).all()
