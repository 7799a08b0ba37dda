from .arms import (
    Arm as Arm,
)
from .arms import (
    LadderPlace as LadderPlace,
)
from .arms import (
    ingredients_of as ingredients_of,
)
from .arms import (
    one_per_seed as one_per_seed,
)
from .arms import (
    place_of as place_of,
)
from .arms import (
    runs_of as runs_of,
)
from .arms import (
    seeds as seeds,
)
from .arms import (
    setting_differences as setting_differences,
)
from .arms import (
    setting_of as setting_of,
)
from .arms import (
    some_runs as some_runs,
)
from .load import unusable as unusable
from .names import arm_names as arm_names
from .readings import (
    CLOCKS as CLOCKS,
)
from .readings import (
    GRID as GRID,
)
from .readings import (
    ITERATION as ITERATION,
)
from .readings import (
    RATE as RATE,
)
from .readings import RATE_TOLERANCE as RATE_TOLERANCE
from .readings import (
    RECORDS as RECORDS,
)
from .readings import (
    Span as Span,
)
from .readings import (
    Stretch as Stretch,
)
from .readings import (
    by_seed as by_seed,
)
from .readings import (
    clock_values as clock_values,
)
from .readings import (
    common_window as common_window,
)
from .readings import (
    constant_rate as constant_rate,
)
from .readings import (
    distance_at as distance_at,
)
from .readings import group_places as group_places
from .readings import grouped as grouped
from .readings import (
    injected_noise as injected_noise,
)
from .readings import (
    label as label,
)
from .readings import (
    last_common_decade as last_common_decade,
)
from .readings import (
    last_decade as last_decade,
)
from .readings import (
    line as line,
)
from .readings import (
    log_distance as log_distance,
)
from .readings import (
    measured_temperature as measured_temperature,
)
from .readings import (
    momentum as momentum,
)
from .readings import (
    noise_free as noise_free,
)
from .readings import (
    positive_slope as positive_slope,
)
from .readings import (
    rate_over_size as rate_over_size,
)
from .readings import (
    sampling_share as sampling_share,
)
from .readings import (
    slope as slope,
)
from .readings import (
    total_distance as total_distance,
)
from .readings import (
    window_mean as window_mean,
)
