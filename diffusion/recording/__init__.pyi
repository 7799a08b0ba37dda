from .contract import (
    ATTRIBUTE_LENGTH as ATTRIBUTE_LENGTH,
)
from .contract import (
    NAME_LENGTH as NAME_LENGTH,
)
from .contract import (
    check as check,
)
from .contract import (
    pack as pack,
)
from .contract import (
    seam_faults as seam_faults,
)
from .errors import RecordError as RecordError
from .fields import FIELDS as FIELDS
from .lease import Lease as Lease
from .lease import TakenOver as TakenOver
from .lease import state_of as state_of
from .netcdf import (
    from_bytes as from_bytes,
)
from .netcdf import (
    read_file as read_file,
)
from .netcdf import (
    seal as seal,
)
from .netcdf import (
    size_fault as size_fault,
)
from .netcdf import (
    to_bytes as to_bytes,
)
from .schedule import log_spaced as log_spaced
