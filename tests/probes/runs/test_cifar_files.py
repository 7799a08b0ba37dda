import numpy as np
import pytest

from probes.runs import cifar_files
from probes.runs.datasets import facts


@pytest.fixture
def small(monkeypatch):
    """Ten images a file instead of ten thousand, so that a test writes kilobytes."""
    monkeypatch.setattr(cifar_files, "IMAGES", {"train": 50, "test": 10})


def write(home, classes):
    """Files in the official layout; image k of a file has label k and shows the number k."""
    home.mkdir()
    names = sum(cifar_files._FILES[classes].values(), [])
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
    write(tmp_path / inner, classes)
    for folder in (tmp_path, tmp_path / inner):
        images, labels = cifar_files.read(folder, classes, "train")
        assert images.shape == (50, 3, 32, 32)
        assert labels.tolist() == (list(range(10)) * 5 if classes == 10 else list(range(50)))
        assert (images[:, 0, 0, 0] == 200).all()
        assert (images[:, 1, 1, 1] == 100).all()
        assert (images[7, 2] == 7).all()
    known = facts(f"cifar{classes}", str(tmp_path))
    assert (known.classes, known.channels, known.height) == (classes, 3, 32)


def test_official_file_sizes():
    # 10,000 records of 3,073 bytes; 50,000 and 10,000 records of 3,074 bytes.
    assert cifar_files.IMAGES["train"] // 5 * cifar_files._record(10) == 30_730_000
    assert cifar_files.IMAGES["train"] * cifar_files._record(100) == 153_700_000


def test_faults_name_the_file(tmp_path, small):
    with pytest.raises(FileNotFoundError, match="found no data_batch_1.bin in .* binary version"):
        cifar_files.read(tmp_path, 10, "train")
    write(tmp_path / "made", 10)
    path = tmp_path / "made" / "test_batch.bin"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match="test_batch.bin: found 30731 bytes, expected 30730"):
        facts("cifar10", str(tmp_path / "made"))
    path.write_bytes(bytes([11]) * 30730)
    with pytest.raises(ValueError, match="found label 11, expected labels below 10"):
        cifar_files.read(tmp_path / "made", 10, "test")
