"""Rows of raw sums that wait on the device for the next flush.

Reading one number from an accelerator stalls it. So updates append device scalars, and a flush
moves all of them: one vector, added over processes in one collective and copied to the host in one
piece. What several processes hold alike is divided by the number of copies before it is added.

On its way to the host the vector is summed beside the training where that can be. An accelerator
works through its stream while the host runs ahead. A sum and a copy that wait in the training's
stream keep the host until all of the work before them is done, and then the accelerator has
nothing to do. In a stream of their own they are under way while the next update is queued, and are
there when it has been.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultraslow.diffusion.recording import FIELDS
from ultraslow.probes.distributed import Processes, in_place, of_distances
from ultraslow.probes.gradients import WITNESSES
from ultraslow.probes.norms import Squares

from .averaged import Averages, averages
from .groups import TensorGroups
from .units import UNIT_COLUMNS, UnitShares
from .window import Array, Snapshot, Updates, Values

# Columns of a row beside the squares of S and Big: see `Buffer._rows`.
ROW_COLUMNS = 5 + len(UNIT_COLUMNS) + 2 * WITNESSES
_WEIGHTS = ("distance_sq", "weight_sq")
# Squares of two witnesses that were clipped by one factor differ by rounding only; the second is
# of gradients in low precision.
_ONE_FACTOR, _COARSE = 1.0001, 1.02
# A square that lacks less was not clipped: it was taken of the same values in another order.
_UNCLIPPED = 1 - 1e-6


class Row(NamedTuple):
    """One committed update on this process.

    Arguments:
        unit_sq: S of this process's units `(tensor,)`.
        total_sq: Big of this process's part of the gradient `(tensor,)`.
        before_sq: Big as the tap saw it, before clipping `(tensor,)`.
        clipped_sq: squared norms of witnesses' gradients when the optimizer began to step, of each
            once `(distinct,)`.
        places: of each witness in the one and in the other `(2, witness)`, the same at all rows.
        shares: what is known of the units.
        learning_rate: of the first parameter group.
        loss_scale: of mixed precision; NaN where there is none.
        skipped: optimizer steps skipped before this one.
        averaged: of gradients that are averaged by hand, projections `(3, projection)` of this
            process's own, of those the optimizer used, and the squares of these; Big then is of
            what the optimizer used.
    """

    unit_sq: Tensor
    total_sq: Tensor
    before_sq: Tensor
    clipped_sq: Squares
    places: Tensor
    shares: UnitShares
    learning_rate: float | Tensor
    loss_scale: float | Tensor
    skipped: int
    averaged: Tensor | None = None

    @property
    def clip(self) -> Tensor:
        """Squared norms of the witnesses' gradients before and after clipping `(2, witness)`."""
        return _clip([self])[0]


@dataclass(frozen=True)
class Reduced:
    """Everything that waited, on the host and summed over processes; `fault` is to be told.

    `added` says that the training loop adds gradients up over processes, and `alike` is a number
    of the weights of each, at the last snapshot; of none where nothing was measured.
    """

    updates: Updates
    snapshots: list[Snapshot]
    update_seconds: float
    fault: str = ""
    added: bool = False
    alike: Array = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Part:
    """What one process has to add to the sums over all, in a form that can be sent.

    Arguments:
        rows: updates.
        columns: numbers of each.
        snapshots: numbers of each, by iteration.
        values: all of them, `rows` by `columns` and then those of the snapshots.
        closes: whether its process has come to the end of its recording.
    """

    rows: int
    columns: int
    snapshots: Mapping[int, int]
    values: Array
    closes: bool

    def to_bytes(self) -> bytes:
        """The part as it is sent."""
        told = json.dumps([self.rows, self.columns, list(self.snapshots.items()), self.closes])
        return told.encode() + b"\n" + self.values.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Part":
        """The part that was sent."""
        told, _, values = content.partition(b"\n")
        rows, columns, snapshots, closes = json.loads(told)
        return cls(rows, columns, dict(snapshots), np.frombuffer(values, dtype="<f8"), closes)

    def of(self, rows: int, iterations: Sequence[int]) -> Array:
        """The numbers of the first updates, and of the snapshots at these iterations."""
        lengths = list(self.snapshots.values())
        cuts = np.cumsum([self.rows * self.columns, *lengths])[:-1]
        _, *measured = np.split(self.values, cuts) if lengths else [self.values]
        found = dict(zip(self.snapshots, measured, strict=True))
        return np.concatenate(
            [self.values[: rows * self.columns], *(found[at] for at in iterations)]
        )


@dataclass
class Buffer:
    """Updates and snapshots since the last flush.

    `losses` has one more entry than there are updates: the last is of the update in the making.
    Those that are on the host already are numbers.
    `coarse` says whether gradients are in less than single precision, `groups` which tensors are
    recorded as one, and `recorded` how many numbers that makes of those of all tensors.
    """

    device: torch.device
    recorded: int
    rows: list[Row] = field(default_factory=list)
    losses: list[list[Tensor | float]] = field(default_factory=lambda: [[]])
    snapshots: list[Snapshot] = field(default_factory=list)
    coarse: bool = False
    groups: TensorGroups | None = None

    @classmethod
    def of(cls, weights: Sequence[Tensor], groups: TensorGroups | None = None) -> "Buffer":
        """What waits of a run of these weights, which is nothing yet."""
        coarse = any(one.dtype.itemsize < torch.float32.itemsize for one in weights)
        recorded = len(weights if groups is None else groups.names)
        return cls(weights[0].device, recorded, coarse=coarse, groups=groups)

    def add(self, row: Row) -> None:
        """Append a committed update."""
        self.rows.append(row)
        self.losses.append([])

    def observe(self, loss: Tensor | float, *, making: bool) -> None:
        """Append a loss, without waiting for it.

        Arguments:
            loss: one value.
            making: whether it belongs to the update in the making, as it does before the step, or
                else to the one just committed.

        Raises:
            TypeError: for what is no number.
            ValueError: for more than one value, or a complex one.
        """
        value: Tensor | float
        if isinstance(loss, Tensor) and _is_on_host(loss):
            value = float(loss.detach().numpy().item())
        else:
            value = loss if type(loss) is float else self._value(loss)
        self.losses[-1 if making or not self.rows else -2].append(value)

    def _value(self, loss: object) -> Tensor:
        """A loss, which is not waited for."""
        value = loss if isinstance(loss, Tensor) else _as_tensor(loss)
        if value.numel() != 1 or value.is_complex():
            found = f"{value.dtype} of shape {tuple(value.shape)}"
            raise ValueError(f"loss: found {found}, expected one real value")
        return value.detach().to(self.device, torch.float64, copy=True).reshape(())

    def awaits(self, iteration: int) -> bool:
        """Whether the last snapshot is of this iteration and still waits."""
        return bool(self.snapshots) and self.snapshots[-1].iteration == iteration

    def amend(self, iteration: int, values: Values) -> None:
        """Put values into the last snapshot, which is of this iteration."""
        last = self.snapshots[-1]
        if last.iteration == iteration:
            self.snapshots[-1] = replace(last, values={**last.values, **values})

    def emptied(self) -> "Buffer":
        """What waits after a flush: nothing but the losses of the update in the making."""
        return replace(self, rows=[], losses=self.losses[-1:], snapshots=[])

    def depart(self, processes: Processes, *, seconds: float) -> "InFlight":
        """Begin to sum over processes and to copy to the host.

        Arguments:
            processes: the processes that train together; all of them call this at the same
                iteration.
            seconds: time since the last flush on this process.
        """
        measured = self._measured(processes, self.snapshots)
        clocks = [self._moved(processes), self._vector([seconds])]
        parts = [self._rows(processes), *measured, *clocks]
        vector = torch.cat([part.flatten() for part in parts])
        host, arrival = _sent(vector, processes)
        return InFlight(
            vector=vector,
            host=host,
            arrival=arrival,
            lengths=[part.numel() for part in parts],
            buffer=self,
            size=processes.size,
        )

    def arrived(self, total: Array, processes: Processes) -> "InFlight":
        """What waited, whose sum over processes is on the host already; see `depart`.

        Arguments:
            total: the sum, in the order of `Part.values`.
            processes: that train together.
        """
        lengths = [value.numel() for value in self._measured(processes, self.snapshots)]
        host = torch.from_numpy(np.append(total, 0.0))  # no weights are compared any more
        return InFlight(
            vector=host,
            host=host,
            arrival=None,
            lengths=[len(total) - sum(lengths), *lengths, 0, 1],
            buffer=self,
            size=processes.size,
        )

    def part(self, processes: Processes, *, closes: bool) -> Part:
        """This process's part of all that waits, on the host."""
        measured = [self._measured(processes, [snapshot]) for snapshot in self.snapshots]
        rows = self._rows(processes)
        vector = torch.cat([part.flatten() for part in (rows, *chain(*measured))])
        return Part(
            rows=len(self.rows),
            columns=rows.shape[-1] if self.rows else 0,
            snapshots={
                snapshot.iteration: sum(value.numel() for value in values)
                for snapshot, values in zip(self.snapshots, measured, strict=True)
            },
            values=vector.cpu().numpy(),
            closes=closes,
        )

    def cut(self, parts: Sequence[Part], start: int) -> "tuple[Buffer, Array]":
        """The updates and snapshots that all processes have, and the sums over their parts.

        Arguments:
            parts: of all processes.
            start: the last iteration before what waits.
        """
        rows = min(part.rows for part in parts)
        common = set.intersection(*(set(part.snapshots) for part in parts))
        kept = [s for s in self.snapshots if s.iteration in common and s.iteration <= start + rows]
        at = [snapshot.iteration for snapshot in kept]
        total: Array = np.sum([part.of(rows, at) for part in parts], axis=0)
        losses = self.losses[: rows + 1]
        return replace(self, rows=self.rows[:rows], losses=losses, snapshots=kept), total

    def _rows(self, processes: Processes) -> Tensor:
        """`(update, column)`: S, Big, clip, loss, unit shares, learning rate, loss scale."""
        if not self.rows:
            return self._vector([])
        shares = [row.shares.columns() for row in self.rows]
        copies, size = processes.copies, processes.size
        return torch.cat(
            [
                self._added(torch.stack([row.unit_sq for row in self.rows])),
                self._added(torch.stack([row.total_sq for row in self.rows])) / copies,
                _clip(self.rows).flatten(1) / copies,
                self._loss_columns(),
                self._vector(shares),
                self._column([row.learning_rate for row in self.rows]) / size,
                self._column([row.loss_scale for row in self.rows]) / size,
                *self._averaged(copies),
            ],
            dim=1,
        )

    def _averaged(self, copies: int) -> list[Tensor]:
        found = [row.averaged.flatten() for row in self.rows if row.averaged is not None]
        return [torch.stack(found) / copies] if len(found) == len(self.rows) else []

    def _loss_columns(self) -> Tensor:
        columns = torch.zeros(len(self.rows), 3, dtype=torch.float64, device=self.device)
        observed = [(row, loss) for row, losses in enumerate(self.losses[:-1]) for loss in losses]
        if observed:
            rows = torch.tensor([row for row, _ in observed], device=self.device)
            losses = self._column([loss for _, loss in observed])[:, 0]
            finite = torch.isfinite(losses)
            entries = torch.stack([losses.where(finite, losses.new_zeros(())), finite, ~finite], 1)
            columns.index_add_(0, rows, entries)
        return columns

    def _measured(self, processes: Processes, snapshots: Sequence[Snapshot]) -> list[Tensor]:
        return [
            self._recorded(name, value) / processes.copies
            for snapshot in snapshots
            for name, value in snapshot.values.items()
            if isinstance(value, Tensor)
        ]

    def _recorded(self, name: str, value: Tensor) -> Tensor:
        """A value as it is recorded, which may be added up over groups of tensors."""
        return self._added(value) if FIELDS[name].dims[-1] == "tensor" else value

    def _added(self, values: Tensor) -> Tensor:
        return values if self.groups is None else self.groups.added(values)

    def _moved(self, processes: Processes) -> Tensor:
        """This process's part in a number of the weights of each, at the last snapshot."""
        squares = [s.values.get(n) for s in self.snapshots[-1:] for n in _WEIGHTS]
        found = [one for one in squares if isinstance(one, Tensor)]
        return in_place(of_distances(*found), processes) if found else self._vector([])

    def _vector(self, values: Sequence[float] | Sequence[tuple[float, ...]]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self.device)

    def _column(self, values: Sequence[float | Tensor]) -> Tensor:
        """`(update, 1)`; a scheduler may keep its learning rate on the device."""
        if any(isinstance(value, Tensor) for value in values):
            zero = self._vector([0.0])[0]
            column = torch.stack([zero + value for value in values])
        else:
            column = self._vector([float(value) for value in values])
        return column[:, None]


@dataclass(frozen=True)
class InFlight:
    """What waited, on its way to the host, which all processes have begun at the same update.

    Arguments:
        vector: of all numbers, on their device. It is kept until they have arrived: memory that
            was given back would be the training's stream's again.
        host: their sum over processes, once it has arrived.
        arrival: after which it can be read; None where it can be read now.
        lengths: of the parts it consists of.
        buffer: what they were.
        size: number of processes, W.
    """

    vector: Tensor
    host: Tensor
    arrival: torch.cuda.Event | None
    lengths: Sequence[int]
    buffer: Buffer
    size: int

    @property
    def is_beside(self) -> bool:
        """Whether it is under way while training goes on."""
        return self.arrival is not None

    def has_arrived(self) -> bool:
        """Whether nobody needs to wait."""
        return self.arrival is None or self.arrival.query()

    def wait(self) -> Array:
        """The sum, on the host."""
        if self.arrival is not None:
            self.arrival.synchronize()
        host: Array = self.host.numpy()
        return host

    def land(self, *, added: bool = False) -> Reduced:
        """The updates, the snapshots, and the mean time of an update.

        Arguments:
            added: whether earlier updates have shown that gradients are added up over processes.
        """
        rows, *measured, alike, total = np.split(self.wait(), np.cumsum(self.lengths)[:-1])
        count = len(self.buffer.rows)
        mean_seconds = float(total[0]) / self.size / max(count, 1)
        columns = 2 * self.buffer.recorded + ROW_COLUMNS
        table = rows.reshape(count, len(rows) // count if count else columns)
        updates, fault = self._updates(table[:, :columns]), ""
        if table.shape[1] > columns:
            found = _projected(updates, table[:, columns:], self.size, added=added)
            updates, fault = _before_clipping(updates, found, self.size), found.fault
            added = found.added
        return Reduced(updates, self._snapshots(measured), mean_seconds, fault, added, alike)

    def _updates(self, rows: Array) -> Updates:
        tensors = self.buffer.recorded
        rest = rows[:, 2 * tensors + 2 * WITNESSES :].T
        loss_sum, losses, nonfinite, *sums, rate, scale = rest
        squares = rows[:, 2 * tensors :][:, : 2 * WITNESSES]
        clip_factor, uneven = _clipping(squares, coarse=self.buffer.coarse)
        unknown = np.full(len(rows), np.nan)  # what units hold is judged where the past is known
        return Updates(
            unit_sq=rows[:, :tensors],
            total_sq=rows[:, tensors : 2 * tensors],
            units=sums[0],
            sums=np.stack(sums, axis=1),
            share=unknown,
            u=unknown,
            v=unknown,
            samples=unknown,
            left_out=np.zeros(len(rows), dtype=bool),
            loss=_ratio(loss_sum, losses),
            nonfinite_losses=nonfinite,
            learning_rate=rate,
            clip_factor=clip_factor,
            uneven_clipping=uneven,
            loss_scale=scale,
            skipped=np.array([row.skipped for row in self.buffer.rows], dtype=np.int64),
        )

    def _snapshots(self, measured: list[Array]) -> list[Snapshot]:
        """The vectors of all snapshots, in the order in which they left, back in their places."""
        vectors = iter(measured)
        return [
            replace(
                snapshot,
                values={
                    name: next(vectors).reshape((-1,) if value.ndim == 1 else value.shape)
                    if isinstance(value, Tensor)
                    else value
                    for name, value in snapshot.values.items()
                },
            )
            for snapshot in self.buffer.snapshots
        ]


def _projected(updates: Updates, columns: Array, size: int, *, added: bool) -> Averages:
    """What projections tell of gradients that were averaged, or added up, by hand."""
    units = updates.sums[:, UNIT_COLUMNS.index("units")]
    weighted = updates.sums[:, UNIT_COLUMNS.index("weighted")] == units
    projections = columns.reshape(len(columns), 3, -1)
    return averages(projections, size, units=units, weighted=weighted, added=added)


def _before_clipping(updates: Updates, found: Averages, size: int) -> Updates:
    """Updates whose gradients were averaged by hand, with Big as it was before clipping.

    Where they were added up, S lacks that the taps divide by the number of processes. Where the
    gradient is neither it is unknown, as is the update's number of units.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        total_sq = updates.total_sq / found.multiple[:, None] ** 2
    return replace(
        updates,
        unit_sq=updates.unit_sq * (size**2 if found.added else 1),
        total_sq=total_sq,
        units=np.where(found.known, updates.units, 0.0),
        sums=np.where(found.known[:, None], updates.sums, 0.0),
        clip_factor=found.clip_factor,
        uneven_clipping=np.zeros(len(updates), dtype=bool),  # of which the fault tells
    )


def _sent(vector: Tensor, processes: Processes) -> tuple[Tensor, torch.cuda.Event | None]:
    """The host's copy of the sum over processes, and the event after which it can be read.

    The stream of an accelerator begins when the training's has come to this point, as the vector
    is made there. Without an accelerator the copy can be read at once.
    """
    if not vector.is_cuda:
        return processes.add(vector).cpu(), None
    stream = torch.cuda.Stream(vector.device)
    stream.wait_stream(torch.cuda.current_stream(vector.device))
    with torch.cuda.stream(stream):
        # Not to be waited for, and so into memory that stays where it is.
        host = processes.add(vector).to("cpu", non_blocking=True)
        return host, stream.record_event()


def _clip(rows: Sequence[Row]) -> Tensor:
    """Squared norms of the witnesses' gradients before and after clipping `(row, 2, witness)`."""
    before, after = rows[0].places
    squares = torch.stack([row.before_sq for row in rows]).index_select(1, before)
    clipped = _stacked([row.clipped_sq for row in rows]).index_select(1, after)
    return torch.stack([squares, clipped], dim=1)


def _stacked(rows: Sequence[Squares]) -> Tensor:
    """Squares of each row, those that are on the host already among them."""
    if any(isinstance(row, Tensor) for row in rows):
        return torch.stack([torch.as_tensor(row, dtype=torch.float64) for row in rows])
    return torch.tensor(rows, dtype=torch.float64)


def _clipping(squares: Array, *, coarse: bool) -> tuple[Array, NDArray[np.bool_]]:
    """The clip factor of the witnesses that tell one, NaN where these differ; and where they do.

    Arguments:
        squares: of the witnesses before clipping, then after it `(update, 2·witness)`.
        coarse: whether gradients are in low precision.
    """
    margin = _COARSE if coarse else _ONE_FACTOR
    ratios = _ratio(squares[:, WITNESSES:], squares[:, :WITNESSES])
    told = np.isfinite(ratios).argmax(axis=1)  # a tensor that took no part tells nothing
    first = np.take_along_axis(ratios, told[:, None], axis=1)
    with np.errstate(invalid="ignore"):
        far = (ratios > first * margin) | (ratios * margin < first)
        rounded = (first > _UNCLIPPED) & (first < margin)  # no clipping makes gradients larger
    uneven: NDArray[np.bool_] = np.any(far, axis=1)
    factors = np.sqrt(np.where(rounded, 1.0, first)[:, 0])
    return np.where(uneven, np.nan, factors), uneven


def _ratio(above: Array, below: Array) -> Array:
    """NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore"):  # infinite gradients, whose ratio is unknown
        return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _is_on_host(loss: Tensor) -> bool:
    """Whether a loss is one value that is read without waiting for anything."""
    plain = type(loss) is Tensor and loss.is_cpu and loss.dtype is torch.float32
    return plain and loss.numel() == 1


def _as_tensor(loss: object) -> Tensor:
    try:
        return torch.as_tensor(loss)
    except (RuntimeError, TypeError, ValueError) as error:
        found = f"loss: found {type(loss).__name__}, expected a number or a tensor of one value"
        raise TypeError(found) from error
