"""Critical values that come with the package: nearly as good as simulated ones, where used."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth import Settings, fit_growth, grids
from ultraslow.analysis.growth.critical_values import (
    DEVIATES,
    STEP,
    NullRatios,
    cell_of,
    packed,
    shipped,
    shipped_values,
)
from ultraslow.analysis.growth.critical_values.disk import VARIABLE
from ultraslow.diffusion.recording import log_spaced

TIMES = log_spaced(5000)[1:].astype(float)


@pytest.fixture
def table():
    found = shipped_values()
    assert found is not None, "the code that simulates has changed: docs/critical_values.py check"
    return found


@pytest.fixture
def alone(monkeypatch):
    """Forget the grids of this process, before and after; nothing is kept on disk."""
    monkeypatch.setenv(VARIABLE, "off")
    grids._null_ratios.cache_clear()
    yield
    grids._null_ratios.cache_clear()


def curve(power=0.0, last=5000, sigma=0.01, seed=0):
    times = log_spaced(last)
    clock = np.log(times[1:]) if power == 0 else times[1:] ** power
    noise = sigma * np.random.default_rng(seed).standard_normal(clock.size).cumsum()
    grown = 1 + (clock - clock[0]) / (clock[-1] - clock[0]) + noise / clock.size**0.5
    return xr.DataArray(np.append(0, grown), {"iteration": times}, ["iteration"])


def no_simulation(*_):
    raise AssertionError("simulated what comes with the package")


def test_a_first_fit_on_the_default_schedule_simulates_nothing(table, alone, monkeypatch):
    monkeypatch.setattr(NullRatios, "simulated", no_simulation)
    fit = fit_growth(curve())
    assert fit["status"] == "ok" and fit["exponent_low"] < fit["exponent"] < fit["exponent_high"]


@pytest.mark.parametrize(
    ("times", "settings"),
    [
        (TIMES, replace(Settings(), draws=200)),
        (TIMES, replace(Settings(), seed=1)),
        (TIMES, replace(Settings(), onset=0.0)),
        (TIMES, replace(Settings(), shipped=False)),
        (TIMES[1:], Settings()),
        (np.union1d(TIMES, np.arange(500.0, 5000.0, 200.0)), Settings()),  # too many
        (np.union1d(TIMES, np.arange(4000.0, 4010.0)), Settings()),  # all at one time
        (TIMES[::2], Settings()),
        (log_spaced(200)[1:].astype(float), Settings()),
        (TIMES + 0.5, Settings()),
    ],
)
def test_what_they_are_not_for_is_simulated(table, alone, times, settings):
    null = grids.time_grid(times, settings).test.null
    assert all(null.known(cell_of(number)) is None for number in table.numbers.tolist())
    here = grids.time_grid(TIMES, Settings()).test.null
    assert all(here.known(cell_of(number)) is not None for number in table.numbers.tolist())


CHECKPOINTS = 2.0 ** np.arange(5, 13)


@pytest.mark.parametrize(
    "times",
    [np.union1d(TIMES, CHECKPOINTS), np.setdiff1d(TIMES, TIMES[20:60:10])],
    ids=["more", "fewer"],
)
def test_they_are_for_records_that_lie_nearly_so(table, alone, times):
    null = grids.time_grid(times, Settings()).test.null
    assert all(null.known(cell_of(number)) is not None for number in table.numbers.tolist())


def test_with_checkpoints_they_differ_as_two_simulations_do(table):
    times = log_spaced(1000)[1:].astype(float)
    numbers = np.random.default_rng(2).choice(table.numbers, 12, replace=False).tolist()

    def simulated(at, seed):
        null = grids.time_grid(at, replace(Settings(), shipped=False, seed=seed)).test.null
        null.simulate_cells([cell_of(number) for number in numbers])
        null.noises.clear()
        return np.stack([null.roots[cell_of(number)] for number in numbers])

    one, other = simulated(times, 1), simulated(times, 2)
    beside = simulated(np.union1d(times, CHECKPOINTS[:5]), 2)
    apart, by_chance = (np.sqrt(np.mean((each - one) ** 2)) for each in (beside, other))
    assert apart < 1.3 * by_chance


def test_another_clock_is_simulated(table, alone):
    null = grids.time_grid(TIMES, Settings(), TIMES * 2).test.null
    assert null.known(cell_of(int(table.numbers[0]))) is None


def test_cells_that_are_not_there_are_simulated(table):
    missing = next(k for k in range(10**5) if k not in set(table.numbers.tolist()))
    assert table.roots(cell_of(missing), 3000) is None
    last = int(table.numbers[-1])
    assert table.roots(cell_of(last), 3000) is not None
    assert table.roots(cell_of(last + 64), 3000) is None


def test_they_are_roots(table):
    for number in table.numbers[::25].tolist():
        for last in (300, 777, 3000, 250_000):
            roots = table.roots(cell_of(number), last)
            if roots is None:  # walks in t, up to so late an iteration
                assert last > 30_000
                continue
            assert np.all(np.diff(roots) >= 0)
            assert np.all(np.abs(roots) >= 0.5 * np.abs(DEVIATES) - STEP)


def test_between_two_iterations_they_are_interpolated(table):
    cell = cell_of(int(table.numbers[3]))
    low, high = (table.roots(cell, last) for last in (300, 3000))
    assert table.roots(cell, 10**0.5 * 300) == pytest.approx((low + high) / 2)
    assert table.roots(cell, 299) is None and table.roots(cell, 300_001) is None


def test_in_between_they_err_little_more_than_a_simulation_does(table, alone):
    """They differ from one by little more than two simulations differ."""
    program = program_of()
    numbers = np.random.default_rng(1).choice(table.numbers, 12, replace=False).tolist()
    ours, theirs = (np.sqrt(np.mean(d**2)) for d in program.differences(table, 1000, numbers))
    assert ours < 1.3 * theirs


def program_of():
    spec = importlib.util.spec_from_file_location(
        "critical_values", Path(__file__).parents[3] / "docs/critical_values.py"
    )
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


@pytest.mark.parametrize("content", [None, b"", b"PK\3\4 no archive", "other"])
def test_a_file_of_other_code_or_a_damaged_one_is_as_good_as_none(monkeypatch, tmp_path, content):
    path = tmp_path / "shipped.npz"
    if content == "other":
        held = packed(np.array([300.0, 3000.0]), {(0, 300.0): np.zeros(DEVIATES.size)})
        np.savez_compressed(path, **{**held, "code": np.array("other")})
    elif content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(shipped, "FILE", path)
    shipped_values.cache_clear()
    assert shipped_values() is None
    shipped_values.cache_clear()


def test_they_take_little_room():
    assert shipped.FILE.stat().st_size < 300_000
