"""The row of an update: what is known of it on this process when the optimizer has stepped."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from math import nan

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from ultraslow.probes.distributed import Processes, local
from ultraslow.probes.gradients import (
    GradientTap,
    Seen,
    scale_of,
    stepping_scaler,
    turn_of,
    unscaled,
    unscaling_counts,
    witnesses,
)
from ultraslow.probes.norms import Squares, short_squares, square
from ultraslow.probes.steps import Optimizers

from .averaged import Projections
from .buffer import Row
from .units import DeclaredUnits

_NO_PASS = (
    "no backward pass that adds to gradients was seen in the update, as where they are those of "
    "torch.autograd.grad, of torch.func or of compiled autograd; hand those of each unit to "
    "Recorder.gradients"
)
_MOVED = (
    "the weights moved between the backward passes of an update, as in sharpness-aware and "
    "quasi-Newton methods, so it has no one gradient"
)
# Steps at which it is looked for a gradient scaler that was not given.
_LOOKS = 16

# Times that gradients were cleared without a step, from which on something is wrong.
_CLEARED = 10
_NO_STEP = (
    f"gradients were cleared {_CLEARED} times in succession without a step of the optimizer that "
    "was given to attach, so no iteration has ended: give attach all optimizers that step, as "
    "[first, second]. Where weights are moved by hand, call the step of torch.optim.SGD(model."
    "parameters(), lr=0.0) after the gradients were cleared, and give attach that one"
)


class RowReader:
    """Reads a row at every update; nothing waits for the device."""

    def __init__(
        self,
        optimizers: Optimizers,
        parameters: Sequence[torch.nn.Parameter],
        *,
        tap: GradientTap,
        units: DeclaredUnits,
        scaler: torch.amp.GradScaler | None,
        skipped: int,
        warn: Callable[[str], None],
        by_hand: bool = False,
        names: Sequence[str] = (),
        tell_unknown: Callable[[str], None] = lambda _: None,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        """Go on with so many skipped steps.

        Arguments:
            optimizers: whose steps are updates.
            parameters: in the order of all results.
            tap: sees the gradients.
            units: what the user declares of them.
            scaler: of mixed precision.
            skipped: steps skipped since the last update.
            warn: is told of what happens to the optimizers.
            tell_unknown: is told why the gradient of an update is unknown.
            heard: called when a backward pass begins.
            by_hand: whether the training loop averages gradients over processes itself.
            names: of the parameters.
        """
        self.skipped = skipped
        self._optimizers = optimizers
        self._parameters = list(parameters)
        self._names = list(names)
        self._tap = tap
        self._units = units
        self._scaler = scaler
        self._warn = warn
        self._tell_unknown = tell_unknown
        self._heard = heard
        self._witnesses = witnesses([p.numel() for p in parameters], optimizers.tensor_slots)
        self._distinct = list(dict.fromkeys(self._witnesses))
        device = self._parameters[0].device
        again = [self._distinct.index(i) for i in self._witnesses]
        self._places = torch.tensor([self._witnesses, again], device=device)  # travels there once
        self._whole = not any(isinstance(p, DTensor) for p in self._parameters)
        self._nothing = torch.full((), torch.nan, dtype=torch.float64, device=device)
        self._unread = self._nothing.expand(len(self._distinct))
        self._clipped_sq: Squares = self._unread
        self._passes = 0  # that had ended when the step began
        self._changes = nan  # of gradients between their passes and the step
        self._looks = _LOOKS
        self._projections: Projections | None = None
        self._averaged: tuple[Tensor, Tensor] | None = None  # squares, projections
        if by_hand:
            self._projections = Projections([self._parameters[i] for i in self._witnesses])
            tap.ended = partial(self._pass_ended, self._projections)
        self._rates: list[float | Tensor] | None = None  # of the last update
        self._version = -1  # of all weights, at the first backward pass of the update at hand
        self._moved = False  # whether they were moved before another
        self._divided = False  # by a loss scale that nobody told of, in the update at hand
        tap.begins = self._pass_begins
        tap.clearing.owners = [sorted(optimizers.owned(one)) for one in optimizers.given]

    @property
    def units(self) -> int:
        """Units of the update in the making, one at least once there is such an update."""
        return max(self._tap.units, int(self._tap.making))

    @property
    def begun(self) -> int:
        """The version of all weights at the update's first backward pass; −1 before it."""
        return self._version

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """See what clipping made of the witnesses' gradients; again after a closure in the step.

        Arguments:
            optimizer: that is about to step, with some of them or all.
        """
        self._undo_scale(optimizer)
        self._passes, self._tap.cleared = self._tap.passes, 0
        if self._tap.measures:
            self._changes = self._read_changes()
            self._clipped_sq = self._read_clipped(optimizer)
        if self._projections is not None and self._averaged is None:
            self._averaged = self._read_averaged(self._projections, unscaled(optimizer))

    def _read_clipped(self, optimizer: torch.optim.Optimizer) -> Squares:
        """Squares of the witnesses' gradients `(distinct witness,)`; NaN where there is none."""
        owned, making = self._optimizers.owned(optimizer), self.units
        mine = [place for place, i in enumerate(self._distinct) if i in owned]
        seen: dict[int, Tensor] = {}
        for place in mine if making else ():
            if (gradient := self._parameters[self._distinct[place]].grad) is not None:
                seen[place] = gradient if self._whole else local(gradient)
        values = short_squares(list(seen.values()))
        if isinstance(scale := unscaled(optimizer), Tensor):
            values = torch.as_tensor(values, dtype=torch.float64, device=scale.device) / scale**2
        if len(seen) == len(self._distinct):
            return values
        found: dict[int, Tensor | float] = dict.fromkeys(mine, self._nothing)
        found |= dict(zip(seen, values, strict=True))
        parts = [found.get(place, other) for place, other in enumerate(self._clipped_sq)]
        return torch.stack([torch.as_tensor(part).to(self._nothing) for part in parts])

    def _read_changes(self) -> float:
        """How often gradients were changed since their passes, but for undoing a known scale."""
        undone = scale_of(self._scaler) is not None and unscaling_counts()
        return nan if self._projections is not None else max(self._tap.changes() - undone, 0.0)

    def _pass_ended(self, projections: Projections) -> None:
        scale = scale_of(self._scaler)
        projections.pass_ended(1.0 if scale is None else scale)

    def _read_averaged(
        self, projections: Projections, scale: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        """Squares of the gradients that the optimizer uses `(tensor,)`, and projections."""
        zero = torch.zeros((), dtype=torch.float64, device=self._parameters[0].device)
        found = [zero if p.grad is None else square(p.grad).to(zero) for p in self._parameters]
        return torch.stack(found) / scale**2, projections.before_step(scale)

    def _undo_scale(self, optimizer: torch.optim.Optimizer) -> None:
        """Undo a loss scale that nobody told of."""
        if self._looks:
            self._looks -= 1
            found = stepping_scaler()
            if found not in (None, self._scaler) and scale_of(self._scaler) is None:
                self._scaler = found
                self._tap.adopt(partial(scale_of, found), partial(turn_of, found))
                self._warn(
                    "scaler: a gradient scaler that was not given steps the optimizer; its scale "
                    "is undone and recorded; pass scaler= to us.attach to have it from the start"
                )
        scale = getattr(optimizer, "grad_scale", None)
        if self._scaler is None and isinstance(scale, Tensor) and not self._divided:
            self._divided = True  # once an update, by whichever optimizer steps first
            self._tap.rescale(scale.double().square())

    def is_void(self, numbers: Collection[int]) -> bool:
        """Whether fused optimizers were called but skipped the step.

        Arguments:
            numbers: of those that were called.
        """
        if not self._optimizers.skipped(numbers):
            return False
        self.skipped += 1
        self._units.drop()
        self._tap.clearing.step = numbers
        self._tap.take()
        self._begin_update()
        return True

    def read(self, unknown: str = "", *, numbers: Collection[int] = (0,)) -> tuple[Row, float]:
        """The row of the update that was just committed, and the seconds its tap has taken.

        Arguments:
            unknown: why its gradient is unknown, where the steps tell.
            numbers: of the optimizers that have stepped.
        """
        scale = scale_of(self._scaler)
        self._tap.clearing.step = numbers
        seen = self._tap.take()
        # A scheduler changes a learning rate on the device in place.
        rates = self._optimizers.rates(seen=seen.units != 0)
        if self._optimizers.fault:
            self._warn(self._optimizers.fault)
        self._rates = [r.detach().clone() if isinstance(r, Tensor) else r for r in rates]
        skipped, self.skipped = self.skipped + seen.discarded, 0
        # The optimizer found another gradient where passes were made since, within the step, and
        # where passes that are no units have added to it.
        known = self._passes == self._tap.passes and not seen.added
        clipped_sq = self._clipped_sq if known else self._unread
        averaged, self._averaged = self._averaged, None
        changes = self._changes if known else nan
        shares = self._units.take(seen.units, seen.lost, seen.inputs, changes)
        if self._tap.measures and (reason := unknown or self._unknown(seen)):
            self._tell_unknown(reason)
            seen, shares = _without_gradient(seen), shares._replace(units=0.0)
            averaged = None if averaged is None else (seen.total_sq, averaged[1])
        row = Row(
            unit_sq=seen.unit_sq,
            total_sq=seen.total_sq if averaged is None else averaged[0],
            before_sq=seen.total_sq,
            clipped_sq=clipped_sq,
            places=self._places,
            shares=shares,
            learning_rate=self._rates[0],
            loss_scale=float("nan") if scale is None else scale.double(),
            skipped=skipped,
            averaged=None if averaged is None else averaged[1],
        )
        self._begin_update()
        return row, seen.seconds

    def corrected_rate(self) -> tuple[float, object] | None:
        """The first rate of the last update and that of the optimizer, which did not use it.

        None where it did.
        """
        rate = self._rates[0] if self._rates and self._optimizers.replaced else None
        shown = self._optimizers.given[0].param_groups[0].get("lr")
        return (rate, shown) if isinstance(rate, float) else None

    def _begin_update(self) -> None:
        self._clipped_sq = self._unread
        self._version, self._moved, self._divided = -1, False, False

    def _unknown(self, seen: Seen) -> str:
        """Why the gradient of the update at hand is unknown; empty where it is known."""
        if seen.units == 0:
            return _NO_PASS
        return _MOVED if self._moved else seen.fault

    def give(self, gradients: Mapping[str, Tensor] | Sequence[Tensor | None]) -> None:
        """Take the gradients of a unit that no backward pass has shown.

        Arguments:
            gradients: by parameter name, or in the order of the parameters.

        Raises:
            ValueError: for names, shapes or a number of others, and under a wrapper.
        """
        if self._tap.processes > 1 and self._projections is None:
            raise ValueError(
                f"gradients: found {self._tap.processes} processes under a wrapper that averages "
                "what backward passes make, expected one process, or a model without wrapper "
                "whose gradients you average, attached with processes="
            )
        self._tap.give(_by_position(gradients, self._names, self._parameters))

    def _pass_begins(self) -> None:
        """A backward pass begins: the weights should be those of the update's first."""
        if self._tap.cleared == _CLEARED:
            self._warn(_NO_STEP)
        parameters = self._parameters if self._whole else map(local, self._parameters)
        version = sum([parameter._version for parameter in parameters])
        self._moved = self._moved or self._version not in (-1, version)
        self._version = version if self._version < 0 else self._version
        self._heard()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Backward passes within are the recorder's own, which puts back what they leave."""
        before, self._tap.paused = self._tap.paused, True
        try:
            yield
        finally:
            self._tap.paused = before

    def one_unit(self) -> AbstractContextManager[None]:
        """Backward passes within are one unit."""
        return self._tap.one_unit()

    def unmeasured(self) -> AbstractContextManager[None]:
        """Backward passes within are no units."""
        return self._tap.unmeasured()

    def close(self) -> None:
        """Remove the tap."""
        self._tap.close()

    def group_rates(self, processes: Processes) -> dict[str, Tensor]:
        """This process's share in the learning rates of the parameter groups, on the device.

        The groups are those of the beginning; NaN for one that is gone. Nothing where there was
        one group. All processes have the same rates, and shares are added over all of them.
        """
        if new := self._optimizers.newcomers():
            self._warn(
                f"optimizer: {new} parameters began to train after the probes were attached and "
                "are not recorded: move the line that unfreezes them (requires_grad_ or "
                "add_param_group) before us.attach, or attach anew after it"
            )
        if self._optimizers.slots == 1:
            return {}
        rates = self._optimizers.rates() if self._rates is None else self._rates
        zero = torch.zeros((), dtype=torch.float64, device=self._parameters[0].device)
        share = processes.copies / processes.size
        return {"group_learning_rate": torch.stack([zero + rate for rate in rates]) * share}


def _without_gradient(seen: Seen) -> Seen:
    nothing = torch.full_like(seen.total_sq, torch.nan)
    return seen._replace(unit_sq=nothing, total_sq=nothing)


def _by_position(
    gradients: Mapping[str, Tensor] | Sequence[Tensor | None],
    names: Sequence[str],
    parameters: Sequence[Tensor],
) -> dict[int, Tensor]:
    """Gradients by position of their parameters, found to be theirs.

    Raises:
        ValueError: for names, shapes or a number of others.
    """
    if isinstance(gradients, Mapping):
        if strange := [name for name in gradients if name not in names]:
            raise ValueError(f"gradients: found {strange[0]!r}, expected names as {names[0]!r}")
        given = {names.index(name): gradient for name, gradient in gradients.items()}
    else:
        if len(gradients) != len(names):
            raise ValueError(
                f"gradients: found {len(gradients)}, expected one for each of the {len(names)} "
                "trainable parameters that the model had at attach"
            )
        given = {k: gradient for k, gradient in enumerate(gradients) if gradient is not None}
    for index, gradient in given.items():
        if gradient.shape != parameters[index].shape:
            raise ValueError(
                f"gradients: found shape {tuple(gradient.shape)} for {names[index]!r}, expected "
                f"{tuple(parameters[index].shape)}"
            )
    return {index: gradient.detach() for index, gradient in given.items()}
