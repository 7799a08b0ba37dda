from .batch_sizes import batch as batch, noise as noise
from .exchange import export as export, import_command as import_command
from .inventory import info as info
from .planning import plan as plan, simulate as simulate
from .recordings import (
    compare as compare,
    fit as fit,
    report as report,
    test as test,
)
from .watching import watch as watch
