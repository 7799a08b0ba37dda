"""The one reader and writer of NetCDF: a file of a closed recording, segments of a live one.

HDF5 builds and takes a file apart in memory. So a disk is only ever asked to read or to write
bytes, in one piece: no lock, no seek, no half-made file, and what is checked is what is read.
HDF5 on a disk would lock the file, which some network file systems refuse. The price: the library
does not add to a file that was made in memory; to change one, write it anew.

Every file that is written ends with a *seal*, a checksum of its content after the content's own
end. NetCDF-4 checks its headers but not all values, so a flipped bit can read as another number; a
seal shows every damage before a reader looks at the content. Readers of NetCDF ignore what follows
the content, and a program that writes the file anew leaves the seal out; a file without a seal is
therefore no fault, it is only not protected.

Files come from other machines, so how much memory one asks for is known before any of it is
given. A header of some hundred bytes can claim 10⁹ tensors: what is declared is added up before a
value is read. Types of variable length other than text may hold anything and are refused. Texts
are looked at before they are laid out side by side, each as wide as the longest.

The library is not made for threads: two in it at once end the process. Every call of it here is
made under one lock, so that a program may record and read recordings in several threads. xarray
makes some of its calls under locks of its own, which are taken here as well, and others under
none: in a thread beside one that records, read recordings with `us.load` and no other files with
xarray, netCDF4 or h5py.
"""

import hashlib
import math
import os
import threading
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import netCDF4
import numpy as np
import xarray as xr
from xarray.backends.locks import HDF5_LOCK, NETCDFC_LOCK, combine_locks

from .contract import check, seam_faults
from .errors import ForeignError, RecordError, UnfamiliarError, brief, damage
from .fields import COORDINATES, FIELDS
from .headers import MEMORY_LIMIT, Header, read_header, read_whole
from .joining import joined_attributes
from .outside import SIGNATURE, outside_faults

SUFFIX = ".nc"  # of a closed recording; that of a live one is none
_SEGMENT = "segment-*.nc"
_NAME = "recording"  # of a file that is nowhere
_STARTS = (b"\x89HDF", b"CDF")

# Bytes that a text takes in memory at least: a pointer and a Python string.
_TEXT_BYTES = 64
_LETTER_BYTES = 4  # of numpy's texts
_SHOWN = 80  # characters of a name
# Bytes that a compressed byte stands for at most (RFC 1951: 258 of two bits); more was not stored.
_UNFOLDED = 1032

# Attributes of values that stand for others; NaN as fill value of floats does not.
_PACKED = {"scale_factor", "add_offset", "missing_value", "_Unsigned"}
# Variables along these are compressed: sketches to a half, landscape scans, which most records
# lack, to a fiftieth. The others would gain a tenth and be read a third slower.
_COMPRESSED = {"component", "direction"}
_COMPRESSED_FROM = 2**16  # bytes; segments of a few records are not worth it
# Bytes of like place side by side, so that exponents and unused digits meet; levels above 4 gain
# 1 % and take three times as long.
_COMPRESSION = {"zlib": True, "complevel": 4, "shuffle": True}

MARK = b"\nultraslow sha256 "
LENGTH = len(MARK) + hashlib.sha256().digest_size

# Seconds to wait for a data set that the program opens or reads with xarray in another thread.
_PATIENCE = 5.0


class _Library:
    """The NetCDF library, for one thread at a time; a context, which may be nested.

    A handler of a signal may enter while its own thread is within.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        """Make a lock that no fork inherits taken."""
        self._patience = patience
        self.lock = threading.RLock()
        locks = combine_locks([NETCDFC_LOCK, HDF5_LOCK])
        self._theirs = tuple(getattr(locks, "locks", (locks,)))  # in xarray's order
        self._depth = 0
        self._others: list[Any] = []
        os.register_at_fork(
            before=self.lock.acquire,
            after_in_parent=self.lock.release,
            after_in_child=self.lock.release,
        )

    def __enter__(self) -> None:
        """Wait for this thread's turn.

        Raises:
            TimeoutError: when xarray does not leave the library in another thread.
        """
        self.lock.acquire()
        try:
            if not self._depth:
                self._take_others()
            self._depth += 1
        except BaseException:
            self.lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        """Let others in."""
        self._depth -= 1
        if not self._depth:
            self._give_back()
        self.lock.release()

    def _take_others(self) -> None:
        for lock in self._theirs:
            if not lock.acquire(timeout=self._patience):
                self._give_back()
                raise TimeoutError(
                    f"xarray was in the NetCDF library for {self._patience:g} s, in another thread"
                )
            self._others.append(lock)

    def _give_back(self) -> None:
        while self._others:
            self._others.pop().release()


_LIBRARY = _Library()


def closed_file(folder: Path) -> Path:
    """Where the recording of a live folder is once it is closed."""
    return folder.with_name(folder.name + SUFFIX) if folder.name else folder


def segments_of(folder: Path) -> list[Path]:
    """The segments of a live folder in the order of their records; empty for other folders."""
    try:
        return sorted(folder.glob(_SEGMENT)) if folder.is_dir() else []
    except OSError:  # its name is too long, for one
        return []


def is_file(path: Path) -> bool:
    """Whether there is a file; not where that cannot be looked at, as of too long a name."""
    try:
        return path.is_file()
    except OSError:
        return False


def segment_file(folder: Path, first: int) -> Path:
    """The file of a segment whose first record is that of an iteration."""
    return folder / _SEGMENT.replace("*", f"{first:012d}")


def read_file(path: Path) -> tuple[xr.Dataset, str]:
    """The records of one file, checked, and the file's SHA-256 in hexadecimal digits.

    Raises:
        RecordError: when it is damaged or no recording, with every fault found.
    """
    return read_content(_content(path), str(path))


def sealed_header(path: Path, wanted: Collection[str]) -> tuple[Header, str]:
    """What a sealed file declares, some of its values, and the file's SHA-256.

    Arguments:
        path: of the file.
        wanted: variables whose values are read as well.

    Raises:
        RecordError: when it cannot be read.
        UnfamiliarError: when it has no seal that fits, or was written by another program.
    """
    content = _content(path)
    digest = checksum(content) if content[-LENGTH:].startswith(MARK) else None
    if digest is None:
        raise UnfamiliarError("no seal that fits")
    return read_header(content, wanted, MEMORY_LIMIT), digest


def read_variable(path: Path, name: str, digest: str, key: Any = ...) -> np.ndarray:
    """Values of one variable of a file that was read and checked before.

    Arguments:
        path: of the file.
        name: of the variable.
        digest: of the file when it was checked, SHA-256 in hexadecimal digits.
        key: which values, as numpy indexes.

    Raises:
        RecordError: when the file cannot be read, or is another than it was.
    """
    content = _content(path)
    if checksum(content) != digest:
        raise RecordError(str(path), ["has changed since it was loaded: load it again"])
    with (
        _LIBRARY,
        damage(str(path), "is a damaged or cut-off NetCDF file"),
        netCDF4.Dataset(_NAME, "r", memory=content) as header,
    ):
        variable = header.variables[name]
        if _is_packed(variable):
            return np.asarray(_dataset(header)[name].values[key])
        variable.set_auto_maskandscale(False)
        return np.asarray(variable[key])


def from_bytes(content: bytes, source: str) -> xr.Dataset:
    """The records of a file, checked.

    Arguments:
        content: all its bytes.
        source: its name, for messages.

    Raises:
        RecordError: when it is damaged or no recording, with every fault found.
    """
    return read_content(content, source)[0]


def _content(path: Path) -> bytes:
    """All bytes of what is a file and not larger than a recording may be."""
    try:
        if not path.is_file():
            raise RecordError(str(path), ["is not a file"])
        if fault := size_fault(path.stat().st_size):
            raise RecordError(str(path), [fault])
        return path.read_bytes()
    except (OSError, MemoryError) as error:
        raise RecordError(str(path), [f"cannot be read ({brief(error)})"]) from error


def read_content(content: bytes, source: str) -> tuple[xr.Dataset, str]:
    """As `read_file`, of bytes that are at hand.

    Arguments:
        content: all bytes of the file.
        source: its name, for messages.

    Raises:
        RecordError: when it is damaged or no recording, with every fault found.
    """
    if not content:
        raise RecordError(source, ["has zero bytes"])
    digest = checksum(content)
    if digest is None or _has_lost_its_seal(content):
        raise RecordError(source, ["is damaged: its bytes do not fit its checksum"])
    records = _familiar(content) if content[-LENGTH:].startswith(MARK) else None
    if records is None:
        records = _through_library(content, source)
    check(records, source)
    return records, digest


def _familiar(content: bytes) -> xr.Dataset | None:
    """The records of a sealed file as this package writes it, read off its bytes; None of others.

    The library takes ten times as long.
    """
    try:
        header = read_whole(content, MEMORY_LIMIT)
    except UnfamiliarError:
        return None
    if "schema" not in header.attrs:
        return None
    variables = {
        name: xr.Variable(found.dims, found.values, header.described[name])
        for name, found in header.variables.items()
    }
    coordinates = set(variables) & (set(header.sizes) | set(COORDINATES))
    return xr.Dataset(variables, attrs=header.attrs).set_coords(coordinates)


def _through_library(content: bytes, source: str) -> xr.Dataset:
    """The records of any NetCDF file that may be opened.

    Raises:
        RecordError: when it is damaged or no recording, with every fault found.
    """
    if faults := list(outside_faults(content)):
        raise RecordError(source, faults)
    if not content.startswith(_STARTS):
        raise ForeignError(source, ["is not a NetCDF file"])
    with (
        _LIBRARY,
        damage(source, "is a damaged or cut-off NetCDF file"),
        netCDF4.Dataset(_NAME, "r", memory=content) as header,
    ):
        if "schema" not in header.ncattrs():
            raise ForeignError(source, ["attribute schema is missing: this is not a recording"])
        if faults := list(_header_faults(header, len(content))):
            raise RecordError(source, faults)
        return _dataset(header)


def _has_lost_its_seal(content: bytes) -> bool:
    """Whether what follows the content is as short as a seal, and none.

    A block that a disk has lost at the end of a file may take the seal with the last values.
    """
    beyond = len(content) - len(_without_padding(content))
    return 0 < beyond <= LENGTH and not content[-LENGTH:].startswith(MARK)


def _declared(header: netCDF4.Dataset) -> dict[str, netCDF4.Variable]:
    """The variables of a recording; others that a program has added are never read."""
    return {name: variable for name, variable in header.variables.items() if name in FIELDS}


def _header_faults(header: netCDF4.Dataset, size: int) -> Iterator[str]:
    """Why the values must not be read; texts are looked at where all else may be."""
    variables = _declared(header)
    yield from list(claim_faults(variables, size)) or text_faults(variables)


def _dataset(header: netCDF4.Dataset) -> xr.Dataset:
    """All values, as `xarray.open_dataset` would give them; for plain variables without its cost.

    Decoding every variable lazily takes two thirds of the time of reading a recording. Recordings
    need none, unless another program packed them.
    """
    declared = _declared(header)
    if any(_is_packed(variable) for variable in declared.values()):
        store = xr.backends.NetCDF4DataStore(header, lock=False)
        others = set(header.variables) - set(declared)
        return xr.open_dataset(store, decode_times=False, drop_variables=others).load()
    header.set_auto_maskandscale(False)
    coordinates = set(declared) & (set(header.dimensions) | set(COORDINATES))
    variables = {name: _variable(variable) for name, variable in declared.items()}
    attributes = {name: header.getncattr(name) for name in header.ncattrs()}
    attributes.pop("coordinates", None)
    return xr.Dataset(variables, attrs=attributes).set_coords(coordinates)


def _is_packed(variable: netCDF4.Variable) -> bool:
    """Whether values stand for others, or for texts as rows of letters, as in NetCDF-3."""
    return bool(_PACKED & set(variable.ncattrs())) or variable.dtype == "S1"


def _variable(variable: netCDF4.Variable) -> xr.Variable:
    values = np.asarray(variable[...])
    if variable.dtype is str:
        values = values.astype(str)
    attributes = {name: variable.getncattr(name) for name in variable.ncattrs()}
    for encoding in ("_FillValue", "coordinates"):
        attributes.pop(encoding, None)
    return xr.Variable(variable.dimensions, values, attributes)


def join_segments(parts: list[xr.Dataset], source: str = "recording") -> xr.Dataset:
    """Records of consecutive segments of one recording as one dataset.

    Attributes are those of the last segment, and missing segments stand among its `gaps`.

    Arguments:
        parts: the segments in their order.
        source: the recording's name, for messages.

    Raises:
        RecordError: when the segments do not follow one another.
    """
    if faults := [fault for pair in pairwise(parts) for fault in seam_faults(*pair)]:
        raise RecordError(source, faults)
    joined = xr.concat(
        parts,
        dim="iteration",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    joined.attrs = joined_attributes(parts)
    return joined


def to_bytes(records: xr.Dataset) -> bytes:
    """A sealed NetCDF-4 file, its large variables compressed without loss."""
    encoded = _encoded(records)
    with _LIBRARY:
        content = _without_padding(bytes(_fill(netCDF4.Dataset(_NAME, "w", memory=1), encoded)))
    return content + seal(content)


def _fill(file: netCDF4.Dataset, records: xr.Dataset) -> Any:
    """What closing a file gives that holds the records then."""
    try:
        records.dump_to_store(xr.backends.NetCDF4DataStore(file, lock=False))
    except BaseException:
        file.close()
        raise
    return file.close()


def _encoded(records: xr.Dataset) -> xr.Dataset:
    """The records, and how each variable is to be stored, whatever file it came from."""
    encoded = records.drop_encoding()
    for variable in encoded.variables.values():
        if _COMPRESSED & set(variable.dims) and variable.nbytes >= _COMPRESSED_FROM:
            variable.encoding = dict(_COMPRESSION)
    return encoded


def _without_padding(content: bytes) -> bytes:
    """HDF5 grows a file in memory by 64 KiB; where it ends stands in the superblock (2 or 3)."""
    if content.startswith(SIGNATURE) and content[8] in (2, 3) and content[9] == 8:
        return content[: int.from_bytes(content[28:36], "little")]
    return content


def write_file(records: xr.Dataset, path: Path) -> None:
    """Write a whole recording, sealed, with the same bytes whenever it is written.

    What `to_bytes` makes carries the time of its making. A file is made on the disk here, in
    several pieces: for recordings that nobody reads meanwhile, on disks that HDF5 can lock.

    Arguments:
        records: the recording.
        path: where to; a file there is replaced.
    """
    with _LIBRARY:
        _fill(netCDF4.Dataset(path, "w"), records)
    with path.open("r+b") as file:
        file.write(seal(file.read()))


def write_groups(groups: Mapping[str, xr.Dataset], path: Path) -> None:
    """Write results, which are no recording, as the groups of one file.

    Arguments:
        groups: by the path of each group, "/" for the file's own.
        path: where to; a file there is replaced.
    """
    with _LIBRARY.lock:
        xr.DataTree.from_dict(dict(groups)).to_netcdf(path, engine="netcdf4")


def size_fault(size: int) -> str | None:
    """Why a file of so many bytes must not be read; None when it may.

    >>> size_fault(2**40)
    'has 1.02e+03 GiB, at most 2 GiB are read'
    """
    if size <= MEMORY_LIMIT:
        return None
    return f"has {size / 2**30:.3g} GiB, at most {MEMORY_LIMIT / 2**30:.3g} GiB are read"


class Declared(Protocol):
    """What a header tells of a variable; `netCDF4.Variable` has it."""

    @property
    def dtype(self) -> Any:
        """Type of a value; `str` for text."""
        ...

    @property
    def datatype(self) -> Any:
        """The same, or a description of a type that the file itself defines."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each dimension."""
        ...

    def chunking(self) -> Any:
        """Length of the blocks that are read as a whole, or `contiguous`."""
        ...


class Readable(Protocol):
    """A variable whose values can be read; `netCDF4.Variable` is one."""

    @property
    def dtype(self) -> Any:
        """Type of a value; `str` for text."""
        ...

    def __getitem__(self, key: Any) -> Any:
        """Values."""
        ...


def claim_faults(variables: Mapping[str, Declared], size: float = math.inf) -> Iterator[str]:
    """Why the values of a file must not be read; nothing when they may.

    Arguments:
        variables: as the header declares them, by name.
        size: of the file, in bytes.

    Returns:
        One sentence a fault.
    """
    strange = [name[:_SHOWN] for name, variable in variables.items() if not _is_plain(variable)]
    if strange:
        yield f"{strange[:3]} have types of their own, expected numbers and text"
        return
    claimed = {name: _bytes(variable) for name, variable in variables.items()}
    if sum(claimed.values()) > MEMORY_LIMIT:
        largest = max(claimed, key=claimed.__getitem__)
        yield (
            f"claims {sum(claimed.values()) / 2**30:.3g} GiB of values, at most "
            f"{MEMORY_LIMIT / 2**30:.3g} GiB are read; the largest is {largest[:_SHOWN]!r} of "
            f"{variables[largest].shape}"
        )
    elif sum(claimed.values()) > _UNFOLDED * size:
        yield (
            f"claims {sum(claimed.values()) / 2**20:.3g} MiB of values, more than its "
            f"{size / 2**20:.3g} MiB can hold"
        )


def text_faults(variables: Mapping[str, Readable]) -> Iterator[str]:
    """Why texts must not be laid out side by side; nothing when they may.

    One long name among many short ones would take the room of as many long ones.

    Arguments:
        variables: that `claim_faults` let pass, by name.

    Returns:
        One sentence a fault.
    """
    total = 0
    for name, variable in variables.items():
        if variable.dtype is not str:
            continue
        texts = np.asarray(variable[...], dtype=object).ravel()
        longest = max(map(len, texts), default=0)
        total += _LETTER_BYTES * longest * texts.size
        if total > MEMORY_LIMIT:
            yield (
                f"asks for more than {MEMORY_LIMIT / 2**30:.3g} GiB of texts; {name[:_SHOWN]!r} "
                f"has {texts.size} of up to {longest} characters"
            )
            return


def _is_plain(variable: Declared) -> bool:
    return variable.dtype is str or isinstance(variable.datatype, np.dtype)


def _bytes(variable: Declared) -> int:
    item = _TEXT_BYTES if variable.dtype is str else np.dtype(variable.dtype).itemsize
    # Python integers: a product of claimed sizes may exceed 64 bits.
    total = block = max(item, 1)
    chunks = variable.chunking()
    for length, chunk in zip(
        variable.shape, chunks if isinstance(chunks, list) else variable.shape, strict=True
    ):
        total, block = total * int(length), block * int(chunk)
    return max(total, block if total else 0)


def seal(content: bytes) -> bytes:
    """What to append to the content: a mark and its SHA-256.

    Arguments:
        content: all bytes of the file.

    Returns:
        `LENGTH` bytes.

    >>> len(seal(b"")) == LENGTH
    True
    """
    return MARK + hashlib.sha256(content).digest()


def checksum(content: bytes) -> str | None:
    """SHA-256 of a whole file, its seal included; None when the seal does not fit the rest.

    Both come from one pass over the bytes. A file that was never sealed has a checksum.

    Arguments:
        content: all bytes of the file.

    Returns:
        Hexadecimal digits, as `sha256sum` prints them.

    >>> whole = b"content" + seal(b"content")
    >>> checksum(whole) == hashlib.sha256(whole).hexdigest()
    True
    >>> checksum(b"contend" + whole[7:]) is None
    True
    """
    body, end = memoryview(content)[:-LENGTH], content[-LENGTH:]
    digest = hashlib.sha256(body)
    if len(end) == LENGTH and end.startswith(MARK) and end != MARK + digest.digest():
        return None
    digest.update(end)
    return digest.hexdigest()
