from .cli import checkpoints as checkpoints
from .record import (
    CheckpointRequest as CheckpointRequest,
    Prepared as Prepared,
    prepare as prepare,
    record_checkpoints as record_checkpoints,
)
