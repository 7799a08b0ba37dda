from .followed import STEP as STEP, Followed as Followed, is_recorded as is_recorded
from .hearing import (
    Handle as Handle,
    before_steps as before_steps,
    current as current,
    uncompiled as uncompiled,
)
from .optimizers import Optimizers as Optimizers
from .turns import Turns as Turns
