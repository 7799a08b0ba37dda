"""Fits of series in chunks: those of one table in memory, on threads and on a cluster."""

import os
import pickle
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth import fit_growth, fit_tensors, fit_totals
from ultraslow.analysis.growth.critical_values import Rows
from ultraslow.analysis.growth.noise_models import NoiseModel, simulate_noise
from ultraslow.analysis.runs.load import load, unusable
from ultraslow.analysis.runs.stored import chunks_by_dimension
from ultraslow.diffusion.recording import RecordError, contract, read_file, write_file

dask = pytest.importorskip("dask")

PAGE = Path(__file__).parents[3] / "docs" / "decide" / "scale.md"
TIMES = np.unique(np.geomspace(1, 1e4, 36).round())


def curves(count, seed=0):
    """Powers of different exponents under different noises, shape (series, time)."""
    rng = np.random.default_rng(seed)
    models = [NoiseModel("white"), NoiseModel("ar_log_t", 0.8), NoiseModel("walk_log_t")]
    noise = np.stack([simulate_noise(models[k % 3], TIMES, 1, rng=rng)[0] for k in range(count)])
    exponents = np.linspace(0.1, 0.6, count)[:, None]
    return 1 + (TIMES**exponents - 1) / exponents + 0.02 * noise


def table(count=12):
    values = curves(count).reshape(3, -1, TIMES.size)
    values[0, 0, 5] = np.nan
    values[1, 1] = 2.0  # nothing to fit
    coords = {
        "iteration": TIMES,
        "run": ["a", "b", "c"],
        "learning_rate_sum": ("iteration", TIMES),
    }
    found = xr.DataArray(values, coords, ["run", "tensor", "iteration"], name="distance")
    return found.assign_attrs(units="1")


def same(found, wanted):
    """Equal but for the rounding of other shapes of tables, by which a search ends elsewhere."""
    assert found.sizes == wanted.sizes and list(found.data_vars) == list(wanted.data_vars)
    assert found.attrs == wanted.attrs
    for name, column in wanted.items():
        assert column.dims == found[name].dims and column.attrs == found[name].attrs, name
        if column.dtype.kind in "fi":
            assert column.dtype == found[name].dtype
            np.testing.assert_allclose(found[name], column, rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            assert (found[name] == column).all(), name
    assert set(found.coords) == set(wanted.coords)


@pytest.mark.parametrize("chunks", [{"run": 1}, {"tensor": 3}, {}])
def test_chunks_have_the_fits_of_one_table(chunks):
    wanted = fit_growth(table(), draws=200)
    lazily = fit_growth(table().chunk(chunks), draws=200)
    assert all(lazily[name].chunks is not None for name in wanted.data_vars)
    same(lazily.compute(), wanted)


def test_rates_and_clocks_belong_to_their_series():
    distance = table()
    rates = xr.full_like(distance, 0.1).reset_coords(drop=True)
    rates[1, :, 20:] = 0.05
    rates = rates.isel(tensor=0)
    for options in (
        {"learning_rate": rates},
        {"learning_rate": rates, "clock": "iteration"},
        {"clock": "learning_rate_sum"},
        {"clock": (2 * rates.cumsum("iteration")).rename("work")},
        {"clock": TIMES * 3, "onset": 2.0},
    ):
        wanted = fit_growth(distance, calibrate=False, **options)
        found = fit_growth(distance.chunk(run=1), calibrate=False, **options)
        same(found.compute(), wanted)


def test_what_is_wrong_with_a_clock_is_said_before_anything_is_fitted():
    with pytest.raises(ValueError, match=r"clock: found no work beside the distance \("):
        fit_growth(table().chunk(run=1), clock="work")
    with pytest.raises(ValueError, match=r"clock: found shape \(3,\)"):
        fit_growth(table().chunk(run=1), clock=[1.0, 2.0, 3.0])


def test_chunks_that_split_the_records_of_a_series_are_refused():
    count = TIMES.size
    with pytest.raises(
        ValueError,
        match=rf"distance: found its {count} records in 4 chunks along `iteration`, expected one, "
        r"as a fit takes all records of a series; .chunk\(iteration=-1\) joins them",
    ):
        fit_growth(table().chunk(iteration=10))


def recordings(folder, single, names=("s0", "s1", "s2")):
    """Recordings of four tensors."""
    for seed, name in enumerate(names):
        one = single(curves(1, seed=seed)[0], TIMES.astype(int), seed=seed)
        values = {field: one[field].values for field in one.variables}
        values["tensor"] = list("abcd")
        for field in ("distance_sq", "weight_sq", "overlap"):
            values[field] = values[field] * np.arange(1.0, 5.0)
        values["tensor_size"] = [100] * 4
        write_file(xr.Dataset.from_dict(contract.pack(values)), folder / f"{name}.nc")


@pytest.fixture
def folder(tmp_path, single):
    recordings(tmp_path, single)
    return tmp_path


@pytest.fixture
def page(tmp_path, monkeypatch, single):
    """The code of the page, and a folder of runs as it names them."""
    (tmp_path / "runs").mkdir()
    recordings(tmp_path / "runs", single, names=["r50-b8192-s0"])
    path = tmp_path / "runs" / "r50-b8192-s0.nc"
    write_file(read_file(path)[0].assign(run="r50-b8192-s0"), path)
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text()
    return [body for body in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)]


def test_the_page_on_scale_runs_as_it_stands(page):
    names = {}
    for body in page[:2]:
        exec(body, names)
    assert names["exponents"].shape == (4,) and np.isfinite(names["exponents"]).all()


def test_what_is_loaded_in_chunks_stays_on_disk_and_is_the_same(folder, monkeypatch):
    inside = load(folder)
    monkeypatch.chdir(folder)
    lazily = load(".", chunks={"tensor": 2})
    monkeypatch.chdir("/")
    assert list(lazily.children) == list(inside.children)
    for node, run in inside.children.items():
        other = lazily[node].to_dataset()
        assert other["distance_sq"].chunks == ((TIMES.size,), (2, 2))
        assert other["learning_rate"].chunks is None and other["tensor_size"].chunks is None
        xr.testing.assert_equal(other.compute(), run.to_dataset())
    runs = {node: run.dataset for node, run in lazily.children.items()}
    plain = {node: run.dataset for node, run in inside.children.items()}
    same(fit_tensors(runs, draws=200), fit_tensors(plain, draws=200))
    assert (fit_totals(runs)["status"] == fit_totals(plain)["status"]).all()


def test_a_corrupt_member_is_named_and_the_rest_is_carried_on(folder):
    path = folder / "s1.nc"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"not used: .*s1\.nc: "):
        found = load(folder, chunks="auto")
    assert len(found.children) == 2
    (left_out,) = unusable(found)
    assert left_out.source == str(path) and "is damaged" in left_out.faults[0]


def test_a_file_that_changed_since_it_was_loaded_is_not_read(folder):
    run = load(folder / "s0.nc", chunks={"tensor": 1}).children["b64-s0"].dataset
    other = read_file(folder / "s1.nc")[0]
    write_file(other, folder / "s0.nc")
    with pytest.raises(RecordError, match=r"s0.nc: has changed since it was loaded") as told:
        run["distance_sq"].compute()
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ({"iteration": 50}, "found 50 along iteration, expected -1: a fit takes all records"),
        ({"tensors": 5}, r"found 'tensors' \(tensor\?\), expected some of "),
        ({"tensor": 0}, "found 0 along tensor, expected a length, or -1 for all of it"),
        ({"tensor": True}, "found True along tensor"),
        ({"tensor": "many"}, "found 'many' along tensor"),
        (2.5, "found float, expected lengths by dimension"),
    ],
)
def test_chunks_that_make_no_sense_are_refused(tmp_path, chunks, words):
    with pytest.raises((ValueError, TypeError), match=f"chunks: {words}"):
        load(tmp_path, chunks=chunks)


def test_chunks_never_split_iteration():
    for chunks in (5, "auto", {}, {"tensor": 3}, {"iteration": -1}, {"iteration": "auto"}):
        assert chunks_by_dimension(chunks)["iteration"] == -1


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_finds_all_and_the_same(tmp_path, monkeypatch):
    """Two worker processes, one killed once some chunks are done; both share what is kept."""
    distributed = pytest.importorskip("distributed")
    distance = xr.DataArray(curves(600), {"iteration": TIMES}, ["series", "iteration"])
    lazily = fit_growth(distance.chunk(series=10), draws=200)
    monkeypatch.setenv("ULTRASLOW_CACHE", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=True,
            local_directory=str(tmp_path / "workers"),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        processes = client.run(os.getpid)
        assert len(set(processes.values()) - {os.getpid()}) == 2
        future = client.compute(lazily)
        until = time.monotonic() + 600
        while sum(map(len, client.has_what().values())) < 8 and time.monotonic() < until:
            time.sleep(0.05)
        assert not future.done()
        os.kill(next(iter(processes.values())), signal.SIGKILL)
        found = future.result(timeout=1200)
    monkeypatch.setenv("ULTRASLOW_CACHE", "off")
    with dask.config.set(scheduler="synchronous"):
        wanted = fit_growth(distance.chunk(series=10), draws=200).compute()
    xr.testing.assert_identical(found, wanted)
    (kept,) = tmp_path.glob("*.rows")  # and no value was simulated by both
    rows = Rows(kept, 19).new()
    assert kept.stat().st_size == len(rows) * (20 + 8 * 19)


@pytest.mark.slow
def test_the_cluster_of_the_page_runs_as_it_stands(page):
    names = {}
    for body in page:
        exec(body, names)
    xr.testing.assert_allclose(names["fits"]["exponent"], names["exponents"])
