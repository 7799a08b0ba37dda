"""Image sets as arrays of bytes, read from where they already are; nothing is downloaded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NAMES = ("digits",)

# Fixed, so that all runs of a study share their training set whatever their own seeds are.
_SPLIT_SEED = 20170524


@dataclass(frozen=True)
class Facts:
    """What is known of an image set before an image is read.

    Attributes:
        name: the name of the set.
        train_size: training images, D.
        test_size: held-out images.
        classes: number of classes.
        channels: colour channels.
        side: height and width in pixels.
        shift: pixels by which augmentation may move an image.
        mirror: whether augmentation may exchange left and right.
    """

    name: str
    train_size: int
    test_size: int
    classes: int
    channels: int
    side: int
    shift: int
    mirror: bool


@dataclass(frozen=True)
class Arrays:
    """An image set in memory: images `(image, channel, height, width)`, labels `(image,)`."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


# 1,797 images split 80 to 20; 1,440 = 2⁵·3²·5 training images divide into many batch sizes.
_DIGITS = Facts("digits", 1440, 357, 10, 1, 8, 1, False)


def facts(name: str) -> Facts:
    """What is known of the image set with one of `NAMES`.

    Raises:
        ValueError: for a name that is not among them.
    """
    if name != "digits":
        raise ValueError(f"data: found {name!r}, expected one of {', '.join(NAMES)}")
    return _DIGITS


def load(name: str) -> Arrays:
    """The images of the set with one of `NAMES`.

    Raises:
        ValueError: for a name that is not among them.
        ModuleNotFoundError: when the package that ships the images is not installed.
    """
    known = facts(name)
    return split(*_digits(), train_size=known.train_size)


def split(images: NDArray[np.uint8], labels: NDArray[np.int64], *, train_size: int) -> Arrays:
    """Images that come in one piece, as the same random training and held-out parts every time.

    Arguments:
        images: all images `(image, channel, height, width)`.
        labels: their classes `(image,)`.
        train_size: images that are trained on.
    """
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(images))
    train, test = order[:train_size], order[train_size:]
    return Arrays(images[train], labels[train], images[test], labels[test])


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
