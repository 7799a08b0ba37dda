from .breakdown import Breakdown as Breakdown
from .breakdown import Comparison as Comparison
from .breakdown import compare as compare
from .scale import (
    NoiseScale as NoiseScale,
)
from .scale import (
    noise_over_time as noise_over_time,
)
from .scale import (
    run_noise_scale as run_noise_scale,
)
