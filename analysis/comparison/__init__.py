"""Laws compared by what they forecast.

Contents:
    laws            the laws, and their least-squares fits
    forecast        rolling origins in log time
    confidence_set  the laws that the runs of an arm do not refute
    compare         the laws on recordings, arm by arm
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
