"""Predictions, each a function from recordings to a verdict.

Contents:
    table           all of them, and `test`
    verdict         what a verdict holds
    survivors       `compare_laws`: which laws of growth survive on each arm
    odd_seeds       what a verdict would be without a run unlike all others of its arm
    evidence        runs that may be compared, means across seeds, what is missing
    means           what means across the seeds of arms say together, and how many seeds would
    growth          P1, P6, P8, P9: how the distance grows
    batch_size      P2, P2', H-b: what batch sizes share
    landscape       P4, P5, P7, P10, P1': the loss around the weights
    generalization  P3, H-a, H-c: held-out scores
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
