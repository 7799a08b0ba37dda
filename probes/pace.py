"""How often to flush: by the number of updates that wait, the same on every process."""

import time

import numpy as np

# Rows held on the device between flushes: 256 × (2·161 + 11) × 8 bytes = 0.7 MB for ResNet-50.
_ROWS = 256
# The first flush comes early, to show a recording; later ones are `seconds` apart.
_FIRST_ROWS = 4
_TICK = 1e-9  # seconds; a clock may stand still between two flushes


class Pace:
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
