"""Event files of TensorBoard: the scalars in them, without TensorBoard.

A file is a row of records (TFRecord): length as 8 bytes, checksum of the length, content, checksum
of the content. A content is an `Event` in the wire format of protocol buffers: wall time 1, step
2, summary 5, which holds values 1 of tag 1 and simple value 2, or tensor 8. Other fields, such as
images and graphs, are passed over. All points that were written are there; TensorBoard's page
shows, and saves, a random sample of them.

References:
    tensorflow/core/util/event.proto, framework/summary.proto and framework/tensor.proto;
    the masked CRC-32C is that of tensorflow/core/lib/hash/crc32c.h.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ultraslow.diffusion.recording import RecordError

from .sheet import Cell, Sheet, shown

PATTERN = "*tfevents*"
_LENGTH, _CHECK = 8, 4  # bytes
_CHECKED = 2**12  # bytes up to which an event is: larger ones hold images and graphs
_AT_ONCE = 2**24  # bytes of events that are gone through side by side
_SHORTEST = _LENGTH + 2 * _CHECK
_CELLS = 50_000_000
# DataType of TensorProto: number, field of its values, and numpy's type of its raw content.
_TYPES = {
    1: (5, "<f4"),
    2: (6, "<f8"),
    3: (7, "<i4"),
    9: (10, "<i8"),
    14: (13, ""),
    19: (13, "<f2"),
}


@dataclass(frozen=True)
class Scalar:
    """One value of one tag."""

    step: int
    tag: str
    value: float
    wall_time: float


def events_sheet(
    contents: Sequence[tuple[str, bytes]], source: str, name: str, sha256: str
) -> Sheet:
    """The scalars in the event files of one folder, a row a step and a column a tag.

    Without any scalar there are no columns.

    Arguments:
        contents: of each file its path and bytes, in the order of their writing.
        source: the folder, or the file where it is one.
        name: of the run.
        sha256: of all bytes.

    Raises:
        RecordError: when a file is damaged in its middle.
    """
    rows: list[dict[str, Cell]] = []
    lines: list[int] = []
    notes: list[str] = []
    count = 0
    for path, content in contents:
        for number, event in enumerate(_events(content, path, notes), start=1):
            count += 1
            for point in _points(event, path, number):
                _add(point, rows, lines, count)
        rows.append({})  # of a file's last step, the next file's is another row
        lines.append(count)
    kept = [(row, line) for row, line in zip(rows, lines, strict=True) if row]
    tags = list(dict.fromkeys(key for row, _ in kept for key in row))
    if len(tags) * len(kept) > _CELLS:
        raise RecordError(source, [f"found {len(tags)} tags at {len(kept)} steps, expected less"])
    columns: dict[str, Sequence[Cell]] = {tag: [row.get(tag) for row, _ in kept] for tag in tags}
    files = f"{len(contents)} event files" if len(contents) > 1 else "an event file"
    return Sheet(
        source,
        name,
        sha256,
        f"{files} of TensorBoard",
        columns,
        [line for _, line in kept],
        "event",
        notes=tuple(notes),
    )


def _add(point: Scalar, rows: list[dict[str, Cell]], lines: list[int], event: int) -> None:
    """Put a point into the row of its step, or into a new one where the tag is there already."""
    row = rows[-1] if rows else {}
    if not row or row["step"] != point.step or point.tag in row:
        row = {"step": point.step, "Wall time": point.wall_time}
        rows.append(row)
        lines.append(event)
    row[point.tag] = point.value


def _events(content: bytes, path: str, notes: list[str]) -> Iterator[memoryview]:
    """The events of a file; one that is cut off at its end is told and left out.

    Raises:
        RecordError: for a checksum that does not fit.
    """
    heads, lengths, at = [], [], 0
    while len(content) - at >= _LENGTH + _CHECK:
        heads.append(at)
        lengths.append(int.from_bytes(content[at : at + _LENGTH], "little"))
        at += _SHORTEST + lengths[-1]
    wrong = _first_wrong(content, np.array(heads, dtype=np.int64), _LENGTH)
    if wrong >= 0:
        what = "no event file" if wrong == 0 else "damaged"
        raise RecordError(path, [f"byte {wrong}: the checksum does not fit, the file is {what}"])
    if at > len(content):
        at = heads.pop()
        lengths.pop()
    if at < len(content):
        notes.append(_cut_off(path, at, len(content)))
    starts = np.array(heads, dtype=np.int64) + _LENGTH + _CHECK
    sizes = np.array(lengths, dtype=np.int64)
    for size in np.unique(sizes[sizes <= _CHECKED]).tolist():
        wrong = _first_wrong(content, starts[sizes == size], size)
        if wrong >= 0:
            raise RecordError(
                path, [f"byte {wrong}: the checksum of an event of {size} bytes does not fit"]
            )
    view = memoryview(content)
    for start, size in zip(starts.tolist(), lengths, strict=True):
        yield view[start : start + size]


def _first_wrong(content: bytes, starts: NDArray[np.int64], size: int) -> int:
    """Where the first of some pieces of one size begins whose checksum, behind it, is wrong.

    The pieces are gone through side by side, a byte of each at a time; −1 where all fit.
    """
    every = np.frombuffer(content, dtype=np.uint8)
    for block in np.array_split(starts, max(1, -(-starts.size * (size + 1) // _AT_ONCE))):
        value = np.full(block.size, 0xFFFFFFFF, dtype=np.uint32)
        for place in range(size):
            value = _TABLE[(value ^ every[block + place]) & 0xFF] ^ (value >> np.uint32(8))
        given = np.zeros(block.size, dtype=np.uint32)
        for place in range(_CHECK):
            given |= every[block + size + place].astype(np.uint32) << np.uint32(8 * place)
        wrong = np.flatnonzero(_masked(value) != given)
        if wrong.size:
            return int(block[wrong[0]])
    return -1


def _cut_off(path: str, at: int, size: int) -> str:
    return (
        f"{path} is cut off within the event at byte {at} of {size}: what follows was never "
        "written, or is lost"
    )


def _points(event: memoryview, path: str, number: int) -> Iterator[Scalar]:
    """The scalars of an event."""
    step, wall_time, summaries = 0, float("nan"), []
    try:
        for field, value in _fields(event):
            if field == 1 and isinstance(value, memoryview):
                wall_time = struct.unpack("<d", value)[0]
            elif field == 2 and isinstance(value, int):
                step = value if value < 2**63 else value - 2**64
            elif field == 5 and isinstance(value, memoryview):
                summaries.append(value)
        for summary in summaries:
            for field, value in _fields(summary):
                found = _scalar(value) if field == 1 and isinstance(value, memoryview) else None
                if found is not None:
                    yield Scalar(step, *found, wall_time)
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        raise RecordError(path, [f"event {number}: {error}, expected an event"]) from error


def _scalar(value: memoryview) -> tuple[str, float] | None:
    """Tag and number of a value of a summary; None for images, texts and the like."""
    tag, number = "", None
    for field, content in _fields(value):
        if field == 1 and isinstance(content, memoryview):
            tag = bytes(content).decode()
        elif field == 2 and isinstance(content, memoryview) and len(content) == 4:
            number = float(struct.unpack("<f", content)[0])
        elif field == 8 and isinstance(content, memoryview):
            number = _tensor(content)
    return None if number is None or not tag else (tag, number)


def _tensor(content: memoryview) -> float | None:
    """The number in a tensor of one element; None for others, and for texts."""
    fields = list(_fields(content))
    kind = next((value for field, value in fields if field == 1 and isinstance(value, int)), 0)
    if kind not in _TYPES:
        return None
    own, raw = _TYPES[kind]
    for field, value in fields:
        if field == 4 and isinstance(value, memoryview) and raw:
            found = np.frombuffer(value, dtype=raw)
            return float(found[0]) if found.size == 1 else None
    held = [value for field, value in fields if field == own]
    if len(held) != 1:
        return None
    return _element(held[0], kind, raw)


def _element(value: int | memoryview, kind: int, raw: str) -> float | None:
    """One value of a tensor: a number, or numbers in a row (packed)."""
    if kind in (1, 2):
        found = np.frombuffer(value, dtype=raw) if isinstance(value, memoryview) else np.empty(0)
        return float(found[0]) if found.size == 1 else None
    if isinstance(value, memoryview):
        packed = list(_varints(value))
        if len(packed) != 1:
            return None
        value = packed[0]
    if kind == 14:  # bfloat16: the upper half of a float32
        return float(struct.unpack("<f", struct.pack("<I", (value & 0xFFFF) << 16))[0])
    if kind == 19:
        return float(np.array([value & 0xFFFF], dtype="<u2").view("<f2")[0])
    return float(value if value < 2**63 else value - 2**64)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of the fields of a message; those of fixed length as bytes.

    Raises:
        ValueError: when it is no message.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield field, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"found the wire type {kind}")
        if at + length > len(message):
            raise ValueError(
                f"found a field of {length} bytes, of which {len(message) - at} are there"
            )
        yield field, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError(f"found a broken number {shown(bytes(message[at - 1 : at + 8]))}")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value & (2**64 - 1), at


def _varints(message: memoryview) -> Iterator[int]:
    at = 0
    while at < len(message):
        value, at = _varint(message, at)
        yield value


def _crc_table() -> NDArray[np.uint32]:
    """Remainders of all bytes by the polynomial of Castagnoli, bits reversed."""
    value = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        value = (value >> np.uint32(1)) ^ np.where(
            value & np.uint32(1), np.uint32(0x82F63B78), np.uint32(0)
        )
    return value


_TABLE = _crc_table()


def _masked(value: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The checksum of an event file from the running remainder: turned and moved."""
    turned = ~value
    moved = (turned >> np.uint32(15)) | (turned << np.uint32(17))
    return moved + np.uint32(0xA282EAD8)
