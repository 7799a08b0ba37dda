from .quantities.evaluation import Evaluation as Evaluation
from .quantities.landscape.probe import Landscape as Landscape
from .recorder.attach import attach as attach
from .recorder.recorder import Recorder as Recorder
from .verification import verify as verify
