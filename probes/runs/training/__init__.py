"""One training: the loop and what it needs.

Contents:
    train        the loop, as each process runs it
    session      network, optimizer, images and recorder of a run
    evaluation   held-out loss and accuracy
    optimizers   optimizers by name
    full_batch   whether updates at the full batch are one gradient
    checkpoints  saving and resuming
    events       what processes tell their starter
    sources      where microbatches come from
    streaming    images that do not fit into memory
    workers      processes that decode images
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
