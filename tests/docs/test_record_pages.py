"""The code of the pages on recording, run as it stands."""

import re
from pathlib import Path

import pytest
import torch
import xarray as xr

FOLDER = Path(__file__).parents[2] / "docs" / "record"


def blocks(name):
    """The Python of a page, block by block."""
    return re.findall(r"^```python\n(.*?)^```", (FOLDER / name).read_text(), re.S | re.M)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """What a reader has: a network, an optimizer, images, and a folder."""
    monkeypatch.chdir(tmp_path)
    model = torch.nn.Linear(4, 2)
    loader = [(torch.randn(64, 4), torch.randint(2, (64,))) for _ in range(12)]

    def train(model, optimizer, loader, recorder):
        for inputs, targets in loader:
            torch.nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            optimizer.zero_grad()

    return {
        "torch": torch,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "criterion": torch.nn.CrossEntropyLoss(),
        "loader": loader,
        "device": "cpu",
        "dtype": torch.bfloat16,
        "train": train,
    }


def test_any_loop(reader):
    for block in blocks("any-loop.md"):
        exec(block, reader)
    runs = [xr.load_dataset(f"runs/r50-b64-s{seed}.nc") for seed in range(4)]
    assert [run["iteration"].values[-1] for run in runs] == [12, 12, 12, 12]
    assert ["noise_trace" in run for run in runs] == [False, True, False, False]
