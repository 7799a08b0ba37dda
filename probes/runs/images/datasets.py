"""Image sets as arrays of bytes, read from where they already are; nothing is downloaded."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import formats

if TYPE_CHECKING:  # Pillow is asked for where folders are read
    from .folders import Listing

NAMES = ("digits", "fashion-mnist", "cifar10", "cifar100", "folder")

# Fixed, so that all runs of a study share their training set whatever their own seeds are.
SPLIT_SEED = 20170524


@dataclass(frozen=True)
class Facts:
    """What is known of an image set before its images are read.

    Attributes:
        name: the name of the set.
        train_size: training images, D.
        test_size: held-out images.
        classes: number of classes.
        channels: colour channels.
        height: in pixels.
        width: in pixels.
        shift: pixels by which augmentation may move an image.
        mirror: whether augmentation may exchange left and right.
    """

    name: str
    train_size: int
    test_size: int
    classes: int
    channels: int
    height: int
    width: int
    shift: int
    mirror: bool


@dataclass(frozen=True)
class Arrays:
    """An image set in memory: images `(image, channel, height, width)`, labels `(image,)`."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]

    @cached_property
    def sha256(self) -> str:
        """Digest of all pixels and labels, shapes included.

        The same files decoded or resized by other versions of a library may give another one.
        """
        digest = hashlib.sha256()
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(repr(part.shape).encode())
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()


# 1,797 images split 80 to 20; 1,440 = 2⁵·3²·5 training images divide into many batch sizes.
_DIGITS = Facts("digits", 1440, 357, 10, 1, 8, 8, 1, False)
# Shift and mirror of CIFAR are those of He et al. (2016), section 4.2: 4 pixels, and mirror.
_CIFAR_SHIFT = 4
_FASHION_SHIFT = 2
# Of images of unknown content: an eighth of their height, as for CIFAR.
_FOLDER_SHIFT = 8
_FASHION_CLASSES = 10
# Streamed files whose headers are looked at before anything starts: half a minute on a local disk.
_LOOKED_AT = 500_000
# Images that are numbers instead of bytes at a time.
_REDUCED_TOGETHER = 4096


def facts(name: str, folder: str = "", *, image_size: int = 0, resize: int = 0) -> Facts:
    """What is known of an image set, after checking that its files are there.

    Arguments:
        name: one of `NAMES`.
        folder: where its files are; the digits need none.
        image_size: pixels of a side to which the images of a folder are cropped; 0 where they
            have one size.
        resize: pixels of a side to which all images are reduced; 0 leaves them as they are.

    Raises:
        ValueError: for an unknown name, a missing folder, or files that are not as expected.
        FileNotFoundError: for missing files.
    """
    known = _found_facts(name, folder, image_size)
    if not resize:
        return known
    if resize > min(known.height, known.width):
        raise ValueError(
            f"resize: found {resize}, expected at most the {min(known.height, known.width)} pixels"
            f" that images of {name} have"
        )
    shift = known.shift * resize // known.height
    return replace(known, height=resize, width=resize, shift=shift)


def _found_facts(name: str, folder: str, image_size: int) -> Facts:
    if name not in NAMES:
        raise ValueError(f"data: found {name!r}, expected one of {', '.join(NAMES)}")
    if name == "digits":
        return _DIGITS
    home = _folder(name, folder)
    match name:
        case "fashion-mnist":
            return _idx_facts(name, home)
        case "folder":
            return _folder_facts(name, home, image_size)
    return _cifar_facts(name, home)


def load_images(name: str, folder: str = "", *, resize: int = 0) -> Arrays:
    """The images of a set.

    Arguments:
        name: one of `NAMES`.
        folder: where its files are; the digits need none.
        resize: pixels of a side to which all images are reduced; 0 leaves them as they are.

    Raises:
        ValueError: for an unknown name, a missing folder, or files that are not as expected.
        FileNotFoundError: for missing files.
        ModuleNotFoundError: when the package that ships the digits is not installed.
    """
    if not resize:
        return _loaded(name, folder)
    whole = _loaded(name, folder)
    return replace(
        whole,
        train_images=reduced(whole.train_images, resize),
        test_images=reduced(whole.test_images, resize),
    )


def reduced(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Images with fewer pixels: each new one is the mean of the old ones that it covers, rounded.

    Where the old side is a multiple of the new one, the means are exact and the same everywhere.

    Arguments:
        images: `(image, channel, height, width)`.
        side: height and width that they shall have.

    >>> reduced(np.array([[[[0, 1], [2, 7]]]], dtype=np.uint8), 1).tolist()
    [[[[2]]]]
    """
    import torch

    smaller = np.empty((*images.shape[:2], side, side), dtype=np.uint8)
    for start in range(0, len(images), _REDUCED_TOGETHER):
        part = torch.from_numpy(images[start : start + _REDUCED_TOGETHER]).float()
        means = torch.nn.functional.adaptive_avg_pool2d(part, side)
        smaller[start : start + _REDUCED_TOGETHER] = means.round().byte().numpy()
    return smaller


def _loaded(name: str, folder: str) -> Arrays:
    if name == "folder":  # without a look at headers: all images are decoded, and their shapes met
        return _load_folder(_folder(name, folder))
    known = facts(name, folder)
    home = Path(folder)
    match name:
        case "digits":
            return split(*_digits(), train_size=known.train_size)
        case "fashion-mnist":
            return Arrays(*_idx(home, "train"), *_idx(home, "test"))
    parts = [formats.read_cifar(home, known.classes, part) for part in ("train", "test")]
    return Arrays(*parts[0], *parts[1])


def split(images: NDArray[np.uint8], labels: NDArray[np.int64], *, train_size: int) -> Arrays:
    """Images that come in one piece, as the same random training and held-out parts every time.

    Arguments:
        images: all images `(image, channel, height, width)`.
        labels: their classes `(image,)`.
        train_size: images that are trained on.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    train, test = order[:train_size], order[train_size:]
    return Arrays(images[train], labels[train], images[test], labels[test])


def _folder(name: str, folder: str) -> Path:
    if not folder:
        raise ValueError(f"data_folder: found none, expected the folder of the files of {name}")
    if not Path(folder).is_dir():
        raise ValueError(f"data_folder: found no folder {folder}, expected that of {name}")
    return Path(folder)


def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "data: the digits come with scikit-learn, which is not installed;"
            " expected `pip install ultraslow[demo]`"
        ) from error
    images, labels = load_digits(return_X_y=True)  # grey levels 0 to 16
    return images.reshape(-1, 1, 8, 8).astype(np.uint8), labels.astype(np.int64)


def _idx_facts(name: str, home: Path) -> Facts:
    train, height, width = formats.idx_shape(home, "train", "images")
    test = formats.idx_shape(home, "test", "images")[0]
    for part, images in (("train", train), ("test", test)):
        formats.check_size(home, part)
        labels = len(formats.labels(home, part, classes=_FASHION_CLASSES))
        if labels != images:
            raise ValueError(f"{home}: found {labels} {part} labels, expected {images}")
    return Facts(name, train, test, _FASHION_CLASSES, 1, height, width, _FASHION_SHIFT, True)


def _idx(home: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    labels = formats.labels(home, part, classes=_FASHION_CLASSES)
    return formats.read_idx(home, part, "images")[:, None], labels


def _cifar_facts(name: str, home: Path) -> Facts:
    classes = int(name.removeprefix("cifar"))
    for part in ("train", "test"):
        formats.cifar_files(home, classes, part)
    sizes = (formats.IMAGES["train"], formats.IMAGES["test"])
    side = formats.SIDE
    return Facts(name, *sizes, classes, 3, side, side, _CIFAR_SHIFT, True)


def _load_folder(home: Path) -> Arrays:
    from .folders import read_images, shuffled

    train, test = _listings(home)
    # The files come class by class; the first so many images shall be a sample of all.
    return Arrays(*read_images(shuffled(train, seed=SPLIT_SEED)), *read_images(test))


def _listings(home: Path) -> "tuple[Listing, Listing]":
    """The files of both parts, which have the same classes."""
    from .folders import listing

    train, test = listing(home, "train"), listing(home, "test")
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise ValueError(f"{home}: found classes in one part only ({', '.join(odd[:5])})")
    return train, test


def _folder_facts(name: str, home: Path, image_size: int) -> Facts:
    from .folders import check_headers, image_shape

    train, test = _listings(home)
    sizes = (len(train.paths), len(test.paths), len(train.classes))
    if image_size:
        check_headers((*train.paths, *test.paths)[:_LOOKED_AT], None)
        return Facts(name, *sizes, 3, image_size, image_size, 0, True)
    channels, height, width = image_shape(train.paths[0])
    check_headers((*train.paths, *test.paths), (channels, height, width))
    return Facts(name, *sizes, channels, height, width, height // _FOLDER_SHIFT, True)
