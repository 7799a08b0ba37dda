from .batch_sizes import batch as batch, noise as noise
from .exchange import export as export, import_command as import_command
from .planning import plan as plan, simulate as simulate
from .recordings import (
    compare as compare,
    fit as fit,
    info as info,
    report as report,
    test as test,
)
