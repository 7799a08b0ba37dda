"""Squared norms of the gradients of units, and of their mean.

Contents:
    hooks     tensor hooks of plain modules and DistributedDataParallel
    clearing  whether gradients are cleared between updates
    small     small gradients, which are held until the pass has ended
    fsdp      gradients before `fully_shard` reduces and scatters them
    autograd  what to do at the end of a backward pass
    scaling   the loss scale of mixed precision, and clipping
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
