"""The likelihood ratio of a true exponent: simulated once, and kept.

Contents:
    simulation  signed roots of true exponents on one time grid, cell by cell
    disk        what was simulated, kept between calls and shared by processes
    shipped     what comes with the package, for the records of the default schedule
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
