import random
import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from ultraslow import probes
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
    assert [evaluation.schedule.due(t) for t in (0, 1, 4)] == [True, False, True]
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

    evaluation = Evaluation(function, [0])
    with pytest.raises(ValueError, match="is gone") if raises else nullcontext():
        assert evaluation.measure(model) == {"loss": 1.0}
    assert_unchanged(model, before)


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


def test_an_exception_is_told_of_and_kept():
    def function(m):
        raise OSError("no such file")

    evaluation = Evaluation(function, [0, 1])
    with pytest.raises(OSError, match="no such file"):
        evaluation.measure(network())
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
    with pytest.raises(TypeError, match=re.escape(message)):
        Evaluation(lambda m: values, [0]).measure(network())


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
    evaluation = Evaluation(lambda m: {"loss": 1.0, "top5": 0.5}, [0])
    with pytest.warns(RuntimeWarning) as told:
        for _ in range(2):
            np.testing.assert_equal(evaluation.row(evaluation.measure(network())), [1.0, np.nan])
    assert [str(warning.message) for warning in told] == [
        "the evaluation returned ['top5'], which are not recorded: metrics are "
        "['loss', 'accuracy']"
    ]


def train(path, evaluation, *, updates=20, stop=None, **options):
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = probes.attach(
        model, optimizer, path, batch_size=4, evaluation=evaluation, **options
    )
    for _ in range(updates):
        model(torch.randn(4, 3)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    if stop is None:
        recorder.close()
    return model, recorder


def norm(model):
    return {"loss": model.weight.norm(), "accuracy": 0.5}


def held_out(path):
    run = xr.load_dataset(path)["held_out"]
    return run.dropna("iteration", how="all")


def test_numbers_are_recorded_when_they_are_due_and_at_the_end(tmp_path):
    model, _ = train(tmp_path / "run", probes.Evaluation(norm, [0, 7]), schedule=[0, 10, 20])
    found = held_out(tmp_path / "run.nc")
    assert found["metric"].values.tolist() == ["loss", "accuracy"]
    assert found["iteration"].values.tolist() == [0, 7, 20]
    assert found.values[-1].tolist() == [float(model.weight.detach().norm()), 0.5]


def test_the_end_is_measured_whether_it_was_recorded_already_or_not(tmp_path):
    for name, schedule in (("recorded", [20]), ("not", [10])):
        train(tmp_path / name, probes.Evaluation(norm, [0]), schedule=schedule)
        assert held_out(tmp_path / f"{name}.nc")["iteration"].values.tolist() == [0, 20]


def test_it_is_called_once_an_iteration(tmp_path):
    calls = []
    evaluation = probes.Evaluation(lambda m: calls.append(1) or {"loss": 0.0}, [0, 20])
    train(tmp_path / "run", evaluation)
    assert len(calls) == 2


def test_metrics_that_are_not_given_are_nan_and_others_are_left_out(tmp_path):
    evaluation = probes.Evaluation(
        lambda m: {"loss": 1.0, "extra": 3.0}, [0], metrics=["loss", "top5"]
    )
    with pytest.warns(RuntimeWarning, match=r"returned \['extra'\], which are not recorded"):
        train(tmp_path / "run", evaluation)
    found = held_out(tmp_path / "run.nc")
    assert found["metric"].values.tolist() == ["loss", "top5"]
    np.testing.assert_array_equal(found.values, [[1.0, np.nan], [1.0, np.nan]])


def test_default_schedule_is_sparse(tmp_path):
    train(tmp_path / "run", probes.Evaluation(norm), updates=120)
    expected = [0, 1, 2, 3, 4, 6, 10, 16, 25, 40, 63, 100, 120]
    assert held_out(tmp_path / "run.nc")["iteration"].values.tolist() == expected


def test_a_failing_function_leaves_the_other_records(tmp_path):
    def function(model):
        raise OSError("gone")

    switched_off = r"^the evaluation failed and was switched off: OSError\('gone'\)$"
    with pytest.warns(RuntimeWarning, match=switched_off) as told:
        train(tmp_path / "run", probes.Evaluation(function, [0, 5]))
    assert len(told) == 1
    run = xr.load_dataset(tmp_path / "run.nc")
    assert np.isnan(run["held_out"]).all()
    assert np.isfinite(run["distance_sq"]).all()


def test_backward_passes_of_an_evaluation_are_not_units(tmp_path):
    def function(model):
        with torch.enable_grad():
            model(torch.ones(2, 3)).sum().backward()
        return {"loss": 0.0}

    train(tmp_path / "run", probes.Evaluation(function, range(0, 20, 3)))
    units = xr.load_dataset(tmp_path / "run.nc")["units"].values
    assert set(units[1:].tolist()) == {1.0}


def test_a_run_goes_on_with_its_metrics(tmp_path):
    torch.manual_seed(0)
    evaluation = probes.Evaluation(norm, [0, 15])
    _, recorder = train(tmp_path / "run", evaluation, updates=10, stop=True)
    model = recorder._model
    with pytest.warns(RuntimeWarning, match="schedule of evaluation goes beyond .*, 10"):
        recorder.close()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="metric: found"):
        probes.attach(
            model, optimizer, tmp_path / "run", batch_size=4, resume=10,
            evaluation=probes.Evaluation(norm, [0], metrics=["other"]),
        )  # fmt: skip
    with pytest.raises(ValueError, match="the recording has held_out, which 'evaluation' makes"):
        probes.attach(model, optimizer, tmp_path / "run", batch_size=4, resume=10)
    evaluation = probes.Evaluation(norm, [0, 15])
    with probes.attach(
        model, optimizer, tmp_path / "run", batch_size=4, resume=10, evaluation=evaluation
    ):
        for _ in range(10):
            model(torch.randn(4, 3)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert held_out(tmp_path / "run.nc")["iteration"].values.tolist() == [0, 10, 15, 20]


@pytest.mark.parametrize("metrics", ["loss", (), ("loss", "loss")])
def test_metrics_are_different_names(metrics):
    with pytest.raises(ValueError, match="metrics: found .* expected different names"):
        probes.Evaluation(norm, metrics=metrics)
