from .estimate import gradients as gradients
from .fit import (
    fit_growth as fit_growth,
)
from .fit import (
    fitted_noise as fitted_noise,
)
from .fit import (
    growth_curve as growth_curve,
)
from .likelihood import EXPONENT_HIGH as EXPONENT_HIGH
from .likelihood import EXPONENT_LOW as EXPONENT_LOW
from .noise_models import (
    NoiseModel as NoiseModel,
)
from .noise_models import (
    covariance as covariance,
)
from .noise_models import (
    label as label,
)
from .noise_models import (
    simulate as simulate,
)
from .rule import DETECTABLE as DETECTABLE
from .rule import MARGIN as MARGIN
from .rule import judged as judged
from .rule import too_few as too_few
from .runs import Progress as Progress
from .runs import fit_tensors as fit_tensors
from .runs import fit_totals as fit_totals
from .status import check_curve as check_curve
from .usable import (
    DECADES as DECADES,
)
from .usable import (
    DISQUALIFYING as DISQUALIFYING,
)
from .usable import (
    mostly_left_out as mostly_left_out,
)
from .usable import (
    shortage as shortage,
)
from .usable import (
    told_apart as told_apart,
)
