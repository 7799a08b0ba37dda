from .survivors import arms_compared as arms_compared, compare_laws as compare_laws
from .table import test as test, verdicts_on as verdicts_on
