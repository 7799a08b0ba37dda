import copy

import pytest
import torch
from torch import nn

from ultraslow.probes.runs.models.ghost_norm import GhostNorm2d, with_ghost_norm
from ultraslow.probes.runs.models.names import architecture
from ultraslow.probes.runs.models.resnet import ResNet


def pair(channels=3, ghost_size=4):
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(channels)
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    return plain, with_ghost_norm(nn.Sequential(copy.deepcopy(plain)), ghost_size)[0]


@pytest.mark.parametrize("momentum", [0.1, 0.9, None])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_equals_a_batch_split_by_hand(momentum, layout, kind):
    plain, ghost = (one.to(kind) for one in pair())
    plain.momentum = ghost.momentum = momentum
    close = {"rtol": 3e-6, "atol": 3e-6} if kind is torch.float32 else {"rtol": 0, "atol": 1e-13}
    for count in (12, 20, 4):
        images = (3 + 2 * torch.randn(count, 3, 5, 6, dtype=kind)).contiguous(memory_format=layout)
        ours, theirs = (images.clone().requires_grad_() for _ in range(2))
        by_hand = torch.cat([plain(part) for part in theirs.split(4)])
        found = ghost(ours)
        assert found.is_contiguous(memory_format=layout)
        torch.testing.assert_close(found, by_hand, **close)
        slopes = torch.randn_like(found)
        found.backward(slopes)
        by_hand.backward(slopes)
        torch.testing.assert_close(ours.grad, theirs.grad, **close)
    expected = dict(plain.named_buffers())
    for name, buffer in ghost.named_buffers():
        torch.testing.assert_close(buffer, expected[name], **close)
    for name, weight in ghost.named_parameters():
        gradient = dict(plain.named_parameters())[name].grad
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-5, atol=1e-4)


def test_bfloat16_is_normalized_in_single_precision():
    plain, ghost = pair()
    images = (100 + torch.randn(8, 3, 5, 5)).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        found = ghost(images)
    by_hand = torch.cat([plain(part) for part in images.float().split(4)])
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found.float(), by_hand, rtol=0.01, atol=0.01)


def test_second_derivatives_are_refused_and_not_wrong():
    _, ghost = pair()
    images = torch.randn(8, 3, 5, 5, requires_grad=True)
    (slope,) = torch.autograd.grad(ghost(images).square().sum(), images, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_without_weights_or_running_statistics():
    plain = nn.BatchNorm2d(3, affine=False, track_running_stats=False)
    ghost = with_ghost_norm(nn.Sequential(copy.deepcopy(plain)), 2)[0]
    images = torch.randn(6, 3, 4, 4)
    torch.testing.assert_close(ghost(images), torch.cat([plain(part) for part in images.split(2)]))


def test_each_ghost_batch_has_mean_beta_and_deviation_gamma():
    _, ghost = pair()
    parts = ghost(7 + 3 * torch.randn(8, 3, 9, 9)).detach().double().split(4)
    for part in parts:
        mean, variance = part.mean(dim=(0, 2, 3)), part.var(dim=(0, 2, 3), correction=0)
        torch.testing.assert_close(mean, ghost.bias.detach().double(), rtol=0, atol=1e-5)
        torch.testing.assert_close(
            variance, ghost.weight.detach().double() ** 2, rtol=1e-4, atol=1e-5
        )


def test_running_mean_after_constant_parts():
    ghost = GhostNorm2d(1, 2)
    levels = torch.tensor([1.0, 2.0, 4.0])
    ghost(levels.repeat_interleave(2)[:, None, None, None].expand(6, 1, 3, 3))
    # From 0 by r ← 0.9 r + 0.1 x for x = 1, 2, 4: 0.081 + 0.18 + 0.4.
    assert float(ghost.running_mean) == pytest.approx(0.661)
    assert int(ghost.num_batches_tracked) == 3


def test_evaluation_uses_the_running_statistics():
    plain, ghost = pair()
    images = torch.randn(10, 3, 4, 4)
    assert torch.equal(ghost.eval()(images), plain.eval()(images))


def test_accumulated_gradient_is_that_of_the_whole_batch():
    torch.manual_seed(0)
    network = ResNet(architecture("resnet8", width=4), channels=1, classes=3).double()
    network = with_ghost_norm(network, 4)
    images, targets = torch.randn(24, 1, 8, 8).double(), torch.randint(0, 3, (24,))

    def gradients(size):
        network.zero_grad()
        for k in range(0, 24, size):
            scores = network(images[k : k + size])
            loss = nn.functional.cross_entropy(scores, targets[k : k + size]) * size / 24
            loss.backward()
        return torch.cat([p.grad.flatten() for p in network.parameters()])

    for size in (4, 8, 12):
        torch.testing.assert_close(gradients(size), gradients(24))


def test_all_batch_normalizations_are_replaced_with_their_state():
    network = ResNet(architecture("resnet8", shortcut="projection"), channels=1, classes=2)
    before = copy.deepcopy(network.state_dict())
    changed = with_ghost_norm(network, 8)
    kinds = [type(m) for m in changed.modules() if isinstance(m, nn.BatchNorm2d)]
    assert set(kinds) == {GhostNorm2d}
    assert len(kinds) == 1 + 3 * 2 + 2
    assert list(before) == list(changed.state_dict())
    assert all(torch.equal(before[name], value) for name, value in changed.state_dict().items())


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="ghost_size: found 4, expected a divisor of the 10"):
        GhostNorm2d(1, 4)(torch.randn(10, 1, 2, 2))


def test_a_module_stays_what_it_is():
    """Its ε, momentum, flags and hooks; wherever it is used, and as the root."""
    shared = nn.BatchNorm2d(3, eps=1e-3, momentum=None)
    shared.weight.requires_grad_(False)
    model = nn.Sequential(shared, nn.Conv2d(3, 3, 1), shared, nn.BatchNorm2d(3, affine=False))
    called = []
    shared.register_forward_hook(lambda *_: called.append(1))
    found = with_ghost_norm(model, 4)
    assert found[0] is found[2] is shared
    assert (shared.eps, shared.momentum, shared.ghost_size) == (1e-3, None, 4)
    assert not shared.weight.requires_grad
    assert found[3].weight is None
    images = torch.randn(8, 3, 2, 2)
    parts = torch.cat([nn.BatchNorm2d(3, eps=1e-3)(part) for part in images.split(4)])
    torch.testing.assert_close(shared(images), parts)
    assert called == [1]
    assert with_ghost_norm(nn.BatchNorm2d(3), 4).ghost_size == 4
