import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ultraslow.diffusion.walks.roughness import structure
from ultraslow.probes.distributed.processes import leave
from ultraslow.probes.quantities.landscape.directions import (
    filter_normalized,
    gradient_noise,
    isotropic,
    trajectory,
)
from ultraslow.probes.quantities.landscape.scan import scan

SIZE = 40


class Quadratic(nn.Module):
    """L(w) = g·w + wᵀHw/2 with a diagonal H, in float64."""

    def __init__(self, at=0.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.full((SIZE,), at, dtype=torch.float64))
        self.g = torch.randn(SIZE, generator=generator, dtype=torch.float64)
        self.h = torch.rand(SIZE, generator=generator, dtype=torch.float64) * 2

    def loss(self):
        return self.g @ self.w + self.h @ self.w**2 / 2


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def inputs(rank=0):
    return torch.randn(32, 4, generator=seeded(100 + rank))


def scanned(model, evaluate, ensemble=None, **options):
    settings = {
        "radii": [0.1, 1.0],
        "directions": 3,
        "generator": seeded(),
        "mode": "train",
        **options,
    }
    return scan(model, evaluate, ensemble or isotropic(list(model.parameters())), **settings)


def test_quadratic_has_known_mean_and_deviation():
    # At w = 0 the gradient is g and the Hessian diag(h). Mean r²·tr H/2N and, exactly,
    # Var = r²|g|²/N + r⁴·(N·tr H² − (tr H)²)/(2N²(N + 2)).
    model, radii = Quadratic(), np.array([0.01, 0.3, 3.0])
    found = scanned(model, model.loss, radii=radii, directions=1500)
    g, h = model.g.numpy(), model.h.numpy()
    mean, spread = radii**2 * h.sum() / (2 * SIZE), radii * np.linalg.norm(g) / np.sqrt(SIZE)
    fourth = radii**4 * (SIZE * np.sum(h**2) - h.sum() ** 2) / (2 * SIZE**2 * (SIZE + 2))
    measured = structure(found.difference)
    assert np.all(np.abs(measured.mean - mean) < 4 * measured.mean_error)
    exact = np.sqrt(spread**2 + fourth)
    error = np.abs(measured.standard_deviation - exact)
    assert np.all(error < 4 * measured.standard_deviation_error)
    np.testing.assert_allclose(found.distance, radii[:, None] * np.ones(1500), rtol=1e-9)


def test_differences_along_a_known_direction():
    model = Quadratic(at=1.0)
    earlier = torch.linspace(-1, 1, SIZE, dtype=torch.float64)
    way = model.w.detach() - earlier
    length = float(way.norm())
    found = scanned(
        model,
        model.loss,
        trajectory([model.w], [[earlier], [torch.zeros(SIZE, dtype=torch.float64)]]),
        radii=[-length, 0.5],
        directions=2,
    )
    there = float(model.g @ earlier + model.h @ earlier**2 / 2)
    here = float(model.loss().detach())
    assert found.loss == pytest.approx(here, rel=1e-14)
    assert found.difference[0, 0] == pytest.approx(there - here, rel=1e-12)
    ahead = model.w.detach() + 0.5 * way / length
    expected = float(model.g @ ahead + model.h @ ahead**2 / 2) - here
    assert found.difference[1, 0] == pytest.approx(expected, rel=1e-12)


def everything(model):
    return {
        "tensors": {n: (v.clone(), v.data_ptr()) for n, v in model.state_dict().items()},
        "versions": [p._version for p in model.parameters()],
        "gradients": [
            (p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()
        ],
        "flags": [m.training for m in model.modules()],
        "rng": (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()),  # noqa: NPY002
    }


def assert_unchanged(model, before):
    now = everything(model)
    for name, (value, place) in before["tensors"].items():
        found, found_place = now["tensors"][name]
        # As bits: −0.0 is not 0.0, and NaN is itself.
        assert found.numpy().tobytes() == value.numpy().tobytes(), name
        assert found_place == place, name
    assert now["versions"] == before["versions"]
    assert now["flags"] == before["flags"]
    for (grad, _), (same, values) in zip(now["gradients"], before["gradients"], strict=True):
        assert grad is same
        assert grad is None or torch.equal(grad, values)
    assert torch.equal(now["rng"][0], before["rng"][0])
    assert now["rng"][1:] == before["rng"][1:]


def ensembles(model):
    p = list(model.parameters())
    other = [[torch.randn(q.shape, generator=seeded(i)) for q in p] for i in range(3)]
    return {
        "isotropic": isotropic(p),
        "filter": filter_normalized(p),
        "noise": gradient_noise(p, other),
        "trajectory": trajectory(p, other),
    }


@pytest.mark.parametrize("kind", ["isotropic", "filter", "noise", "trajectory"])
@pytest.mark.parametrize("raises_at", [None, 1, 5])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_everything_is_put_back(kind, raises_at, mode):
    model = network()
    model(inputs()).sum().backward()
    model[3].bias.grad = None
    model[1].eval()
    with torch.no_grad():
        model[3].weight[0, 0] = -0.0
    ensemble, calls = ensembles(model)[kind], []

    def evaluate():
        calls.append(model.training)
        random.random()
        np.random.rand()  # noqa: NPY002
        with torch.enable_grad():
            loss = model(inputs() + torch.randn(32, 4)).square().mean()
            loss.backward()
        if len(calls) == raises_at:
            raise FloatingPointError("far out")
        return loss

    before = everything(model)
    if raises_at is None:
        found = scanned(model, evaluate, ensemble, mode=mode)
        assert found.difference.shape == found.distance.shape == (2, 3)
        assert np.all(found.difference != 0)
        assert (found.ensemble, found.mode) == (ensemble.name, mode)
    else:
        with pytest.raises(FloatingPointError):
            scanned(model, evaluate, ensemble, mode=mode)
    assert_unchanged(model, before)
    assert set(calls) == {mode == "train"}


def test_mode_decides_which_statistics_normalize():
    model = network()
    for _ in range(3):
        model(3 * inputs() + 1)  # running statistics that are not those of the batch
    expected = {}
    for mode in ("train", "eval"):
        other = network()
        other.load_state_dict(model.state_dict())
        other.train(mode == "train")
        expected[mode] = other(inputs()).square().mean().item()
    assert expected["train"] != pytest.approx(expected["eval"], rel=1e-2)
    for mode, loss in expected.items():
        found = scanned(model, lambda: model(inputs()).square().mean(), mode=mode)
        assert found.loss == pytest.approx(loss, rel=1e-6)


def test_evaluations_share_their_random_numbers():
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 2)).double()

    def evaluate():
        return model(inputs().double()).square().mean()

    found = scanned(model, evaluate, radii=[1e-6], directions=20)
    # Two masks differ by some per cent of the loss; common ones leave the smooth difference.
    assert np.all(np.abs(found.difference) < 1e-5 * found.loss)
    assert found.noise_floor == pytest.approx(np.finfo(float).eps * found.loss)


def test_directions_differ_though_random_numbers_are_repeated():
    model = Quadratic()
    found = scanned(model, model.loss, directions=5)
    assert len(set(found.difference[0].tolist())) == 5


def test_every_direction_is_drawn_at_the_present_weights():
    """Filters' lengths and gradients are those of the weights, not of where the last step led."""
    model, random = Quadratic(at=0.5), isotropic([])
    met = []

    def draw(index, generator):
        met.append(model.w.detach().clone())
        return [torch.randn(SIZE, generator=generator, dtype=torch.float64)]

    scanned(model, model.loss, replace(random, parameters=(model.w,), draw=draw))
    assert [w.tolist() for w in met] == [[0.5] * SIZE] * 3


def test_noise_floor_is_the_deviation_of_a_difference():
    # An evaluation that is not reproducible: its noise has standard deviation 0.1. A difference
    # from the mean of n repeats has 0.1·√(1 + 1/n); 300 repeats fix it to 4 %.
    model, noise = Quadratic(), np.random.default_rng(0)
    found = scanned(model, lambda: model.loss() + 0.1 * noise.standard_normal(), repeats=300)
    assert found.noise_floor == pytest.approx(0.1 * np.sqrt(1 + 1 / 300), rel=0.17)


def test_noise_floor_is_at_least_a_unit_of_rounding():
    model = network()
    found = scanned(model, lambda: model(inputs()).square().mean())
    assert found.noise_floor == pytest.approx(np.finfo(np.float32).eps * found.loss)


def test_distance_tells_of_steps_that_rounding_swallows():
    model = nn.Linear(100, 100, bias=False).bfloat16()
    batch = torch.randn(8, 100, generator=seeded()).bfloat16()
    found = scanned(model, lambda: model(batch).float().square().mean(), radii=[1e-3, 10.0])
    # A step of 1e-5 a weight is below half a unit of rounding for most weights near 0.05.
    assert np.all(np.abs(found.distance[0] / 1e-3 - 1) > 0.05)
    np.testing.assert_allclose(found.distance[1], 10.0, rtol=1e-2)


def test_a_loss_that_is_not_finite_is_kept():
    model = Quadratic()
    found = scanned(
        model, lambda: model.loss() if float(model.w.detach().norm()) < 0.5 else np.inf
    )
    assert np.all(np.isfinite(found.difference[0]))
    assert np.all(np.isposinf(found.difference[1]))
    assert np.all(np.isnan(scanned(model, lambda: np.nan).difference))


def test_inside_autocast_the_moved_weights_are_used():
    model = network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(inputs())
        found = scanned(model, lambda: model(inputs()).float().square().mean())
    assert np.all(np.abs(found.difference[1]) > 1e-3)


def test_a_pending_backward_pass_is_not_disturbed():
    gradients = []
    for scans in (0, 1):
        model = network()
        loss = model(inputs()).square().mean()
        for _ in range(scans):
            scanned(model, lambda: model(inputs(1)).square().mean())  # noqa: B023
        loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    for bare, probed in zip(*gradients, strict=True):
        assert torch.equal(bare, probed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radii": []}, "radii: found"),
        ({"radii": [0.0, 1.0]}, "expected finite distances other than 0"),
        ({"radii": [float("nan")]}, "radii: found"),
        ({"directions": 0}, "directions: found 0"),
        ({"repeats": 1}, "repeats: found 1"),
        ({"mode": "test"}, "mode: found 'test', expected 'train' or 'eval'"),
        ({"generator": torch.default_generator}, "generator: found torch's default generator"),
    ],
)
def test_messages_about_arguments(options, message):
    model = Quadratic()
    with pytest.raises(ValueError, match=message):
        scanned(model, model.loss, **options)


def test_messages_about_what_was_found():
    model = network()
    with pytest.raises(
        ValueError, match=r"evaluate: returned shape \(32, 2\), expected one value"
    ):
        scanned(model, lambda: model(inputs()))
    with pytest.raises(ValueError, match="evaluate: changed the mode of the model"):
        scanned(model, lambda: model.eval()(inputs()).mean())
    with pytest.raises(ValueError, match="directions: found 3, expected at most 1"):
        scanned(
            model, lambda: 0.0, trajectory(list(model.parameters()), [list(model.parameters())])
        )


def test_two_processes(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    root = str(Path(__file__).parents[4] / "src")
    done = subprocess.run(
        [*command, __file__, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    alone = []
    for rank in range(2):
        model = network()
        batch = inputs(rank)
        alone.append(scanned(model, lambda: model(batch).square().mean()))  # noqa: B023
    expected = np.mean([a.difference for a in alone], axis=0)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        # float32 sums may be added in another order where numbers of threads differ.
        np.testing.assert_allclose(found["scan"].difference, expected, rtol=1e-4, atol=1e-7)
        assert found["scan"].loss == pytest.approx(np.mean([a.loss for a in alone]), rel=1e-6)
        assert (
            found["generator"]
            == "generator: processes drew different directions, expected the same"
        )
    errors = [
        torch.load(tmp_path / f"{rank}.pt", weights_only=False)["failure"] for rank in (0, 1)
    ]
    assert errors == ["RuntimeError('evaluate: failed on another process')", "OSError('gone')"]


def on_each_process(folder):
    """What `test_two_processes` looks at, on one of its processes."""
    rank = dist.get_rank()
    model = network()
    wrapped = DistributedDataParallel(model)
    batch, found = inputs(rank), {}
    ensemble = isotropic(list(wrapped.parameters()))

    def evaluate():
        return model(batch).square().mean()

    def failing():
        if rank == 1:
            raise OSError("gone")
        return evaluate()

    found["scan"] = scanned(wrapped, evaluate, ensemble)
    try:
        scanned(wrapped, evaluate, ensemble, generator=seeded(rank))
    except ValueError as error:
        found["generator"] = str(error)
    try:
        scanned(wrapped, failing, ensemble)
    except (RuntimeError, OSError) as error:
        found["failure"] = repr(error)
    torch.save(found, folder / f"{rank}.pt")


if __name__ == "__main__":
    dist.init_process_group("gloo")
    on_each_process(Path(sys.argv[1]))
    leave()
