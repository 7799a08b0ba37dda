"""Probes: measure a training run and record it.

    with us.attach(model, optimizer, "runs/r50-b8192-s0", batch_size=8192) as recorder:
        for inputs, targets in loader:
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            recorder.observe(loss=loss)

Contents:
    recorder      attaching, and what records
    quantities    what is measured of the weights: distance, path, sketch, evaluation, landscape
    gradients     what is measured of the gradients of each unit of a batch
    steps         what makes an iteration: optimizers, their steps and their rates
    buffer        what was measured and is not written yet
    storage       segments, files and weights on disk
    distributed   the processes of a run, and what they have to agree on
    runs          the reference runs: ResNets on images, from recipes
    hosts         trainers of other programs: Lightning, Hugging Face, Accelerate
    checkpoints   recordings from the checkpoints that a run left
    norms         squares and squared distances of tensors
    verification  whether what is recorded is true: in the user's own training, and on a toy
    cli           the commands `verify`, `repair` and `label`
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
