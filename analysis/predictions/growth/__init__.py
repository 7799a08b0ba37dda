"""Predictions on how the distance grows.

Contents:
    log_growth    P1: like log t
    speaking      the arms that speak on P1
    each_arm      which of them say what, in words
    noise_off     P6: without noise it stops
    aging         P8: it slows with age
    straightness  P9: the path is no straight line
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
