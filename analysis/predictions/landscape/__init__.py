"""Predictions on the loss around the weights.

Contents:
    roughness    P4: how it rises with distance
    temperature  P5: how growth depends on the temperature
    barriers     P7: barriers between checkpoints
    closure      P1', P10: whether landscape and growth agree
    powers       of ln t in one curve, or of t
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
