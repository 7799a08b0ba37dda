"""What in an HDF5 file reaches out of it, or into itself: refused before the library looks.

A file may name others: a link to an object of another file, values that lie in raw files, data
sets that are put together of parts of others. The library follows all of them, whichever file that
is, and waits where it is a pipe. Groups within the file, and links from one to another, may go
round in a circle, which it follows for ever. No recording has any of these. Where a
damaged text takes no room it goes through the texts of a heap for ever, too.

They are looked for in the bytes by their structure (HDF5 File Format Specification 3.0, §III and
§IV), so that none is missed for lying where nobody looks: whatever the library can follow is
written like this somewhere. By chance bytes hardly ever look so: of a link to a file, one in 10¹⁵
random bytes. Where structure may be hidden, as in a compressed heap, the file is refused.
"""

import re
from collections.abc import Iterator

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Flags of a link message: two bits of the length of the name's length, then whether there are an
# order of creation, a type, and a character set.
_ORDER, _TYPE, _LETTERS = 4, 8, 16
_SOFT, _EXTERNAL = 1, 64
_HARD_LINK = re.compile(rb"\x01[\x00-\x07\x10-\x17]")
_OTHER_LINK = re.compile(rb"\x01[\x08-\x0f\x18-\x1f][\x01\x40]")
_VIRTUAL = re.compile(rb"\x04\x03(?=(.{8}))", re.DOTALL)
_RAW = re.compile(rb"\x01\x00\x00\x00(?=.{4}(.{8}))", re.DOTALL)
_HEAP = re.compile(rb"FRHP\x00.{2}(.{2})", re.DOTALL)
_TEXTS = re.compile(rb"GCOL\x01\0\0\0(?=(.{8}))", re.DOTALL)
_TEXT_HEADER = 16  # bytes of a heap of texts, and of each in it
# Messages of a group in the header of an object.
_GROUP = {0x02, 0x0A, 0x11}
_CONTINUES = 0x10
_BLOCKS = 10_000  # of one header, at most


def outside_faults(content: bytes) -> Iterator[str]:
    """Why a library must not open a file of HDF5; nothing where it may, nor of other files.

    Arguments:
        content: all bytes of the file.

    Yields:
        One sentence a fault.
    """
    if not content.startswith(SIGNATURE):
        if SIGNATURE in content[: 1 << 20]:
            yield "begins with something else than its HDF5 content"
        return
    if content[8] not in (2, 3) or content[9] != 8 or any(content[12:20]) or b"SNOD" in content:
        yield "is an HDF5 file of a kind that no program writes NetCDF-4 in"
        return
    root = int.from_bytes(content[36:44], "little")
    kinds = {_kind_of(content, found.start()) for found in _OTHER_LINK.finditer(content)}
    if _EXTERNAL in kinds:
        yield "has a link to another file, which is not followed"
    if _SOFT in kinds or _has_groups(content, root):
        yield "has groups or links within, expected variables alone"
    if _addressed(_VIRTUAL, content, b"GCOL") or _addressed(_RAW, content, b"HEAP"):
        yield "has values that lie in other files, which are not read"
    if any(any(found[1]) for found in _HEAP.finditer(content)):
        yield "has names that are compressed, so that links to other files may be among them"
    sizes = ((found.start(), found[1]) for found in _TEXTS.finditer(content))
    if any(not _ends(content, at, int.from_bytes(size, "little")) for at, size in sizes):
        yield "is damaged: the texts in it have no end"


def _ends(content: bytes, start: int, size: int) -> bool:
    """Whether a heap of texts (§III.E) is full of whole texts, or of those and one free place.

    A text has a header with its number, not 0, and its length, and fills multiples of 8 bytes.
    The free place has the number 0 and a length that includes the header. Where that is 0 the
    library stays at it.
    """
    at, end = start + _TEXT_HEADER, start + size
    if end > len(content):
        return False
    while at + _TEXT_HEADER <= end:
        number, length = content[at : at + 2], int.from_bytes(content[at + 8 : at + 16], "little")
        if not any(number):
            return at + length == end
        at += _TEXT_HEADER + -(-length // 8) * 8
    return at <= end


def _kind_of(content: bytes, start: int) -> int:
    """The type of a link message that begins here, soft or external; 0 where none does."""
    flags, kind = content[start + 1], content[start + 2]
    at = _after_name(content, start + 3, flags)
    length = int.from_bytes(content[at : at + 2], "little")
    value = content[at + 2 : at + 2 + length]
    if not at or not length or len(value) < length:
        return 0
    if kind == _SOFT:
        return _SOFT if _is_text(value.rstrip(b"\0")) else 0
    names = value[1:].split(b"\0")
    whole = value[0] == 0 and len(names) == 3 and not names[2]
    return _EXTERNAL if whole and all(names[:2]) else 0


def _after_name(content: bytes, at: int, flags: int) -> int:
    """Where a link message goes on after its name; 0 where it has none."""
    at += (8 if flags & _ORDER else 0) + (1 if flags & _LETTERS else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(content[at : at + width], "little")
    name = content[at + width : at + width + length] if length < 1 << 16 else b""
    return at + width + length if name and _is_text(name) else 0


def _is_text(name: bytes) -> bool:
    try:
        return bool(name) and name.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _has_groups(content: bytes, root: int) -> bool:
    """Whether there is another group than the root, or a link to that."""
    headers = (found.start() for found in re.finditer(rb"OHDR\x02", content))
    if any(at != root and _GROUP & set(_messages(content, at)) for at in headers):
        return True
    address = root.to_bytes(8, "little")
    for found in _HARD_LINK.finditer(content) if address in content else ():
        end = _after_name(content, found.end(), content[found.start() + 1])
        if end and content[end : end + 8] == address:
            return True
    return False


def _messages(content: bytes, start: int) -> Iterator[int]:
    """Types of the messages in the header of an object."""
    flags = content[start + 5] if start + 5 < len(content) else 0
    ordered = 2 if flags & 4 else 0
    at = start + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    begin = at + width
    blocks = [(begin, begin + int.from_bytes(content[at:begin], "little"))]
    for at, end in blocks:
        end = min(end, len(content))
        while at + 4 + ordered <= end:
            kind, length = content[at], int.from_bytes(content[at + 1 : at + 3], "little")
            body = at + 4 + ordered
            yield kind
            if kind == _CONTINUES and len(blocks) < _BLOCKS:
                there = int.from_bytes(content[body : body + 8], "little")
                size = int.from_bytes(content[body + 8 : body + 16], "little")
                blocks.append((there + 4, there + size - 4))  # a signature and a checksum
            at = body + length


def _addressed(pattern: re.Pattern[bytes], content: bytes, target: bytes) -> bool:
    """Whether the address that a structure ends with is that of such a heap."""
    heaps = {found.start() for found in re.finditer(re.escape(target), content)}
    if not heaps:
        return False
    return any(int.from_bytes(found[1], "little") in heaps for found in pattern.finditer(content))
