from .buffer import Buffer as Buffer, Part as Part
from .flush import Flushes as Flushes
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
