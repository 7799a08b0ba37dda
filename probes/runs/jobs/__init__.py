"""Starting runs, here or on a cluster.

Contents:
    launch    the processes of a run, and what they tell
    sweep     many runs, one after another
    display   progress on a terminal
    cost      what a study will cost and whom it serves
    slurm     runs as Slurm jobs, by submitit
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
