"""Isotropic noise in the gradient: a temperature that depends on no data.

The theory of a random walk on a random potential speaks of noise that is the same in every
direction. Adding s·ξ with normal ξ to the gradient of each update raises the temperature of SGD by
η·s²/(2(1 − m)) and leaves loss, batch size and gradient noise alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle


def inject(optimizer: Optimizer, deviation: float, generator: torch.Generator) -> RemovableHandle:
    """Add normal numbers to every gradient just before each step, alike on all processes.

    Hooks run in the order in which they were registered: after probes that look at the gradient
    before a step, which then see it as it was.

    Arguments:
        optimizer: whose steps are disturbed.
        deviation: s, standard deviation of each component, in the unit of the gradient.
        generator: draws the noise; on the device of the parameters, in the same state on every
            process.

    Returns:
        Removes the noise again.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def disturb(*_: object) -> None:
        add_noise([p.grad for p in parameters if p.grad is not None], deviation, generator)

    return optimizer.register_step_pre_hook(disturb)


@torch.no_grad()
def add_noise(gradients: Sequence[Tensor], deviation: float, generator: torch.Generator) -> None:
    """Add s·ξ in place, ξ standard normal.

    Arguments:
        gradients: of any shapes, on the generator's device.
        deviation: s.
        generator: draws ξ.
    """
    for gradient in gradients:
        noise = torch.empty_like(gradient, memory_format=torch.contiguous_format)
        gradient.add_(noise.normal_(generator=generator), alpha=deviation)
