"""Folders that `torch.distributed.checkpoint` wrote: shards of tensors, and what lies where.

The list of shards, `.metadata`, is a pickle. Torch would load it with everything that it asks for;
here it gets the descriptions of tensors and shards that torch itself writes, and nothing else.
"""

import collections
import io
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from ultraslow.diffusion.recording import RecordError

from .formats import Tree, torch_tree
from .stored import OpenFiles, Piece, Stored, incomplete

METADATA = ".metadata"
_LARGEST = 2**30  # bytes of a list of shards
# What a list of shards that is cut off or damaged raises.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    TypeError,
    ValueError,
    LookupError,
    ImportError,
)
# What a list of shards consists of. None of them does anything but hold values.
_PARTS = {
    "torch.distributed.checkpoint.metadata": (
        "Metadata",
        "MetadataIndex",
        "TensorStorageMetadata",
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "TensorProperties",
        "StorageMeta",
        "_MEM_FORMAT_ENCODING",
    ),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo", "_StoragePrefix"),
    "torch.distributed._shard.sharded_tensor.metadata": (
        "TensorProperties",
        "MEM_FORMAT_ENCODING",
    ),
    "torch": (
        "Size",
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
    ),
    "torch.serialization": ("_get_layout",),
}


class _ForeignError(pickle.UnpicklingError):
    """Something that is no part of a list of shards."""


class _Restricted(pickle.Unpickler):
    """Loads a list of shards and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the parts of a list of shards.

        Raises:
            _ForeignError: for all else.
        """
        if name in _PARTS.get(module, ()):
            return getattr(__import__(module, fromlist=[name]), name)
        if module in ("pathlib", "pathlib._local") and name in ("PosixPath", "WindowsPath"):
            return _path
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        raise _ForeignError(f"{module}.{name}")


def _path(*parts: str) -> str:
    """A path of another machine, as text."""
    return "/".join(parts)


def read_sharded(folder: Path, files: OpenFiles) -> Tree:
    """The tensors of a folder of shards, in the mappings that they were saved in.

    Arguments:
        folder: with a `.metadata`.
        files: that are read.

    Raises:
        RecordError: when the list or a file is damaged, or shards are missing.
        OSError: when one cannot be read.
    """
    listed = _metadata(folder / METADATA, files)
    where = {
        (index.fqn, tuple(index.offset or ())): info
        for index, info in (listed.storage_data or {}).items()
    }
    found: dict[str, _Shards] = {}
    faults: list[str] = []
    for name, described in listed.state_dict_metadata.items():
        dtype = getattr(getattr(described, "properties", None), "dtype", None)
        if dtype is None or not dtype.is_floating_point:
            continue
        shape, pieces = tuple(described.size), []
        for chunk in described.chunks:
            first = tuple(chunk.offsets)
            info = where.get((name, first))
            if info is None:
                faults.append(f"{name}: the list does not say where its shard at {first} is")
                continue
            if math.prod(chunk.sizes):
                pieces.append((info, first, tuple(chunk.sizes)))
        found[name] = _Shards(shape, dtype, pieces)
    faults += _missing_files(folder, found)
    if faults:
        raise RecordError(str(folder), faults[:5])
    whole = {name: shards.placed(name, folder, files) for name, shards in found.items()}
    if faults := list(incomplete(whole)):
        raise RecordError(str(folder), faults[:5])
    paths = listed.planner_data if isinstance(listed.planner_data, Mapping) else {}
    tree: Tree = {}
    for name, tensor in whole.items():
        *above, last = map(str, paths.get(name) or (name,))
        level = tree
        for key in above:
            level = level.setdefault(key, {})
        level[last] = tensor
    return tree


def _missing_files(folder: Path, found: Mapping[str, "_Shards"]) -> list[str]:
    names = {info.relative_path for shards in found.values() for info, _, _ in shards.pieces}
    foreign = sorted(name for name in names if Path(name).name != name)
    if foreign:
        return [f"names {foreign[0]!r}, expected a file of its folder"]
    absent = sorted(name for name in names if not (folder / name).is_file())
    if not absent:
        return []
    return [f"found {len(names) - len(absent)} of {len(names)} files, missing {absent[:3]}"]


def _metadata(file: Path, files: OpenFiles) -> Any:
    size, _ = files.sign(file)
    if size > _LARGEST:
        raise RecordError(str(file), [f"has {size} bytes, expected a list of shards"])
    try:
        listed = _Restricted(io.BytesIO(file.read_bytes())).load()
        _ = listed.state_dict_metadata.items(), (listed.storage_data or {}).items()
    except _ForeignError as error:
        told = f"is no list of shards: it asks for {str(error)[:100]}, which was not loaded"
        raise RecordError(str(file), [told]) from error
    except _DAMAGE as error:
        raise RecordError(
            str(file), ["is cut off or damaged, expected a list of shards"]
        ) from error
    return listed


class _Shards:
    """The shards of one tensor, of which it is known in what part of which file each is."""

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        pieces: list[tuple[Any, tuple[int, ...], tuple[int, ...]]],
    ) -> None:
        self.shape, self.dtype, self.pieces = shape, dtype, pieces

    def placed(self, name: str, folder: Path, files: OpenFiles) -> Stored:
        """The tensor, with the places of the values themselves.

        Raises:
            RecordError: when a shard is damaged, or another one than listed.
        """
        placed, orders = [], set()
        for info, first, sizes in self.pieces:
            if getattr(info, "transform_descriptors", None):
                told = f"{name}: is stored as {info.transform_descriptors}, expected plain values"
                raise RecordError(str(folder / info.relative_path), [told])
            stored = _values(folder / info.relative_path, info, files)
            if stored is None or (stored.shape, stored.dtype) != (sizes, self.dtype):
                found = stored and f"{stored.shape} of {stored.dtype}"
                told = f"{name}: found a shard {found}, expected {sizes} of {self.dtype}"
                raise RecordError(str(folder / info.relative_path), [told])
            placed.append(Piece(stored.pieces[0].file, stored.pieces[0].offset, first, sizes))
            orders.add(stored.order)
        order = orders.pop() if len(orders) == 1 else None
        if orders or (order is not None and len(placed) > 1):
            told = f"{name}: its shards are stored in orders of their own, expected the usual one"
            raise RecordError(str(folder), [told])
        return Stored(self.shape, self.dtype, tuple(placed), order)


def _values(file: Path, info: Any, files: OpenFiles) -> Stored | None:
    """Where the values of one shard lie, which is a file of torch's within the file."""
    size, _ = files.sign(file)
    if info.offset < 0 or info.length < 0 or info.offset + info.length > size:
        told = f"has {size} bytes, expected {info.offset + info.length}: it is cut off"
        raise RecordError(str(file), [told])
    with file.open("rb") as opened:
        part = _Part(opened, info.offset, info.length)
        found = torch_tree(io.BufferedReader(part), file, info.length, start=info.offset)
    value = found.get("")
    return value if isinstance(value, Stored) else None


class _Part(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, opened: IO[bytes], start: int, length: int) -> None:
        super().__init__()
        self._opened, self._start, self._length, self._at = opened, start, length, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place within the part."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        """The place within the part."""
        return self._at

    def readinto(self, target: Any) -> int:
        """Read from there."""
        count = max(min(len(target), self._length - self._at), 0)
        self._opened.seek(self._start + self._at)
        data = self._opened.read(count)
        target[: len(data)] = data
        self._at += len(data)
        return len(data)
