"""Image sets as folders of image files: `train/<class>/<file>` and `test/<class>/<file>`.

`val` may stand for `test`, as in ImageNet's usual layout. Images that live in memory as one array
must have one size; others are streamed (`probes.runs.training.streaming`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_NAMES = {"train": ("train",), "test": ("test", "val")}


@dataclass(frozen=True)
class Listing:
    """The files of one part.

    Attributes:
        paths: image files, sorted by class and name.
        labels: their classes, numbered in the order of `classes`.
        classes: names of the classes, sorted.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


def listing(folder: Path, part: str) -> Listing:
    """The image files of a part, found without reading any.

    Arguments:
        folder: holds a folder for each part.
        part: `train` or `test`.

    Raises:
        FileNotFoundError: when the folder of the part is missing.
        ValueError: when there are no classes, or a class has no images.
    """
    home = _home(folder, part)
    classes = sorted(path.name for path in home.iterdir() if path.is_dir())
    if not classes:
        raise ValueError(f"{home}: found no folders, expected one for each class")
    by_class = [_images(home / name) for name in classes]
    paths = [path for images in by_class for path in images]
    labels = [label for label, images in enumerate(by_class) for _ in images]
    return Listing(tuple(paths), tuple(labels), tuple(classes))


def shuffled(files: Listing, *, seed: int) -> Listing:
    """The same files in a random order.

    Arguments:
        files: of a part.
        seed: of the order.
    """
    order = np.random.default_rng(seed).permutation(len(files.paths)).tolist()
    paths = tuple(files.paths[index] for index in order)
    return Listing(paths, tuple(files.labels[index] for index in order), files.classes)


def image_shape(path: Path) -> tuple[int, int, int]:
    """Channels, height and width of an image file; grey images have one channel.

    Raises:
        ValueError: when the file is no readable image.
    """
    channels, height, width = _pixels(path).shape
    return channels, height, width


@lru_cache(maxsize=8)
def check_headers(paths: tuple[Path, ...], expected: tuple[int, int, int] | None) -> None:
    """Refuse image files that are none, or of another shape; a few seconds for 60,000.

    A file that is cut off shows only when it is decoded.

    Arguments:
        paths: of the files.
        expected: channels, height and width of the first; None where they may differ.

    Raises:
        ValueError: naming the first such file.
    """
    for path in paths:
        with opened(path) as image:
            found = (1 if image.mode == "L" else 3, image.height, image.width)
        if expected is not None and found != expected:
            raise ValueError(_another_shape(path, found, expected, paths[0]))


def _another_shape(path: Path, found: object, expected: object, first: Path) -> str:
    return (
        f"{path}: found shape {found} (channels, height, width), expected {expected} as in"
        f" {first.name}"
    )


def read_images(files: Listing) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images `(image, channel, height, width)` and labels `(image,)` of a part.

    Raises:
        ValueError: naming the first file that is no readable image or has another shape than the
            first image.
    """
    expected = image_shape(files.paths[0])
    images = np.empty((len(files.paths), *expected), dtype=np.uint8)
    for index, path in enumerate(files.paths):
        pixels = _pixels(path)
        if pixels.shape != expected:
            raise ValueError(_another_shape(path, pixels.shape, expected, files.paths[0]))
        images[index] = pixels
    return images, np.asarray(files.labels, dtype=np.int64)


def _home(folder: Path, part: str) -> Path:
    for name in _NAMES[part]:
        if (folder / name).is_dir():
            return folder / name
    raise FileNotFoundError(
        f"data_folder: found no folder {' or '.join(_NAMES[part])} in {folder}, expected it with"
        " a folder for each class"
    )


def _images(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise ValueError(
            f"{folder}: found no images of this class, expected files ending in"
            f" {', '.join(SUFFIXES)}"
        )
    return found


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file, open.

    Raises:
        ValueError: when it is no readable image, also where that shows only when it is decoded.
    """
    try:
        with Image.open(path) as image:
            yield image
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path}: not a readable image: {error}") from error


def _pixels(path: Path) -> NDArray[np.uint8]:
    with opened(path) as image:
        values = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
