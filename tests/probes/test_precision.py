import numpy as np
import pytest
import torch
import xarray as xr

import probes
from probes.precision import scale_of, witness

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
    assert witness([10, 1 << 16, 1 << 20, 500]) == 1
    assert witness([1 << 20, 1 << 18]) == 1
    assert np.argmax([3, 5]) == witness([3, 5])
