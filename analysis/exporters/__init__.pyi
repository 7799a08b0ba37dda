from .tidy import to_frame as to_frame, write_csv as write_csv
