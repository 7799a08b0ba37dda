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


@pytest.fixture
def kills(monkeypatch):
    """Signals this process would send, with `send` to really send one; none is sent later."""
    sent, kill = [], os.kill
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(number))
    monkeypatch.setattr(threading.Timer, "start", lambda timer: sent.append(timer.interval))
    return sent, lambda: kill(os.getpid(), signal.SIGTERM)


def listening(calls, agreement=None):
    return Termination(
        flush=lambda: calls.append("flush"),
        close=lambda: calls.append("close"),
        leave=lambda: calls.append("leave"),
        agreement=agreement,
    )


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


def test_a_second_signal_does_not_interrupt_the_closing(handler, kills):
    calls, (_, send) = [], kills
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    termination = listening(calls)

    def closing():
        termination.stop()
        send()
        calls.append("close")

    termination._close = closing
    send()
    assert calls == ["close"]


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


class Scripted:
    """An agreement whose answers are known."""

    def __init__(self, *answers, overdue=False):
        self.answers, self.overdue, self.told, self.parted = list(answers), overdue, 0, 0

    def tell(self):
        self.told += 1

    def part(self):
        self.parted += 1

    def closes(self, iteration):
        return self.answers.pop(0) if self.told else None


@pytest.mark.parametrize(("answer", "action"), [(True, "close"), (False, "leave")])
def test_several_processes_go_on_until_they_agree(handler, kills, answer, action):
    calls, (sent, send) = [], kills
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    agreement = Scripted(None, answer)
    termination = listening(calls, agreement)
    termination.after(1)
    send()
    send()  # told twice, reminded once
    assert (agreement.told, sent, calls) == (2, [12.0], [])
    termination.after(2)
    assert calls == []
    termination.after(3)
    assert calls == [action]
    assert agreement.parted == (1 if answer else 0)
    assert sent == [12.0, signal.SIGTERM]


def test_where_no_update_comes_any_more_the_recording_is_left(handler, kills):
    calls, (sent, send) = [], kills
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    agreement = Scripted()
    listening(calls, agreement)
    send()
    agreement.overdue = True
    send()
    assert calls == ["leave"]
    assert sent == [12.0, signal.SIGTERM]


def test_a_handler_of_the_host_decides_for_several_processes_too(handler, kills):
    calls, (_, send) = [], kills
    signal.signal(signal.SIGTERM, lambda *_: calls.append("host"))
    agreement = Scripted()
    termination = listening(calls, agreement)
    send()
    termination.after(1)
    assert calls == ["flush", "host"]
    assert agreement.told == 0
    termination.stop()
