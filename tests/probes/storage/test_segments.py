import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from every_field import ALL, PARTS, every_field
from hypothesis import HealthCheck, given, settings, strategies as st
from records import records

from ultraslow.diffusion.recording import disk, join_segments, netcdf, read_file
from ultraslow.diffusion.recording.contract import check
from ultraslow.diffusion.recording.errors import RecordError
from ultraslow.diffusion.recording.lease import TakenOver
from ultraslow.probes.storage import segments as store_module
from ultraslow.probes.storage.segments import SegmentStore


def test_segments_join_to_one_file_with_all_records(tmp_path):
    store = SegmentStore(tmp_path / "deep" / "run")
    store.open()
    for iterations in [(0,), (1, 2, 5), (9,)]:
        store.write(records(*iterations))
    assert [path.name for path in store.segments()] == [
        "segment-000000000000.nc",
        "segment-000000000001.nc",
        "segment-000000000009.nc",
    ]
    closed = xr.load_dataset(store.compact())
    check(closed)
    xr.testing.assert_identical(closed, records(0, 1, 2, 5, 9))
    assert os.listdir(tmp_path / "deep") == ["run.nc"]


def test_records_that_fill_no_readable_file_stay_in_their_segments(tmp_path, monkeypatch):
    store = SegmentStore(tmp_path / "run")
    store.open()
    for part in [range(50), range(50, 100)]:
        store.write(records(*part))
    largest = max(segment.stat().st_size for segment in store.segments())
    monkeypatch.setattr(netcdf, "MEMORY_LIMIT", largest)
    with pytest.raises(OSError, match="one file of all records has .* GiB, at most"):
        store.compact()
    assert not store.file.exists()
    assert store.read().sizes["iteration"] == 100


def test_a_new_folder_is_on_disk_itself(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    SegmentStore(tmp_path / "study" / "arm" / "run").open()
    assert synced == [tmp_path, tmp_path / "study", tmp_path / "study" / "arm"]


def test_other_files_in_the_folder_stay(tmp_path):
    store = SegmentStore(tmp_path / "run")
    store.open()
    store.write(records(0))
    (tmp_path / "run" / "notes.txt").write_text("mine")
    store.compact()
    assert os.listdir(tmp_path / "run") == ["notes.txt"]


def test_the_suffix_is_optional(tmp_path):
    assert SegmentStore(tmp_path / "run.nc").folder == SegmentStore(tmp_path / "run").folder
    assert SegmentStore(tmp_path / "lr0.1").file == tmp_path / "lr0.1.nc"


def test_an_existing_recording_is_never_overwritten(tmp_path):
    store = SegmentStore(tmp_path / "run")
    store.open()
    written = store.write(records(0))
    with pytest.raises(FileExistsError, match=f"this process records at {store.folder} already"):
        SegmentStore(tmp_path / "run").open()
    store.lease.release()
    with pytest.raises(FileExistsError, match=str(written)):
        SegmentStore(tmp_path / "run").open()
    store.compact()
    with pytest.raises(FileExistsError, match=r"run\.nc"):
        SegmentStore(tmp_path / "run").open()


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    store = SegmentStore(tmp_path / "run")
    store.open()
    broken = records(0).assign(loss=("iteration", np.array([object()])))
    with pytest.raises((TypeError, ValueError)):
        store.write(broken)
    assert os.listdir(tmp_path / "run") == ["lease.json"]


def test_join_keeps_static_variables_static():
    joined = join_segments([records(0), records(1)])
    assert joined["tensor_size"].dims == ("tensor",)
    assert joined["batch_size"].dims == ()


def everything(path):
    """A live recording with all declared fields."""
    store = SegmentStore(path)
    store.open()
    for part in PARTS:
        store.write(every_field(*part))
    return store


def test_every_field_survives_joining_cutting_and_closing(tmp_path):
    store = everything(tmp_path / "run")
    xr.testing.assert_identical(store.read(), every_field(*ALL))
    store.cut(9)
    xr.testing.assert_identical(store.read(), every_field(0, 1, 2, 5, 7, 9))
    store.write(every_field(10, 15))
    whole = every_field(0, 1, 2, 5, 7, 9, 10, 15)
    xr.testing.assert_identical(read_file(store.compact())[0], whole)
    again = SegmentStore(tmp_path / "run")
    again.open(resume=True)
    again.cut(7)
    xr.testing.assert_identical(again.read(), every_field(0, 1, 2, 5, 7))


def test_plain_xarray_opens_every_field_of_a_live_folder(tmp_path):
    store = everything(tmp_path / "run")
    with xr.open_mfdataset(str(store.folder / "segment-*.nc"), decode_timedelta=False) as live:
        xr.testing.assert_equal(live.load(), every_field(*ALL))


def test_segments_with_other_axes_are_refused_by_name():
    for axis in ("metric", "ensemble", "radius", "direction", "fraction"):
        other = every_field(5, 7)
        values = other[axis].values
        values = [f"{value}." for value in values] if values.dtype.kind == "U" else values + 1
        with pytest.raises(RecordError, match=f"iteration 5 has other values of {axis}"):
            join_segments([every_field(0, 1), other.assign_coords({axis: values})], "run")


def test_a_writer_that_lost_its_lease_meanwhile_replaces_nothing(tmp_path, monkeypatch):
    """It was asleep between making the bytes and renaming, while another took over and wrote."""
    first, second = SegmentStore(tmp_path / "run"), SegmentStore(tmp_path / "run")
    first.open()
    first.write(every_field(0, 1))

    def slow(content, to_bytes=store_module.to_bytes):
        monkeypatch.undo()
        first.lease.path.unlink()
        second.open(resume=True)
        second.write(every_field(2, 5))
        return to_bytes(content)

    monkeypatch.setattr(store_module, "to_bytes", slow)
    with pytest.raises(TakenOver):
        first.write(every_field(2, 7))
    xr.testing.assert_identical(second.read(), every_field(0, 1, 2, 5))
    assert not list(second.folder.glob(".*"))


def test_what_a_killed_writer_left_half_written_goes_and_nothing_else(tmp_path):
    store = everything(tmp_path / "run[1]")
    left = [
        store.folder / ".segment-000000000020.nc.0123.tmp",
        tmp_path / ".run[1].nc.4567.tmp",
    ]
    others = [tmp_path / ".run1.nc.4567.tmp", store.folder / ".notes.tmp"]
    for path in (*left, *others):
        path.write_bytes(b"half")
    store.cut(9)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in others)


class Stopped(Exception):
    """The process ends here."""


CALLS = [(os, "replace"), (os, "fsync"), (os, "rename"), (Path, "unlink"), (Path, "rmdir")]


def stopped_at(monkeypatch, call, action):
    """Run an action until its k-th change of the disk, which does not happen; whether it did."""
    count = 0

    def counting(real):
        def change(*arguments, **options):
            nonlocal count
            count += 1
            if count >= call:  # whatever would clean up after a crash does not run either
                raise Stopped
            return real(*arguments, **options)

        return change

    with monkeypatch.context() as patch:
        for owner, name in CALLS:
            patch.setattr(owner, name, counting(getattr(owner, name)))
        try:
            action()
        except Stopped:
            return True
    return False


def on_disk(path):
    return SegmentStore(path).read()["iteration"].values.tolist()


def live(path):
    store = SegmentStore(path)
    store.open()
    for iterations in [(0,), (1, 2, 5), (9,)]:
        store.write(records(*iterations))
    return store


def test_a_crash_anywhere_in_closing_loses_nothing_and_closing_again_finishes(
    tmp_path, monkeypatch
):
    call, stopped = 0, True
    while stopped:
        call += 1
        path = tmp_path / f"run{call}"
        store = live(path)
        stopped = stopped_at(monkeypatch, call, store.compact)
        assert on_disk(path) == [0, 1, 2, 5, 9]
        SegmentStore(path).compact()
        xr.testing.assert_identical(xr.load_dataset(f"{path}.nc"), records(0, 1, 2, 5, 9))
        assert SegmentStore(path).segments() == []
    assert call > 6  # sync and rename of the file, sync of the folder, three segments, the lease


@pytest.mark.parametrize("closed", [False, True])
def test_a_crash_anywhere_in_resuming_keeps_all_records_that_are_to_be_kept(
    tmp_path, monkeypatch, closed
):
    call, stopped = 0, True
    while stopped:
        call += 1
        path = tmp_path / f"run{call}"
        store = live(path)
        if closed:
            store.compact()
            SegmentStore(path).open(resume=True)
        stopped = stopped_at(monkeypatch, call, lambda store=store: store.cut(2))
        found = on_disk(path)
        assert found[:3] == [0, 1, 2]
        assert found == [0, 1, 2, 5, 9][: len(found)]
        again = SegmentStore(path)
        again.cut(2)
        again.write(records(3))
        assert on_disk(path) == [0, 1, 2, 3]
        again.compact()
        assert on_disk(path) == [0, 1, 2, 3]
    assert call > 3


def test_a_crash_within_closing_is_finished_by_resuming(tmp_path, monkeypatch):
    """The closed file is there and so are some segments."""
    store = live(tmp_path / "run")
    assert stopped_at(monkeypatch, 4, store.compact)
    assert store.file.exists()
    assert len(store.segments()) == 3
    store.cut(9)
    assert [file.name for file in store.segments()] == ["segment-000000000000.nc"]
    assert on_disk(tmp_path / "run") == [0, 1, 2, 5, 9]


def test_two_recordings_under_one_name_are_not_merged(tmp_path):
    store = live(tmp_path / "run")
    records(0, 1).to_netcdf(tmp_path / "run.nc")
    with pytest.raises(FileExistsError, match="holds iteration 2, which .* does not"):
        store.compact()
    assert len(store.segments()) == 3


def test_segments_that_do_not_follow_one_another_are_refused():
    other = records(3).assign_coords(tensor=["a", "c"])
    for second, fault in [
        (records(0, 3), "segments overlap: one ends at iteration 1, the next starts at 0"),
        (other, "the segment that starts at iteration 3 has other values of tensor"),
        (records(3).drop_vars("samples"), r"iteration 3 differs in having \['samples'\]"),
    ]:
        with pytest.raises(RecordError, match=fault):
            join_segments([records(0, 1), second], "run")


def test_other_programs_read_a_sealed_file_and_write_it_anew(tmp_path):
    store = live(tmp_path / "run")
    file = store.compact()
    with netCDF4.Dataset(file) as plain:
        assert plain["iteration"][:].tolist() == [0, 1, 2, 5, 9]
    with xr.open_dataset(file) as plain:
        plain.assign_attrs(comment="x" * 70_000).to_netcdf(tmp_path / "other.nc")
    found = read_file(tmp_path / "other.nc")[0]
    assert found.attrs.pop("comment") == "x" * 70_000
    xr.testing.assert_identical(found, records(0, 1, 2, 5, 9))


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(data=st.data())
def test_any_damage_is_an_error_or_harmless(tmp_path, data):
    """Bytes are flipped, cut off, inserted or repeated anywhere in a closed file."""
    path = tmp_path / "whole.nc"
    if not path.exists():
        everything(tmp_path / "run").compact().rename(path)
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content) - 1))
    stop = data.draw(st.integers(start, min(start + 600, len(content))))
    new = data.draw(st.binary(max_size=40))
    damaged = tmp_path / "damaged.nc"
    damaged.write_bytes(content[:start] + new + content[stop:])
    try:
        found = read_file(damaged)[0]
    except RecordError as error:
        assert error.source == str(damaged)
    else:
        xr.testing.assert_identical(found, read_file(path)[0])


@pytest.mark.parametrize("closed", [False, True])
def test_conventions_are_kept(tmp_path, closed):
    """A checker of the CF conventions, where it is installed, finds no error."""
    runner = pytest.importorskip("compliance_checker.runner")
    runner.CheckSuite.load_all_available_checkers()
    store = SegmentStore(tmp_path / "run")
    store.open()
    segment = store.write(records(1, 2).assign_attrs(title="A run", history="recorded"))
    file = store.compact() if closed else segment
    # The second answer tells that one of its checks broke down: at `tensor`, a dimension of names.
    passed, _ = runner.ComplianceChecker.run_checker(
        str(file), ["cf:1.11"], verbose=0, criteria="strict", output_filename=str(tmp_path / "o")
    )
    assert passed, (tmp_path / "o").read_text()


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from records import records
from ultraslow.probes.storage.segments import SegmentStore
store = SegmentStore(sys.argv[1])
store.open()
print("ready", flush=True)
for iteration in range(10_000):
    store.write(records(iteration))
    print(iteration, flush=True)
"""


def test_killed_while_writing_every_segment_is_whole(tmp_path):
    """SIGKILL at three moments: what was acknowledged is there, and everything there can be
    read."""
    for attempt, delay in enumerate((0.05, 0.11, 0.23)):
        script = WRITER.format(tests=str(Path(__file__).parents[1]))
        path = tmp_path / f"run{attempt}"
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "ready\n"
            acknowledged = [process.stdout.readline()]  # the first takes longer than all delays
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            acknowledged += process.stdout.read().split()
        parts = [xr.load_dataset(part) for part in SegmentStore(path).segments()]
        found = [part["iteration"].item() for part in parts]
        assert found == list(range(len(found)))
        assert len(acknowledged) <= len(found) <= len(acknowledged) + 1
