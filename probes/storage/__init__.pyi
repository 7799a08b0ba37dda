from .segments import SegmentStore as SegmentStore, name_fault as name_fault
from .writer import RecordingWriter as RecordingWriter, import_pools as import_pools
