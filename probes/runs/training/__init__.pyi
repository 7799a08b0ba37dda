from .checkpoints import (
    checkpoint_of as checkpoint_of,
    kept_at as kept_at,
    last_checkpoint_of as last_checkpoint_of,
)
from .evaluation import checkpoints_at as checkpoints_at, evaluated_at as evaluated_at
from .session import build as build
