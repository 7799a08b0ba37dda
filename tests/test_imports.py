"""Imports point one way: diffusion ← probes, diffusion ← analysis, and no further."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "diffusion": {"xarray", "torch", "matplotlib", "pandas", "probes", "analysis"},
    "probes": {"analysis", "matplotlib"},
    "analysis": {"probes", "torch"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_import_directions(package):
    paths = list((ROOT / package).rglob("*.py"))
    assert paths
    found = {str(path): FORBIDDEN[package] & set(imported(path)) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


def test_only_figures_draw():
    drawing = [p.name for p in (ROOT / "analysis").rglob("*.py") if "matplotlib" in imported(p)]
    assert drawing == ["figures.py"]


def test_data_holds_no_module():
    assert list((ROOT / "data").rglob("*.py")) == []
