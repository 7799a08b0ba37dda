from .buffer import Buffer as Buffer
from .flush import Flushes as Flushes
from .row import RowReader as RowReader
from .schedule import Schedule as Schedule
from .schedule import schedule_of as schedule_of
from .schedule import sparse as sparse
from .state import (
    Ledger as Ledger,
)
from .state import (
    Resume as Resume,
)
from .state import (
    State as State,
)
from .state import (
    from_plain as from_plain,
)
from .state import (
    from_records as from_records,
)
from .state import (
    to_plain as to_plain,
)
from .units import DeclaredUnits as DeclaredUnits
from .units import misfits as misfits
from .window import (
    Record as Record,
)
from .window import (
    Snapshot as Snapshot,
)
from .window import (
    Updates as Updates,
)
from .window import (
    Values as Values,
)
from .window import (
    empty_window as empty_window,
)
from .window import (
    stacked as stacked,
)
