from .evaluation import Evaluation as Evaluation
from .scheduled import Occasions as Occasions
from .weights import SKETCH_SEED as SKETCH_SEED
from .weights import Measurements as Measurements
