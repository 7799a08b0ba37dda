from .continuation import (
    ASSURED as ASSURED,
    MoreSeeds as MoreSeeds,
    advised as advised,
    chance_within as chance_within,
    seeds_at_most as seeds_at_most,
    seeds_to_decide as seeds_to_decide,
)
from .contrast import (
    Contrast as Contrast,
    block as block,
    paired as paired,
    unpaired as unpaired,
    welch as welch,
)
from .decision import (
    CONTRADICTED as CONTRADICTED,
    NOT_APPLICABLE as NOT_APPLICABLE,
    SUPPORTED as SUPPORTED,
    UNDECIDABLE as UNDECIDABLE,
    VERDICTS as VERDICTS,
    decide as decide,
    joint_level as joint_level,
    overall as overall,
)
from .interval import (
    Interval as Interval,
    check_level as check_level,
    fieller as fieller,
    t_quantile as t_quantile,
)
from .seeds import (
    SEEDS as SEEDS,
    t_interval as t_interval,
)
