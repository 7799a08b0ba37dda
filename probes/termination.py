"""SIGTERM: what a batch system sends some seconds before it kills."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from .agreement import PATIENCE, Agreement


class Termination:
    """Saves what can be saved when the process is told to end.

    Where the host has no handler of its own, the recording is closed and the process ends as it
    would have. Several processes go on until all of them can close after the same update, and
    leave the recording live where they cannot within some seconds. A handler of the host decides
    itself whether training goes on: the recording is brought to disk and the handler called.
    Nothing is done outside the main thread, which alone may set handlers, or where the signal is
    ignored.
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
        self._arrived = True
        if not self._protected:
            self._act()

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
