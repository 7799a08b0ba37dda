import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from ultraslow import probes


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

    with pytest.warns(RuntimeWarning, match="the evaluation failed and was switched off"):
        train(tmp_path / "run", probes.Evaluation(function, [0, 5]))
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
