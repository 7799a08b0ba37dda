from .growth import (
    LOG_POWER as LOG_POWER,
)
from .growth import (
    SATURATION as SATURATION,
)
from .growth import (
    SHIFTED_LOG as SHIFTED_LOG,
)
from .growth import (
    growth_basis as growth_basis,
)
from .growth import (
    growth_regressor as growth_regressor,
)
from .null import (
    CROSSOVER as CROSSOVER,
)
from .null import (
    NOISY_QUADRATIC as NOISY_QUADRATIC,
)
from .null import (
    QUADRATIC as QUADRATIC,
)
from .null import (
    SCALE_INVARIANT as SCALE_INVARIANT,
)
from .null import (
    SCALE_INVARIANT_DECAY as SCALE_INVARIANT_DECAY,
)
from .null import (
    SEPARABLE as SEPARABLE,
)
from .null import (
    law_named as law_named,
)
