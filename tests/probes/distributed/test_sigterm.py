import os
import signal
import threading
import time
from itertools import count

import pytest
import torch.distributed as dist

from ultraslow.probes.distributed.sigterm import Agreement, Termination


class Told:
    """Processes in lockstep, as threads: no update ends before all have begun it."""

    def __init__(self, told, *, stop_after=40, patience=1e9):
        """Tell process k in its update told[k]; never where that is None."""
        store = dist.HashStore()
        self.outcomes = [None] * len(told)
        self.barrier = threading.Barrier(len(told))
        self.threads = [
            threading.Thread(target=self.train, args=(rank, at, store, stop_after, patience))
            for rank, at in enumerate(told)
        ]
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join(60)

    def train(self, rank, at, store, stop_after, patience):
        ticks = count()
        agreement = Agreement(
            store, size=len(self.outcomes), patience=patience, clock=lambda: next(ticks)
        )
        try:
            for iteration in range(1, stop_after):
                self.barrier.wait(60)  # the gradients of all
                if iteration == at:
                    agreement.tell()
                closes = agreement.closes(iteration)
                if closes is not None:
                    self.outcomes[rank] = (closes, iteration)
                    return
        except threading.BrokenBarrierError:
            return
        finally:
            if self.outcomes[rank] != (True, iteration):
                self.barrier.abort()


@pytest.mark.parametrize("told", [[5, 5, 5], [3, 9, 4], [1, 1, 7], [8, 2, 2, 6, 2]])
def test_all_close_after_the_same_update_soon_after_the_last_was_told(told):
    for _ in range(20):  # threads race in another way each time
        outcomes = Told(told).outcomes
        assert len(set(outcomes)) == 1, outcomes
        closes, iteration = outcomes[0]
        assert closes
        assert max(told) <= iteration <= max(told) + 3


def test_when_one_is_never_told_none_closes():
    outcomes = Told([4, None, 4], patience=12).outcomes
    assert not any(outcome and outcome[0] for outcome in outcomes)
    assert any(outcome for outcome in outcomes)


def test_what_was_decided_stays_decided():
    """One gives up at the moment at which the last one is told."""
    store, now = dist.HashStore(), [0.0]
    first, second = (
        Agreement(store, size=2, patience=10.0, clock=lambda: now[0]) for _ in range(2)
    )
    first.tell()
    assert first.closes(7) is None
    now[0] = 10.0
    assert first.closes(8) is False
    second.tell()
    assert second.closes(8) is False


def test_nothing_is_asked_before_a_process_is_told():
    agreement = Agreement(None, size=2)
    assert agreement.closes(1) is None
    assert not agreement.overdue


def test_without_a_store_there_is_no_agreement():
    class Gone:
        def add(self, key, amount):
            raise dist.DistStoreError("connection was closed")

    agreement = Agreement(Gone(), size=2)
    agreement.tell()
    assert agreement.closes(1) is False


def test_none_parts_before_all_have_closed():
    store, closed = dist.HashStore(), []

    def close(seconds):
        time.sleep(seconds)
        closed.append(seconds)
        Agreement(store, size=3).part()
        assert len(closed) == 3
        parted.append(seconds)

    parted = []
    threads = [threading.Thread(target=close, args=(seconds,)) for seconds in (0.0, 0.05, 0.3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(parted) == 3


def test_patience_with_the_others_ends():
    ticks = count()
    Agreement(dist.HashStore(), size=2, patience=5, clock=lambda: next(ticks)).part()
    assert next(ticks) < 10


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
