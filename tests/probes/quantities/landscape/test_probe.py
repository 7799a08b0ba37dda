import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from launches import torchrun
from torch import nn

from ultraslow import probes
from ultraslow.probes.distributed.processes import Processes, leave
from ultraslow.probes.quantities.landscape.batches import refuse_hooks
from ultraslow.probes.quantities.landscape.probe import (
    ENSEMBLES,
    CheckpointWeights,
    Landscape,
    LandscapeProbe,
)
from ultraslow.probes.quantities.quantity import Subject


def parameters(value=1.0):
    return {"weight": torch.nn.Parameter(torch.full((3, 2), value)), "bias": torch.zeros(3)}


def kept(folder):
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in folder.iterdir())


def moved(weights, value):
    with torch.no_grad():
        weights["weight"].fill_(value)


def test_weights_come_back_as_they_were(tmp_path):
    weights = parameters()
    waypoints = CheckpointWeights(tmp_path, weights, Processes())
    for iteration, value in ((3, 0.1), (7, 0.7)):
        moved(weights, value)
        waypoints.keep(iteration)
    moved(weights, 9.0)
    again = CheckpointWeights(tmp_path, weights, Processes())
    assert torch.equal(again.read(3)[0], torch.full((3, 2), 0.1))
    assert torch.equal(again.read(7)[0], torch.full((3, 2), 0.7))
    assert torch.equal(weights["weight"].detach(), torch.full((3, 2), 9.0))


def test_the_last_two_stay_and_that_of_the_last_state(tmp_path):
    waypoints = CheckpointWeights(tmp_path, parameters(), Processes())
    for iteration in (1, 2, 5, 10):
        waypoints.keep(iteration)
        if iteration == 2:
            waypoints.hold()
    assert kept(tmp_path) == [2, 5, 10]
    waypoints.hold()
    for iteration in (20, 50, 100):
        waypoints.keep(iteration)
    assert kept(tmp_path) == [10, 50, 100]


def test_a_run_that_goes_on_earlier_drops_what_came_later(tmp_path):
    first = CheckpointWeights(tmp_path, parameters(), Processes())
    for iteration in (10, 20):
        first.keep(iteration)
    again = CheckpointWeights(tmp_path, parameters(), Processes())
    again.read(10)
    again.keep(15)
    assert kept(tmp_path) == [10, 15]


def test_a_new_run_clears_those_of_another_and_nothing_else(tmp_path):
    (tmp_path / "checkpoint-of-mine").mkdir()
    waypoints = CheckpointWeights(tmp_path, parameters(), Processes())
    waypoints.keep(4)
    waypoints.clear(beyond=-1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-of-mine"]


def test_a_disk_that_refuses_is_warned_of_once(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no space left")

    monkeypatch.setattr("ultraslow.probes.storage.initial.save_part", refuse)
    waypoints = CheckpointWeights(tmp_path, parameters(), Processes())
    with pytest.warns(RuntimeWarning, match="will lack the line from it .no space left") as told:
        waypoints.keep(1)
        waypoints.keep(2)
    assert len(told) == 1


def test_other_weights_are_refused(tmp_path):
    CheckpointWeights(tmp_path, parameters(), Processes()).keep(1)
    other = CheckpointWeights(
        tmp_path, {"weight": torch.zeros(2, 2), "bias": torch.zeros(3)}, Processes()
    )
    with pytest.raises(ValueError, match="weight was saved with shape"):
        other.read(1)
    with pytest.raises(FileNotFoundError):
        other.read(2)


def test_parts_of_another_sharding_do_not_outlive_a_resumption(tmp_path):
    """Saved at 100 by one process; gone on from 70, where 100 is saved by other parts."""
    weights = parameters()
    waypoints = CheckpointWeights(tmp_path, weights, Processes())
    for iteration in (50, 100):
        waypoints.keep(iteration)
    again = CheckpointWeights(tmp_path, weights, Processes())
    again.clear(beyond=70)
    assert kept(tmp_path) == [50]
    assert torch.equal(again.read(50)[0], weights["weight"].detach())


def test_files_of_others_are_never_removed(tmp_path):
    waypoints = CheckpointWeights(tmp_path, parameters(), Processes())
    waypoints.keep(100)
    own = tmp_path / "checkpoint-000000000100"
    (own / "model.pt").write_text("precious")
    waypoints.clear(beyond=-1)
    assert [path.name for path in own.iterdir()] == ["model.pt"]


class Quadratic(nn.Module):
    """L(w; s) = s·wᵀHw/2 with a diagonal H: Σ over batches s is a share of the loss."""

    def __init__(self, size=30):
        super().__init__()
        self.w = nn.Parameter(torch.ones(size, dtype=torch.float64))
        self.h = torch.linspace(0.1, 2.0, size, dtype=torch.float64)

    def loss(self, share):
        return share * (self.h * self.w**2).sum() / 2


def quadratic_loss(model, share):
    return model.loss(share)


def landscape(schedule=(0, 2, 5), **options):
    settings = {
        "loss": quadratic_loss,
        "batches": [0.5, 1.5],
        "schedule": schedule,
        "directions": 3,
        "ensembles": ("isotropic", "noise", "trajectory"),
        **options,
    }
    return Landscape(**settings)


def probe_of(model, described):
    initial = [p.detach().clone() for p in model.parameters()]
    subject = Subject(model, dict(model.named_parameters()), initial, Processes())
    return LandscapeProbe(subject, described)


def test_differences_along_the_trajectory_are_those_of_the_parabola():
    model = Quadratic()
    probe = probe_of(model, landscape(radii=[0.5, 2.0]))
    start = model.w.detach().clone()
    with torch.no_grad():
        model.w.mul_(0.7)
    fields = probe.snapshot(2)
    v = (model.w.detach() - start) / (model.w.detach() - start).norm()
    here = float(model.loss(1.0).detach())
    for place, r in enumerate((0.5, 2.0)):
        there = float((model.h * (model.w.detach() + r * v) ** 2).sum() / 2)
        found = fields["loss_difference"][2, place]
        assert found[0] == pytest.approx(there - here, rel=1e-9)
        assert np.isnan(found[1:]).all()  # there is one earlier point, so one direction
    np.testing.assert_allclose(fields["center_loss"], here, rtol=1e-12)


def test_the_line_runs_from_the_checkpoint_before():
    model = Quadratic()
    probe = probe_of(model, landscape(schedule=[0, 2, 5]))
    fields, points = [], [model.w.detach().clone()]
    for iteration, factor in ((0, 1.0), (2, 0.5), (5, -0.3)):
        with torch.no_grad():
            model.w.mul_(factor)
        points.append(model.w.detach().clone())
        fields.append(probe.snapshot(iteration))
    assert np.isnan(fields[0]["line_loss"]).all()
    for found, before, now in zip(fields[1:], points[1:], points[2:], strict=False):
        along = [before + f * (now - before) for f in np.linspace(0, 1, 11)]
        expected = [float((model.h * w**2).sum() / 2) for w in along]
        np.testing.assert_allclose(found["line_loss"], expected, rtol=1e-9, atol=1e-12)


def test_a_checkpoint_that_a_resumed_run_has_lost_leaves_no_line():
    model = Quadratic()
    probe = probe_of(model, landscape(schedule=[2, 5]))
    with torch.no_grad():
        model.w.mul_(0.5)
    assert np.isnan(probe.snapshot(5)["line_loss"]).all()


def test_noise_directions_span_the_differences_of_gradients():
    # Two batches whose gradients are s·Hw: all differences lie along Hw.
    model = Quadratic()
    fields = probe_of(model, landscape(radii=[1e-3])).snapshot(0)
    found = np.abs(fields["loss_difference"][1, 0])
    slope = float((model.h * model.w.detach()).norm())  # |∇L|, along Hw/|Hw|
    np.testing.assert_allclose(found, 1e-3 * slope, rtol=1e-2)


def test_default_radii_are_beside_the_initial_norm():
    model = Quadratic()
    axes = probe_of(model, landscape()).axes()
    np.testing.assert_allclose(axes["radius"][[0, -1]], [np.sqrt(30) / 1000, np.sqrt(30)])


def test_steps_that_rounding_swallows_leave_no_difference():
    torch.manual_seed(0)
    model = nn.Linear(100, 100, bias=False).bfloat16()
    batch = torch.randn(8, 100).bfloat16()

    def loss(m, x):
        return m(x).float().square().mean()

    described = landscape(loss=loss, batches=[batch, batch + 1], radii=[1e-3, 10.0])
    found = probe_of(model, described).snapshot(0)["loss_difference"][0]
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": [1.0]}, "batches: found 1, expected 2 or more"),
        ({"ensembles": ("isotropic", "spiral")}, "ensembles: found .*spiral.* expected names of"),
        ({"ensembles": ()}, "ensembles: found"),
        ({"directions": 0}, "directions: found 0"),
        ({"radii": [0.0, 1.0]}, "radii: found .* expected positive distances"),
        ({"radii": [2.0, 1.0]}, "radii: found .* expected increasing distances"),
        ({"schedule": [5, 2]}, "schedule: found .* expected increasing integers"),
    ],
)
def test_messages(options, message):
    with pytest.raises(ValueError, match=message):
        landscape(**options)


# In which of its calls a loss fails: while doubling tensors, along a direction (of the checkpoint
# after the first), and for the gradient of a direction.
FAILURES = {"flags": 5, "direction": 75, "gradient": 99}


def network(dropout=0.0):
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    )


def cross_entropy(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def batches(count=2, rank=0):
    generator = torch.Generator().manual_seed(50 + rank)
    return [
        (
            torch.randn(16, 1, 8, 8, generator=generator),
            torch.randint(0, 3, (16,), generator=generator),
        )
        for _ in range(count)
    ]


def train(path, *, wrap=lambda m: m, rank=0, updates=8, dropout=0.0, **options):
    model = network(dropout)
    wrapped = wrap(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    torch.manual_seed(rank)
    with probes.attach(wrapped, optimizer, path, batch_size=32, **options) as recorder:
        for _ in range(updates):
            for _ in range(2):
                inputs = torch.randn(16, 1, 8, 8)
                targets = (inputs.mean((1, 2, 3)) > 0).long()
                loss = nn.functional.cross_entropy(wrapped(inputs), targets) / 2
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            recorder.observe(loss=2 * loss)
    return model.state_dict(), optimizer.state_dict(), torch.get_rng_state()


def around(schedule=(0, 3, 8), loss=cross_entropy, rank=0, ensembles=ENSEMBLES):
    return Landscape(
        loss,
        batches(rank=rank),
        schedule=schedule,
        radii=[0.1, 1.0],
        directions=2,
        ensembles=ensembles,
    )


def test_a_run_is_bit_identical_and_so_are_its_other_fields(tmp_path):
    evaluation = probes.Evaluation(lambda m: {"loss": cross_entropy(m, batches()[0])})
    same = {"schedule": range(9), "dropout": 0.2}
    bare = train(tmp_path / "bare", **same)
    probed = train(tmp_path / "probed", landscape=around(), evaluation=evaluation, **same)
    for name, value in bare[0].items():
        assert torch.equal(value, probed[0][name]), name
    for one, other in zip(bare[1]["state"].values(), probed[1]["state"].values(), strict=True):
        assert torch.equal(one["momentum_buffer"], other["momentum_buffer"])
    assert torch.equal(bare[2], probed[2])
    first, second = (xr.load_dataset(tmp_path / f"{name}.nc") for name in ("bare", "probed"))
    for name in set(first.data_vars) - {"wall_time", "probe_seconds"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_what_a_recording_holds(tmp_path):
    train(tmp_path / "run", landscape=around(schedule=[0, 3, 8]), schedule=[0, 4, 8])
    run = xr.load_dataset(tmp_path / "run.nc")
    assert run["iteration"].values.tolist() == [0, 3, 4, 8]
    assert run["loss_difference"].dims == ("iteration", "ensemble", "radius", "direction")
    assert run["ensemble"].values.tolist() == list(ENSEMBLES)
    measured = np.isfinite(run["center_loss"].sel(ensemble="filter").values)
    assert measured.tolist() == [True, True, False, True]
    assert np.isfinite(run["line_loss"].values).all(axis=1).tolist() == [False, True, False, True]
    assert run.attrs["landscape_mode"] == "train"
    # A convolution before batch normalization; not the gain, shift or the last layer.
    names = run["tensor"].values[run["scale_invariant"].values == 1]
    assert names.tolist() == ["0.weight"]


def test_a_loss_that_fails_switches_the_probe_off_and_not_the_training(tmp_path):
    calls = []

    def loss(model, batch):
        calls.append(1)
        if len(calls) > 40:
            raise OSError("the disk of the data is gone")
        return cross_entropy(model, batch)

    with pytest.warns(RuntimeWarning, match="landscape probe failed .* the data is gone") as told:
        found = train(tmp_path / "run", landscape=around(loss=loss))
    assert len([w for w in told if "landscape" in str(w.message)]) == 1
    for name, value in train(tmp_path / "bare")[0].items():
        assert torch.equal(value, found[0][name]), name
    run = xr.load_dataset(tmp_path / "run.nc")
    assert np.isnan(run["center_loss"].sel(iteration=8)).all()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """What two processes measure with sharded weights and with whole ones, and print."""
    folder = tmp_path_factory.mktemp("shards")
    return folder, torchrun(Path(__file__), folder, "fsdp")


def test_a_pass_of_the_landscape_may_not_set_off_hooks_on_sharded_gradients(shards):
    assert "ensembles: found 'noise' and sharded parameters with hooks" in shards[1]


def test_the_landscape_does_not_depend_on_sharding(shards):
    sharded, whole = (xr.load_dataset(shards[0] / f"{name}.nc") for name in ("fsdp", "ddp"))
    fields = ("loss_difference", "center_loss", "line_loss")
    assert all(np.isfinite(whole[name].sel(iteration=3)).any() for name in fields)
    for name in fields:
        np.testing.assert_allclose(sharded[name], whole[name], rtol=1e-4, atol=2e-6, err_msg=name)
    np.testing.assert_array_equal(sharded["scale_invariant"], whole["scale_invariant"])
    assert sharded["tensor"].values[sharded["scale_invariant"].values == 1].tolist() == [
        "0.weight"
    ]
    # Differences are thousands of times larger than what is allowed.
    assert float(abs(whole["loss_difference"].sel(radius=1.0)).max()) > 0.01


def test_a_sharded_run_is_bit_identical_with_the_landscape(shards):
    bare, probed = torch.load(shards[0] / "weights.pt")
    for name, value in bare.items():
        assert torch.equal(value, probed[name]), name


@pytest.mark.parametrize("place", FAILURES)
def test_a_loss_that_fails_on_one_of_two_sharded_processes(shards, place):
    """The other hears of it before it would wait in a forward pass; so with evaluations."""
    told = (shards[0] / f"{place}.txt").read_text()
    assert told.count("failed on another process") == 1
    assert told.count("the evaluation failed") == 0  # it was rank 1's
    run = xr.load_dataset(shards[0] / f"{place}.nc")
    assert run["iteration"].values.tolist() == list(range(9))
    measured = np.isfinite(run["center_loss"].sel(ensemble="isotropic").values)
    expected = {0, 3, 8} if place == "flags" else {0}
    assert set(np.flatnonzero(measured)) == expected
    assert ("scale_invariant" in run) == (place != "flags")
    # Rank 0's numbers are recorded up to the failure of rank 1.
    assert np.isfinite(run["held_out"][:, 0].values).nonzero()[0].tolist() == [2, 5]
    bare = torch.load(shards[0] / "weights.pt")[0]
    for name, value in torch.load(shards[0] / f"{place}.pt").items():
        assert torch.equal(value, bare[name]), name


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    torchrun(Path(__file__), folder, "ddp")
    return folder


def test_two_processes_measure_the_mean_loss_along_common_directions(two):
    run = xr.load_dataset(two / "run.nc")
    model = network()
    model.train()
    with torch.no_grad():
        losses = [float(cross_entropy(model, b)) for r in (0, 1) for b in batches(rank=r)]
    np.testing.assert_allclose(run["center_loss"].sel(iteration=0)[:3], np.mean(losses), rtol=1e-5)
    assert np.isfinite(run["loss_difference"].sel(iteration=8)).any(dim="direction").all()


def test_noise_directions_of_two_processes_are_those_of_one_with_all_batches(two):
    run = xr.load_dataset(two / "run.nc")
    model = network()
    everything = [b for rank in (0, 1) for b in batches(rank=rank)]
    described = Landscape(
        cross_entropy, everything, schedule=[0], radii=[0.1, 1.0], directions=2,
        ensembles=("noise",),
    )  # fmt: skip
    alone = probe_of(model, described).snapshot(0)["loss_difference"][0]
    found = run["loss_difference"].sel(iteration=0, ensemble="noise")
    np.testing.assert_allclose(found, alone, rtol=1e-3)


def test_a_failure_on_one_process_ends_the_probe_on_both_and_no_training(two):
    log = (two / "failed.txt").read_text()
    assert "failed on another process" in log
    assert np.isnan(xr.load_dataset(two / "failed.nc")["center_loss"].sel(iteration=3)).all()


def one_fails(folder, place, rank):
    """Train with a loss and an evaluation that fail on rank 1 once their forward pass is over."""
    from torch.distributed.fsdp import fully_shard

    calls, evaluations = [], []

    def loss(model, batch):
        value = cross_entropy(model, batch)
        calls.append(1)
        if rank == 1 and len(calls) == FAILURES[place]:
            raise OSError("gone")
        return value

    def held_out(model):
        value = cross_entropy(model, batches()[0])
        evaluations.append(1)
        if rank == 1 and len(evaluations) == 2:
            raise OSError("gone")
        return {"loss": value}

    evaluation = probes.Evaluation(held_out, schedule=[2, 5, 7], metrics=["loss"])
    options = {"landscape": around(loss=loss), "evaluation": evaluation, "rank": rank}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        state = train(folder / place, wrap=fully_shard, **options)[0]
    whole = {name: w.full_tensor() for name, w in state.items() if hasattr(w, "full_tensor")}
    if rank == 0:
        torch.save(whole, folder / f"{place}.pt")
        (folder / f"{place}.txt").write_text("\n".join(str(w.message) for w in told))


def on_each_process(folder, kind):
    """What the tests above look at, on one of two processes."""
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo")
    rank, folder = dist.get_rank(), Path(folder)
    if kind == "fsdp":
        hooked = fully_shard(network())
        hooked[0].weight.register_post_accumulate_grad_hook(lambda p: None)
        try:
            refuse_hooks(list(hooked.parameters()))
        except ValueError as error:
            print(error)
        moved = around(rank=rank)
        states = [
            train(folder / name, wrap=fully_shard, rank=rank, **options)[0]
            for name, options in {"bare": {}, "fsdp": {"landscape": moved}}.items()
        ]
        whole = [
            {name: w.full_tensor() for name, w in state.items() if isinstance(w, DTensor)}
            for state in states
        ]
        train(folder / "ddp", wrap=DistributedDataParallel, rank=rank, landscape=moved)
        if rank == 0:
            torch.save(whole, folder / "weights.pt")
        for place in FAILURES:
            one_fails(folder, place, rank)
        leave()
    mean = probes.Evaluation(lambda m: {"loss": float(rank)}, schedule=[0])
    options = {"wrap": DistributedDataParallel, "rank": rank, "evaluation": mean}
    train(folder / "run", landscape=around(rank=rank), **options)
    seen = []

    def loss(model, batch):
        seen.append(1)
        if rank == 1 and len(seen) > 60:
            raise OSError("gone")
        return cross_entropy(model, batch)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        train(folder / "failed", landscape=around(loss=loss), **options)
    if rank == 0:
        (folder / "failed.txt").write_text("\n".join(str(w.message) for w in told))
    leave()


if __name__ == "__main__":
    import sys

    on_each_process(sys.argv[1], sys.argv[2])


def test_a_loss_that_is_not_finite_stops_no_run(tmp_path):
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    landscape = probes.Landscape(lambda m, b: float("nan"), [0, 1], [1])
    with pytest.warns(RuntimeWarning, match="scale-invariant is not recorded"):
        recorder = probes.attach(
            model, optimizer, tmp_path / "run", batch_size=4, landscape=landscape
        )
    model(torch.ones(4, 3)).mean().backward()
    with pytest.warns(RuntimeWarning, match="the landscape probe failed"):
        optimizer.step()
    recorder.close()
    recording = xr.load_dataset(tmp_path / "run.nc")
    assert "scale_invariant" not in recording
    assert np.isnan(recording["line_loss"]).all()
