"""Values that an HDF5 file keeps in pieces, compressed or not, laid together again.

NetCDF-4 compresses a variable piece by piece: the pieces are blocks of one shape, in a tree of
their places (HDF5 File Format Specification 3.0, §III.A.1), each gone through filters (§IV.A.2.l)
that put bytes of like place side by side and deflate them.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UnfamiliarError

_DEFLATED, _SHUFFLED = 1, 2
_FAMILIAR = {(), (_DEFLATED,), (_SHUFFLED,), (_SHUFFLED, _DEFLATED)}
_NAMED = 256  # numbers of filters from which on they have a name
_NODE = 24  # bytes before the first key of a node
_LEAST = 32  # bytes that a piece takes in a tree, at least


def in_pieces(
    content: bytes, layout: bytes, filters: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The values of a variable.

    Arguments:
        content: all bytes of the file.
        layout: the message that says where the pieces are (§IV.A.2.i), version 3.
        filters: the message of filters; empty without one.
        shape: of the variable; that so much may be held was made sure of before.
        dtype: of its values.

    Raises:
        UnfamiliarError: where they are not written as this package writes them, or not all.
    """
    rank = len(shape)
    if layout[0] != 3 or layout[2] != rank + 1:
        raise UnfamiliarError("other pieces")
    tree, *lengths, item = struct.unpack_from(f"<Q{rank + 1}I", layout, 3)
    if item != dtype.itemsize or any(not 0 < a <= b for a, b in zip(lengths, shape, strict=True)):
        raise UnfamiliarError("pieces of another shape")
    count = math.prod(-(-b // a) for a, b in zip(lengths, shape, strict=True))
    if count * _LEAST > len(content):
        raise UnfamiliarError("more pieces than bytes")
    undone = _filters(filters)
    values = np.empty(shape, dtype)
    places = set()
    for number, (place, start, size) in enumerate(_pieces(content, tree, rank)):
        if number == count:
            raise UnfamiliarError("more pieces than there are places")
        if any(at % a or at >= b for at, a, b in zip(place, lengths, shape, strict=True)):
            raise UnfamiliarError("a piece in between or beyond")
        piece = _unfolded(content[start : start + size], undone, math.prod(lengths), dtype)
        into = values[tuple(slice(at, at + a) for at, a in zip(place, lengths, strict=True))]
        into[...] = piece.reshape(lengths)[tuple(slice(length) for length in into.shape)]
        places.add(place)
    if len(places) < count:
        raise UnfamiliarError("a piece is missing")
    return values


def _filters(message: bytes) -> tuple[int, ...]:
    """Numbers of the filters that the pieces went through, in order (§IV.A.2.l), version 2."""
    if not message:
        return ()
    if message[0] != 2:
        raise UnfamiliarError("another version of filters")
    found, at = [], 2
    for _ in range(message[1]):
        number, _, parameters = struct.unpack_from("<HHH", message, at)
        if number >= _NAMED:
            raise UnfamiliarError("another filter")
        found.append(number)
        at += 6 + 4 * parameters
    if tuple(found) not in _FAMILIAR:
        raise UnfamiliarError("other filters")
    return tuple(found)


def _pieces(
    content: bytes, node: int, rank: int, floor: int | None = None
) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """Where each piece lies in the variable, and where in the file, with its size."""
    mark, kind, level, used = struct.unpack_from("<4sBBH", content, node)
    if mark != b"TREE" or kind != 1 or not used or floor not in (None, level):
        raise UnfamiliarError("another tree of pieces")
    key = struct.Struct(f"<II{rank + 1}QQ")
    for place in range(used):
        size, skipped, *at, _, child = key.unpack_from(content, node + _NODE + place * key.size)
        if level:
            yield from _pieces(content, child, rank, level - 1)
        elif skipped:
            raise UnfamiliarError("a piece that left out a filter")
        else:
            yield tuple(at), child, size


def _unfolded(
    piece: bytes, filters: tuple[int, ...], count: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The values of a piece before it went through the filters."""
    size = count * dtype.itemsize
    if _DEFLATED in filters:
        stream = zlib.decompressobj()
        try:
            piece = stream.decompress(piece, size)
        except zlib.error as error:
            raise UnfamiliarError(str(error)) from error
        if not stream.eof:
            raise UnfamiliarError("a piece that unfolds to more")
    if len(piece) != size:
        raise UnfamiliarError("a piece of another size")
    if _SHUFFLED in filters:
        rows = np.frombuffer(piece, np.uint8).reshape(dtype.itemsize, count)
        piece = rows.T.tobytes()
    return np.frombuffer(piece, dtype)
