from .critical_batch import CriticalBatch as CriticalBatch
from .held_out import (
    MARGINS as MARGINS,
)
from .held_out import (
    MEANINGS as MEANINGS,
)
from .held_out import (
    METRICS as METRICS,
)
from .held_out import (
    ScoredRun as ScoredRun,
)
from .held_out import (
    has as has,
)
from .held_out import (
    metric_of as metric_of,
)
from .held_out import (
    once as once,
)
from .held_out import (
    rate_of as rate_of,
)
from .held_out import (
    trainings as trainings,
)
from .ladder import Gain as Gain
from .ladder import Ladder as Ladder
from .ladder import Rung as Rung
from .ladder import ladders as ladders
from .tuning import (
    Tuned as Tuned,
)
from .tuning import (
    possible as possible,
)
from .tuning import (
    scores_at as scores_at,
)
from .tuning import (
    tune as tune,
)
from .tuning import (
    tuned_difference as tuned_difference,
)
