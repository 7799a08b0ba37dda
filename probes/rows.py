"""The row of an update: what is known of it on this process when the optimizer has stepped."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from .distance import square
from .pending import Row
from .precision import scale_of, witness
from .processes import local
from .taps import GradientTap, Seen
from .units import DeclaredUnits


class RowReader:
    """Reads a row at every update; nothing waits for the device."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Sequence[torch.nn.Parameter],
        *,
        tap: GradientTap | None,
        units: DeclaredUnits,
        scaler: torch.amp.GradScaler | None,
        skipped: int,
    ) -> None:
        """Go on with so many skipped steps.

        Arguments:
            optimizer: whose steps are updates.
            parameters: in the order of all results.
            tap: sees the gradients; None where noise is not measured.
            units: what the user declares of them.
            scaler: of mixed precision.
            skipped: steps skipped since the last update.
        """
        self.skipped = skipped
        self._optimizer = optimizer
        self._parameters = list(parameters)
        self._tap = tap
        self._units = units
        self._scaler = scaler
        self._witness = witness([p.numel() for p in parameters])
        self._clipped_sq = self._nothing()

    @property
    def units(self) -> int:
        """Units seen of the update in the making."""
        return 0 if self._tap is None else self._tap.units

    def before_step(self) -> None:
        """See what clipping made of the witness's gradient."""
        gradient = self._parameters[self._witness].grad
        if self._tap is not None and gradient is not None:
            self._clipped_sq = square(local(gradient))

    def is_void(self) -> bool:
        """Whether a fused optimizer was called but skipped the step, which only the device knows.

        Reading it waits for the device; other optimizers are not called at all for a skipped step.
        """
        found = getattr(self._optimizer, "found_inf", None)
        if found is None or not float(found):
            return False
        self.skipped += 1
        if self._tap is not None:
            self._tap.take()
        return True

    def read(self) -> tuple[Row, float]:
        """The row of the update that was just committed, and the seconds its tap has taken."""
        rate = learning_rate(self._optimizer)
        # A scheduler changes a learning rate on the device in place.
        rate = rate.detach().clone() if isinstance(rate, Tensor) else rate
        scale = scale_of(self._scaler)
        seen = self._seen()
        skipped, self.skipped = self.skipped + seen.discarded, 0
        row = Row(
            unit_sq=seen.unit_sq,
            total_sq=seen.total_sq,
            clip=torch.stack([seen.total_sq[self._witness], self._clipped_sq]),
            shares=self._units.take(seen.units),
            learning_rate=rate,
            loss_scale=float("nan") if scale is None else scale.double(),
            skipped=skipped,
        )
        return row, seen.seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Backward passes within are none of the training's."""
        if self._tap is not None:
            self._tap.paused = True
        try:
            yield
        finally:
            if self._tap is not None:
                self._tap.paused = False

    def close(self) -> None:
        """Remove the tap."""
        if self._tap is not None:
            self._tap.close()

    def group_rates(self) -> Tensor | None:
        """Learning rates of all parameter groups on the device; None where there is one group."""
        rates = [group["lr"] for group in self._optimizer.param_groups]
        if len(rates) == 1:
            return None
        zero = torch.zeros((), dtype=torch.float64, device=self._parameters[0].device)
        return torch.stack([zero + rate for rate in rates])

    def _seen(self) -> Seen:
        if self._tap is None:
            nothing = self._nothing().expand(len(self._parameters))
            return Seen(1, nothing, nothing, 0, 0.0)
        return self._tap.take()

    def _nothing(self) -> Tensor:
        device = self._parameters[0].device
        return torch.full((), torch.nan, dtype=torch.float64, device=device)


def learning_rate(optimizer: torch.optim.Optimizer) -> float | Tensor:
    """Learning rate of the first parameter group."""
    return optimizer.param_groups[0]["lr"]
