import math

import pytest
import torch

from ultraslow.probes.runs.models.names import Architecture, architecture, wide_architecture
from ultraslow.probes.runs.models.resnet import (
    Padding,
    PreActivation,
    ResNet,
    WideResNet,
    convolution,
    parameter_count,
)


@pytest.mark.parametrize(
    ("name", "shortcut", "classes", "parameters"),
    [
        # He et al. (2016), table 6, rounds these to 0.27, 0.46, 0.66, 0.85 and 1.7 million.
        ("resnet20", "padding", 10, 269_722),
        ("resnet32", "padding", 10, 464_154),
        ("resnet44", "padding", 10, 658_586),
        ("resnet56", "padding", 10, 853_018),
        ("resnet110", "padding", 10, 1_727_962),
        # The code of Hoffer et al. (2017): projections with batch normalization.
        ("resnet44", "projection", 10, 661_338),
        # The counts that torchvision documents for its ImageNet weights.
        ("resnet18", "projection", 1000, 11_689_512),
        ("resnet34", "projection", 1000, 21_797_672),
        ("resnet50", "projection", 1000, 25_557_032),
        ("resnet101", "projection", 1000, 44_549_160),
    ],
)
def test_published_parameter_counts(name, shortcut, classes, parameters):
    with torch.device("meta"):
        network = ResNet(architecture(name, shortcut=shortcut), channels=3, classes=classes)
    assert parameter_count(network) == parameters


def test_depth_counts_the_weighted_layers_of_the_longest_path():
    for name in ("resnet8", "resnet20", "resnet44", "resnet18", "resnet34", "resnet50"):
        shape = architecture(name)
        layers = 2 + (3 if shape.bottleneck else 2) * sum(shape.blocks)
        assert layers == int(name.removeprefix("resnet")), name


def test_squared_norm_of_initial_weights():
    # Derivation: a convolution of k*k*inputs*outputs weights of variance 2/(k*k*outputs) has the
    # expectation 2*inputs; scales of batch normalization are 1; the last layer is uniform. The
    # published code of Hoffer et al. (2017) gives the same sum, 4825.4.
    torch.manual_seed(0)
    shape = architecture("resnet44", shortcut="projection")
    norms = []
    for _ in range(4):
        network = ResNet(shape, channels=3, classes=10)
        norms.append(sum(float(p.detach().square().sum()) for p in network.parameters()))
    convolutions = 2 * (3 + 14 * 16 + (16 + 13 * 32 + 16) + (32 + 13 * 64 + 32))
    scales = 15 * (16 + 32 + 64)
    expected = convolutions + scales + (64 * 10 + 10) / (3 * 64)
    assert expected == pytest.approx(4825.4, abs=0.05)
    # Var of a sum of n squares of variance v is 2*n*v²; by layer 8*inputs/(9*outputs), about 28
    # in all, so four means stay within 12 at more than four standard deviations.
    assert sum(norms) / 4 == pytest.approx(expected, abs=12)


def test_each_convolution_has_the_documented_variance():
    torch.manual_seed(1)
    network = ResNet(architecture("resnet8", width=64), channels=3, classes=10)
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            weight = module.weight.detach().double()
            variance = 2 / (module.kernel_size[0] ** 2 * module.out_channels)
            # Five standard deviations of the sample variance of normal numbers.
            tolerance = 5 * math.sqrt(2 / weight.numel())
            assert float(weight.var()) == pytest.approx(variance, rel=tolerance), name


def test_padding_keeps_every_second_pixel_and_adds_zero_channels():
    images = torch.randn(2, 3, 5, 5)
    padded = Padding(3, 5, 2)(images)
    assert torch.equal(padded[:, :3], images[:, :, ::2, ::2])
    assert torch.count_nonzero(padded[:, 3:]) == 0
    assert padded.shape == (2, 5, 3, 3)


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "resnet50"])
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 9), (2, 33)])
def test_any_image_size_and_channel_count(name, channels, side):
    network = ResNet(architecture(name, width=4), channels=channels, classes=7)
    assert network(torch.randn(2, channels, side, side)).shape == (2, 7)


@pytest.mark.parametrize("shortcut", ["padding", "projection"])
def test_all_weights_take_part(shortcut):
    network = ResNet(architecture("resnet14", shortcut=shortcut), channels=1, classes=10)
    network(torch.randn(4, 1, 8, 8)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_same_seed_same_weights():
    def weights():
        torch.manual_seed(5)
        return ResNet(Architecture((1, 1)), channels=1, classes=2).state_dict()

    first, second = weights(), weights()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("name", "millions"),
    # Zagoruyko and Komodakis (2016), tables 2 and 4.
    [
        ("wrn40-1", 0.6),
        ("wrn40-2", 2.2),
        ("wrn40-4", 8.9),
        ("wrn40-8", 35.7),
        ("wrn28-10", 36.5),
        ("wrn28-12", 52.5),
        ("wrn22-8", 17.2),
        ("wrn16-8", 11.0),
        ("wrn16-10", 17.1),
    ],
)
def test_published_parameter_counts_wide_resnet(name, millions):
    with torch.device("meta"):
        network = WideResNet(*wide_architecture(name), channels=3, classes=10)
    assert parameter_count(network) / 1e6 == pytest.approx(millions, abs=0.051)


def test_any_image_size_and_all_weights_take_part():
    network = WideResNet(1, 2, channels=2, classes=5)
    scores = network(torch.randn(3, 2, 9, 9))
    assert scores.shape == (3, 5)
    scores.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_a_block_that_keeps_the_shape_carries_its_input_unchanged():
    block = PreActivation(4, 4, 1)
    torch.nn.init.zeros_(block.conv2.weight)
    images = torch.randn(2, 4, 5, 5)
    assert torch.equal(block(images), images)


@pytest.mark.parametrize("name", ["wrn16", "wrn15-4", "wrn4-1", "wrn16-0", "resnet8", "wrn16-4x"])
def test_other_names(name):
    assert wide_architecture(name) is None


@pytest.mark.parametrize("inputs", [2, 4, 8, 15])
def test_gradients_of_narrow_shortcuts_are_right_channels_last(inputs):
    """Where the library of convolutions writes beyond its memory."""
    torch.manual_seed(0)
    layer = convolution(inputs, 2 * inputs, 1, 2)
    images = torch.randn(8, inputs, 17, 16)
    slopes = torch.randn(8, 2 * inputs, 9, 8)
    layer(images.contiguous(memory_format=torch.channels_last)).backward(slopes)
    expected = torch.einsum("bohw,bihw->oi", slopes.double(), images[:, :, ::2, ::2].double())
    found = layer.weight.grad[:, :, 0, 0].double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
