import numpy as np
import pytest
import torch
import xarray as xr

from ultraslow import probes
from ultraslow.diffusion.sketch import two_time
from ultraslow.probes.quantities.weights import Measurements


def test_the_path_adds_single_steps_and_starts_anew_at_each_record():
    parameter = torch.nn.Parameter(torch.zeros(3))
    measurements = Measurements([parameter], probes=["path"])
    for step in (1.0, 2.0):
        with torch.no_grad():
            parameter += step
        measurements.update()
    first = measurements.mark()
    with torch.no_grad():
        parameter -= 3.0
    measurements.update()
    second = measurements.mark()
    assert float(first["step_sq"]) == pytest.approx(3 * (1 + 4))
    assert float(second["step_sq"]) == pytest.approx(3 * 9)
    assert first["squares"].flatten().tolist() == pytest.approx([27.0, 27.0])
    assert second["squares"].tolist() == [[0.0], [0.0]]


def test_the_path_goes_on_exactly_in_another_precision():
    model = torch.nn.Linear(30, 20).bfloat16()
    measurements = Measurements(list(model.parameters()), probes=["path"])
    measurements.update()
    model.float()
    expected = torch.zeros(2, dtype=torch.float64)
    for _ in range(3):
        for index, parameter in enumerate(model.parameters()):
            step = 1e-3 * torch.randn_like(parameter)
            before = parameter.detach().clone()
            with torch.no_grad():
                parameter += step
            expected[index] += (parameter.detach().double() - before.double()).square().sum()
        measurements.update()
    torch.testing.assert_close(measurements.mark()["step_sq"], expected, rtol=1e-6, atol=0)


def test_optional_probes_reach_the_recording(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(40, 50)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weights = []
    with probes.attach(
        model,
        optimizer,
        tmp_path / "run",
        batch_size=4,
        probes=["path", "trajectory"],
        schedule=[0, 5, 20],
    ):
        for step in range(20):
            if step in (0, 5):
                weights.append(
                    torch.cat([p.detach().flatten().double() for p in model.parameters()])
                )
            model(torch.randn(4, 40)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        weights.append(torch.cat([p.detach().flatten().double() for p in model.parameters()]))
    recording = xr.load_dataset(tmp_path / "run.nc")
    assert recording.attrs["sketch_seed"] == "0"
    true = [[float((s - t).square().sum()) for t in weights] for s in weights]
    estimate = two_time(recording["sketch"].values)
    assert np.all(np.abs(estimate.value - true) <= 5 * estimate.standard_error)
    assert np.all(recording["step_sq"].sum("tensor").values[1:] > 0)


def test_a_tensor_of_another_shape_switches_probes_off_and_stops_nothing():
    parameter = torch.nn.Parameter(torch.ones(3))
    measurements = Measurements([parameter], probes=["path", "trajectory"])
    shapes = {name: value.shape for name, value in measurements.mark().items()}
    parameter.data = torch.ones(2)
    with pytest.warns(RuntimeWarning, match="path probe failed"):
        measurements.update()
    with pytest.warns(RuntimeWarning) as told:
        found = measurements.mark()
    assert [str(warning.message).split(" failed")[0] for warning in told] == [
        "the distance probe",
        "the trajectory probe",
    ]
    measurements.update()
    assert {name: value.shape for name, value in found.items()} == shapes
    assert all(value.isnan().all() for value in found.values())
