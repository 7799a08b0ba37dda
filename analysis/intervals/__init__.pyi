from .contrast import (
    Contrast as Contrast,
)
from .contrast import (
    block as block,
)
from .contrast import (
    paired as paired,
)
from .contrast import (
    unpaired as unpaired,
)
from .decision import (
    CONTRADICTED as CONTRADICTED,
)
from .decision import (
    SUPPORTED as SUPPORTED,
)
from .decision import (
    UNDECIDABLE as UNDECIDABLE,
)
from .decision import (
    VERDICTS as VERDICTS,
)
from .decision import (
    decide as decide,
)
from .decision import (
    joint_level as joint_level,
)
from .decision import (
    overall as overall,
)
from .interval import (
    Interval as Interval,
)
from .interval import (
    fieller as fieller,
)
from .interval import (
    t_quantile as t_quantile,
)
from .seeds import (
    SEEDS as SEEDS,
)
from .seeds import (
    t_interval as t_interval,
)
