"""Recordings: read, named, and gathered into arms.

Contents:
    load           files, live folders and globs
    phases         phases of constant learning rate
    arms           runs that differ in their seeds only
    names          how arms are called
    clocks         iterations, summed rates, samples
    slopes         local slopes of the distance
    tensor_groups  groups of tensors of a run
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
