"""The recorder's own steps: how long they take, and that none is left half done."""

import time
from contextlib import AbstractContextManager

from ultraslow.probes.distributed import Interrupts, Termination


class Clocks:
    """Time since attaching, and how much of it the probes have taken.

    They never run backwards, also where a run goes on after another.
    """

    def __init__(self, *, wall_time: float, probe_seconds: float) -> None:
        """Go on from the times so far, in seconds."""
        self.probe_seconds = probe_seconds
        self._started = time.monotonic() - wall_time

    def wall_time(self) -> float:
        """Seconds since attaching, without those between the parts of a run."""
        return time.monotonic() - self._started


class Work(AbstractContextManager[None]):
    """A context for each of the recorder's own steps; it may be nested.

    Its time counts as spent in probes, and SIGTERM and Ctrl-C wait for its end. What breaks out of
    it all the same (an exception of an alarm's handler, of a timer, or a fault of the recorder's
    own) may have left a step half done, after which no record could be trusted: `broken` then says
    what it was. Faults of arguments are no such thing.
    """

    def __init__(self, clocks: Clocks) -> None:
        """Begin with nothing done."""
        self.broken = ""
        self.interrupts = Interrupts(lambda: self.breaks("a second interrupt"))
        self._clocks = clocks
        self._termination: Termination | None = None
        self._depth = 0
        self._began = 0.0

    def ends_by(self, termination: Termination) -> None:
        """Have SIGTERM wait, too."""
        self._termination = termination

    def breaks(self, what: str) -> None:
        """Something has broken out of a step, or may have."""
        self.broken = self.broken or what

    def __enter__(self) -> None:
        """Begin a step."""
        self.interrupts.__enter__()
        if self._termination is not None:
            self._termination.__enter__()
        if not self._depth:
            self._began = time.perf_counter()
        self._depth += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End it, and act on signals that have waited."""
        self._depth -= 1
        if not self._depth:
            self._clocks.probe_seconds += time.perf_counter() - self._began
        if kind is not None and not issubclass(kind, ValueError | TypeError):
            self.breaks(kind.__name__)
        try:
            if self._termination is not None:
                self._termination.__exit__()
        finally:
            self.interrupts.__exit__()
