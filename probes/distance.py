"""Weight distance: squared norms per tensor, read block by block.

The difference w − w0 is formed for one block at a time, which stays in the cache while both of its
norms are taken, so a measurement costs little more than one read of both weight vectors. Norms are
taken over short rows in the precision of the weights (float32 at least) and added in float64: a
single float32 norm over 2.6·10⁷ weights was off by 3·10⁻³ in its square, rows of 2048 by 10⁻⁸.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

# Values in a block. Measured on a CPU: call overhead dominates below, the cache is left above.
BLOCK = 1 << 17
# Values in a row at most. Its float32 sum keeps a relative error of about 10⁻⁷.
ROW = 2048


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
    return torch.stack([pair.to(pairs[0].device) for pair in pairs], dim=1)


def square(values: Tensor) -> Tensor:
    """Squared norm of a tensor of any layout and floating type, a float64 scalar on its device.

    Low-precision values are widened before they are squared: 300² overflows in float16.
    """
    if values.is_cuda:  # one kernel, which adds in a tree and needs no dense memory
        return torch.linalg.vector_norm(values, dtype=_wide(values.dtype)).double().square()
    flat = _flatten(values)
    if flat.numel() == 0:  # a process may hold no part of a sharded tensor
        return flat.new_zeros((), dtype=torch.float64)
    norms = torch.linalg.vector_norm(_rows(flat), dim=1, dtype=_wide(flat.dtype)).double()
    return torch.dot(norms, norms)


def _squares(weight: Tensor, initial: Tensor) -> Tensor:
    gaps, norms = [], []
    wide = _wide(weight.dtype)
    for w, w0 in _blocks(weight, initial):
        gaps.append(square(torch.sub(w.to(wide), w0.to(wide))))
        norms.append(square(w))
    return torch.stack([torch.stack(gaps).sum(), torch.stack(norms).sum()])


def _blocks(weight: Tensor, initial: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    if weight.stride() != initial.stride():  # the layout was changed after attaching
        weight, initial = weight.contiguous(), initial.contiguous()
    return zip(_flatten(weight).split(BLOCK), _flatten(initial).split(BLOCK), strict=True)


def _flatten(values: Tensor) -> Tensor:
    """The values as one dimension, without a copy where memory is dense (channels_last)."""
    if values.is_contiguous():
        return values.view(-1)
    if torch.ops.aten.is_non_overlapping_and_dense(values):
        return values.as_strided((values.numel(),), (1,), values.storage_offset())
    return values.reshape(-1)


def _rows(flat: Tensor) -> Tensor:
    """The values `(row, value)`; padded with zeros where their number has no good divisor."""
    length = _row_length(flat.numel())
    if flat.numel() % length:
        flat = torch.nn.functional.pad(flat, (0, length - flat.numel() % length))
    return flat.view(-1, length)


@lru_cache(maxsize=4096)
def _row_length(numel: int) -> int:
    """The longest divisor up to `ROW`, or `ROW` where there are only short ones."""
    if numel <= ROW:
        return max(numel, 1)
    longest = next(length for length in range(ROW, 0, -1) if numel % length == 0)
    return longest if longest >= ROW // 8 else ROW


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
