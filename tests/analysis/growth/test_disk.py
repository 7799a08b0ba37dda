"""Critical values kept on disk: equal to the last digit, shared, and harmless where they fail."""

import ast
import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth import Settings, fit_growth, grids
from ultraslow.analysis.growth.critical_values import Rows, cache_folder, cell_of, disk
from ultraslow.analysis.growth.critical_values.simulation import NullRatios

ROOT = Path(__file__).parents[3]
TIMES = np.geomspace(10, 1e5, 30)
ROW = np.linspace(-2, 2, 19)


def curve(seed=0):
    noise = 0.01 * np.random.default_rng(seed).standard_normal(TIMES.size)
    return xr.DataArray(np.log(TIMES) / 9 + noise, {"iteration": TIMES}, ["iteration"])


@pytest.fixture
def anew(monkeypatch, tmp_path):
    """Forget the grids of this process, before and after; what is kept is kept in a folder."""
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path / "kept"))

    def forget():
        grids._null_ratios.cache_clear()
        grids._frame.cache_clear()

    forget()
    yield forget
    forget()


def fit():
    return fit_growth(curve(), draws=200)


def kept_file(tmp_path):
    (found,) = (tmp_path / "kept").glob(f"*{disk.SUFFIX}")
    return found


def null_of():
    return grids.time_grid(TIMES, Settings(draws=200)).test.null


def no_simulation(*_):
    raise AssertionError("simulated what is kept")


def test_kept_values_give_the_same_fit_to_the_last_digit(anew, monkeypatch, tmp_path):
    monkeypatch.setenv(disk.VARIABLE, "off")
    without = fit()
    assert not (tmp_path / "kept").exists()
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path / "kept"))
    anew()
    first = fit()
    anew()
    monkeypatch.setattr(NullRatios, "simulated", no_simulation)
    second = fit()
    for found in (first, second):
        xr.testing.assert_identical(found, without)


def test_another_seed_another_grid_or_another_code_has_a_file_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path))
    one = disk.rows_of(b"inputs", 19).path
    assert one == disk.rows_of(b"inputs", 19).path
    assert one != disk.rows_of(b"other inputs", 19).path
    monkeypatch.setattr(disk, "made_by", lambda: "other code")
    assert one != disk.rows_of(b"inputs", 19).path
    monkeypatch.setattr(disk, "made_by", lambda: "")  # code that cannot be read
    assert disk.rows_of(b"inputs", 19).path is None


def test_the_code_that_names_a_file_is_all_that_simulates():
    """Every module that the simulation imports, or that those import, is in the digest."""
    texts, waiting = {}, ["analysis/growth/critical_values/simulation.py"]
    while waiting:
        path = waiting.pop()
        if path in texts or path.endswith("critical_values/disk.py"):
            continue
        texts[path] = ast.parse((ROOT / path).read_text())
        for node in ast.walk(texts[path]):
            if isinstance(node, ast.ImportFrom):
                waiting.extend(imported(path, node))
    assert set(texts) <= set(disk.SOURCES)
    assert all((ROOT / path).is_file() for path in disk.SOURCES)


def imported(path, node):
    """Files of this package that a statement imports from."""
    parts = (node.module or "").split(".")
    if node.level:
        parts = [*Path(path).parts[: -node.level], *filter(None, parts)]
    elif parts[0] != "ultraslow":
        return
    else:
        parts = parts[1:]
    place = Path(*parts)
    if (ROOT / place.with_suffix(".py")).is_file():
        yield str(place.with_suffix(".py"))
        return
    wanted = {alias.name for alias in node.names}
    for entry in ast.parse((ROOT / place / "__init__.pyi").read_text()).body:
        if wanted & {alias.name for alias in entry.names}:
            yield str(place / f"{entry.module}.py")


def test_a_row_comes_back_as_it_was(tmp_path):
    rows = Rows(tmp_path / "a.rows", 19)
    rows.add(7, ROW)
    rows.add(2**40, -ROW)
    found = Rows(tmp_path / "a.rows", 19).new()
    assert set(found) == {7, 2**40}
    assert np.array_equal(found[7], ROW) and np.array_equal(found[2**40], -ROW)
    reader = Rows(tmp_path / "a.rows", 19)
    reader.new()
    assert reader.new() == {}  # nothing has come
    rows.add(8, ROW)
    assert set(reader.new()) == {7, 8, 2**40}


@pytest.mark.parametrize("at", [0, 3, 6, 20, 180, 250, -1])
def test_a_flipped_bit_costs_the_row_it_is_in_and_no_other(tmp_path, at):
    path = tmp_path / "a.rows"
    rows = Rows(path, 19)
    for number in range(3):
        rows.add(number, ROW + number)
    content = bytearray(path.read_bytes())
    content[at] ^= 16
    path.write_bytes(content)
    found = Rows(path, 19).new()
    hit = (at % len(content)) // (len(content) // 3)
    assert set(found) == {0, 1, 2} - {hit}
    assert all(np.array_equal(row, ROW + number) for number, row in found.items())
    assert path.stat().st_size == 2 * len(content) // 3  # written anew without it
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("left", [0, 1, 10, 100])
def test_a_row_cut_off_by_a_full_disk_does_not_hide_those_after_it(tmp_path, left):
    path = tmp_path / "a.rows"
    Rows(path, 19).add(1, ROW)
    path.write_bytes(path.read_bytes()[:left])
    Rows(path, 19).add(2, -ROW)
    found = Rows(path, 19).new()
    assert set(found) == {2} and np.array_equal(found[2], -ROW)


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"row1" * 3000, os.urandom(5000)])
def test_any_other_file_is_as_good_as_none(anew, tmp_path, content):
    wanted = fit()
    kept_file(tmp_path).write_bytes(content)
    anew()
    xr.testing.assert_identical(fit(), wanted)


def test_a_full_disk_is_told_once_where_the_place_was_asked_for(anew, monkeypatch, tmp_path):
    real = os.write

    def full(opened, content):
        real(opened, content[:50])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk.os, "write", full)
    with pytest.warns(UserWarning, match="ULTRASLOW_CACHE: nothing can be kept in") as told:
        found = fit()
    assert len(told) == 1 and "No space left on device" in str(told[0].message)
    monkeypatch.undo()
    anew()
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path / "kept"))
    xr.testing.assert_identical(fit(), found)


def test_a_place_of_the_default_that_cannot_be_written_is_passed_over_in_silence(
    anew, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.delenv(disk.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder() is not None
    assert np.isfinite(fit()["exponent"])  # warnings are errors here


@pytest.mark.parametrize("said", ["off", " OFF ", "0", "none"])
def test_the_variable_disables(monkeypatch, said):
    monkeypatch.setenv(disk.VARIABLE, said)
    assert cache_folder() is None


def test_the_files_not_used_for_longest_go(monkeypatch, tmp_path):
    monkeypatch.setattr(disk, "MOST_FILES", 3)
    for place in range(5):
        path = tmp_path / f"{place}.rows"
        Rows(path, 19).add(0, ROW)
        os.utime(path, (1000 * place + 1, 1000 * place + 1))
        if place == 3:  # what is read is of use
            Rows(tmp_path / "1.rows", 19).new()
    assert {path.stem for path in tmp_path.glob("*.rows")} == {"1", "3", "4"}


def test_a_process_waits_for_the_one_that_began_a_row_and_not_for_one_that_died(tmp_path):
    path = tmp_path / "a.rows"
    words = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from ultraslow.analysis.growth.critical_values import Rows\n"
        f"rows = Rows(Path({str(path)!r}), 19)\n"
        "with rows.claimed(5) as free:\n"
        "    print(free, flush=True)\n"
        "    sys.stdin.readline()\n"
        "    rows.add(5, np.zeros(19))\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    ) as other:
        try:
            assert other.stdout.readline().strip() == "True"
            mine = Rows(path, 19)
            with mine.claimed(5, patience=0.0) as free:
                assert not free
            with mine.claimed(6, patience=0.0) as free:
                assert free  # another row
            began = time.monotonic()
            with mine.claimed(5, patience=0.2) as free:
                assert free and time.monotonic() - began >= 0.2  # in vain
            threading.Timer(0.3, other.kill).start()
            with mine.claimed(5, patience=30.0) as free:
                assert free and time.monotonic() - began < 25
        finally:
            other.kill()


def test_cells_that_another_has_kept_meanwhile_are_taken_over(anew, monkeypatch):
    fit()
    first = null_of()
    wanted = dict(first.roots)
    anew()
    second = null_of()
    assert {cell: roots.tolist() for cell, roots in second.roots.items()} == {
        cell: roots.tolist() for cell, roots in wanted.items()
    }
    more = cell_of(max(disk_numbers(first)) + 64)
    first.simulate_cells([more])
    monkeypatch.setattr(NullRatios, "simulated", no_simulation)
    second.simulate_cells([more])
    assert np.array_equal(second.roots[more], first.roots[more])


def disk_numbers(null):
    return Rows(null.kept.path, null.kept.width).new()
