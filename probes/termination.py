"""SIGTERM: what a batch system sends some seconds before it kills."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType


class Termination:
    """Saves what can be saved when the process is told to end.

    Where the host has no handler of its own, the recording is closed and the process ends as it
    would have. A handler of the host decides itself whether training goes on: the recording is
    brought to disk and the handler called. Nothing is done outside the main thread, which alone
    may set handlers, or where the signal is ignored.
    """

    def __init__(
        self, *, flush: Callable[[], None], close: Callable[[], None], listen: bool = True
    ) -> None:
        """Listen, unless told not to.

        Arguments:
            flush: brings the recording to disk.
            close: closes it.
            listen: whether to do anything at all.
        """
        self._flush = flush
        self._close = close
        self._protected = 0
        self._arrived = False
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

    def stop(self) -> None:
        """Listen no more. A handler that was set meanwhile stays."""
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
            return
        try:
            self._close()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
