from .alike import (
    in_place as in_place,
    moved_apart as moved_apart,
    of_distances as of_distances,
    refuse_unlike as refuse_unlike,
)
from .children import (
    SILENCE as SILENCE,
    SilenceError as SilenceError,
    end_with_torchrun as end_with_torchrun,
    lines as lines,
    torchrun as torchrun,
)
from .interrupts import Interrupts as Interrupts
from .meetings import (
    LONG as LONG,
    PATIENCE as PATIENCE,
    Meetings as Meetings,
    MissingError as MissingError,
    StoreGoneError as StoreGoneError,
    gather as gather,
)
from .processes import (
    Processes as Processes,
    fail_together as fail_together,
    first_index as first_index,
    in_step as in_step,
    is_sharded as is_sharded,
    leave as leave,
    local as local,
    may_join as may_join,
    parameter_names as parameter_names,
    part_like as part_like,
    processes_of as processes_of,
    resharded as resharded,
    unwrapped as unwrapped,
    within_wrapper as within_wrapper,
    wrapped_late as wrapped_late,
)
from .sigterm import Termination as Termination
from .strategies import (
    explained as explained,
    refuse_one_path as refuse_one_path,
    refuse_unseen as refuse_unseen,
)
