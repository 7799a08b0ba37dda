from .family import (
    EXPONENT_HIGH as EXPONENT_HIGH,
    EXPONENT_LOW as EXPONENT_LOW,
    curve_gradients as curve_gradients,
)
from .fit import (
    fit_growth as fit_growth,
    fitted_noise as fitted_noise,
    growth_curve as growth_curve,
)
from .noise_models import (
    NoiseModel as NoiseModel,
    noise_covariance as noise_covariance,
    simulate_noise as simulate_noise,
)
from .rule import (
    DECADES as DECADES,
    DETECTABLE as DETECTABLE,
    DISQUALIFYING as DISQUALIFYING,
    MARGIN as MARGIN,
    judged as judged,
    mostly_left_out as mostly_left_out,
    shortage as shortage,
    told_apart as told_apart,
    too_few as too_few,
    usable as usable,
)
from .runs import fit_tensors as fit_tensors, fit_totals as fit_totals
from .settings import Progress as Progress
from .shape import local_shape as local_shape
from .status import check_curve as check_curve
