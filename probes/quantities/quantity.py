"""What a quantity is: something that is measured of a network while it trains.

A new one is a module beside this with a class, its line in `table.QUANTITIES`, and its fields in
`diffusion.recording.fields`. Whatever it records travels to the host, over processes and through
a saved state by the names of its fields; nothing else needs to know of it.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from ultraslow.probes.buffer import Record, Schedule, TensorGroups, Values
from ultraslow.probes.distributed import Processes, local
from ultraslow.probes.norms import Blockwise

_T = TypeVar("_T")


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Arguments:
        module: the model, without a wrapper that needs all processes at once.
        parameters: its trainable parameters by name; their order is the order of all results.
        initial: w0, this process's part of each, perhaps elsewhere than the weights; overwritten
            when a recording goes on.
        processes: that train together.
        groups: tensors that are recorded as one; None where each is by itself.
    """

    module: nn.Module
    parameters: Mapping[str, nn.Parameter]
    initial: Sequence[Tensor | Blockwise]
    processes: Processes
    groups: TensorGroups | None = None

    def weights(self) -> list[Tensor]:
        """This process's part of the weights w at this moment."""
        return [local(parameter).detach() for parameter in self.parameters.values()]

    @property
    def device(self) -> torch.device:
        """Of the weights, the first of them where they are on several."""
        return local(next(iter(self.parameters.values()))).device

    def shared(self, whole: Tensor) -> Tensor:
        """This process's part of a value that all processes know: what they hold adds up to it."""
        return whole * (self.processes.copies / self.processes.size)

    def filled(self, value: float, *shape: int) -> Tensor:
        """A float64 tensor on the device of the weights, `(tensor,)` where no shape is given."""
        shape = shape or (len(self.initial),)
        return torch.full(shape, value, dtype=torch.float64, device=self.device)


class Quantity:
    """One quantity of one run; the methods do nothing where a quantity has nothing to do.

    `snapshot` gives the values of a record. A tensor among them is this process's part: parts are
    added over the processes at the next flush, without waiting for the device now (of a value
    that all know, `Subject.shared` is the part). An array is on the host already, and rank 0's is
    recorded. A field that `FIELDS` declares as a sum over the window holds what was added since
    the snapshot before; when a state is saved between two records, that is carried to the next.

    What fails is switched off with one warning, see `Quantities`; its fields are NaN from then on,
    of the same shapes, as other processes expect them.
    """

    fields: ClassVar[tuple[str, ...]]
    """Names of what it records; a recording that has the first of them was made with it."""
    called: ClassVar[str]
    """What a warning calls it."""
    at_close: ClassVar[bool] = False
    """Whether it is measured, on the host, at the last iteration whatever its schedule says."""

    of_weights: ClassVar[bool] = False
    """Whether it is of the weights alone and read again where they change after the step."""

    schedule: Schedule | None = None  # iterations of its own; None to measure at every record
    failed = ""  # why it was switched off

    def __init__(self, subject: Subject, settings: Any = None) -> None:
        """Begin with the weights of this moment.

        Arguments:
            subject: what is measured.
            settings: the user's, of a quantity that has any.
        """
        self.subject = subject

    def axes(self) -> dict[str, Any]:
        """Coordinates of the recording along which its fields lie, and what else never changes."""
        return {}

    def attributes(self) -> dict[str, str]:
        """What the recording says of how it was measured."""
        return {}

    def begin(self, folder: Path, iteration: int, *, resumed: bool) -> dict[str, str]:
        """Begin to measure, when w0 is known; all processes call it.

        Arguments:
            folder: the live folder of the recording.
            iteration: 0 or, of a run that goes on, that of its last update.
            resumed: whether it goes on.

        Returns:
            Attributes of the recording.
        """
        return {}

    def update(self) -> None:
        """An update was committed; called after each, and so never waits for the device."""

    def snapshot(self, iteration: int) -> Values:
        """Values of a record at this iteration by field; all processes call it."""
        raise NotImplementedError

    def nothing(self) -> Values:
        """NaN in place of a snapshot; one number a tensor unless a quantity says otherwise."""
        return {name: self.subject.filled(torch.nan) for name in self.fields}

    def hold(self) -> None:
        """A state of the recorder is saved: a run may go on from here."""

    def stop(self) -> None:
        """It was switched off, and may let go of what it holds."""


class WindowSum(Quantity):
    """A number for each tensor and update, added over the updates of a window."""

    def __init__(self, subject: Subject, settings: Any = None) -> None:
        """Begin a sum of nothing."""
        super().__init__(subject, settings)
        self._sum = subject.filled(0.0)

    def of_update(self) -> Tensor:
        """This process's part of the number for the update just committed `(tensor,)`, float64."""
        raise NotImplementedError

    def update(self) -> None:
        """Add the update just committed."""
        self._sum = self._sum + self.of_update()

    def snapshot(self, iteration: int) -> Values:
        """The sum since the last snapshot."""
        total, self._sum = self._sum, torch.zeros_like(self._sum)
        return {self.fields[0]: total}


class Quantities:
    """The quantities of a run, in the order of the table.

    This is where a failure ends: the quantity is switched off with one warning and is NaN from
    then on, and training goes on.
    """

    def __init__(self, quantities: Mapping[str, Quantity]) -> None:
        """Take over quantities by name."""
        self.noted: Callable[[str], None] = lambda _: None  # told of each that fails
        self._all = dict(quantities)
        # At every update, so those for which it is nothing are not asked.
        own = (one for one in quantities.values() if type(one).update is not Quantity.update)
        self._updated = tuple(own)
        self._measured_at: dict[str, int] = {}  # the last iteration of each

    @property
    def names(self) -> frozenset[str]:
        """Of all, those that were switched off included."""
        return frozenset(self._all)

    def axes(self) -> dict[str, Any]:
        """Coordinates of the recording."""
        return _merged(quantity.axes() for quantity in self._all.values())

    def attributes(self) -> dict[str, str]:
        """Attributes of the recording."""
        return _merged(quantity.attributes() for quantity in self._all.values())

    def begin(self, folder: Path, iteration: int, *, resumed: bool) -> dict[str, str]:
        """Begin, see `Quantity.begin`; further attributes of the recording."""
        return _merged(
            quantity.begin(folder, iteration, resumed=resumed) for quantity in self._all.values()
        )

    def update(self) -> None:
        """An update was committed."""
        for quantity in self._updated:
            if not quantity.failed:
                self._guarded(quantity, quantity.update)

    def due(self, iteration: int) -> bool:
        """Whether one is to be measured at this iteration by its own schedule."""
        for quantity in self._all.values():
            if quantity.schedule is not None and _is_due(quantity, iteration):
                return True
        return False

    def beyond(self, iteration: int) -> list[str]:
        """Names of those that the user asked for after this iteration."""
        schedules = {name: quantity.schedule for name, quantity in self._all.items()}
        return [name for name, times in schedules.items() if times and times.beyond(iteration)]

    def snapshot(self, iteration: int, *, record: bool = True) -> Values:
        """Values at this iteration by field; all processes call it.

        Arguments:
            iteration: of the last update.
            record: whether they make a record; else those on schedules of their own are left out.
        """
        return _merged(
            self._measured(name, iteration)
            if quantity.schedule is None or _is_due(quantity, iteration)
            else quantity.nothing()
            for name, quantity in self._all.items()
            if record or quantity.schedule is None
        )

    def again(self, iteration: int) -> Values:
        """What a record holds of the weights alone, from those of this moment."""
        return _merged(
            self._measured(name, iteration)
            for name, quantity in self._all.items()
            if quantity.of_weights
        )

    def at_close(self, iteration: int) -> Record:
        """Values that the last record shall have and has not, whatever the schedule says."""
        values = _merged(
            self._measured(name, iteration)
            for name, quantity in self._all.items()
            if quantity.at_close and self._measured_at.get(name) != iteration
        )
        return {name: value for name, value in values.items() if not isinstance(value, Tensor)}

    def waits_for_close(self, iteration: int) -> bool:
        """Whether something is measured at the close that was not at this iteration."""
        return any(
            quantity.at_close and not quantity.failed and self._measured_at.get(name) != iteration
            for name, quantity in self._all.items()
        )

    def hold(self) -> None:
        """A state of the recorder is saved."""
        for quantity in self._all.values():
            quantity.hold()

    def _measured(self, name: str, iteration: int) -> Values:
        quantity = self._all[name]
        self._measured_at[name] = iteration
        values = None
        if not quantity.failed:
            values = self._guarded(quantity, lambda: quantity.snapshot(iteration))
        return quantity.nothing() if values is None else values

    def _guarded(self, quantity: Quantity, action: Callable[[], _T]) -> _T | None:
        """What the action returns; None where it fails, which switches the quantity off."""
        try:
            return action()
        except Exception as error:
            quantity.failed = repr(error)
            quantity.stop()
            told = f"the {quantity.called} failed and was switched off: {error!r}"
            self.noted(told)
            warnings.warn(told, RuntimeWarning, stacklevel=4)
            return None


def _is_due(quantity: Quantity, iteration: int) -> bool:
    times = quantity.schedule
    return not quantity.failed and times is not None and times.due(iteration)


def _merged(parts: Iterable[Mapping[str, _T]]) -> dict[str, _T]:
    return {name: value for part in parts for name, value in part.items()}
