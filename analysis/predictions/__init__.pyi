from .table import test as test, verdicts_on as verdicts_on
