import pytest
import torch

from probes.processes import Processes
from probes.waypoints import Waypoints


def parameters(value=1.0):
    return {"weight": torch.nn.Parameter(torch.full((3, 2), value)), "bias": torch.zeros(3)}


def kept(folder):
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in folder.iterdir())


def moved(weights, value):
    with torch.no_grad():
        weights["weight"].fill_(value)


def test_weights_come_back_as_they_were(tmp_path):
    weights = parameters()
    waypoints = Waypoints(tmp_path, weights, Processes())
    for iteration, value in ((3, 0.1), (7, 0.7)):
        moved(weights, value)
        waypoints.keep(iteration)
    moved(weights, 9.0)
    again = Waypoints(tmp_path, weights, Processes())
    assert torch.equal(again.read(3)[0], torch.full((3, 2), 0.1))
    assert torch.equal(again.read(7)[0], torch.full((3, 2), 0.7))
    assert torch.equal(weights["weight"].detach(), torch.full((3, 2), 9.0))


def test_the_last_two_stay_and_that_of_the_last_state(tmp_path):
    waypoints = Waypoints(tmp_path, parameters(), Processes())
    for iteration in (1, 2, 5, 10):
        waypoints.keep(iteration)
        if iteration == 2:
            waypoints.hold()
    assert kept(tmp_path) == [2, 5, 10]
    waypoints.hold()
    for iteration in (20, 50, 100):
        waypoints.keep(iteration)
    assert kept(tmp_path) == [10, 50, 100]


def test_a_run_that_goes_on_earlier_drops_what_came_later(tmp_path):
    first = Waypoints(tmp_path, parameters(), Processes())
    for iteration in (10, 20):
        first.keep(iteration)
    again = Waypoints(tmp_path, parameters(), Processes())
    again.read(10)
    again.keep(15)
    assert kept(tmp_path) == [10, 15]


def test_a_new_run_clears_those_of_another_and_nothing_else(tmp_path):
    (tmp_path / "checkpoint-of-mine").mkdir()
    waypoints = Waypoints(tmp_path, parameters(), Processes())
    waypoints.keep(4)
    waypoints.clear(beyond=-1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-of-mine"]


def test_a_disk_that_refuses_is_warned_of_once(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no space left")

    monkeypatch.setattr("probes.initial.save", refuse)
    waypoints = Waypoints(tmp_path, parameters(), Processes())
    with pytest.warns(RuntimeWarning, match="will lack the line from it .no space left") as told:
        waypoints.keep(1)
        waypoints.keep(2)
    assert len(told) == 1


def test_other_weights_are_refused(tmp_path):
    Waypoints(tmp_path, parameters(), Processes()).keep(1)
    other = Waypoints(tmp_path, {"weight": torch.zeros(2, 2), "bias": torch.zeros(3)}, Processes())
    with pytest.raises(ValueError, match="weight was saved with shape"):
        other.read(1)
    with pytest.raises(FileNotFoundError):
        other.read(2)


def test_parts_of_another_sharding_do_not_outlive_a_resumption(tmp_path):
    """Saved at 100 by one process; gone on from 70, where 100 is saved by other parts."""
    weights = parameters()
    waypoints = Waypoints(tmp_path, weights, Processes())
    for iteration in (50, 100):
        waypoints.keep(iteration)
    again = Waypoints(tmp_path, weights, Processes())
    again.clear(beyond=70)
    assert kept(tmp_path) == [50]
    assert torch.equal(again.read(50)[0], weights["weight"].detach())


def test_files_of_others_are_never_removed(tmp_path):
    waypoints = Waypoints(tmp_path, parameters(), Processes())
    waypoints.keep(100)
    own = tmp_path / "checkpoint-000000000100"
    (own / "model.pt").write_text("precious")
    waypoints.clear(beyond=-1)
    assert [path.name for path in own.iterdir()] == ["model.pt"]
