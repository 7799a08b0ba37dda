"""The sub-commands that read recordings, plan or simulate them.

Contents:
    shared       arguments, recordings read, files written, answers printed
    inventory    info
    recordings   fit, test, compare, report
    batch_sizes  noise, batch
    planning     plan, simulate
    exchange     import, export
    watching     watch
    live         runs followed while they record
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
