"""The host's clocks: time since attaching, and how much of it the probes have taken."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


class Clocks:
    """Never run backwards, also where a run goes on after another."""

    def __init__(self, *, wall_time: float, probe_seconds: float) -> None:
        """Go on from the times so far, in seconds."""
        self.probe_seconds = probe_seconds
        self._started = time.monotonic() - wall_time
        self._busy = False

    def wall_time(self) -> float:
        """Seconds since attaching, without those between the parts of a run."""
        return time.monotonic() - self._started

    @contextmanager
    def timed(self, protection: AbstractContextManager[None]) -> Iterator[None]:
        """Count the time within as spent in probes, once where this is nested.

        Arguments:
            protection: entered meanwhile.
        """
        start, outermost, self._busy = time.perf_counter(), not self._busy, True
        with protection:
            try:
                yield
            finally:
                self._busy = not outermost
                self.probe_seconds += (time.perf_counter() - start) * outermost
