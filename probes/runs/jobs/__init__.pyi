from .display import Display as Display
from .estimate import Estimate as Estimate, estimates as estimates
from .launch import processes as processes
from .slurm import followed as followed, submitted as submitted
from .sweep import (
    Outcome as Outcome,
    Sweep as Sweep,
    differences as differences,
    discard_half as discard_half,
    state as state,
)
