import signal

import numpy as np
import pytest
import torch
import xarray as xr

from ultraslow import probes
from ultraslow.probes.buffer.row import RowReader
from ultraslow.probes.quantities.quantity import Quantities
from ultraslow.probes.recorder import recorder as recorder_module
from ultraslow.probes.recorder.arguments import (
    check_optimizers,
    check_types,
    check_values,
    probe_names,
)


def problem():
    model = torch.nn.Linear(3, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)


def test_coordinates_and_attributes(tmp_path):
    model, optimizer = problem()
    metadata = {"seed": np.int64(3), "scaling": "sqrt", "data_size": 40, "note": {"a": 1}}
    with probes.attach(model, optimizer, tmp_path / "b4-s3", batch_size=4, metadata=metadata):
        model(torch.randn(4, 3)).mean().backward()
        optimizer.step()
    recording = xr.load_dataset(tmp_path / "b4-s3.nc")
    expected = {
        "run": "b4-s3",
        "batch_size": 4,
        "world_size": 1,
        "seed": 3,
        "scaling": "sqrt",
        "optimizer": "SGD",
        "base_learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
    }
    assert {name: recording.coords[name].item() for name in expected} == expected
    assert recording["tensor"].values.tolist() == ["weight", "bias"]
    assert recording["tensor_size"].values.tolist() == [3, 1]
    assert recording.attrs["config"] == '{"note": {"a": 1}}'
    assert '"torch"' in recording.attrs["versions"]
    assert recording["epoch"].values.tolist() == [0, 0.1]


def test_a_disabled_scaler_is_none(tmp_path):
    model, optimizer = problem()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    with probes.attach(model, optimizer, tmp_path / "run", batch_size=4, scaler=scaler):
        scaler.scale(model(torch.randn(4, 3)).mean()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert "loss_scale" not in xr.load_dataset(tmp_path / "run.nc")


@pytest.mark.parametrize("owner", ["Recorder._record", "RowReader.__init__", "Quantities.begin"])
def test_what_fails_half_way_leaves_nothing_behind(tmp_path, monkeypatch, owner):
    kinds = {
        "Recorder": recorder_module.Recorder,
        "RowReader": RowReader,
        "Quantities": Quantities,
    }
    kind, _, method = owner.partition(".")
    model, optimizer = problem()
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(kinds[kind], method, lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            probes.attach(model, optimizer, tmp_path / "run", batch_size=4)
    assert list(tmp_path.iterdir()) == []
    assert not any(p._backward_hooks for p in model.parameters())
    assert not optimizer._optimizer_step_post_hooks
    assert signal.getsignal(signal.SIGTERM) == handler
    probes.attach(model, optimizer, tmp_path / "run", batch_size=4).close()


def test_a_cell_that_is_run_again_begins_anew_where_that_is_asked_for(tmp_path):
    model, optimizer = problem()
    first = probes.attach(model, optimizer, tmp_path / "run", batch_size=4)
    for _ in range(9):
        model(torch.randn(4, 3)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    again = {"batch_size": 4, "schedule": [], "overwrite": True}
    with pytest.raises(FileExistsError, match="this process records at .*/run already"):
        probes.attach(*problem(), tmp_path / "run", batch_size=4)
    for cell in (problem(), (model, optimizer), problem()):
        recorder = probes.attach(*cell, tmp_path / "run", **again)
        assert not first._open
        cell[0](torch.randn(4, 3)).mean().backward()
        cell[1].step()
        first = recorder
    first.close()
    assert xr.load_dataset(tmp_path / "run.nc")["iteration"].values.tolist() == [0, 1]
    probes.attach(*problem(), tmp_path / "run", **again).close()
    assert xr.load_dataset(tmp_path / "run.nc")["iteration"].values.tolist() == [0]
    with pytest.raises(ValueError, match="overwrite: found True with resume"):
        probes.attach(*problem(), tmp_path / "run", resume=True, **again)


def test_labels_by_name_are_the_coordinates_that_metadata_gives(tmp_path):
    labels = {"seed": 3, "scaling": "sqrt", "data_size": 40, "data": "digits"}
    labels |= {"ghost_size": 2, "added_noise": 0.5}
    by_name = recorded(tmp_path / "a", model_name="mlp", **labels)
    by_key = recorded(tmp_path / "b", metadata={**labels, "model": "mlp"})
    assert {name: by_name[name].item() for name in labels} == labels
    assert by_name["model"].item() == "mlp"
    told = set(by_name.coords) - {"run"}
    assert told == set(by_key.coords) - {"run"}
    assert all(np.array_equal(by_name[name], by_key[name]) for name in told)
    assert by_name.attrs["config"] == by_key.attrs["config"] == "{}"
    both = recorded(tmp_path / "c", seed=3, metadata={"seed": 3, "data_size": None, "note": 1})
    assert both["seed"].item() == 3
    assert "data_size" not in both


def recorded(path, **options):
    model, optimizer = problem()
    probes.attach(model, optimizer, path, batch_size=4, **options).close()
    return xr.load_dataset(path.with_suffix(".nc"))


def test_the_largest_seeds_are_recorded_as_they_are(tmp_path):
    ends = [2**63 - 1, -(2**63) + 1, np.uint64(2**63 - 1)]
    for number, seed in enumerate(ends):
        assert recorded(tmp_path / str(number), seed=seed)["seed"].item() == seed


def test_an_optimizer_may_keep_anything_under_known_names(tmp_path):
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.25))
    optimizer.param_groups[0] |= {"momentum": (0.9, 0.99), "weight_decay": torch.tensor(0.5)}
    probes.attach(model, optimizer, tmp_path / "run", batch_size=4).close()
    recording = xr.load_dataset(tmp_path / "run.nc")
    assert "momentum" not in recording
    assert recording["weight_decay"].item() == 0.5


class Wrapper(torch.optim.Optimizer):
    """As Accelerate's: an optimizer by type that holds the one that steps."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    def step(self, closure=None):
        self.optimizer.step(closure)


class Bare(torch.optim.Optimizer):
    """One that forgets to call the `__init__` of torch's."""

    def __init__(self, parameters):
        self.param_groups = [{"params": list(parameters), "lr": 0.1}]


def test_what_hosts_make_of_an_optimizer_is_followed(tmp_path, monkeypatch):
    """A wrapped optimizer's recording is that of the optimizer itself."""
    monkeypatch.setattr(Wrapper, "__module__", "accelerate.optimizer")
    found = {}
    for name, wrap in {"plain": lambda x: x, "once": Wrapper, "twice": twice}.items():
        torch.manual_seed(0)
        model, optimizer = problem()
        given = wrap(optimizer)
        with probes.attach(model, given, tmp_path / name, batch_size=4):
            for _ in range(3):
                model(torch.ones(4, 3)).mean().backward()
                given.step()
                optimizer.zero_grad()
        found[name] = xr.load_dataset(tmp_path / f"{name}.nc")
    for name in ("once", "twice"):
        assert found[name]["iteration"].values.tolist() == [0, 1, 2, 3]
        assert np.array_equal(found[name]["distance_sq"], found["plain"]["distance_sq"])
        assert found[name]["optimizer"].item() == "SGD"


def twice(optimizer):
    return Wrapper(Wrapper(optimizer))


def test_optimizers_that_cannot_be_followed_are_told_with_the_one_to_give(tmp_path):
    model, optimizer = problem()

    class Holder:
        base_optimizer = optimizer

    cases = [
        (
            Wrapper(optimizer),
            ValueError,
            "found Wrapper, .* give the one that it holds, `.optim",
        ),
        (Bare(model.parameters()), ValueError, r"found Bare, .*; call `super\(\).__init__"),
        (Holder(), TypeError, "found Holder, expected Optimizer; .* holds, `.base_optimizer`"),
        (Wrapper(None), ValueError, r"found Wrapper, .*; call `super\(\)"),
    ]
    for given, kind, message in cases:
        with pytest.raises(kind, match=message):
            probes.attach(model, given, tmp_path / "run", batch_size=4)
    assert not (tmp_path / "run").exists()


def test_names_leave_room_for_those_of_the_files_beside_a_recording(tmp_path):
    """All lengths that are taken can be closed and read; those beyond are refused at the start."""
    longest = 214  # of 255 bytes; a dot, .nc, a dot, 32 digits and .tmp come on top
    for name in ("x" * longest, "é" * (longest // 2)):
        assert recorded(tmp_path / name)["run"].item() == name
    for name in ("x" * (longest + 1), "x" * 255, "é" * (longest // 2 + 1)):
        with pytest.raises(
            ValueError, match=f"path: found a name of 2.. bytes, .* at most {longest}"
        ):
            recorded(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 4


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    model, optimizer = problem()
    closed = probes.attach(model, optimizer, "~/runs/one", batch_size=4).close()
    assert closed == tmp_path / "runs" / "one.nc"


def test_frozen_parameters_are_left_out(tmp_path):
    model, optimizer = problem()
    model.bias.requires_grad_(False)
    probes.attach(model, optimizer, tmp_path / "run", batch_size=4).close()
    assert xr.load_dataset(tmp_path / "run.nc")["tensor"].values.tolist() == ["weight"]


def test_every_parameter_group_has_its_learning_rate(tmp_path):
    model, _ = problem()
    groups = [{"params": [model.bias], "lr": 0.5}, {"params": [model.weight], "lr": 0.1}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    decay = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.1)
    with probes.attach(model, optimizer, tmp_path / "run", batch_size=4):
        for _ in range(3):
            model(torch.randn(4, 3)).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            decay.step()
    run = xr.load_dataset(tmp_path / "run.nc")
    assert run["tensor"].values.tolist() == ["weight", "bias"]
    assert run["tensor_group"].values.tolist() == [1, 0]
    expected = [[0.5, 0.1], [0.5, 0.1], [0.5, 0.1], [0.05, 0.01]]
    np.testing.assert_allclose(run["group_learning_rate"], expected, rtol=1e-12)
    np.testing.assert_allclose(run["learning_rate"], [0.5, 0.5, 0.5, 0.05], rtol=1e-12)


def test_faults_name_the_argument(tmp_path):
    model, optimizer = problem()

    def attach(model=model, optimizer=optimizer, path=tmp_path / "run", **options):
        return probes.attach(model, optimizer, path, **{"batch_size": 4, **options})

    frozen = torch.nn.Linear(3, 1).requires_grad_(False)
    imaginary = torch.nn.Linear(3, 1, dtype=torch.complex64)
    cases = [
        ({"model": frozen}, ValueError, "model: found no trainable parameter"),
        ({"model": imaginary}, ValueError, r"model: found complex tensors \['weight', 'bias'\]"),
        (
            {"model": torch.nn.Linear(3, 1)},
            ValueError,
            "optimizer: does not own 2 of the model's 2 .* the first is 'weight'",
        ),
        ({"batch_size": 0}, ValueError, "batch_size: found 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size: found 2.5, expected an integer"),
        ({"batch_size": True}, TypeError, "batch_size: found True"),
        ({"probes": ["distance", "gns"]}, ValueError, r"probes: found \['gns'\]"),
        ({"probes": "noise"}, TypeError, r"probes: found 'noise', expected a list of names"),
        ({"schedule": [-3, 2]}, ValueError, r"schedule: found \[-3, 2\], expected increasing"),
        ({"schedule": [3, 2]}, ValueError, r"schedule: found \[3, 2\], expected increasing"),
        ({"schedule": [0.5]}, ValueError, r"schedule: found \[0.5\], expected increasing"),
        ({"optimizer": None}, TypeError, "optimizer: found NoneType, expected Optimizer"),
        ({"model": optimizer}, TypeError, "model: found SGD, expected Module"),
        ({"path": None}, TypeError, "path: found NoneType, expected"),
        ({"flush_seconds": float("nan")}, ValueError, "flush_seconds: found nan"),
        ({"scaler": 2.0}, TypeError, "scaler: found float"),
        ({"evaluation": len}, TypeError, "evaluation: found builtin"),
        ({"path": ""}, ValueError, "path: found '', expected a name"),
        ({"metadata": {"seed": "three"}}, TypeError, r"metadata\['seed'\]: found 'three'"),
        ({"metadata": {"scaling": "sqroot"}}, ValueError, r"'scaling'\]: found .* \(sqrt\?\)"),
        ({"metadata": {"momentum": 1j}}, TypeError, r"metadata\['momentum'\]: found 1j"),
        ({"metadata": {"batch_size": 8}}, ValueError, "batch_size: found 4, and 8 in metadata"),
        ({"seed": 1, "metadata": {"seed": 2}}, ValueError, "seed: found 1, and 2 in metadata"),
        ({"seed": np.uint64(2**63)}, ValueError, "seed: found 9223372036854775808, expected"),
        ({"scaling": "sqroot"}, ValueError, "scaling: found 'sqroot', expected fixed, sqrt"),
        ({"data_size": -1}, ValueError, "data_size: found -1, expected a number of samples"),
        ({"model_name": model}, TypeError, "model_name: found Linear.*, expected text"),
        ({"added_noise": 1j}, TypeError, "added_noise: found 1j, expected a real number"),
    ]
    for options, kind, message in cases:
        with pytest.raises(kind, match=message):
            attach(**options)
    assert not (tmp_path / "run").exists()


def test_attaching_twice_and_over_a_recording_is_refused(tmp_path):
    model, optimizer = problem()
    recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=4)
    with pytest.raises(ValueError, match="already attached"):
        probes.attach(model, optimizer, tmp_path / "other", batch_size=4)
    recorder.close()
    with pytest.raises(FileExistsError, match=r"found a recording at .*run\.nc"):
        probes.attach(model, optimizer, tmp_path / "run", batch_size=4)


def test_sound_arguments_are_let_through():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    check_types(model, [optimizer], "run", scaler=None, flush_seconds=60)
    check_values(model, "run", 0.0, batch_size=1, probes=probe_names())
    check_optimizers([optimizer], dict(model.named_parameters()))


@pytest.mark.parametrize("seconds", [float("nan"), -1.0])
def test_times_that_are_none(seconds):
    with pytest.raises(ValueError, match="flush_seconds: found .* expected a time, >= 0"):
        check_values(torch.nn.Linear(2, 1), "run", seconds, batch_size=1, probes=None)


def test_a_text_is_no_list_of_probes():
    with pytest.raises(TypeError, match=r"probes: found 'noise', .* as \['noise'\]"):
        check_values(torch.nn.Linear(2, 1), "run", 1.0, batch_size=1, probes="noise")
