import time
from contextlib import nullcontext

import pytest

from probes.clocks import Clocks


def test_nested_time_is_counted_once(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 7.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    clocks = Clocks(wall_time=0.0, probe_seconds=10.0)
    with clocks.timed(nullcontext()), clocks.timed(nullcontext()):
        pass
    assert clocks.probe_seconds == 17.0


def test_time_is_counted_when_something_fails():
    clocks = Clocks(wall_time=0.0, probe_seconds=0.0)
    with pytest.raises(KeyError), clocks.timed(nullcontext()):
        time.sleep(0.01)
        raise KeyError
    assert clocks.probe_seconds >= 0.01
    with clocks.timed(nullcontext()):
        time.sleep(0.01)
    assert clocks.probe_seconds >= 0.02


def test_wall_time_goes_on_whatever_the_date(monkeypatch):
    clocks = Clocks(wall_time=100.0, probe_seconds=0.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    first = clocks.wall_time()
    assert 100.0 <= first <= clocks.wall_time()
