from .importing import (
    ImportRequest as ImportRequest,
    import_runs as import_runs,
    imported as imported,
    targets as targets,
    write_all as write_all,
)
from .packing import Imported as Imported
