"""Flushes that go on beside the training, as those of an accelerator do, and those that do not."""

import time

import numpy as np
import pytest
import resume_run as runs
import xarray as xr

from ultraslow import probes
from ultraslow.probes.buffer.buffer import InFlight
from ultraslow.probes.buffer.flush import _Pace
from ultraslow.probes.storage.segments import SegmentStore


def test_the_first_flush_is_early_and_later_ones_follow_the_time_of_an_update():
    pace = _Pace(60.0)
    assert [rows for rows in range(10) if pace.due(rows)][0] == 4
    for update_seconds, rows in ((1.0, 60), (0.5, 120), (1e-4, 256), (0.0, 256), (1e4, 1)):
        pace.adapt(update_seconds)
        assert (pace.due(rows - 1), pace.due(rows)) == (False, True)


def test_laps_are_measured_from_the_last_one():
    pace = _Pace(60.0)
    time.sleep(0.02)
    assert pace.lap() == pytest.approx(0.02, abs=0.02)
    assert pace.lap() < 0.01


CLOCKS = {"wall_time", "probe_seconds", "run"}
OPTIONS = {"momentum": 0.9, "probes": runs.PROBES, "flush_seconds": 0.0}


@pytest.fixture
def beside(monkeypatch):
    """A flush ends with the next update; `arrived` says whether it could end before."""
    arrived = []
    monkeypatch.setattr(InFlight, "is_beside", True)
    monkeypatch.setattr(InFlight, "has_arrived", lambda self: bool(arrived))
    return arrived


def whole(path, **options):
    recorder, _ = runs.part(path, runs.network(), start=0, stop=runs.LAST, **OPTIONS, **options)
    return xr.load_dataset(recorder.close())


def assert_equal(found, expected):
    assert set(found.variables) == set(expected.variables)
    for name in set(expected.variables) - CLOCKS:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=str(name))


def recorded(path):
    """Iterations on disk."""
    if not list(path.glob("segment-*.nc")):
        return []
    return SegmentStore(path).read()["iteration"].values.tolist()


@pytest.mark.parametrize("save", [None, runs.FIRST])
def test_the_recording_is_the_same(tmp_path, monkeypatch, save):
    """With a state that was taken in the middle of a flush as well."""
    expected = whole(tmp_path / "at-once", save=save)
    monkeypatch.setattr(InFlight, "is_beside", True)
    assert_equal(whole(tmp_path / "beside", save=save), expected)


def test_records_are_written_when_the_next_update_is_committed(tmp_path, beside):
    path, seen, model = tmp_path / "run", [], runs.network()
    recorder, _ = runs.part(path, model, start=0, stop=4, **OPTIONS)
    assert recorded(path) == []
    (optimizer,) = recorder._rows._optimizers.given
    for iteration in range(5, 9):
        runs.update(model, optimizer, recorder, runs.microbatches(iteration))
        seen.append(recorded(path))
    # The first flush takes what waits when the fifth update is committed; all others one update.
    first = [0, 1, 2, 3, 4]
    assert seen == [[], first, [*first, 5], [*first, 5, 6]]
    recorder.close()
    assert xr.load_dataset(f"{path}.nc")["iteration"].values.tolist() == list(range(9))


def test_a_run_goes_on_from_a_state_that_was_taken_during_a_flush(tmp_path, beside):
    expected = whole(tmp_path / "whole", save=runs.FIRST)
    path = tmp_path / "cut"
    recorder, checkpoint = runs.part(
        path, runs.network(), start=0, stop=runs.FIRST + 3, save=runs.FIRST, **OPTIONS
    )
    recorder.__exit__(KeyboardInterrupt, None, None)
    recorder, _ = runs.part(
        path,
        runs.loaded(checkpoint),
        start=runs.FIRST,
        stop=runs.LAST,
        checkpoint=checkpoint,
        resume=checkpoint["recorder"],
        **OPTIONS,
    )
    assert_equal(xr.load_dataset(recorder.close()), expected)


@pytest.mark.parametrize("arrives", [True, False])
def test_what_is_under_way_when_a_recorder_leaves_is_kept_if_it_has_arrived(
    tmp_path, beside, arrives
):
    path = tmp_path / "run"
    recorder, _ = runs.part(path, runs.network(), start=0, stop=7, **OPTIONS)
    before = recorded(path)
    beside += [1] * arrives
    recorder._leave()
    assert before == [0, 1, 2, 3, 4, 5]
    assert recorded(path) == [*before, *[6] * arrives]


def test_a_flush_that_never_arrives_stops_no_training(tmp_path, beside, monkeypatch):
    recorder, _ = runs.part(tmp_path / "run", runs.network(), start=0, stop=6, **OPTIONS)

    def lost(self):
        raise RuntimeError("another process died")

    model, (optimizer,) = recorder._model, recorder._rows._optimizers.given
    with monkeypatch.context() as patch, pytest.warns(RuntimeWarning) as told:
        patch.setattr(InFlight, "wait", lost)
        for iteration in range(7, 10):
            runs.update(model, optimizer, None, runs.microbatches(iteration))
    [warning] = told
    assert "could not be collected: another process died" in str(warning.message)
    assert recorded(tmp_path / "run") == [0, 1, 2, 3, 4]
    probes.attach(model, optimizer, tmp_path / "other", batch_size=8).close()
