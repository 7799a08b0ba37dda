from .autograd import AfterPass as AfterPass, Inputs as Inputs, Seen as Seen
from .fsdp import ShardedTap as ShardedTap
from .hooks import GradientTap as GradientTap
from .scaling import (
    WITNESSES as WITNESSES,
    scale_of as scale_of,
    stepping_scaler as stepping_scaler,
    turn_of as turn_of,
    unscaled as unscaled,
    unscaling_counts as unscaling_counts,
    witnesses as witnesses,
)
