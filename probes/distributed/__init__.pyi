from .children import (
    SILENCE as SILENCE,
)
from .children import (
    SilenceError as SilenceError,
)
from .children import (
    end_with_torchrun as end_with_torchrun,
)
from .children import (
    lines as lines,
)
from .children import (
    torchrun as torchrun,
)
from .processes import (
    Processes as Processes,
)
from .processes import (
    fail_together as fail_together,
)
from .processes import (
    first_index as first_index,
)
from .processes import (
    in_step as in_step,
)
from .processes import (
    is_sharded as is_sharded,
)
from .processes import (
    leave as leave,
)
from .processes import (
    local as local,
)
from .processes import (
    parameter_names as parameter_names,
)
from .processes import (
    part_like as part_like,
)
from .processes import (
    processes_of as processes_of,
)
from .processes import (
    unwrapped as unwrapped,
)
from .processes import (
    within_wrapper as within_wrapper,
)
from .processes import (
    wrapped_late as wrapped_late,
)
from .sigterm import Termination as Termination
from .sigterm import agreement_among as agreement_among
