"""Interrupts are sent by this process to itself, so that they arrive at a known line."""

import os
import signal
import sys
import threading

import pytest

from ultraslow.probes.distributed.interrupts import Interrupts


def interrupt():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def interrupts():
    before = signal.getsignal(signal.SIGINT)
    broken = []
    made = Interrupts(lambda: broken.append(1), patience=0.0)
    made.told = broken
    yield made
    assert signal.getsignal(signal.SIGINT) == before


def test_an_interrupt_waits_for_the_outermost_end_and_then_comes_once(interrupts):
    done = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts:
            with interrupts:
                interrupt()
                interrupt()
                done.append(1)
            done.append(2)
        done.append(3)
    assert done == [1, 2]
    assert not interrupts.told
    with interrupts:
        done.append(4)


def test_outside_the_handler_is_that_of_the_program(interrupts):
    calls = []
    for handler in (lambda *_: calls.append(1), lambda *_: calls.append(2)):  # one a cell
        before = signal.signal(signal.SIGINT, handler)
        with interrupts:
            interrupt()
        assert signal.getsignal(signal.SIGINT) is handler
        signal.signal(signal.SIGINT, before)
    assert calls == [1, 2]


def test_whoever_insists_is_heard_where_it_may_take_long(interrupts):
    with interrupts, interrupts.long():
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert interrupts.told == [1]


def test_two_at_once_do_not_insist(interrupts):
    interrupts._patience = 1e9
    with pytest.raises(KeyboardInterrupt), interrupts, interrupts.long():
        interrupt()
        interrupt()
    assert interrupts.told == []


def step(interrupts, body):
    interrupts.step_begins(sys._getframe().f_code)
    body()
    interrupts.step_ends()


def test_a_step_of_the_optimizer_is_not_interrupted(interrupts):
    done = []

    def body():
        interrupt()
        done.append(1)

    with pytest.raises(KeyboardInterrupt):
        step(interrupts, body)
    assert done == [1]


def test_a_step_that_failed_holds_no_interrupt_up(interrupts):
    with pytest.raises(ZeroDivisionError):
        step(interrupts, lambda: 1 / 0)
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    with interrupts:
        pass
    interrupts.step_ends()


def test_what_is_ignored_stays_so_and_other_threads_are_left_alone(interrupts):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts:
        interrupt()
    signal.signal(signal.SIGINT, before)

    def elsewhere():
        with interrupts:
            assert signal.getsignal(signal.SIGINT) == before

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()


def test_a_fork_is_interrupted_at_once(interrupts):
    with interrupts:
        child = os.fork()
        if child == 0:
            try:
                interrupt()
            except KeyboardInterrupt:
                os._exit(3)
            finally:
                os._exit(4)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
