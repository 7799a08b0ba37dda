"""Training loops whose units are not equal, beside an independent slow computation.

The twin repeats each unit on a copy of the model in float64 with `torch.autograd.grad`, and takes
its estimates from differences and products of pairs of units.
"""

import copy
import itertools
import warnings
from contextlib import nullcontext

import numpy as np
import torch
import xarray as xr

from ultraslow import probes

WIDTH, CLASSES = 6, 4


def network():
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(WIDTH, 8), torch.nn.Tanh(), torch.nn.Linear(8, CLASSES)
    )


def called(model, inputs):
    """The model's outputs, in its own precision."""
    return model(inputs.to(next(model.parameters()).dtype))


def mean_loss(model, batch):
    inputs, targets = batch
    return torch.nn.functional.cross_entropy(called(model, inputs), targets)


class Absent:
    """What a loop calls where no probes are attached."""

    def observe(self, **_):
        """Nothing."""

    unit = observe

    def one_unit(self):
        return nullcontext()

    unmeasured = one_unit


class Twin:
    """Units of each update: mean gradients in float64, weights and sizes."""

    def __init__(self, model):
        self._model = model
        self._w0 = [p.detach().double().clone() for p in model.parameters()]
        self.updates, self.making, self.distance_sq = [], [], []

    def unit(self, weight, size, *losses):
        """One unit: losses as functions of a model."""
        model = copy.deepcopy(self._model).double()
        total = sum(loss(model) for loss in losses)
        gradients = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
        zeros = [torch.zeros_like(p) for p in model.parameters()]
        flat = [z if g is None else g for z, g in zip(zeros, gradients, strict=True)]
        self.making.append((weight, size, torch.cat([g.flatten() for g in flat])))

    def step(self):
        """The optimizer has stepped."""
        self.updates.append(self.making)
        self.making = []
        pairs = zip(self._model.parameters(), self._w0, strict=True)
        self.distance_sq.append(sum(float((p.detach() - w0).square().sum()) for p, w0 in pairs))

    def samples(self):
        return np.cumsum([0] + [sum(n for _, n, _ in units) for units in self.updates])

    def estimates(self):
        """|G|² and tr Σ of each update: from all pairs of units, and what is left of each.

        E h_i·h_j = a_i·a_j·|G|² for two units, E |h_i|² = a_i²·(|G|² + tr Σ/n_i).
        """
        found = []
        for units in self.updates:
            pairs = list(itertools.permutations(units, 2))
            if not pairs:
                found.append((np.nan, np.nan))
                continue
            products = sum(a * b * float(g @ h) for (a, _, g), (b, _, h) in pairs)
            gradient_sq = products / sum(a * b for (a, _, _), (b, _, _) in pairs)
            left = sum(a**2 * (float(g @ g) - gradient_sq) for a, _, g in units)
            found.append((gradient_sq, left / sum(a**2 / n for a, n, _ in units)))
        return np.array(found).T


def run(path, loop, *, batch_size, optimizer=None, **options):
    """The recording and the twin of a loop, whose weights were those without probes."""
    bare = network()
    torch.manual_seed(7)
    loop(bare, _optimizer(bare, optimizer), Absent(), Twin(bare))
    model = network()
    twin, stepper = Twin(model), _optimizer(model, optimizer)
    torch.manual_seed(7)
    with probes.attach(
        model, stepper, path, batch_size=batch_size, schedule=range(200), **options
    ) as recorder:
        loop(model, stepper, recorder, twin)
    for one, other in zip(model.parameters(), bare.parameters(), strict=True):
        assert torch.equal(one, other)
    return xr.load_dataset(f"{path}.nc"), twin


def batch(size):
    return torch.randn(size, WIDTH), torch.randint(CLASSES, (size,))


def told(caught):
    found = [str(one.message) for one in caught if issubclass(one.category, RuntimeWarning)]
    return [one for one in found if "the schedule of records goes beyond" not in one]


def recorded(tmp_path, loop, **options):
    """The recording, the twin, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recording, twin = run(tmp_path / "run", loop, **options)
    return recording, twin, told(caught)


def _optimizer(model, make):
    return (make or (lambda p: torch.optim.SGD(p, lr=0.05)))(model.parameters())


def compare(recording, twin, *, left_out=()):
    """Distance, samples and noise are the twin's, but for the noise of updates left out.

    Arguments:
        recording: of every iteration.
        twin: of it.
        left_out: positions of updates.
    """
    truth = {"distance_sq": twin.distance_sq, "samples": twin.samples()}
    units = [len(one) for one in twin.updates]
    compare_with(recording, {**truth, "units": units, "estimates": twin.estimates()}, left_out)


def compare_with(recording, truth, left_out=()):
    """The same with what a twin has found, by name."""
    units = np.asarray(truth["units"])
    count = len(units)
    assert recording["iteration"].values.tolist() == list(range(count + 1))
    close = {"rtol": 1e-5}
    distance_sq = recording["distance_sq"].sum("tensor").values[1:]
    np.testing.assert_allclose(distance_sq, truth["distance_sq"], **close)
    np.testing.assert_allclose(recording["samples"], truth["samples"], **close)
    assert recording["units"].values[1:].tolist() == units.tolist()
    unknown = np.isin(np.arange(count), list(left_out))
    assert recording["noise_left_out"].values[1:].astype(bool).tolist() == unknown.tolist()
    for name, expected in zip(("gradient_sq", "noise_trace"), truth["estimates"], strict=True):
        found = recording[name].sum("tensor", skipna=False).values[1:]
        np.testing.assert_allclose(found, np.where(unknown, np.nan, expected), **close)
    assert recording["noise_updates"].values[1:].tolist() == ((units > 1) & ~unknown).tolist()
