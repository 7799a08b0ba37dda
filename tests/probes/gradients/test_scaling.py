import warnings

import numpy as np
import pytest
import torch
import xarray as xr

from ultraslow import probes
from ultraslow.probes.gradients.scaling import scale_of, witnesses

WIDTH = 1024


def toy(path, *, spoil=(), set_to_none=True, fused=False, sized=False, clip=True):
    """The toy with |G|² = 4 and tr Σ = 64 under float16 loss scaling, two units an update."""
    model = torch.nn.Linear(WIDTH, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=100)
    generator = torch.Generator().manual_seed(0)
    mean = torch.full((WIDTH,), (4 / WIDTH) ** 0.5)
    steps = 400
    with probes.attach(model, optimizer, path, batch_size=32, scaler=scaler) as recorder:
        for index in range(steps):
            for _ in range(2):
                if sized:
                    recorder.unit(size=16)
                noise = torch.randn(16, WIDTH, generator=generator)
                loss = model(mean + noise * (64 / WIDTH) ** 0.5).mean() / 2
                scaler.scale(loss * float("inf") if index in spoil else loss).backward()
            if clip:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=set_to_none)
    return recorder, xr.load_dataset(f"{path}.nc"), steps


def window_mean(recording, name):
    updates = recording["noise_updates"]
    return float((recording[name].sum("tensor") * updates).sum() / updates.sum())


def test_gradients_are_measured_unscaled_and_before_clipping(tmp_path):
    recorder, recording, steps = toy(tmp_path / "run")
    assert recorder.iteration == steps
    assert window_mean(recording, "gradient_sq") == pytest.approx(4, rel=0.03)
    assert window_mean(recording, "noise_trace") == pytest.approx(64, rel=0.03)
    scale = recording["loss_scale"].values
    assert (scale[1], scale[-1] > 4096) == (1024, True)  # it grew every hundred steps
    factor = 0.5 / window_mean(recording, "mean_sq") ** 0.5
    assert float(recording["clip_factor"][-1]) == pytest.approx(factor, rel=0.02)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("set_to_none", [False, True])
@pytest.mark.parametrize("sized", [False, True])
def test_skipped_steps_are_events_and_no_iterations(tmp_path, fused, set_to_none, sized):
    options = {"fused": fused, "set_to_none": set_to_none, "sized": sized}
    recorder, recording, steps = toy(tmp_path / "run", spoil=(10, 11, 50), **options)
    assert recorder.iteration == steps - 3
    assert int(recording["skipped"].sum()) == 3
    assert int(recording["noise_updates"].sum()) == steps - 3
    assert float(recording["samples"][-1]) == 32 * (steps - 3)
    assert window_mean(recording, "noise_trace") == pytest.approx(64, rel=0.03)


def test_an_optimizer_that_undoes_the_scale_itself_has_clipped_nothing(tmp_path):
    _, recording, _ = toy(tmp_path / "run", fused=True, clip=False)
    np.testing.assert_allclose(recording["clip_factor"][1:], 1, rtol=1e-6)


def test_no_scaler_no_scale():
    assert scale_of(None) is None
    assert scale_of(torch.amp.GradScaler("cpu", enabled=False)) is None


def test_the_witness_is_large_enough_to_have_a_gradient_and_small_enough_to_be_free():
    one = [0] * 4
    assert witnesses([10, 1 << 12, 1 << 20, 500], one) == (1, 3, 1)
    assert witnesses([1 << 20, 1 << 18], one) == (1, 0, 1)
    assert witnesses([3, 5], one) == (1, 0, 1)
    assert witnesses([7], one) == (0, 0, 0)


def test_a_witness_is_in_the_other_half_and_one_in_another_group():
    assert witnesses([9, 5, 8, 3, 2, 1], [0, 0, 0, 0, 1, 1]) == (0, 3, 4)


CLIPPING = {
    "value": lambda model: torch.nn.utils.clip_grad_value_(model.parameters(), 0.01),
    "tensor": lambda model: [torch.nn.utils.clip_grad_norm_(p, 0.01) for p in model.parameters()],
    "group": lambda model: torch.nn.utils.clip_grad_norm_(model[1].parameters(), 0.01),
    "norm": lambda model: torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01),
    "none": lambda model: None,
}


@pytest.mark.parametrize("kind", CLIPPING)
def test_the_clip_factor_is_that_of_all_gradients_or_unknown(tmp_path, kind):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 2))
    groups = [{"params": model[0].parameters()}, {"params": model[1].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    factors = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with probes.attach(model, optimizer, tmp_path / "run", batch_size=4) as recorder:
            for _ in range(5):
                model(torch.randn(4, 6)).square().mean().backward()
                before = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
                CLIPPING[kind](model)
                after = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
                factors.append(float(after / before))
                optimizer.step()
                optimizer.zero_grad()
            assert recorder.iteration == 5
    found = xr.load_dataset(tmp_path / "run.nc")["clip_factor"].values[1:]
    uneven = kind not in ("norm", "none")
    assert len([w for w in told if "by more than one factor" in str(w.message)]) == int(uneven)
    np.testing.assert_allclose(found, [np.nan] * 5 if uneven else factors, rtol=1e-5)


def test_a_scaler_that_nobody_gave_is_recorded_on_when_the_run_goes_on(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=4)
    for last, resume in ((4, None), (8, True)):
        options = {"batch_size": 8, "schedule": range(last + 1), "resume": resume}
        with (
            pytest.warns(RuntimeWarning, match="a gradient scaler that was not given"),
            probes.attach(model, optimizer, tmp_path / "run", **options),
        ):
            for _ in range(4):
                optimizer.zero_grad()
                scaler.scale(model(torch.randn(8, 4)).square().mean()).backward()
                scaler.step(optimizer)
                scaler.update()
    found = xr.load_dataset(tmp_path / "run.nc")
    assert found["loss_scale"].values[1:].tolist() == [512.0] * 4 + [1024.0] * 4
    assert found["skipped"].values.tolist() == [0] * 9
