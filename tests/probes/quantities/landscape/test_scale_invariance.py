import random

import pytest
import torch
from torch import nn

from ultraslow.probes.quantities.landscape.scale_invariance import (
    scale_effects,
    scale_invariant_tensors,
)
from ultraslow.probes.runs.models.names import architecture
from ultraslow.probes.runs.models.resnet import ResNet


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(size=16):
    return torch.randn(16, 3, size, size, generator=seeded(1))


def invariant(model, batch, **options):
    return scale_invariant_tensors(model, lambda: model(batch), generator=seeded(), **options)


def convolutions(model):
    return {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}


def zero_last_gains(model):
    """The initial gain of 0 in the last normalization of each block, in common use."""
    for name, parameter in model.named_parameters():
        if name.endswith("bn2.weight"):
            nn.init.zeros_(parameter)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("resnet20", {}, 16),
        ("resnet8", {"shortcut": "projection"}, 16),
        ("resnet18", {"width": 8}, 32),
    ],
)
@pytest.mark.parametrize("zeroed", [False, True])
def test_in_residual_networks_the_convolutions_are_and_nothing_else(name, options, size, zeroed):
    torch.manual_seed(0)
    model = ResNet(architecture(name, **options), channels=3, classes=10)
    if zeroed:
        zero_last_gains(model)
    found = invariant(model, images(size))
    assert {tensor for tensor, is_invariant in found.items() if is_invariant} == convolutions(
        model
    )
    assert list(found) == [n for n, _ in model.named_parameters()]


# Which of a layer's weight and bias are invariant, by algebra: batch and instance normalization
# subtract a bias per channel; normalization over features does not, and the bias fixes a scale.
LAYERS = {
    "plain": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)), set()),
    "batch": (lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)), {"0.weight"}),
    "layer": (lambda: nn.Sequential(nn.Linear(6, 5, bias=False), nn.LayerNorm(5)), {"0.weight"}),
    "layer after bias": (lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5)), set()),
    "group": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 2, bias=False), nn.GroupNorm(2, 4)
        ),
        {"1.weight"},
    ),
    "instance": (
        lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 1), nn.InstanceNorm1d(4)),
        {"1.weight"},
    ),
    "rms": (lambda: nn.Sequential(nn.Linear(6, 5, bias=False), nn.RMSNorm(5)), {"0.weight"}),
    "between activation and batch": (
        lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 5), nn.BatchNorm1d(5)),
        {"2.weight"},
    ),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layers_whose_invariance_follows_from_algebra(name, dtype):
    torch.manual_seed(0)
    build, expected = LAYERS[name]
    model = build().to(dtype)
    found = invariant(model, torch.randn(32, 6, generator=seeded(1)).to(dtype))
    assert {tensor for tensor, is_invariant in found.items() if is_invariant} == expected


def test_a_bias_before_batch_normalization_has_no_effect():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    batch = torch.randn(32, 6, generator=seeded(1))
    effects = scale_effects(model, lambda: model(batch), generator=seeded())
    assert effects["0.bias"].displaced < effects["0.bias"].rounding
    assert effects["0.weight"].displaced > 0.1


def test_doubling_changes_a_normalized_output_by_the_stated_share():
    # y = z/√(v + ε) becomes 2z/√(4v + ε): relative change 3ε/(8v) to first order in ε.
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5, affine=False)).double()
    batch = torch.randn(256, 6, generator=seeded(1)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(5, 6) * 0.1)
    effect = scale_effects(model, lambda: model(batch), generator=seeded())["0.weight"]
    # The displacement adds about 0.3² of the weights' mean square, on all six inputs.
    weight_sq = 0.1**2 * (1 + 0.3**2)
    assert effect.scaled == pytest.approx(3 * 1e-5 / (8 * weight_sq), rel=0.3)


def test_weights_too_small_beside_epsilon_do_not_count():
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5))
    batch = torch.randn(64, 6, generator=seeded(1))
    assert invariant(model, batch)["0.weight"]
    with torch.no_grad():
        model[0].weight.mul_(0.01)
    assert not invariant(model, batch)["0.weight"]


def test_frozen_tensors_are_left_out():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    model[0].bias.requires_grad_(False)
    batch = torch.randn(32, 6, generator=seeded(1))
    assert list(invariant(model, batch)) == ["0.weight", "1.weight", "1.bias"]


@pytest.mark.parametrize("raises_at", [None, 1, 4])
def test_everything_is_put_back(raises_at):
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))
    model(torch.randn(32, 6)).sum().backward()
    model[1].eval()
    gradients = [p.grad for p in model.parameters()]
    tensors = {n: v.clone() for n, v in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate()
    calls = []

    def forward():
        calls.append(model[1].training)
        random.random()
        if len(calls) == raises_at:
            raise OSError("gone")
        return model(torch.randn(32, 6))

    if raises_at:
        with pytest.raises(OSError, match="gone"):
            scale_invariant_tensors(model, forward, generator=seeded())
    else:
        assert scale_invariant_tensors(model, forward, generator=seeded())["0.weight"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, tensors[name]), name
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert [m.training for m in model] == [True, False, True]
    assert all(calls)


def test_messages():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    batch = torch.randn(32, 6)
    with pytest.raises(TypeError, match="forward: returned tuple, expected a tensor"):
        scale_invariant_tensors(model, lambda: (model(batch),), generator=seeded())
    with pytest.raises(ValueError, match="forward: returned outputs that are not finite"):
        scale_invariant_tensors(model, lambda: model(batch) * float("inf"), generator=seeded())
    with pytest.raises(ValueError, match="forward: left the model in evaluation mode"):
        scale_invariant_tensors(model, lambda: model.eval()(batch), generator=seeded())
