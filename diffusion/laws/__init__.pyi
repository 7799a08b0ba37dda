from .growth import (
    LOG_POWER as LOG_POWER,
    SATURATION as SATURATION,
    SHIFTED_LOG as SHIFTED_LOG,
    growth_basis as growth_basis,
    growth_regressor as growth_regressor,
    late_logarithm as late_logarithm,
    late_logarithms as late_logarithms,
)
from .null import (
    CROSSOVER as CROSSOVER,
    NOISY_QUADRATIC as NOISY_QUADRATIC,
    QUADRATIC as QUADRATIC,
    SCALE_INVARIANT as SCALE_INVARIANT,
    SCALE_INVARIANT_DECAY as SCALE_INVARIANT_DECAY,
    SEPARABLE as SEPARABLE,
    law_named as law_named,
)
