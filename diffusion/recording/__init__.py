"""What a recording is: its fields, its file, who writes it.

Contents:
    fields    every field: dimensions, type, unit, meaning
    contract  packing values into a recording, and every fault of a bad one
    errors    the error of a recording, with all its faults
    labels    words and ranges of what a person says of a run
    schedule  at which iterations to record
    disk      whole files and folders that outlast a power cut
    outside   links out of an HDF5 file, and circles in it
    headers   what a sealed file declares, and values, read off its bytes
    pieces    values that such a file keeps in pieces
    netcdf    the one reader and writer of files, and their seal
    joining   what is missing between the segments of a live recording
    remote    recordings in object stores, by their URLs
    lease     who writes a live folder
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
