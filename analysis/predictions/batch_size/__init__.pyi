from .collapse import collapse_in_rate as collapse_in_rate
from .optimizer_exponents import OptimizerExponents as OptimizerExponents
from .scaled_sets import MARGIN as MARGIN
