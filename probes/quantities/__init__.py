"""What is measured of a network while it trains, beside its gradients.

Contents:
    table       all quantities by name: a new one is a module here and a line there
    quantity    what a quantity is, and what becomes of one that fails
    distance    distance from the start
    path        length of the path
    sketch      a sketch of the weights at each record
    evaluation  numbers of the user's own, such as a held-out accuracy
    landscape   the loss around the weights
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
