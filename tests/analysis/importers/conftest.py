"""Logs as other programs write them, and the commands as they are installed."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from ultraslow.diffusion import cli

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(monkeypatch):
    """A function that runs a command with words, with the commands that pyproject.toml lists."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["entry-points"][cli.GROUP]
    entries = [EntryPoint(name, value, cli.GROUP) for name, value in listed.items()]
    monkeypatch.setattr(cli, "entry_points", lambda group: entries)
    return lambda *words: cli.main([str(word) for word in words])


@pytest.fixture
def write(tmp_path):
    """A function that writes a text into a file and returns its path."""

    def put(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return put


@pytest.fixture
def walk():
    """Weights on a known way: their steps, distances, norms and cosines, from the weights."""
    rng = np.random.default_rng(5)
    start = rng.standard_normal(50)
    steps = np.concatenate([[0], np.cumsum(rng.integers(1, 9, 60))])
    moves = 0.1 * rng.standard_normal((61, 50))
    moves[0] = 0
    weights = start + np.cumsum(moves, axis=0)
    norms = np.linalg.norm(weights, axis=1)
    return {
        "step": steps,
        "distance": np.linalg.norm(weights - start, axis=1),
        "norm": norms,
        "cosine": weights @ start / norms / norms[0],
        "overlap": weights @ start,
    }
