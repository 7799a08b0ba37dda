"""Trajectory: a count sketch of the weights, from which ‖w_s − w_t‖ follows for any two records.

Bucket and sign are hashed from the *global* index of a weight: its position in the concatenation
of all tensors of the model, each unsharded and in row-major order. Sketches of shards add up to
the sketch of the whole, so neither the layout in memory nor the number of processes shows in it.
The hash, and the estimates with their errors, are those of `diffusion.sketch`.

Weights are read block by block. The differences w − w0 of a block are signed by flipping their
sign bits, its rows are moved by their shifts in one gather, and added in float64. What is cached
are one bit of sign a weight and 8 bytes a row of k weights: 0.13 bytes a weight for k = 1024.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ultraslow.diffusion._validation import count
from ultraslow.diffusion.sketch import COMPONENTS, GROUP, shifts, sign_bits
from ultraslow.probes.buffer import Values
from ultraslow.probes.distributed import first_index
from ultraslow.probes.norms import Blockwise, stretch

from .quantity import Quantity, Subject

# Of the hash. Sketches compare between runs only when it is the same.
SKETCH_SEED = 0
# Weights in a block. On a CPU it stays in the cache (measured); an accelerator has to be given
# few and large kernels, and 80 MB of workspace is little there.
_CPU_BLOCK = 1 << 17
_ACCELERATOR_BLOCK = 1 << 22
_TOP_BIT = -(2**31)


class WeightSketch(Quantity):
    """A sketch of w − w0 at each record, from which the distance of any two records follows."""

    fields = ("sketch",)
    called = "trajectory probe"
    of_weights = True

    def __init__(self, subject: Subject, settings: Any = None) -> None:
        """Place this process's weights among all."""
        super().__init__(subject, settings)
        parameters = list(subject.parameters.values())
        starts = offsets([parameter.numel() for parameter in parameters])
        self._sketcher = Sketcher(
            [w0.numel() for w0 in subject.initial],
            [start + first_index(p) for start, p in zip(starts, parameters, strict=True)],
            seed=SKETCH_SEED,
            device=subject.device,
        )

    def attributes(self) -> dict[str, str]:
        """The seed of the hash."""
        return {"sketch_seed": str(self._sketcher.seed)}

    def snapshot(self, iteration: int) -> Values:
        """The sketch `(component,)`."""
        return {"sketch": self._sketcher.measure(self.subject.weights(), self.subject.initial)}

    def nothing(self) -> Values:
        """NaN of as many components."""
        return {"sketch": self.subject.filled(torch.nan, self._sketcher.components)}


@dataclass(frozen=True)
class _Piece:
    """Weights `start` to `stop` of a local tensor, and where they begin in their block."""

    tensor: int
    start: int
    stop: int
    place: int


@dataclass(frozen=True)
class _Block:
    """The pieces within some consecutive groups of rows of the hash, and the hash of those rows.

    Arguments:
        pieces: the local weights among them.
        covered: whether the pieces fill the block.
        signs: bits of sign `(group, 1, component)`, int32.
        windows: where each shifted row begins among the doubled rows `(row,)`.
    """

    pieces: tuple[_Piece, ...]
    covered: bool
    signs: Tensor
    windows: Tensor


def offsets(sizes: Sequence[int]) -> list[int]:
    """The global index of the first weight of each tensor, all unsharded and in their order.

    Arguments:
        sizes: number of weights of each whole tensor.

    Returns:
        One index a tensor. A shard along the first dimension starts that many weights later as
        the rows before it hold.

    >>> offsets([6, 2, 3])
    [0, 6, 8]
    """
    return [0, *np.cumsum(sizes, dtype=np.int64)[:-1].tolist()] if len(sizes) else []


class Sketcher:
    """Measures the count sketch of local tensors with known places among all weights."""

    def __init__(
        self,
        sizes: Sequence[int],
        starts: Sequence[int],
        *,
        components: int = COMPONENTS,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Place the tensors and cache their part of the hash.

        Arguments:
            sizes: number of local weights of each tensor.
            starts: global index of the first of them; the others follow in row-major order.
            components: k, numbers in a sketch. The relative standard error of a squared distance
                is √(2/k).
            seed: s of the hash; sketches can only be compared when it is the same.
            device: where the tensors are.

        Raises:
            ValueError: when sizes and starts do not match, or tensors overlap.
        """
        self.components = count(components, "components")
        self.seed = int(seed)
        self.device = torch.device(device)
        self._sizes = _checked(sizes, starts)
        limit = _CPU_BLOCK if self.device.type == "cpu" else _ACCELERATOR_BLOCK
        groups = max(1, limit // (GROUP * self.components))
        placed = _pieces(self._sizes, starts, groups * GROUP * self.components)
        self._blocks = [self._block(start, pieces) for start, pieces in sorted(placed.items())]
        self._bits = torch.arange(GROUP, dtype=torch.int32, device=self.device).view(1, GROUP, 1)

    @torch.no_grad()
    def measure(
        self, weights: Sequence[Tensor], initial: Sequence[Tensor | Blockwise] | None = None
    ) -> Tensor:
        """The sketch of w − w0, or of w itself; of these local tensors only.

        Add it over the processes that hold different shards. Nothing waits for the device.

        Arguments:
            weights: w, local tensors of the declared sizes, of any layout.
            initial: w0, tensors of the same shapes. Distances between records are small beside
                the weights, and the sketch of w − w0 keeps their digits.

        Returns:
            y `(component,)` in float64 on the device, in the unit of the weights.

        Raises:
            ValueError: when a tensor is missing or has another size.
        """
        _check_sizes("weights", weights, self._sizes)
        if initial is not None:
            _check_sizes("initial", initial, self._sizes)
        double = any(w.dtype == torch.float64 for w in weights)
        dtype = torch.float64 if double else torch.float32
        rows = max((len(block.windows) for block in self._blocks), default=0)
        work = torch.empty(4 * rows * self.components, dtype=dtype, device=self.device)
        total = torch.zeros(self.components, dtype=torch.float64, device=self.device)
        for block in self._blocks:
            total += self._sketch(block, weights, initial, work)
        return total

    def _sketch(
        self,
        block: _Block,
        weights: Sequence[Tensor],
        initial: Sequence[Tensor | Blockwise] | None,
        work: Tensor,
    ) -> Tensor:
        """The sketch of one block, in a workspace of four times its size."""
        k = self.components
        size = k * len(block.windows)
        values, doubled, moved = work[: 4 * size].split([size, 2 * size, size])
        if not block.covered:
            values.zero_()
        for piece in block.pieces:
            target = values[piece.place : piece.place + piece.stop - piece.start]
            _differences(piece, weights, initial, target)
        _flip_signs(values.view(-1, GROUP, k), block.signs, self._bits, scratch=moved)
        # With each row twice side by side, a row moved cyclically is one window of k values.
        doubled.view(-1, 2, k).copy_(values.view(-1, 1, k))
        moved = moved.view(-1, k)
        torch.index_select(doubled.unfold(0, k, 1), 0, block.windows, out=moved)
        return moved.sum(0, dtype=torch.float64)

    def _block(self, start: int, pieces: list[_Piece]) -> _Block:
        """A block of the weights from global index `start`, without the groups nobody needs."""
        k, span = self.components, GROUP * self.components
        first = min(piece.place for piece in pieces) // span
        last = -(-max(piece.place + piece.stop - piece.start for piece in pieces) // span)
        groups = start // span + np.arange(first, last)
        rows = groups[0] * GROUP + np.arange(len(groups) * GROUP)
        bits = sign_bits(groups[:, None], np.arange(k), components=k, seed=self.seed)
        windows = 2 * k * np.arange(len(rows)) + k - shifts(rows, components=k, seed=self.seed)
        return _Block(
            tuple(_Piece(p.tensor, p.start, p.stop, p.place - first * span) for p in pieces),
            sum(piece.stop - piece.start for piece in pieces) == len(groups) * span,
            torch.from_numpy(bits.view(np.int32)[:, None]).to(self.device),
            torch.from_numpy(windows).to(self.device),
        )


def _pieces(sizes: Sequence[int], starts: Sequence[int], length: int) -> dict[int, list[_Piece]]:
    """The tensors cut at multiples of `length`, by the global index where a block begins."""
    blocks: dict[int, list[_Piece]] = {}
    for tensor, (size, start) in enumerate(zip(sizes, starts, strict=True)):
        at = start
        while at < start + size:
            block = at - at % length
            stop = min(block + length, start + size)
            piece = _Piece(tensor, at - start, stop - start, at - block)
            blocks.setdefault(block, []).append(piece)
            at = stop
    return blocks


def _check_sizes(name: str, tensors: Sequence[Tensor | Blockwise], sizes: Sequence[int]) -> None:
    found = [tensor.numel() for tensor in tensors]
    if found != list(sizes):
        raise ValueError(f"{name}: found tensors of sizes {found}, expected {list(sizes)}")


def _differences(
    piece: _Piece,
    weights: Sequence[Tensor],
    initial: Sequence[Tensor | Blockwise] | None,
    out: Tensor,
) -> None:
    """The differences w − w0 of one piece, in row-major order and in the precision of `out`."""
    weight = stretch(weights[piece.tensor].detach(), piece.start, piece.stop)
    if initial is None:
        out.copy_(weight)
    else:
        w0 = stretch(initial[piece.tensor], piece.start, piece.stop).to(out.device)
        torch.sub(weight.to(out.dtype), w0.to(out.dtype), out=out)


def _flip_signs(values: Tensor, signs: Tensor, bits: Tensor, *, scratch: Tensor) -> None:
    """Flip the sign of `(group, row, component)` where bit 31 − row is set; exact, in place."""
    if values.dtype == torch.float64:
        values.view(torch.int64).bitwise_xor_(((signs << bits) & _TOP_BIT).long() << 32)
        return
    flips = scratch.view(torch.int32).view(values.shape)
    torch.bitwise_left_shift(signs, bits, out=flips).bitwise_and_(_TOP_BIT)
    values.view(torch.int32).bitwise_xor_(flips)


def _checked(sizes: Sequence[int], starts: Sequence[int]) -> list[int]:
    if len(sizes) != len(starts):
        raise ValueError(f"starts: found {len(starts)} indices, expected {len(sizes)}, as sizes")
    if any(number < 0 for number in (*sizes, *starts)):
        raise ValueError(f"sizes, starts: found {sizes}, {starts}, expected no negative numbers")
    placed = sorted((start, size) for start, size in zip(starts, sizes, strict=True) if size)
    for (start, size), (following, _) in zip(placed, placed[1:], strict=False):
        if start + size > following:
            raise ValueError(
                f"starts: {size} weights from {start} overlap with those from {following}, "
                "expected separate tensors"
            )
    return [int(size) for size in sizes]
