import os
import signal
import threading

import pytest

from probes.termination import Termination


@pytest.fixture
def handler():
    """Put back whatever handled SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def listening(calls):
    return Termination(flush=lambda: calls.append("flush"), close=lambda: calls.append("close"))


def test_a_handler_of_the_host_is_called_after_the_flush(handler):
    calls = []
    signal.signal(signal.SIGTERM, lambda *_: calls.append("host"))
    termination = listening(calls)
    os.kill(os.getpid(), signal.SIGTERM)
    assert calls == ["flush", "host"]
    termination.stop()
    os.kill(os.getpid(), signal.SIGTERM)
    assert calls == ["flush", "host", "host"]


def test_work_is_not_interrupted(handler):
    calls = []
    signal.signal(signal.SIGTERM, lambda *_: calls.append("host"))
    termination = listening(calls)
    with termination:
        with termination:
            os.kill(os.getpid(), signal.SIGTERM)
        calls.append("work")
    assert calls == ["work", "flush", "host"]
    termination.stop()


def test_without_a_host_the_recording_is_closed_and_the_process_ends(handler, monkeypatch):
    calls = []
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    listening(calls)
    kill = os.kill
    monkeypatch.setattr(os, "kill", lambda pid, number: calls.append(("kill", pid, number)))
    kill(os.getpid(), signal.SIGTERM)
    assert calls == ["close", ("kill", os.getpid(), signal.SIGTERM)]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_set_later_stays(handler):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    termination = listening([])
    later = lambda *_: None  # noqa: E731
    signal.signal(signal.SIGTERM, later)
    termination.stop()
    assert signal.getsignal(signal.SIGTERM) is later


def test_other_threads_and_ignored_signals_are_left_alone(handler):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    thread = threading.Thread(target=lambda: listening([]))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listening([]).stop()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
