"""The recorder: attaches probes to a training run and writes what they measure.

The clock is the optimizer's step. At every update a row of raw sums is appended on the device and,
at scheduled iterations, a snapshot of the quantities; nothing waits for the device. A *flush* adds
both over processes, copies them to the host and writes them as records; from an accelerator they
come while training goes on, and are written when the next update is committed.

A recording ends in one of two ways: it is *closed*, by all processes after the same update, or
*left* live, as after an exception, for a later run to go on. Whatever goes wrong in recording ends
the recording and not the training.
"""

import atexit
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ultraslow.probes.buffer import (
    Buffer,
    DeclaredUnits,
    Flushes,
    Ledger,
    RowReader,
    Schedule,
    Snapshot,
    Updates,
    misfits,
    to_plain,
)
from ultraslow.probes.distributed import Meetings, MissingError, Termination, wrapped_late
from ultraslow.probes.gradients import AfterPass, GradientTap
from ultraslow.probes.quantities import Quantities, Subject
from ultraslow.probes.steps import STEP, Followed, Optimizers, Turns
from ultraslow.probes.storage import RecordingWriter, import_pools

from .changed import ChangedWeights
from .others import Others
from .outlook import Notices, OneUnit
from .portrait import Portrait
from .start import Start
from .work import Clocks, Work


class Stage(Enum):
    """Where a recorder stands, as what may be done depends on it."""

    BETWEEN = auto()  # two updates: the weights are those of an iteration
    STEPPING = auto()  # the optimizer moves the weights
    ENTERING = auto()  # an update is entered, perhaps in the optimizer's own loop over its hooks
    ENDED = auto()  # closed or left


class Recorder:
    """Probes attached to a run; made by `us.attach`.

    In the training loop `observe` takes losses. Where units are not equal, `unit` declares each
    before its backward pass; passes within `one_unit` are one, and those within `unmeasured` none.
    `state_dict` goes into a checkpoint, and `close` ends the recording.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizers: Optimizers,
        subject: Subject,
        quantities: Quantities,
        *,
        start: Start,
        writer: RecordingWriter,
        alone: OneUnit,
        tap: Callable[[Callable[[Exception], None]], GradientTap],
        batch_size: int,
        schedule: Schedule,
        scaler: torch.amp.GradScaler | None,
        flush_seconds: float,
        close_on_sigterm: bool,
        meetings: Meetings | None,
    ) -> None:
        past = start.state
        self.iteration = self._began = past.iteration
        self._process = os.getpid()
        self._model, self._quantities, self._writer = model, quantities, writer
        self._names, self._parameters = zip(*subject.parameters.items(), strict=True)
        self._processes = subject.processes
        self._batch_size, self._schedule = batch_size, schedule
        kept = Notices(writer.store.folder, lambda text: writer.note(self.iteration, text))
        self._warn = kept.warn
        quantities.noted = lambda text: writer.note(self.iteration, text)
        self._alone, self._changed = alone, ChangedWeights(subject, quantities, self._warn)
        self._units = DeclaredUnits(self._warn)
        self._stage, self._open = Stage.BETWEEN, True
        self._stopped = self._apart = False  # by itself, and what all have is joined at the end
        self._held = -1  # the iteration of a record that waits for its last evaluation
        self._commit = AfterPass(self._enter_update)
        self._clocks = Clocks(wall_time=past.wall_time, probe_seconds=past.probe_seconds)
        self._work = Work(self._clocks)
        self._flushes = self._flushes_of(subject, flush_seconds)
        self._ledger, self._recorded = self._ledger_of(start), start.recorded
        self._others = self._others_of(meetings)
        with ExitStack() as undo:  # where something fails, nothing is left attached
            self._termination = self._when_told_to_end(listen=close_on_sigterm)
            self._work.ends_by(self._termination)
            undo.callback(self._termination.stop)
            gradients = tap(lambda error: self._warn(writer.noise_failed(repr(error))))
            gradients.protection = self._work.interrupts
            undo.callback(gradients.close)
            undo.callback(self._follow(optimizers, past.stepped).close)
            self._listen(optimizers, gradients, scaler, skipped=past.skipped)
            undo.pop_all()

    def _follow(self, optimizers: Optimizers, stepped: Collection[int]) -> Followed:
        self._turns = Turns(len(optimizers.given), clock=optimizers.clock, stepped=stepped)
        self._followed = Followed(
            optimizers, self._turns, self._before_step, self._after_step, warn=self._warn
        )
        for reason in optimizers.unknown():
            self._warn(reason)
        return self._followed

    def _listen(
        self,
        optimizers: Optimizers,
        gradients: GradientTap,
        scaler: torch.amp.GradScaler | None,
        *,
        skipped: int,
    ) -> None:
        """Record where this begins, and hear of every update and of the program's end."""
        self._rows = RowReader(
            optimizers,
            self._parameters,
            names=self._names,
            tap=gradients,
            units=self._units,
            scaler=scaler,
            skipped=skipped,
            warn=self._warn,
            by_hand=self._processes.by_hand,
            tell_unknown=self._gradient_unknown,
            heard=self._followed.passes,
        )
        if self._recorded < 0:
            self._record()
        if self._processes.writes:
            import_pools()
        atexit.register(self._at_exit)

    def observe(self, *, loss: Tensor | float) -> None:
        """Give the recorder the training loss, without waiting for it.

        Call it after `backward`, before or after the optimizer's step; several losses of one
        update are averaged.

        Arguments:
            loss: mean loss of the samples of this process, one value.
        """
        if self._accepts("observe"):  # one step, of which nothing could be half done
            self._flushes.buffer.observe(loss, making=self._rows.units > 0)

    def unit(self, *, size: float, weight: float | None = None) -> None:
        """Declare the next unit; call it before each `backward` when units are unequal.

        Where the number of units, or of samples in them, varies from update to update, declare all
        units of an update: what their losses were divided by cannot be seen, and undeclared
        updates of an unusual number of units are left out of the noise.

        Arguments:
            size: samples in the unit, n.
            weight: a, what the gradient of the unit's mean loss was multiplied by on its way into
                the update's gradient. It is 1/16 where losses were divided by 16, whether or not
                16 units make the update; where losses are summed over samples (tokens) and divided
                by the update's number of them N, it is n/N. The mean over W processes divides by
                W. Equal shares that add up to 1 when None.
        """
        if self._accepts("unit"):
            self._units.declare(size, weight)

    def one_unit(self) -> AbstractContextManager[None]:
        """Make all backward passes within one unit, as those of two losses of the same samples.

            with recorder.one_unit():
                real.backward()
                fake.backward()

        It costs another copy of the gradients while it lasts.
        """
        return self._rows.one_unit() if self._accepts("one_unit") else nullcontext()

    def unmeasured(self) -> AbstractContextManager[None]:
        """Make backward passes within no units, as those of a penalty or a probe of your own.

        What they add to the gradients enters the update, but neither its noise nor its `mean_sq`.
        It costs another copy of the gradients.
        """
        return self._rows.unmeasured() if self._accepts("unmeasured") else nullcontext()

    def gradients(self, gradients: Mapping[str, Tensor] | Sequence[Tensor | None]) -> None:
        """Give the gradients of a unit that no backward pass adds to `.grad`.

        Call it for each unit in place of its `backward`, as where they come from `torch.func`;
        those of an update add up to its gradient. It keeps a copy of their sum until the step.

        Arguments:
            gradients: by parameter name, or in the order of the model's trainable parameters.

        Raises:
            ValueError: for names or shapes of others, and under a wrapper, which sees none.
        """
        if self._accepts("gradients"):
            with self._work:
                self._rows.give(gradients)

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to go on from here; save it with the model's checkpoint.

        Every process calls it, between two updates, after the last loss was observed. Give it to
        `us.attach` as `resume`. What processes return differs in one thing: rank 0's state
        also holds the records that a disk refused.

        Returns:
            Numbers, texts and tensors, a few times the size of a record.
        """
        if not self._accepts("state_dict"):
            raise RuntimeError(
                f"state_dict: recording {self._writer.store.folder} has stopped after iteration "
                f"{self.iteration}, as was warned of"
            )
        try:
            self._meet("`state_dict`")
        except MissingError as error:
            self._cannot_flush(error)
            raise RuntimeError(f"state_dict: {error}; call it on every process") from None
        with self._work:
            self._quantities.hold()
            self._changed.closes(self._flushes.buffer)
            # No record: it brings what was added up so far to the host.
            self._flushes.buffer.snapshots.append(self._snapshot(record=False))
            reduced = self._flushes.collect()
            *snapshots, now = reduced.snapshots
            self._write(reduced.updates, snapshots, hold=self.iteration)
            waiting = self._writer.waiting
            skipped, stepped = self._rows.skipped, self._turns.stepped
            return to_plain(
                self._ledger.state(now, skipped=skipped, waiting=waiting, stepped=stepped)
            )

    def close(self) -> Path:
        """Record the last iteration, write everything and close the recording to one file.

        Every process calls it. Closing twice does nothing.

        Returns:
            The closed file; the live folder when the disk refused it, which is warned of.
        """
        self._close()
        return self._writer.path

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; after an exception only detach: other processes may not reach a collective.

        The segments written so far stay in the live folder, and a process that trains alone adds
        what is pending.
        """
        if kind is None:
            self._close()
        elif self._usable():
            self._flush_alone()
            self._leave()

    def __repr__(self) -> str:
        return str(self._portrait)

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        return self._portrait.html()

    @property
    def _portrait(self) -> Portrait:
        return Portrait(self._writer, self._processes, self.iteration, self._open)

    def _at_exit(self) -> None:
        """The program ends and has not closed the recording.

        After an exception it is left live, so that a later run can go on.
        """
        if self._apart or (self._usable() and getattr(sys, "last_value", None) is None):
            self._close(evaluate=False, waits=False)
        elif self._usable():
            self._flush_alone()
            self._leave()

    def _ledger_of(self, start: Start) -> Ledger:
        return Ledger(
            start.state,
            start.initial_sq,
            batch_size=self._batch_size,
            processes=self._processes.size,
            noise=self._writer.noise,
        )

    def _others_of(self, meetings: Meetings | None) -> Others:
        return Others(
            meetings,
            self._model,
            writes=self._processes.writes,
            folder=self._writer.store.folder,
            flushes=lambda: self._flushes,
            warn=self._warn,
        )

    def _flushes_of(self, subject: Subject, flush_seconds: float) -> Flushes:
        return Flushes(
            Buffer.of(subject.weights(), subject.groups),
            processes=subject.processes,
            flush_seconds=flush_seconds,
            enter=lambda reduced: self._write(reduced.updates, reduced.snapshots),
            failed=self._cannot_flush,
            warn=self._unaveraged,
            meet=self._meet,
        )

    def _when_told_to_end(self, *, listen: bool) -> Termination:
        return Termination(
            flush=self._flush_alone,
            close=partial(self._close, evaluate=False),
            leave=self._leave,
            agreement=self._others.agreement,
            listen=listen,
        )

    def _close(self, *, evaluate: bool = True, waits: bool = True) -> None:
        """Close the recording.

        Arguments:
            evaluate: whether there is time for what is measured at the close. Not where the
                process is about to be ended, alone perhaps and in the middle of an update.
            waits: whether the other processes are waited for; else each leaves what it has.
        """
        if self._apart:
            self._join_apart()
        if not self._usable():
            return
        with self._work:
            self._changed.closes(self._flushes.buffer)
            if self._recorded != self.iteration and self._between():
                self._record()
            together = self._others.come_to_close(self.iteration, waits=waits)
            if evaluate and together:
                self._evaluate_last()
            elif self._processes.writes and self._quantities.waits_for_close(self.iteration):
                ending = "the program was ending; call `close` before it does"
                why = self._others.missing if evaluate else ending
                self._warn(f"was closed without the last evaluation: {why}")
            if together:
                self._flushes.now()
            else:
                self._others.post(closes=True)
            if not self._open:  # it could not be flushed
                return
            self._detach()
            self._tell_at_close()
            if together and self._processes.writes:
                self._warn(self._ledger.at_end())
                self._writer.close()
            elif self._processes.writes:
                self._close_apart()

    def _between(self) -> bool:
        """Whether the weights are those of the last iteration."""
        if self._stage is Stage.STEPPING:
            return False
        if self._turns.stepped and self._turns.clock is None:
            told = "ended when only some of the optimizers had stepped in iteration"
            self._warn(f"{told} {self.iteration + 1}; the last record is an earlier one")
            return False
        return True

    def _tell_at_close(self) -> None:
        if self.iteration == self._began:
            self._warn(wrapped_late(self._model, self._parameters))
        late = ["records"] if self._schedule.beyond(self.iteration) else []
        for name in [*late, *self._quantities.beyond(self.iteration)]:
            self._warn(f"the schedule of {name} goes beyond the last iteration, {self.iteration}")

    def _meet(self, what: str) -> None:
        self._others.meet(what, self.iteration)

    def _join_apart(self) -> None:
        """Write what all processes have, of a recording that has stopped as one did not come."""
        self._apart = False
        atexit.unregister(self._at_exit)
        if os.getpid() == self._process:
            self._close_apart()

    def _close_apart(self) -> None:
        """Close if what all processes have left is all there is, else leave it live."""
        if self._others.join(self.iteration):
            self._warn(self._ledger.at_end())
            self._writer.close()
        else:
            self._writer.write([])
            self._writer.leave()

    def _leave(self) -> None:
        """Leave the recording live, with what has arrived, for a later run to go on."""
        with self._work:
            if not self._work.broken:
                self._flushes.save_arrived()
            if self._processes.writes:
                self._writer.write([])
            if not self._work.broken:
                self._warn(self._others.leave(self.iteration))
            self._detach()
            if self._processes.writes:
                self._writer.leave()

    def _leave_to(self, folder: Path) -> None:
        """Leave the recording live where it is in a folder that another begins to use."""
        if self._owned() and self._writer.store.folder.absolute() == folder.absolute():
            self._leave()

    def _detach(self) -> None:
        self._followed.close()
        self._stage, self._open = Stage.ENDED, False
        self._work.interrupts.step_ends()
        self._rows.close()
        self._termination.stop()
        if not self._apart:
            atexit.unregister(self._at_exit)

    def _owned(self) -> bool:
        """Whether the recorder is open and this is its process.

        A fork inherits it, and measures and writes nothing.
        """
        if self._open and os.getpid() != self._process:
            self._detach()
        return self._open

    def _usable(self) -> bool:
        """Whether records can be made: it is this process's, and no step was left half done."""
        if not (self._owned() and self._work.broken):
            return self._open
        self._warn(
            f"stopped after iteration {self.iteration}: {self._work.broken} came amid a step "
            "of the recorder's own, so what follows could be labelled wrongly"
        )
        self._stopped = True
        self._leave()
        return False

    def _flush_alone(self) -> None:
        """Bring to disk what one process can without the others, at any moment."""
        if self._processes.size == 1 and self._open:
            with self._work:
                self._changed.closes(self._flushes.buffer)
                self._flushes.now()

    def _before_step(self, optimizer: torch.optim.Optimizer, within: bool) -> None:
        """An optimizer of the run is about to step, or a closure within its step has ended."""
        if self._usable():
            if not within:
                self._work.interrupts.step_begins(STEP)
                self._stage = Stage.STEPPING
            with self._work:
                self._changed.step_begins(self._flushes.buffer, self._rows.begun)
                self._rows.before_step(optimizer)

    def _after_step(self, over: bool) -> None:
        """It has stepped; all steps within a backward pass are of one update."""
        if self._open:
            self._stage = Stage.BETWEEN
        if over:
            self._commit()
        else:
            self._work.interrupts.step_ends()

    def _enter_update(self) -> None:
        """One update was committed: flush what is due, then add this one."""
        if not self._open:
            return
        self._stage = Stage.ENTERING
        with self._work:
            if not self._rows.is_void(self._turns.stepped):
                self._flushes.when_due()
                if self._open:  # a flush that fails ends the recording
                    self._add()
            self._turns.end()
        self._termination.after(self.iteration)
        if self._open:
            self._stage = Stage.BETWEEN
        self._work.interrupts.step_ends()

    def _add(self) -> None:
        self.iteration += 1
        row, seconds = self._rows.read(self._turns.fault, numbers=self._turns.stepped)
        self._alone.saw(row.shares.units)
        self._clocks.probe_seconds += seconds
        self._flushes.buffer.add(row)
        self._quantities.update()
        if self.iteration == self._began + 1:
            self._warn(wrapped_late(self._model, self._parameters))
            if self._began == 0 and (found := self._rows.corrected_rate()):
                self._writer.began_at(found[0], shown=found[1])
        if self._schedule.due(self.iteration) or self._quantities.due(self.iteration):
            self._record()

    def _record(self) -> None:
        """Measure all that a record at this iteration holds."""
        if self.iteration > self._began and self._quantities.due(self.iteration):
            try:  # what is due by itself communicates
                self._meet("a measurement")
            except MissingError as error:
                self._cannot_flush(error)
                return
        with self._work, self._rows.paused():
            self._flushes.buffer.snapshots.append(self._snapshot())
            self._changed.recorded(self.iteration)
        self._recorded = self.iteration

    def _snapshot(self, *, record: bool = True) -> Snapshot:
        """What there is to measure at this iteration, of a record or of a state."""
        wall_time, probe_seconds = self._clocks.wall_time(), self._clocks.probe_seconds
        with self._work.interrupts.long():
            values = self._quantities.snapshot(self.iteration, record=record)
        rates = self._rows.group_rates(self._processes)
        return Snapshot(self.iteration, {**values, **rates}, wall_time, probe_seconds)

    def _evaluate_last(self) -> None:
        """Add the last evaluation to the last record, unless that was written already."""
        waits = self._flushes.buffer.awaits(self.iteration)
        if waits or self._held == self.iteration:
            with self._rows.paused(), self._work.interrupts.long():
                values = self._quantities.at_close(self.iteration)
            amend = self._flushes.buffer.amend if waits else self._writer.amend
            amend(self.iteration, values)

    def _unaveraged(self, fault: str) -> None:
        if fault:
            self._writer.unknown = fault
            self._warn(fault)

    def _gradient_unknown(self, why: str) -> None:
        late = self.iteration == self._began + 1 and wrapped_late(self._model, self._parameters)
        told = self._writer.gradient_unknown(late or why)
        self._warn(late or told)

    def _cannot_flush(self, error: RuntimeError) -> None:
        self._warn(f"stopped, as what was measured could not be collected: {error}")
        self._stopped = True
        if isinstance(error, MissingError):
            self._others.post(closes=False)
            self._apart = self._processes.writes
            self._detach()
        else:
            self._leave()

    def _write(self, updates: Updates, snapshots: list[Snapshot], *, hold: int = -1) -> None:
        """Write the records that are complete, but for that of an iteration to hold back."""
        records = self._ledger.enter(updates, snapshots)
        self._held = hold
        if self._processes.writes:
            for misfit in (*misfits(updates), *self._ledger.told()):
                self._warn(misfit)
            if updates.unknown and not self._writer.fault:
                self._warn(self._writer.noise_failed("on another process"))
            self._writer.write(records, hold=hold)

    def _accepts(self, method: str) -> bool:
        """Whether a call is of use; not after the recorder has stopped by itself.

        Raises:
            RuntimeError: when it was closed, or in a fork of the process that records.
        """
        if self._usable() or self._stopped:
            return self._open
        raise RuntimeError(
            f"{method}: the recorder of {self._writer.store.folder} is closed"
            if os.getpid() == self._process
            else f"{method}: process {self._process} records at {self._writer.store.folder}, "
            "of which this is a fork"
        )
