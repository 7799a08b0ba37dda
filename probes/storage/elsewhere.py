"""w0 elsewhere than beside the weights: in the host's memory, or in its files alone.

A network that fills its devices has no room for another copy. It is read block by block when a
record is made. Files are read and not mapped into memory: a page that a disk or a network does not
deliver ends the process, and with it the training; a read that fails ends the measurement.
"""

import errno
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ultraslow.probes.norms import Blockwise

from .weights import Rows, WeightsFile, first_byte, storable_dtype


class OnHost:
    """A tensor in the host's memory whose weights are on a device."""

    def __init__(self, weights: Tensor) -> None:
        """Copy the weights of this moment."""
        self.tensor = weights.detach().cpu().contiguous()

    @property
    def shape(self) -> torch.Size:
        """Of the tensor."""
        return self.tensor.shape

    @property
    def dtype(self) -> torch.dtype:
        """In which its values are kept."""
        return self.tensor.dtype

    def numel(self) -> int:
        """How many values it has."""
        return self.tensor.numel()

    def values(self, start: int, stop: int) -> Tensor:
        """Values `start` to `stop` in row-major order."""
        return self.tensor.view(-1)[start:stop]


class _File:
    """A file that stays open as long as somebody reads it, whatever becomes of its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.number)

    def read(self, room: memoryview, at: int) -> None:
        """Fill some memory from a byte on.

        Raises:
            OSError: where the disk refuses, or the file ends before.
        """
        while room:
            read = os.preadv(self.number, [room], at)
            if not read:
                told = f"initial weights end at byte {at}, expected {len(room)} more"
                raise OSError(errno.EIO, told, str(self.path))
            room, at = room[read:], at + read


@dataclass(frozen=True)
class _Segment:
    """Consecutive values `start` to `stop` of a tensor, from a byte of a file on."""

    file: _File
    at: int
    start: int
    stop: int


class OnDisk:
    """A tensor of which nothing is in memory; known when its files are."""

    def __init__(self, weights: Tensor) -> None:
        """Have the shape of weights; `found` says where the values are."""
        self.shape = weights.shape
        self.dtype = storable_dtype(weights)
        self._segments: list[_Segment] = []

    def numel(self) -> int:
        """How many values it has."""
        return self.shape.numel()

    def found(self, name: str, rows: Rows, sources: Sequence[WeightsFile]) -> None:
        """Read from these files from now on.

        Arguments:
            name: of the tensor in them.
            rows: that are wanted.
            sources: the files that hold them, in their order.

        Raises:
            OSError: where one cannot be opened.
        """
        self._segments = []
        row = self.numel() // max(rows.count, 1)
        at = rows.first
        for source in sources:
            held = source.rows[name]
            stop = min(held.first + held.count, rows.first + rows.count)
            begun = first_byte(source.path, name) + (at - held.first) * row * self.dtype.itemsize
            places = (at - rows.first) * row, (stop - rows.first) * row
            self._segments.append(_Segment(_File(source.path), begun, *places))
            at = stop

    def values(self, start: int, stop: int) -> Tensor:
        """Values `start` to `stop` in row-major order.

        Raises:
            OSError: where they cannot be read.
        """
        found = torch.empty(stop - start, dtype=self.dtype)
        room = found.view(torch.uint8).numpy().data
        size = self.dtype.itemsize
        for one in self._segments:
            first, last = max(start, one.start), min(stop, one.stop)
            if first < last:
                part = room[(first - start) * size : (last - start) * size]
                one.file.read(part, one.at + (first - one.start) * size)
        return found


PLACES = ("device", "host", "disk")


def kept_on(place: str, weights: Tensor) -> Tensor | Blockwise:
    """A copy of weights, or what will be one.

    Arguments:
        place: one of `PLACES`.
        weights: of this moment.
    """
    if place == "disk":
        return OnDisk(weights)
    if place == "host" and not weights.is_cpu:
        return OnHost(weights)
    return weights.detach().clone()


def place_of(kept: Tensor | Blockwise) -> str:
    """Which of `PLACES` a tensor is kept on."""
    if isinstance(kept, Tensor):
        return "device"
    return "disk" if isinstance(kept, OnDisk) else "host"
