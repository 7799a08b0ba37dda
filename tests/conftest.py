"""What tests of several packages share."""

import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from leftovers import MARK, end_processes

from ultraslow.diffusion.recording import contract

# Seconds that a slow test may take: trainings of every recipe, simulations.
SLOW = 3600


def pytest_configure():
    """Have the processes that tests start write their stacks when they are ended by a signal."""
    os.environ["PYTHONFAULTHANDLER"] = "1"
    os.environ[MARK] = str(os.getpid())
    if "PYTEST_XDIST_WORKER" not in os.environ:
        # Critical values are shared by the processes of this session, and with no other.
        os.environ["ULTRASLOW_CACHE"] = tempfile.mkdtemp(prefix="ultraslow-cache-")


def pytest_unconfigure():
    """Remove what was kept for this session."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ.pop("ULTRASLOW_CACHE", ""), ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Give slow tests more time."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """End the processes of a test that failed, also of one that took too long."""
    report = yield
    if report.failed:
        end_processes(item.nodeid)
    return report


def single_tensor(distance, times, *, batch_size=64, seed=0, rate=0.1, **more):
    """A recording of one tensor whose distance is given, at a constant rate under the √M rule."""
    times = np.asarray(times)
    values = {
        "iteration": times,
        "tensor": ["w"],
        "tensor_size": [100],
        "distance_sq": np.asarray(distance)[:, None] ** 2,
        "weight_sq": np.full((times.size, 1), 100.0),
        "overlap": np.full((times.size, 1), 100.0),
        "learning_rate": np.full(times.size, rate),
        "learning_rate_sum": rate * times,
        "run": f"b{batch_size}-s{seed}",
        "batch_size": batch_size,
        "seed": seed,
        "scaling": "sqrt",
        **more,
    }
    return xr.Dataset.from_dict(contract.pack(values))


@pytest.fixture(scope="session")
def single():
    """The function that makes a recording of one tensor."""
    return single_tensor


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, steered by playwright; tests skip where there is none.

    With BROWSER_TESTS=required, as in continuous integration, they fail there.
    """
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    missing = "" if found else f"no browser is installed (looked for {', '.join(names)})"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = missing or "playwright is not installed: pip install -e '.[test]'"
    if missing and os.environ.get("BROWSER_TESTS") == "required":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    with sync_playwright() as steered:
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        running = steered.chromium.launch(executable_path=found, args=options)
        yield running
        running.close()


@pytest.fixture(scope="session")
def compact():
    """The program that keeps recordings in less room."""
    return _program("compact")


@pytest.fixture(scope="session")
def reproduce():
    """The program that compares recordings made anew with shipped ones."""
    return _program("reproduce")


def _program(name):
    """A program of docs/, which may import others that stand there."""
    folder = str(Path(__file__).parent.parent / "docs")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
