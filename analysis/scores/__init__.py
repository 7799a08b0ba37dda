"""Held-out scores.

Contents:
    held_out        the scores of trainings
    tuning          the best learning rate of a batch size
    ladder          what each step of a recipe gains
    target_loss     iterations to a target loss
    hyperbola       steps against examples to a target
    odd_sizes       batch sizes off the curve of the others
    best_rates      the noise scale that the best learning rates tell
    completing      what a table lacks for one
    critical_batch  where larger batches stop paying
    batch_table     tables of steps to a target, or of best rates
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
