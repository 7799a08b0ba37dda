"""Headers of checkpoint files: which tensors they hold and where, without reading a value.

torch's files are zip archives of a pickle and of the values as they lie in memory. The pickle is
loaded by torch with `weights_only=True`, which makes nothing but tensors, numbers and containers,
and with tensors that have a shape and no values. Headers of safetensors are JSON.
"""

import json
import math
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ultraslow.diffusion.recording import RecordError

from .stored import OpenFiles, Piece, Stored

# What is in a file: mappings, and tensors in them.
Tree = dict[str, Any]

TORCH = (".pt", ".pth", ".bin", ".ckpt", ".tar")
SAFETENSORS = ".safetensors"
_HEADER = 100_000_000  # bytes that safetensors allows
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how torch's files began before its version 1.6
_DEPTH = 20  # of mappings in mappings


def header_of(file: Path, files: OpenFiles) -> Tree:
    """The tensors of one file, in the mappings that it holds them in.

    Arguments:
        file: of torch or of safetensors.
        files: that are read; this one has to stay as it is from now on.

    Returns:
        Mappings and `Stored` tensors by name; what is neither is left out.

    Raises:
        RecordError: for a file that is cut off, damaged, or holds more than weights.
        OSError: when it cannot be read.
    """
    size, _ = files.sign(file)
    if not size:
        raise RecordError(str(file), ["has zero bytes"])
    if file.suffix == SAFETENSORS:
        return dict(_safetensors(file, size))
    with file.open("rb") as opened:
        return torch_tree(opened, file, size)


def _safetensors(file: Path, size: int) -> dict[str, Stored]:
    with file.open("rb") as opened:
        start = opened.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= _HEADER:
            raise RecordError(str(file), ["is not a safetensors file: it has no header"])
        if size < 8 + length:
            cut = f"has {size} bytes, expected a header of {length}: it is cut off"
            raise RecordError(str(file), [cut])
        text = opened.read(length)
    try:
        entries = json.loads(text)
        del text
        entries.pop("__metadata__", None)
        ends = [int(entry["data_offsets"][1]) for entry in entries.values()]
        found = {name: _entry(file, 8 + length, entry) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise RecordError(str(file), ["is not a safetensors file: its header is none"]) from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        wrong = "it is cut off" if size < expected else "it is damaged"
        raise RecordError(str(file), [f"has {size} bytes, expected {expected}: {wrong}"])
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _entry(file: Path, data: int, entry: Mapping[str, Any]) -> Stored | None:
    """One tensor of a safetensors file; None for integers.

    Raises:
        ValueError: when its bytes are not as many as its shape asks for.
    """
    shape = tuple(int(size) for size in entry["shape"])
    start, stop = map(int, entry["data_offsets"])
    dtype = _DTYPES.get(entry["dtype"])
    if start < 0 or stop < start or any(size < 0 for size in shape):
        raise ValueError("offsets")
    if dtype is None:
        return None
    if stop - start != math.prod(shape) * dtype.itemsize:
        raise ValueError("size")
    return Stored(shape, dtype, (Piece(file, data + start, (0,) * len(shape), shape),))


def torch_tree(opened: IO[bytes], file: Path, size: int, *, start: int = 0) -> Tree:
    """The tensors of what `torch.save` wrote.

    Arguments:
        opened: the file, or a part of one.
        file: its path.
        size: bytes there are.
        start: where the part begins in the file.

    Raises:
        RecordError: as `read_header`.
    """
    _refuse_other_files(opened, file, size)
    opened.seek(0)
    from torch._subclasses.fake_tensor import FakeTensorMode  # takes a second

    with _in_plain_words(file), FakeTensorMode():
        loaded = torch.load(opened, map_location="cpu", weights_only=True)
        found = _tree({"": loaded} if isinstance(loaded, Tensor) else loaded, file, start)
    for tensor in _tensors(found):
        end = tensor.pieces[0].offset - start + tensor.nbytes
        if end > size:
            raise RecordError(str(file), [f"has {size} bytes, expected {end}: it is cut off"])
    return found


def _refuse_other_files(opened: IO[bytes], file: Path, size: int) -> None:
    """Refuse what is no zip archive of torch's, or not all of one."""
    head = opened.read(len(_OLD))
    if head.startswith(b"PK\x03\x04"):
        try:
            entries = zipfile.ZipFile(opened).infolist()
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
            told = f"is cut off or damaged: the list at the end of its {size} bytes is missing"
            raise RecordError(str(file), [told]) from error
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise RecordError(str(file), ["is compressed, expected it as torch.save wrote it"])
        return
    if head == _OLD:
        told = (
            "is in the format of torch before 1.6, which cannot be read in parts; save it anew: "
            f"torch.save(torch.load({str(file)!r}, weights_only=True), {str(file)!r})"
        )
    elif head[:1] == b"\x80":
        told = "is a pickle that torch.save did not write, expected weights of torch"
    else:
        told = "is not a file of torch's: expected weights that torch.save wrote"
    raise RecordError(str(file), [told])


@contextmanager
def _in_plain_words(file: Path) -> Any:
    """What torch says of a file that it does not load becomes a fault of the file."""
    try:
        yield
    except RecordError:
        raise
    except pickle.UnpicklingError as error:
        strange = re.search(r"(?:GLOBAL|Unsupported global:|class)\s+`?([\w.]+\.\w+)", str(error))
        what = f"an object of {strange.group(1)}" if strange else "objects"
        raise RecordError(
            str(file),
            [
                f"holds more than weights: {what}, which could run a program when it is loaded, "
                "so that it was not. The program that made it can save the weights alone, by "
                "torch.save(model.state_dict(), …)"
            ],
        ) from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError) as error:
        said = " ".join(str(error).split())[:200]
        raise RecordError(str(file), [f"is cut off or damaged ({said})"]) from error


def _tree(loaded: object, file: Path, start: int, depth: int = 0) -> Tree:
    """The mappings and the tensors of floating type of what was loaded."""
    if not isinstance(loaded, Mapping) or depth > _DEPTH:
        return {}
    found: Tree = {}
    for key, value in loaded.items():
        if isinstance(value, Tensor):
            stored = _stored(str(key), value, file, start)
            if stored is not None:
                found[str(key)] = stored
        elif isinstance(value, Mapping):
            found[str(key)] = _tree(value, file, start, depth + 1)
    return found


def _stored(name: str, tensor: Tensor, file: Path, start: int) -> Stored | None:
    """Where a tensor lies; None for what is no floating number.

    Raises:
        RecordError: for one that does not lie in one stretch.
    """
    if not tensor.is_floating_point() or tensor.layout is not torch.strided:
        return None
    shape, stride = tuple(tensor.shape), tensor.stride()
    order = order_of(shape, stride)
    if order is None:
        told = f"{name}: its values lie apart (strides {stride}), expected them side by side"
        raise RecordError(str(file), [f"{told}; save tensor.contiguous()"])
    place = getattr(tensor.untyped_storage(), "_checkpoint_offset", None)
    if place is None:
        told = "cannot be read in parts by this version of torch, expected 2.6 or later"
        raise RecordError(str(file), [told])
    offset = start + int(place) + int(tensor.storage_offset()) * tensor.element_size()
    piece = Piece(file, offset, (0,) * len(shape), shape)
    usual = order == tuple(range(len(shape)))
    return Stored(shape, tensor.dtype, (piece,), None if usual else order)


def order_of(shape: Sequence[int], stride: Sequence[int]) -> tuple[int, ...] | None:
    """The dimensions in the order in which they are stored; None where values lie apart.

    >>> order_of((2, 3), (3, 1)), order_of((2, 3), (1, 2)), order_of((2, 3), (6, 1))
    ((0, 1), (1, 0), None)
    """
    if math.prod(shape) == 0:
        return tuple(range(len(shape)))
    long = [d for d in range(len(shape)) if shape[d] > 1]
    order, expected = sorted(long, key=lambda d: -stride[d]), 1
    for dimension in reversed(order):
        if stride[dimension] != expected:
            return None
        expected *= shape[dimension]
    if order == long:  # dimensions of one value may stand anywhere
        return tuple(range(len(shape)))
    return (*(d for d in range(len(shape)) if shape[d] <= 1), *order)


def _tensors(tree: Tree) -> list[Stored]:
    found: list[Stored] = []
    for value in tree.values():
        found += _tensors(value) if isinstance(value, dict) else [value]
    return found


def read_index(index: Path, files: OpenFiles) -> Tree:
    """The tensors of a checkpoint in several files, as their index lists them.

    Arguments:
        index: a file that ends in `.index.json`.
        files: that are read.

    Raises:
        RecordError: when a file is missing, or a tensor in it.
        OSError: when one cannot be read.
    """
    try:
        listed = json.loads(index.read_bytes())["weight_map"]
        places = {str(name): str(file) for name, file in listed.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RecordError(str(index), ["is no index of files, expected a weight_map"]) from error
    parts = sorted(set(places.values()))
    foreign = [part for part in parts if Path(part).name != part]
    if foreign:
        raise RecordError(str(index), [f"names {foreign[0]!r}, expected a file of its folder"])
    absent = [part for part in parts if not (index.parent / part).is_file()]
    if absent:
        told = f"found {len(parts) - len(absent)} of {len(parts)} files, missing {absent[:3]}"
        raise RecordError(str(index), [told])
    trees = {part: header_of(index.parent / part, files) for part in parts}
    found: Tree = {}
    for name, part in places.items():
        if name in trees[part]:
            found[name] = trees[part][name]
    return found
