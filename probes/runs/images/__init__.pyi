from .batches import (
    Batch as Batch,
    Images as Images,
    Share as Share,
    microbatches as microbatches,
    normalized as normalized,
    on_device as on_device,
)
from .datasets import (
    NAMES as NAMES,
    SPLIT_SEED as SPLIT_SEED,
    Arrays as Arrays,
    Facts as Facts,
    facts as facts,
    load_images as load_images,
)
from .folders import Listing as Listing, listing as listing, opened as opened, shuffled as shuffled
