from .cli import checkpoints as checkpoints
from .record import (
    Prepared as Prepared,
    Request as Request,
    prepare as prepare,
    record_checkpoints as record_checkpoints,
)
