"""Weight distance: squared norms per tensor, read block by block.

The difference w − w0 is formed for one block at a time, which stays in the cache while both of its
norms are taken, so a measurement costs about one read of both weight vectors. Each block is summed
in the precision of the weights (float32 at least) and the blocks are added in float64: over
2.6·10⁷ weights a single float32 sum was off by 3·10⁻³, blocks of 2¹⁷ by 3·10⁻⁷.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# Measured on CPU: smaller blocks are dominated by call overhead, larger ones leave the cache and
# lose digits.
BLOCK = 1 << 17


def squared_distances(weights: Sequence[Tensor], initial: Sequence[Tensor]) -> Tensor:
    """Squared distances and squared norms of the weights, tensor by tensor.

        ‖w − w0‖²  and  ‖w‖²

    Arguments:
        weights: w, one tensor a parameter.
        initial: w0, tensors of the same shapes on the same devices.

    Returns:
        `(2, tensor)` in float64 on the device of the first tensor: squared distance, squared norm.
    """
    pairs = [_squares(w.detach(), w0) for w, w0 in zip(weights, initial, strict=True)]
    return torch.stack(pairs, dim=1)


def square(values: Tensor) -> Tensor:
    """Squared norm of a tensor of any layout and floating type, as a float64 scalar on its device.

    Low-precision values are widened before they are squared: 300² overflows and 10⁻⁴² vanishes in
    float16.
    """
    flat = flatten(values)
    if flat.numel() <= BLOCK:  # most tensors; saves the calls around one block
        wide = _widen(flat)
        return torch.dot(wide, wide).double()
    return _total([torch.dot(block, block) for block in map(_widen, flat.split(BLOCK))])


def flatten(values: Tensor) -> Tensor:
    """The values as one dimension, without a copy where memory is dense (channels_last)."""
    if values.is_contiguous():
        return values.view(-1)
    if torch.ops.aten.is_non_overlapping_and_dense(values):
        return values.as_strided((values.numel(),), (1,), values.storage_offset())
    return values.reshape(-1)


def _squares(weight: Tensor, initial: Tensor) -> Tensor:
    gaps, norms = [], []
    for w, w0 in _blocks(weight, initial):
        gap = _widen(w) - _widen(w0)
        wide = _widen(w)
        gaps.append(torch.dot(gap, gap))
        norms.append(torch.dot(wide, wide))
    return torch.stack([_total(gaps), _total(norms)])


def _blocks(weight: Tensor, initial: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    if weight.stride() != initial.stride():  # the layout was changed after attaching
        weight, initial = weight.contiguous(), initial.contiguous()
    return zip(flatten(weight).split(BLOCK), flatten(initial).split(BLOCK), strict=True)


def _widen(values: Tensor) -> Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _total(parts: list[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0].double()
    return torch.stack(parts).sum(dtype=torch.float64)
