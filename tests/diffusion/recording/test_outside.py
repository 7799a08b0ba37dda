"""Files that reach out of themselves, or go round in circles, are refused before they are opened.

The files were made by `outside/make.py` with h5py, and are written as those that the library
follows: `test_the_library_would_follow` sees it do so.
"""

import os
import shutil
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from ultraslow.diffusion.recording import RecordError, netcdf, read_file
from ultraslow.diffusion.recording.outside import outside_faults
from ultraslow.probes.storage.repair import repair_recording

FILES = Path(__file__).with_name("outside")
WHY = {
    "external-link": "has a link to another file, which is not followed",
    "external-link-alone": "has a link to another file, which is not followed",
    "many": "has a link to another file, which is not followed",
    "soft-link": "has groups or links within, expected variables alone",
    "cycle": "has groups or links within, expected variables alone",
    "group-cycle": "has groups or links within, expected variables alone",
    "external-storage": "has values that lie in other files, which are not read",
    "virtual": "has values that lie in other files, which are not read",
    "old": "is an HDF5 file of a kind that no program writes NetCDF-4 in",
    "userblock": "begins with something else than its HDF5 content",
}


def secret(folder, single):
    """A recording, and raw values, that must not be read."""
    records = single(np.arange(2.0), [1, 2], loss=[666.0, 777.0])
    (folder / "victim.nc").write_bytes(netcdf.to_bytes(records))
    (folder / "victim.raw").write_bytes(np.array([666.0, 777.0]).tobytes())


@pytest.mark.parametrize("name", WHY)
@pytest.mark.parametrize("sealed", [False, True])
def test_it_is_refused_with_the_reason(tmp_path, name, sealed):
    content = (FILES / f"{name}.nc").read_bytes()
    path = tmp_path / "run.nc"
    path.write_bytes(content + (netcdf.seal(content) if sealed else b""))
    with pytest.raises(RecordError) as caught:
        read_file(path)
    assert caught.value.faults == (WHY[name],)


@pytest.mark.parametrize("name", ["external-link", "external-storage", "virtual"])
def test_the_library_would_follow(tmp_path, monkeypatch, single, name):
    """So that what is refused is what is dangerous."""
    secret(tmp_path, single)
    monkeypatch.chdir(tmp_path)
    shutil.copy(FILES / f"{name}.nc", tmp_path / "run.nc")
    with netCDF4.Dataset(tmp_path / "run.nc") as file:
        assert "loss" in file.variables
        assert file["loss"][...].tolist() == [666.0, 777.0]


def test_repairing_copies_no_other_file(tmp_path, monkeypatch, single):
    secret(tmp_path, single)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    shutil.copy(FILES / "external-link.nc", tmp_path / "run" / "segment-000000000000.nc")
    with pytest.raises(RecordError, match="link to another file"):
        repair_recording(tmp_path / "run")
    assert not (tmp_path / "run.nc").exists()


def test_a_pipe_that_a_link_names_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "victim.nc")
    shutil.copy(FILES / "external-link-alone.nc", tmp_path / "run.nc")
    with pytest.raises(RecordError, match="link to another file"):
        read_file(tmp_path / "run.nc")


def test_what_is_written_here_is_let_through(single):
    rng = np.random.default_rng(0)
    for names in (1, 40, 400):  # links in the header, and in heaps
        times = np.unique(np.geomspace(1, 10**5, 300).astype(int))
        records = single(rng.normal(size=times.size), times, loss=rng.normal(size=times.size))
        records = records.assign_attrs({f"told{k}": "x" * k for k in range(names)})
        assert list(outside_faults(netcdf.to_bytes(records))) == []


def test_random_bytes_seldom_look_like_anything():
    content = bytearray(np.random.default_rng(1).bytes(2_000_000))
    content[:48] = (FILES / "cycle.nc").read_bytes()[:48]
    assert list(outside_faults(bytes(content))) == []


def test_other_files_are_none_of_its_business():
    assert list(outside_faults(b"CDF\x01" + bytes(100))) == []
    assert list(outside_faults(b"")) == []


def test_texts_without_end_are_refused_and_whole_ones_are_not(tmp_path):
    """A text of length 0 and number 0, at which the library would stay for ever."""
    path = tmp_path / "texts.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 90)
        texts = file.createVariable("t", str, ("x",))
        for index in range(90):
            texts[index] = "a" * (97 * index % 300)
    with netCDF4.Dataset(path, "a") as file:  # another program writes some anew
        for index in range(0, 90, 2):
            file["t"][index] = "b" * (31 * index % 400)
    content = path.read_bytes()
    assert list(outside_faults(content)) == []
    first = content.index(b"GCOL\x01") + 16
    for lost in (first, first + 8), (first, first + 200):
        damaged = content[: lost[0]] + bytes(lost[1] - lost[0]) + content[lost[1] :]
        assert list(outside_faults(damaged)) == ["is damaged: the texts in it have no end"]
    too_long = content[: first - 8] + b"\xff" * 8 + content[first:]
    assert list(outside_faults(too_long)) == ["is damaged: the texts in it have no end"]
