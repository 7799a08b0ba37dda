import json
import queue
import shutil
from dataclasses import replace

import pytest
import xarray as xr

from ultraslow.diffusion.recording.contract import check
from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.jobs import sweep
from ultraslow.probes.runs.jobs.launch import TrainingError
from ultraslow.probes.runs.jobs.sweep import (
    Outcome,
    Sweep,
    _first_length,
    can_go_on,
    differences,
    discard_half,
    finished_at,
    last_iteration,
    make_ready,
    state,
)
from ultraslow.probes.runs.training.checkpoints import checkpoint_of, last_checkpoint_of

CONFIG = Config(width=2, batch_size=160, iterations=3, evaluations=2, device="cpu", name="a")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """What a sweep of three runs left, of which the second fails, and what it told."""
    folder = str(tmp_path_factory.mktemp("sweep"))
    good = replace(CONFIG, folder=folder)
    # The factory is found when settings are checked and fails when it is called.
    bad = replace(good, name="b", model="json:loads", width=0)
    runs = [good, bad, replace(good, name="c", seed=1)]
    told = []
    study = {config.run: {"recipe": "trial", "arm": config.run} for config in runs}
    return runs, Sweep(runs, 2, study=study).train(told.append), told


def test_a_failed_run_is_reported_and_the_rest_carried_on(done):
    runs, outcomes, told = done
    assert [outcome.status for outcome in outcomes] == ["trained", "failed", "trained"]
    assert "training of b failed\n  process 0: TypeError" in outcomes[1].reason
    assert [event["run"] for event in told if event["event"] == "failed"] == ["b"]
    assert [outcome.made for outcome in outcomes] == [3, 0, 3]
    assert all(0 <= outcomes[i].accuracy <= 1 for i in (0, 2))


def test_states_tell_what_a_sweep_has_to_do(done, tmp_path):
    runs, _, _ = done
    assert [state(config) for config in runs] == ["done", "absent", "done"]
    # A recording that was closed before the end of the run is not done.
    assert state(replace(runs[0], iterations=9)) == "half"
    half = replace(CONFIG, folder=str(tmp_path))
    half.path.mkdir()
    assert state(half) == "half"
    assert state(replace(half, name="other")) == "absent"


def test_recordings_tell_the_recipe_and_no_path(done):
    runs, _, _ = done
    with xr.open_dataset(f"{runs[2].path}.nc") as recording:
        check(recording, "c")
        assert '"recipe": "trial"' in recording.attrs["config"]
        assert '"arm": "c"' in recording.attrs["config"]
        assert runs[2].folder not in str(recording.attrs)
        assert recording["metric"].values.tolist() == ["loss", "accuracy"]
        assert recording["held_out"].notnull().all("metric").values.tolist() == [
            False,
            True,
            False,
            True,
        ]


def test_recordings_of_other_settings_are_noticed(done):
    runs, _, _ = done
    assert differences(replace(runs[0], device="auto")) == []
    changed = replace(runs[0], iterations=9, base_learning_rate=0.2)
    # At a constant rate a longer run is the same one.
    assert differences(changed) == ["base_learning_rate: found 0.05, here 0.2"]
    assert differences(replace(runs[0], iterations=9, decay="cosine")) == [
        "iterations: found 3, here 9",
        "decay: found 'constant', here 'cosine'",
    ]
    assert differences(replace(CONFIG, folder="nowhere")) == []


def test_a_longer_run_may_be_evaluated_more_often_where_it_goes_on(done):
    """After updates 1 and 3, and then after 9 as well; not after 2 and 4 instead."""
    runs, _, _ = done
    assert differences(replace(runs[0], iterations=9, evaluations=3)) == []
    other = ["evaluations: found 2, here 4"]
    assert differences(replace(runs[0], iterations=9, evaluations=4)) == other
    assert differences(replace(runs[0], evaluations=0)) == ["evaluations: found 2, here 0"]


def test_what_cannot_be_continued_is_discarded(tmp_path):
    config = replace(CONFIG, folder=str(tmp_path))
    config.path.mkdir()
    discard_half(config)
    assert state(config) == "absent"
    checkpoint_of(config.path).write_text("")  # its recording was taken away
    discard_half(config)
    assert state(config) == "absent"
    config.path.mkdir()
    checkpoint_of(config.path).write_text("")
    discard_half(config)
    assert state(config) == "half"


def test_a_finished_run_that_left_no_checkpoint_is_never_discarded(done, tmp_path):
    runs, _, _ = done
    config = replace(runs[0], folder=str(tmp_path), iterations=9)
    shutil.copytree(runs[0].path, config.path)
    shutil.copy(f"{runs[0].path}.nc", f"{config.path}.nc")
    assert (finished_at(config), can_go_on(config)) == (3, False)
    with pytest.raises(FileExistsError, match="ends at iteration 3 and no checkpoint"):
        make_ready(config)
    assert last_iteration(config) == 3
    shutil.copy(last_checkpoint_of(runs[0].path), last_checkpoint_of(config.path))
    assert can_go_on(config)
    make_ready(config)
    assert checkpoint_of(config.path).exists() and last_iteration(config) == 3
    # It goes on from there, however often it is begun again.
    assert finished_at(config) == 0 and state(config) == "half"
    make_ready(config)
    assert checkpoint_of(config.path).exists() and last_iteration(config) == 3
    assert (finished_at(replace(config, iterations=3)), state(runs[0])) == (0, "done")


def test_how_long_a_lengthened_run_was_first_to_be_is_known():
    """Without its checkpoint it is no half of a run that is begun anew."""
    told = {"config": '{"settings": {"iterations": 9}}'}
    parts = [{"iteration": 2}, {"config_before": {"settings": {"iterations": 3}}}]
    parts += [{"config_before": {"settings": {"iterations": 6}}}]
    assert _first_length(xr.Dataset(attrs=told)) == 9
    assert _first_length(xr.Dataset(attrs={**told, "resumed": json.dumps(parts)})) == 3
    assert _first_length(xr.Dataset()) == 0


class Scripted:
    """A training whose events are given: what `Sweep` makes of them needs no processes."""

    script: list = []

    def __init__(self, configs, count, *, study, jobs):
        self.configs = configs
        self.stopped = False

    def events(self):
        for event in self.script:
            if event == "fail":
                raise TrainingError("it broke")
            if event == "interrupt":
                raise KeyboardInterrupt
            yield event

    def stop(self):
        self.stopped = True

    def kill(self):
        pass


def test_a_start_that_fails_is_not_tried_for_every_run(monkeypatch):
    monkeypatch.setattr(sweep, "Training", Scripted)
    monkeypatch.setattr(Scripted, "script", ["fail"])
    runs = [replace(CONFIG, name=name) for name in "abc"]
    outcomes = Sweep(runs, 2).train(lambda event: None)
    assert {(o.status, o.reason) for o in outcomes} == {("failed", "it broke")}


def test_an_interruption_tells_what_was_kept(monkeypatch):
    script = [
        {"event": "start"},
        {"event": "end", "run": "a", "accuracy": 0.5, "seconds": 1.0, "iterations": 3},
        {"event": "at", "run": "b", "iteration": 2, "loss": 1.0},
        {"event": "kept", "run": "b", "iteration": 2},
    ]
    monkeypatch.setattr(sweep, "Training", Scripted)
    monkeypatch.setattr(Scripted, "script", script)

    def interrupts(event):
        if event["event"] == "at":
            raise KeyboardInterrupt

    runs = [replace(CONFIG, name=name) for name in "abc"]
    outcomes = Sweep(runs, 2).train(interrupts)
    assert [o.status for o in outcomes] == ["trained", "kept", "left"]
    assert outcomes[1] == Outcome("b", "kept", iteration=2)


def test_runs_are_dealt_to_jobs_in_order(monkeypatch):
    dealt: queue.Queue = queue.Queue()

    class Listed(Scripted):
        def events(self):
            dealt.put([config.run for config in self.configs])
            return iter(())

    monkeypatch.setattr(sweep, "Training", Listed)
    runs = [replace(CONFIG, name=name) for name in "abcde"]
    Sweep(runs, 2, jobs=2).train(lambda event: None)
    assert sorted([dealt.get(), dealt.get()]) == [["a", "c", "e"], ["b", "d"]]
