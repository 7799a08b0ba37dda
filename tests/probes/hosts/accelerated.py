"""A loop in the style of Accelerate's examples."""

import loops
import torch
from accelerate import Accelerator

from ultraslow.probes.hosts.accelerate import AccelerateRecorder


def prepared(model, **more):
    """An accelerator, and what it makes of a model, an optimizer and a loader."""
    accelerator = Accelerator(
        cpu=True,
        gradient_accumulation_steps=loops.ACCUMULATED,
        step_scheduler_with_optimizer=False,
        **more,
    )
    loader = torch.utils.data.DataLoader(loops.data(), batch_size=loops.EACH)
    return accelerator, *accelerator.prepare(model, loops.optimizer_of(model), loader)


def train(
    accelerator, model, optimizer, loader, *, epochs=2, saves=None, skip=0, fails_at=None, seed=7
):
    """Train for some epochs, or until it fails; save the state after the first."""
    if seed is not None:
        torch.manual_seed(seed)
    for epoch in range(skip, epochs):
        for index, batch in enumerate(loader):
            if (epoch, index) == fails_at:
                raise OSError("gone")
            with accelerator.accumulate(model):
                accelerator.backward(loops.loss_of(model, batch))
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), loops.CLIP)
                optimizer.step()
                optimizer.zero_grad()
        if saves and epoch == 0:
            accelerator.save_state(str(saves))
    return model


def recorder(accelerator, model, optimizer, path, *, updates=loops.UPDATES, **more):
    options = {**loops.options(updates), **more}
    return AccelerateRecorder(accelerator, model, optimizer, path, **options)
