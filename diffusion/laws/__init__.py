"""Growth laws as values.

Contents:
    law     what a law is: a curve, its slope, its parameters and their meaning
    growth  the growth family and the laws it is compared with
    null    laws of distances without a random landscape
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
