from .best_rates import BestRates as BestRates
from .critical_batch import CriticalBatch as CriticalBatch
from .held_out import (
    MARGINS as MARGINS,
    MEANINGS as MEANINGS,
    METRICS as METRICS,
    ScoredRun as ScoredRun,
    has as has,
    metric_of as metric_of,
    once as once,
    rate_of as rate_of,
    trainings as trainings,
)
from .ladder import Gain as Gain, Ladder as Ladder, Rung as Rung, ladders as ladders
from .tuning import (
    Tuned as Tuned,
    possible as possible,
    scores_at as scores_at,
    tune as tune,
    tuned_difference as tuned_difference,
)
