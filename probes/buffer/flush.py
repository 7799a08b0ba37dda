"""Flushes: when what waits is brought to the host, and how.

How often to flush: by the number of updates that wait, the same on every process.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from ultraslow.diffusion.recording import HELD_UPDATES
from ultraslow.probes.distributed import Processes, moved_apart

from .buffer import Buffer, InFlight, Part, Reduced

# Rows held on the device between flushes: 256 × (2·161 + 11) × 8 bytes = 0.7 MB for ResNet-50.
_ROWS = HELD_UPDATES
# The first flush comes early, to show a recording; later ones are `seconds` apart.
_FIRST_ROWS = 4
_TICK = 1e-9  # seconds; a clock may stand still between two flushes


class _Pace:
    """Keeps flushes about so many seconds apart.

    Processes must flush at the same update, so the number of updates is what counts; it follows
    from the mean time of an update over all of them.
    """

    def __init__(self, seconds: float) -> None:
        """Begin, with an early first flush."""
        self._seconds = seconds
        self._limit = _FIRST_ROWS
        self._flushed = time.monotonic()

    def due(self, rows: int) -> bool:
        """Whether to flush, with so many updates waiting."""
        return rows >= self._limit

    def lap(self) -> float:
        """Seconds since the last call."""
        now = time.monotonic()
        since, self._flushed = now - self._flushed, now
        return since

    def adapt(self, update_seconds: float) -> None:
        """Set the next flush by the mean time of an update over all processes."""
        self._limit = int(np.clip(self._seconds / max(update_seconds, _TICK), 1, _ROWS))


class Flushes:
    """Holds what waits for the next flush, and what is under way.

    All processes flush at the same updates. Where a flush goes on beside the training it is ended
    when the next update is committed, or by whatever needs its records before.
    """

    def __init__(
        self,
        buffer: Buffer,
        *,
        processes: Processes,
        flush_seconds: float,
        enter: Callable[[Reduced], None],
        failed: Callable[[RuntimeError], None],
        warn: Callable[[str], None],
        meet: Callable[[str], None],
    ) -> None:
        """Begin with nothing under way.

        Arguments:
            buffer: what waits.
            processes: that train together.
            flush_seconds: between two flushes, about.
            enter: is given what has arrived on the host.
            failed: is told when a flush could not be, which is the last one.
            warn: is told of gradients that are none of the mean's.
            meet: returns when all processes have come to what it names.
        """
        self.buffer = buffer
        self._processes = processes
        self._enter = enter
        self._failed = failed
        self._warn = warn
        self._meet = meet
        self._pace = _Pace(flush_seconds)
        self._flight: InFlight | None = None
        self._added = False  # whether the training loop adds gradients up over processes

    def when_due(self) -> None:
        """End the flush that is under way, and begin one where it is due."""
        landed = self._flight is None or self._succeeds(self._land)
        if landed and self._pace.due(len(self.buffer.rows)):
            self._succeeds(self._launch)

    def now(self) -> None:
        """Bring everything to the host; all processes have come together for it."""
        for step in (self._land, self._launch_together, self._land):
            if not self._succeeds(step):
                return

    def collect(self) -> Reduced:
        """What waits, which is not entered; what was under way is.

        Raises:
            RuntimeError: when another process died, or the device is out of memory.
        """
        self._land()
        return self._arrived(self._depart())

    def save_arrived(self) -> None:
        """End the flush that is under way where that needs nobody else."""
        if self._flight is not None and self._flight.has_arrived():
            with suppress(RuntimeError):
                self._land()

    def _succeeds(self, step: Callable[[], None]) -> bool:
        """Whether it does; where not, the recording ends and training goes on."""
        try:
            step()
        except RuntimeError as error:  # another process died, or the device is out of memory
            self._flight = None
            self._failed(error)
            return False
        return True

    def part(self, *, closes: bool) -> Part:
        """What this process has to add to the last flush, which it does not wait for."""
        self.save_arrived()
        return self.buffer.part(self._processes, closes=closes)

    def join(self, parts: Sequence[Part], iteration: int) -> int:
        """Enter what all processes have, and drop the rest.

        Arguments:
            parts: of all processes.
            iteration: of the last update of this one.

        Returns:
            The last update that all have made.
        """
        start = iteration - len(self.buffer.rows)
        buffer, total = self.buffer.cut(parts, start)
        self.buffer = self.buffer.emptied()
        flight = buffer.arrived(total, self._processes)
        self._enter(self._arrived(flight))
        return start + len(buffer.rows)

    def _launch(self) -> None:
        self._meet("a flush")
        self._launch_together()

    def _launch_together(self) -> None:
        flight = self._depart()
        if flight.is_beside:
            self._flight = flight
        else:
            self._enter(self._arrived(flight))

    def _depart(self) -> InFlight:
        flight = self.buffer.depart(self._processes, seconds=self._pace.lap())
        self.buffer = self.buffer.emptied()
        return flight

    def _land(self) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            self._enter(self._arrived(flight))

    def _arrived(self, flight: InFlight) -> Reduced:
        reduced = flight.land(added=self._added)
        self._added = reduced.added
        self._pace.adapt(reduced.update_seconds)
        if self._processes.writes:
            self._warn(reduced.fault)
        if told := moved_apart(reduced.alike, self._processes):
            raise RuntimeError(told)
        return reduced
