from .arms import (
    ALL as ALL,
    Arm as Arm,
    RunSet as RunSet,
    equal_sets as equal_sets,
    ingredients_of as ingredients_of,
    one_per_seed as one_per_seed,
    place_of as place_of,
    rungs_in_words as rungs_in_words,
    runs_of as runs_of,
    seeds as seeds,
    setting_differences as setting_differences,
    setting_of as setting_of,
    some_runs as some_runs,
    split_by_rate as split_by_rate,
)
from .blocks import ONE_THREAD as ONE_THREAD, Results as Results, in_blocks as in_blocks
from .clocks import (
    CLOCK_WORDS as CLOCK_WORDS,
    ON_ITERATIONS as ON_ITERATIONS,
    SUMMED_RATE as SUMMED_RATE,
    SeriesClock as SeriesClock,
    Timeline as Timeline,
    Told as Told,
    clock_words as clock_words,
    followed as followed,
    rate_changes as rate_changes,
    series_clocks as series_clocks,
)
from .distinct import (
    counted_in_words as counted_in_words,
    draws as draws,
    relabelled_in_words as relabelled_in_words,
    traits as traits,
)
from .gaps import arms_in_words as arms_in_words, listed_seeds as listed_seeds
from .heading import Heading as Heading, LadderPlace as LadderPlace, Stretch as Stretch
from .load import unusable as unusable
from .names import arm_names as arm_names
from .odd import (
    OddRun as OddRun,
    odd_in_words as odd_in_words,
    odd_names as odd_names,
    odd_one as odd_one,
    odd_runs as odd_runs,
)
from .phases import FITTED_SHARE as FITTED_SHARE, fitted_by as fitted_by
from .readings import (
    CLOCKS as CLOCKS,
    GRID as GRID,
    ITERATION as ITERATION,
    RATE as RATE,
    RECORDS as RECORDS,
    Span as Span,
    by_seed as by_seed,
    clock_values as clock_values,
    common_window as common_window,
    constant_rate as constant_rate,
    distance_at as distance_at,
    distances as distances,
    fitted_at as fitted_at,
    group_places as group_places,
    grouped as grouped,
    injected_noise as injected_noise,
    label as label,
    last_common_decade as last_common_decade,
    last_decade as last_decade,
    line as line,
    log_distance as log_distance,
    measured_temperature as measured_temperature,
    measured_until as measured_until,
    momentum as momentum,
    noise_free as noise_free,
    positive_slope as positive_slope,
    rate_over_size as rate_over_size,
    rests_at as rests_at,
    sampling_share as sampling_share,
    slope as slope,
    total_distance as total_distance,
    whole_batch as whole_batch,
    whole_constant_rate as whole_constant_rate,
    window_mean as window_mean,
)
from .where import (
    NAMES as NAMES,
    Condition as Condition,
    ConditionError as ConditionError,
    condition as condition,
)
