from .segments import SegmentStore as SegmentStore, name_fault as name_fault
from .writer import RecordingWriter as RecordingWriter, import_all as import_all
