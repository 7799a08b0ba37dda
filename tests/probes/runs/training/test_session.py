import json

import pytest
import torch
from torch import nn

from ultraslow.probes.runs.config import PLACES, Config
from ultraslow.probes.runs.images.datasets import facts
from ultraslow.probes.runs.models.ghost_norm import GhostNorm2d
from ultraslow.probes.runs.models.resnet import ResNet, WideResNet
from ultraslow.probes.runs.training.session import build, metadata

CONFIG = Config(
    folder="/secret/place", data_folder="/secret/images/", data="folder", batch_size=96, seed=4
)


def test_recordings_say_what_was_trained_and_not_where():
    told = metadata(CONFIG, 500, 1234, 2)
    assert told["data"] == "images"
    assert told["data_size"] == 500
    assert told["parameters"] == 1234
    assert told["seed"] == told["settings"]["seed"] == 4
    assert not set(PLACES) & set(told["settings"])
    assert "secret" not in json.dumps(told)


@pytest.mark.parametrize(
    ("changes", "size"),
    [({}, 48), ({"microbatch": 16}, 16), ({"microbatch": 16, "ghost_size": 8}, 8)],
)
def test_ghost_size_is_that_of_the_batch_statistics(changes, size):
    config = Config(batch_size=96, **changes)
    assert metadata(config, 500, 1, 2)["ghost_size"] == size


def test_adagrad_has_no_momentum():
    assert metadata(Config(optimizer="adagrad"), 1440, 1, 2)["momentum"] == 0.0


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
