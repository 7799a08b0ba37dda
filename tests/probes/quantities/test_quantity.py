from pathlib import Path

import numpy as np
import pytest
import ratio_run
import resume_run as runs
import torch
import xarray as xr
from launches import torchrun

from ultraslow import probes
from ultraslow.diffusion.recording.contract import check
from ultraslow.diffusion.recording.fields import FIELDS
from ultraslow.diffusion.sketch import two_time
from ultraslow.probes.buffer.schedule import schedule_of
from ultraslow.probes.distributed.processes import Processes
from ultraslow.probes.quantities.quantity import Quantities, Quantity, Subject
from ultraslow.probes.quantities.table import QUANTITIES, WITH_SETTINGS, quantities_of

CLOCKS = {"wall_time", "probe_seconds", "run"}


def subject_of(*parameters):
    named = {str(index): parameter for index, parameter in enumerate(parameters)}
    initial = [parameter.detach().clone() for parameter in parameters]
    return Subject(torch.nn.Module(), named, initial, Processes())


def measured(*parameters, probes=("path",)):
    return quantities_of(subject_of(*parameters), dict.fromkeys(["distance", *probes]))


def test_every_quantity_records_fields_that_are_declared():
    assert QUANTITIES.keys() > WITH_SETTINGS
    fields = [name for quantity in QUANTITIES.values() for name in quantity.fields]
    assert len(set(fields)) == len(fields)
    assert set(fields) <= FIELDS.keys()


def test_the_path_adds_single_steps_and_starts_anew_at_each_record():
    parameter = torch.nn.Parameter(torch.zeros(3))
    quantities = measured(parameter)
    for step in (1.0, 2.0):
        with torch.no_grad():
            parameter += step
        quantities.update()
    first = quantities.snapshot(2)
    with torch.no_grad():
        parameter -= 3.0
    quantities.update()
    second = quantities.snapshot(3)
    assert float(first["step_sq"]) == pytest.approx(3 * (1 + 4))
    assert float(second["step_sq"]) == pytest.approx(3 * 9)
    assert [first[name].tolist() for name in ("distance_sq", "weight_sq")] == [[27.0], [27.0]]
    assert [second[name].tolist() for name in ("distance_sq", "weight_sq")] == [[0.0], [0.0]]


def test_the_path_goes_on_exactly_in_another_precision():
    model = torch.nn.Linear(30, 20).bfloat16()
    quantities = measured(*model.parameters())
    quantities.update()
    model.float()
    expected = torch.zeros(2, dtype=torch.float64)
    for _ in range(3):
        for index, parameter in enumerate(model.parameters()):
            step = 1e-3 * torch.randn_like(parameter)
            before = parameter.detach().clone()
            with torch.no_grad():
                parameter += step
            expected[index] += (parameter.detach().double() - before.double()).square().sum()
        quantities.update()
    torch.testing.assert_close(quantities.snapshot(4)["step_sq"], expected, rtol=1e-6, atol=0)


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
    quantities = measured(parameter, probes=["path", "trajectory"])
    shapes = {name: value.shape for name, value in quantities.snapshot(0).items()}
    parameter.data = torch.ones(2)
    with pytest.warns(RuntimeWarning, match="path probe failed"):
        quantities.update()
    with pytest.warns(RuntimeWarning) as told:
        found = quantities.snapshot(1)
    assert [str(warning.message).split(" failed")[0] for warning in told] == [
        "the distance probe",
        "the trajectory probe",
    ]
    quantities.update()
    for values in (found, quantities.snapshot(2)):
        assert {name: value.shape for name, value in values.items()} == shapes
        assert all(value.isnan().all() for value in values.values())


class Twice(Quantity):
    """Due at two iterations, the second of which is one too many."""

    fields = ("loss_var",)
    called = "toy"

    def __init__(self, subject, settings=None):
        super().__init__(subject, settings)
        self.schedule, self.stopped = schedule_of([2, 5, 7]), 0

    def snapshot(self, iteration):
        if iteration == 5:
            raise OSError("gone")
        return {"loss_var": np.ones(2)}

    def nothing(self):
        return {"loss_var": np.full(2, np.nan)}

    def stop(self):
        self.stopped += 1


def test_a_quantity_with_a_schedule_of_its_own_is_nan_elsewhere_and_once_it_has_failed():
    toy = Twice(subject_of(torch.nn.Parameter(torch.ones(3))))
    quantities = Quantities({"toy": toy})
    assert [at for at in range(9) if quantities.due(at)] == [2, 5, 7]
    assert quantities.beyond(6) == ["toy"]
    assert quantities.snapshot(2, record=False) == {}
    np.testing.assert_equal(quantities.snapshot(2), {"loss_var": np.ones(2)})
    np.testing.assert_equal(quantities.snapshot(3), toy.nothing())
    with pytest.warns(RuntimeWarning, match=r"^the toy failed and was switched off: OSError"):
        np.testing.assert_equal(quantities.snapshot(5), toy.nothing())
    assert not quantities.due(7)
    np.testing.assert_equal(quantities.snapshot(7), toy.nothing())
    assert (toy.stopped, toy.failed) == (1, "OSError('gone')")
    assert quantities.at_close(8) == {}


@pytest.fixture
def declared(monkeypatch):
    """A new quantity, in the two tables that have to know of it."""
    monkeypatch.setitem(FIELDS, ratio_run.DECLARED.name, ratio_run.DECLARED)
    monkeypatch.setitem(QUANTITIES, "ratio", ratio_run.UpdateRatio)


def assert_same(found, expected):
    assert set(found.variables) == set(expected.variables)
    for name in set(expected.variables) - CLOCKS:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=str(name))


def reference():
    """The recorded sums of a run, from its weights after each update `(record, tensor)`."""
    model, ratios = runs.network(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for iteration in range(1, runs.LAST + 1):
        optimizer.param_groups[0]["lr"] = 0.1 / iteration**0.5
        before = [p.detach().double().clone() for p in model.parameters()]
        runs.update(model, optimizer, None, runs.microbatches(iteration))
        pairs = zip(model.parameters(), before, strict=True)
        ratios.append([float((p.detach() - b).norm() / p.detach().norm()) for p, b in pairs])
    ends = [*ratio_run.SCHEDULE, runs.LAST]
    starts = [0, *ratio_run.SCHEDULE]
    return [np.sum(ratios[a:b], axis=0) for a, b in zip(starts, ends, strict=True)]


def test_a_new_quantity_is_recorded_and_carried_through_a_saved_state(tmp_path, declared):
    ratio_run.whole(tmp_path / "whole", runs.network(), momentum=0.9)
    expected = xr.load_dataset(tmp_path / "whole.nc")
    check(expected)
    assert expected["iteration"].values.tolist() == [0, *ratio_run.SCHEDULE, runs.LAST]
    found = expected["update_ratio"]
    assert found.attrs["cell_methods"] == "iteration: sum"
    assert (found[0] == 0).all()
    np.testing.assert_allclose(found[1:], reference(), rtol=1e-4)
    file = tmp_path / "state.pt"
    ratio_run.cut(tmp_path / "cut", runs.network(), runs.loaded, file=file, momentum=0.9)
    assert_same(xr.load_dataset(tmp_path / "cut.nc"), expected)
    sums = torch.load(file, weights_only=True)["recorder"]["sums"]
    assert sorted(sums) == ["step_sq", "update_ratio"]
    assert (sums["update_ratio"] > 0).all()


def test_a_run_that_lacks_a_quantity_is_refused(tmp_path, declared):
    model = runs.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probes.attach(model, optimizer, tmp_path / "run", batch_size=8, probes=["ratio"]).close()
    with pytest.raises(ValueError, match="the recording has update_ratio, which 'ratio' makes"):
        probes.attach(model, optimizer, tmp_path / "run", batch_size=8, probes=[], resume=True)
    with pytest.raises(ValueError, match=r"expected names of \['distance', 'noise', 'path', 'rat"):
        probes.attach(model, optimizer, tmp_path / "run", batch_size=8, probes=["gns"])


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ratio")
    torchrun(Path(ratio_run.__file__), folder)
    return folder


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_a_new_quantity_on_two_processes(two_processes, tmp_path, declared, kind):
    expected = xr.load_dataset(two_processes / f"{kind}-whole.nc")
    assert_same(xr.load_dataset(two_processes / f"{kind}-cut.nc"), expected)
    np.testing.assert_allclose(expected["update_ratio"][1:], reference(), rtol=1e-4)
