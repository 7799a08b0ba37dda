"""The recorder: attaches probes to a training run and writes what they measure.

The clock is the optimizer's step. At every update a row of raw sums is appended on the device and,
at scheduled iterations, the weight distance is measured; nothing waits for the device. A *flush*
adds the rows over processes, copies them to the host, turns them into records and writes a
segment.
"""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .distance import squared_distances
from .pending import Mark, Pending
from .processes import Processes
from .taps import GradientTap
from .units import DeclaredUnits
from .updates import empty_window, records_of
from .writer import RecordingWriter

# Rows held on the device between flushes: 256 × (2·161 + 8) × 8 bytes = 0.7 MB for ResNet-50.
_ROWS = 256
# The first flush comes early, so that a user sees a recording appear; later ones are
# `flush_seconds` apart.
_FIRST_ROWS = 4


class Recorder:
    """Probes attached to a run; made by `probes.attach`."""

    def __init__(
        self,
        parameters: list[torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        writer: RecordingWriter,
        *,
        processes: Processes,
        batch_size: int,
        schedule: frozenset[int],
        flush_seconds: float,
    ) -> None:
        self.iteration = 0
        self._parameters = parameters
        self._optimizer = optimizer
        self._writer = writer
        self._processes = processes
        self._batch_size = batch_size
        self._schedule = schedule
        self._flush_seconds = flush_seconds
        self._row_limit = _FIRST_ROWS
        self._units = DeclaredUnits(self._warn)
        self._closed = False
        self._seconds = 0.0
        self._open()
        self._started = self._flushed = time.monotonic()
        self._initial = [p.detach().clone() for p in parameters]
        self._pending = Pending(parameters[0].device, len(parameters))
        self._window = empty_window(len(parameters), float(_learning_rate(optimizer)))
        self._initial_sq: NDArray[np.float64] | None = None
        self._mark()
        self._tap = (
            GradientTap(parameters, processes=processes.size, failed=self._noise_failed)
            if writer.noise
            else None
        )
        self._step_hook = optimizer.register_step_post_hook(self._committed)

    def observe(self, *, loss: Tensor | float) -> None:
        """Give the recorder the training loss, without waiting for it.

        Call it after `backward`, before or after the optimizer's step; several losses of one
        update are averaged.

        Arguments:
            loss: mean loss of the samples of this process, one value.
        """
        self._check_open("observe")
        with self._timed():
            value = torch.as_tensor(loss, device=self._pending.device).detach()
            if value.numel() != 1:
                raise ValueError(f"loss: found shape {tuple(value.shape)}, expected one value")
            # Before the step the loss belongs to the update in the making, after it to the one
            # just committed.
            making = len(self._pending) == 0 or (self._tap is not None and self._tap.units > 0)
            self._pending.losses[-1 if making else -2].append(value.double().clone().reshape(()))

    def unit(self, *, size: float, weight: float | None = None) -> None:
        """Declare the next unit; call it before each `backward` when units are unequal.

        Arguments:
            size: samples in the unit, n.
            weight: a, the unit's share in the update's mean gradient; the shares of an update add
                up to 1 over all units and processes. Equal shares when None.
        """
        self._check_open("unit")
        self._units.declare(size, weight)

    def close(self) -> Path:
        """Record the last iteration, write everything and close the recording to one file.

        Every process calls it. Closing twice does nothing.

        Returns:
            The closed file.
        """
        if not self._closed:
            if self._marked != self.iteration:
                self._mark()
            self._flush()
            self._detach()
            if self._processes.writes:
                self._writer.close()
        return self._writer.store.file

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; after an exception only detach: other processes may not reach a collective.

        The segments written so far stay in the live folder, and a process that trains alone adds
        what is pending.
        """
        if kind is None:
            self.close()
        elif not self._closed:
            if self._processes.group is None:
                self._flush()
            self._detach()

    def _open(self) -> None:
        """Make the live folder on rank 0; all processes fail together when it cannot be made."""
        fault: OSError | None = None
        if self._processes.writes:
            try:
                self._writer.store.open()
            except OSError as error:
                fault = error
        device = self._parameters[0].device
        faults = self._processes.add(torch.tensor([float(fault is not None)], device=device))
        if fault is not None:
            raise fault
        if float(faults) > 0:
            raise OSError(f"path: rank 0 could not record at {self._writer.store.folder}")

    def _committed(self, *_: object) -> None:
        """One update was committed: flush what is due, then append this one."""
        with self._timed():
            if len(self._pending) >= self._row_limit:
                self._flush()
            self.iteration += 1
            units, unit_sq, total_sq = self._take()
            rate = _learning_rate(self._optimizer)
            self._pending.add_update(unit_sq, total_sq, self._units.take(units), rate)
            if self.iteration in self._schedule:
                self._mark()

    def _take(self) -> tuple[int, Tensor, Tensor]:
        if self._tap is None:
            nothing = torch.zeros(
                len(self._parameters), dtype=torch.float64, device=self._pending.device
            )
            return 1, nothing, nothing
        self._seconds += self._tap.seconds
        return self._tap.take()

    def _mark(self) -> None:
        """Measure the weights at this iteration."""
        with self._timed():
            squares = squared_distances(self._parameters, self._initial)
        wall_time = time.monotonic() - self._started
        self._pending.marks.append(Mark(self.iteration, squares, wall_time, self._seconds))
        self._marked = self.iteration

    def _flush(self) -> None:
        """Bring everything that waits to the host and write the records that are complete."""
        now = time.monotonic()
        reduced = self._pending.reduce(
            self._processes,
            seconds=now - self._flushed,
            weighted=self._units.weighted,
            sized=self._units.sized,
            batch_size=self._batch_size,
        )
        if self._initial_sq is None:  # the first measurement is of w0 itself
            self._initial_sq = reduced.measurements[0].squares[1]
        records, self._window = records_of(
            self._window,
            reduced.updates,
            reduced.measurements,
            start=self.iteration - len(self._pending),
            initial_sq=self._initial_sq,
        )
        self._pending = self._pending.emptied()
        self._flushed = now
        # The same on every process, because it comes from the reduced time: they flush together.
        self._row_limit = int(np.clip(self._flush_seconds / reduced.update_seconds, 1, _ROWS))
        if self._processes.writes:
            self._writer.write(records)

    def _detach(self) -> None:
        self._closed = True
        self._step_hook.remove()
        if self._tap is not None:
            self._tap.close()

    def _noise_failed(self, error: Exception) -> None:
        self._warn(f"the noise probe failed and was switched off: {error!r}")

    def _warn(self, message: str) -> None:
        warnings.warn(
            f"recording {self._writer.store.folder}: {message}", RuntimeWarning, stacklevel=3
        )

    def _check_open(self, method: str) -> None:
        if self._closed:
            raise RuntimeError(f"{method}: the recorder of {self._writer.store.folder} is closed")

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds += time.perf_counter() - start


def _learning_rate(optimizer: torch.optim.Optimizer) -> float | Tensor:
    return optimizer.param_groups[0]["lr"]
