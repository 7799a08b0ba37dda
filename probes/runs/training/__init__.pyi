from .checkpoints import checkpoint_of as checkpoint_of
