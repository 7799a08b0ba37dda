"""What the documentation tells a reader to type is run here as it stands."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import xarray as xr

from ultraslow.diffusion import cli
from ultraslow.diffusion.recording.fields import FIELDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language, text=README):
    """Fenced blocks of a language; plain ones have none."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)
    return [body for name, body in fenced if name == language]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A folder like the reader's: a model, an optimizer, data, and a place for runs."""
    monkeypatch.chdir(tmp_path)
    model = torch.nn.Linear(4, 2)
    loader = [(torch.randn(8, 4), torch.randint(2, (8,))) for _ in range(40)]
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "criterion": torch.nn.CrossEntropyLoss(),
        "loader": loader,
    }


def test_the_three_uses_run_as_they_stand(study, tmp_path, capsys):
    attach, fit = blocks("python")
    exec(attach, study)
    assert xr.load_dataset("runs/r50-b8192-s0.nc")["iteration"][-1] == 40
    exec(fit, study)
    assert "exponent" in study["fit"]
    (report,) = [block for block in blocks("") if block.startswith("ultraslow")]
    program, *words = shlex.split(report)
    assert program == "ultraslow"
    assert cli.main(words) == 0
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "report.json").exists()
    for line in re.findall(r"`ultraslow ((?:fit|test) [^`]*)`", README):
        assert cli.main(shlex.split(line)) == 0


def test_the_optional_probes_run_as_they_stand(study):
    (attach,) = blocks("python", (ROOT / "docs" / "probes.md").read_text())
    study |= {
        "held_out": lambda model: {"loss": 0.5, "accuracy": 0.25},
        "batch_loss": lambda model, batch: study["criterion"](model(batch[0]), batch[1]),
        "batches": study["loader"][:2],
    }
    exec(attach, study)
    for inputs, targets in study["loader"] * 25:
        study["criterion"](study["model"](inputs), targets).backward()
        study["optimizer"].step()
        study["optimizer"].zero_grad()
    study["recorder"].close()
    run = xr.load_dataset("runs/resnet8-b64-s0.nc")
    named = re.findall(r"`([a-z_]+)`", (ROOT / "docs" / "probes.md").read_text())
    fields = set(named) & set(FIELDS) - {"gradient_sq", "noise_trace"}
    absent = {"group_learning_rate", "tensor_group", "model", "ghost_size"}
    assert fields - absent <= set(run.variables)
    held_out = run["held_out"].dropna("iteration", how="all")
    assert held_out["iteration"].values.tolist() == [0, 10, 100, 1000]


def test_make_targets_and_commands_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    text = README + (ROOT / "CONTRIBUTING.md").read_text()
    for target in set(re.findall(r"^make ([a-z]+) +#", text, re.M)):
        assert re.search(rf"^{target}:.*##", makefile, re.M), target
    named = set(re.findall(r"`ultraslow ([a-z]+)", README)) | {"train", "simulate"}
    assert named <= set(cli.commands())


def test_links_lead_to_files():
    for link in re.findall(r"\]\(([^)h#][^)]*)\)", README):
        assert (ROOT / link).exists(), link


def test_every_command_explains_itself_with_an_example(capsys):
    for name in cli.commands():
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0
        assert f"ultraslow {name}" in capsys.readouterr().out.split("Example", 1)[1], name
