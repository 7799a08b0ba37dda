"""Where the values of a tensor lie on disk, and reading some of them.

Files are never mapped into memory: a mapped file that a network disk loses, or that somebody cuts
off, ends the process; reading one gives an error that names it. What is in memory is what was
asked for.
"""

import math
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ultraslow.diffusion.recording import RecordError

Bytes = NDArray[np.uint8]

_KEPT_OPEN = 400  # files; most systems allow a process 1024


@dataclass(frozen=True)
class Piece:
    """A box of a tensor whose values follow one another in a file.

    Arguments:
        file: the file.
        offset: bytes before its first value.
        first: index of its first value in the whole tensor `(dimension,)`.
        sizes: of the box `(dimension,)`.
    """

    file: Path
    offset: int
    first: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """A tensor on disk.

    Arguments:
        shape: of the whole tensor.
        dtype: of its values.
        pieces: that it consists of.
        order: its dimensions in the order in which they are stored, slowest first; None for the
            usual order, in which the last one is the fastest.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    pieces: tuple[Piece, ...]
    order: tuple[int, ...] | None = None

    @property
    def numel(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.numel * self.dtype.itemsize

    @property
    def files(self) -> set[Path]:
        """Files that hold some of them."""
        return {piece.file for piece in self.pieces}

    def index(self, flat: int) -> tuple[int, ...]:
        """The index of a value, by its place among the stored ones."""
        order = self.order or tuple(range(len(self.shape)))
        found = np.unravel_index(flat, [self.shape[dimension] for dimension in order])
        return tuple(int(found[order.index(d)]) for d in range(len(self.shape)))


class OpenFiles:
    """Files that are read here and there, by several threads.

    Each has to stay what it was when its header was read.
    """

    def __init__(self) -> None:
        """Open nothing."""
        self._open: dict[Path, int] = {}
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[int, int]] = {}

    def sign(self, file: Path) -> tuple[int, int]:
        """Size and time of the last change, in bytes and nanoseconds; the first ones count."""
        found = os.stat(file)
        return self._known.setdefault(file, (found.st_size, found.st_mtime_ns))

    def read(self, file: Path, offset: int, target: Bytes) -> None:
        """Fill the target with bytes of a file.

        Raises:
            RecordError: when the file ends before, or is another one than it was.
            OSError: when the disk refuses.
        """
        descriptor, keep = self._descriptor(file)
        try:
            now = os.fstat(descriptor)
            if self._known.get(file, ()) not in ((), (now.st_size, now.st_mtime_ns)):
                raise RecordError(str(file), ["was changed while it was read; begin again"])
            view, done = target.data, 0
            while done < len(view):
                count = os.preadv(descriptor, [view[done:]], offset + done)
                if not count:
                    told = f"ends at byte {offset + done}, expected {offset + len(view)} bytes"
                    raise RecordError(str(file), [f"{told} or more: it is cut off"])
                done += count
        finally:
            if not keep:
                os.close(descriptor)

    def _descriptor(self, file: Path) -> tuple[int, bool]:
        """An open file, and whether it stays open."""
        with self._lock:
            if file in self._open:
                return self._open[file], True
            descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            keep = len(self._open) < _KEPT_OPEN
            if keep:
                self._open[file] = descriptor
            return descriptor, keep

    def __enter__(self) -> "OpenFiles":
        return self

    def __exit__(self, *_: object) -> None:
        """Close all."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])


def read_values(files: OpenFiles, tensor: Stored, start: int, target: Bytes) -> None:
    """Read values of a tensor, by their place in its stored order.

    Arguments:
        files: that are open.
        tensor: on disk; several pieces are put together in the usual order.
        start: place of the first value.
        target: is filled with the bytes of as many values as have room in it.

    Raises:
        RecordError, OSError: as `OpenFiles.read`.
    """
    item = tensor.dtype.itemsize
    stop = start + len(target) // item
    for piece in tensor.pieces:
        starts, length = _runs(tensor, piece)
        first = int(np.searchsorted(starts + length, start, side="right"))
        last = int(np.searchsorted(starts, stop, side="left"))
        if first >= last:
            continue
        # What is needed of the piece lies in one stretch of its file.
        low = first * length + max(start - int(starts[first]), 0)
        high = (last - 1) * length + min(stop - int(starts[last - 1]), length)
        if last - first == 1:
            at = int(starts[first]) + low - first * length - start
            room = target[at * item : (at + high - low) * item]
            files.read(piece.file, piece.offset + low * item, room)
            continue
        stretch = np.empty((high - low) * item, dtype=np.uint8)
        files.read(piece.file, piece.offset + low * item, stretch)
        for run in range(first, last):
            begin, end = max(run * length, low), min((run + 1) * length, high)
            at = int(starts[run]) + begin - run * length - start
            part = stretch[(begin - low) * item : (end - low) * item]
            target[at * item : (at + end - begin) * item] = part


def _runs(tensor: Stored, piece: Piece) -> tuple[NDArray[np.int64], int]:
    """Where values of a box that follow one another lie in the whole tensor, and how many.

    Returns:
        Checkpoint of the first value of each run `(run,)`, increasing, and the length of a run.
    """
    shape, sizes = tensor.shape, piece.sizes
    if sizes == shape:
        return np.zeros(1, dtype=np.int64), tensor.numel
    strides = [math.prod(shape[d + 1 :]) for d in range(len(shape))]
    # Behind the last dimension of which the box is a part all are whole, so that it is one run.
    cut = max(d for d in range(len(shape)) if sizes[d] != shape[d])
    starts = np.array([sum(f * s for f, s in zip(piece.first, strides, strict=True))])
    for dimension in range(cut):
        steps = np.arange(sizes[dimension]) * strides[dimension]
        starts = (starts[:, None] + steps).reshape(-1)
    return starts, math.prod(sizes[cut:])


def incomplete(tensors: Mapping[str, Stored]) -> Iterator[str]:
    """Why tensors cannot be put together from their pieces; nothing when they can."""
    for name, tensor in tensors.items():
        held = sum(math.prod(piece.sizes) for piece in tensor.pieces)
        if held != tensor.numel:
            yield (
                f"{name}: found {held} of its values in {len(tensor.pieces)} pieces, expected "
                f"{tensor.numel} ({'×'.join(map(str, tensor.shape))})"
            )
        for piece in tensor.pieces:
            bounds = zip(piece.first, piece.sizes, tensor.shape, strict=True)
            if any(f < 0 or s < 0 or f + s > whole for f, s, whole in bounds):
                yield f"{name}: a piece at {piece.first} of {piece.sizes} lies outside of it"
