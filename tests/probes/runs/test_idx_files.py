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
    for name, count in (("train", 12), ("t10k", 5)):
        images = rng.integers(0, 256, (count, 7, 9), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        write(tmp_path / f"{name}-images-idx3-ubyte", images, compress=name == "train")
        write(tmp_path / f"{name}-labels-idx1-ubyte", labels)
    return tmp_path


def test_what_was_written_is_read(folder):
    known, arrays = facts("fashion-mnist", str(folder)), load("fashion-mnist", str(folder))
    assert (known.train_size, known.test_size, known.height, known.width) == (12, 5, 7, 9)
    rng = np.random.default_rng(0)
    assert np.array_equal(
        arrays.train_images[:, 0], rng.integers(0, 256, (12, 7, 9), dtype=np.uint8)
    )
    assert np.array_equal(arrays.train_labels, rng.integers(0, 10, 12, dtype=np.uint8))
    assert arrays.train_labels.dtype == np.int64


def test_faults_name_the_file(folder):
    labels = folder / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-3])
    with pytest.raises(ValueError, match="train-labels.*: found 9 bytes of data, expected 12"):
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
    write(folder / "t10k-labels-idx1-ubyte", np.zeros(4, dtype=np.uint8))
    with pytest.raises(ValueError, match="found 4 test labels, expected 5"):
        facts("fashion-mnist", str(folder))
