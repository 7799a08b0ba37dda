import hashlib
import os

import netCDF4
import numpy as np
import pytest
import xarray as xr
from every_field import every_field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.netcdf import read_file
from diffusion import claims as limits
from diffusion.recording import RecordError
from diffusion.seal import seal


@pytest.mark.parametrize(
    "packing", [{}, {"loss": {"dtype": "i4", "scale_factor": 1e-6, "_FillValue": -1}}]
)
def test_reading_equals_what_xarray_reads(tmp_path, make, packing):
    """Twin: the plain way, also where another program packed values as integers."""
    path = tmp_path / "a.nc"
    make(run="a").to_netcdf(path, engine="netcdf4", encoding=packing)
    found, digest = read_file(path)
    expected = xr.load_dataset(path, engine="netcdf4", decode_times=False)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    xr.testing.assert_identical(found, expected)
    assert {name: found[name].dtype for name in found.variables} == {
        name: expected[name].dtype for name in expected.variables
    }


def test_every_field_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "all.nc"
    every_field(0, 1, 5, 7).to_netcdf(path)
    xr.testing.assert_identical(read_file(path)[0], every_field(0, 1, 5, 7))


@pytest.mark.parametrize("format", ["NETCDF4", "NETCDF3_64BIT"])
def test_formats(tmp_path, make, format):
    path = tmp_path / "a.nc"
    make(run="a").to_netcdf(path, format=format)
    found, _ = read_file(path)
    xr.testing.assert_equal(found, make(run="a"))


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(data=st.data())
def test_any_damage_is_an_error_or_harmless(tmp_path, data):
    """Bytes of a sealed file with all fields are flipped, cut off, inserted or repeated."""
    path = tmp_path / "whole.nc"
    if not path.exists():
        every_field(0, 1, 5).to_netcdf(path)
        path.write_bytes(path.read_bytes() + seal(path.read_bytes()))
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content) - 1))
    stop = data.draw(st.integers(start, min(start + 600, len(content))))
    new = data.draw(st.binary(max_size=40))
    damaged = tmp_path / "damaged.nc"
    damaged.write_bytes(content[:start] + new + content[stop:])
    try:
        found, _ = read_file(damaged)
    except RecordError as error:
        assert error.source == str(damaged)
    else:
        xr.testing.assert_identical(found, every_field(0, 1, 5))


def unsealed(tmp_path, *, place, length):
    path = tmp_path / "unsealed.nc"
    every_field(0, 1, 5).to_netcdf(path)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(place)
    at = int(rng.integers(len(content)))
    content[at : at + length] = rng.bytes(length)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("length", [1, 40, 4000])
def test_damage_without_a_seal_never_crashes(tmp_path, length):
    """Other programs write no seal: the library may then fail in any way, but as an error."""
    for place in range(25):
        try:
            read_file(unsealed(tmp_path, place=place, length=length))
        except RecordError as error:
            assert error.faults


def test_a_damaged_attribute_is_an_error_of_the_recording(tmp_path, monkeypatch):
    """For which netCDF4 raises AttributeError."""
    every_field(0).to_netcdf(tmp_path / "a.nc")

    def failing(_):
        raise AttributeError("NetCDF: Can't open HDF5 attribute")

    monkeypatch.setattr("analysis.netcdf._dataset", failing)
    with pytest.raises(RecordError, match="damaged or cut-off NetCDF file .*HDF5 attribute"):
        read_file(tmp_path / "a.nc")


def test_what_is_no_file_or_too_large_is_not_opened(tmp_path):
    for name, make in [("folder", os.mkdir), ("pipe", os.mkfifo)]:
        make(tmp_path / name)
        with pytest.raises(RecordError, match="is not a file"):
            read_file(tmp_path / name)
    with pytest.raises(RecordError, match="is not a file"):
        read_file(tmp_path / "missing")
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 2**40)
    with pytest.raises(RecordError, match="has 1.02e[+]03 GiB, at most 2 GiB are read"):
        read_file(tmp_path / "sparse")


def claims(path, **lengths):
    """A file of some kilobytes that declares fields of these lengths."""
    with netCDF4.Dataset(path, "w") as file:
        file.setncattr("schema", 1)
        for name, length in lengths.items():
            file.createDimension(name, length)
        file.createVariable(
            "loss_difference", "f8", tuple(lengths), chunksizes=(1,) * (len(lengths) - 1) + (8,)
        )


def test_claims_in_any_dimension_are_refused_before_memory_is_touched(tmp_path):
    for lengths in [
        {"iteration": 1, "ensemble": 10**9, "radius": 1, "direction": 8},
        {"iteration": 10**4, "ensemble": 10, "radius": 10**3, "direction": 10**5},
        {"iteration": 1, "ensemble": 1, "radius": 10**9, "direction": 10**3},
    ]:
        claims(tmp_path / "a.nc", **lengths)
        with pytest.raises(RecordError, match="the largest is 'loss_difference'"):
            read_file(tmp_path / "a.nc")


def test_names_from_files_are_bounded(tmp_path):
    for name in ("ensemble", "metric"):
        records = every_field(0, 5)
        long = ["x" * 513, *records[name].values[1:]]
        records.assign_coords({name: long}).to_netcdf(tmp_path / "a.nc")
        with pytest.raises(RecordError, match="a name has 513 characters, at most 512"):
            read_file(tmp_path / "a.nc")


def test_a_long_name_among_many_is_refused_before_all_are_as_wide(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MEMORY_LIMIT", 2_000_000)
    names = np.array(["x" * 10_000, *map(str, range(99))], dtype=object)
    records = every_field(0).isel(tensor=[0] * 100).assign_coords(tensor=names)
    records.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(RecordError, match="'tensor' has 100 of up to 10000 characters"):
        read_file(tmp_path / "a.nc")
