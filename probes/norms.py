"""Weight distance: squared norms per tensor, read block by block.

The difference w − w0 is formed for one block at a time, which stays in the cache while both of its
norms are taken, so a measurement costs little more than one read of both weight vectors. Norms are
taken over short rows in the precision of the weights (float32 at least) and added in float64: a
single float32 norm over 2.6·10⁷ weights was off by 3·10⁻³ in its square, rows by 10⁻⁸ (by 5·10⁻⁷
where all values are equal).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Protocol, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Values in a block. Measured on a CPU: call overhead dominates below, the cache is left above.
BLOCK = 1 << 18
# Values in a row at most. Values that differ round differently, and errors of rows cancel. Equal
# ones, as an optimizer's first steps may be, round alike: of 2,000 constants the worst left a
# relative error of 5·10⁻⁷ in the square with OpenBLAS's kernels for AVX and later, of 10⁻⁶ with
# older ones. torch's norm, of rows on other devices, loses 10⁻⁴ from rows of 4096 on.
ROW = 1024
# Values of a tensor on the host that is worked on together with others of its kind; a larger one
# takes longer to square than to call for.
_FEW = 1 << 16
# The same where two norms are taken of a tensor and its differences.
_MINOR = 1 << 13
# Values of all tensors together up to which the calls for them count, and of one that is read
# where it is: a copy of a smaller one takes less time than the calls.
_KEPT = 1 << 19
_DIRECT = 1 << 12
# Values in a row of these: of 2,000 constants the worst left a relative error of 8·10⁻⁸ in the
# square, of 2.5·10⁻⁷ in rows of 512.
_SHORT_ROW = 128
# Mean square from which on the squares in float32 lack nothing that counts; they end at 10⁻³⁸.
_LEAST = 1e-30
# Values of a block that is brought to a device, 1 MB: some thousand calls for 10⁸ weights; and of
# one that is read from elsewhere to the host's memory, where a call is no more than a system's.
_SENT, _READ = 1 << 18, 1 << 16


class Blockwise(Protocol):
    """A tensor whose values are elsewhere than its weights, and are read block by block."""

    @property
    def shape(self) -> torch.Size:
        """Of the tensor."""

    @property
    def dtype(self) -> torch.dtype:
        """In which its values are kept."""

    def numel(self) -> int:
        """How many values it has."""

    def values(self, start: int, stop: int) -> Tensor:
        """Values `start` to `stop` in row-major order, in the host's memory."""


_Pair = tuple[Tensor | Blockwise, Tensor | Blockwise]


def stretch(tensor: Tensor | Blockwise, start: int, stop: int) -> Tensor:
    """Values `start` to `stop` in row-major order; copies only what is stored in another one."""
    if not isinstance(tensor, Tensor):
        return tensor.values(start, stop)
    if tensor.is_contiguous():
        return tensor.view(-1)[start:stop]
    if not tensor.dim() or stop <= start:
        return tensor.reshape(-1)[start:stop]
    row = tensor.numel() // len(tensor)
    first, last = start // row, -(-stop // row)
    return tensor[first:last].reshape(-1)[start - first * row : stop - first * row]


def same_values(tensor: Tensor, other: Tensor | Blockwise) -> bool:
    """Whether two tensors of one shape are equal, to the last bit; it waits for the device."""
    if isinstance(other, Tensor):
        return torch.equal(tensor, other)
    starts = range(0, tensor.numel(), _SENT)
    ends = (min(start + _SENT, tensor.numel()) for start in starts)
    return all(
        torch.equal(stretch(tensor, start, stop).cpu(), other.values(start, stop))
        for start, stop in zip(starts, ends, strict=True)
    )


def squared_distances(
    weights: Sequence[Tensor | Blockwise], initial: Sequence[Tensor | Blockwise]
) -> Tensor:
    """Squared distances and squared norms of the weights, tensor by tensor.

        ‖w − w0‖²  and  ‖w‖²

    Arguments:
        weights: w, one tensor a parameter.
        initial: w0, tensors of the same shapes on the same devices, or elsewhere.

    Returns:
        `(2, tensor)` in float64 on the device of the first tensor: squared distance, squared norm.
    """
    _check_shapes(weights, initial)
    pairs = [_at_hand(w, w0) for w, w0 in zip(weights, initial, strict=True)]
    devices = [w.device for w, _ in pairs if isinstance(w, Tensor)]
    if all(device.type == "cpu" for device in devices):
        return torch.from_numpy(_host_squares(pairs))
    device = devices[0]
    near = {k: pair for k, pair in enumerate(pairs) if _are_near(pair)}
    small = {k: pair for k, pair in near.items() if pair[0].numel() <= ROW}
    found = dict(zip(small, _small_squares(list(small.values()), device), strict=True))
    for index, (w, w0) in enumerate(pairs):
        if index in near and index not in small:
            found[index] = _squares(*near[index])
        elif index not in near:
            found[index] = _sent_squares(w, w0, device)
    return torch.stack([found[index].to(device) for index in range(len(pairs))], dim=1)


def squared_steps(weights: Sequence[Tensor], previous: Sequence[Tensor]) -> Tensor:
    """Squared lengths of steps, tensor by tensor; `previous` becomes the weights.

        ‖w − w′‖²

    It is taken at every update, so on the host small tensors are worked on together: one by one,
    the calls for the 23 of a small network take four times as long as the arithmetic.

    Arguments:
        weights: w, one tensor a parameter.
        previous: w′, tensors of the same shapes and types on the same devices.

    Returns:
        `(tensor,)` in float64 on the device of the first tensor.
    """
    _check_shapes(weights, previous)
    if not all(_is_plain(w) for w in weights):
        steps = squared_distances(weights, previous)[0]
    else:
        torch._foreach_sub_(list(previous), list(weights))
        steps = torch.from_numpy(_squares_together(previous))
    torch._foreach_copy_(list(previous), list(weights))
    return steps


def _at_hand(w: Tensor | Blockwise, w0: Tensor | Blockwise) -> _Pair:
    """A pair of tensors, of which a small one that is elsewhere is brought to the other."""
    if not isinstance(w, Tensor) and 0 < w.numel() <= _MINOR:
        w = w.values(0, w.numel()).view(w.shape)
    if not isinstance(w0, Tensor) and 0 < w0.numel() <= _MINOR:
        w0 = w0.values(0, w0.numel()).view(w0.shape)
        w0 = w0.to(w.device) if isinstance(w, Tensor) else w0
    return (w.detach() if isinstance(w, Tensor) else w), w0


def _are_near(pair: _Pair) -> TypeGuard[tuple[Tensor, Tensor]]:
    """Whether both are in memory, of one device."""
    w, w0 = pair
    return isinstance(w, Tensor) and isinstance(w0, Tensor) and w.device == w0.device


def _check_shapes(
    weights: Sequence[Tensor | Blockwise], others: Sequence[Tensor | Blockwise]
) -> None:
    if any(w.shape != other.shape for w, other in zip(weights, others, strict=True)):
        raise ValueError("weights: a tensor was given another shape")  # it might be broadcast


def square(values: Tensor) -> Tensor:
    """Squared norm of a tensor of any layout and floating type, a float64 scalar on its device.

    Low-precision values are widened before they are squared: 300² overflows in float16. Sparse
    values are added up first.
    """
    values = values.detach()
    if values.is_sparse:
        values = values.coalesce().values()
    if values.is_cuda:  # one kernel, which adds in a tree and needs no dense memory
        return _norms(values[None]).square().sum()
    if values.is_cpu and values.dim() == 2 and values.numel() > _FEW and not _is_dense(values):
        return torch.stack([square(row) for row in values]).sum()  # a copy of it might be large
    if _is_plain(values):
        return squares([values])[0]
    flat = _flatten(values)
    if flat.is_cpu:
        return torch.tensor(_host_square(flat), dtype=torch.float64)
    rows, rest = _rows(flat)
    return _sum_of_squares([_norms(rows), _norms(rest)] if rest.numel() else [_norms(rows)])


def squares(tensors: Sequence[Tensor]) -> Tensor:
    """Squared norms of tensors as `square` gives them; of float32 ones on the host in few calls.

    Returns:
        `(tensor,)` in float64 on the device of the first tensor; of no tensors, on the host.
    """
    if all(_is_plain(values) for values in tensors):
        return torch.from_numpy(_squares_together(tensors))
    device = tensors[0].device
    return torch.stack([square(v).to(device, non_blocking=True) for v in tensors])


Squares = Tensor | tuple[float, ...]


def short_squares(tensors: Sequence[Tensor]) -> Squares:
    """Squared norms of tensors as `squares` gives them; of short ones on the host as numbers.

    What is asked for in the midst of a step finds little of its code in the cache, so few
    functions are called. Squares of float32 values have room in float64, which loses none of them.
    """
    found = []
    for values in tensors:
        if not _is_plain(values) or values.numel() > _DIRECT or values.requires_grad:
            return squares(tensors)
        wide = values.resolve_neg().numpy().ravel().astype(np.float64)
        found.append(float(wide.dot(wide)))
    return tuple(found)


class SquaresAgain:
    """Squared norms of tensors of the same shapes, which are asked for at every update.

    The calls for a small network take longer than the arithmetic, and a copy of its gradients
    would drive out of the cache what the training needs next. So where its tensors are plain,
    large ones are read where they are, in short rows of float32 that are added in float64. The
    others are widened into a room, each from the beginning of a row, and all of its rows are
    squared in one call. Zeros fill the rows.

    What is read in place has a relative error of 10⁻⁸ or so in the square where values differ, and
    of 10⁻⁷ at most where all of them are one of 2,000 constants; the rest is exact.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        """Make room, unless there are so many values that the calls for them do not count."""
        sizes = [values.numel() for values in tensors]
        self._shapes = [values.shape for values in tensors]
        self.fits = all(map(_is_plain, tensors)) and all(sizes) and 0 < sum(sizes) <= _KEPT
        if not self.fits:
            return
        self._few = [index for index, size in enumerate(sizes) if size < _DIRECT]
        self._many = [index for index, size in enumerate(sizes) if size >= _DIRECT]
        order = [*self._few, *self._many]  # in which their rows lie
        ends = list(accumulate(-(-sizes[index] // _SHORT_ROW) for index in order))
        self._starts = np.array([0, *ends[:-1]])
        self._places = np.argsort(order)
        self._inside = ends[len(self._few) - 1] if self._few else 0
        room = torch.zeros(self._inside, _SHORT_ROW, dtype=torch.float64)
        self._room = room.numpy()
        begun = zip(self._starts, self._few, strict=False)
        self._parts = [room[k:].view(-1)[: sizes[i]].view(self._shapes[i]) for k, i in begun]
        self._rows = np.empty(ends[-1])
        self._read = np.empty(ends[-1] - self._inside, dtype=np.float32)
        self._ends = [end - self._inside for end in ends[len(self._few) :]]
        self._least = _LEAST * max(sizes)

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        """As `squares` gives them, `(tensor,)`."""
        if not (self.fits and self._are_usual(tensors)):
            return squares(tensors)
        rows = self._rows
        if self._few:
            torch._foreach_copy_(self._parts, [tensors[index] for index in self._few])
            np.vecdot(self._room, self._room, out=rows[: self._inside])
        start = 0
        with np.errstate(all="ignore"):  # gradients that diverged are a finding
            for index, end in zip(self._many, self._ends, strict=True):
                # In whatever order they lie in memory: that copies nothing.
                values = tensors[index].resolve_neg().numpy().ravel(order="K")
                _square_rows(values, self._read[start:end], _SHORT_ROW)
                start = end
        rows[self._inside :] = self._read
        sums = np.add.reduceat(rows, self._starts)[self._places]
        for index in self._many:
            if not self._least < sums[index] < np.inf:
                sums[index] = _host_square(_flatten(tensors[index]))
        return torch.from_numpy(sums)

    def _are_usual(self, tensors: Sequence[Tensor]) -> bool:
        """Whether tensors are like those that room was made for."""
        if len(tensors) != len(self._shapes) or not tensors[0].is_cpu:
            return False
        for values, shape in zip(tensors, self._shapes, strict=True):
            plain = values.dtype is torch.float32 and values.layout is torch.strided
            if not plain or values.requires_grad or values.shape != shape:
                return False
        return True


def _is_plain(values: Tensor) -> bool:
    """Whether a tensor is dense in the host's memory, in float32."""
    return values.is_cpu and values.dtype is torch.float32 and values.layout is torch.strided


def _host_square(flat: Tensor) -> float:
    """Squared norm of a vector in the host's memory, in a third of the time of torch's norm.

    Squares that leave the range of float32 are taken again in float64.
    """
    total = 0.0
    with np.errstate(all="ignore"):  # gradients that diverged are a finding
        for block in _blocks(flat):
            rows = np.empty(-(-len(block) // ROW), dtype=block.dtype)
            _square_rows(block, rows)
            total += float(rows.sum(dtype=np.float64))
        if not _LEAST * flat.numel() < total < np.inf:
            wide = (block.astype(np.float64) for block in _blocks(flat))
            total = sum(float(np.dot(block, block)) for block in wide)
    return total


def _small_squares(pairs: Sequence[tuple[Tensor, Tensor]], device: torch.device) -> list[Tensor]:
    """Squares `(2,)` of tensors that fit one row each: most of a network's, in few calls."""
    if not pairs:
        return []
    gaps = [w.to(_wide(w.dtype)) - w0.to(_wide(w.dtype)) for w, w0 in pairs]
    both = [*gaps, *(w.to(_wide(w.dtype)) for w, _ in pairs)]
    norms = torch._foreach_norm(both)
    if len({(n.dtype, n.device) for n in norms}) > 1:  # one by one takes longer than all norms
        norms = tuple(n.to(device, torch.float64) for n in norms)
    squares = torch.stack(list(norms)).to(device, torch.float64).square()
    return list(squares.view(2, -1).unbind(dim=1))


def _squares(weight: Tensor, initial: Tensor) -> Tensor:
    """Squares `(2,)` of one tensor, block by block."""
    flat, flat0 = _flat_pair(weight, initial)
    if weight.device.type == "cpu":
        return torch.from_numpy(_host_squares([(flat, flat0)])[:, 0])
    (rows, rest), (rows0, rest0) = _rows(flat), _rows(flat0)
    step = max(1, BLOCK // rows.shape[1])
    wide = _wide(weight.dtype)
    gap = torch.empty(min(step, len(rows)), rows.shape[1], dtype=wide, device=weight.device)
    gaps, norms = [_norms(rest.to(wide) - rest0.to(wide))], [_norms(rest)]
    for part, part0 in zip(rows.split(step), rows0.split(step), strict=True):
        difference = torch.sub(part.to(wide), part0.to(wide), out=gap[: len(part)])
        gaps.append(_norms(difference))
        norms.append(_norms(part))
    return torch.stack([_sum_of_squares(gaps), _sum_of_squares(norms)])


def _sent_squares(w: Tensor | Blockwise, w0: Tensor | Blockwise, device: torch.device) -> Tensor:
    """Squares `(2,)` of one tensor whose w0 is brought to the device block by block."""
    gaps: list[Tensor] = []
    norms: list[Tensor] = []
    for start in range(0, w.numel(), _SENT):
        stop = min(start + _SENT, w.numel())
        now = stretch(w, start, stop).to(device)
        wide = _wide(now.dtype)
        before = stretch(w0, start, stop).to(device, non_blocking=True).to(wide)
        for vector, found in ((now.to(wide) - before, gaps), (now, norms)):
            rows, rest = _rows(vector)
            found += [_norms(rows), _norms(rest)] if rest.numel() else [_norms(rows)]
    if not gaps:
        return torch.zeros(2, dtype=torch.float64, device=device)
    return torch.stack([_sum_of_squares(gaps), _sum_of_squares(norms)])


def _flat_pair(weight: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """Both as vectors in one order of values."""
    if weight.stride() != initial.stride():  # the layout was changed after attaching
        weight, initial = weight.contiguous(), initial.contiguous()
    return _flatten(weight), _flatten(initial)


def _host_squares(pairs: Sequence[_Pair]) -> NDArray[np.float64]:
    """Squares `(2, tensor)` of tensors in the host's memory, or elsewhere than on a device.

    numpy's products of rows take half the time of torch's norms of rows, and are as exact. Most of
    a network's tensors are so small that the calls for each would take longer than the arithmetic.
    """
    found = np.zeros((2, len(pairs)))
    few = {index: pair for index, pair in enumerate(pairs) if _is_minor(pair)}
    if few:
        now = torch.cat([w.flatten() for w, _ in few.values()])
        before = torch.cat([w0.flatten() for _, w0 in few.values()])
        sizes = [w.numel() for w, _ in few.values()]
        both = [_segment_squares(now - before, sizes), _segment_squares(now, sizes)]
        found[:, list(few)] = both
    room = np.empty(BLOCK, dtype=np.float32)  # for differences, once for all tensors
    with np.errstate(all="ignore"):  # weights that diverged are a finding
        for index in set(range(len(pairs))).difference(few):
            found[:, index] = _pair_squares(*pairs[index], room)
    return found


def _pair_squares(
    w: Tensor | Blockwise, w0: Tensor | Blockwise, room: NDArray[np.float32]
) -> NDArray[np.float64]:
    """‖w − w0‖² and ‖w‖² of one tensor, block by block."""
    gap = np.empty(BLOCK) if w.dtype == torch.float64 else room
    rows = np.empty((2, -(-w.numel() // ROW)), dtype=gap.dtype)
    if isinstance(w, Tensor) and isinstance(w0, Tensor):
        pair = tuple(map(_blocks, _flat_pair(w, w0)))
    else:
        pair = _stretches(w), _stretches(w0)
    start = 0
    for now, before in zip(*pair, strict=True):
        end = start + -(-len(now) // ROW)
        _square_rows(np.subtract(now, before, out=gap[: len(now)]), rows[0, start:end])
        _square_rows(now, rows[1, start:end])
        start = end
    return rows.sum(axis=1, dtype=np.float64)


def _squares_together(values: Sequence[Tensor]) -> NDArray[np.float64]:
    """Squared norms `(tensor,)` of float32 tensors in the host's memory."""
    sizes = [v.numel() for v in values]
    few = [index for index, size in enumerate(sizes) if 0 < size <= _FEW]
    found = np.zeros(len(values))
    if few:
        together = torch.cat([values[index].flatten() for index in few]).detach()
        found[few] = _segment_squares(together, [sizes[index] for index in few])
    for index, size in enumerate(sizes):
        if size > _FEW:
            found[index] = _host_square(_flatten(values[index].detach()))
    return found


def _segment_squares(together: Tensor, sizes: Sequence[int]) -> NDArray[np.float64]:
    """Squared norms of the segments that a vector consists of, none of them empty."""
    starts = list(accumulate(sizes[:-1], initial=0))
    sums: NDArray[np.float64] = np.add.reduceat(together.double().square_().numpy(), starts)
    return sums


def _is_minor(pair: _Pair) -> TypeGuard[tuple[Tensor, Tensor]]:
    """Whether tensors are worked on together with others of their kind."""
    single = all(isinstance(t, Tensor) and t.dtype == torch.float32 for t in pair)
    return single and 0 < pair[0].numel() <= _MINOR


def _blocks(flat: Tensor) -> Iterator[NDArray[np.floating]]:
    """The values block by block, in float32 at least; without a copy where they are."""
    if flat.dtype in (torch.float32, torch.float64):
        values = flat.numpy()
        yield from (values[i : i + BLOCK] for i in range(0, len(values), BLOCK))
    else:
        yield from (part.float().numpy() for part in flat.split(BLOCK))


def _stretches(tensor: Tensor | Blockwise) -> Iterator[NDArray[np.floating]]:
    """The same in row-major order, of a tensor that may be elsewhere."""
    for start in range(0, tensor.numel(), _READ):
        yield from _blocks(stretch(tensor, start, min(start + _READ, tensor.numel())))


def _square_rows(values: NDArray[np.floating], out: NDArray[np.floating], row: int = ROW) -> None:
    """Squared norms of rows, in the precision of the values; the last row may be shorter."""
    whole = len(values) // row
    rows = values[: whole * row].reshape(whole, row)
    np.vecdot(rows, rows, out=out[:whole])
    if whole < len(out):
        rest = values[whole * row :]
        out[whole] = np.vecdot(rest, rest)


def _norms(rows: Tensor) -> Tensor:
    """Norm of each row, in float32 at least; of a vector, one norm."""
    dims = tuple(range(1, rows.dim())) if rows.dim() > 1 else None
    return torch.linalg.vector_norm(rows, dim=dims, dtype=_wide(rows.dtype)).reshape(-1)


def _sum_of_squares(norms: Sequence[Tensor]) -> Tensor:
    wide = (torch.cat(list(norms)) if len(norms) > 1 else norms[0]).double()
    return torch.dot(wide, wide)


def _flatten(values: Tensor) -> Tensor:
    """The values as one dimension, without a copy where memory is dense (channels_last)."""
    values = values.resolve_neg()
    if values.is_contiguous():
        return values.view(-1)
    if _is_dense(values):
        return values.as_strided((values.numel(),), (1,), values.storage_offset())
    return values.reshape(-1)


def _is_dense(values: Tensor) -> bool:
    """Whether its values fill their memory, in whatever order."""
    return bool(torch.ops.aten.is_non_overlapping_and_dense(values))


def _rows(flat: Tensor) -> tuple[Tensor, Tensor]:
    """The values as rows `(row, value)`, and the rest that fills no row."""
    length = _row_length(flat.numel())
    whole = flat.numel() - flat.numel() % length
    return flat[:whole].view(-1, length), flat[whole:]


@lru_cache(maxsize=4096)
def _row_length(numel: int) -> int:
    """The longest divisor up to `ROW`, or `ROW` where there are only short ones."""
    if numel <= ROW:
        return max(numel, 1)
    longest = next(length for length in range(ROW, 0, -1) if numel % length == 0)
    return longest if longest >= ROW // 8 else ROW


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
