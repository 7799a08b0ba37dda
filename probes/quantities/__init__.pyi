from .evaluation import Evaluation as Evaluation
from .quantity import Quantities as Quantities
from .quantity import Quantity as Quantity
from .quantity import Subject as Subject
from .quantity import WindowSum as WindowSum
from .table import QUANTITIES as QUANTITIES
from .table import WITH_SETTINGS as WITH_SETTINGS
from .table import quantities_of as quantities_of
