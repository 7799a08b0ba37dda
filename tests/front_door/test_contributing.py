"""CONTRIBUTING.md, followed to the letter on a copy of the tree: what it adds appears."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
STEPS = re.compile(
    r"[Ii]n\s+(?:the\s+(?P<new>new)\s+module\s+)?`(?P<file>[\w/]+\.pyi?)`|"
    r"(?P<where>above|below)\s+`(?P<anchor>[^`]+)`:|"
    r"`(?P<old>[^`]+)` becomes `(?P<become>[^`]+)`|"
    r"^```python\n(?P<code>.*?)^```",
    re.S | re.M,
)
USE = """
from pathlib import Path
import torch
import xarray as xr
import ultraslow as us
from ultraslow.diffusion import cli

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with us.attach(model, optimizer, "trained/run", batch_size=8, probes=["stalled"]):
    for update in range(9):
        inputs = torch.randn(8, 4)
        inputs[:, 3] = 0  # the last weight of both rows of four has no gradient
        model(inputs).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
stalled = xr.load_dataset("trained/run.nc")["stalled"]
assert stalled.sum("iteration").values.tolist() == [9 * 2, 0], stalled
assert stalled.attrs["cell_methods"] == "iteration: sum"

words = ["--iterations", "1000", "--seeds", "4", "--batch-sizes", "64"]
assert cli.main(["simulate", "law", "--folder", "runs", *words]) == 0
runs = us.load("runs/*.nc")
verdict = us.test(runs).sel(set="all runs", prediction="P11")
assert 0.4 < verdict["effect_low"] < verdict["effect_high"] < 0.6
us.report(runs, "report.html")
page = Path("report.html").read_text()
assert "Norm of the weights" in page
assert "distance at √T is half of that at T" in page
"""


def edited(copy, text):
    """Do what a text says: new modules, lines above and below others, words that change.

    Returns the files that were edited.
    """
    path, new, place, made = None, False, None, set()
    for step in STEPS.finditer(text):
        if step["file"]:
            path, new, place = copy / step["file"], bool(step["new"]), None
        elif step["where"]:
            place = step["where"], step["anchor"]
        elif step["old"]:
            assert path.read_text().count(step["old"]) == 1, step["old"]
            path.write_text(path.read_text().replace(step["old"], step["become"]))
        elif new:
            assert not path.exists(), path
            path.write_text(step["code"])
            new = False
        else:
            insert(path, *place, step["code"])
        if step["old"] or step["code"]:
            made.add(path)
    return made


def insert(path, where, anchor, code):
    """Put code above or below the one line that holds an anchor."""
    lines = path.read_text().splitlines(keepends=True)
    (found,) = [index for index, line in enumerate(lines) if anchor in line]
    lines.insert(found + (where == "below"), code)
    path.write_text("".join(lines))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A tree in which the page was followed."""
    copy = tmp_path_factory.mktemp("contribution")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("src", "diffusion", "probes", "analysis"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    (copy / "data").mkdir()
    (copy / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "test_imports.py", copy / "tests")
    shutil.copy(ROOT / "pyproject.toml", copy)
    files = edited(copy, PAGE.split("## To add a quantity")[1].split("## To add a host")[0])
    assert len(files) == 12
    return copy


def told(copy, *command, folder=None):
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder or copy,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_the_page_adds_appears(copy, tmp_path):
    told(copy, "-W", "error", "-c", USE, folder=tmp_path)


def test_what_the_page_adds_keeps_the_rules(copy):
    told(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_imports.py")
    pytest.importorskip("ruff")
    rooms = ["diffusion", "probes", "analysis"]
    told(copy, "-m", "ruff", "check", "--no-cache", *rooms)
    told(copy, "-m", "ruff", "format", "--no-cache", "--check", *rooms)
