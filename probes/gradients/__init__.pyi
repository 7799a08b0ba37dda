from .autograd import AfterPass as AfterPass, Seen as Seen
from .fsdp import ShardedTap as ShardedTap
from .hooks import GradientTap as GradientTap
from .scaling import (
    WITNESSES as WITNESSES,
    scale_of as scale_of,
    turn_of as turn_of,
    unscaled as unscaled,
    witnesses as witnesses,
)
