import signal
import time

import pytest

from ultraslow.probes.distributed.sigterm import Termination
from ultraslow.probes.recorder.work import Clocks, Work


def work(probe_seconds=0.0):
    clocks = Clocks(wall_time=0.0, probe_seconds=probe_seconds)
    return clocks, Work(clocks)


def test_nested_time_is_counted_once(monkeypatch):
    now = iter([0.0, 7.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    clocks, steps = work(10.0)
    with steps, steps:
        pass
    assert clocks.probe_seconds == 17.0


def test_time_is_counted_when_something_fails():
    clocks, steps = work()
    with pytest.raises(KeyError), steps:
        time.sleep(0.01)
        raise KeyError
    assert clocks.probe_seconds >= 0.01
    with steps:
        time.sleep(0.01)
    assert clocks.probe_seconds >= 0.02


def test_wall_time_goes_on_whatever_the_date(monkeypatch):
    clocks = Clocks(wall_time=100.0, probe_seconds=0.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    first = clocks.wall_time()
    assert 100.0 <= first <= clocks.wall_time()


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (ValueError, ""),
        (TypeError, ""),
        (TimeoutError, "TimeoutError"),
        (SystemExit, "SystemExit"),
    ],
)
def test_what_breaks_a_step_off_is_remembered_and_faults_of_arguments_are_not(error, broken):
    _, steps = work()
    with pytest.raises(error), steps:
        raise error
    assert steps.broken == broken
    with pytest.raises(KeyError), steps:
        raise KeyError
    assert steps.broken == (broken or "KeyError")


def test_signals_wait_for_the_end_of_the_outermost_step():
    before, calls = signal.signal(signal.SIGTERM, lambda *_: calls.append("told")), []
    try:
        _, steps = work()
        termination = Termination(flush=lambda: calls.append("flush"), close=None, leave=None)
        steps.ends_by(termination)
        with pytest.raises(KeyboardInterrupt), steps:
            with steps:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)
            calls.append("work")
        assert calls == ["work", "flush", "told"]
        assert not steps.broken
        termination.stop()
    finally:
        signal.signal(signal.SIGTERM, before)
