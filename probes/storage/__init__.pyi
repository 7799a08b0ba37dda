from .elsewhere import (
    PLACES as PLACES,
    OnDisk as OnDisk,
    kept_on as kept_on,
    place_of as place_of,
)
from .mirrors import Mirror as Mirror, Mirrored as Mirrored, checked_mirrors as checked_mirrors
from .segments import SegmentStore as SegmentStore, name_fault as name_fault
from .upload import Upload as Upload, recorded_at as recorded_at
from .writer import (
    GRADIENT_FIELDS as GRADIENT_FIELDS,
    SCALE_FIELDS as SCALE_FIELDS,
    RecordingWriter as RecordingWriter,
    import_pools as import_pools,
)
