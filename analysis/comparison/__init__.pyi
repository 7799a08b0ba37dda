from .compare import (
    LATE_LOGARITHM as LATE_LOGARITHM,
    LOGARITHM as LOGARITHM,
    ArmLaws as ArmLaws,
    LawFound as LawFound,
    arm_compared as arm_compared,
    as_dataset as as_dataset,
    in_words as in_words,
    off_ends as off_ends,
)
from .forecast import (
    DECADE as DECADE,
    HALF_DECADE as HALF_DECADE,
)
from .laws import CANDIDATES as CANDIDATES
