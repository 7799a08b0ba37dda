from .equal_updates import generalization as generalization
from .full_batch import HUGE_SHARE as HUGE_SHARE, huge_sizes as huge_sizes
