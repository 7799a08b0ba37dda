import pytest
import torch
from torch import nn

from probes.runs.config import Config
from probes.runs.datasets import facts
from probes.runs.ghost_norm import GhostNorm2d
from probes.runs.models import build
from probes.runs.resnet import ResNet
from probes.runs.wide_resnet import WideResNet

DIGITS = facts("digits")


@pytest.mark.parametrize(
    ("model", "kind"), [("resnet8", ResNet), ("resnet18", ResNet), ("wrn10-1", WideResNet)]
)
def test_models_by_name_fit_the_images(model, kind):
    network = build(Config(model=model), DIGITS)
    assert type(network) is kind
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_a_model_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "def flat(channels, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    network = build(Config(model="nets:flat"), DIGITS)
    assert isinstance(network[1], nn.Linear)


@pytest.mark.parametrize("model", ["resnet8", "wrn10-1"])
def test_ghost_normalization_where_asked_for(model):
    norms = [m for m in build(Config(model=model, ghost_size=20), DIGITS).modules()]
    ghosts = [m.ghost_size for m in norms if isinstance(m, GhostNorm2d)]
    assert ghosts and set(ghosts) == {20}
    plain = build(Config(model=model), DIGITS)
    assert not any(isinstance(m, GhostNorm2d) for m in plain.modules())
