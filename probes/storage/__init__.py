"""Recordings and weights on disk.

Contents:
    segments  a live recording: a folder of immutable segments
    mirrors   scalars in formats of other programs, while a run lives
    csv_file  one of them
    upload    copies in object stores
    writer    from measurements to segments and the closed file
    initial   the initial weights beside a recording
    weights   weights in safetensors files, in parts
    elsewhere initial weights in the host's memory, or on disk alone
    repair    a closed file from what a killed run left
    label     labels of a recording that were forgotten, or wrong
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
