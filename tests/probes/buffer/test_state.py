import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import resume_run as runs
import torch
import xarray as xr
from launches import torchrun
from records import window_updates

from ultraslow import probes
from ultraslow.diffusion.recording.contract import check
from ultraslow.probes.buffer.state import Ledger, State, from_plain, from_records, to_plain
from ultraslow.probes.buffer.window import Snapshot, empty_window
from ultraslow.probes.storage.segments import SegmentStore

CLOCKS = ["wall_time", "probe_seconds"]


def reference(path, **options):
    recorder, _ = runs.part(path, runs.network(), start=0, stop=runs.LAST, **options)
    return xr.load_dataset(recorder.close())


def killed(path, *, save=runs.FIRST, stop=runs.FIRST + 3, **options):
    """A run that ends in the middle, and its checkpoint as `torch.load` gives it back."""
    recorder, checkpoint = runs.part(
        path, runs.network(), start=0, stop=stop, save=save, **options
    )
    recorder.__exit__(KeyboardInterrupt, None, None)
    file = path.with_name(f"{path.name}-first.pt")
    torch.save(checkpoint, file)
    return torch.load(file, weights_only=True)


def finished(path, checkpoint, *, start=runs.FIRST, resume=None, **options):
    resume = checkpoint["recorder"] if resume is None else resume
    recorder, _ = runs.part(
        path,
        runs.loaded(checkpoint),
        start=start,
        stop=runs.LAST,
        checkpoint=checkpoint,
        resume=resume,
        **options,
    )
    return xr.load_dataset(recorder.close())


@pytest.mark.parametrize("flush_seconds", [0.0, 60.0])
def test_a_resumed_run_is_bit_identical(tmp_path, flush_seconds):
    """Whatever the moments at which either was written; with records between the checkpoint and
    the kill that have to go."""
    options = {"momentum": 0.9, "probes": runs.PROBES, "schedule": [1, 2, 5, 9, 14, 15, 23]}
    whole = reference(tmp_path / "whole", save=runs.FIRST, **options)
    checkpoint = killed(tmp_path / "cut", flush_seconds=flush_seconds, **options)
    resumed = finished(tmp_path / "cut", checkpoint, flush_seconds=flush_seconds, **options)
    check(resumed)
    assert resumed["iteration"].values.tolist() == [0, 1, 2, 5, 9, 14, 15, 23, 30]
    for name in set(whole.variables) - {*CLOCKS, "run"}:
        np.testing.assert_array_equal(resumed[name], whole[name], err_msg=str(name))
    assert set(resumed.variables) == set(whole.variables)
    for clock in CLOCKS:
        assert np.all(np.diff(resumed[clock]) >= 0)
    assert json.loads(resumed.attrs["resumed"]) == [{"iteration": 12, "world_size": 1}]


def test_the_disk_alone_is_enough_at_a_record(tmp_path):
    options = {"momentum": 0.9, "schedule": [3, 12, 14, 20]}
    whole = reference(tmp_path / "whole", **options)
    for name, resume in (("number", runs.FIRST), ("true", True)):
        stop = runs.FIRST + 3 if name == "number" else runs.FIRST
        checkpoint = killed(tmp_path / name, stop=stop, **options)
        resumed = finished(tmp_path / name, checkpoint, resume=resume, **options)
        for field in set(whole.variables) - {*CLOCKS, "run"}:
            np.testing.assert_array_equal(resumed[field], whole[field], err_msg=str(field))


def test_a_closed_recording_goes_on(tmp_path):
    options = {"momentum": 0.9, "probes": runs.PROBES}
    whole = reference(tmp_path / "whole", save=runs.FIRST, **options)
    recorder, checkpoint = runs.part(
        tmp_path / "run", runs.network(), start=0, stop=14, save=runs.FIRST, **options
    )
    assert xr.load_dataset(recorder.close())["iteration"].values[-1] == 14
    resumed = finished(tmp_path / "run", checkpoint, **options)
    for field in set(whole.variables) - {*CLOCKS, "run"}:
        np.testing.assert_array_equal(resumed[field], whole[field], err_msg=str(field))


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("by", ["state", "iteration"])
def test_the_landscape_goes_on_from_the_checkpoint_before(tmp_path, closed, by):
    """From that before the training was saved, though a later one was on disk as well."""
    options = {"landscape": runs.around(), "momentum": 0.9, "schedule": [12, 13]}
    whole = reference(tmp_path / "whole", **options)
    recorder, checkpoint = runs.part(
        tmp_path / "cut", runs.network(), start=0, stop=16, save=runs.FIRST, **options
    )
    if closed:
        with pytest.warns(RuntimeWarning, match="schedule of landscape goes beyond the last"):
            recorder.close()
    else:
        recorder.__exit__(KeyboardInterrupt, None, None)
    resume = runs.FIRST if by == "iteration" else None
    resumed = finished(tmp_path / "cut", checkpoint, resume=resume, **options)
    assert np.isfinite(resumed["line_loss"].sel(iteration=[4, 10, 14, 25])).all()
    for name in set(whole.variables) - {*CLOCKS, "run"}:
        np.testing.assert_array_equal(resumed[name], whole[name], err_msg=str(name))
    kept = sorted(path.name for path in (tmp_path / "cut").glob("checkpoint-*"))
    assert kept == [f"checkpoint-{iteration:012d}" for iteration in (10, 14, 25)]


def test_a_checkpoint_of_the_landscape_that_was_lost_is_told_of(tmp_path):
    checkpoint = killed(tmp_path / "run", landscape=runs.around())
    shutil.rmtree(tmp_path / "run" / "checkpoint-000000000010")
    with pytest.warns(RuntimeWarning, match="no line from the one before: the weights of iter"):
        resumed = finished(tmp_path / "run", checkpoint, landscape=runs.around())
    finite = np.isfinite(resumed["line_loss"].sel(iteration=[4, 10, 14, 25])).all("fraction")
    assert finite.values.tolist() == [True, True, False, True]
    assert resumed.attrs["line_loss_absent"].startswith(
        "after iteration 12: the weights of iteration 10 could not be read"
    )


def test_between_records_the_loss_is_told_and_the_sums_go_on(tmp_path):
    options = {"schedule": [5, 10, 15]}
    whole = reference(tmp_path / "whole", **options)
    checkpoint = killed(tmp_path / "run", stop=17, **options)
    with pytest.warns(RuntimeWarning, match="iteration 12 is not recorded: .* since iteration 10"):
        resumed = finished(tmp_path / "run", checkpoint, resume=12, **options)
    assert resumed["iteration"].values.tolist() == [0, 5, 10, 15, 30]
    np.testing.assert_allclose(resumed["distance_sq"], whole["distance_sq"], rtol=1e-6)
    assert resumed["loss_updates"].values.tolist() == [0, 5, 5, 3, 15]
    assert resumed["noise_updates"].values.tolist() == [0, 5, 5, 3, 15]
    np.testing.assert_array_equal(resumed["samples"], whole["samples"])
    np.testing.assert_allclose(resumed["learning_rate_sum"], whole["learning_rate_sum"], rtol=1e-2)
    part = {"iteration": 12, "world_size": 1, "unrecorded_since": 10}
    assert json.loads(resumed.attrs["resumed"]) == [part]


def test_weights_of_another_iteration_are_noticed(tmp_path):
    checkpoint = killed(tmp_path / "run", save=8)
    with pytest.warns(RuntimeWarning, match=r"the weights are .* at iteration 15; load the check"):
        finished(tmp_path / "run", checkpoint, resume=True)


def test_weights_of_a_slow_run_that_are_a_little_ahead_are_noticed(tmp_path):
    """Two updates past the last record at a rate of 1e-4 move the distance by some 1e-4."""
    options = {"schedule": [0, 200], "rate": 1e-4}
    checkpoint = killed(tmp_path / "run", save=202, stop=202, flush_seconds=0.0, **options)
    records = SegmentStore(tmp_path / "run").read()
    assert int(records["iteration"][-1]) == 200
    ahead = float(checkpoint["recorder"]["distance_sq"])
    assert 1e-5 < ahead / float(records["distance_sq"][-1].sum()) - 1 < 0.05
    with pytest.warns(RuntimeWarning, match="at iteration 200; load the checkpoint of that"):
        recorder = attach(tmp_path / "run", runs.loaded(checkpoint), resume=True)
    recorder._leave()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (1, 4, "updates have several units now, and had one before; the recording holds no grad"),
        (4, 1, "updates have one unit now, and had several before; gradient noise is unknown fr"),
    ],
)
def test_another_number_of_units_is_warned_of(tmp_path, before, after, told):
    """Of the same eight samples an update."""

    def parts(iteration, units):
        return runs.microbatches(iteration).reshape(units, runs.BATCH // units, 5)

    model = runs.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=8)
    for iteration in range(1, 4):
        runs.update(model, optimizer, recorder, parts(iteration, before))
    state = recorder.state_dict()
    recorder.close()
    recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=8, resume=state)
    with pytest.warns(RuntimeWarning, match=told) as caught:
        for iteration in range(4, 8):
            runs.update(model, optimizer, recorder, parts(iteration, after))
        closed = xr.load_dataset(recorder.close())
    assert len(caught) == 1
    check(closed)
    assert closed["iteration"].values.tolist() == list(range(8))
    assert ("noise_trace" in closed) == (before == 4)
    if before == 4:
        assert np.isnan(closed["noise_trace"][4:]).all()


def test_a_clock_that_jumps_back_changes_nothing(tmp_path, monkeypatch):
    checkpoint = killed(tmp_path / "run")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    earlier = time.monotonic() - 1e6
    monkeypatch.setattr(time, "monotonic", lambda: earlier)
    resumed = finished(tmp_path / "run", checkpoint)
    assert np.all(np.diff(resumed["wall_time"]) >= 0)


def test_true_begins_where_there_is_nothing_and_goes_on_after_an_early_kill(tmp_path):
    for _ in range(2):
        model = runs.network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=8, resume=True)
        recorder._leave()  # killed before the first record was on disk
    assert not SegmentStore(tmp_path / "run").segments()
    recorder, _ = runs.part(tmp_path / "run", runs.network(), start=0, stop=3, resume=True)
    closed = xr.load_dataset(recorder.close())
    assert closed["iteration"].values.tolist() == [0, 1, 2, 3]
    assert len(closed.attrs["initial_sha256"]) == 64
    initial = [tmp_path / "run" / name for name in json.loads(closed.attrs["initial_weights"])]
    assert all(file.is_file() for file in initial)


def attach(path, model=None, **options):
    model = runs.network() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return probes.attach(model, optimizer, path, **{"batch_size": 8, **options})


def test_what_does_not_fit_is_refused_with_the_difference_and_nothing_is_changed(tmp_path):
    checkpoint = killed(tmp_path / "run", probes=["path"], metadata={"seed": 1})
    other = {**checkpoint["recorder"], "initial": "0" * 64}
    state = checkpoint["recorder"]
    wide = torch.nn.Sequential(torch.nn.Linear(5, 9), torch.nn.Tanh(), torch.nn.Linear(9, 3))
    deep = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 3))
    double = runs.network().double()
    cases = [
        ({"resume": None}, FileExistsError, "continue it with resume"),
        ({"batch_size": 16}, ValueError, r"batch_size: found \[16\], the recording .* \[8\]"),
        ({"model": wide}, ValueError, r"tensor_size: found \[45, 9, 27, 3\], .* \[35, 7, 21, 3\]"),
        ({"model": deep}, ValueError, r"tensor: found \['0.weight', '0.bias', '1.weight'"),
        (
            {"model": double},
            ValueError,
            "0.weight was saved as torch.float32, found torch.float64",
        ),
        ({"probes": []}, ValueError, "the recording has step_sq, which 'path' makes"),
        ({"resume": other}, ValueError, "they are those of another run"),
        ({"resume": {}}, ValueError, "resume: found a state of version None"),
        ({"resume": {**state, "version": 9}}, ValueError, "found a state of version 9"),
        ({"resume": -1}, ValueError, "resume: found -1, expected True, an iteration >= 0 or a st"),
        ({"path": tmp_path / "none", "resume": 3}, FileNotFoundError, "found no recording at"),
    ]
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    for options, kind, message in cases:
        given = {"path": tmp_path / "run", "probes": ["path"], "resume": state, **options}
        with pytest.raises(kind, match=message):
            attach(**given)
    after = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    assert after == before
    assert not (tmp_path / "none").exists()


def test_other_metadata_is_warned_of_and_the_recording_keeps_its_own(tmp_path):
    checkpoint = killed(tmp_path / "run", metadata={"seed": 1})
    with pytest.warns(RuntimeWarning, match="goes on with its own seed 1"):
        resumed = finished(tmp_path / "run", checkpoint, metadata={"seed": 2})
    assert int(resumed["seed"]) == 1


def test_initial_weights_that_were_changed_or_lost_are_refused(tmp_path):
    checkpoint = killed(tmp_path / "run")
    (file,) = (tmp_path / "run").glob("initial-*")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged: its values have the checksum"):
        attach(tmp_path / "run", resume=checkpoint["recorder"])
    file.unlink()
    with pytest.raises(FileNotFoundError, match="found no saved weights in"):
        attach(tmp_path / "run", resume=True)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Runs whose second part was trained by two processes, replicated or sharded."""
    folder = tmp_path_factory.mktemp("resume")
    for kind in ("ddp", "fsdp"):
        killed(folder / kind, probes=runs.PROBES)
    torchrun(Path(runs.__file__), folder)
    return folder


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_one_two_one_processes(two_processes, tmp_path, kind):
    whole = reference(tmp_path / "whole", probes=runs.PROBES)
    checkpoint = torch.load(two_processes / f"{kind}-second.pt", weights_only=True)
    resumed = finished(two_processes / kind, checkpoint, start=runs.SECOND, probes=runs.PROBES)
    for field in set(whole.variables) - {*CLOCKS, "run"}:
        if whole[field].dtype.kind == "f":
            scale = float(np.nanmax(np.abs(whole[field]))) if whole[field].size else 0.0
            np.testing.assert_allclose(
                resumed[field], whole[field], rtol=1e-6, atol=1e-7 * scale, err_msg=str(field)
            )
        else:
            np.testing.assert_array_equal(resumed[field], whole[field], err_msg=str(field))
    assert [part["world_size"] for part in json.loads(resumed.attrs["resumed"])] == [2, 1]


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_resumed_are_bit_identical(two_processes, kind):
    whole = xr.load_dataset(two_processes / f"{kind}-whole.nc", decode_timedelta=False)
    resumed = xr.load_dataset(two_processes / f"{kind}-cut.nc", decode_timedelta=False)
    assert int(resumed["iteration"][-1]) == runs.LAST
    assert np.isfinite(resumed["line_loss"].sel(iteration=[10, 14, 25])).all()
    assert np.isfinite(resumed["loss_difference"].sel(iteration=14, direction=1)).all()
    assert set(resumed.variables) == set(whole.variables)
    assert "noise_trace" in whole
    for name in set(whole.variables) - {*CLOCKS, "run"}:
        np.testing.assert_array_equal(resumed[name], whole[name], err_msg=str(name))


def test_a_run_begun_by_two_processes_goes_on_with_one(two_processes, tmp_path):
    whole = reference(tmp_path / "whole", probes=runs.PROBES)
    checkpoint = torch.load(two_processes / "sharded-first.pt", weights_only=True)
    resumed = finished(two_processes / "sharded", checkpoint, probes=runs.PROBES)
    for field in ("distance_sq", "weight_sq", "overlap", "step_sq", "samples", "loss"):
        np.testing.assert_allclose(resumed[field], whole[field], rtol=1e-6, err_msg=field)
    assert json.loads(resumed.attrs["initial_weights"]) == [
        "initial-00000-of-00002.safetensors",
        "initial-00001-of-00002.safetensors",
    ]


def test_a_state_survives_being_plain():
    window = empty_window(2, 0.5)
    record = {"iteration": 3, "distance_sq": np.array([1.0, 2.0]), "loss": np.float64(2.5)}
    sums = {"step_sq": np.array([1.0, 2.0])}
    state = State(7, window, skipped=2, sums=sums, waiting=(record,))
    again = from_plain(to_plain(state), 2)
    assert again.waiting[0]["loss"] == 2.5
    np.testing.assert_array_equal(again.waiting[0]["distance_sq"], [1.0, 2.0])
    np.testing.assert_equal(again.sums, sums)
    assert again.window.totals.mean.tolist() == [0.0, 0.0]
    assert (again.iteration, again.skipped) == (7, 2)
    with pytest.raises(ValueError, match="found a state of 2 tensors, the model has 3"):
        from_plain(to_plain(state), 3)
    lacking = {name: value for name, value in to_plain(state).items() if name != "window"}
    with pytest.raises(ValueError, match=r"the state lacks \['window'\]"):
        from_plain(lacking, 2)


@pytest.mark.parametrize("path", [None, torch.tensor([1.0, 2.0])])
def test_a_state_of_version_1_is_read(path):
    """It has the path in a field of its own, None where that is not measured."""
    plain = to_plain(State(7, empty_window(2, 0.5)))
    assert plain["version"] == 2
    earlier = {name: value for name, value in plain.items() if name != "sums"}
    again = from_plain({**earlier, "version": 1, "step_sq": path}, 2)
    expected = {} if path is None else {"step_sq": np.array([1.0, 2.0])}
    np.testing.assert_equal(dict(again.sums), expected)


def test_sums_between_and_beyond_records(tmp_path):
    records = reference(tmp_path / "run", schedule=[10, 20])
    assert from_records(records, 14).window.samples == 14 * 8
    assert from_records(records, 33).window.samples == 33 * 8
    rate = float(records["learning_rate"][-1])
    expected = float(records["learning_rate_sum"][-1]) + 3 * rate
    assert from_records(records, 33).window.learning_rate_sum == pytest.approx(expected)
    with pytest.raises(ValueError, match="found iteration 2, expected 10 or later"):
        from_records(records.isel(iteration=slice(1, None)), 2)


ONE = np.ones(1)


def measured(iteration, step_sq):
    values = {"distance_sq": ONE / 2, "weight_sq": 2 * ONE, "step_sq": step_sq * ONE}
    return Snapshot(iteration, values, wall_time=3.0 * iteration, probe_seconds=0.5)


def begun():
    return ledger(State(0, empty_window(1, 0.1)))


def ledger(state):
    return Ledger(state, ONE, batch_size=4, processes=1, noise=True)


def test_records_and_open_window_go_on_from_a_state():
    """Two parts with a state between them give the record that one part gives."""
    whole = begun()
    (expected,) = whole.enter(window_updates(5), [measured(5, 7.0)])
    first = begun()
    assert first.enter(window_updates(2), []) == []
    state = first.state(measured(2, 3.0), skipped=1, waiting=[])
    assert (state.iteration, state.skipped, state.wall_time) == (2, 1, 6.0)
    assert state.distance_sq == 0.5
    for later in (first, ledger(from_plain(to_plain(state), 1))):
        (record,) = later.enter(window_updates(3), [measured(5, 4.0)])
        assert record.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(record[name], value, err_msg=name)


def test_the_path_is_carried_over_several_states_and_given_once():
    going = begun()
    going.enter(window_updates(1), [])
    going.state(measured(1, 3.0), skipped=0, waiting=[])
    state = going.state(measured(1, 4.0), skipped=0, waiting=[])
    assert state.sums == {"step_sq": pytest.approx(7.0)}
    first, second = going.enter(window_updates(2), [measured(2, 1.0), measured(3, 1.0)])
    assert first["step_sq"] == pytest.approx(8.0)
    assert second["step_sq"] == pytest.approx(1.0)
