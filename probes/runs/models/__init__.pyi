from .ghost_norm import with_ghost_norm as with_ghost_norm
from .names import (
    SHORTCUTS as SHORTCUTS,
    architecture as architecture,
    check_model as check_model,
    wide_architecture as wide_architecture,
)
from .resnet import ResNet as ResNet, WideResNet as WideResNet, parameter_count as parameter_count
