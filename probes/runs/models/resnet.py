"""Residual networks of He et al. (2016), for images of any size and number of channels.

`architectures` says which depths and widths there are; this module builds them.

References:
    He, Zhang, Ren, Sun (2016), Deep residual learning for image recognition, sections 3.3 and 4.2.

Wide residual networks: normalization and activation before each convolution.

References:
    Zagoruyko and Komodakis (2016), Wide residual networks, table 1; the blocks are the
    "pre-activation" ones of He et al. (2016), Identity mappings in deep residual networks.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .names import Architecture

_REGISTER = 16  # numbers in the longest vector register of a CPU


class Padding(nn.Module):
    """The shortcut without parameters: every `stride`-th pixel, and zeros as the new channels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.added = outputs - inputs
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """The input in the shape of the block's output."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


class Basic(nn.Module):
    """Two 3x3 convolutions around which the input is carried: y = relu(x' + f(x))."""

    expansion = 1

    def __init__(self, inputs: int, width: int, *, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(inputs, width, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(image, inputs, h, w)` to `(image, width, h / stride, w / stride)`."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around which the input is carried; 4 times as wide at the end.

    The stride is that of the 3x3 convolution. (In the paper it is that of the first 1x1; later
    implementations moved it, at the same number of parameters.)
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, *, stride: int, shortcut: str) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = convolution(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(image, inputs, h, w)` to `(image, 4 width, h / stride, w / stride)`."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network from images `(image, channel, h, w)` to scores `(image, class)`.

    Initial weights: each convolution is normal with mean 0 and variance 2 / (k² outputs), the
    fan-out form of He et al. (2015) that the code of Hoffer et al. (2017) uses; batch
    normalization starts at scale 1 and shift 0; weights and biases of the last layer are uniform
    in ±1/√inputs. They are drawn from torch's default generator.
    """

    def __init__(self, shape: Architecture, *, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = _stem(channels, shape)
        self.stages = nn.Sequential(*_stages(shape))
        expansion = Bottleneck.expansion if shape.bottleneck else Basic.expansion
        features = shape.width * 2 ** (len(shape.blocks) - 1) * expansion
        self.head = nn.Linear(features, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes, before the softmax."""
        return self.head(self.stages(self.stem(x)).mean(dim=(2, 3)))


@torch.no_grad()
def initialize(model: nn.Module) -> None:
    """Draw the weights of `model` as `ResNet` describes, in the order of its modules."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.uniform_(module.bias, -bound, bound)


class Strided(nn.Conv2d):
    """A convolution of single pixels that leaves out the pixels between its strides first.

    It is the same function. On CPUs the library of convolutions writes beyond its memory in the
    backward pass of one that has fewer inputs than a vector register holds, where images are
    stored channels last (oneDNN issue 6035): gradients are wrong, or the process dies.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As any convolution."""
        down, right = self.stride
        return F.conv2d(x[:, :, ::down, ::right], self.weight)


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A square convolution without bias that keeps the image's size at stride 1."""
    kind = Strided if size == 1 and stride > 1 and inputs < _REGISTER else nn.Conv2d
    return kind(inputs, outputs, size, stride, padding=size // 2, bias=False)


def parameter_count(model: nn.Module) -> int:
    """Number of trained weights."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _shortcut(inputs: int, outputs: int, stride: int, kind: str) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    if kind == "padding":
        return Padding(inputs, outputs, stride)
    return nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


def _stem(channels: int, shape: Architecture) -> nn.Sequential:
    if not shape.large:
        return nn.Sequential(
            convolution(channels, shape.width, 3), nn.BatchNorm2d(shape.width), nn.ReLU()
        )
    return nn.Sequential(
        convolution(channels, shape.width, 7, 2),
        nn.BatchNorm2d(shape.width),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def _stages(shape: Architecture) -> Iterator[nn.Sequential]:
    kind = Bottleneck if shape.bottleneck else Basic
    inputs = shape.width
    for stage, count in enumerate(shape.blocks):
        width = shape.width * 2**stage
        blocks: list[nn.Module] = []
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(kind(inputs, width, stride=stride, shortcut=shape.shortcut))
            inputs = width * kind.expansion
        yield nn.Sequential(*blocks)


_STEM = 16


class PreActivation(nn.Module):
    """Two 3x3 convolutions, each after normalization and activation: y = x' + f(relu(bn(x))).

    Where the shape changes, x' is a 1x1 convolution of the activated input; else it is x.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = convolution(inputs, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        changes = inputs != width or stride != 1
        self.shortcut = convolution(inputs, width, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Images `(image, inputs, h, w)` to `(image, width, h / stride, w / stride)`."""
        active = F.relu(self.bn1(x))
        carried = x if self.shortcut is None else self.shortcut(active)
        return carried + self.conv2(F.relu(self.bn2(self.conv1(active))))


class WideResNet(nn.Module):
    """A wide residual network from images `(image, channel, h, w)` to scores `(image, class)`.

    Its depth is 6n + 4 for n blocks in each of three stages of 16k, 32k and 64k channels, with
    strides 1, 2 and 2. Initial weights are drawn as those of `ResNet`.
    """

    def __init__(self, blocks: int, widening: int, *, channels: int, classes: int) -> None:
        """Blocks in a stage, n, and widening factor, k."""
        super().__init__()
        self.stem = convolution(channels, _STEM, 3)
        self.stages = nn.Sequential(*_wide_stages(blocks, widening))
        features = 4 * _STEM * widening
        self.norm = nn.BatchNorm2d(features)
        self.head = nn.Linear(features, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes, before the softmax."""
        features = F.relu(self.norm(self.stages(self.stem(x))))
        return self.head(features.mean(dim=(2, 3)))


def _wide_stages(blocks: int, widening: int) -> Iterator[nn.Sequential]:
    inputs = _STEM
    for stage in range(3):
        width = _STEM * widening * 2**stage
        strides = [2 if stage > 0 else 1] + [1] * (blocks - 1)
        sizes = [inputs] + [width] * (blocks - 1)
        yield nn.Sequential(
            *(
                PreActivation(size, width, stride)
                for size, stride in zip(sizes, strides, strict=True)
            )
        )
        inputs = width
