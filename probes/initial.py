"""w0 on disk: the initial weights of a run, from which every distance is measured.

Without them a resumed run would measure distances from somewhere else. They lie in the live folder
as safetensors, one file for each part of the weights: one file of a plain or replicated model, one
for each shard of a sharded one. A file tells the whole shapes and the first row it holds of each
tensor, so that any other sharding along dimension 0 can be read back, and the SHA-256 of its
values.

Tensors are written one after the other, so that no second copy of the weights is held in memory.
That is why the header is written twice: the checksum is known last.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.tensor import DTensor

from .processes import Processes, first_index, local

_PATTERN = "initial-*-of-*.safetensors"
_KIND = "initial weights"
_DIGEST = 64  # characters of a SHA-256
_TYPES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Part:
    """Which part of the weights a process holds, and whether it is the one to save it.

    Arguments:
        index: number of the part.
        count: parts of the whole.
        saves: whether this process saves it; replicas of the same part do not.
    """

    index: int
    count: int
    saves: bool

    @property
    def name(self) -> str:
        """Name of the part's file."""
        return name_of(self.index, self.count)


@dataclass(frozen=True)
class _Rows:
    """Rows of a tensor: its type, its whole shape, and which rows are here."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    first: int
    count: int


@dataclass(frozen=True)
class _Saved:
    """What the header of a file tells."""

    path: Path
    rows: Mapping[str, _Rows]
    digest: str


def name_of(index: int, count: int) -> str:
    """Name of the file of one part.

    >>> name_of(0, 2)
    'initial-00000-of-00002.safetensors'
    """
    return f"initial-{index:05d}-of-{count:05d}.safetensors"


def files(folder: Path) -> list[Path]:
    """Files of initial weights in a live folder."""
    return sorted(folder.glob(_PATTERN)) if folder.is_dir() else []


def part_of(parameters: Sequence[Tensor], processes: Processes) -> Part:
    """This process's part of the weights.

    Arguments:
        parameters: of the model as it is trained.
        processes: that train it together.
    """
    sharded = next((p for p in parameters if isinstance(p, DTensor)), None)
    if sharded is None:
        return Part(0, 1, processes.writes)
    mesh = sharded.device_mesh
    cuts = [axis for axis, place in enumerate(sharded.placements) if place.is_shard()]
    copies = [axis for axis in range(mesh.ndim) if axis not in cuts]
    index, count = 0, 1
    for axis in cuts:
        index = index * mesh.shape[axis] + mesh.get_local_rank(axis)
        count *= mesh.shape[axis]
    return Part(index, count, all(mesh.get_local_rank(axis) == 0 for axis in copies))


def save(folder: Path, part: Part, parameters: Mapping[str, Tensor]) -> bytes:
    """Save this process's part of the weights; it is on disk when this returns.

    Arguments:
        folder: the live folder.
        part: this process's.
        parameters: by name.

    Returns:
        SHA-256 of the values.
    """
    target = folder / part.name
    temporary = folder / f".{part.name}.tmp"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            digest = _write(file, parameters)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return digest


def load(folder: Path, parameters: Mapping[str, Tensor], into: Sequence[Tensor]) -> None:
    """Read the initial weights of the rows that this process holds.

    Arguments:
        folder: the live folder.
        parameters: by name, as they are sharded now.
        into: local tensors that are overwritten, one a parameter.

    Raises:
        ValueError: when the files do not fit the model, saying what differs, or are damaged.
        FileNotFoundError: when there are none.
    """
    saved = [_saved(path) for path in files(folder)]
    if not saved:
        raise FileNotFoundError(
            f"path: found no initial weights in {folder}, without which no distance can be "
            "measured; expected " + name_of(0, 1) + " or the like"
        )
    wanted = {name: _rows(parameter) for name, parameter in parameters.items()}
    _refuse_other_tensors(folder, saved, wanted)
    needed = {name: _sources(saved, name, rows) for name, rows in wanted.items()}
    for source in saved:
        if any(source in sources for sources in needed.values()):
            _refuse_damaged(source)
    for (name, rows), target in zip(wanted.items(), into, strict=True):
        _read_rows(needed[name], name, rows, target)


def identity(folder: Path) -> str:
    """SHA-256 of the checksums of all parts; empty where not all of them can be seen.

    Raises:
        ValueError: when a file cannot be read.
    """
    saved = [_saved(path) for path in files(folder)]
    complete = [source.path.name for source in saved] == [
        name_of(index, len(saved)) for index in range(len(saved))
    ]
    if not saved or not complete:
        return ""
    return combined([bytes.fromhex(source.digest) for source in saved])


def verify(path: Path) -> None:
    """Refuse a damaged file.

    Raises:
        ValueError: when it cannot be read or its values do not have its checksum.
    """
    _refuse_damaged(_saved(path))


def combined(digests: Sequence[bytes]) -> str:
    """One SHA-256 of those of the parts, in their order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _write(file: BinaryIO, parameters: Mapping[str, Tensor]) -> bytes:
    file.write(_header(parameters, "0" * _DIGEST))
    digest = hashlib.sha256()
    for parameter in parameters.values():
        values = _storable(local(parameter)).reshape(-1).view(torch.uint8).numpy()
        file.write(values.data)
        digest.update(values.data)
    file.seek(0)
    file.write(_header(parameters, digest.hexdigest()))
    return digest.digest()


def _header(parameters: Mapping[str, Tensor], digest: str) -> bytes:
    """The header of a safetensors file: its length, then JSON padded to eight bytes."""
    entries: dict[str, object] = {}
    start = 0
    for name, parameter in parameters.items():
        part = local(parameter)
        dtype = part.dtype if part.dtype in _TYPES else torch.float32
        stop = start + part.numel() * dtype.itemsize
        entries[name] = {
            "dtype": _TYPES[dtype],
            "shape": list(part.shape),
            "data_offsets": [start, stop],
        }
        start = stop
    whole = {name: [list(p.shape), _rows(p).first] for name, p in parameters.items()}
    told = {"kind": _KIND, "schema": "1", "whole": json.dumps(whole), "sha256": digest}
    text = json.dumps({"__metadata__": told, **entries}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _storable(values: Tensor) -> Tensor:
    """The values in host memory, one after the other; without a copy where they are so already."""
    dense = values.detach().cpu().contiguous()
    return dense if dense.dtype in _TYPES else dense.float()


def _rows(parameter: Tensor) -> _Rows:
    part = local(parameter)
    dtype = part.dtype if part.dtype in _TYPES else torch.float32
    row = parameter.numel() // parameter.shape[0] if parameter.ndim and parameter.shape[0] else 1
    first = first_index(parameter) // max(row, 1)
    return _Rows(dtype, tuple(parameter.shape), first, part.shape[0] if part.ndim else 1)


def _saved(path: Path) -> _Saved:
    types = {name: dtype for dtype, name in _TYPES.items()}
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {n: (types[s.get_dtype()], s.get_shape()) for n, s in slices.items()}
        whole = json.loads(told["whole"])
        rows = {
            name: _Rows(dtype, tuple(whole[name][0]), whole[name][1], shape[0] if shape else 1)
            for name, (dtype, shape) in found.items()
        }
        return _Saved(path, {name: rows[name] for name in whole}, told["sha256"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"path: {path} cannot be read as initial weights: {error}") from error


def _refuse_other_tensors(
    folder: Path, saved: Sequence[_Saved], wanted: Mapping[str, _Rows]
) -> None:
    known: dict[str, _Rows] = {}
    for source in saved:
        known.update(source.rows)
    faults = [*_differences(known, wanted)]
    if faults:
        raise ValueError(f"model: does not fit the initial weights in {folder}: {faults[0]}")


def _differences(known: Mapping[str, _Rows], wanted: Mapping[str, _Rows]) -> Iterator[str]:
    gone, new = sorted(set(known) - set(wanted)), sorted(set(wanted) - set(known))
    if gone or new:
        yield f"tensors {gone} were saved and are not in the model, {new} were not saved"
        return
    for name, rows in wanted.items():
        if known[name].shape != rows.shape:
            yield f"{name} was saved with shape {known[name].shape}, found {rows.shape}"
        if known[name].dtype != rows.dtype:
            yield f"{name} was saved as {known[name].dtype}, found {rows.dtype}"


def _sources(saved: Sequence[_Saved], name: str, rows: _Rows) -> list[_Saved]:
    """The files that hold the rows, in their order; each row once."""
    at, end, sources = rows.first, rows.first + rows.count, []
    for source in sorted(saved, key=lambda source: source.rows[name].first):
        held = source.rows[name]
        if held.first <= at < min(held.first + held.count, end):
            sources.append(source)
            at = held.first + held.count
    if at < end:
        raise ValueError(
            f"path: found rows of {name} up to {at} in {[source.path.name for source in saved]}, "
            f"expected all up to {end}: a file of initial weights is missing"
        )
    return sources


def _refuse_damaged(source: _Saved) -> None:
    digest = hashlib.sha256()
    with source.path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != source.digest:
        raise ValueError(
            f"path: {source.path} is damaged: its values have the checksum "
            f"{digest.hexdigest()[:12]}…, expected {source.digest[:12]}…"
        )


def _read_rows(sources: Sequence[_Saved], name: str, rows: _Rows, target: Tensor) -> None:
    at = rows.first
    for source in sources:
        held = source.rows[name]
        stop = min(held.first + held.count, rows.first + rows.count)
        with safe_open(source.path, framework="pt") as file:
            if not rows.shape:
                target.copy_(file.get_tensor(name))
                return
            values = file.get_slice(name)[at - held.first : stop - held.first]
        target[at - rows.first : stop - rows.first].copy_(values)
        at = stop
