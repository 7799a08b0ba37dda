"""Recordings for other programs.

Contents:
    tidy    recordings as one table, a row a record
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
