import shutil
import time

import numpy as np
import pytest
import xarray as xr

import ultraslow as us
from ultraslow.analysis.cli.live import follow
from ultraslow.analysis.cli.live.follow import Followed, Watched, summed
from ultraslow.analysis.runs import total_distance
from ultraslow.diffusion.recording import write_file


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that are read, one after the other."""
    names = []

    def read(path):
        names.append(path.name)
        return of_file(path)

    of_file = follow.read_file
    monkeypatch.setattr(follow, "read_file", read)
    return names


def same_as_loaded(sight):
    whole = us.load(sight.path).children.values()
    (run,) = (node.to_dataset() for node in whole)
    np.testing.assert_array_equal(total_distance(sight.records), total_distance(run))
    for name in ("iteration", "loss", "learning_rate", "noise_updates"):
        np.testing.assert_array_equal(sight.records[name], run[name])
    trace = run["noise_trace"].sum("tensor", skipna=False)
    np.testing.assert_allclose(sight.records["noise_trace"].isel(tensor=0), trace, rtol=1e-14)
    assert sight.records.sizes["tensor"] == 1
    assert int(sight.records["tensor_size"].sum()) == int(run["tensor_size"].sum())


def test_segments_are_read_once_and_join_to_what_load_gives(writer, reads):
    live = writer().lease()
    followed = Followed(live.folder)
    assert followed.look().records is None
    for start in range(0, 60, 20):
        live.put(start, start + 20)
        reads.clear()
        sight = followed.look()
        assert len(reads) == 1
        assert sight.state == "live"
        assert not sight.fault
        same_as_loaded(sight)
    reads.clear()
    assert followed.look().records is sight.records
    assert not reads


def test_what_is_written_anew_is_read_anew(writer, reads):
    """A run that goes on from an earlier iteration takes the records after it away."""
    live = writer().lease()
    paths = [live.put(start, start + 10) for start in range(0, 50, 10)]
    followed = Followed(live.folder)
    followed.look()
    for path in paths[3:]:
        path.unlink()
    live.run = live.run.assign(loss=live.run["loss"] * 2)
    write_file(live.run.isel(iteration=slice(20, 25)), paths[2])
    reads.clear()
    sight = followed.look()
    assert reads == [paths[2].name]
    same_as_loaded(sight)
    live.put(25, 40)
    same_as_loaded(followed.look())


def test_a_run_is_followed_into_its_closed_file(writer):
    live = writer().lease()
    live.put(0, 30)
    watched = Watched([str(live.folder)])
    assert [sight.state for sight in watched.look()] == ["live"]
    file = live.close()
    (sight,) = watched.look()
    assert (sight.state, sight.path, sight.ended) == ("closed", file, True)
    same_as_loaded(sight)


def test_runs_that_come_later_are_found(writer, tmp_path):
    watched = Watched([str(tmp_path / "runs")])
    assert list(watched.look()) == []
    for name in ("a", "b"):
        writer(f"runs/{name}").put(0, 5)
    assert [sight.path.name for sight in watched.look()] == ["a", "b"]


def test_a_condition_chooses_among_runs(writer, tmp_path):
    for seed in range(3):
        writer(f"runs/{seed}", seed=seed).put(0, 5)
    begun = writer("runs/new").lease()
    paths = [str(tmp_path / "runs"), str(begun.folder)]
    found = Watched(paths, "seed >= 1").look()
    assert [sight.path.name for sight in found] == ["1", "2", "new"]


def test_a_folder_in_which_nothing_is_written_yet(writer):
    live = writer().lease()
    (sight,) = Watched([str(live.folder)]).look()
    assert (sight.state, sight.records, sight.ended) == ("live", None, False)


def test_what_vanishes_keeps_its_last_records(writer):
    live = writer().lease()
    live.put(0, 20)
    watched = Watched([str(live.folder)])
    assert next(watched.look()).state == "live"
    shutil.rmtree(live.folder)
    (sight,) = watched.look()
    assert (sight.state, sight.records.sizes["iteration"]) == ("vanished", 20)
    live.lease().put(0, 10)  # and it may come back
    (sight,) = watched.look()
    assert (sight.state, sight.records.sizes["iteration"]) == ("live", 10)


def test_a_last_segment_on_its_way_is_no_fault(writer, monkeypatch):
    live = writer().lease()
    live.put(0, 20)
    followed = Followed(live.folder)
    path = live.put(20, 40)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    sight = followed.look()
    assert (sight.fault, sight.records.sizes["iteration"]) == ("", 20)
    path.write_bytes(whole)
    sight = followed.look()
    assert (sight.fault, sight.records.sizes["iteration"]) == ("", 40)
    path = live.put(40, 50)
    path.write_bytes(b"")
    monkeypatch.setattr(follow, "PATIENCE", 0.05)
    followed.look()
    time.sleep(0.1)
    last = int(live.run["iteration"][39])
    told = f"{path.name} has zero bytes; records after iteration {last} are not shown"
    assert followed.look().fault == told


def test_a_broken_segment_amid_others_is_told_at_once(writer):
    live = writer().lease()
    paths = [live.put(start, start + 10) for start in (0, 10, 20)]
    paths[1].write_bytes(paths[1].read_bytes()[:-1] + b"x")
    sight = Followed(live.folder).look()
    assert sight.records.sizes["iteration"] == 10
    assert "its bytes do not fit its checksum; records after iteration 9" in sight.fault


def test_killed_and_left(writer, dead):
    live = writer()
    live.put(0, 10)
    assert Followed(live.folder).look().state == "left"
    live.lease(pid=dead, flush_seconds=30.0)
    sight = Followed(live.folder).look()
    assert (sight.state, sight.owner.pid, sight.ended) == ("killed", dead, True)
    assert "257 updates of its last 30 s" in sight.lost
    live.lease(machine="another", host="gpu17")
    sight = Followed(live.folder).look()
    assert (sight.state, sight.ended) == ("live on gpu17?", False)


def test_sums_hold_nothing_that_is_not_watched(make):
    run = make(last=100)
    sketch = np.zeros((run.sizes["iteration"], 64))
    found = summed(run.assign(sketch=(("iteration", "component"), sketch)))
    assert set(found.sizes) == {"iteration", "tensor"}
    unknown = run["distance_sq"].copy()
    unknown[-1, 0] = np.nan
    assert np.isnan(summed(run.assign(distance_sq=unknown))["distance_sq"].values[-1, 0])
    assert isinstance(found, xr.Dataset)
