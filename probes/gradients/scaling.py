"""Loss scale and clipping: what stands between the gradient and the optimizer."""

import sys
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

# A witness this small costs nothing to read and is not a lone bias whose gradient may vanish.
_WITNESS = 1 << 12
WITNESSES = 3


def scale_of(scaler: torch.amp.GradScaler | None) -> Tensor | None:
    """The loss scale in force, without waiting for the device; None without mixed precision."""
    if scaler is None or not scaler.is_enabled():
        return None
    scale = scaler._scale
    # The scaler makes its tensor when the first loss is scaled.
    return None if scale is None else scale.detach().clone()


_STEPS = {torch.amp.GradScaler.step.__code__, torch.amp.GradScaler._maybe_opt_step.__code__}
_FAR = 12  # frames between a scaler's step and the optimizer's hooks, wrappers of others included


def stepping_scaler() -> torch.amp.GradScaler | None:
    """The scaler that is calling the optimizer's step at this moment, found among the callers."""
    frame = sys._getframe()
    for _ in range(_FAR):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        if frame.f_code in _STEPS:
            found = frame.f_locals.get("self")
            known = isinstance(found, torch.amp.GradScaler) and found.is_enabled()
            return found if known else None
    return None


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


@cache
def unscaling_counts() -> bool:
    """Whether a tensor tells, in its version, that a scaler has divided it; that is torch's."""
    one = torch.ones(1)
    before = one._version
    torch._amp_foreach_non_finite_check_and_unscale_([one], torch.zeros(1), torch.ones(1))
    return one._version > before


def witnesses(sizes: Sequence[int], groups: Sequence[int]) -> tuple[int, ...]:
    """The tensors whose gradients show by how much clipping shrank all of them.

    Clipping by the total norm multiplies every gradient by one factor, so the first of them tells
    it. The others tell whether it was one: clipping by value, tensor or group has several.

    Arguments:
        sizes: weights of each tensor, unsharded, so that all processes choose alike.
        groups: number of the parameter group of each tensor.

    Returns:
        Positions of `WITNESSES` tensors, which may repeat: the largest of at most 2¹² weights, or
        else the smallest; the like in the other half of the tensors, and in another group.
    """
    everything = range(len(sizes))
    first = _witness(everything, sizes)
    early = first < len(sizes) / 2
    other_half = [i for i in everything if (i < len(sizes) / 2) != early]
    other_group = [i for i in everything if groups[i] != groups[first]]
    return first, *(_witness(part or [first], sizes) for part in (other_half, other_group))


def _witness(places: Sequence[int], sizes: Sequence[int]) -> int:
    small = [place for place in places if sizes[place] <= _WITNESS]
    return max(small, key=sizes.__getitem__) if small else min(places, key=sizes.__getitem__)
