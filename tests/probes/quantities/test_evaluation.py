import random

import numpy as np
import pytest
import torch
from torch import nn

from ultraslow.probes.quantities.evaluation import Evaluation, undisturbed


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))


def snapshot(model):
    return {
        "tensors": {name: value.clone() for name, value in model.state_dict().items()},
        "places": {name: value.data_ptr() for name, value in model.state_dict().items()},
        "flags": [module.training for module in model.modules()],
        "gradients": [p.grad for p in model.parameters()],
        "gradient values": [
            None if p.grad is None else p.grad.clone() for p in model.parameters()
        ],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
    }


def assert_unchanged(model, before):
    now = snapshot(model)
    for name, value in before["tensors"].items():
        assert torch.equal(now["tensors"][name], value), name
    for key in ("places", "flags", "python", "numpy"):
        assert now[key] == before[key], key
    assert torch.equal(now["torch"], before["torch"])
    for grad, values, same in zip(
        now["gradients"], before["gradient values"], before["gradients"], strict=True
    ):
        assert grad is same
        assert grad is None or torch.equal(grad, values)


def disturb(model):
    """Everything a careless function does, its result aside."""
    model.train()
    with torch.enable_grad():
        model(torch.randn(16, 4)).sum().backward()
    model[1].running_mean = torch.zeros(8)
    model[1].num_batches_tracked += 5
    random.random()
    np.random.rand()  # noqa: NPY002


def trained():
    """A model in the middle of training: gradients on some parameters, one part frozen in eval."""
    model = network()
    model(torch.randn(16, 4)).sum().backward()
    model[3].weight.grad = None
    model[1].eval()
    return model


def test_numbers_of_the_function():
    model = trained()
    evaluation = Evaluation(
        lambda m: {"loss": torch.tensor(0.5), "accuracy": np.float32(0.25), "correct": 7}, [0, 4]
    )
    assert [evaluation.due(t) for t in (0, 1, 4)] == [True, False, True]
    assert evaluation.measure(model) == {"loss": 0.5, "accuracy": 0.25, "correct": 7.0}


def test_it_runs_in_evaluation_mode_without_gradients():
    model = trained()
    seen = []

    def function(m):
        seen.append((m.training, m[1].training, torch.is_grad_enabled()))
        return {}

    Evaluation(function, [0]).measure(model)
    assert seen == [(False, False, False)]


@pytest.mark.parametrize("raises", [False, True])
def test_training_is_left_as_it_was(raises):
    model = trained()
    before = snapshot(model)

    def function(m):
        disturb(m)
        if raises:
            raise ValueError("the held-out set is gone")
        return {"loss": 1.0}

    told = []
    evaluation = Evaluation(function, [0], warn=told.append)
    assert evaluation.measure(model) == ({} if raises else {"loss": 1.0})
    assert_unchanged(model, before)
    assert len(told) == raises


def test_a_step_after_an_evaluation_is_the_step_without_one():
    def train(evaluation):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        torch.manual_seed(1)
        for _ in range(3):
            loss = model(torch.randn(16, 4)).square().mean()
            evaluation.measure(model)  # between forward and backward, the worst moment
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model.state_dict()

    def function(m):
        disturb(m)
        return {"loss": 1.0}

    bare, probed = train(Evaluation(lambda m: {}, [0])), train(Evaluation(function, [0]))
    for name, value in bare.items():
        assert torch.equal(probed[name], value), name


def test_an_exception_switches_it_off_with_one_warning():
    def function(m):
        raise OSError("no such file")

    evaluation = Evaluation(function, [0, 1])
    with pytest.warns(RuntimeWarning, match="switched off: OSError\\('no such file'\\)") as caught:
        assert evaluation.measure(network()) == {}
        assert evaluation.measure(network()) == {}
    assert len(caught) == 1
    assert not evaluation.due(1)
    assert evaluation.failed == "OSError('no such file')"


def test_an_interrupt_is_not_swallowed():
    def function(m):
        raise KeyboardInterrupt

    model = trained()
    before = snapshot(model)
    with pytest.raises(KeyboardInterrupt):
        Evaluation(function, [0]).measure(model)
    assert_unchanged(model, before)


def test_numbers_that_are_not_finite_are_counted():
    evaluation = Evaluation(lambda m: {"loss": float("nan"), "accuracy": 0.1}, [0])
    assert evaluation.measure(network()) == {"accuracy": 0.1}
    assert evaluation.measure(network()) == {"accuracy": 0.1}
    assert evaluation.nonfinite == {"loss": 2}
    assert not evaluation.failed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "returned list, expected numbers by name"),
        ({"loss": "1.0"}, "returned '1.0' as 'loss', expected one number"),
        ({"loss": torch.zeros(2)}, "expected one number"),
        ({"loss": None}, "returned None as 'loss'"),
    ],
)
def test_what_is_no_number_is_said(values, message):
    told = []
    evaluation = Evaluation(lambda m: values, [0], warn=told.append)
    assert evaluation.measure(network()) == {}
    assert message in told[0]


def test_function_has_to_be_one():
    with pytest.raises(TypeError, match="function: found dict, expected a function"):
        Evaluation({}, [0])


def test_rewinding_repeats_buffers_and_random_numbers():
    model = network()
    with undisturbed(model) as state, torch.no_grad():
        first = model(torch.randn(16, 4)), model[1].running_mean.clone()
        assert not torch.equal(model(torch.randn(16, 4)), first[0])
        state.rewind()
        assert torch.equal(model(torch.randn(16, 4)), first[0])
        assert torch.equal(model[1].running_mean, first[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_random_states_of_an_accelerator():
    model = network().cuda()
    before = torch.cuda.get_rng_state()
    Evaluation(lambda m: {"x": torch.randn(3, device="cuda").sum()}, [0]).measure(model)
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_numbers_without_a_place_are_said_once():
    told = []
    evaluation = Evaluation(lambda m: {"loss": 1.0, "top5": 0.5}, [0], warn=told.append)
    for _ in range(2):
        np.testing.assert_equal(evaluation.row(evaluation.measure(network())), [1.0, np.nan])
    assert told == [
        "the evaluation returned ['top5'], which are not recorded: metrics are "
        "['loss', 'accuracy']"
    ]
