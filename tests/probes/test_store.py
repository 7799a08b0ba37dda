import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

from diffusion.recording import check, pack
from probes.store import SegmentStore, join


def records(*iterations):
    count = len(iterations)
    ones = np.ones((count, 2))
    return xr.Dataset.from_dict(
        pack(
            {
                "iteration": iterations,
                "tensor": ["a", "b"],
                "tensor_size": [1, 2],
                "distance_sq": ones * np.array(iterations)[:, None],
                "weight_sq": ones,
                "overlap": ones,
                "samples": np.array(iterations, float),
                "run": "x",
                "batch_size": 8,
            }
        )
    )


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
    joined = join([records(0), records(1)])
    assert joined["tensor_size"].dims == ("tensor",)
    assert joined["batch_size"].dims == ()


WRITER = """
import sys
sys.path[:0] = [{tests!r}]
from test_store import SegmentStore, records
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
        script = WRITER.format(tests=os.path.dirname(__file__))
        path = tmp_path / f"run{attempt}"
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            acknowledged = process.stdout.read().split()
        found = [int(xr.load_dataset(part)["iteration"]) for part in SegmentStore(path).segments()]
        assert found == list(range(len(found)))
        assert len(acknowledged) <= len(found) <= len(acknowledged) + 1
