"""The network of a run, from its name."""

from importlib import import_module

from torch import nn

from .architectures import architecture, wide_architecture
from .config import Config
from .datasets import Facts
from .ghost_norm import with_ghost_norm
from .resnet import ResNet
from .wide_resnet import WideResNet


def build(config: Config, known: Facts) -> nn.Module:
    """The network that a run trains, with weights from torch's default generator.

    Arguments:
        config: names the model: a residual network, a wide one, or `MODULE:FACTORY`, a function
            that is called with `channels` and `classes` and returns a module.
        known: the image set, for channels and classes.

    Returns:
        The network on the CPU, with ghost batch normalization where it is asked for.
    """
    network = _named(config, known)
    return with_ghost_norm(network, config.ghost_size) if config.ghost_size else network


def _named(config: Config, known: Facts) -> nn.Module:
    module, _, factory = config.model.partition(":")
    if factory:
        return getattr(import_module(module), factory)(
            channels=known.channels, classes=known.classes
        )
    wide = wide_architecture(config.model)
    if wide is not None:
        return WideResNet(*wide, channels=known.channels, classes=known.classes)
    shape = architecture(config.model, width=config.width, shortcut=config.shortcut)
    return ResNet(shape, channels=known.channels, classes=known.classes)
