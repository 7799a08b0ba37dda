from .buffer import ROW_COLUMNS as ROW_COLUMNS, Buffer as Buffer, Part as Part
from .flush import Flushes as Flushes
from .groups import (
    Patterns as Patterns,
    TensorGroups as TensorGroups,
    tensor_groups as tensor_groups,
)
from .judgement import misfits as misfits
from .row import RowReader as RowReader
from .schedule import Schedule as Schedule, schedule_of as schedule_of, sparse as sparse
from .state import (
    Ledger as Ledger,
    Resume as Resume,
    State as State,
    from_plain as from_plain,
    from_records as from_records,
    to_plain as to_plain,
)
from .units import DeclaredUnits as DeclaredUnits
from .window import (
    Record as Record,
    Snapshot as Snapshot,
    Updates as Updates,
    Values as Values,
    empty_window as empty_window,
    stacked as stacked,
)
