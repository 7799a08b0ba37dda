from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ultraslow.probes.runs.images.datasets import facts, load_images
from ultraslow.probes.runs.images.folders import listing


def paint(path, value, size=(6, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = size
    Image.new(mode, (width, height), value).save(path)


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "val"):
        for number, name in enumerate(("cat", "dog")):
            for image in range(3):
                paint(tmp_path / part / name / f"{image}.png", (10 * number, image, 200))
    return tmp_path


def test_classes_are_sorted_and_images_are_read(folder):
    known, arrays = facts("folder", str(folder)), load_images("folder", str(folder))
    assert (known.train_size, known.test_size, known.classes) == (6, 6, 2)
    assert (known.channels, known.height, known.width) == (3, 6, 8)
    assert arrays.test_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert arrays.test_images[4, :, 2, 3].tolist() == [10, 1, 200]
    assert listing(folder, "test").classes == ("cat", "dog")


def test_images_in_memory_are_reduced_to_the_means_of_their_pixels(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    for part, image in zip(("train", "test"), pixels, strict=True):
        (tmp_path / part / "all").mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / part / "all" / "a.png")
    known = facts("folder", str(tmp_path), resize=4)
    arrays = load_images("folder", str(tmp_path), resize=4)
    assert (known.height, known.width, known.shift) == (4, 4, 0)
    squares = pixels[0].reshape(4, 2, 4, 2, 3).astype(float)
    expected = np.rint(squares.mean(axis=(1, 3))).transpose(2, 0, 1)
    assert np.array_equal(arrays.train_images[0], expected)
    with pytest.raises(ValueError, match="resize: found 9, expected at most the 8 pixels"):
        facts("folder", str(tmp_path), resize=9)


def test_a_digest_tells_one_pixel_or_label_from_another(folder):
    arrays = load_images("folder", str(folder))
    assert arrays.sha256 == load_images("folder", str(folder)).sha256
    pixel, label = arrays.train_images.copy(), arrays.test_labels.copy()
    pixel[0, 0, 0, 0] += 1
    label[0] = 1
    others = [replace(arrays, train_images=pixel), replace(arrays, test_labels=label)]
    assert len({arrays.sha256, *(other.sha256 for other in others)}) == 3


def test_grey_images_have_one_channel(tmp_path):
    for part in ("train", "test"):
        paint(tmp_path / part / "all" / "a.png", 77, mode="L")
    arrays = load_images("folder", str(tmp_path))
    assert arrays.train_images.shape == (1, 1, 6, 8)
    assert np.unique(arrays.train_images).tolist() == [77]


def test_faults_name_the_file(folder):
    odd = folder / "train" / "dog" / "9.png"
    paint(odd, (0, 0, 0), size=(5, 8))
    with pytest.raises(ValueError, match=r"9.png: found shape \(3, 5, 8\).*expected \(3, 6, 8\)"):
        load_images("folder", str(folder))
    odd.write_text("not an image")
    with pytest.raises(ValueError, match="9.png: not a readable image"):
        load_images("folder", str(folder))
    odd.unlink()
    (folder / "train" / "emu").mkdir()
    with pytest.raises(ValueError, match="emu: found no images of this class"):
        facts("folder", str(folder))
    paint(folder / "train" / "emu" / "0.png", (0, 0, 0))
    with pytest.raises(ValueError, match=r"found classes in one part only \(emu\)"):
        facts("folder", str(folder))


def test_missing_folders(tmp_path):
    with pytest.raises(ValueError, match="data_folder: found no folder"):
        facts("folder", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="found no folder train in"):
        facts("folder", str(tmp_path))
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="train: found no folders, expected one for each class"):
        facts("folder", str(tmp_path))


def test_training_images_come_in_one_random_order_with_their_labels(tmp_path):
    for part in ("train", "test"):
        for label in range(4):
            for index in range(5):
                paint(tmp_path / part / f"c{label}" / f"{index}.png", 10 * label + index, mode="L")
    arrays = load_images("folder", str(tmp_path))
    values = arrays.train_images[:, 0, 0, 0].tolist()
    assert sorted(values) == [10 * label + index for label in range(4) for index in range(5)]
    assert [value // 10 for value in values] == arrays.train_labels.tolist()
    # Any few of the first images are a sample of all classes and not of the first class only.
    assert len(set(arrays.train_labels[:10].tolist())) > 2
    assert np.array_equal(arrays.train_images, load_images("folder", str(tmp_path)).train_images)


@pytest.mark.parametrize("part", ["train", "val"])
def test_every_header_is_looked_at_before_anything_starts(folder, part):
    odd = folder / part / "dog" / "1.png"
    odd.write_text("not an image")
    for size in (0, 4):
        with pytest.raises(ValueError, match=r"dog.1.png: not a readable image"):
            facts("folder", str(folder), image_size=size)
    paint(odd, 3, mode="L", size=(6, 8))
    with pytest.raises(
        ValueError, match=r"dog.1.png: found shape \(1, 6, 8\).*expected \(3, 6, 8\)"
    ):
        facts("folder", str(folder))
