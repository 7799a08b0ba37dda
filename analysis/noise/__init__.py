"""Gradient noise scales.

Contents:
    memory     how well a ratio of means is known, whatever the memory of its noise
    scale      B_simple of measured moments, with its interval
    breakdown  of recordings: of runs and arms, over time, by tensors and by loss
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
