"""The row of an update: what is known of it on this process when the optimizer has stepped."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from ultraslow.probes.distributed import Processes, local
from ultraslow.probes.gradients import WITNESSES, GradientTap, scale_of, unscaled, witnesses
from ultraslow.probes.norms import square, squares

from .averaged import Projections
from .buffer import Row
from .units import DeclaredUnits


class RowReader:
    """Reads a row at every update; nothing waits for the device."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Sequence[torch.nn.Parameter],
        *,
        tap: GradientTap,
        units: DeclaredUnits,
        scaler: torch.amp.GradScaler | None,
        skipped: int,
        warn: Callable[[str], None],
        by_hand: bool = False,
    ) -> None:
        """Go on with so many skipped steps.

        Arguments:
            optimizer: whose steps are updates.
            parameters: in the order of all results.
            tap: sees the gradients.
            units: what the user declares of them.
            scaler: of mixed precision.
            skipped: steps skipped since the last update.
            warn: is told of what happens to the optimizer.
            by_hand: whether the training loop averages gradients over processes itself.
        """
        self.skipped = skipped
        self._optimizer = optimizer
        self._parameters = list(parameters)
        self._tap = tap
        self._units = units
        self._scaler = scaler
        self._warn = warn
        self._witnesses = witnesses(
            [p.numel() for p in parameters], _groups(optimizer, parameters)
        )
        self._clipped_sq = self._nothing().expand(WITNESSES)
        self._projections: Projections | None = None
        self._averaged: tuple[Tensor, Tensor] | None = None  # squares, projections
        if by_hand:
            self._projections = Projections([self._parameters[i] for i in self._witnesses])
            tap.ended = partial(self._pass_ended, self._projections)
        self._groups = len(optimizer.param_groups)
        self._known = {id(p) for p in (*parameters, *_trainable(optimizer))}

    @property
    def units(self) -> int:
        """Units of the update in the making, one at least once there is such an update."""
        return max(self._tap.units, int(self._tap.making))

    def before_step(self) -> None:
        """See what clipping made of the witnesses' gradients; unknown where a closure does."""
        gradients = {i: self._parameters[i].grad for i in self._witnesses if self.units}
        seen = {i: local(g) for i, g in gradients.items() if g is not None}
        found = dict(zip(seen, squares(list(seen.values())).unbind(), strict=True))
        nothing = self._nothing()
        clipped_sq = torch.stack([found.get(i, nothing).to(nothing) for i in self._witnesses])
        self._clipped_sq = clipped_sq / unscaled(self._optimizer) ** 2
        if self._projections is not None:
            self._averaged = self._read_averaged(self._projections)

    def _pass_ended(self, projections: Projections) -> None:
        scale = scale_of(self._scaler)
        projections.pass_ended(1.0 if scale is None else scale)

    def _read_averaged(self, projections: Projections) -> tuple[Tensor, Tensor]:
        """Squares of the gradients that the optimizer uses `(tensor,)`, and projections."""
        zero = torch.zeros((), dtype=torch.float64, device=self._parameters[0].device)
        found = [zero if p.grad is None else square(p.grad).to(zero) for p in self._parameters]
        scale = unscaled(self._optimizer)
        return torch.stack(found) / scale**2, projections.before_step(scale)

    def is_void(self) -> bool:
        """Whether a fused optimizer was called but skipped the step, which only the device knows.

        Reading it waits for the device; other optimizers are not called at all for a skipped step.
        """
        found = getattr(self._optimizer, "found_inf", None)
        if found is None or not float(found):
            return False
        self.skipped += 1
        self._units.drop()
        self._tap.take()
        return True

    def read(self) -> tuple[Row, float]:
        """The row of the update that was just committed, and the seconds its tap has taken."""
        rate = first_learning_rate(self._optimizer)
        # A scheduler changes a learning rate on the device in place.
        rate = rate.detach().clone() if isinstance(rate, Tensor) else rate
        scale = scale_of(self._scaler)
        seen = self._tap.take()
        skipped, self.skipped = self.skipped + seen.discarded, 0
        averaged, self._averaged = self._averaged, None
        row = Row(
            unit_sq=seen.unit_sq,
            total_sq=seen.total_sq if averaged is None else averaged[0],
            clip=torch.stack([self._of_witnesses(seen.total_sq), self._clipped_sq]),
            shares=self._units.take(seen.units, seen.lost),
            learning_rate=rate,
            loss_scale=float("nan") if scale is None else scale.double(),
            skipped=skipped,
            averaged=None if averaged is None else averaged[1],
        )
        return row, seen.seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Backward passes within are none of the training's."""
        self._tap.paused = True
        try:
            yield
        finally:
            self._tap.paused = False

    def close(self) -> None:
        """Remove the tap."""
        self._tap.close()

    def group_rates(self, processes: Processes) -> dict[str, Tensor]:
        """This process's share in the learning rates of the parameter groups, on the device.

        The groups are those of the beginning; NaN for one that is gone. Nothing where there was
        one group. All processes have the same rates, and shares are added over all of them.
        """
        self._look_for_newcomers()
        if self._groups == 1:
            return {}
        rates = [group["lr"] for group in self._optimizer.param_groups[: self._groups]]
        rates += [math.nan] * (self._groups - len(rates))
        zero = torch.zeros((), dtype=torch.float64, device=self._parameters[0].device)
        share = processes.copies / processes.size
        return {"group_learning_rate": torch.stack([zero + rate for rate in rates]) * share}

    def _look_for_newcomers(self) -> None:
        """Warn once of parameters that train and did not when the probes were attached."""
        new = sum(id(p) not in self._known for p in _trainable(self._optimizer))
        if new:
            self._known |= {id(p) for p in _trainable(self._optimizer)}
            self._warn(
                f"optimizer: {new} parameters began to train after the probes were attached and "
                "are not recorded"
            )

    def _of_witnesses(self, squares: Tensor) -> Tensor:
        return torch.stack([squares[i] for i in self._witnesses])  # no index travels to the device

    def _nothing(self) -> Tensor:
        device = self._parameters[0].device
        return torch.full((), torch.nan, dtype=torch.float64, device=device)


def _groups(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> list[int]:
    """Number of the group of each parameter."""
    places = {
        id(p): index for index, group in enumerate(optimizer.param_groups) for p in group["params"]
    }
    return [places[id(p)] for p in parameters]


def _trainable(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    return (p for group in optimizer.param_groups for p in group["params"] if p.requires_grad)


def first_learning_rate(optimizer: torch.optim.Optimizer) -> float | Tensor:
    """Learning rate of the first parameter group."""
    return optimizer.param_groups[0]["lr"]
