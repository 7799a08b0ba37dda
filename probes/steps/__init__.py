"""What makes an iteration: the optimizers of a run, their steps and their rates.

Contents:
    hearing     what torch calls before and after the steps of all optimizers
    optimizers  several optimizers, whose parameter groups are counted as one list
    rates       the learning rates that optimizers use, which may not be those they show
    turns       when an iteration has ended, of several optimizers
    followed    which steps are those of the run, and whose
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
