import pytest
import torch

from probes.runs.injection import add_noise, inject


def test_noise_has_the_asked_deviation_and_leaves_the_mean():
    gradients = [torch.full((300, 400), 2.0), torch.full((50_000,), 2.0)]
    add_noise(gradients, 0.3, torch.Generator().manual_seed(0))
    for gradient in gradients:
        count = gradient.numel()
        # Five standard errors of mean and deviation.
        assert float(gradient.mean()) == pytest.approx(2.0, abs=5 * 0.3 / count**0.5)
        assert float(gradient.std()) == pytest.approx(0.3, rel=5 / (2 * count) ** 0.5)


def test_components_are_independent_between_tensors_and_steps():
    generator = torch.Generator().manual_seed(0)
    first, second, later = (torch.zeros(10_000) for _ in range(3))
    add_noise([first, second], 1.0, generator)
    add_noise([later], 1.0, generator)
    correlations = torch.corrcoef(torch.stack([first, second, later]))[0, 1:]
    assert correlations.abs().max() < 0.05


def test_memory_layout_does_not_change_the_noise():
    plain = torch.zeros(2, 3, 4, 5)
    last = torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last)
    for gradient in (plain, last):
        add_noise([gradient], 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(plain, last)


def test_steps_with_noise_diffuse():
    weights = torch.zeros(20_000, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=0.5)
    handle = inject(optimizer, 0.2, torch.Generator().manual_seed(1))
    for _ in range(9):
        weights.grad = torch.zeros_like(weights)
        optimizer.step()
    # Nine independent steps of deviation η·s = 0.1: 0.3.
    assert float(weights.detach().std()) == pytest.approx(0.3, rel=0.05)
    handle.remove()
    before = weights.detach().clone()
    weights.grad = torch.zeros_like(weights)
    optimizer.step()
    assert torch.equal(weights, before)


def test_other_hooks_that_came_first_see_the_gradient_without_noise():
    weights = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=1.0)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(weights.grad.clone()))
    inject(optimizer, 5.0, torch.Generator().manual_seed(0))
    weights.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(seen[0], torch.ones(3))
