from .display import Display as Display
from .launch import processes as processes
from .slurm import followed as followed
from .slurm import submitted as submitted
from .sweep import (
    Outcome as Outcome,
)
from .sweep import (
    Sweep as Sweep,
)
from .sweep import (
    differences as differences,
)
from .sweep import (
    discard_half as discard_half,
)
from .sweep import (
    state as state,
)
