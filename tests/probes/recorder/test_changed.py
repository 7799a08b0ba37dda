"""The loop changes weights after the step: what is recorded is what the network uses."""

import copy
import json

import numpy as np
import pytest
import torch
import xarray as xr

from ultraslow import probes
from ultraslow.probes.verification import verify

UPDATES = 6


def clip(model, _):
    for parameter in model.parameters():
        parameter.clamp_(-0.01, 0.01)


def clip_data(model, _):
    for parameter in model.parameters():
        parameter.data.clamp_(-0.01, 0.01)


def normalize(model, _):
    model.weight /= model.weight.norm()


class PullBack:
    """Lookahead's, by hand: every second update half-way back to the slow weights."""

    def __init__(self):
        self.slow, self.calls = None, 0

    def __call__(self, model, start):
        self.slow = self.slow or [w.clone() for w in start]
        self.calls += 1
        if self.calls % 2 == 0:
            for parameter, slow in zip(model.parameters(), self.slow, strict=True):
                slow.lerp_(parameter, 0.5)
                parameter.copy_(slow)


def problem():
    torch.manual_seed(0)
    model = torch.nn.Linear(32, 1)
    with torch.no_grad():
        model.weight.clamp_(-0.01, 0.01)
        model.bias.clamp_(-0.01, 0.01)
    return model, torch.optim.RMSprop(model.parameters(), lr=0.05)


def train(path, change, *, hooked=False, before=None, **options):
    """Train; the true squared distances after each change, the recording, the weights at last."""
    model, optimizer = problem()
    start = [p.detach().clone() for p in model.parameters()]
    if hooked:
        optimizer.register_step_post_hook(lambda *_: torch.no_grad()(change)(model, start))
    if path is not None:
        options = {"batch_size": 16, "quiet": True, "schedule": range(UPDATES + 1), **options}
        recorder = probes.attach(model, optimizer, path, **options)
    truth = [0.0]
    for _ in range(UPDATES):
        for _ in range(2):
            (model(torch.randn(8, 32) + 0.1).mean() / 2).backward()
        if before is not None:
            before(model)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            if not hooked:
                change(model, start)
            apart = [p - w0 for p, w0 in zip(model.parameters(), start, strict=True)]
            truth.append(float(sum(one.double().square().sum() for one in apart)))
    if path is None:
        return truth, None, model
    return truth, xr.load_dataset(recorder.close()), model


def events(recording):
    return [
        e
        for e in json.loads(recording.attrs.get("events", "[]"))
        if "after optimizer.step()" in e[1]
    ]


@pytest.mark.parametrize("change", [clip, clip_data, normalize, PullBack()])
def test_the_distance_is_that_of_the_weights_the_network_uses(tmp_path, change):
    twin = copy.deepcopy(change)
    with pytest.warns(RuntimeWarning, match="weights change after optimizer.step"):
        truth, recording, model = train(tmp_path / "run", change)
    np.testing.assert_allclose(recording["distance_sq"].sum("tensor"), truth, rtol=1e-5)
    squares = sum(float(p.detach().double().square().sum()) for p in model.parameters())
    assert recording["weight_sq"].sum("tensor").values[-1] == pytest.approx(squares, rel=1e-6)
    assert len(events(recording)) == 1
    _, _, unrecorded = train(None, twin)
    pairs = zip(model.parameters(), unrecorded.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.filterwarnings("error")
def test_in_a_hook_of_the_optimizer_it_is_part_of_the_step(tmp_path):
    probing = ["distance", "path", "noise"]
    truth, recording, _ = train(tmp_path / "run", clip, hooked=True, probes=probing)
    np.testing.assert_allclose(recording["distance_sq"].sum("tensor"), truth, rtol=1e-5)
    assert recording["step_sq"].sum("tensor").values[1] == pytest.approx(truth[1], rel=1e-5)
    assert not events(recording)


def swap(model, _):
    """An evaluation with averaged weights, after which those of the training are put back."""
    kept = [p.clone() for p in model.parameters()]
    for parameter, own in zip(model.parameters(), kept, strict=True):
        parameter.mul_(0.5)
        parameter.copy_(own)


def perturb(model):
    """A perturbation that is undone before the step, as in sharpness-aware minimization."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    model(torch.randn(8, 32)).mean().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.sub_(0.1)


def test_what_is_put_back_is_not_told(tmp_path, recwarn):
    truth, recording, _ = train(tmp_path / "run", swap, before=perturb)
    np.testing.assert_allclose(recording["distance_sq"].sum("tensor"), truth, rtol=1e-4)
    assert not events(recording)
    assert not [one for one in recwarn if "weights change" in str(one.message)]


def test_a_swap_before_the_close_is_no_part_of_the_trajectory(tmp_path):
    model, optimizer = problem()
    recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=8, quiet=True)
    start = [p.detach().clone() for p in model.parameters()]
    for _ in range(2):
        model(torch.ones(8, 32)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = sum(
        float((p - w).detach().double().square().sum())
        for p, w in zip(model.parameters(), start, strict=True)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.1)
    recording = xr.load_dataset(recorder.close())
    assert recording["distance_sq"].sum("tensor").values[-1] == pytest.approx(moved, rel=1e-5)
    assert not events(recording)


def test_weights_that_are_loaded_after_attaching_are_told(tmp_path):
    model, optimizer = problem()
    recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=8, quiet=True)
    with torch.no_grad():
        model.weight.add_(1.0)
    model(torch.ones(8, 32)).mean().backward()
    with pytest.warns(RuntimeWarning, match=r"between us.attach and the first step, to .* = 32,"):
        optimizer.step()
    recording = xr.load_dataset(recorder.close())
    assert recording["distance_sq"].sum("tensor").values[0] == 0


@pytest.mark.parametrize("updates", [1, 3])
def test_verification_names_the_cause(updates):
    model, optimizer = problem()

    def step():
        for _ in range(2):
            (model(torch.ones(8, 32) + torch.rand(8, 1)).mean() / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            clip(model, None)

    found = verify(step, model, optimizer, batch_size=16, updates=updates, quiet=True)
    assert found.status in ("warned", "wrong")
    assert "eights change after optimizer.step()" in found.sentence
    assert "register_step_post_hook" in found.sentence
    assert "report it" not in found.sentence
