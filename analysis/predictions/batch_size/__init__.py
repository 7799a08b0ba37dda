"""Predictions on what batch sizes share.

Contents:
    collapse             P2, P2': one curve for all
    scaled_sets          sets of runs under a scaling rule, and ratios of their distances
    slope_law            how slopes scale with rate and batch size
    optimizer_exponents  how distance and noise scale with them, by optimizer
    huge_batch           H-b
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
