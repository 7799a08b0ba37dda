"""The loss around the weights, along lines.

Contents:
    probe             when to look, where, and what is recorded
    scan              losses at given distances along a direction
    directions        random, noise-shaped and trajectory directions
    batches           the data on which the loss is taken
    scale_invariance  which tensors a normalization makes scale-invariant
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
