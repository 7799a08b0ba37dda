"""The recorder: attaches probes to a training run and writes what they measure.

The clock is the optimizer's step. At every update a row of raw sums is appended on the device and,
at scheduled iterations, the weight distance is measured; nothing waits for the device. A *flush*
adds the rows over processes, copies them to the host and writes them as records; from an
accelerator they come while training goes on, and are written when the next update is committed.

Warnings about one recording, each given once.

The host's clocks: time since attaching, and how much of it the probes have taken.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ultraslow.probes.buffer import (
    DeclaredUnits,
    Flushes,
    Ledger,
    Mark,
    Measurement,
    Pending,
    Plan,
    RowReader,
    Updates,
    misfits,
    to_plain,
)
from ultraslow.probes.distributed import Termination, agreement_among, wrapped_late
from ultraslow.probes.gradients import AfterPass, GradientTap
from ultraslow.probes.quantities import Occasions
from ultraslow.probes.storage import RecordingWriter

from .start import Beginning, Request


class Notices:
    """Warns of a recording; says nothing twice, and an empty message not at all."""

    def __init__(self, folder: Path) -> None:
        """Name the recording by its folder."""
        self._folder = folder
        self._given = {""}

    def warn(self, message: str) -> None:
        """Warn, once for each message."""
        if message not in self._given:
            self._given.add(message)
            text = f"recording {self._folder}: {message}"
            warnings.warn(text, RuntimeWarning, stacklevel=3)


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


class Recorder:
    """Probes attached to a run; made by `probes.attach`."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        request: Request,
        *,
        beginning: Beginning,
        writer: RecordingWriter,
        tap: Callable[[Callable[[Exception], None]], GradientTap] | None,
        occasions: Occasions,
        plan: Plan,
    ) -> None:
        past = beginning.state
        self.iteration = self._began = past.iteration
        self._model = model
        self._parameters = list(request.parameters.values())
        self._writer = writer
        self._processes = request.processes
        self._plan = plan
        self._warn = Notices(writer.store.folder).warn
        self._units = DeclaredUnits(self._warn)
        self._closed = self._stepping = self._hooked = self._ending = False
        self._held = -1  # the iteration of a record that waits for its last evaluation
        self._commit = AfterPass(self._append)
        self._clocks = Clocks(wall_time=past.wall_time, probe_seconds=past.probe_seconds)
        self._measurements = request.measurements
        self._occasions = occasions
        self._flushes = self._new_flushes()
        self._ledger, self._marked = Ledger(past, beginning.initial_sq), beginning.marked
        self._termination = Termination(
            flush=self._save,
            close=self._terminate,
            leave=self._leave,
            agreement=agreement_among(request.processes, str(request.store.folder)),
            listen=plan.close_on_sigterm,
        )
        self._rows = RowReader(
            optimizer,
            self._parameters,
            tap=tap(lambda error: self._warn(writer.noise_failed(repr(error)))) if tap else None,
            units=self._units,
            scaler=plan.scaler,
            skipped=past.skipped,
        )
        if self._marked < 0:
            self._mark()
        self._hooks = [
            optimizer.register_step_pre_hook(self._begin_step),
            optimizer.register_step_post_hook(self._committed),
        ]

    def observe(self, *, loss: Tensor | float) -> None:
        """Give the recorder the training loss, without waiting for it.

        Call it after `backward`, before or after the optimizer's step; several losses of one
        update are averaged.

        Arguments:
            loss: mean loss of the samples of this process, one value.
        """
        self._check_open("observe")
        with self._timed():
            self._flushes.pending.observe(loss, making=self._rows.units > 0)

    def unit(self, *, size: float, weight: float | None = None) -> None:
        """Declare the next unit; call it before each `backward` when units are unequal.

        Arguments:
            size: samples in the unit, n.
            weight: a, the unit's share in the update's mean gradient; the shares of an update add
                up to 1 over all units and processes. Equal shares when None.
        """
        self._check_open("unit")
        self._units.declare(size, weight)

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to go on from here; save it with the model's checkpoint.

        Every process calls it, between two updates, after the last loss was observed. Give it to
        `probes.attach` as `resume`. What processes return differs in one thing: rank 0's state
        also holds the records that a disk refused.

        Returns:
            Numbers, texts and tensors, a few times the size of a record.
        """
        self._check_open("state_dict")
        with self._timed():
            self._occasions.hold()
            # No record: it brings the path so far to the host.
            self._flushes.pending.marks.append(self._measured())
            reduced = self._flushes.collect()
            *measurements, now = reduced.measurements
            self._enter(reduced.updates, measurements, hold=self.iteration)
            waiting = self._writer.waiting
            return to_plain(self._ledger.state(now, skipped=self._rows.skipped, waiting=waiting))

    def close(self) -> Path:
        """Record the last iteration, write everything and close the recording to one file.

        Every process calls it. Closing twice does nothing.

        Returns:
            The closed file; the live folder when the disk refused it, which is warned of.
        """
        if not self._closed:
            with self._timed():
                self._end()
        return self._writer.path

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; after an exception only detach: other processes may not reach a collective.

        The segments written so far stay in the live folder, and a process that trains alone adds
        what is pending.
        """
        if kind is None:
            self.close()
        elif not self._closed:
            self._save()
            self._leave()

    def _end(self) -> None:
        if self._marked != self.iteration and not self._stepping:
            self._mark()
        self._evaluate_last()
        self._flushes.now()
        if self._closed:  # it could not be flushed
            return
        self._detach()
        if self.iteration == self._began:
            self._warn(wrapped_late(self._model, self._parameters))
        late = ["records"] if self._plan.schedule.beyond(self.iteration) else []
        for name in [*late, *self._occasions.beyond(self.iteration)]:
            self._warn(f"the schedule of {name} goes beyond the last iteration, {self.iteration}")
        if self._processes.writes:
            self._writer.close()

    def _save(self) -> None:
        """Bring to disk what one process can without the others, at any moment."""
        if not self._processes.groups and not self._closed:
            with self._timed():
                self._flushes.now()

    def _terminate(self) -> None:
        """The process is about to end, alone perhaps in the middle of an update."""
        self._ending = True
        self.close()

    def _leave(self) -> None:
        """Leave the recording live, for a later run to go on."""
        self._flushes.save_arrived()
        if self._processes.writes:
            self._writer.write([])
        self._detach()
        if self._processes.writes:
            self._writer.leave()

    def _begin_step(self, *_: object) -> None:
        """The optimizer is about to step."""
        self._stepping = not self._closed
        if self._closed:
            self._hooks[1].remove()
        else:
            with self._timed():
                self._rows.before_step()

    def _committed(self, *_: object) -> None:
        """The optimizer has stepped; all its steps within a backward pass are one update."""
        self._stepping = False
        self._commit()

    def _append(self) -> None:
        """One update was committed: flush what is due, then add this one."""
        self._hooked = True
        with self._timed():
            if not self._closed and not self._rows.is_void():
                self._flushes.when_due()
                if not self._closed:  # a flush that fails ends the recording
                    self._add()
        self._termination.after(self.iteration)
        self._hooked = False

    def _add(self) -> None:
        self.iteration += 1
        row, seconds = self._rows.read()
        self._clocks.probe_seconds += seconds
        self._flushes.pending.add(row)
        self._measurements.update()
        if self.iteration == self._began + 1:
            self._warn(wrapped_late(self._model, self._parameters))
        if self._plan.schedule.due(self.iteration) or self._occasions.due(self.iteration):
            self._mark()

    def _mark(self) -> None:
        """Measure all that a record at this iteration holds."""
        with self._timed(), self._rows.paused():
            mark = replace(self._measured(), occasional=self._occasions.measure(self.iteration))
        self._flushes.pending.marks.append(mark)
        self._marked = self.iteration

    def _measured(self) -> Mark:
        """The weights at this iteration."""
        with self._timed():
            values = self._measurements.mark() | self._rows.group_rates(self._processes)
        return Mark(self.iteration, values, self._clocks.wall_time(), self._clocks.probe_seconds)

    def _evaluate_last(self) -> None:
        """Add the last evaluation to the last record, unless that was written already."""
        pending = self._flushes.pending.marked(self.iteration)
        if (pending or self._held == self.iteration) and not self._ending:
            with self._rows.paused():
                fields = self._occasions.at_end(self.iteration)
            amend = self._flushes.pending.amend if pending else self._writer.amend
            amend(self.iteration, fields)

    def _new_flushes(self) -> Flushes:
        return Flushes(
            Pending(self._measurements.initial[0].device, len(self._parameters)),
            processes=self._processes,
            units=self._units,
            plan=self._plan,
            enter=lambda reduced: self._enter(reduced.updates, reduced.measurements),
            failed=self._cannot_flush,
        )

    def _cannot_flush(self, error: RuntimeError) -> None:
        self._warn(f"stopped, as what was measured could not be collected: {error}")
        self._leave()

    def _enter(self, updates: Updates, measurements: list[Measurement], *, hold: int = -1) -> None:
        """Write the records that are complete, but for that of an iteration to hold back."""
        records = self._ledger.enter(updates, measurements)
        self._held = hold
        if self._processes.writes:
            for misfit in misfits(updates, self._plan.batch_size, sized=self._units.sized):
                self._warn(misfit)
            if updates.unknown and not self._writer.fault:
                self._warn(self._writer.noise_failed("on another process"))
            self._writer.write(records, hold=hold)

    def _detach(self) -> None:
        self._closed = True
        # A hook that goes while those of a step are called would stop the training.
        for hook in [] if self._hooked else self._hooks:
            hook.remove()
        self._rows.close()
        self._termination.stop()

    def _check_open(self, method: str) -> None:
        if self._closed:
            raise RuntimeError(f"{method}: the recorder of {self._writer.store.folder} is closed")

    def _timed(self) -> AbstractContextManager[None]:
        """Count the time spent in probes, and keep SIGTERM waiting meanwhile."""
        return self._clocks.timed(self._termination)
