from .disk import Rows as Rows, cache_folder as cache_folder, rows_of as rows_of
from .shipped import (
    STEP as STEP,
    Shipped as Shipped,
    packed as packed,
    shipped_values as shipped_values,
)
from .simulation import (
    DEVIATES as DEVIATES,
    EXPONENT_NODES as EXPONENT_NODES,
    ONSET_NODES as ONSET_NODES,
    SIGNAL_NODES as SIGNAL_NODES,
    Cell as Cell,
    NullRatios as NullRatios,
    cell_of as cell_of,
    corrections as corrections,
    increasing as increasing,
    number_of as number_of,
    numbers_of as numbers_of,
    roots_at_deviates as roots_at_deviates,
)
