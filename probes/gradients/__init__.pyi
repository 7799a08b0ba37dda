from .autograd import AfterPass as AfterPass
from .fsdp import ShardedTap as ShardedTap
from .hooks import GradientTap as GradientTap
from .scaling import (
    WITNESSES as WITNESSES,
)
from .scaling import (
    scale_of as scale_of,
)
from .scaling import (
    turn_of as turn_of,
)
from .scaling import (
    unscaled as unscaled,
)
from .scaling import (
    witnesses as witnesses,
)
