from . import plot as plot
from .exporters.tidy import to_frame as to_frame
from .growth.fit import fit_growth as fit_growth
from .growth.shape import growth_curve as growth_curve, local_shape as local_shape
from .importers.importing import import_runs as import_runs
from .planning.certificate import certify as certify
from .predictions.survivors import compare_laws as compare_laws
from .predictions.table import test as test
from .runs.load import load as load
