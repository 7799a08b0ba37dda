from .segments import SegmentStore as SegmentStore
from .writer import RecordingWriter as RecordingWriter
