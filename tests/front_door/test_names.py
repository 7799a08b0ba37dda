"""The names of the front door and of every folder: each leads to what it says, and costs nothing
until it is used."""

import ast
import importlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import ultraslow as us

ROOT = Path(__file__).parents[2]
ROOMS = ("diffusion", "probes", "analysis")
STUBS = [
    *sorted(path for room in ROOMS for path in (ROOT / room).rglob("__init__.pyi")),
    ROOT / "src" / "ultraslow" / "__init__.pyi",
]


def folder_of(stub):
    parts = stub.relative_to(ROOT).parts[:-1]
    return "ultraslow" if parts[0] == "src" else ".".join(["ultraslow", *parts])


def printed(program, *options):
    command = [sys.executable, *options, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("stub", STUBS, ids=folder_of)
def test_every_name_of_a_folder_is_that_of_its_module(stub):
    folder = importlib.import_module(folder_of(stub))
    told = [node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ImportFrom)]
    assert told
    for node in told:
        for alias in node.names:
            assert alias.asname == alias.name  # what type checkers take for exported
            assert alias.name in dir(folder)
            whole = ".".join(filter(None, [folder_of(stub), node.module]))
            if node.module is None:  # a folder within
                assert getattr(folder, alias.name).__name__ == f"{whole}.{alias.name}"
                continue
            assert getattr(folder, alias.name) is getattr(
                importlib.import_module(whole), alias.name
            )


def test_the_front_door_has_what_its_page_lists():
    contents = us.__doc__.split("Contents:")[1]
    listed = {line.split()[0] for line in contents.splitlines() if line.startswith("    ")}
    assert listed == {*us.__all__} == {*dir(us)} - {"__version__"}
    assert "__version__" in dir(us)
    assert all(getattr(us, name).__doc__ for name in us.__all__)
    everything = {}
    exec("from ultraslow import *", everything)
    assert set(us.__all__) <= set(everything)


def test_the_version_is_that_of_the_distribution():
    assert us.__version__ == version("ultraslow")
    command = [sys.executable, "-m", "ultraslow", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"ultraslow {us.__version__}\n"


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "ultraslow", "xyz"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no command 'xyz'; there are: demo, train" in done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such"):
        _ = us.no_such


def test_nothing_heavy_is_imported_before_it_is_used():
    heavy = {"torch", "xarray", "numpy", "scipy", "matplotlib", "pandas", "statsmodels", "netCDF4"}
    listed = "import sys; {}; print(*sys.modules)"
    assert not heavy & {*printed(listed.format("import ultraslow as us; dir(us); us.analysis"))}
    fitting = {*printed(listed.format("import ultraslow as us; us.load, us.fit_growth"))}
    assert not {"torch", "matplotlib", "statsmodels"} & fitting
