from .decade_ratio import (
    decade_middles as decade_middles,
    decade_ratio_interval as decade_ratio_interval,
    fitted_records as fitted_records,
    logarithm_onset as logarithm_onset,
    logarithm_ratio as logarithm_ratio,
    mean_decade_ratio as mean_decade_ratio,
)
from .family import (
    EXPONENT_HIGH as EXPONENT_HIGH,
    EXPONENT_LOW as EXPONENT_LOW,
    curve_gradients as curve_gradients,
)
from .fit import (
    fit_grid as fit_grid,
    fit_growth as fit_growth,
    fit_peaks as fit_peaks,
)
from .grids import thinned as thinned, time_grid as time_grid
from .late_logarithm import (
    BEGINNINGS as BEGINNINGS,
    BENT as BENT,
    ONSET as ONSET,
    SETTLED as SETTLED,
    Advantage as Advantage,
    Candidates as Candidates,
    advantage as advantage,
    candidates as candidates,
)
from .noise_models import (
    NoiseModel as NoiseModel,
    fitted_noise as fitted_noise,
    handicap as handicap,
    menu as menu,
    noise_covariance as noise_covariance,
    simulate_noise as simulate_noise,
)
from .rule import (
    ADVANTAGE as ADVANTAGE,
    DECADES as DECADES,
    DETECTABLE as DETECTABLE,
    DISQUALIFYING as DISQUALIFYING,
    LEAST_SEEDS as LEAST_SEEDS,
    MARGIN as MARGIN,
    SUPPORT as SUPPORT,
    ArmCurves as ArmCurves,
    ArmJudgement as ArmJudgement,
    Judgement as Judgement,
    arm_words as arm_words,
    earlier_records as earlier_records,
    judge as judge,
    mostly_left_out as mostly_left_out,
    shortage as shortage,
    signed_root as signed_root,
    told_apart as told_apart,
    usable as usable,
    with_beginnings as with_beginnings,
)
from .runs import (
    LATE_GROWTH as LATE_GROWTH,
    at_latest_onset as at_latest_onset,
    falls as falls,
    fit_on as fit_on,
    fit_tensors as fit_tensors,
    fit_totals as fit_totals,
)
from .shape import (
    conditioned_curve as conditioned_curve,
    fitted_law as fitted_law,
    growth_curve as growth_curve,
    local_shape as local_shape,
)
from .status import (
    LEAST_RATIO as LEAST_RATIO,
    LEAST_RECORDS as LEAST_RECORDS,
    WEAK_SIGNAL as WEAK_SIGNAL,
    Progress as Progress,
    Settings as Settings,
    check_curve as check_curve,
)
from .windows import (
    Misfit as Misfit,
    law_exponents as law_exponents,
    local_exponents as local_exponents,
    misfit as misfit,
    misfits as misfits,
)
