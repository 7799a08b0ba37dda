"""What big models ask for: w0 on disk, tensors that are recorded as one."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

import ultraslow as us
from ultraslow.diffusion.recording import FIELDS

PROBES = ["noise", "path", "trajectory"]


def trained(path, *, updates=6, resume=None, stop=False, groups=None, parameters=None, **options):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(20, 300), torch.nn.Tanh(), torch.nn.Linear(300, 40)]
    model = torch.nn.Sequential(*layers, torch.nn.Tanh(), torch.nn.Linear(40, 1))
    optimizer = torch.optim.SGD(parameters(model) if parameters else model.parameters(), lr=0.05)
    begun = 0
    if resume is not None:
        model.load_state_dict(resume["weights"])
        begun = resume["recorder"]["iteration"]
    options |= {"resume": resume["recorder"]} if resume else {}
    recorder = us.attach(
        model, optimizer, path, batch_size=16, probes=PROBES, quiet=True, groups=groups, **options
    )
    for update in range(begun, updates):
        draw = torch.Generator().manual_seed(update)
        for _ in range(2):
            (model(torch.randn(8, 20, generator=draw)).square().mean() / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    if stop:
        state = {"weights": model.state_dict(), "recorder": recorder.state_dict()}
        recorder.__exit__(KeyboardInterrupt, None, None)
        return state
    return recorder.close()


def read(path):
    with xr.open_dataset(path) as run:
        return run.load()


MEASURED = ("distance_sq", "weight_sq", "overlap", "sketch", "step_sq", "noise_trace")


@pytest.mark.parametrize("resumes", [False, True])
def test_a_run_with_w0_on_disk_records_the_same_bits(tmp_path, resumes):
    expected = read(trained(tmp_path / "device"))
    if resumes:
        state = trained(tmp_path / "disk", updates=3, stop=True)  # w0 was in memory before
        found = read(trained(tmp_path / "disk", resume=state, initial_on="disk"))
        found = found.sel(iteration=expected["iteration"])
    else:
        found = read(trained(tmp_path / "disk", initial_on="disk"))
    for name in MEASURED:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert float(found["distance_sq"][-1].sum()) > 0


def test_a_disk_that_refuses_ends_the_distance_and_not_the_training(tmp_path):
    failed = [f"{name} probe failed and was switched off" for name in ("distance", "trajectory")]
    with (
        pytest.warns(RuntimeWarning, match=failed[0]),
        pytest.warns(RuntimeWarning, match=failed[1]),
    ):
        path = trained(tmp_path / "cut", initial_on="disk", parameters=lambda m: cut(tmp_path, m))
    assert np.isnan(read(path)["distance_sq"][-1]).all()
    assert np.isfinite(read(path)["step_sq"][-1]).all()


def cut(folder, model):
    """Parameters of a model, at whose first gradient the file of w0 loses its last byte."""

    def lose(gradient):
        for file in folder.glob("*/initial-*.safetensors"):
            with file.open("r+b") as stream:
                stream.truncate(file.stat().st_size - 1)

    model[-1].weight.register_hook(lose)
    return model.parameters()


def test_what_groups_record_is_what_their_tensors_add_up_to(tmp_path):
    single = read(trained(tmp_path / "single"))
    found = read(trained(tmp_path / "groups", groups={"biases": "*.bias", "ends": ["0.*", "4.*"]}))
    assert found["tensor"].values.tolist() == ["ends", "biases", "2.weight"]
    assert json.loads(found.attrs["tensor_groups"]) == {"biases": "*.bias", "ends": ["0.*", "4.*"]}
    members = {"ends": ["0.weight", "4.weight"], "biases": ["0.bias", "2.bias", "4.bias"]}
    members["2.weight"] = ["2.weight"]
    assert found["tensor_size"].values.tolist() == [6040, 341, 12000]
    for name, variable in single.variables.items():
        if "tensor" in variable.dims and FIELDS[name].dtype == "f8":
            for group, tensors in members.items():
                added = single[name].sel(tensor=tensors).sum("tensor", skipna=False)
                own = found[name].sel(tensor=group)
                np.testing.assert_allclose(own, added, rtol=1e-9, atol=1e-12, err_msg=name)
        elif name in ("sketch", "gradient_sq_var", "noise_trace_var", "loss", "clip_factor"):
            np.testing.assert_allclose(found[name], single[name], rtol=1e-9, err_msg=name)


def test_a_grouped_run_goes_on_with_the_same_groups_only(tmp_path):
    whole = read(trained(tmp_path / "whole", groups={"biases": "*.bias"}))
    state = trained(tmp_path / "run", updates=3, stop=True, groups={"biases": "*.bias"})
    with pytest.raises(ValueError, match="found a state of 4 tensors, the model has 6"):
        trained(tmp_path / "run", resume=state)
    found = read(trained(tmp_path / "run", resume=state, groups={"biases": "*.bias"}))
    for name in MEASURED:
        at = found[name].sel(iteration=whole["iteration"])
        np.testing.assert_array_equal(at, whole[name], err_msg=name)


def test_groups_are_of_one_learning_rate(tmp_path):
    def split(model):
        biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
        rest = [p for n, p in model.named_parameters() if not n.endswith("bias")]
        return [{"params": rest}, {"params": biases, "lr": 0.01}]

    path = trained(tmp_path / "split", groups={"biases": "*.bias"}, parameters=split)
    assert read(path)["tensor_group"].values.tolist() == [0, 1, 0, 0]
    with pytest.raises(ValueError, match=r"'first' holds tensors of .* parameter groups \[0, 1\]"):
        trained(tmp_path / "mixed", groups={"first": "0.*"}, parameters=split)


def test_where_w0_cannot_be_is_refused(tmp_path):
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="initial_on: found 'memory', expected one of"):
        us.attach(model, optimizer, tmp_path / "a", batch_size=1, initial_on="memory")
    landscape = us.Landscape(lambda m, b: m(b).sum(), [torch.ones(1, 2)] * 2, schedule=[1])
    with pytest.raises(ValueError, match="initial_on: found 'disk' with landscape="):
        us.attach(
            model, optimizer, tmp_path / "a", batch_size=1, initial_on="disk", landscape=landscape
        )
    with torch.device("meta"):
        empty = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(empty.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="2 tensors on the meta device, the first is 'weight'"):
        us.attach(empty, optimizer, tmp_path / "a", batch_size=1)
    assert not list(tmp_path.iterdir())
