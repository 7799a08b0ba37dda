"""Recorded rates beside what optimizers do to weights."""

import math

import pytest
import torch

from ultraslow.probes.steps.rates import described, rate_of, unknown

pytorch_optimizer = pytest.importorskip("pytorch_optimizer")


def stepped(make, gradients=(1.0, 1.0, 1.0)):
    """The weight's steps, the estimates before each, and the optimizer."""
    weight = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = make([weight])
    steps, rates = [], []
    for gradient in gradients:
        weight.grad = torch.full_like(weight, gradient)
        before, group = weight.item(), optimizer.param_groups[0]
        estimate = group.get("d")
        optimizer.step()
        steps.append(before - weight.item())
        rates.append(float(rate_of(optimizer, group, estimate)))
    return steps, rates, optimizer


def test_prodigy_steps_at_its_estimate_times_the_rate():
    """With one gradient, g/√g² = 1 after the corrections, so a step is the rate."""

    def make(weights):
        return pytorch_optimizer.Prodigy(weights, lr=0.5, bias_correction=True, weight_decay=0.0)

    steps, rates, optimizer = stepped(make, [1.0] * 20)
    assert rates[0] == pytest.approx(0.5e-6, rel=1e-12)  # d0 = 10⁻⁶
    assert rates[-1] > 2 * rates[0]  # so that it matters which estimate is read
    assert rates[:6] == pytest.approx(steps[:6], rel=1e-6)
    assert rates == pytest.approx(steps, rel=0.1)  # its moments hold earlier estimates
    assert "estimate d, times lr" in described(optimizer)


@pytest.mark.parametrize("warmup", [0, 4])
def test_schedule_free_rates_have_the_warm_up(warmup):
    """z moves by −γ_t·g; the first step moves y and z alike, as x₁ = z₁."""

    def make(weights):
        return pytorch_optimizer.ScheduleFreeSGD(weights, lr=0.1, warmup_steps=warmup)

    _, rates, optimizer = stepped(make)
    expected = [0.1 * min(t / warmup, 1.0) if warmup else 0.1 for t in (1, 2, 3)]
    assert rates == pytest.approx(expected, rel=1e-12)
    weight = optimizer.param_groups[0]["params"][0]
    assert optimizer.state[weight]["z"].item() == pytest.approx(1 - sum(expected), rel=1e-12)
    assert "base sequence" in described(optimizer)


def test_the_rate_of_adafactor_is_relative_and_falls():
    steps, rates, _ = stepped(lambda weights: torch.optim.Adafactor(weights, lr=0.6))
    assert rates == pytest.approx([0.6, 0.6, 3**-0.5])
    assert steps[0] == pytest.approx(0.6, rel=1e-3)  # ρ · RMS(w) · g/√g²


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (torch.optim.LBFGS, "lengths of its own"),
        (torch.optim.Rprop, "a rate of its own for each weight"),
    ],
)
def test_no_number_is_the_rate_of_some(make, reason):
    optimizer = make([torch.nn.Parameter(torch.ones(1))])
    assert math.isnan(rate_of(optimizer, optimizer.param_groups[0]))
    assert reason in unknown(optimizer)


def test_groups_without_a_rate_have_none():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    assert unknown(optimizer) == described(optimizer) == ""
    optimizer.param_groups[0]["lr"] = None
    assert math.isnan(rate_of(optimizer, optimizer.param_groups[0]))
    assert "without a number as lr" in unknown(optimizer)
