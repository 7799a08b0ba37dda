import hashlib
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from every_field import every_field
from hypothesis import HealthCheck, given, settings, strategies as st

from ultraslow.diffusion.recording import netcdf
from ultraslow.diffusion.recording.errors import RecordError
from ultraslow.diffusion.recording.netcdf import (
    LENGTH,
    MARK,
    MEMORY_LIMIT,
    checksum,
    claim_faults,
    from_bytes,
    read_file,
    seal,
    size_fault,
    text_faults,
    to_bytes,
)


@pytest.fixture
def make(single):
    """A function that makes a recording."""
    times = np.array([0, 1, 2, 5, 10])
    return lambda **more: single(np.sqrt(times), times, loss=1 / (1 + times), **more)


@settings(deadline=None)  # a busy machine makes any example slow now and then
@given(content=st.binary(max_size=200), data=st.data())
def test_every_flipped_bit_before_the_seal_is_seen(content, data):
    whole = content + seal(content)
    assert checksum(whole) == hashlib.sha256(whole).hexdigest()
    if content:
        place = data.draw(st.integers(0, 8 * len(content) - 1))
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        assert checksum(bytes(damaged)) is None


@pytest.mark.parametrize("content", [b"", b"x", b"no seal " * 20])
def test_what_was_never_sealed_is_not_broken(content):
    assert checksum(content) == hashlib.sha256(content).hexdigest()


def test_the_length_is_that_of_a_seal():
    assert len(seal(b"content")) == LENGTH


@dataclass
class Variable:
    """What `claims` asks of a variable in a header."""

    dtype: Any
    datatype: Any
    shape: tuple[int, ...]
    chunks: Any = "contiguous"
    texts: Any = ()

    def chunking(self):
        return self.chunks

    def __getitem__(self, key):
        return np.array(self.texts, dtype=object)[key]


def number(kind, *shape):
    return Variable(np.dtype(kind), np.dtype(kind), shape)


def test_what_fits_the_limit_is_no_fault_and_one_value_more_is():
    half = MEMORY_LIMIT // 16
    assert list(claim_faults({"a": number("f8", half), "b": number("f8", half)})) == []
    (fault,) = claim_faults({"a": number("f8", half + 1), "b": number("f8", half)})
    assert f"at most 2 GiB are read; the largest is 'a' of ({half + 1},)" in fault


def test_a_small_file_that_unfolds_to_much_is_refused():
    claims = {"a": number("f8", 10**6)}
    assert list(claim_faults(claims, size=10_000)) == []
    (fault,) = claim_faults(claims, size=7_000)
    assert fault == "claims 7.63 MiB of values, more than its 0.00668 MiB can hold"


def test_what_no_recording_has_is_not_read(tmp_path, make):
    """So that it costs no memory, whatever a program has put beside the records."""
    path = tmp_path / "a.nc"
    records = make(run="a")
    beside = records.assign(heap=("letter", np.zeros(10**7)), letter=np.arange(10**7))
    beside.to_netcdf(path, engine="netcdf4", encoding={"heap": {"zlib": True}})
    xr.testing.assert_identical(read_file(path)[0], records)
    packed = {"loss": {"dtype": "i4", "scale_factor": 1e-6, "_FillValue": -1}}
    beside.to_netcdf(path, engine="netcdf4", encoding=packed)
    assert set(read_file(path)[0].variables) == set(records.variables)


def test_products_beyond_64_bits_are_no_escape():
    """2⁴⁰·2⁴⁰ is 0 in 64 bits."""
    (fault,) = claim_faults({"a": number("i8", 2**40, 2**40)})
    assert "claims 9.01e+15 GiB" in fault


def test_text_counts_as_what_it_takes_in_memory():
    text = Variable(str, str, (MEMORY_LIMIT // 64,))
    assert list(claim_faults({"tensor": text})) == []
    assert len(list(claim_faults({"tensor": text, "run": Variable(str, str, ())}))) == 1


def test_blocks_that_are_read_as_a_whole_count_with_their_length():
    """One byte of a variable without end may lie in a block of 4 GiB."""
    one = Variable(np.dtype("u1"), np.dtype("u1"), (1,), chunks=[MEMORY_LIMIT + 1])
    assert len(list(claim_faults({"a": one}))) == 1
    one.chunks = [MEMORY_LIMIT]
    assert list(claim_faults({"a": one})) == []


def test_one_long_text_among_many_is_refused(monkeypatch):
    """Side by side all would be as wide as it."""
    monkeypatch.setattr(netcdf, "MEMORY_LIMIT", 4 * 300 * 1000)
    names = Variable(str, str, (300,), texts=["x" * 1000, *["y"] * 299])
    run = Variable(str, str, (), texts="run")
    assert list(text_faults({"tensor": names, "loss": number("f8", 3)})) == []
    (fault,) = text_faults({"tensor": names, "run": run})
    assert "'run' has 1 of up to 3 characters" in fault


def test_names_are_cut_and_types_of_files_refused():
    (fault,) = claim_faults({"x" * 10_000: Variable(np.dtype("i8"), object(), (1,))})
    assert "types of their own" in fault
    assert len(fault) < 200


def test_sizes():
    assert size_fault(MEMORY_LIMIT) is None
    assert size_fault(MEMORY_LIMIT + 1) == "has 2 GiB, at most 2 GiB are read"


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

    monkeypatch.setattr("ultraslow.diffusion.recording.netcdf._dataset", failing)
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
    monkeypatch.setattr(netcdf, "MEMORY_LIMIT", 2_000_000)
    names = np.array(["x" * 10_000, *map(str, range(99))], dtype=object)
    records = every_field(0).isel(tensor=[0] * 100).assign_coords(tensor=names)
    records.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(RecordError, match="'tensor' has 100 of up to 10000 characters"):
        read_file(tmp_path / "a.nc")


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


def test_whatever_is_no_recording_is_an_error_with_its_name():
    for content, fault in [
        (b"", "has zero bytes"),
        (b"not NetCDF at all", "is not a NetCDF file"),
        (claiming(lambda file: None), "iteration is missing"),
        (claiming(lambda file: file.delncattr("schema")), "attribute schema is missing"),
        (to_bytes(every_field(0))[:5000], "damaged or cut-off NetCDF file"),
    ]:
        with pytest.raises(RecordError, match=f"^some name: .*{fault}"):
            from_bytes(content, "some name")


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


def packed(content):
    """Variables of a file that are compressed."""
    with netCDF4.Dataset("run", memory=content) as file:
        return {name for name, var in file.variables.items() if (var.filters() or {})["zlib"]}


def test_sketches_and_scans_are_compressed_without_loss():
    records = wide(100)
    content = to_bytes(records)
    xr.testing.assert_identical(from_bytes(content, "run"), records)
    assert packed(content) == {"sketch", "loss_difference"}
    # Half of the digits of a float32 kept as a float64 are zeros, and 99 of 100 scans are absent.
    assert len(content) < 0.7 * records["sketch"].nbytes


def test_how_a_file_was_stored_does_not_decide_how_it_is_stored_next(tmp_path):
    (tmp_path / "a.nc").write_bytes(to_bytes(wide(100)))
    records = xr.load_dataset(tmp_path / "a.nc")
    assert records["sketch"].encoding["zlib"]
    assert "sketch" not in packed(to_bytes(records.isel(iteration=slice(5))))


def test_threads_read_and_write_at_once(tmp_path):
    """Two in the library at once end the process."""
    script = Path(__file__).with_name("thread_run.py")
    source = Path(__file__).parents[3] / "src"
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "[]\n"


def test_whoever_waits_for_xarray_in_another_thread_does_not_wait_for_ever():
    """An interrupt may have left its lock taken; a handler of a signal would wait for itself."""
    library = netcdf._Library(patience=0.01)
    with library, library:  # nested, as in a handler
        pass
    with netcdf.HDF5_LOCK, pytest.raises(TimeoutError, match=r"for 0.01 s, in another"):
        library.__enter__()
    with library:
        assert netcdf.HDF5_LOCK.locked()
    assert not netcdf.HDF5_LOCK.locked()


def test_a_fork_finds_the_library_free():
    begun, end = threading.Event(), threading.Event()

    def stay():
        with netcdf._LIBRARY:
            begun.set()
            end.wait(0.3)

    thread = threading.Thread(target=stay)
    thread.start()
    begun.wait()
    child = os.fork()
    if child == 0:
        free = netcdf._LIBRARY.lock.acquire(timeout=5)
        os._exit(0 if free else 1)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
