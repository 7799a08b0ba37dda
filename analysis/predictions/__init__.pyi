from .table import test as test
from .table import verdicts_on as verdicts_on
