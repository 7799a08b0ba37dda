"""Held-out scores.

Contents:
    held_out        the scores of trainings
    tuning          the best learning rate of a batch size
    ladder          what each step of a recipe gains
    critical_batch  where larger batches stop paying
    hyperbola       steps against examples to a target
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
