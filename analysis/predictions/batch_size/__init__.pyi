from .collapse import collapse_in_rate as collapse_in_rate
from .scaled_sets import MARGIN as MARGIN
