from .collapse import (
    clock_errors as clock_errors,
    collapse_in_rate as collapse_in_rate,
    collapsing as collapsing,
)
from .optimizer_exponents import OptimizerExponents as OptimizerExponents
from .scaled_sets import MARGIN as MARGIN
