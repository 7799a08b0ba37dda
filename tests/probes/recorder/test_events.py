"""What happens to a run stands in its recording."""

import json
import re
import warnings

import numpy as np
import pytest
import torch
import xarray as xr

from ultraslow import analysis, probes
from ultraslow.analysis.report import happened
from ultraslow.analysis.runs import runs_of
from ultraslow.diffusion.recording import EVENTS, events_of
from ultraslow.probes.storage import RecordingWriter, SegmentStore

NOT_FINITE = "the weights are not finite"


def problem():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def step(model, optimizer, factor=1.0):
    (factor * model(torch.ones(4, 3)).square().mean()).backward()
    optimizer.step()
    optimizer.zero_grad()


def events(path):
    return events_of(xr.load_dataset(path).attrs)


def test_a_quiet_run_has_none(tmp_path):
    model, optimizer = problem()
    with probes.attach(model, optimizer, tmp_path / "run", batch_size=4):
        step(model, optimizer)
    assert "events" not in xr.load_dataset(tmp_path / "run.nc").attrs


def test_weights_that_are_not_finite_are_noted_at_their_iteration(tmp_path):
    for name, broken in (("beginning", 0), ("later", 3)):
        model, optimizer = problem()
        if not broken:
            torch.nn.init.constant_(model.bias, torch.nan)
        schedule = list(range(1, 7))
        with probes.attach(model, optimizer, tmp_path / name, batch_size=4, schedule=schedule):
            for iteration in range(1, 7):
                step(model, optimizer, torch.inf if iteration == broken else 1.0)
        assert events(tmp_path / f"{name}.nc") == [(broken, NOT_FINITE)]


def test_layers_that_begin_to_train_are_noted_with_what_was_warned_of(tmp_path):
    model, optimizer = problem()
    head = torch.nn.Linear(1, 2)
    schedule = [1, 2, 3, 4]
    with pytest.warns(RuntimeWarning, match="2 parameters began to train") as warned:
        recorder = probes.attach(model, optimizer, tmp_path / "a", batch_size=4, schedule=schedule)
        step(model, optimizer)
        optimizer.add_param_group({"params": head.parameters()})
        for _ in range(3):
            step(model, optimizer)
        recorder.close()
    ((iteration, text),) = events(tmp_path / "a.nc")
    assert iteration == 2
    assert str(warned[0].message).endswith(text)
    found = happened(runs_of(analysis.load(tmp_path / "a.nc")))
    assert found == (f"a, iteration 2: {text}",)


def test_layers_that_another_optimizer_begins_to_train_are_noted(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
    another = torch.optim.SGD(model[0].parameters(), lr=0.1)
    with (
        pytest.warns(RuntimeWarning, match="2 parameters began to train"),
        probes.attach(model, optimizer, tmp_path / "a", batch_size=4, schedule=range(5)),
    ):
        for iteration in range(1, 5):
            if iteration == 3:
                model[0].requires_grad_(True)
            model(torch.ones(4, 2)).square().mean().backward()
            if iteration >= 3:
                another.step()
            optimizer.step()
            optimizer.zero_grad()
    assert [at for at, _ in events(tmp_path / "a.nc")] == [3]


def test_a_run_that_goes_on_keeps_those_of_the_part_that_is_kept(tmp_path):
    model, optimizer = problem()
    recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=4)
    recorder._writer.note(0, "early")
    for _ in range(2):
        step(model, optimizer)
    state, weights = recorder.state_dict(), {n: v.clone() for n, v in model.state_dict().items()}
    step(model, optimizer, torch.inf)
    recorder.close()
    assert events(tmp_path / "run.nc") == [(0, "early"), (3, NOT_FINITE)]
    model, optimizer = problem()
    model.load_state_dict(weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of records that are set aside
        recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=4, resume=state)
        step(model, optimizer)
        recorder.close()
    assert events(tmp_path / "run.nc") == [(0, "early")]
    assert np.isfinite(xr.load_dataset(tmp_path / "run.nc")["weight_sq"]).all()


@pytest.mark.parametrize(
    ("resume", "at", "words"),
    [
        (True, 6, "the weights are .* but were .* at iteration 6; load the checkpoint"),
        (4, 4, "the weights are .* but were .* at iteration 4; load the checkpoint"),
        (5, 5, "iteration 5 is not recorded: what was measured since iteration 4 is lost"),
    ],
)
def test_what_going_on_is_warned_of_stays_in_the_recording(tmp_path, resume, at, words):
    """The weights are those of iteration 2."""
    model, optimizer = problem()
    options = {"batch_size": 4, "schedule": [0, 2, 4, 6, 7]}
    recorder = probes.attach(model, optimizer, tmp_path / "run", **options)
    for iteration in range(1, 7):
        step(model, optimizer)
        if iteration == 2:
            weights = {name: value.clone() for name, value in model.state_dict().items()}
    recorder._flush_alone()
    recorder._leave()
    model.load_state_dict(weights)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        recorder = probes.attach(model, optimizer, tmp_path / "run", **options, resume=resume)
        for _ in range(7 - at):
            step(model, optimizer)
        recorder.close()
    ((iteration, text),) = events(tmp_path / "run.nc")
    assert iteration == at
    assert re.match(words, text)
    assert [str(one.message).endswith(text) for one in warned] == [True]
    found = happened(runs_of(analysis.load(tmp_path / "run.nc")))
    assert f"run, iteration {at}: {text}" in found


def test_another_optimizer_is_noted_and_so_are_records_that_were_not_reached_again(tmp_path):
    model, optimizer = problem()
    with probes.attach(model, optimizer, tmp_path / "run", batch_size=4, schedule=range(4)):
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        for _ in range(3):
            step(model, optimizer)
    model.load_state_dict(weights)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    options = {"batch_size": 4, "schedule": range(2), "resume": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with probes.attach(model, optimizer, tmp_path / "run", **options):
            step(model, optimizer)
    assert [(at, text.partition(":")[0]) for at, text in events(tmp_path / "run.nc")] == [
        (
            0,
            "goes on with its own optimizer SGD, weight_decay 0.0, and not with what was given "
            "now, optimizer AdamW, weight_decay 0.01",
        ),
        (1, "kept in tail-1.nc.aside"),
    ]


def test_a_probe_that_fails_is_noted(tmp_path):
    model, optimizer = problem()
    evaluation = probes.Evaluation(lambda _: {"loss": 1 / 0}, schedule=[2])
    with (
        pytest.warns(RuntimeWarning, match="the evaluation failed"),
        probes.attach(
            model,
            optimizer,
            tmp_path / "run",
            batch_size=4,
            schedule=range(4),
            evaluation=evaluation,
        ),
    ):
        for _ in range(3):
            step(model, optimizer)
    ((iteration, text),) = events(tmp_path / "run.nc")
    assert iteration == 2
    assert text.startswith("the evaluation failed and was switched off: ZeroDivisionError")


def test_the_same_is_noted_once_and_not_without_end(tmp_path):
    static = {"run": "run", "batch_size": 4, "tensor": ["a"], "tensor_size": [3]}
    earlier = {"events": json.dumps([[1, "one"]])}
    writer = RecordingWriter(SegmentStore(tmp_path / "run"), static, earlier, noise=True)
    for iteration in range(2 * EVENTS):
        writer.note(iteration, "one")
        writer.note(iteration, f"event {iteration} " + "x" * 10_000)
    told = events_of(writer.dataset([{"iteration": 0, "units": np.nan}]).attrs)
    assert len(told) == EVENTS
    assert told[0] == (1, "one")
    assert [at for at, _ in told[1:3]] == [0, 1]


NONE = ["", "{", "3", "null", '{"a": 1}', "[[1]]", '[["1", "a"], [true, "b"], [2, 3]]', "[" * 9999]


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_list_of_events_is_none(text):
    assert events_of({"events": text}) == []
