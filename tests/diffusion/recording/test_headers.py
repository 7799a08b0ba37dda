"""What is read off the bytes is what the library reads; all else is left to it."""

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from every_field import ALL, every_field

from ultraslow.diffusion.recording import netcdf
from ultraslow.diffusion.recording.errors import RecordError, UnfamiliarError
from ultraslow.diffusion.recording.fields import FIELDS
from ultraslow.diffusion.recording.headers import read_header, read_whole
from ultraslow.diffusion.recording.netcdf import from_bytes, seal, sealed_header, to_bytes

DATA = Path(__file__).parents[3] / "data"
RECORDED = sorted(DATA.glob("*/*.nc"))[::8]
OUTSIDE = sorted(Path(__file__).with_name("outside").glob("*.nc"))
COMPRESSED = {"sketch", "loss_difference"}


def through_library(content):
    """The records as the NetCDF library reads them."""
    return netcdf._through_library(content, "it")


def assert_same(header, records):
    """The header against the whole recording."""
    assert header.sizes == dict(records.sizes)
    assert set(header.variables) == set(records.variables)
    for name, found in header.variables.items():
        whole = records.variables[name]
        assert (found.dims, found.shape, found.dtype) == (whole.dims, whole.shape, whole.dtype)
        if found.known is not None:
            np.testing.assert_array_equal(found.values, whole.values)
    assert set(header.attrs) == set(records.attrs)
    for name, value in records.attrs.items():
        assert type(header.attrs[name]) is type(value)
        np.testing.assert_array_equal(header.attrs[name], value)


def assert_whole(content):
    """All values and attributes against those that the library reads, bit by bit."""
    read, expected = from_bytes(content, "it"), through_library(content)
    assert_same(read_whole(content), expected)
    assert list(read.variables) == list(expected.variables)
    assert (read.sizes, list(read.coords)) == (expected.sizes, list(expected.coords))
    for name, variable in expected.variables.items():
        found = read.variables[name]
        assert found.values.tobytes() == variable.values.tobytes()
        assert found.values.flags.writeable == variable.values.flags.writeable
        told = [(key, type(value), value) for key, value in variable.attrs.items()]
        assert [(key, type(value), value) for key, value in found.attrs.items()] == told


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recordings_of_a_study(path):
    content = path.read_bytes()
    assert_whole(content)
    header = read_header(content, set(FIELDS) - COMPRESSED)
    assert_same(header, through_library(content))
    unread = COMPRESSED & set(header.variables)
    assert all(header.variables[name].known is None for name in unread)
    assert unread or "limit-study" in path.parts  # where not every arm has sketches or scans
    assert header.variables["distance_sq"].known is not None
    with pytest.raises(LookupError, match="not read with the header"):
        _ = read_header(content, ()).variables["loss"].values


@pytest.mark.parametrize("way", ["memory", "disk"])
def test_every_field_and_attributes_of_all_kinds(tmp_path, way):
    told = {
        "large": "x" * 300_000,
        "middle": "y" * 5000,
        "letters": "Ση²/M",
        "none": "",
        "count": 3,
        "share": 0.5,
        "row": np.array([1.0, 2.0]),
        **{f"more{place}": "z" * place for place in range(60)},
    }
    records = every_field(*ALL).assign_attrs(told)
    if way == "disk":
        netcdf.write_file(records, tmp_path / "it.nc")
        content = (tmp_path / "it.nc").read_bytes()
    else:
        content = to_bytes(records)
    assert_same(read_header(content, ("distance_sq", "iteration")), through_library(content))
    assert_whole(content)


@pytest.mark.parametrize("filters", [{}, {"zlib": True}, {"zlib": True, "shuffle": True}, "all"])
@pytest.mark.parametrize("pieces", [(7, 3, 4, 2), (2, 2, 2, 2), (1, 1, 1, 1)])
def test_values_in_many_pieces(filters, pieces):
    """Of one floor of a tree and of several, whole pieces and cut ones."""
    records = every_field(*ALL)
    noise = np.random.default_rng(0).exponential
    for variable in records.variables.values():
        if variable.ndim > 1:
            variable.values = noise(size=variable.shape)
            variable.encoding = {
                "chunksizes": tuple(map(min, variable.shape, pieces[: variable.ndim])),
                "shuffle": False,
                **({"zlib": True, "fletcher32": True} if filters == "all" else filters),
            }
    content = bytes(netcdf._fill(netCDF4.Dataset("it", "w", memory=1), records))
    content = netcdf._without_padding(content)
    if filters == "all":
        with pytest.raises(UnfamiliarError, match="other filters"):
            read_whole(content)
        assert netcdf._familiar(content) is None
        return
    assert_whole(content + seal(content))


def test_what_claims_more_than_may_be_read_is_not_unfolded(single):
    content = to_bytes(single(np.arange(3.0), [0, 1, 2], sketch=np.zeros((3, 2**16))))
    assert_whole(content)
    with pytest.raises(UnfamiliarError, match="than are read"):
        read_whole(content, 3 * 2**18)


def test_what_other_programs_write_is_left_to_the_library(single, tmp_path):
    records = single(np.arange(3.0), [0, 1, 2])
    path = tmp_path / "it.nc"
    records.to_netcdf(path, format="NETCDF3_64BIT")
    with pytest.raises(UnfamiliarError, match="no seal"):
        sealed_header(path, ())
    with pytest.raises(UnfamiliarError, match="superblock"):
        read_header(path.read_bytes(), ())
    packed = records.copy()
    packed["loss"] = xr.Variable("iteration", np.ones(3))
    packed["loss"].encoding.update(scale_factor=0.5, dtype="i4", _FillValue=-1)
    packed.to_netcdf(path, engine="netcdf4")
    with pytest.raises(UnfamiliarError, match="stand for others"):
        read_header(path.read_bytes(), ())
    with netCDF4.Dataset(path, "a") as file:
        file.createGroup("within")
    with pytest.raises(UnfamiliarError):
        read_header(path.read_bytes(), ())


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.stem)
def test_files_that_reach_out_of_themselves_are(path):
    with pytest.raises(UnfamiliarError):
        read_header(path.read_bytes(), FIELDS)


def test_sealed_damage_is_unfamiliar_or_reads_as_the_library_reads_it(single):
    """The seal is no secret: whoever damages a file may seal it anew."""
    sketch = np.zeros((5, 2048))
    content = to_bytes(single(np.arange(5.0), range(5), loss=np.ones(5), sketch=sketch))
    content = content[: -netcdf.LENGTH]
    rng = np.random.default_rng(1)
    came = 0
    for _ in range(300):
        bad = bytearray(content)
        for at in rng.integers(0, len(bad), 3):
            bad[at] ^= 1 << int(rng.integers(8))
        bad = bytes(bad)
        try:
            header = read_whole(bad)
            whole = through_library(bad)
        except (UnfamiliarError, RecordError):
            continue
        came += 1
        assert header.sizes == dict(whole.sizes)
        for name in set(header.variables) & set(whole.variables):
            if header.variables[name].known is not None:
                np.testing.assert_array_equal(
                    header.variables[name].values, whole.variables[name].values
                )
    assert came > 20


def test_structure_that_leads_to_itself_comes_to_an_end(single):
    """A header that goes on in itself."""
    content = bytearray(to_bytes(single(np.arange(5.0), range(5))))
    at = content.index(b"OCHK")
    place = content.index(at.to_bytes(8, "little"))
    block = bytes([0x10, 16, 0, 0, *content[place : place + 16]])
    content[at + 4 : at + 4 + len(block)] = block
    with pytest.raises(UnfamiliarError):
        read_header(bytes(content), ())
