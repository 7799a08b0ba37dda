"""CIFAR-10 and CIFAR-100 in the layout of their official "binary version" archives.

An image is a record of one label byte (two for CIFAR-100: the coarse class, then the fine one) and
3,072 bytes, the red, green and blue planes of 32 rows. The "python version" holds pickles, which
can run code when they are read and therefore are not read here.

References:
    Krizhevsky (2009), Learning multiple layers of features from tiny images.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIDE = 32
IMAGES = {"train": 50_000, "test": 10_000}
_PIXELS = 3 * SIDE * SIDE
# Folders that the archives make, and that a user may name or the parent of.
_FOLDERS = {10: "cifar-10-batches-bin", 100: "cifar-100-binary"}
_FILES = {
    10: {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]},
    100: {"train": ["train.bin"], "test": ["test.bin"]},
}


def files(folder: Path, classes: int, part: str) -> list[Path]:
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


def read(folder: Path, classes: int, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images `(image, 3, 32, 32)` and labels `(image,)` of a part.

    Arguments:
        folder: of the files, or its parent.
        classes: 10 or 100.
        part: `train` or `test`.

    Raises:
        FileNotFoundError: when a file is missing.
        ValueError: when a file has another size, or a label is out of range.
    """
    paths = files(folder, classes, part)
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
