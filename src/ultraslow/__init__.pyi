from . import analysis as analysis, diffusion as diffusion, probes as probes
from .analysis import plot as plot
from .analysis.exporters.tidy import to_frame as to_frame
from .analysis.growth.decade_ratio import decade_ratio as decade_ratio
from .analysis.growth.fit import fit_growth as fit_growth
from .analysis.growth.shape import growth_curve as growth_curve, local_shape as local_shape
from .analysis.importers.importing import import_runs as import_runs
from .analysis.noise.breakdown import run_noise_scale as run_noise_scale
from .analysis.planning.certificate import certify as certify
from .analysis.predictions.survivors import compare_laws as compare_laws
from .analysis.predictions.table import test as test
from .analysis.report.report import report as report
from .analysis.runs.load import load as load
from .analysis.scores.critical_batch import critical_batch as critical_batch
from .diffusion.recording.errors import RecordError as RecordError
from .probes.quantities.evaluation import Evaluation as Evaluation
from .probes.quantities.landscape.probe import Landscape as Landscape
from .probes.recorder.attach import attach as attach
from .probes.recorder.cost import Cost as Cost, cost as cost
from .probes.recorder.recorder import Recorder as Recorder
from .probes.storage.upload import upload as upload
from .probes.verification import verify as verify

__version__: str
