from .numbers import (
    fit_rows as fit_rows,
)
from .numbers import (
    inputs as inputs,
)
from .numbers import (
    plain as plain,
)
from .numbers import (
    verdict_rows as verdict_rows,
)
