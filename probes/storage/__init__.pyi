from .mirrors import Mirror as Mirror, Mirrored as Mirrored, checked_mirrors as checked_mirrors
from .segments import SegmentStore as SegmentStore, name_fault as name_fault
from .writer import RecordingWriter as RecordingWriter, import_pools as import_pools
