"""Quantities measured of the weights.

Contents:
    weights     distance from the start, and length of the path
    sketch      a sketch of the weights at each record
    evaluation  numbers of the user's own, such as a held-out accuracy
    landscape   the loss around the weights
    scheduled   quantities that are measured at iterations of their own
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
