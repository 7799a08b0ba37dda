import pytest
import torch
from torch import nn

from ultraslow.probes.runs.config import OPTIMIZERS, Config
from ultraslow.probes.runs.training.optimizers import optimizer_of, parameter_groups

TORCH = [name for name in OPTIMIZERS if name not in ("lars", "lamb")]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))


def stepped(name, gradient=1.0, steps=1, **settings):
    """A weight that starts at 1 after steps with a constant gradient."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    config = Config(optimizer=name, **settings)
    optimizer = optimizer_of(model, config, learning_rate=0.1)
    for _ in range(steps):
        model.weight.grad = torch.full_like(model.weight, gradient)
        optimizer.step()
    return model.weight.item()


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        # Two steps of gradient 1 at rate 0.1 with momentum 0.5, by hand.
        ("sgd", {"momentum": 0.5}, 1 - 0.1 * (1 + 1.5)),
        ("nesterov", {"momentum": 0.5}, 1 - 0.1 * (1.5 + 1.75)),
        # The first two steps of Adam with a constant gradient are of length η.
        ("adam", {"momentum": 0.9}, 0.8),
        # Weights shrink by 1 − ηλ before each such step.
        ("adamw", {"weight_decay": 0.5}, ((0.95 - 0.1) * 0.95) - 0.1),
        # Adagrad divides by √(Σ g²): 1, then √2.
        ("adagrad", {}, 1 - 0.1 * (1 + 2**-0.5)),
        # RMSprop with smoothing 0.99: √0.01, then √0.0199; momentum 0.
        ("rmsprop", {"momentum": 0.0}, 1 - 0.1 * (0.01**-0.5 + 0.0199**-0.5)),
    ],
)
def test_two_steps_by_hand(name, settings, expected):
    assert stepped(name, steps=2, **settings) == pytest.approx(expected, rel=1e-5)


def test_weight_decay_of_sgd_adds_to_the_gradient():
    assert stepped("sgd", gradient=0.0, weight_decay=0.5) == pytest.approx(0.95)


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("decay_vectors", [True, False])
def test_every_parameter_is_in_one_group(name, decay_vectors):
    model = network()
    config = Config(optimizer=name, weight_decay=0.0, decay_vectors=decay_vectors)
    optimizer = optimizer_of(model, config, learning_rate=0.1)
    owned = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(map(id, model.parameters()))


def test_vectors_are_spared():
    model = network()
    decayed, spared = parameter_groups(model, weight_decay=0.1, decay_vectors=False)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in decayed["params"]} == {4, 2}
    assert {p.ndim for p in spared["params"]} == {1}
    [together] = parameter_groups(model, weight_decay=0.1, decay_vectors=True)
    assert len(together["params"]) == 6


def test_lars_scales_the_gradient_to_the_weights():
    pytest.importorskip("pytorch_optimizer")
    # η·0.001·‖w‖/‖g‖·g with the package's trust coefficient, for a weight of 1.
    for gradient in (1.0, 50.0):
        assert stepped("lars", gradient=gradient) == pytest.approx(1 - 0.1 * 0.001)


def test_lamb_steps_by_the_length_of_the_weights():
    pytest.importorskip("pytorch_optimizer")
    # η·‖w‖/‖r‖·r with r = m/√v: the length of a step is η·‖w‖ whatever the gradient is.
    for gradient in (1.0, 50.0):
        assert stepped("lamb", gradient=gradient) == pytest.approx(0.9, rel=1e-4)
        assert stepped("lamb", gradient=gradient, steps=3) == pytest.approx(0.9**3, rel=1e-4)
