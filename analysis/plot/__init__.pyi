from .arms import Shown as Shown, arms_of as arms_of, leading as leading, study_of as study_of
from .drawing import MARGINS as MARGINS, Paint as Paint, svg as svg
from .growth import distance as distance, residuals as residuals
from .look import COLOURS as COLOURS, axes_of as axes_of
