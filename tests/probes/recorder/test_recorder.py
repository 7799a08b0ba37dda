import importlib.util
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from ultraslow import probes
from ultraslow.diffusion.recording.contract import check
from ultraslow.diffusion.recording.schedule import log_spaced
from ultraslow.probes.recorder.outlook import Notices


def test_each_message_is_given_once_and_an_empty_one_never():
    notices = Notices(Path("runs/a"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for message in ("late", "", "late", "early"):
            notices.warn(message)
    assert [str(w.message) for w in told] == ["recording runs/a: late", "recording runs/a: early"]
    assert {w.category for w in told} == {RuntimeWarning}


SPEC = importlib.util.spec_from_file_location("ddp_run", Path(__file__).parents[1] / "ddp_run.py")
runs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(runs)


def problem(**options):
    model = torch.nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **options)
    return model, optimizer


def step(model, optimizer, inputs):
    loss = model(inputs).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, dict):
            assert_same(value, second[name])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, second[name]), name
        else:
            assert value == second[name], name


@pytest.mark.parametrize("microbatches", [1, 2])
def test_training_is_bit_identical_with_and_without_probes(tmp_path, microbatches):
    bare = runs.train(None, microbatches=microbatches)
    probed = runs.train(tmp_path / "probed", microbatches=microbatches)
    assert_same(bare, probed)


def test_training_is_bit_identical_under_ddp(two_processes):
    for rank in (0, 1):
        bare, probed = (
            torch.load(two_processes / f"{name}-{rank}.pt") for name in ("bare", "probed")
        )
        assert_same(bare, probed)


def test_recordings_are_sound(tmp_path, two_processes):
    runs.train(tmp_path / "plain")
    for path in (tmp_path / "plain.nc", two_processes / "probed.nc", two_processes / "ddp.nc"):
        check(xr.open_dataset(path), str(path))


def test_a_probe_that_fails_on_one_process_is_told_of_by_the_other(two_processes):
    """Noise is unknown from there on, and no finite gradient is taken for an event."""
    recording = xr.load_dataset(two_processes / "broken.nc")
    check(recording)
    assert np.isfinite(recording["noise_trace"][1:5]).all()
    for name in ("noise_trace", "mean_sq", "units", "clip_factor"):
        assert np.isnan(recording[name][5:]).all(), name
    assert (recording["nonfinite_gradients"] == 0).all()
    assert np.isfinite(recording["loss"][1:]).all()
    assert "failed and was switched off: on another process" in recording.attrs["noise_absent"]
    told = [json.loads((two_processes / f"broken-{rank}.json").read_text()) for rank in (0, 1)]
    assert ["failed and was switched off" in one for [one] in told] == [True, True]


def test_parameters_without_values_are_left_out(tmp_path):
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.randn(3))
    model.empty = torch.nn.Parameter(torch.zeros(0, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with probes.attach(model, optimizer, tmp_path / "run", batch_size=4):
        for _ in range(3):
            (model.weight.square().sum() + model.empty.sum()).backward()
            optimizer.step()
            optimizer.zero_grad()
    recording = xr.load_dataset(tmp_path / "run.nc")
    check(recording)
    assert recording["tensor"].values.tolist() == ["weight"]


@pytest.mark.parametrize("late", [True, False])
def test_the_last_evaluation_comes_to_a_record_that_a_state_was_taken_after(tmp_path, late):
    """Whether the record is on disk by then or not; its iteration was due."""
    model, optimizer = problem()
    evaluation = probes.Evaluation(lambda m: {"loss": 1.5}, schedule=[0, 2])
    options = {"batch_size": 4, "schedule": [0, 2, 4], "evaluation": evaluation}
    recorder = probes.attach(model, optimizer, tmp_path / "run", **options)
    for _ in range(4):
        step(model, optimizer, torch.randn(4, 3))
    recorder.state_dict()
    if late:
        recorder.state_dict()
    recording = xr.load_dataset(recorder.close())
    assert recording["iteration"].values.tolist() == [0, 2, 4]
    assert recording["held_out"].sel(metric="loss").values.tolist() == [1.5, 1.5, 1.5]


def test_distance_equals_a_float64_reference(tmp_path):
    model, optimizer = problem(momentum=0.9)
    initial = model.weight.detach().double().clone()
    expected = []
    with probes.attach(
        model, optimizer, tmp_path / "run", batch_size=4, schedule=[0, 1, 2, 5]
    ) as r:
        for _ in range(7):
            step(model, optimizer, torch.randn(4, 3))
            w = model.weight.detach().double()
            expected.append([(w - initial).square().sum(), w.square().sum(), (w * initial).sum()])
    recording = xr.load_dataset(tmp_path / "run.nc")
    assert recording["iteration"].values.tolist() == [0, 1, 2, 5, 7]
    found = np.stack(
        [recording[name].values[1:, 0] for name in ("distance_sq", "weight_sq", "overlap")]
    )
    np.testing.assert_allclose(found.T, np.array(expected)[[0, 1, 4, 6]], rtol=2e-6, atol=1e-7)
    assert recording["distance_sq"].values[0] == 0
    assert r.iteration == 7


def test_windows_average_over_all_updates_between_records(tmp_path):
    model, optimizer = problem()
    losses, rates = [], []
    with probes.attach(
        model, optimizer, tmp_path / "run", batch_size=4, schedule=[3, 8], flush_seconds=0.0
    ) as recorder:
        for index in range(10):
            optimizer.param_groups[0]["lr"] = 0.1 / (index + 1)
            rates.append(0.1 / (index + 1))
            loss = step(model, optimizer, torch.randn(4, 3)).detach()
            losses.append(float(loss))
            recorder.observe(loss=loss)
    recording = xr.load_dataset(tmp_path / "run.nc")
    assert recording["iteration"].values.tolist() == [0, 3, 8, 10]
    windows = [losses[:3], losses[3:8], losses[8:]]
    np.testing.assert_allclose(recording["loss"].values[1:], [np.mean(w) for w in windows])
    np.testing.assert_allclose(
        recording["loss_var"].values[1:], [np.var(w, ddof=1) for w in windows]
    )
    assert recording["loss_updates"].values.tolist() == [0, 3, 5, 2]
    np.testing.assert_allclose(
        recording["learning_rate"].values, [0.1, *np.array(rates)[[2, 7, 9]]]
    )
    np.testing.assert_allclose(
        recording["learning_rate_sum"].values, np.append(0, np.cumsum(rates))[[0, 3, 8, 10]]
    )
    assert recording["samples"].values.tolist() == [0, 12, 32, 40]


def record(path, *, units=2, updates=5, observe="after backward", **options):
    model, optimizer = problem()
    losses = []
    with probes.attach(
        model, optimizer, path, batch_size=4, schedule=range(updates), **options
    ) as recorder:
        for _ in range(updates):
            values = []
            for _ in range(units):
                loss = model(torch.randn(4 // units, 3)).mean() / units
                loss.backward()
                values.append(loss.detach() * units)
                if observe == "after backward":
                    recorder.observe(loss=values[-1])
            optimizer.step()
            optimizer.zero_grad()
            if observe == "after step":
                recorder.observe(loss=sum(values) / units)
            losses.append(float(sum(values) / units))
    return xr.load_dataset(f"{path}.nc"), losses


@pytest.mark.parametrize("observe", ["after backward", "after step"])
@pytest.mark.parametrize("asked", [["distance"], ["noise"]])
def test_a_loss_belongs_to_the_update_it_was_computed_for(tmp_path, observe, asked):
    recording, losses = record(tmp_path / "run", observe=observe, probes=asked)
    np.testing.assert_allclose(recording["loss"].values[1:], losses, rtol=1e-6)


def test_one_unit_holds_no_noise_and_the_recording_says_so(tmp_path):
    recording, _ = record(tmp_path / "run", units=1)
    assert "gradient_sq" not in recording
    assert "mean_sq" in recording
    assert "one unit" in recording.attrs["noise_absent"]
    assert np.all(recording["units"].values[1:] == 1)


def test_noise_can_be_switched_off(tmp_path):
    recording, _ = record(tmp_path / "run", probes=["distance"])
    assert not {"gradient_sq", "mean_sq", "units"} & set(recording.variables)
    assert recording.attrs["noise_absent"] == "the noise probe was switched off"


def test_unequal_units_are_right_once_declared(tmp_path):
    """Units of 4 and 28 samples weighted by size: |G|² = 4, tr Σ = 64 come out only with P9's
    formula."""
    model = torch.nn.Linear(runs.WIDTH, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    mean = torch.full((runs.WIDTH,), (4 / runs.WIDTH) ** 0.5)
    generator = torch.Generator().manual_seed(0)
    with probes.attach(model, optimizer, tmp_path / "run", batch_size=32) as recorder:
        for _ in range(500):
            for size in (4, 28):
                noise = torch.randn(size, runs.WIDTH, generator=generator)
                recorder.unit(size=size, weight=size / 32)
                (model(mean + noise * (64 / runs.WIDTH) ** 0.5).mean() * size / 32).backward()
            optimizer.step()
            optimizer.zero_grad()
    recording = xr.load_dataset(tmp_path / "run.nc").sum("tensor")
    updates = recording["noise_updates"]
    assert float((recording["gradient_sq"] * updates).sum() / updates.sum()) == pytest.approx(
        4, rel=0.03
    )
    assert float((recording["noise_trace"] * updates).sum() / updates.sum()) == pytest.approx(
        64, rel=0.03
    )
    assert recording["samples"].values[-1] == 500 * 32


def test_units_that_were_not_all_declared_are_left_out_with_a_warning(tmp_path):
    model, optimizer = problem()
    with pytest.warns(RuntimeWarning, match="1 units were declared, 2 were seen"):  # noqa: SIM117
        with probes.attach(model, optimizer, tmp_path / "run", batch_size=4) as recorder:
            recorder.unit(size=4)
            model(torch.randn(2, 3)).mean().backward()
            step(model, optimizer, torch.randn(2, 3))
    assert xr.load_dataset(tmp_path / "run.nc")["noise_updates"].values.tolist() == [0, 0]


def test_inf_and_nan_are_events_and_spoil_nothing(tmp_path):
    model, optimizer = problem()
    with probes.attach(model, optimizer, tmp_path / "run", batch_size=6, schedule=[3]) as recorder:
        for index in range(3):
            for unit in range(3):
                broken = index == 1 and unit == 2
                loss = model(torch.ones(2, 3)).mean() / 3
                (loss * float("inf") if broken else loss).backward()
            recorder.observe(loss=float("nan") if index == 1 else 2.0)
            model.weight.grad.nan_to_num_(0.0, 0.0, 0.0)
            optimizer.step()
            optimizer.zero_grad()
    last = xr.load_dataset(tmp_path / "run.nc").isel(iteration=-1)
    assert int(last["nonfinite_gradients"]) == int(last["nonfinite_losses"]) == 1
    assert int(last["noise_updates"]) == int(last["loss_updates"]) == 2
    assert float(last["loss"]) == 2.0
    assert float(last["mean_sq"].sum()) == pytest.approx(3.0)


def test_a_batch_size_that_the_units_contradict_is_said_once(tmp_path):
    model, optimizer = problem()
    with pytest.warns(RuntimeWarning) as caught:  # noqa: SIM117
        with probes.attach(model, optimizer, tmp_path / "a", batch_size=5) as recorder:
            for _ in range(3):
                model(torch.ones(2, 3)).mean().backward()
                step(model, optimizer, torch.ones(2, 3))
    with pytest.warns(RuntimeWarning) as declared:  # noqa: SIM117
        with probes.attach(model, optimizer, tmp_path / "b", batch_size=5) as recorder:
            for _ in range(3):
                recorder.unit(size=4)
                step(model, optimizer, torch.ones(4, 3))
    told = [str(warning.message).split(": ", 1)[1] for warning in [*caught, *declared]]
    assert [one.partition(";")[0] for one in told] == [
        "batch_size is 5, which 2 equal units cannot share",
        "batch_size is 5, but no update held more than 4 samples",
    ]


def test_clipping_is_measured(tmp_path):
    model, optimizer = problem()
    with probes.attach(model, optimizer, tmp_path / "run", batch_size=4, schedule=[2]):
        for limit in (1.0, 100.0):
            (model(torch.ones(4, 3)).mean() * 10).backward()  # gradient norm 10·√3
            torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
            optimizer.step()
            optimizer.zero_grad()
    factor = float(xr.load_dataset(tmp_path / "run.nc")["clip_factor"][-1])
    assert factor == pytest.approx((1 / (10 * 3**0.5) + 1) / 2, rel=1e-5)


def test_a_schedule_beyond_the_run_and_wrapping_after_attaching_are_said(tmp_path):
    model, optimizer = problem()
    with pytest.warns(  # noqa: SIM117
        RuntimeWarning, match="the schedule of records goes beyond the last iteration, 1"
    ):
        with probes.attach(model, optimizer, tmp_path / "run", batch_size=4, schedule=[1, 9]):
            step(model, optimizer, torch.ones(4, 3))
    recorder = probes.attach(model, optimizer, tmp_path / "wrapped", batch_size=4)
    model.weight = torch.nn.Parameter(model.weight.detach().clone())  # as fully_shard does
    with pytest.warns(RuntimeWarning, match="replace and wrap first, then attach"):
        step(model, optimizer, torch.ones(4, 3))
    recorder.close()


def test_wrapping_that_took_another_optimizer_is_said_at_the_end(tmp_path):
    model, optimizer = problem()
    recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=4)
    model.weight = torch.nn.Parameter(model.weight.detach().clone())
    step(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.ones(4, 3))
    with pytest.warns(RuntimeWarning, match="replace and wrap first, then attach"):
        recorder.close()


def test_a_live_recording_can_be_read_and_closing_replaces_it(tmp_path):
    model, optimizer = problem()
    recorder = probes.attach(
        model,
        optimizer,
        tmp_path / "run",
        batch_size=4,
        schedule=log_spaced(20),
        flush_seconds=0.0,
    )
    for _ in range(20):
        step(model, optimizer, torch.randn(4, 3))
    parts = sorted((tmp_path / "run").glob("segment-*.nc"))
    live = xr.open_mfdataset(
        parts,
        combine="by_coords",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="outer",
    ).load()
    live.close()
    check(live)
    assert live["iteration"].values.tolist() == [*range(18), 19]
    assert recorder.close() == tmp_path / "run.nc"
    assert os.listdir(tmp_path / "run") == ["initial-00000-of-00001.safetensors"]
    assert recorder.close() == tmp_path / "run.nc"
    assert xr.load_dataset(tmp_path / "run.nc")["iteration"].values.tolist() == [
        *range(18),
        19,
        20,
    ]


def test_an_exception_in_training_keeps_what_was_recorded(tmp_path):
    model, optimizer = problem()
    with pytest.raises(KeyError), probes.attach(model, optimizer, tmp_path / "run", batch_size=4):
        for _ in range(5):
            step(model, optimizer, torch.randn(4, 3))
        raise KeyError("the user's")
    parts = [xr.load_dataset(part) for part in sorted((tmp_path / "run").glob("segment-*.nc"))]
    assert np.concatenate([part["iteration"] for part in parts]).tolist() == list(range(6))
    step(model, optimizer, torch.randn(4, 3))  # the hooks are gone


def test_a_disk_that_refuses_stops_nothing_and_loses_nothing(tmp_path, monkeypatch):
    model, optimizer = problem()
    recorder = probes.attach(
        model, optimizer, tmp_path / "run", batch_size=4, schedule=range(12), flush_seconds=0.0
    )
    folder = tmp_path / "run"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        folder.rename(tmp_path / "away")
        for _ in range(12):
            step(model, optimizer, torch.randn(4, 3))
        (tmp_path / "away").rename(folder)
    assert [str(warning.message).count("could not write") for warning in caught] == [1]
    recorder.close()
    assert xr.load_dataset(tmp_path / "run.nc")["iteration"].values.tolist() == list(range(13))


def test_the_optimizer_sees_a_closed_recorder_as_gone(tmp_path):
    model, optimizer = problem()
    recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=4)
    recorder.close()
    with pytest.raises(RuntimeError, match="observe: the recorder of .*run is closed"):
        recorder.observe(loss=1.0)
    assert xr.load_dataset(tmp_path / "run.nc")["iteration"].values.tolist() == [0]
    probes.attach(model, optimizer, tmp_path / "again", batch_size=4).close()


def test_a_loss_must_be_one_value(tmp_path):
    model, optimizer = problem()
    with (
        probes.attach(model, optimizer, tmp_path / "run", batch_size=4) as recorder,
        pytest.raises(ValueError, match=r"found torch.float32 of shape \(2,\), expected one"),
    ):
        recorder.observe(loss=torch.zeros(2))
