from .arms import (
    Arm as Arm,
)
from .arms import (
    Place as Place,
)
from .arms import (
    Stretch as Stretch,
)
from .arms import (
    constant_rate as constant_rate,
)
from .arms import (
    differences as differences,
)
from .arms import (
    ingredients_of as ingredients_of,
)
from .arms import (
    injected_noise as injected_noise,
)
from .arms import (
    label as label,
)
from .arms import (
    one_per_seed as one_per_seed,
)
from .arms import (
    place_of as place_of,
)
from .arms import (
    recordings as recordings,
)
from .arms import (
    seeds as seeds,
)
from .arms import (
    setting_of as setting_of,
)
from .arms import (
    some_recordings as some_recordings,
)
from .arms import (
    total_distance as total_distance,
)
from .clocks import (
    CLOCKS as CLOCKS,
)
from .clocks import (
    GRID as GRID,
)
from .clocks import (
    ITERATION as ITERATION,
)
from .clocks import (
    RATE as RATE,
)
from .clocks import (
    clock_values as clock_values,
)
from .clocks import (
    common_window as common_window,
)
from .clocks import (
    last_common_decade as last_common_decade,
)
from .clocks import (
    log_distance as log_distance,
)
from .load import unusable as unusable
from .names import arm_names as arm_names
from .phases import RATE_TOLERANCE as RATE_TOLERANCE
from .slopes import (
    RECORDS as RECORDS,
)
from .slopes import (
    Span as Span,
)
from .slopes import (
    by_seed as by_seed,
)
from .slopes import (
    distance_at as distance_at,
)
from .slopes import (
    last_decade as last_decade,
)
from .slopes import (
    line as line,
)
from .slopes import (
    momentum as momentum,
)
from .slopes import (
    noise_free as noise_free,
)
from .slopes import (
    positive_slope as positive_slope,
)
from .slopes import (
    rate_over_size as rate_over_size,
)
from .slopes import (
    sampling_share as sampling_share,
)
from .slopes import (
    slope as slope,
)
from .slopes import (
    temperature as temperature,
)
from .slopes import (
    window_mean as window_mean,
)
from .tensor_groups import group_places as group_places
from .tensor_groups import grouped as grouped
