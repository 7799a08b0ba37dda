import gzip
import struct

import numpy as np
import pytest

from ultraslow.probes.runs.images import formats
from ultraslow.probes.runs.images.datasets import facts, load_images
from ultraslow.probes.runs.images.formats import read_idx


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
    known, arrays = facts("fashion-mnist", str(folder)), load_images("fashion-mnist", str(folder))
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
        read_idx(folder, "train", "labels")
    labels.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ValueError, match="starts with 504b0304, expected 00000801"):
        facts("fashion-mnist", str(folder))
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match="train-images.*not a readable gzip file"):
        facts("fashion-mnist", str(folder))
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="data_folder: found no train-labels-idx1-ubyte"):
        read_idx(folder, "train", "labels")


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


@pytest.fixture
def small(monkeypatch):
    """Ten images a file instead of ten thousand, so that a test writes kilobytes."""
    monkeypatch.setattr(formats, "IMAGES", {"train": 50, "test": 10})


def write_cifar_files(home, classes):
    """Files in the official layout; image k of a file has label k and shows the number k."""
    home.mkdir()
    names = sum(formats._FILES[classes].values(), [])
    count = 10 if classes == 10 else 50
    for name in names:
        size = 10 if name == "test.bin" else count
        labels = np.arange(size, dtype=np.uint8)[:, None]
        coarse = np.full_like(labels, 99)
        pixels = np.repeat(labels, 3072, axis=1)
        pixels[:, 0] = 200  # red, first row, first column
        pixels[:, 1024 + 33] = 100  # green, second row, second column
        row = [labels, pixels] if classes == 10 else [coarse, labels, pixels]
        (home / name).write_bytes(np.concatenate(row, axis=1).tobytes())


@pytest.mark.parametrize(
    ("classes", "inner"), [(10, "cifar-10-batches-bin"), (100, "cifar-100-binary")]
)
def test_records_are_label_then_planes(tmp_path, small, classes, inner):
    write_cifar_files(tmp_path / inner, classes)
    for folder in (tmp_path, tmp_path / inner):
        images, labels = formats.read_cifar(folder, classes, "train")
        assert images.shape == (50, 3, 32, 32)
        assert labels.tolist() == (list(range(10)) * 5 if classes == 10 else list(range(50)))
        assert (images[:, 0, 0, 0] == 200).all()
        assert (images[:, 1, 1, 1] == 100).all()
        assert (images[7, 2] == 7).all()
    known = facts(f"cifar{classes}", str(tmp_path))
    assert (known.classes, known.channels, known.height) == (classes, 3, 32)


def test_official_file_sizes():
    # 10,000 records of 3,073 bytes; 50,000 and 10,000 records of 3,074 bytes.
    assert formats.IMAGES["train"] // 5 * formats._record(10) == 30_730_000
    assert formats.IMAGES["train"] * formats._record(100) == 153_700_000


def test_faults_name_the_file_cifar_files(tmp_path, small):
    with pytest.raises(FileNotFoundError, match="found no data_batch_1.bin in .* binary version"):
        formats.read_cifar(tmp_path, 10, "train")
    write_cifar_files(tmp_path / "made", 10)
    path = tmp_path / "made" / "test_batch.bin"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match="test_batch.bin: found 30731 bytes, expected 30730"):
        facts("cifar10", str(tmp_path / "made"))
    path.write_bytes(bytes([11]) * 30730)
    with pytest.raises(ValueError, match="found label 11, expected labels below 10"):
        formats.read_cifar(tmp_path / "made", 10, "test")
