"""Gradient noise scales.

Contents:
    scale      B_simple of a recording, with its interval
    breakdown  by parts of the network, seeds and batch sizes
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
