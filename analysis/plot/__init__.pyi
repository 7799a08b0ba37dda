from .arms import Shown as Shown, arms_of as arms_of, leading as leading, study_of as study_of
from .clocks import collapse as collapse, hero as hero
from .drawing import MARGINS as MARGINS, Paint as Paint, svg as svg
from .forests import exponents as exponents, ladder as ladder
from .growth import distance as distance, panel as panel, residuals as residuals
from .look import COLOURS as COLOURS, axes_of as axes_of
from .noise import noise_scale as noise_scale
from .outcomes import generalization as generalization, loss as loss
from .paths import aging as aging, landscape as landscape, straightness as straightness
from .pixels import evenly as evenly
from .rulers import ruler as ruler, verdicts as verdicts
