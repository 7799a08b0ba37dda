"""Loss scale and clipping: what stands between the gradient and the optimizer."""

from collections.abc import Sequence

import torch
from torch import Tensor

# A witness this small costs nothing to read and is not a lone bias whose gradient may vanish.
_WITNESS = 1 << 16


def scale_of(scaler: torch.amp.GradScaler | None) -> Tensor | None:
    """The loss scale in force, without waiting for the device; None without mixed precision."""
    if scaler is None or not scaler.is_enabled():
        return None
    scale = scaler._scale
    # The scaler makes its tensor when the first loss is scaled.
    return torch.tensor(scaler.get_scale()) if scale is None else scale.detach().clone()


def turn_of(scaler: torch.amp.GradScaler | None) -> object:
    """An object that the scaler replaces after every step it tried; None without a scaler.

    It tells of skipped steps without waiting for the device.
    """
    return None if scaler is None else scaler._per_optimizer_states


def unscaled(optimizer: torch.optim.Optimizer) -> Tensor | float:
    """What the gradients of an optimizer that is about to step are still multiplied by.

    Fused optimizers divide by the loss scale themselves.
    """
    scale = getattr(optimizer, "grad_scale", None)
    return 1.0 if scale is None else scale


def witness(sizes: Sequence[int]) -> int:
    """The tensor whose gradient shows by how much clipping shrank all of them.

    Clipping by the total norm multiplies every gradient by one factor, so one tensor tells it.

    Arguments:
        sizes: weights of each tensor, unsharded, so that all processes choose alike.

    Returns:
        Position of the largest tensor of at most 2¹⁶ weights, or of the smallest tensor.
    """
    small = [size for size in sizes if size <= _WITNESS]
    return list(sizes).index(max(small) if small else min(sizes))
