"""Ctrl-C: an interrupt waits for the end of what must not be half done.

A loop that catches `KeyboardInterrupt`, as a notebook does, goes on. An interrupt between the
moment when the optimizer has moved the weights and that when the update is counted would label all
that follows one iteration early; one amid writing would leave a library's lock taken. So from the
beginning of an optimizer's step until its update is counted, and within the recorder's own steps,
an interrupt is noted, and raised at the end.

The handler is set for that time alone. A notebook sets its own for each cell, and whoever asks at
other times finds the handler that the program has.
"""

import _signal  # type: ignore[import-not-found]
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import torch

# What `signal` wraps costs a tenth, as it makes no enumerations; it is called in every update.
_set: Callable[..., Any] = _signal.signal
_get: Callable[..., Any] = _signal.getsignal
_INTERRUPT = int(signal.SIGINT)
# Seconds; two interrupts at once, as of a key that is held down, do not insist.
PATIENCE = 1.0


class Interrupts:
    """Has interrupts wait; a context, which may be nested, in which they do.

    Only the main thread is interrupted, and so there is nothing to do in any other. Where the
    interrupt is ignored, or kills the process without a word to Python, that stays so.
    """

    def __init__(self, broken: Callable[[], None], *, patience: float = PATIENCE) -> None:
        """Begin with nothing to protect.

        Arguments:
            broken: told that somebody insisted on an interrupt amid something.
            patience: seconds after the first one, from which on another one insists.
        """
        self._broken = broken
        self._patience = patience
        self._since = 0.0
        self._process = os.getpid()
        self._main = threading.main_thread().ident
        self._depth = 0
        self._step: CodeType | None = None  # of an optimizer's step that has begun
        self._waits = self._long = self._armed = False
        self._previous: Any = None
        self._handler = self._note

    def __enter__(self) -> None:
        """Begin what must not be interrupted."""
        if threading.get_ident() == self._main:
            if not self._depth:
                self._arm()
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        """End it, and raise an interrupt that has waited."""
        if threading.get_ident() == self._main:
            self._depth -= 1
            self._disarm()

    @contextmanager
    def long(self) -> Iterator[None]:
        """What may take long, such as a function of the user's: whoever insists is heard."""
        self._long, before = True, self._long
        try:
            yield
        finally:
            self._long = before

    def step_begins(self, code: CodeType) -> None:
        """An optimizer begins to step; interrupts wait until `step_ends`, or until it fails.

        Arguments:
            code: of the function whose end is that of the step.
        """
        if threading.get_ident() == self._main:
            self._arm()
            self._step = code

    def step_ends(self) -> None:
        """Its update is counted, or will not be."""
        if self._step is not None:
            self._step = None
            self._disarm()

    def _arm(self) -> None:
        handler = _get(_INTERRUPT)
        # Bound methods are equal, not identical.
        if handler != self._handler and callable(handler):
            self._previous, self._armed = handler, True
            _set(_INTERRUPT, self._handler)

    def _disarm(self) -> None:
        if self._depth or self._step is not None:
            return
        if self._armed and _get(_INTERRUPT) == self._handler:
            _set(_INTERRUPT, self._previous)
        self._armed = False
        if self._waits:
            self._waits = False
            self._previous(signal.SIGINT, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        mine = self._armed and os.getpid() == self._process  # and not that of a fork
        if mine and (self._depth or self._step is None or self._steps(frame)):
            now = time.monotonic()
            insists = self._waits and now >= self._since + self._patience
            if not (insists and (self._long or not self._depth)):
                self._since = self._since if self._waits else now
                self._waits = True
                return
            self._waits = False
            self._broken()
        self._previous(number, frame)

    def _steps(self, frame: FrameType | None) -> bool:
        """Whether the step that has begun goes on, or the backward pass that it is within."""
        while frame is not None and frame.f_code is not self._step:
            frame = frame.f_back
        return frame is not None or torch._C._current_graph_task_id() >= 0
