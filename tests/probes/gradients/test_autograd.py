"""Optimizers that step within the backward pass, beside the same training with a step after it."""

import copy
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from launches import torchrun
from torch.distributed.optim import _apply_optimizer_in_backward
from torch.nn.parallel import DistributedDataParallel

from ultraslow import probes
from ultraslow.probes.distributed.processes import leave

FIELDS = ("distance_sq", "gradient_sq", "noise_trace", "mean_sq", "units", "samples")


def network():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))


def own_optimizers(model, every):
    """Each parameter has an optimizer that steps in every so many backward passes."""
    optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}
    passes = dict.fromkeys(optimizers, 0)

    def step(parameter):
        passes[parameter] += 1
        if passes[parameter] % every == 0:
            optimizers[parameter].step()
            parameter.grad = None

    for parameter in optimizers:
        parameter.register_post_accumulate_grad_hook(step)


def by_hand(model, every):
    """Each parameter is moved without an optimizer of torch's."""
    passes = dict.fromkeys(model.parameters(), 0)

    def step(parameter):
        passes[parameter] += 1
        if passes[parameter] % every == 0:
            parameter.data.sub_(parameter.grad, alpha=0.1)
            parameter.grad = None

    for parameter in passes:
        parameter.register_post_accumulate_grad_hook(step)


def nothing(model, every):
    """Parameters are moved after the pass."""


def train(path, model, *, units=2, seed=0, world=1, within=True, late=nothing, **options):
    """Train; an optimizer that owns all parameters is called after each update in any case."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(seed)
    size = 2 * units * world
    with probes.attach(model, optimizer, path, batch_size=size, **options) as recorder:
        late(model, units)
        for _ in range(6):
            for _ in range(units):
                loss = model(torch.randn(2, 5, generator=generator)).square().mean() / units
                loss.backward()
            recorder.observe(loss=loss)
            optimizer.step()
            if not within:
                optimizer.zero_grad()
    return [p.detach().clone() for p in model.parameters()], path.with_name(f"{path.name}.nc")


def compare(within, after, fields=FIELDS):
    """The weights are equal bit for bit, and the recordings to rounding."""
    for one, other in zip(within[0], after[0], strict=True):
        assert torch.equal(one, other)
    found, expected = xr.load_dataset(within[1]), xr.load_dataset(after[1])
    assert found["iteration"].values.tolist() == expected["iteration"].values.tolist()
    for name in fields:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, err_msg=name)
    return found


@pytest.mark.parametrize("late", [nothing, own_optimizers])
def test_noise_of_optimizers_that_step_in_the_pass(tmp_path, late):
    """Whether their hooks were there before or come after those of the probes."""
    model = network()
    after = train(tmp_path / "after", network(), within=False)
    if late is nothing:
        own_optimizers(model, every=2)
    found = compare(train(tmp_path / "within", model, late=late), after)
    assert float(found["noise_trace"][-1].sum()) > 0


def test_the_gradient_of_a_single_unit_is_that_of_the_update(tmp_path):
    for move in (own_optimizers, by_hand):
        model = network()
        move(model, every=1)
        with (
            pytest.warns(RuntimeWarning, match="others have moved the weights")
            if move is by_hand
            else nullcontext()
        ):
            within = train(tmp_path / move.__name__, model, units=1)
        after = train(tmp_path / f"{move.__name__}-after", network(), units=1, within=False)
        found = compare(within, after, fields=("distance_sq", "mean_sq", "units"))
        assert "one unit" in found.attrs["noise_absent"]


def test_a_gradient_that_was_taken_away_is_told_of_once(tmp_path):
    model = network()
    by_hand(model, every=2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _, file = train(tmp_path / "run", model, flush_seconds=0.0)
    gradients, rates = (str(one.message) for one in told)
    assert "gradients were taken away" in gradients
    assert "learning rates of some updates are unknown: SGD found no gradients" in rates
    recording = xr.load_dataset(file)
    assert np.isnan(recording["learning_rate"][1:]).all()
    assert "taken away in the backward pass" in recording.attrs["noise_absent"]
    assert "noise_trace" not in recording
    assert np.isnan(recording["mean_sq"]).all()
    assert (recording["nonfinite_gradients"] == 0).all()
    assert (np.diff(recording["distance_sq"].sum("tensor")) != 0).all()


def test_steps_of_one_optimizer_in_a_pass_are_one_update(tmp_path):
    model, expected = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(parameter):
        optimizer.step()
        parameter.grad = None

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    generator = torch.Generator().manual_seed(0)
    with probes.attach(model, optimizer, tmp_path / "run", batch_size=2) as recorder:
        for update in range(6):
            loss = model(torch.randn(2, 5, generator=generator)).square().mean()
            loss.backward()
            recorder.observe(loss=float(update))
    within = [p.detach() for p in model.parameters()], tmp_path / "run.nc"
    after = train(tmp_path / "after", expected, units=1, within=False)
    found = compare(within, after, fields=("distance_sq", "mean_sq", "units"))
    assert found["loss"][1:].values.tolist() == list(range(6))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    torchrun(Path(__file__), folder)
    return folder


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_noise_of_two_processes_with_optimizers_in_the_pass(two, kind):
    pairs = [torch.load(two / f"{kind}-{name}.pt") for name in ("within", "after")]
    files = [two / f"{kind}-{name}.nc" for name in ("within", "after")]
    found = compare(*zip(pairs, files, strict=True))
    assert np.all(found["units"][1:] == 2)
    assert (found["noise_trace"][1:].sum("tensor") > 0).all()


def on_each_process(folder):
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard

    # Under DDP torch waits for the optimizer's stream, and finds none where there is no device.
    torch.accelerator.current_stream = lambda: SimpleNamespace(wait_stream=lambda stream: None)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    options = {"units": 1, "seed": rank, "world": 2}
    for within in (True, False):
        name = "within" if within else "after"
        model = network()
        if within:
            _apply_optimizer_in_backward(torch.optim.SGD, model.parameters(), {"lr": 0.1})
        model = DistributedDataParallel(model)
        weights, _ = train(folder / f"ddp-{name}", model, within=within, **options)
        torch.save(weights, folder / f"ddp-{name}.pt")
        model = fully_shard(network())
        if within:
            own_optimizers(model, every=1)
        weights, _ = train(folder / f"fsdp-{name}", model, within=within, **options)
        whole = [w.full_tensor() for w in weights]
        if rank == 0:
            torch.save(whole, folder / f"fsdp-{name}.pt")
    leave()


if __name__ == "__main__":
    warnings.simplefilter("error", RuntimeWarning)
    on_each_process(Path(sys.argv[1]))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripting_is_refused_with_the_remedy(tmp_path):
    """The model and its copies; once the recording is closed nothing is in the way any more."""
    model, fresh = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(2, 5)
    with probes.attach(model, optimizer, tmp_path / "run", batch_size=2, quiet=True):
        for one in (model, copy.deepcopy(model)):
            with pytest.raises(AttributeError, match="new instance that has loaded"):
                torch.jit.script(one)
            assert torch.equal(one(inputs), model(inputs))
        fresh.load_state_dict(model.state_dict())
        for made in (torch.jit.script(fresh), torch.jit.trace(model, inputs)):
            assert torch.equal(made(inputs), model(inputs))
        exported = torch.export.export(model, (inputs,)).module()
        assert torch.equal(exported(inputs), model(inputs))
    assert torch.equal(torch.jit.script(model)(inputs), model(inputs))
