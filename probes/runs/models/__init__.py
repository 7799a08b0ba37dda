"""Networks of the reference runs.

Contents:
    names       what a model's name says, without torch
    resnet      ResNets and Wide ResNets
    ghost_norm  batch norm over small parts of a batch
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
