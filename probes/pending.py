"""Rows of raw sums that wait on the device for the next flush.

Reading one number from an accelerator stalls it. So updates append device scalars, and a flush
moves all of them: one collective to add over processes, one copy to the host.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .processes import Processes
from .units import UnitShares
from .updates import Measurement, Updates, unit_weights


@dataclass(frozen=True)
class Mark:
    """A measurement of the weights, and the host's clocks when it was taken."""

    iteration: int
    squares: Tensor
    wall_time: float
    probe_seconds: float


@dataclass(frozen=True)
class Reduced:
    """Everything that waited, on the host and summed over processes."""

    updates: Updates
    measurements: list[Measurement]
    update_seconds: float


@dataclass
class Pending:
    """Updates and marks since the last flush; `losses` has one more entry than there are updates.

    The last entry of `losses` belongs to the update in the making.
    """

    device: torch.device
    tensors: int
    unit_sq: list[Tensor] = field(default_factory=list)
    total_sq: list[Tensor] = field(default_factory=list)
    shares: list[UnitShares] = field(default_factory=list)
    learning_rates: list[float | Tensor] = field(default_factory=list)
    losses: list[list[Tensor]] = field(default_factory=lambda: [[]])
    marks: list[Mark] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.unit_sq)

    def add_update(
        self, unit_sq: Tensor, total_sq: Tensor, shares: UnitShares, learning_rate: float | Tensor
    ) -> None:
        """Append a committed update."""
        self.unit_sq.append(unit_sq)
        self.total_sq.append(total_sq)
        self.shares.append(shares)
        # A tensor learning rate is changed in place by its scheduler.
        self.learning_rates.append(
            learning_rate.detach().clone() if isinstance(learning_rate, Tensor) else learning_rate
        )
        self.losses.append([])

    def reduce(
        self, processes: Processes, *, seconds: float, weighted: bool, sized: bool, batch_size: int
    ) -> Reduced:
        """Sum over processes, copy to the host.

        Arguments:
            processes: the processes that train together; all of them call this at the same
                iteration.
            seconds: time since the last flush on this process; its mean over processes comes back,
                per update.
            weighted: whether weights of units were declared.
            sized: whether sizes of units were declared.
            batch_size: samples in an update, M.

        Returns:
            The updates, the measurements of the weights, and the mean time of an update.
        """
        added = processes.add(self._addends(seconds))
        host = torch.cat([added, self._replicated()]).cpu().numpy()
        count, width = len(self), self.tensors
        rows = host[: added.numel() - 1].reshape(count, width + 7)
        total_sq, rates, squares = np.split(
            host[added.numel() :], [count * width, count * (width + 1)]
        )
        loss_sum, losses, nonfinite, units, weight_sq, over_size, samples = rows[:, width:].T
        u, v = unit_weights(
            units, weight_sq, over_size, weighted=weighted, sized=sized, batch_size=batch_size
        )
        updates = Updates(
            unit_sq=rows[:, :width],
            total_sq=total_sq.reshape(count, width),
            units=units,
            u=u,
            v=v,
            samples=samples if sized else np.full(count, float(batch_size)),
            loss=np.divide(loss_sum, losses, out=np.full(count, np.nan), where=losses > 0),
            nonfinite_losses=nonfinite,
            learning_rate=rates,
        )
        mean_seconds = float(host[added.numel() - 1]) / processes.size
        measurements = [
            Measurement(mark.iteration, square, mark.wall_time, mark.probe_seconds)
            for mark, square in zip(self.marks, squares.reshape(-1, 2, width), strict=True)
        ]
        return Reduced(updates, measurements, mean_seconds / max(count, 1))

    def emptied(self) -> "Pending":
        """What waits after a flush: nothing but the losses of the update in the making."""
        return Pending(self.device, self.tensors, losses=self.losses[-1:])

    def _addends(self, seconds: float) -> Tensor:
        """Per update: S by tensor, loss sum, count and faults, unit shares; then `seconds`."""
        shares = [(s.units, s.weight_sq, s.weight_sq_over_size, s.samples) for s in self.shares]
        rows = torch.cat(
            [
                self._stack(self.unit_sq, self.tensors),
                self._loss_columns(),
                torch.tensor(shares, dtype=torch.float64, device=self.device).reshape(-1, 4),
            ],
            dim=1,
        )
        return torch.cat([rows.flatten(), rows.new_tensor([seconds])])

    def _loss_columns(self) -> Tensor:
        columns = torch.zeros(len(self), 3, dtype=torch.float64, device=self.device)
        observed = [(row, loss) for row, losses in enumerate(self.losses[:-1]) for loss in losses]
        if observed:
            rows = torch.tensor([row for row, _ in observed], device=self.device)
            losses = torch.stack([loss for _, loss in observed])
            finite = torch.isfinite(losses)
            entries = torch.stack([losses.where(finite, losses.new_zeros(())), finite, ~finite], 1)
            columns.index_add_(0, rows, entries.double())
        return columns

    def _replicated(self) -> Tensor:
        """What every process knows alike: Big by update and tensor, learning rates, marks."""
        rates = self.learning_rates
        if any(isinstance(rate, Tensor) for rate in rates):
            columns = [torch.as_tensor(r, dtype=torch.float64, device=self.device) for r in rates]
            rate_column = torch.stack(columns)
        else:
            rate_column = torch.tensor(rates, dtype=torch.float64, device=self.device)
        return torch.cat(
            [
                self._stack(self.total_sq, self.tensors).flatten(),
                rate_column.flatten(),
                self._stack([mark.squares for mark in self.marks], 2 * self.tensors).flatten(),
            ]
        )

    def _stack(self, rows: Sequence[Tensor], width: int) -> Tensor:
        if not rows:
            return torch.zeros(0, width, dtype=torch.float64, device=self.device)
        return torch.stack([row.flatten() for row in rows])
