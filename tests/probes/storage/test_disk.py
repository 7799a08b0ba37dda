"""What is asked of a disk, and a disk that turns read-only."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from faults import run

from ultraslow.probes.storage.segments import SegmentStore

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "src"
RECORD = """
import sys
sys.path[:0] = [{tests!r}, {source!r}]
from every_field import PARTS, every_field
from ultraslow.analysis.runs.load import load
from ultraslow.probes.storage.segments import SegmentStore
store = SegmentStore(sys.argv[1])
store.open()
for part in PARTS:
    store.write(every_field(*part))
load(sys.argv[1])
store.cut(9)
store.compact()
store.open(resume=True)
store.cut(5)
store.compact()
load(sys.argv[1])
"""
# Calls that a network file system may refuse or that other machines may not see in order.
DOUBTFUL = ("flock", "mmap", "truncate", "ftruncate", "fallocate", "link", "symlink", "pwrite64")


def test_only_what_a_network_file_system_can_do_is_asked_of_a_disk(tmp_path):
    """No lock, no map, no append and no seek: whole files are written, synced and renamed."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    script = RECORD.format(tests=str(HERE.parent), source=str(SOURCE))
    log, folder = tmp_path / "log", tmp_path / "disk" / "run"
    folder.parent.mkdir()
    command = ["strace", "-f", "-y", "-s", "300", "-e", "trace=file,desc", "-o", str(log)]
    done = subprocess.run([*command, sys.executable, "-c", script, folder], capture_output=True)
    if b"PTRACE" in done.stderr or b"ptrace" in done.stderr:
        pytest.skip("tracing needs privileges")
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    calls = [line.split(maxsplit=1)[1] for line in log.read_text().splitlines()]
    ours = [call for call in calls if str(folder.parent) in call]
    names = {call.partition("(")[0] for call in ours}
    assert {"openat", "write", "fsync", "rename"} <= names
    assert not names & set(DOUBTFUL)
    assert not [call for call in ours if call.startswith("fcntl") and "LK" in call]
    writing = [call for call in ours if re.search(r"O_WRONLY|O_RDWR", call)]
    assert all("O_EXCL" in call and "O_APPEND" not in call for call in writing)
    # Every rename of a file that was just written comes after its sync.
    for index, call in enumerate(ours):
        if call.startswith("rename(") and ".tmp" in call:
            source = call.split('"')[1]
            assert any(c.startswith("fsync") and source in c for c in ours[:index])


def remount(folder, mode):
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)


def test_a_disk_that_turns_read_only_stops_nothing(small_disk):  # noqa: F811
    """As the kernel does to a disk with errors; records wait and are written afterwards."""
    recorder, train = run(small_disk / "run")
    train(1, 7)
    remount(small_disk, "ro")
    try:
        with pytest.warns(RuntimeWarning, match="could not write .*Read-only file system") as told:
            train(7, 12)
        assert len(told) == 1
    finally:
        remount(small_disk, "rw")
    train(12, 14)
    closed = xr.load_dataset(recorder.close(), decode_timedelta=False)
    assert closed["iteration"].values.tolist() == list(range(14))


def test_a_disk_that_stays_read_only_leaves_what_was_written(small_disk):  # noqa: F811
    recorder, train = run(small_disk / "run")
    train(1, 7)
    remount(small_disk, "ro")
    try:
        with pytest.warns(RuntimeWarning) as told:
            train(7, 9)
            assert recorder.close() == small_disk / "run"
    finally:
        remount(small_disk, "rw")
    assert "was left live" in str(told[-1].message)
    records = SegmentStore(small_disk / "run").read()
    assert records["iteration"].values.tolist() == list(range(6))
