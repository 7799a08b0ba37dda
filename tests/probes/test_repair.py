import json
import os

import numpy as np
import pytest
import xarray as xr
from every_field import every_field
from test_store import records

from diffusion.recording import RecordError
from probes.repair import repair
from probes.store import SegmentStore


def live(path, *parts):
    store = SegmentStore(path)
    store.open()
    for part in parts or [(0,), (1, 2, 5), (9, 12), (15,)]:
        store.write(records(*part))
    store.lease.release()
    return store


def spoil(path, kind):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"truncated": content[:-900], "zero bytes": b"", "one bit": content}[kind])


@pytest.mark.parametrize("kind", ["truncated", "zero bytes", "one bit"])
def test_sound_segments_are_kept_and_broken_ones_set_aside(tmp_path, kind):
    store = live(tmp_path / "run")
    segments = store.segments()
    spoil(segments[1], kind)
    spoiled = segments[1].read_bytes()
    found = repair(tmp_path / "run")
    assert found.path == tmp_path / "run.nc"
    assert found.records == 4
    assert found.aside == (segments[1].with_name(f"{segments[1].name}.broken"),)
    assert found.aside[0].read_bytes() == spoiled
    assert found.faults[0].startswith("segment-000000000001.nc: ")
    closed = xr.load_dataset(found.path)
    assert closed["iteration"].values.tolist() == [0, 9, 12, 15]
    np.testing.assert_array_equal(closed["distance_sq"], records(0, 9, 12, 15)["distance_sq"])
    assert json.loads(closed.attrs["gaps"]) == [[0, 9]]


def test_every_field_survives_a_repair(tmp_path):
    store = SegmentStore(tmp_path / "run")
    store.open()
    for part in [(0, 1), (5, 7), (10, 12)]:
        store.write(every_field(*part))
    store.lease.release()
    spoil(store.segments()[1], "one bit")
    closed = xr.load_dataset(repair(tmp_path / "run").path, decode_timedelta=False)
    assert json.loads(closed.attrs.pop("gaps")) == [[1, 10]]
    xr.testing.assert_identical(closed, every_field(0, 1, 10, 12))


def test_holes_at_both_ends_are_told(tmp_path):
    store = live(tmp_path / "run")
    for segment in (store.segments()[0], store.segments()[-1]):
        spoil(segment, "one bit")
    closed = xr.load_dataset(repair(tmp_path / "run").path)
    assert json.loads(closed.attrs["gaps"]) == [[-1, 1], [12, None]]


def test_a_sound_recording_stays_as_it_is(tmp_path):
    store = live(tmp_path / "run")
    before = {file: file.read_bytes() for file in store.segments()}
    found = repair(tmp_path / "run")
    assert (found.path, found.records, found.aside) == (tmp_path / "run", 7, ())
    assert found.faults == (
        f"no initial weights in {tmp_path / 'run'}: the run cannot be resumed",
    )
    assert {file: file.read_bytes() for file in store.segments()} == before


def test_overlapping_segments_are_set_aside(tmp_path):
    live(tmp_path / "run", (0, 1, 2), (2, 3), (4, 5))
    found = repair(tmp_path / "run")
    assert xr.load_dataset(found.path)["iteration"].values.tolist() == [0, 1, 2, 4, 5]
    assert "segments overlap" in found.faults[0]


def test_a_broken_closed_file_is_rebuilt_while_its_segments_are_there(tmp_path):
    store = live(tmp_path / "run")
    (tmp_path / "run.nc").write_bytes(b"CDF")
    found = repair(tmp_path / "run.nc")
    assert found.aside == (tmp_path / "run.nc.broken",)
    assert xr.load_dataset(found.path).sizes["iteration"] == 7
    assert store.segments() == []


def test_nothing_sound_changes_nothing(tmp_path):
    store = live(tmp_path / "run", (0,))
    spoil(store.segments()[0], "one bit")
    with pytest.raises(RecordError, match="no part is sound; segment-000000000000.nc: is damaged"):
        repair(tmp_path / "run")
    assert os.listdir(tmp_path / "run") == ["segment-000000000000.nc"]
    with pytest.raises(FileNotFoundError, match="found no recording at"):
        repair(tmp_path / "other")


def test_a_recording_that_is_being_written_is_left_alone(tmp_path):
    store = live(tmp_path / "run")
    store.lease.acquire()
    with pytest.raises(FileExistsError, match="records at"):
        repair(tmp_path / "run")
