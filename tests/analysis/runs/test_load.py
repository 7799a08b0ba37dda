import hashlib
import json
import os
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.runs import load as reader
from ultraslow.analysis.runs.load import (
    absence,
    load,
    read,
    recordings_at,
    unusable,
)
from ultraslow.diffusion.recording.errors import RecordError
from ultraslow.diffusion.recording.lease import this_process
from ultraslow.diffusion.recording.netcdf import closed_file, segments_of


def segment(dataset, folder, start, stop):
    """Write records start ≤ k < stop as a segment and return its path."""
    part = dataset.isel(iteration=slice(start, stop))
    folder.mkdir(exist_ok=True)
    path = folder / f"segment-{int(part['iteration'][0]):012d}.nc"
    part.to_netcdf(path, engine="netcdf4")
    return path


def test_a_file_comes_back_as_it_was_written(save, make):
    runs = load(save("a", seed=3))
    xr.testing.assert_equal(runs["a"].to_dataset(), make(run="a", seed=3))
    assert runs["a"].attrs["state"] == "closed"
    assert len(runs["a"].attrs["sha256"]) == 64
    assert unusable(runs) == ()


@pytest.mark.parametrize("form", ["folder", "glob", "list", "nested", "without suffix", "twice"])
def test_every_way_of_naming_paths_finds_the_same_runs(save, tmp_path, form):
    a, b = save("a", tmp_path / "sweep"), save("b", tmp_path / "sweep")
    paths = {
        "folder": tmp_path / "sweep",
        "glob": str(tmp_path / "sweep" / "*.nc"),
        "list": [a, str(b)],
        "nested": tmp_path,
        "without suffix": [a.with_suffix(""), b.with_suffix("")],
        "twice": [a, tmp_path, b],
    }
    assert sorted(load(paths[form]).children) == ["a", "b"]


def test_segments_of_a_live_run_join_to_the_whole(make, tmp_path):
    whole = make(run="live")
    for start in range(0, whole.sizes["iteration"], 40):
        segment(whole, tmp_path / "live", start, start + 40)
    node = load(tmp_path)["live"]
    xr.testing.assert_equal(node.to_dataset(), whole)
    assert node.attrs["state"] == "left"


def test_what_goes_on_in_a_live_folder_is_told(make, tmp_path):
    """Left without a lease, live while its process lives, killed when that is gone."""
    last = segment(make(run="live"), tmp_path / "live", 0, 40)
    os.utime(last, (0, 951827696))  # 2000-02-29 12:34:56 UTC
    owner = this_process("token")
    for lease, state in [
        (None, "left"),
        (owner, "live"),
        (replace(owner, started="1"), "killed"),
        (replace(owner, host="gpu7", machine="another"), "live on gpu7?"),
    ]:
        if lease is not None:
            (tmp_path / "live" / "lease.json").write_text(json.dumps(asdict(lease)))
        attributes = load(tmp_path)["live"].attrs
        assert attributes["state"] == state
        assert attributes["written"] == "2000-02-29T12:34:56+00:00"


def test_attributes_are_those_of_the_last_segment(make, tmp_path):
    """Which knows of resumptions; the store joins segments by the same rule."""
    whole = make(run="live")
    segment(whole.assign_attrs(history="begun"), tmp_path / "live", 0, 40)
    segment(whole.assign_attrs(history="resumed", resumed="[]"), tmp_path / "live", 40, 80)
    attributes = load(tmp_path)["live"].attrs
    assert (attributes["history"], attributes["resumed"]) == ("resumed", "[]")


def test_hashes_are_of_the_bytes(save, make, tmp_path):
    path = save("a")
    assert load(path)["a"].attrs["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    parts = [segment(make(run="live"), tmp_path / "live", k, k + 40) for k in (0, 40)]
    digests = [hashlib.sha256(part.read_bytes()).hexdigest() for part in parts]
    expected = hashlib.sha256("".join(digests).encode()).hexdigest()
    assert load(tmp_path / "live")["live"].attrs["sha256"] == expected


@pytest.mark.parametrize("change", ["closed", "resumed"])
def test_a_run_that_moves_its_files_meanwhile_is_read_where_they_are_then(
    make, tmp_path, monkeypatch, change
):
    """Closing writes the file and removes the segments; resuming makes the file a segment."""
    whole, folder, file = make(run="run"), tmp_path / "run", tmp_path / "run.nc"
    parts = [segment(whole, folder, k, k + 40) for k in (0, 40)]
    if change == "resumed":
        whole.to_netcdf(file)
        for part in parts:
            part.unlink()

    def moving(path, read_file=reader.read_file):
        monkeypatch.undo()
        if change == "closed":
            whole.to_netcdf(file)
            for part in parts:
                part.unlink()
        else:
            file.rename(parts[0])
        return read_file(path)

    monkeypatch.setattr(reader, "read_file", moving)
    found, left_out = read(folder if change == "closed" else file)
    xr.testing.assert_equal(found, whole)
    assert left_out == ()
    assert found.attrs["state"] == ("closed" if change == "closed" else "left")


def test_a_closed_recording_wins_over_its_segments(make, save, tmp_path):
    segment(make(run="a"), tmp_path / "a", 0, 10)
    save("a")
    for paths in (tmp_path, tmp_path / "a", tmp_path / "a.nc", [tmp_path / "a", tmp_path]):
        runs = load(paths)
        assert [node.attrs["state"] for node in runs.children.values()] == ["closed"]


def test_the_folder_of_a_closed_run_may_hold_other_files(save, tmp_path):
    save("a")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "w0.safetensors").write_bytes(b"\0" * 8)
    assert unusable(load(tmp_path)) == ()


@pytest.mark.filterwarnings("ignore:not used")
def test_segments_before_a_broken_one_are_read_and_the_rest_is_listed(make, tmp_path):
    whole = make(run="live")
    segment(whole, tmp_path / "live", 0, 30)
    broken = segment(whole, tmp_path / "live", 30, 60)
    last = segment(whole, tmp_path / "live", 60, 90)
    os.truncate(broken, 0)
    runs = load(tmp_path)
    assert runs["live"].sizes["iteration"] == 30
    assert [item.source for item in unusable(runs)] == [str(broken), str(last)]
    assert unusable(runs)[0].faults == ("has zero bytes",)


@pytest.mark.parametrize(
    ("first", "second", "fault"),
    [
        ((0, 20), (10, 30), "segments overlap: one ends at iteration 21, the next starts at 10"),
        ((0, 20), (20, 30), "has other values of tensor"),
    ],
)
def test_segments_that_do_not_fit_are_refused(make, tmp_path, first, second, fault):
    whole = make(run="live")
    segment(whole, tmp_path / "live", *first)
    if "tensor" in fault:
        whole = whole.assign_coords(tensor=["x", "y", "z"])
    segment(whole, tmp_path / "live", *second)
    with pytest.raises(RecordError, match=fault):
        load(tmp_path / "live")


def _text(path):
    path.write_text("iteration,distance\n0,0\n")


def _other_netcdf(path):
    xr.Dataset({"temperature": ("x", [1.0])}).to_netcdf(path)


def _newer_schema(path):
    with netCDF4.Dataset(path, "a") as file:
        file.setncattr("schema", 2)


def _cut_off(path):
    os.truncate(path, path.stat().st_size // 2)


def _pickled(path):
    path.write_bytes(pickle.dumps({"schema": 1}))


def _huge(path):
    with netCDF4.Dataset(path, "w") as file:
        file.setncattr("schema", 1)
        file.createDimension("iteration", 2**40)
        file.createDimension("tensor", 2**20)
        file.createVariable("iteration", "i8", ("iteration",), chunksizes=(1024,))
        file.createVariable("distance_sq", "f8", ("iteration", "tensor"), chunksizes=(1024, 1))


FAULTS = {
    "text": (_text, "is not a NetCDF file"),
    "other NetCDF": (_other_netcdf, "attribute schema is missing: this is not a recording"),
    "newer schema": (_newer_schema, "schema version '2', this version reads 1"),
    "cut off": (_cut_off, "damaged or cut-off NetCDF file"),
    "empty": (lambda path: os.truncate(path, 0), "has zero bytes"),
    "pickle": (_pickled, "is not a NetCDF file"),
    "huge": (_huge, "the largest is 'distance_sq'"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_an_unusable_file_is_named_with_its_fault_and_the_others_load(save, tmp_path, case):
    spoil, fault = FAULTS[case]
    save("good")
    bad = save("bad")
    spoil(bad)
    with pytest.warns(UserWarning, match=r"^not used: .*bad\.nc: "):
        runs = load(tmp_path)
    assert list(runs.children) == ["good"]
    (item,) = unusable(runs)
    assert item.source == str(bad)
    assert fault in item.faults[0]
    with pytest.raises(RecordError, match=r"bad\.nc"):
        load(bad)


def test_a_file_cut_at_any_place_is_refused_or_reads_the_same(save, make, tmp_path):
    path = save("a", last=100)
    content = path.read_bytes()
    for share in np.linspace(0.01, 0.99, 25):
        path.write_bytes(content[: int(share * len(content))])
        try:
            dataset, _ = read(path)
        except RecordError as error:
            assert error.source == str(path)
        else:
            xr.testing.assert_equal(dataset, make(run="a", last=100))


def test_when_nothing_is_usable_all_faults_are_told(save, tmp_path):
    save("a")
    os.truncate(tmp_path / "a.nc", 0)
    (tmp_path / "empty").mkdir()
    given = [
        tmp_path / "a.nc",
        tmp_path / "no-such.nc",
        str(tmp_path / "*.h5"),
        tmp_path / "empty",
    ]
    with pytest.raises(RecordError) as caught:
        load(given)
    assert "zero bytes" in str(caught.value)
    assert "no-such.nc: no such file or folder" in str(caught.value)
    assert "the pattern matches no recording" in str(caught.value)
    assert "the folder holds no recordings" in str(caught.value)


@pytest.mark.parametrize("name", ["../../etc", "<script>", "a/b", ".", "", "я" * 500, "x" * 512])
def test_any_run_name_gives_a_safe_node_and_is_kept(make, tmp_path, name):
    make(run=name).to_netcdf(tmp_path / "a.nc")
    (node,) = load(tmp_path).children.items()
    assert 0 < len(node[0]) <= 60
    assert set(node[0]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert str(node[1]["run"].values) == name


def test_runs_of_one_name_stay_apart(save, tmp_path):
    for k in range(3):
        save(f"file{k}", run="same", seed=k)
    runs = load(tmp_path)
    assert sorted(runs.children) == ["same", "same-2", "same-3"]
    assert sorted(int(node["seed"]) for node in runs.children.values()) == [0, 1, 2]


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def sweep(tmp_path):
    """A closed run, a live one, one that is just being closed, and other files."""
    touch(
        tmp_path / "a.nc",
        tmp_path / "a" / "initial-00000-of-00001.safetensors",
        tmp_path / "deep" / "live" / "segment-000000000004.nc",
        tmp_path / "deep" / "live" / "segment-000000000000.nc",
        tmp_path / "deep" / "live" / "lease.json",
        tmp_path / "deep" / "closing.nc",
        tmp_path / "deep" / "closing" / "segment-000000000000.nc",
        tmp_path / "notes.txt",
        tmp_path / ".a.nc.0123.tmp",
    )
    return tmp_path


def names(folder, paths):
    return [str(path.relative_to(folder)) for path in paths]


def test_each_run_of_a_folder_is_found_once(sweep):
    found = recordings_at(str(sweep))
    assert names(sweep, found) == ["a.nc", "deep/closing.nc", "deep/live"]


def test_a_run_is_found_by_each_of_its_names(sweep):
    for given, expected in [
        ("a", "a.nc"),
        ("a.nc", "a.nc"),
        ("deep/closing", "deep/closing.nc"),
        ("deep/live", "deep/live"),
        ("deep/l*", "deep/live"),
    ]:
        assert names(sweep, recordings_at(str(sweep / given))) == [expected]


def test_links_to_folders_are_not_followed_and_links_to_files_are(sweep):
    (sweep / "circle").symlink_to(sweep)
    (sweep / "b.nc").symlink_to(sweep / "a.nc")
    (sweep / "gone.nc").symlink_to(sweep / "nowhere")
    assert names(sweep, recordings_at(str(sweep))) == [
        "a.nc",
        "b.nc",
        "deep/closing.nc",
        "deep/live",
    ]


def test_names_that_look_like_patterns_are_names_first(tmp_path):
    touch(tmp_path / "run[1].nc")
    assert names(tmp_path, recordings_at(str(tmp_path / "run[1].nc"))) == ["run[1].nc"]


def test_a_folder_that_may_not_be_looked_into_is_given_as_it_is(tmp_path, monkeypatch):
    touch(tmp_path / "a.nc")
    (tmp_path / "lost+found").mkdir()
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert names(tmp_path, recordings_at(str(tmp_path))) == ["a.nc", "lost+found"]


def test_why_nothing_was_found(tmp_path):
    assert absence(str(tmp_path)).startswith("the folder holds no recordings")
    assert absence(str(tmp_path / "*.nc")) == "the pattern matches no recording"
    assert absence(str(tmp_path / "a")) == "no such file or folder"


def test_segments_are_in_the_order_of_their_records(sweep):
    found = segments_of(sweep / "deep" / "live")
    assert [path.name for path in found] == ["segment-000000000000.nc", "segment-000000000004.nc"]
    assert segments_of(sweep / "nowhere") == []
    assert closed_file(sweep / "a") == sweep / "a.nc"


@pytest.mark.filterwarnings("ignore:not used")
def test_names_that_cannot_be_looked_at_hide_no_other_recording(save, make, tmp_path):
    """Beside a folder of so long a name no closed file can be, and asking for one is an error."""
    for length in (252, 253, 255):
        folder = tmp_path / "runs" / ("x" * length)
        folder.mkdir(parents=True)
        segment(make(run=f"long-{length}"), folder, 0, 3)
    (tmp_path / "runs" / ("y" * 255)).mkdir()
    save("sound", folder=tmp_path / "runs")
    assert set(load(tmp_path / "runs")) == {"long-252", "long-253", "long-255", "sound"}
    assert set(load(str(tmp_path / "runs" / "*"))) == set(load(tmp_path / "runs"))
    found = load([tmp_path / "runs", tmp_path / ("z" * 256)])
    assert set(found) == set(load(tmp_path / "runs"))
    (bad,) = unusable(found)
    assert bad.faults == ("no such file or folder",)


def test_the_home_folder_is_expanded(save, tmp_path, monkeypatch):
    save("sound", folder=tmp_path / "runs")
    monkeypatch.setenv("HOME", str(tmp_path))
    for form in ("~/runs", "~/runs/sound", "~/runs/*.nc"):
        assert set(load(form)) == {"sound"}
    with pytest.raises(RecordError, match="~/none: no such file"):
        load("~/none")


def test_an_empty_path_is_no_folder(tmp_path, monkeypatch):
    """An unset variable of a shell would else read all there is below."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordError, match="an empty path"):
        load("")
