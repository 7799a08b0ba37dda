"""Image sets in idx files, the format of MNIST and Fashion-MNIST.

An idx file starts with two zero bytes, the type of its numbers (8: unsigned bytes), the number of
its dimensions, and each dimension as a big-endian 32-bit integer; the numbers follow.
"""

import gzip
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_UNSIGNED_BYTES = 8
PARTS = {"train": "train", "test": "t10k"}


def shape_of(folder: Path, part: str, kind: str) -> tuple[int, ...]:
    """Dimensions of one file, from its header.

    Arguments:
        folder: holds the four files, plain or compressed (`.gz`).
        part: `train` or `test`.
        kind: `images` or `labels`.

    Raises:
        FileNotFoundError: when the file is missing.
        ValueError: when it is no idx file of bytes with the expected number of dimensions.
    """
    path = _path(folder, part, kind)
    with _opened(path) as file:
        return _header(file, path, dimensions=3 if kind == "images" else 1)


def read(folder: Path, part: str, kind: str) -> NDArray[np.uint8]:
    """The numbers of one file, in its dimensions.

    Arguments:
        folder: holds the four files, plain or compressed (`.gz`).
        part: `train` or `test`.
        kind: `images` or `labels`.

    Raises:
        FileNotFoundError: when the file is missing.
        ValueError: when it is no idx file or ends too early.
    """
    path = _path(folder, part, kind)
    with _opened(path) as file:
        shape = _header(file, path, dimensions=3 if kind == "images" else 1)
        numbers = np.frombuffer(file.read(), dtype=np.uint8)
    if numbers.size != np.prod(shape):
        raise ValueError(f"{path}: found {numbers.size} bytes of data, expected {np.prod(shape)}")
    return numbers.reshape(shape)


def labels(folder: Path, part: str, *, classes: int) -> NDArray[np.int64]:
    """The labels of one part `(image,)`.

    Arguments:
        folder: holds the four files, plain or compressed (`.gz`).
        part: `train` or `test`.
        classes: of the set.

    Raises:
        FileNotFoundError: when the file is missing.
        ValueError: when it cannot be read, has labels of other classes, or lacks a class.
    """
    found = read(folder, part, "labels").astype(np.int64)
    missing = sorted(set(range(classes)) - set(found.tolist()))
    if missing or found.max() >= classes:
        what = f"no image of class {missing[0]}" if missing else f"label {found.max()}"
        path = _path(folder, part, "labels")
        raise ValueError(f"{path}: found {what}, expected images of classes 0 to {classes - 1}")
    return found


def check_size(folder: Path, part: str) -> None:
    """Refuse images that end too early; of compressed files that shows when they are read.

    Raises:
        ValueError: naming the file, what was found and what was expected.
    """
    path, shape = _path(folder, part, "images"), shape_of(folder, part, "images")
    found, expected = path.stat().st_size, 4 + 4 * len(shape) + int(np.prod(shape))
    if path.suffix != ".gz" and found != expected:
        raise ValueError(f"{path}: found {found} bytes, expected {expected}")


def _path(folder: Path, part: str, kind: str) -> Path:
    name = f"{PARTS[part]}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"data_folder: found no {name} or {name}.gz in {folder}")


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _header(file: BinaryIO, path: Path, *, dimensions: int) -> tuple[int, ...]:
    try:
        start = file.read(4 + 4 * dimensions)
    except (OSError, EOFError) as error:
        raise ValueError(f"{path}: not a readable gzip file: {error}") from error
    expected = bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    if len(start) < 4 + 4 * dimensions or start[:4] != expected:
        raise ValueError(
            f"{path}: found a file that starts with {start[:4].hex()}, expected {expected.hex()},"
            f" an idx file of bytes in {dimensions} dimensions"
        )
    return struct.unpack(f">{dimensions}I", start[4:])
