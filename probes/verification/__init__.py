"""Whether what is recorded is true.

Contents:
    entry      `verify`: the user's own training, or a toy
    rehearsal  a few updates of the user's training, recorded and computed a second time
    reference  gradients and their noise by a slow computation of their own
    kept       putting back what a rehearsal changes
    agreement  the digits that agree, and what to change where they do not
    toy        a toy of known noise scale through the user's way of training
    modes      the ways of training that `ultraslow verify` goes through
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
