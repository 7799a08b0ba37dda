"""Predictions on held-out scores.

Contents:
    gaps           gaps between batch sizes, each at its best rate
    equal_updates  P3: none at equal updates
    full_batch     H-a: none up to the full batch
    less_distance  H-c: large batches travel less
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
