"""What a recorder shows of itself, in a line and, in a notebook, as a small table.

All of it lies on the host already: nothing waits for the device or for another process, so that
it may be shown at any moment, on any process, and after the end.
"""

import html
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ultraslow.diffusion.recording import escaped
from ultraslow.probes.distributed import Processes
from ultraslow.probes.storage import RecordingWriter

from .outlook import outlook

_LONGEST = 120  # characters of a name


@dataclass(frozen=True)
class Portrait:
    """A recorder at a moment.

    Attributes:
        writer: of its records.
        processes: that train together.
        iteration: of the last update.
        open: whether it records.
    """

    writer: RecordingWriter
    processes: Processes
    iteration: int
    open: bool

    def __str__(self) -> str:
        path = escaped(self.writer.path)[:_LONGEST]
        return f"<Recorder {path}: {self.state} at iteration {self.iteration}>"

    @property
    def state(self) -> str:
        """What it does, in a word or two."""
        if self.open:
            return "recording"
        if not self.processes.writes:
            return "ended"
        return "closed" if self.writer.path == self.writer.store.file else "left live"

    def html(self) -> str:
        """A table of its state, its newest record and what that can serve."""
        rows = "".join(
            f'<tr><th style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(escaped(value))}</td></tr>'
            for name, value in self._rows()
        )
        return f"<table><caption>Recorder</caption><tbody>{rows}</tbody></table>"

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield "recording", str(self.writer.path)
        yield "state", self.state
        yield "iteration", str(self.iteration)
        if not self.processes.writes:
            yield "process", f"{self.processes.rank} of {self.processes.size}; process 0 writes"
            return
        newest = self.writer.newest
        if newest is None:
            yield "newest record", "none is on the disk yet"
            return
        yield "newest record", f"iteration {int(newest['iteration'])}"
        yield "distance", f"{np.sum(newest['distance_sq']) ** 0.5:.4g}"
        for name in ("loss", "learning_rate"):
            if np.isfinite(value := float(np.asarray(newest.get(name, np.nan)))):
                yield name.replace("_", " "), f"{value:.4g}"
        told = outlook(self.writer.store.folder, self.writer.dataset([newest]))
        yield "serves", told.partition(" Labels can be added")[0]
