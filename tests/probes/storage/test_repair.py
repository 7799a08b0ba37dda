import json
import os

import numpy as np
import pytest
import xarray as xr
from every_field import every_field
from records import records

from ultraslow.analysis.runs.load import load
from ultraslow.diffusion.recording import FOLLOWS, has_holes, reach_files
from ultraslow.diffusion.recording.errors import RecordError
from ultraslow.probes.storage.repair import repair_recording
from ultraslow.probes.storage.segments import SegmentStore


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
    found = repair_recording(tmp_path / "run")
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
    closed = xr.load_dataset(repair_recording(tmp_path / "run").path, decode_timedelta=False)
    assert json.loads(closed.attrs.pop("gaps")) == [[1, 10]]
    xr.testing.assert_identical(closed, every_field(0, 1, 10, 12))


def test_holes_at_both_ends_are_told(tmp_path):
    store = live(tmp_path / "run")
    for segment in (store.segments()[0], store.segments()[-1]):
        spoil(segment, "one bit")
    closed = xr.load_dataset(repair_recording(tmp_path / "run").path)
    assert json.loads(closed.attrs["gaps"]) == [[-1, 1], [12, None]]


def test_a_sound_recording_stays_as_it_is(tmp_path):
    store = live(tmp_path / "run")
    before = {file: file.read_bytes() for file in store.segments()}
    found = repair_recording(tmp_path / "run")
    assert (found.path, found.records, found.aside) == (tmp_path / "run", 7, ())
    assert found.faults == (
        f"no initial weights in {tmp_path / 'run'}: the run cannot be resumed",
    )
    assert {file: file.read_bytes() for file in store.segments()} == before


def test_overlapping_segments_are_set_aside(tmp_path):
    live(tmp_path / "run", (0, 1, 2), (2, 3), (4, 5))
    found = repair_recording(tmp_path / "run")
    assert xr.load_dataset(found.path)["iteration"].values.tolist() == [0, 1, 2, 4, 5]
    assert "segments overlap" in found.faults[0]


def test_a_broken_closed_file_is_rebuilt_while_its_segments_are_there(tmp_path):
    store = live(tmp_path / "run")
    (tmp_path / "run.nc").write_bytes(b"CDF")
    found = repair_recording(tmp_path / "run.nc")
    assert found.aside == (tmp_path / "run.nc.broken",)
    assert xr.load_dataset(found.path).sizes["iteration"] == 7
    assert store.segments() == []


def test_a_broken_closed_file_may_have_any_name(tmp_path):
    live(tmp_path / "r50-b8192-s0")
    (tmp_path / "r50-b8192-s0.nc").write_bytes(b"CDF")
    assert repair_recording(tmp_path / "r50-b8192-s0").records == 7


def test_an_interrupted_repair_is_finished_by_the_next(tmp_path, monkeypatch):
    """The hole is told of although the broken segment was set aside before."""
    store = live(tmp_path / "run")
    spoil(store.segments()[1], "one bit")

    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(SegmentStore, "compact", full)
        repair_recording(tmp_path / "run")
    found = repair_recording(tmp_path / "run")
    assert (
        found.faults[-1] == "no records after iteration 0 and before 9: their files were set aside"
    )
    assert json.loads(xr.load_dataset(found.path).attrs["gaps"]) == [[0, 9]]
    assert not repair_recording(tmp_path / "run").rebuilt


def test_a_second_repair_remembers_the_holes_of_the_first(tmp_path):
    """And forgets those that were recorded again."""
    store = live(tmp_path / "run")
    spoil(store.segments()[1], "one bit")
    spoil(store.segments()[2], "one bit")
    path = repair_recording(tmp_path / "run").path
    assert json.loads(xr.load_dataset(path).attrs["gaps"]) == [[0, 15]]
    told = {"gaps": "[[0, 15]]"}
    for first, expected in [(15, [[0, 15], [16, 18]]), (0, [[5, 12]])]:
        store.open(resume=True)
        store.cut(first)
        for part in [(16,), (17,), (18,)] if first else [(1, 2, 5), (9,), (12, 15, 16, 17)]:
            store.write(records(*part).assign_attrs(told))
        store.lease.release()
        spoil(store.segments()[2], "one bit")
        found = repair_recording(tmp_path / "run")
        assert json.loads(xr.load_dataset(found.path).attrs["gaps"]) == expected


def test_nothing_sound_changes_nothing(tmp_path):
    store = live(tmp_path / "run", (0,))
    spoil(store.segments()[0], "one bit")
    with pytest.raises(RecordError, match="no part is sound; segment-000000000000.nc: is damaged"):
        repair_recording(tmp_path / "run")
    assert set(os.listdir(tmp_path / "run")) == {"segment-000000000000.nc", "reached-000000000000"}
    with pytest.raises(FileNotFoundError, match="found no recording at"):
        repair_recording(tmp_path / "other")


def test_a_recording_that_is_being_written_is_left_alone(tmp_path):
    store = live(tmp_path / "run")
    store.lease.acquire()
    with pytest.raises(FileExistsError, match="records at"):
        repair_recording(tmp_path / "run")


def chained(path, *parts):
    """A live folder whose segments tell which record they follow."""
    store, last = SegmentStore(path), -1
    store.open()
    for part in parts:
        store.write(records(*part).assign_attrs({FOLLOWS: last}))
        last = part[-1]
    store.lease.release()
    return store


@pytest.mark.parametrize(
    ("gone", "gaps"), [((1,), [[0, 9]]), ((0,), [[-1, 1]]), ((0, 2), [[-1, 1], [5, 15]])]
)
def test_a_segment_that_is_missing_is_told(tmp_path, gone, gaps):
    store = chained(tmp_path / "run", (0,), (1, 2, 5), (9, 12), (15,))
    segments = store.segments()
    assert "gaps" not in store.read().attrs
    for index in gone:
        segments[index].unlink()
    assert json.loads(store.read().attrs["gaps"]) == gaps
    found = repair_recording(tmp_path / "run")
    assert sum("their segments are missing" in fault for fault in found.faults) == len(gaps)
    closed = xr.load_dataset(found.path)
    assert json.loads(closed.attrs["gaps"]) == gaps
    assert FOLLOWS not in closed.attrs


@pytest.mark.parametrize(("gone", "gaps"), [((3,), [[12, None]]), ((1, 2, 3), [[0, None]])])
def test_a_missing_end_is_told_and_stops_nobody(tmp_path, gone, gaps):
    store = chained(tmp_path / "run", (0,), (1, 2, 5), (9, 12), (15,))
    assert "gaps" not in load(tmp_path / "run")["x"].attrs
    segments = store.segments()
    for index in gone:
        segments[index].unlink()
    live = load(tmp_path / "run")["x"]
    assert json.loads(live.attrs["gaps"]) == gaps
    assert live.sizes["iteration"] == {1: 6, 3: 1}[len(gone)]
    assert not has_holes(live.attrs)  # of what there is, all is known
    found = repair_recording(tmp_path / "run")
    assert [fault for fault in found.faults if "initial weights" not in fault] == [
        f"no records after iteration {gaps[0][0]}: their segments are missing"
    ]
    assert json.loads(load(found.path)["x"].attrs["gaps"]) == gaps
    assert os.listdir(tmp_path) == ["run.nc"]


def test_a_close_tells_of_a_missing_end(tmp_path):
    store = chained(tmp_path / "run", (0,), (1, 2, 5), (9, 12))
    store.segments()[-1].unlink()
    store.open(resume=True)
    assert json.loads(xr.load_dataset(store.compact()).attrs["gaps"]) == [[5, None]]


@pytest.mark.parametrize("gone", ["reached", "cut", "written again", "behind"])
def test_no_end_is_missed_that_is_there(tmp_path, gone):
    """What tells of the end may be lost, or be older than the records; cut off is not missing."""
    store = chained(tmp_path / "run", (0,), (1, 2, 5), (9, 12))
    (told,) = reach_files(store.folder)
    assert told.name == "reached-000000000012"
    if gone == "reached":
        told.unlink()
    elif gone == "behind":
        told.rename(told.with_name("reached-000000000005"))
    else:
        store.cut(5)
        assert not reach_files(store.folder)
    if gone == "written again":
        store.write(records(6))
        assert [one.name for one in reach_files(store.folder)] == ["reached-000000000006"]
    assert "gaps" not in load(tmp_path / "run")["x"].attrs


def test_one_is_told_beside_a_broken_one_and_what_was_lost_before(tmp_path):
    store = chained(tmp_path / "run", (0,), (1, 2, 5), (9, 12), (15,), (20,))
    segments = store.segments()
    segments[1].unlink()
    spoil(segments[3], "truncated")
    repair_recording(tmp_path / "run")
    closed = xr.load_dataset(tmp_path / "run.nc")
    assert sorted(json.loads(closed.attrs["gaps"])) == [[0, 9], [12, 20]]
