"""Recordings from the checkpoints that a run left: distances, angles, and all displacements.

Contents:
    cli            the command `checkpoints`
    record         from what was read to a recording
    products       one pass over all checkpoints, which can be taken up again
    tensors        which tensors are weights of the model
    folders        which checkpoints there are, and of which step
    steps          steps in names
    formats        headers of files of torch and of safetensors
    sharded        folders of torch.distributed.checkpoint
    stored         where values lie, and reading them
    trainer_state  losses and rates beside checkpoints of Hugging Face
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
