import pytest
import torch

from probes.runs.architectures import wide_architecture
from probes.runs.resnet import parameter_count
from probes.runs.wide_resnet import PreActivation, WideResNet


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
def test_published_parameter_counts(name, millions):
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
