"""Recordings: read, named, and gathered into arms.

Contents:
    load      files, live folders and globs
    catalog   the same by their headings alone, thousands of them
    heading   what is kept of a recording in a list
    readings  settings, clocks, distances and slopes of one run
    phases    stretches of a run at one learning rate
    clocks    what distances are followed against where the rate changes
    arms      runs that differ in their seeds only, sets of equal runs
    distinct  which runs are draws of their own, and why others are none
    odd       runs unlike all other seeds of their arm
    names     how arms are called
    gaps      seeds and arms that a sweep lacks
    where     conditions that choose some of them
    stored    large variables that stay on disk until they are used
    blocks    functions of series that lie in chunks
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
