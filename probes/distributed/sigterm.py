"""SIGTERM: what a batch system sends some seconds before it kills.

How processes that are told to end agree on the update after which all of them close.

A batch system tells every process to end, each at another moment, and a recording can only be
closed by all of them after the same update: what was measured is added over processes. So they go
on training for a moment. Each that was told says so, and the first to see that all were told
names the update after the next as the last. No process can be past it by then, because every
update waits for the gradients of all. When one of them is not told in time, none closes. Which of
the two it is is decided once, in the key-value store by which the processes met. Nobody waits for
anybody before all have closed, nothing is asked of the store before a process is told, and no
collective is begun that the others do not begin.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import torch
import torch.distributed as dist

# Seconds from being told to giving up. 30 lie between SIGTERM and SIGKILL with Slurm and torchrun.
PATIENCE = 10.0

_DECISION = "decision"
_TOLD = "told"
_CLOSED = "closed"
_POLL = 0.01  # seconds
_NEVER = "never"


class Agreement:
    """One process's part in it."""

    def __init__(
        self,
        store: dist.Store,
        *,
        size: int,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take part; nothing is asked of the others yet.

        Arguments:
            store: seen by all processes, and used for nothing else.
            size: number of processes.
            patience: with the others, in seconds.
            clock: tells seconds.
        """
        self._store = store
        self._size = size
        self._patience = patience
        self._clock = clock
        self._told: float | None = None
        self._said = False

    def tell(self) -> None:
        """This process is told to end."""
        if self._told is None:
            self._told = self._clock()

    @property
    def overdue(self) -> bool:
        """Whether it was told so long ago that no agreement is to be expected."""
        return self._told is not None and self._clock() >= self._told + self._patience

    def closes(self, iteration: int) -> bool | None:
        """Whether to close after this update.

        Arguments:
            iteration: the update that was just committed.

        Returns:
            True after the agreed update, on every process after the same; False when there is no
            agreement; None to go on.
        """
        if self._told is None:
            return None
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # the host may be many updates ahead of the others
        try:
            decision = self._decision(iteration)
        except RuntimeError:  # the store is gone, and with it the process that kept it
            return False
        if decision is None:
            return None
        return False if decision == _NEVER else (True if iteration >= int(decision) else None)

    def part(self) -> None:
        """Wait until all have closed: a launcher kills the others as soon as one has ended."""
        until = self._clock() + self._patience
        with suppress(RuntimeError):  # the store is gone
            self._store.add(_CLOSED, 1)
            while self._store.add(_CLOSED, 0) < self._size and self._clock() < until:
                time.sleep(_POLL)

    def _decision(self, iteration: int) -> str | None:
        if not self._said:
            self._said = True
            self._store.add(_TOLD, 1)
        if self._store.check([_DECISION]):
            return self._store.get(_DECISION).decode()
        if self._store.add(_TOLD, 0) >= self._size:
            return self._decide(str(iteration + 2))
        return self._decide(_NEVER) if self.overdue else None

    def _decide(self, proposed: str) -> str:
        """What is decided now, by this process or, a moment before it, by another."""
        return bytes(self._store.compare_set(_DECISION, "", proposed)).decode()


class Termination:
    """Saves what can be saved when the process is told to end.

    Where the host has no handler of its own, the recording is closed and the process ends as it
    would have. Several processes go on until all of them can close after the same update, and
    leave the recording live where they cannot within some seconds. A handler of the host decides
    itself whether training goes on: the recording is brought to disk and the handler called.
    Nothing is done outside the main thread, which alone may set handlers, or where the signal is
    ignored. A process that is forked meanwhile does what it would have done without.
    """

    def __init__(
        self,
        *,
        flush: Callable[[], None],
        close: Callable[[], None],
        leave: Callable[[], None],
        agreement: Agreement | None = None,
        listen: bool = True,
    ) -> None:
        """Listen, unless told not to.

        Arguments:
            flush: brings the recording to disk.
            close: closes it; with several processes all call it after the same update.
            leave: leaves it live.
            agreement: with the other processes; None for a process that trains alone.
            listen: whether to do anything at all.
        """
        self._flush = flush
        self._close = close
        self._leave = leave
        self._agreement = agreement
        self._process = os.getpid()
        self._protected = 0
        self._arrived = False
        self._reminder: threading.Timer | None = None
        self._previous = signal.getsignal(signal.SIGTERM)
        self._listens = (
            listen
            and threading.current_thread() is threading.main_thread()
            and (self._previous is signal.SIG_DFL or callable(self._previous))
        )
        if self._listens:
            signal.signal(signal.SIGTERM, self._handle)

    def __enter__(self) -> None:
        """Begin work that must not be interrupted: a signal waits for its end."""
        self._protected += 1

    def __exit__(self, *_: object) -> None:
        """End it, and act on a signal that waited."""
        self._protected -= 1
        if self._arrived and not self._protected:
            self._act()

    def after(self, iteration: int) -> None:
        """End the process if all agreed to after this update, or found that they cannot.

        Arguments:
            iteration: the update that was just committed.
        """
        if self._agreement is not None and self._listens:
            closes = self._agreement.closes(iteration)
            if closes is not None:
                self._end(self._close_with_others if closes else self._leave)

    def stop(self) -> None:
        """Listen no more. A handler that was set meanwhile stays.

        A process that waits for the others to agree is sent the signal again all the same.
        """
        if self._listens and signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, self._previous)
        self._listens = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a fork inherits the handler, and not the recording
            self._act_as_before(frame)
            return
        self._arrived = True
        if not self._protected:
            self._act()

    def _act_as_before(self, frame: FrameType | None) -> None:
        if callable(self._previous):
            self._previous(signal.SIGTERM, frame)
        else:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def _act(self) -> None:
        self._arrived = False
        if callable(self._previous):
            self._flush()
            self._previous(signal.SIGTERM, None)
        elif self._agreement is None:
            self._end(self._close)
        elif self._agreement.overdue:  # no update is committed any more
            self._end(self._leave)
        else:
            self._agreement.tell()
            self._remind()

    def _remind(self) -> None:
        """Have the signal sent again when patience is at its end."""
        if self._reminder is None:
            again = (os.getpid(), signal.SIGTERM)
            self._reminder = threading.Timer(1.2 * PATIENCE, os.kill, again)
            self._reminder.daemon = True
            self._reminder.start()

    def _close_with_others(self) -> None:
        self._close()
        if self._agreement is not None:
            self._agreement.part()

    def _end(self, action: Callable[[], None]) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is being obeyed
        try:
            action()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
