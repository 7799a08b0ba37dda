"""What was measured and is not written yet.

Contents:
    schedule  at which iterations to record
    row       one update: rate, scale, clock and the like, as one row of numbers
    units     what is declared and seen of the independent parts of a batch
    judgement what is determined of them
    multiples what gradients were multiplied by after their passes
    averaged  gradients that the training loop averages over processes itself
    groups    tensors that are recorded as one
    window    means over the iterations of a window
    buffer    rows on the device, and their way to the host
    flush     when to write
    state     what a resumed run needs to go on
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
