from .batches import (
    Batch as Batch,
)
from .batches import (
    Images as Images,
)
from .batches import (
    Share as Share,
)
from .batches import (
    microbatches as microbatches,
)
from .batches import (
    normalized as normalized,
)
from .batches import (
    on_device as on_device,
)
from .datasets import (
    NAMES as NAMES,
)
from .datasets import (
    SPLIT_SEED as SPLIT_SEED,
)
from .datasets import (
    Arrays as Arrays,
)
from .datasets import (
    Facts as Facts,
)
from .datasets import (
    facts as facts,
)
from .datasets import (
    load as load,
)
from .folders import Listing as Listing
from .folders import listing as listing
from .folders import opened as opened
from .folders import shuffled as shuffled
