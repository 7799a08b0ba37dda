"""The code of the pages on recording, run as it stands."""

import re
import shlex
import subprocess
from collections import OrderedDict
from pathlib import Path

import fsspec
import pytest
import torch
import xarray as xr
from launches import torchrun

from ultraslow.diffusion import cli

FOLDER = Path(__file__).parents[2] / "docs" / "record"


def blocks(name):
    """The Python of a page, block by block."""
    return re.findall(r"^```python\n(.*?)^```", (FOLDER / name).read_text(), re.S | re.M)


# What a script imports that a reader writes.
TRAINING = """
import torch

criterion = torch.nn.CrossEntropyLoss()
dataset = torch.utils.data.TensorDataset(torch.randn(320, 4), torch.randint(2, (320,)))


def network():
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
"""


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


@pytest.mark.parametrize(("page", "run"), [("ddp", "ddp-s0"), ("fsdp2", "fsdp2-s0")])
def test_several_processes(page, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("training.py").write_text(TRAINING)
    (code,) = blocks(f"{page}.md")
    Path("train.py").write_text(code)
    (typed,) = re.findall(r"^torchrun .*$", (FOLDER / f"{page}.md").read_text(), re.M)
    assert typed == "torchrun --nproc-per-node=2 train.py"
    torchrun(tmp_path / "train.py")
    recorded = xr.load_dataset(f"runs/{run}.nc")
    assert recorded["iteration"].values[-1] == 10
    assert (recorded["noise_trace"].sum("tensor")[1:] > 0).all()


def test_going_on_after_a_stop(reader):
    def train(recorder, until):
        while recorder.iteration < until:
            inputs, targets = reader["loader"][recorder.iteration % 12]
            reader["criterion"](reader["model"](inputs), targets).backward()
            reader["optimizer"].step()
            reader["optimizer"].zero_grad()

    reader["train"] = train
    start = {name: value.clone() for name, value in reader["model"].state_dict().items()}
    begun, gone_on, again = blocks("resume.md")
    for block in (begun, gone_on):
        exec(block, reader)
    run = xr.load_dataset("runs/r50-b64-s0.nc")
    assert run["iteration"].values[-1] == 80
    now = reader["model"].state_dict()
    distance_sq = sum((now[name] - start[name]).square().sum().item() for name in start)
    assert run["distance_sq"].sum("tensor")[-1] == pytest.approx(distance_sq, rel=1e-5)
    exec(again, reader)  # from the checkpoint at 40 once more
    assert xr.load_dataset("runs/r50-b64-s0.nc")["iteration"].values[-1] == 120
    Path("checkpoint.pt").unlink()
    exec(again, reader)  # where there is none
    assert xr.load_dataset("runs/r50-b64-s0.nc")["iteration"].values[0] == 0


def test_big_models(reader, tmp_path, capsys):
    counted, attached, sharded = blocks("big-models.md")
    exec(counted, reader)
    page = (FOLDER / "big-models.md").read_text()
    printed = capsys.readouterr().out
    assert f"```\n{printed}```" in page
    blocks_ = torch.nn.ModuleDict({"attn": torch.nn.Linear(4, 4), "mlp": torch.nn.Linear(4, 2)})
    model = torch.nn.Sequential(OrderedDict(a=torch.nn.Sequential(OrderedDict(blocks_))))
    reader |= {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}
    exec(attached.replace("batch_size=512", "batch_size=64"), reader)
    recorded = xr.load_dataset("runs/1b-s0.nc")
    assert recorded["tensor"].values.tolist() == ["attention", "mlp"]
    compile(sharded, "big-models.md", "exec")  # run by tests/probes/big_run.py


def test_a_cluster(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (FOLDER / "slurm.md").read_text()
    (script,) = re.findall(r"^```bash\n(.*?)^```", page, re.S | re.M)
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert checked.returncode == 0, checked.stderr
    (typed,) = re.findall(r"^ultraslow (.*)$", page, re.M)
    assert cli.main(shlex.split(typed)) == 0
    with pytest.raises(SystemExit):
        cli.main(["sweep", "--help"])
    told = capsys.readouterr().out
    assert set(re.findall(r"`(--[a-z-]+)`", page)) <= set(re.findall(r"--[a-z-]+", told))


def test_recipes(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (FOLDER / "recipes.md").read_text()
    (recipe,) = re.findall(r"^```toml\n(.*?)^```", page, re.S | re.M)
    Path("mine.toml").write_text(recipe)
    for typed in re.findall(r"^ultraslow (.*)$", page, re.M):
        assert cli.main(shlex.split(typed)) == 0
    told = capsys.readouterr().out
    assert "limit-study" in told and "hoffer2017-cifar10" in told
    assert "mine: 8 runs, 0 done, 8 to train" in told


def test_watching(reader, capsys):
    code = blocks("any-loop.md")[0].replace("r50-b64-s0", "digits-b64-s0")
    exec(code, reader)
    (read,) = blocks("watching.md")
    exec(read, reader)
    assert capsys.readouterr().out.split()[0] == "12"


def test_the_page_on_stores_runs_as_it_stands(reader, capsys):
    """In the store of this process, in place of a server."""
    fsspec.filesystem("memory").store.clear()
    here = [text.replace("s3://", "memory://") for text in blocks("stores.md")]
    for text in here:
        exec(text, reader)
    assert reader["runs"]["r50-b64-s0"].attrs["state"] == "closed"
    page = (FOLDER / "stores.md").read_text().replace("s3://", "memory://")
    asked = re.findall(r"^ultraslow (.*)$", page, re.M)
    assert [words.split()[0] for words in asked] == ["info", "report"]
    for words in asked:
        assert cli.main(shlex.split(words)) in (0, 2), words  # 2: twelve updates are not fitted
    assert "memory://bucket/study/r50-b64-s0.nc" in capsys.readouterr().out
