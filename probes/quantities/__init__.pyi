from .evaluation import Evaluation as Evaluation, undisturbed as undisturbed
from .quantity import (
    Quantities as Quantities,
    Quantity as Quantity,
    Subject as Subject,
    WindowSum as WindowSum,
)
from .table import (
    QUANTITIES as QUANTITIES,
    WITH_SETTINGS as WITH_SETTINGS,
    quantities_of as quantities_of,
)
