from .ghost_norm import with_ghost_norm as with_ghost_norm
from .names import (
    SHORTCUTS as SHORTCUTS,
)
from .names import (
    architecture as architecture,
)
from .names import (
    check_model as check_model,
)
from .names import (
    wide_architecture as wide_architecture,
)
from .resnet import ResNet as ResNet
from .resnet import WideResNet as WideResNet
from .resnet import parameter_count as parameter_count
