"""Image sets in idx files, the format of MNIST and Fashion-MNIST.

An idx file starts with two zero bytes, the type of its numbers (8: unsigned bytes), the number of
its dimensions, and each dimension as a big-endian 32-bit integer; the numbers follow.

CIFAR-10 and CIFAR-100 in the layout of their official "binary version" archives.

An image is a record of one label byte (two for CIFAR-100: the coarse class, then the fine one) and
3,072 bytes, the red, green and blue planes of 32 rows. The "python version" holds pickles, which
can run code when they are read and therefore are not read here.

References:
    Krizhevsky (2009), Learning multiple layers of features from tiny images.
"""

import gzip
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_UNSIGNED_BYTES = 8
PARTS = {"train": "train", "test": "t10k"}


def idx_shape(folder: Path, part: str, kind: str) -> tuple[int, ...]:
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


def read_idx(folder: Path, part: str, kind: str) -> NDArray[np.uint8]:
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
    found = read_idx(folder, part, "labels").astype(np.int64)
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
    path, shape = _path(folder, part, "images"), idx_shape(folder, part, "images")
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


SIDE = 32
IMAGES = {"train": 50_000, "test": 10_000}
_PIXELS = 3 * SIDE * SIDE
# Folders that the archives make, and that a user may name or the parent of.
_FOLDERS = {10: "cifar-10-batches-bin", 100: "cifar-100-binary"}
_FILES = {
    10: {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]},
    100: {"train": ["train.bin"], "test": ["test.bin"]},
}


def cifar_files(folder: Path, classes: int, part: str) -> list[Path]:
    """The files of a part, each checked to be there and of the right size.

    Arguments:
        folder: of the files, or its parent.
        classes: 10 or 100.
        part: `train` or `test`.

    Raises:
        FileNotFoundError: when a file is missing.
        ValueError: when a file has another size than the official one.
    """
    inner = folder / _FOLDERS[classes]
    home = inner if inner.is_dir() else folder
    paths = [home / name for name in _FILES[classes][part]]
    size = IMAGES[part] // len(paths) * _record(classes)
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"data_folder: found no {path.name} in {home}, expected the unpacked"
                f" CIFAR-{classes} binary version"
            )
        if path.stat().st_size != size:
            raise ValueError(f"{path}: found {path.stat().st_size} bytes, expected {size}")
    return paths


def read_cifar(
    folder: Path, classes: int, part: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images `(image, 3, 32, 32)` and labels `(image,)` of a part.

    Arguments:
        folder: of the files, or its parent.
        classes: 10 or 100.
        part: `train` or `test`.

    Raises:
        FileNotFoundError: when a file is missing.
        ValueError: when a file has another size, or a label is out of range.
    """
    paths = cifar_files(folder, classes, part)
    records = np.concatenate([np.fromfile(path, dtype=np.uint8) for path in paths])
    table = records.reshape(-1, _record(classes))
    labels = table[:, -_PIXELS - 1].astype(np.int64)
    if labels.max() >= classes:
        raise ValueError(
            f"{paths[0].parent}: found label {labels.max()}, expected labels below {classes}"
        )
    return table[:, -_PIXELS:].reshape(-1, 3, SIDE, SIDE), labels


def _record(classes: int) -> int:
    return _PIXELS + (1 if classes == 10 else 2)
