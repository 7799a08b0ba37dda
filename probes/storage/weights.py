"""A file of weights: safetensors that tell which rows of which tensors they hold.

Tensors are written block by block, so that no second copy of the weights is held in memory.
That is why the header is written twice: the checksum of the values is known last.
"""

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ultraslow.probes.distributed import first_index, local
from ultraslow.probes.norms import stretch

_KIND = "initial weights"
_DIGEST = 64  # characters of a SHA-256
_TYPES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_BLOCK = 1 << 20
_VALUES = 1 << 20  # of a tensor that are written at a time


@dataclass(frozen=True)
class Rows:
    """Rows of a tensor.

    Arguments:
        dtype: in which they are stored.
        shape: of the whole tensor.
        first: number of the first row that is here.
        count: rows that are here; 1 of a tensor without dimensions.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    first: int
    count: int


@dataclass(frozen=True)
class WeightsFile:
    """What the header of a file tells.

    Arguments:
        path: the file.
        rows: which it holds, by tensor.
        digest: SHA-256 of its values, in hexadecimal digits.
    """

    path: Path
    rows: Mapping[str, Rows]
    digest: str


def write(file: BinaryIO, parameters: Mapping[str, Tensor]) -> bytes:
    """Write this process's rows of the parameters.

    Arguments:
        file: empty, open for writing.
        parameters: by name.

    Returns:
        SHA-256 of the values.
    """
    file.write(_header(parameters, "0" * _DIGEST))
    digest = hashlib.sha256()
    for parameter in parameters.values():
        part = local(parameter).detach()
        for start in range(0, part.numel(), _VALUES):
            block = stretch(part, start, min(start + _VALUES, part.numel()))
            values = block.to("cpu", storable_dtype(part)).view(torch.uint8).numpy()
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
        dtype = storable_dtype(part)
        stop = start + part.numel() * dtype.itemsize
        entries[name] = {
            "dtype": _TYPES[dtype],
            "shape": list(part.shape),
            "data_offsets": [start, stop],
        }
        start = stop
    whole = {name: [list(p.shape), rows_of(p).first] for name, p in parameters.items()}
    told = {"kind": _KIND, "schema": "1", "whole": json.dumps(whole), "sha256": digest}
    text = json.dumps({"__metadata__": told, **entries}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def storable_dtype(values: Tensor) -> torch.dtype:
    """The type in which values are stored: their own, or single precision."""
    return values.dtype if values.dtype in _TYPES else torch.float32


def first_byte(path: Path, name: str) -> int:
    """Where the values of a tensor begin in a file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return 8 + length + int(json.loads(file.read(length))[name]["data_offsets"][0])


def rows_of(parameter: Tensor) -> Rows:
    """The rows of a parameter that this process holds."""
    part = local(parameter)
    row = parameter.numel() // parameter.shape[0] if parameter.ndim and parameter.shape[0] else 1
    first = first_index(parameter) // max(row, 1)
    count = part.shape[0] if part.ndim else 1
    return Rows(storable_dtype(part), tuple(parameter.shape), first, count)


def read_header(path: Path) -> WeightsFile:
    """What a file says it holds.

    Raises:
        ValueError: when it is no file of weights.
        OSError: when the disk refuses to read it.
    """
    types = {name: dtype for dtype, name in _TYPES.items()}
    try:
        with _disk(path), safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {n: (types[s.get_dtype()], s.get_shape()) for n, s in slices.items()}
        whole = json.loads(told["whole"])
        rows = {
            name: Rows(dtype, tuple(whole[name][0]), whole[name][1], shape[0] if shape else 1)
            for name, (dtype, shape) in found.items()
        }
        return WeightsFile(path, {name: rows[name] for name in whole}, told["sha256"])
    except (
        SafetensorError,
        FileNotFoundError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
    ) as error:
        raise ValueError(f"path: {path} cannot be read as initial weights: {error}") from error


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """What the library says of a disk that refuses becomes an error of the disk.

    Raises:
        OSError: in place of a RuntimeError, and of a fault of the file where it cannot be read.
    """
    try:
        yield
    except SafetensorError:
        with path.open("rb") as file:
            while file.read(_BLOCK):
                pass
        raise
    except RuntimeError as error:
        told = f"initial weights cannot be read: {error}"
        raise OSError(errno.EIO, told, str(path)) from error


def refuse_damaged(source: WeightsFile) -> None:
    """Read all values once and compare their checksum.

    Raises:
        ValueError: when it differs.
    """
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


def read_rows(sources: Sequence[WeightsFile], name: str, rows: Rows, target: Tensor) -> None:
    """Read rows of one tensor.

    Arguments:
        sources: the files that hold them, in their order.
        name: of the tensor.
        rows: which.
        target: is overwritten with them.
    """
    at = rows.first
    for source in sources:
        held = source.rows[name]
        stop = min(held.first + held.count, rows.first + rows.count)
        with _disk(source.path), safe_open(source.path, framework="pt") as file:
            if not rows.shape:
                target.copy_(file.get_tensor(name))
                return
            values = file.get_slice(name)[at - held.first : stop - held.first]
        target[at - rows.first : stop - rows.first].copy_(values)
        at = stop
