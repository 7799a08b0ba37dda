import netCDF4
import numpy as np
import pytest
import xarray as xr
from every_field import every_field

from diffusion import claims
from diffusion.recording import RecordError
from diffusion.seal import LENGTH, MARK
from probes.netcdf import from_bytes, to_bytes


def test_every_field_comes_back_as_it_was():
    records = every_field(0, 1, 5, 7)
    xr.testing.assert_identical(from_bytes(to_bytes(records), "run"), records)


@pytest.mark.parametrize("count", [1, 40, 400])
def test_nothing_but_the_seal_follows_the_content(count):
    """HDF5's superblock tells at byte 28 where the file ends (HDF5 format specification, II.A)."""
    content = to_bytes(every_field(*range(count)))
    assert content[-LENGTH:].startswith(MARK)
    assert int.from_bytes(content[28:36], "little") == len(content) - LENGTH


def test_plain_programs_read_the_bytes(tmp_path):
    path = tmp_path / "plain.nc"
    path.write_bytes(to_bytes(every_field(0, 5)))
    xr.testing.assert_identical(xr.load_dataset(path), every_field(0, 5))


def claiming(fill):
    """A file whose header was made by `fill` and that holds next to no values."""
    file = netCDF4.Dataset("claims", "w", memory=1)
    file.setncattr("schema", 1)
    fill(file)
    return bytes(file.close())


def many_tensors(file):
    file.createDimension("tensor", 10**9)
    file.createVariable("tensor", str, ("tensor",), chunksizes=(1024,))


def many_directions(file):
    names = ("iteration", "ensemble", "radius", "direction")
    for name, length in zip(names, (10**3, 10, 10**3, 10**6), strict=True):
        file.createDimension(name, length)
    file.createVariable("loss_difference", "f8", names, chunksizes=(1, 1, 1, 1024))


def lists(file):
    file.createDimension("tensor", 3)
    file.createVariable("tensor_size", file.createVLType("i8", "list"), ("tensor",))


@pytest.mark.parametrize(
    ("fill", "fault"),
    [
        (
            many_tensors,
            r"claims 59.6 GiB of values, .* the largest is 'tensor' of \(1000000000,\)",
        ),
        (many_directions, "claims 7.45e[+]04 GiB of values, .* the largest is 'loss_difference'"),
        (lists, r"\['tensor_size'\] have types of their own, expected numbers and text"),
    ],
)
def test_what_a_file_claims_is_refused_before_it_is_read(fill, fault):
    with pytest.raises(RecordError, match=fault):
        from_bytes(claiming(fill), "run")


def test_a_long_name_among_many_is_refused_before_all_are_as_wide(monkeypatch):
    monkeypatch.setattr(claims, "MEMORY_LIMIT", 2_000_000)
    records = every_field(0).isel(tensor=[0] * 100)
    names = np.array(["x" * 10_000, *map(str, range(99))], dtype=object)
    content = to_bytes(records.assign_coords(tensor=names))
    with pytest.raises(RecordError, match="'tensor' has 100 of up to 10000 characters"):
        from_bytes(content, "a.nc")


def test_whatever_is_no_recording_is_an_error_with_its_name():
    for content, fault in [
        (b"", "has zero bytes"),
        (b"not NetCDF at all", "cannot be read"),
        (claiming(lambda file: None), "iteration is missing"),
        (to_bytes(every_field(0))[:5000], "cannot be read"),
    ]:
        with pytest.raises(RecordError, match=f"^some name: .*{fault}"):
            from_bytes(content, "some name")


def test_a_damaged_attribute_is_an_error_of_the_recording(monkeypatch):
    """For which netCDF4 raises AttributeError."""
    content = to_bytes(every_field(0))

    def failing(*_, **__):
        raise AttributeError("NetCDF: Can't open HDF5 attribute")

    monkeypatch.setattr(xr, "open_dataset", failing)
    with pytest.raises(RecordError, match="cannot be read .*HDF5 attribute"):
        from_bytes(content, "run")


def test_every_kind_of_damage_is_seen():
    content = to_bytes(every_field(0, 5))
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content) - LENGTH, 200):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(RecordError, match="do not fit its checksum"):
            from_bytes(bytes(damaged), "run")


def wide(count):
    """Records with a sketch of few digits and a scan at the first record only."""
    records = every_field(*range(count))
    rng = np.random.default_rng(0)
    values = rng.standard_normal((count, 1024)).astype(np.float32).astype(float)
    scans = np.full((count, *records["loss_difference"].shape[1:-1], 200), np.nan)
    scans[0] = rng.standard_normal(scans.shape[1:])
    plain = records.drop_dims(["component", "direction"])
    return plain.assign(
        sketch=(("iteration", "component"), values),
        loss_difference=(records["loss_difference"].dims, scans),
    )


def test_sketches_and_scans_are_compressed_without_loss():
    records = wide(100)
    content = to_bytes(records)
    xr.testing.assert_identical(from_bytes(content, "run"), records)
    with netCDF4.Dataset("run", memory=content) as file:
        packed = {name for name, var in file.variables.items() if (var.filters() or {})["zlib"]}
    assert packed == {"sketch", "loss_difference"}
    # Half of the digits of a float32 kept as a float64 are zeros, and 99 of 100 scans are absent.
    assert len(content) < 0.7 * records["sketch"].nbytes


def test_how_a_file_was_stored_does_not_decide_how_it_is_stored_next():
    records = from_bytes(to_bytes(wide(100)), "run")
    few = from_bytes(to_bytes(records.isel(iteration=slice(5))), "run")
    assert not few["sketch"].encoding["zlib"]
