from .cost import ArmCost as ArmCost, arm_costs as arm_costs
from .display import Display as Display
from .launch import processes as processes
from .slurm import followed as followed, submitted as submitted
from .sweep import (
    Outcome as Outcome,
    Sweep as Sweep,
    can_go_on as can_go_on,
    differences as differences,
    finished_at as finished_at,
    make_ready as make_ready,
    state as state,
)
