import json

import torch

from ultraslow.probes.runs.training import events
from ultraslow.probes.runs.training.events import Progress, tell


def test_an_event_is_one_line_of_json(capsys):
    tell({"event": "fault", "rank": 1, "message": "a\nb" * 3000})
    [line] = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["rank"] == 1
    assert len(line) < 4096  # what a pipe takes in one piece


def test_progress_is_told_seldom_and_the_end_always(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(events.time, "monotonic", lambda: now[0])
    told = []
    progress = Progress("run", told.append)
    for iteration in range(1, 101):
        now[0] += 1 / 64
        progress.at(iteration, torch.tensor(2.0))
    progress.trained()
    now[0] += 5
    progress.end(0.5)
    # 0.2 seconds are 12.8 updates, so every 13th is told.
    assert [event["iteration"] for event in told[:-1]] == [13, 26, 39, 52, 65, 78, 91]
    assert told[0] == {"event": "at", "run": "run", "iteration": 13, "loss": 2.0}
    assert told[-1] == {
        "event": "end",
        "run": "run",
        "accuracy": 0.5,
        "seconds": 100 / 64,
        "iterations": 100,
    }


def test_only_other_pixels_than_the_recipe_s_are_told():
    told = []
    progress = Progress("run", told.append)
    progress.images("ab", expected="")
    progress.images("ab", expected="ab")
    progress.images("", expected="ab")
    assert told == []
    progress.images("ab", expected="cd")
    assert told == [{"event": "images", "run": "run", "sha256": "ab", "expected": "cd"}]
