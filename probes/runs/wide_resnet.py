"""Wide residual networks: normalization and activation before each convolution.

References:
    Zagoruyko and Komodakis (2016), Wide residual networks, table 1; the blocks are the
    "pre-activation" ones of He et al. (2016), Identity mappings in deep residual networks.
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from .resnet import convolution, initialize

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
        self.stages = nn.Sequential(*_stages(blocks, widening))
        features = 4 * _STEM * widening
        self.norm = nn.BatchNorm2d(features)
        self.head = nn.Linear(features, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes, before the softmax."""
        features = F.relu(self.norm(self.stages(self.stem(x))))
        return self.head(features.mean(dim=(2, 3)))


def _stages(blocks: int, widening: int) -> Iterator[nn.Sequential]:
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
