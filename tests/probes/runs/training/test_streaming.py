from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.images.batches import Share
from ultraslow.probes.runs.images.datasets import facts
from ultraslow.probes.runs.images.folders import image_shape, listing
from ultraslow.probes.runs.jobs.launch import Training
from ultraslow.probes.runs.training.sources import source_of
from ultraslow.probes.runs.training.streaming import Files, Microbatches, central_box, random_box

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs' sizes, each file of one colour that tells its number, two classes."""
    home = tmp_path_factory.mktemp("large")
    for part, count in (("train", 6), ("val", 2)):
        for label in range(2):
            (home / part / f"class{label}").mkdir(parents=True)
            for index in range(count):
                colour = (100 * label + 8 * index, 40, 200)
                size = (224, 224) if index % 2 else (300, 240)
                path = home / part / f"class{label}" / f"{index}.jpg"
                Image.new("RGB", size, colour).save(path, quality=95)
    return home


def config(home, **changes):
    given = Config(
        data="folder",
        data_folder=str(home),
        image_size=64,
        workers=2,
        batch_size=8,
        iterations=3,
        seed=5,
    )
    return replace(given, **changes)


def source(settings):
    known = facts("folder", settings.data_folder, image_size=settings.image_size)
    return source_of(settings, known, None, CPU)


def updates(settings, share, count, skip=0):
    """All images and labels of the first updates after some."""
    found = [list(parts) for parts in islice(source(settings).updates(share, skip=skip), count)]
    inputs = [torch.cat([inputs for inputs, _ in parts]) for parts in found]
    return inputs, [torch.cat([targets for _, targets in parts]) for parts in found]


def test_boxes_have_the_stated_areas_and_ratios_and_lie_inside():
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(300, 200, rng) for _ in range(4000)])
    left, top, right, bottom = boxes.T
    assert left.min() >= 0 and top.min() >= 0 and right.max() <= 300 and bottom.max() <= 200
    area = (right - left) * (bottom - top) / 60_000
    ratio = (right - left) / (bottom - top)
    # Sides are whole pixels. The largest box that fits is 200 high and 4/3 as wide: 0.889.
    assert 0.07 < area.min() < 0.1 and 0.85 < area.max() < 0.9
    assert 0.73 < ratio.min() < 0.77 and 1.3 < ratio.max() < 1.37
    assert len(np.unique(boxes, axis=0)) > 3500


def test_an_image_too_flat_for_any_draw_gets_its_middle():
    assert random_box(1000, 10, np.random.default_rng(0)) == central_box(1000, 10, 1.0)


def test_what_happens_to_an_image_depends_on_seed_and_draw_only(folder):
    files = Files(listing(folder, "train"), 32, seed=1)
    first, again, other = files[0, 7][0], files[0, 7][0], files[0, 8][0]
    assert torch.equal(first, again)
    assert first.shape == (3, 32, 32) and first.dtype == torch.uint8
    rng = np.random.default_rng(0)
    noisy = rng.integers(0, 256, (240, 300, 3), dtype=np.uint8)
    Image.fromarray(noisy).save(folder / "train" / "class0" / "0.jpg")
    assert not torch.equal(files[0, 7][0], files[0, 8][0])
    assert not torch.equal(files[0, 7][0], Files(listing(folder, "train"), 32, seed=2)[0, 7][0])
    assert other.shape == first.shape


def test_every_image_comes_once_an_epoch_over_processes_and_microbatches():
    shares = [Share(rank, 2, 3) for rank in range(2)]
    keys = [islice(Microbatches(24, 12, share, seed=0, skip=0), 6) for share in shares]
    parts = [list(own) for own in keys]
    assert all(len(part) == 2 for own in parts for part in own)
    flat = [key for own in parts for part in own for key in part]
    assert sorted(index for index, _ in flat) == list(range(24))
    assert sorted(draw for _, draw in flat) == list(range(24))


def test_processes_and_workers_change_no_image(folder):
    whole, labels = updates(config(folder, workers=0), Share(0, 1, 1), 2)
    parts = [updates(config(folder, workers=2), Share(rank, 2, 2), 2) for rank in range(2)]
    for update in range(2):
        assert torch.equal(torch.cat([p[0][update] for p in parts]), whole[update])
        assert torch.equal(torch.cat([p[1][update] for p in parts]), labels[update])


def test_a_run_that_goes_on_sees_what_it_would_have_seen(folder):
    whole, _ = updates(config(folder, workers=0), Share(0, 1, 2), 3)
    rest, _ = updates(config(folder, workers=0), Share(0, 1, 2), 1, skip=2)
    assert torch.equal(rest[0], whole[2])


def test_held_out_images_are_shared_out_and_cropped_in_the_middle(folder):
    streamed = source(config(folder, workers=0))
    parts = [list(streamed.held_out(Share(rank, 2))) for rank in range(2)]
    targets = torch.cat([targets for own in parts for _, targets in own])
    assert sorted(targets.tolist()) == [0, 0, 1, 1]
    assert all(inputs.shape[1:] == (3, 64, 64) for own in parts for inputs, _ in own)


def test_an_image_that_cannot_be_read_is_named(folder, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes((folder / "train" / "class1" / "1.jpg").read_bytes()[:300])
    with pytest.raises(ValueError, match=r"bad\.jpg: not a readable image"):
        image_shape(bad)


def test_large_images_train_on_two_processes(folder, tmp_path):
    settings = config(
        folder,
        model="resnet18",
        width=2,
        microbatch=2,
        evaluations=2,
        landscape_checkpoints=1,
        landscape_images=8,
        landscape_directions=1,
        device="cpu",
        folder=str(tmp_path),
        name="large",
    )
    told = list(Training([settings], 2).events())
    assert told[-1]["event"] == "end"
    with xr.open_dataset(f"{settings.path}.nc") as recording:
        assert recording["samples"].values.tolist() == [0, 8, 16, 24]
        assert np.isfinite(recording["loss"].values[1:]).all()
        assert np.isfinite(recording["held_out"].values[-1]).all()
        assert int(recording["data_size"]) == 12
