"""Sealed recordings read off their bytes: what a file declares, and its values, some or all.

To open a file the NetCDF library visits every variable with all that is said of it, which takes
ten times as long as what a listing needs of it, and several times as long as all values. So they
are read off the bytes here, by their structure (HDF5 File Format Specification 3.0): the links of
the root to its data sets, the shape, type and place of each, attributes, numbers and texts.

Nothing is followed out of the file, and no more is taken than its bytes hold or, unfolded, than
may be read of a file. Whatever is not written as this package writes it is *unfamiliar*, and for
the library to read: a file without a seal, groups, links other than to data sets, values in other
files. What is familiar gives what the library gives; the tests compare all kinds of recordings.
"""

import math
import struct
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import UnfamiliarError
from .fields import FIELDS
from .outside import SIGNATURE
from .pieces import in_pieces

_NOWHERE = 2**64 - 1
_EIGHT_BYTES = struct.Struct("<Q")
_HELD_TEXT = struct.Struct("<H6xQ")  # number and length of a text in a heap
_SPACE, _LINKS, _TYPE, _EXTERNAL, _LINK = 0x01, 0x02, 0x03, 0x07, 0x06
_LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUES, _ATTRIBUTES = 0x08, 0x0B, 0x0C, 0x10, 0x15
_WANTED = {_SPACE, _LINKS, _TYPE, _EXTERNAL, _LINK, _LAYOUT, _FILTERS, _ATTRIBUTE, _ATTRIBUTES}
# A recording of 300 records, 1000 tensors and 10 fields has 24 MB. A file that asks for more than
# this much memory is broken, hostile or no recording.
MEMORY_LIMIT = 2**31
_TEXT = 16  # bytes that stand for a text beside it
_STEPS = 10_000  # beside one for every four bytes
_STEP = 64  # bytes that are taken in one
_KINDS = 256  # shapes and types that are kept, as most variables have the same few
_UNFOLDED = 1032  # bytes that a compressed byte stands for at most
# What the NetCDF library keeps for itself, and what makes values stand for others.
_HIDDEN = {
    "_NCProperties",
    "_nc3_strict",
    "coordinates",
    "_FillValue",
    "CLASS",
    "NAME",
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
}
_PACKED = {b"scale_factor", b"add_offset", b"missing_value", b"_Unsigned"}
_PLACEHOLDER = b"This is a netCDF dimension but not a netCDF variable"


@dataclass(frozen=True)
class HeaderVariable:
    """A variable of a header.

    Attributes:
        dims: names of its dimensions.
        shape: its lengths along them.
        dtype: of its values.
        known: its values, where they were asked for.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    known: NDArray[Any] | None = None

    @property
    def values(self) -> NDArray[Any]:
        """Its values.

        Raises:
            LookupError: where they were not asked for.
        """
        if self.known is None:
            raise LookupError("the values of this variable were not read with the header")
        return self.known


@dataclass(frozen=True)
class Header:
    """What `check` reads of a recording, and a listing.

    Attributes:
        sizes: length of each dimension.
        variables: by name.
        attrs: attributes of the file by name.
        described: attributes of each variable by name, where all was asked for.
    """

    sizes: Mapping[str, int]
    variables: Mapping[str, HeaderVariable]
    attrs: dict[str, Any]
    described: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def read_header(content: bytes, wanted: Collection[str], most: int = MEMORY_LIMIT) -> Header:
    """What a file declares, and the values of some of its variables.

    Arguments:
        content: all bytes of a file whose seal fits.
        wanted: variables whose values are read as well; texts and single numbers always are.
        most: bytes that all values of the file may take.

    Returns:
        The header, unchecked.

    Raises:
        UnfamiliarError: where the bytes are not written as this package writes them, or claim
            more.
    """
    with _familiar():
        return _Bytes(content).header(frozenset(wanted), most, described=False)


def read_whole(content: bytes, most: int = MEMORY_LIMIT) -> Header:
    """All that a file holds: as `read_header`, with all values, and attributes of variables."""
    with _familiar():
        return _Bytes(content).header(frozenset(FIELDS), most, described=True)


@contextmanager
def _familiar() -> Iterator[None]:
    try:
        yield
    except (struct.error, LookupError, ValueError, TypeError, OverflowError) as error:
        raise UnfamiliarError(str(error)) from error


@dataclass(frozen=True)
class _Object:
    """The messages of an object's header, by their kind, as places in the bytes.

    Attributes:
        messages: begin and end of each.
        ordered: whether the two bytes before each tell when it was made.
    """

    messages: Mapping[int, list[tuple[int, int]]]
    ordered: bool

    def one(self, kind: int) -> tuple[int, int]:
        """The only message of a kind."""
        found = self.messages.get(kind, [])
        if len(found) != 1:
            raise UnfamiliarError(f"{len(found)} messages of kind {kind}")
        return found[0]


class _Declared(NamedTuple):
    """A variable as it is declared: its header, where its values lie, and how much they claim.

    Its type is None of texts, its place where they lie in pieces.
    """

    item: _Object
    place: tuple[int, int] | None
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    claimed: int


class _Bytes:
    """The bytes of a file; every place in them is looked up by a number that they hold."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}
        self._steps = _STEPS + len(content) // 4

    def header(self, wanted: frozenset[str], most: int, *, described: bool) -> Header:
        """All that is asked for."""
        content = self.content
        plain = (
            content.startswith(SIGNATURE) and content[8] in (2, 3) and content[9:11] == b"\x08\x08"
        )
        if not plain or self._number(12):
            raise UnfamiliarError("another superblock")
        root = self._object(self._number(36))
        if _TYPE in root.messages:
            raise UnfamiliarError("no group at the root")
        attributes = dict(self._attributes(root))
        declared: dict[str, _Declared] = {}
        sizes: dict[str, int] = {}
        for _, name, address in sorted(self._links(root)):  # as the library lists them
            item = self._object(address)
            place = self._place(item)
            if name in FIELDS and not self._is_placeholder(item):
                declared[name] = self._declared(item, place)
                _enlarge(sizes, name, declared[name].shape)
        if sum(one.claimed for one in declared.values()) > min(_UNFOLDED * len(content), most):
            raise UnfamiliarError("more values than the file can hold, or than are read")
        variables = {name: self._variable(name, one, wanted) for name, one in declared.items()}
        items = {name: one.item for name, one in declared.items()} if described else {}
        told = {name: dict(self._attributes(item)) for name, item in items.items()}
        return Header(sizes, variables, attributes, told)

    def _declared(self, item: _Object, place: tuple[int, int] | None) -> _Declared:
        dtype = _dtype_of(self.content[slice(*item.one(_TYPE))])
        shape = _shape_of(self.content[slice(*item.one(_SPACE))])
        claimed = math.prod(shape) * (_TEXT if dtype is None else dtype.itemsize)
        return _Declared(item, place, dtype, shape, claimed)

    def _variable(self, name: str, one: _Declared, wanted: frozenset[str]) -> HeaderVariable:
        """A variable, with its values where they are wanted."""
        dims = FIELDS[name].dims
        if one.dtype is None:
            known = self._texts(self._held(one.place, one.claimed), one.shape)
            return HeaderVariable(dims, one.shape, known.dtype, known)
        if one.shape and name not in wanted:
            return HeaderVariable(dims, one.shape, one.dtype)
        if one.place is None:
            layout, *filters = (
                self.content[at:end]
                for kind in (_LAYOUT, _FILTERS)
                for at, end in one.item.messages.get(kind, ())
            )
            known = in_pieces(self.content, layout, b"".join(filters), one.shape, one.dtype)
        else:
            held = bytearray(self._held(one.place, one.claimed))  # which may be written to
            known = np.frombuffer(held, one.dtype).reshape(one.shape)
        return HeaderVariable(dims, one.shape, one.dtype, known)

    def _spend(self, steps: int = 1) -> None:
        """Structure that leads to the same bytes again and again comes to an end."""
        self._steps -= steps
        if self._steps < 0:
            raise UnfamiliarError("more structure than bytes")

    def _number(self, at: int, width: int = 8) -> int:
        if width == 8:  # most are, and hundreds are looked up in a file
            return int(_EIGHT_BYTES.unpack_from(self.content, at)[0])
        if at + width > len(self.content):
            raise UnfamiliarError("a number beyond the end")
        return int.from_bytes(self.content[at : at + width], "little")

    def _part(self, at: int, length: int) -> bytes:
        part = self.content[at : at + length]
        self._spend(1 + len(part) // _STEP)
        if len(part) < length:
            raise UnfamiliarError("a part beyond the end")
        return part

    def _object(self, address: int) -> _Object:
        """The header of an object, version 2 (§IV.A.1.b)."""
        content = self.content
        if content[address : address + 5] != b"OHDR\x02":
            raise UnfamiliarError("another header of an object")
        flags = content[address + 5]
        ordered = 2 if flags & 4 else 0
        at = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        blocks = [(at + width, at + width + self._number(at, width))]
        found: dict[int, list[tuple[int, int]]] = {}
        head = 4 + ordered
        for at, end in blocks:
            self._spend(1 + (end - at) // _STEP)
            while at + head <= end:
                kind = content[at]
                body = at + head
                after = body + content[at + 1] + (content[at + 2] << 8)
                if kind in _WANTED:
                    if after > end or content[at + 3] & 2:
                        raise UnfamiliarError("a message beyond its block, or kept elsewhere")
                    if kind in found:
                        found[kind].append((body, after))
                    else:
                        found[kind] = [(body, after)]
                elif kind == _CONTINUES:
                    start, length = struct.unpack_from("<QQ", content, body)
                    if content[start : start + 4] != b"OCHK":
                        raise UnfamiliarError("a header that goes on nowhere")
                    blocks.append((start + 4, start + length - 4))
                at = after
        return _Object(found, bool(ordered))

    def _links(self, root: _Object) -> Iterator[tuple[int, str, int]]:
        """What is linked (§IV.A.2.g), by hard links alone.

        Yields:
            When each was made, or 0 where that is not kept, its name and its address.
        """
        for at, end in root.messages.get(_LINK, []):
            yield self._link(self.content[at:end])
        start, _ = root.one(_LINKS)
        yield from map(self._link, self._dense(start, 8 if self.content[start + 1] & 1 else 0, 5))

    def _link(self, message: bytes) -> tuple[int, str, int]:
        flags = message[1]
        if message[0] != 1 or flags & 8:
            raise UnfamiliarError("a link to something else")
        at = 2 + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        width = 1 << (flags & 3)
        length = int.from_bytes(message[at : at + width], "little")
        at += width
        name = message[at : at + length]
        address = message[at + length : at + length + 8]
        if len(address) < 8:
            raise UnfamiliarError("a link without an end")
        made = int.from_bytes(message[2:10], "little") if flags & 4 else 0
        return made, name.decode(), int.from_bytes(address, "little")

    def _dense(self, start: int, skipped: int, kind: int) -> Iterator[bytes]:
        """What many links or attributes are kept in: a heap, and a tree of places in it.

        Arguments:
            start: of the message that names both.
            skipped: bytes of an order of creation.
            kind: of the tree's records.
        """
        at = start + 2 + skipped
        heap, tree = self._number(at), self._number(at + 8)
        if self.content[start]:
            raise UnfamiliarError("another version of a group")
        if heap == _NOWHERE:
            return
        held = _Heap(self, heap)
        for record in self._records(tree, kind):
            place = record[4:] if kind == 5 else record
            yield held.part(place)

    def _records(self, tree: int, kind: int) -> Iterator[bytes]:
        """Records of a tree (§III.A.2) of one or two floors, in their order."""
        content = self.content
        if content[tree : tree + 4] != b"BTHD" or content[tree + 5] != kind:
            raise UnfamiliarError("another tree")
        node, size, depth = struct.unpack_from("<IHH", content, tree + 6)
        root, count = struct.unpack_from("<QH", content, tree + 16)
        if not size or depth > 1:
            raise UnfamiliarError("a tall tree")
        if not count:
            return
        if not depth:
            yield from self._leaf(root, b"BTLF", size, count)
            return
        own = list(self._leaf(root, b"BTIN", size, count))
        most = (node - 10) // size
        width = (most.bit_length() + 7) // 8
        at = root + 6 + size * count
        for place in range(count + 1):
            child = self._number(at + place * (8 + width))
            held = self._number(at + place * (8 + width) + 8, width)
            yield from self._leaf(child, b"BTLF", size, held)
            yield from own[place : place + 1]

    def _leaf(self, at: int, mark: bytes, size: int, count: int) -> Iterator[bytes]:
        if self.content[at : at + 4] != mark:
            raise UnfamiliarError("another node of a tree")
        for place in range(count):
            self._spend()
            yield self._part(at + 6 + place * size, size)

    def _attributes(self, item: _Object) -> Iterator[tuple[str, Any]]:
        for name, message, at in self._attribute_parts(item):
            if name not in _HIDDEN:
                yield name, self._attribute(message, at)

    def _attribute_parts(self, item: _Object) -> Iterator[tuple[str, bytes, int]]:
        """Names of attributes, their messages (§IV.A.2.m), and where in them the name ends."""
        places = item.messages.get(_ATTRIBUTE, [])
        if item.ordered:
            places = sorted(places, key=lambda place: self._number(place[0] - 2, 2))
        messages = [self.content[at:end] for at, end in places]
        for start, _ in item.messages.get(_ATTRIBUTES, []):
            skipped = 2 if self.content[start + 1] & 1 else 0
            messages += self._dense(start, skipped, 8)
        for message in messages:
            if message[0] != 3 or message[1]:
                raise UnfamiliarError("another version of an attribute")
            length = message[2] + (message[3] << 8)
            name = message[9 : 9 + length]
            yield name.rstrip(b"\0").decode(), message, 9 + length

    def _attribute(self, message: bytes, at: int) -> Any:
        """The value of an attribute: text, a number, or a row of either."""
        kind_size, space_size = struct.unpack_from("<HH", message, 4)
        kind = message[at : at + kind_size]
        space = message[at + kind_size : at + kind_size + space_size]
        value = message[at + kind_size + space_size :]
        shape = _shape_of(space)
        count = math.prod(shape)
        if kind[0] & 15 == 3:
            size = int.from_bytes(kind[4:8], "little")
            if shape:
                raise UnfamiliarError("a row of texts")
            return value[:size].rstrip(b"\0").decode()
        dtype = _dtype_of(kind)
        if dtype is None:
            texts = self._texts(value[: 16 * count], shape)
            listed = texts.reshape(-1).tolist()
            return listed[0] if len(listed) == 1 else listed
        numbers = np.frombuffer(value, dtype, count)
        return numbers[0] if count == 1 else numbers

    def _place(self, item: _Object) -> tuple[int, int] | None:
        """Where the values lie in one piece; None where they do not."""
        if _EXTERNAL in item.messages:
            raise UnfamiliarError("values in other files")
        at, end = item.one(_LAYOUT)
        version, kind = self.content[at], self.content[at + 1]
        if version not in (3, 4) or kind > 2:
            raise UnfamiliarError("another layout")
        if kind == 0:
            length = self._number(at + 2, 2)
            if at + 4 + length > end:
                raise UnfamiliarError("values beyond their message")
            return at + 4, length
        return (self._number(at + 2), self._number(at + 10)) if kind == 1 else None

    def _held(self, place: tuple[int, int] | None, size: int) -> bytes:
        if place is None or place[1] < size:
            raise UnfamiliarError("values in pieces")
        return self._part(place[0], size)

    def _is_placeholder(self, item: _Object) -> bool:
        """Whether it stands for a dimension alone; values that stand for others are unfamiliar."""
        found, content = False, self.content
        for at, _ in item.messages.get(_ATTRIBUTES, ()):
            if self._number(at + (4 if content[at + 1] & 1 else 2)) != _NOWHERE:
                raise UnfamiliarError("a variable of many attributes")
        for at, end in item.messages.get(_ATTRIBUTE, ()):
            name = content[at + 9 : at + 8 + content[at + 2]]
            if content[at] != 3 or content[at + 3] or name in _PACKED:
                raise UnfamiliarError("values that stand for others")
            if name == b"NAME":
                found = _PLACEHOLDER in content[at:end]
        return found

    def _texts(self, places: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
        """Texts (§III.E), each kept in a heap of texts."""
        texts = [
            self._text(*struct.unpack_from("<IQI", places, at)) for at in range(0, len(places), 16)
        ]
        longest = max(map(len, texts), default=0)
        if longest * len(texts) > _STEPS + len(self.content):  # they are laid out side by side
            raise UnfamiliarError("one long text among many")
        return np.array(texts, dtype=np.str_).reshape(shape)

    def _text(self, length: int, heap: int, number: int) -> str:
        if not length:
            return ""
        if heap not in self._heaps:
            self._heaps[heap] = dict(self._heap_of_texts(heap))
        at, held = self._heaps[heap][number]
        if length > held:
            raise UnfamiliarError("a text beyond its place")
        return self._part(at, length).rstrip(b"\0").decode()

    def _heap_of_texts(self, at: int) -> Iterator[tuple[int, tuple[int, int]]]:
        if self.content[at : at + 5] != b"GCOL\x01":
            raise UnfamiliarError("another heap of texts")
        end = at + self._number(at + 8)
        at += 16
        while at + 16 <= end:
            self._spend()
            number, length = _HELD_TEXT.unpack_from(self.content, at)
            if not number:
                return
            yield number, (at + 16, length)
            at += 16 + -(-length // 8) * 8


class _Heap:
    """Parts of a heap (§III.G) without filters, found by their place in it."""

    def __init__(self, of: _Bytes, at: int) -> None:
        content = of.content
        if content[at : at + 5] != b"FRHP\0" or of._number(at + 7, 2):
            raise UnfamiliarError("another heap")
        self._of = of
        most = of._number(at + 10, 4)
        self._huge = of._number(at + 22)
        self._width, start, largest, bits = struct.unpack_from("<HQQH", content, at + 110)
        self._root, self._rows = struct.unpack_from("<QH", content, at + 132)
        self._start, self._largest = start, largest
        self._offset = -(-bits // 8)
        self._length = (min(largest, most).bit_length() + 7) // 8
        self._blocks = dict(self._direct()) if self._rows else {0: (self._root, start)}
        self._named: dict[int, tuple[int, int]] | None = None

    def _direct(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """Blocks by where they begin in the heap: their address and size."""
        if self._of.content[self._root : self._root + 4] != b"FHIB":
            raise UnfamiliarError("another block of a heap")
        at, begin = self._root + 13 + self._offset, 0
        for row in range(self._rows):
            size = self._start << max(row - 1, 0)
            if size > self._largest:
                raise UnfamiliarError("a heap of several floors")
            for _ in range(self._width):
                address = self._of._number(at)
                if address != _NOWHERE:
                    yield begin, (address, size)
                at, begin = at + 8, begin + size

    def part(self, place: bytes) -> bytes:
        """What is kept at a place."""
        kind = place[0] & 0xF0
        if kind == 0x10:
            return self._large(int.from_bytes(place[1:8], "little"))
        if kind:
            raise UnfamiliarError("another place in a heap")
        at = int.from_bytes(place[1 : 1 + self._offset], "little")
        end = 1 + self._offset + self._length
        length = int.from_bytes(place[1 + self._offset : end], "little")
        for begin, (address, size) in self._blocks.items():
            if begin <= at and at + length <= begin + size:
                return self._of._part(address + at - begin, length)
        raise UnfamiliarError("a place beyond the heap")

    def _large(self, number: int) -> bytes:
        """What is too large for the blocks of the heap, and has a place of its own."""
        if self._named is None:
            records = self._of._records(self._huge, 1)
            found = [struct.unpack("<QQQ", record) for record in records]
            self._named = {name: (at, length) for at, length, name in found}
        return self._of._part(*self._named[number])


def _enlarge(sizes: dict[str, int], name: str, shape: tuple[int, ...]) -> None:
    """Note the lengths of a field's dimensions, which all fields have in common."""
    dims = FIELDS[name].dims
    if len(dims) != len(shape):
        raise UnfamiliarError(f"{name} of {len(shape)} dimensions")
    for dim, length in zip(dims, shape, strict=True):
        if sizes.setdefault(dim, length) != length:
            raise UnfamiliarError(f"{dim} of two lengths")


@lru_cache(maxsize=_KINDS)
def _shape_of(space: bytes) -> tuple[int, ...]:
    """Lengths along dimensions (§IV.A.2.b)."""
    version, rank = space[0], space[1]
    if version == 1:
        begin = 8
    elif version == 2 and space[3] in (0, 1):
        begin = 4
    else:
        raise UnfamiliarError("another kind of shape")
    return struct.unpack_from(f"<{rank}Q", space, begin)


@lru_cache(maxsize=_KINDS)
def _dtype_of(kind: bytes) -> np.dtype[Any] | None:
    """The type of numbers (§IV.A.2.d), little-endian; None of texts of variable length."""
    version, number = kind[0] >> 4, kind[0] & 15
    size = int.from_bytes(kind[4:8], "little")
    if version in (1, 3) and number == 9 and kind[1] & 15 == 1 and size == 16:
        return None
    if version in (1, 3) and number == 0 and size in (1, 2, 4, 8) and not kind[1] & 1:
        if int.from_bytes(kind[8:12], "little") != size * 8 << 16:
            raise UnfamiliarError("integers of other bits")
        return np.dtype(f"<{'i' if kind[1] & 8 else 'u'}{size}")
    if version in (1, 3) and number == 1 and size in (4, 8) and not kind[1] & 1:
        return np.dtype(f"<f{size}")
    raise UnfamiliarError("another type")
