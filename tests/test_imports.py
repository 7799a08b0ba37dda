"""Imports point one way, between the packages, and between the folders of each."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("diffusion", "probes", "analysis")
# What a package may not import. A host's or another program's format's own library is asked for
# where it is met.
FORBIDDEN = {
    "diffusion": {"xarray", "netCDF4", "torch", "matplotlib", "pandas", "probes", "analysis"},
    "probes": {"analysis", "matplotlib"},
    "analysis": {"probes", "torch"},
}
FILES = "diffusion/recording/netcdf.py"  # reads and writes files, for all packages
DRAWING = ("analysis/report/figures", "analysis/plot/")
# Entries of a package from the ground up: each may import those of earlier lines, and of its own.
FLOORS = {
    "diffusion": (
        ("_validation", "moments", "predictions"),
        ("scaling",),
        ("displacement", "laws", "memory", "noise", "recording", "sketch"),
        ("terminal",),
        ("walks", "cli"),
    ),
    "probes": (
        ("distributed", "norms", "steps"),
        ("gradients",),
        ("buffer",),
        ("storage",),
        ("quantities", "cli"),
        ("recorder",),
        ("verification", "hosts", "runs", "checkpoints"),
    ),
    "analysis": (
        ("text",),
        ("intervals", "runs"),
        ("growth", "noise", "scores"),
        ("comparison", "planning", "study"),
        ("predictions",),
        ("plot", "importers", "exporters"),
        ("report",),
        ("cli",),
    ),
}


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
    """Dotted names of what a module imports; those of this distribution without `ultraslow.`."""
    here = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("ultraslow.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level] if node.level else ()
            named = [part for part in (node.module or "").split(".") if part]
            full = [*above, *named]
            full = full[1:] if full[:1] == ["ultraslow"] else full
            yield from (".".join([*full, alias.name]) for alias in node.names)


@pytest.mark.parametrize("package", PACKAGES)
def test_import_directions(package):
    assert modules(package)
    for path in modules(package):
        found = FORBIDDEN[package] & {name.split(".")[0] for name in imported(path)}
        if str(path.relative_to(ROOT)) == FILES:
            found -= {"xarray", "netCDF4"}
        if package == "analysis" and {"importers", "exporters"} & set(path.parts):
            continue
        assert not found, path


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_import_from_below(package):
    floor = {entry: k for k, entries in enumerate(FLOORS[package]) for entry in entries}
    for path in modules(package):
        entry = name_of(path).split(".")[1:2]
        if not entry:
            continue
        assert entry[0] in floor, f"{entry[0]} has no floor in this test"
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == package and parts[1:2] != entry and parts[1:2]:
                below = floor.get(parts[1])
                assert below is not None, f"{path}: imports {name}"
                assert below < floor[entry[0]] or parts[1] == entry[0], f"{path}: imports {name}"


def test_there_is_no_circle_of_modules():
    known = {name_of(path): path for package in PACKAGES for path in modules(package)}
    graph = {}
    for name, path in known.items():
        targets = set()
        for found in imported(path):
            parts = found.split(".")
            longest = next(
                (
                    ".".join(parts[:k])
                    for k in range(len(parts), 0, -1)
                    if ".".join(parts[:k]) in known
                ),
                None,
            )
            if (
                longest
                and longest not in (name, *PACKAGES)
                and known[longest].name != "__init__.py"
            ):
                targets.add(longest)
        graph[name] = targets
    done = set()

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, [*trail, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])


def test_only_figures_draw():
    for path in modules("analysis"):
        if "matplotlib" in {name.split(".")[0] for name in imported(path)}:
            assert str(path.relative_to(ROOT)).startswith(DRAWING), path


def test_folders_list_what_they_hold():
    """The docstring of a folder is its table of contents."""
    for package in PACKAGES:
        for folder in {path.parent for path in modules(package)}:
            tree = ast.parse((folder / "__init__.py").read_text())
            text = ast.get_docstring(tree, clean=False)
            listed = {line.split()[0] for line in text.splitlines() if line.startswith("    ")}
            there = {path.stem for path in folder.glob("[!_]*.py")}
            there |= {path.parent.name for path in folder.glob("*/__init__.py")}
            assert there <= listed, f"{folder}: {there - listed}"


def test_no_folder_exports_the_name_of_one_of_its_modules():
    """Importing the module would hide the other one."""
    for stub in (stub for package in PACKAGES for stub in (ROOT / package).rglob("__init__.pyi")):
        modules_there = {path.stem for path in stub.parent.glob("*.py")}
        modules_there |= {path.parent.name for path in stub.parent.glob("*/__init__.py")}
        names = {
            alias.asname or alias.name
            for node in ast.walk(ast.parse(stub.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module  # without one it is the module
            for alias in node.names
        }
        assert not names & modules_there, stub


def test_data_holds_no_module():
    assert list((ROOT / "data").rglob("*.py")) == []
