import gzip
import struct

import numpy as np
import pytest

from probes.runs.datasets import facts, load
from probes.runs.idx_files import read


def write(path, array, *, compress=False):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data = header + array.tobytes()
    if compress:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("train", 22), ("t10k", 10)):
        images = rng.integers(0, 256, (count, 7, 9), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        write(tmp_path / f"{name}-images-idx3-ubyte", images, compress=name == "train")
        write(tmp_path / f"{name}-labels-idx1-ubyte", labels)
    return tmp_path


def test_what_was_written_is_read(folder):
    known, arrays = facts("fashion-mnist", str(folder)), load("fashion-mnist", str(folder))
    assert (known.train_size, known.test_size, known.height, known.width) == (22, 10, 7, 9)
    rng = np.random.default_rng(0)
    assert np.array_equal(
        arrays.train_images[:, 0], rng.integers(0, 256, (22, 7, 9), dtype=np.uint8)
    )
    assert arrays.train_labels.tolist() == [*range(10), *range(10), 0, 1]
    assert arrays.train_labels.dtype == np.int64


def test_faults_name_the_file(folder):
    labels = folder / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-3])
    with pytest.raises(ValueError, match="train-labels.*: found 19 bytes of data, expected 22"):
        read(folder, "train", "labels")
    labels.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ValueError, match="starts with 504b0304, expected 00000801"):
        facts("fashion-mnist", str(folder))
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match="train-images.*not a readable gzip file"):
        facts("fashion-mnist", str(folder))
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="data_folder: found no train-labels-idx1-ubyte"):
        read(folder, "train", "labels")


def test_labels_and_images_must_be_as_many(folder):
    write(folder / "t10k-labels-idx1-ubyte", np.arange(14, dtype=np.uint8) % 10)
    with pytest.raises(ValueError, match="found 14 test labels, expected 10"):
        facts("fashion-mnist", str(folder))


def test_images_that_end_early_and_odd_classes_are_found_before_anything_is_read(folder):
    images, labels = (folder / f"t10k-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
    whole = images.read_bytes()
    images.write_bytes(whole[:-5])
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte: found 641 bytes, expected 646"):
        facts("fashion-mnist", str(folder))
    images.write_bytes(whole)
    for odd, message in ((10, "found no image of class 9"), (8, "found no image of class 9")):
        write(labels, np.array([*range(9), odd], dtype=np.uint8))
        with pytest.raises(ValueError, match=f"t10k-labels-idx1-ubyte: {message}"):
            facts("fashion-mnist", str(folder))
    write(images, np.zeros((11, 7, 9), dtype=np.uint8))
    write(labels, np.arange(11, dtype=np.uint8))
    with pytest.raises(ValueError, match="found label 10, expected images of classes 0 to 9"):
        facts("fashion-mnist", str(folder))
