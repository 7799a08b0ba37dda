"""The noise of a few updates by a slow computation that shares nothing with the probes.

Around each backward pass one of three ways shows the unit's own gradient, in float64:

- the difference of `.grad` after and before it, where nothing else touches `.grad` within a pass;
- `torch.autograd.grad` just before it, where gradients are averaged over processes or used up in
  the pass, or are of low precision;
- what goes into the reduce-scatter, under `fully_shard`. Its layout is of no interest here, so
  only sums over all tensors come out.

With h the units' gradients, a share a of the mean each: S = Σ‖h‖² and, over all processes,
Big = ‖Σ h‖². From E S = Σa²·|G|² + v·tr Σ and E Big = (Σa)²·|G|² + v·tr Σ with v = Σ a²/n follow
|G|² and tr Σ.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ultraslow.probes.distributed import Processes, local

_ROUNDING = 1e-6  # of a gradient that was divided
# Names under which torch versions scatter the sums of gradients.
_SCATTERS = ("reduce_scatter_single", "reduce_scatter_tensor")


@dataclass(frozen=True)
class Truth:
    """One update, over all processes; `(tensor,)`, or `(1,)` of all tensors where sharded.

    Arguments:
        mean_sq: Big, squared norm of the update's gradient.
        gradient_sq: unbiased estimate of |G|².
        noise_trace: unbiased estimate of tr Σ; NaN for one unit.
        units: backward passes.
        samples: in the update.
        declared: whether they are those of declared units.
        scale: what `noise_trace` is a small difference of.
        passes: backward passes on this process.
        shrunk: what gradients were multiplied by between their passes and clipping, or the step
            where none was seen; NaN where unknown. A division by the passes is not among it.
    """

    mean_sq: Tensor
    gradient_sq: Tensor
    noise_trace: Tensor
    units: int
    samples: float
    declared: bool
    scale: float
    passes: int = 0
    shrunk: float = torch.nan


class _Update:
    """What was seen of one update on this process."""

    def __init__(self, count: int) -> None:
        self.unit_sq = torch.zeros(count, dtype=torch.float64)  # S
        self.reduced_sq = torch.zeros(count, dtype=torch.float64)  # Big, where sharded
        self.sum: list[Tensor] = []  # Σ h, elsewhere
        self.open: list[Tensor] = []  # the unit that several passes make
        self.declared: list[tuple[float, float | None]] = []
        self.units = 0
        self.used_sq = torch.nan  # of the gradient that the optimizer, or clipping, was given

    def close_unit(self) -> None:
        """What is open is a unit."""
        if self.open:
            self.unit_sq += torch.stack([one.square().sum() for one in self.open])
            pairs = zip(self.sum, self.open, strict=True) if self.sum else ()
            self.sum = [a + b for a, b in pairs] or self.open
            self.open, self.units = [], self.units + 1

    def weights(self) -> tuple[float, float, float]:
        """Σ a, Σ a² and Σ a²/n of this process; a = 1 and n = 1 where nothing was declared."""
        if not self.declared:
            return (float(self.units),) * 3
        merged = max(len(self.declared) // max(self.units, 1), 1)
        declared = [(1 / merged if a is None else a, n) for n, a in self.declared]
        parts = [declared[at : at + merged] for at in range(0, len(declared), merged)]
        return (
            sum(a for a, _ in declared),
            sum(sum(a for a, _ in part) ** 2 for part in parts),
            sum(a**2 / n for a, n in declared),
        )


class Reference:
    """Sees the backward passes of updates; `end_update` says what they were."""

    def __init__(
        self,
        parameters: Sequence[Tensor],
        processes: Processes,
        batch_size: float,
        committed: Callable[[], int],
    ) -> None:
        """Begin before the first backward pass.

        Arguments:
            parameters: trainable ones, in the order of results.
            processes: that average their gradients.
            batch_size: samples in an update, where units do not declare them.
            committed: how many updates there have been; later passes are of the next.
        """
        self.parameters = list(parameters)
        self.processes = processes
        self.batch_size = batch_size
        self.scaled_by: list[torch.amp.GradScaler] = []  # whatever scaled a loss
        self.unseen = ""  # why noise could not be computed
        self.merged = False  # whether passes were said to be one unit
        self._committed, self._before = committed, committed()
        self._ignored = self._within = 0
        self._inside = False
        self._scattered: list[Tensor] = []
        self._next: _Update | None = None  # after one that was committed and not asked for yet
        self._update = self._nothing()

    def _nothing(self) -> _Update:
        return _Update(1 if self.processes.sharded else len(self.parameters))

    # What the user says of passes, heard on its way to the recorder.

    def declare(self, size: float, weight: float | None) -> None:
        """The next unit has so many samples, and such a share in the mean."""
        self._current().declared.append((size, weight))

    @contextmanager
    def one_unit(self) -> Iterator[None]:
        """All passes within make one unit."""
        self.merged = True
        self._within += 1
        try:
            yield
        finally:
            self._within -= 1
            if not self._within:
                self._current().close_unit()

    @contextmanager
    def unmeasured(self) -> Iterator[None]:
        """Passes within make none."""
        self.merged = True  # rows of inputs tell nothing of samples
        self._ignored += 1
        try:
            yield
        finally:
            self._ignored -= 1

    def give(self, gradients: Sequence[Tensor | None]) -> None:
        """A unit that no backward pass makes, in the order of the parameters."""
        pairs = zip(gradients, self.parameters, strict=True)
        found = [torch.zeros_like(p) if g is None else g.detach() for g, p in pairs]
        self._add(self._current(), [one.double().cpu() for one in found])

    # Backward passes.

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See every backward pass and every scaling of a loss."""
        backward, scale = torch.autograd.backward, torch.amp.GradScaler.scale
        clip = torch.nn.utils.clip_grad_norm_

        def clipping(*arguments: Any, **options: Any) -> Any:
            self._see_used()
            return clip(*arguments, **options)

        @torch.compiler.disable
        def watched(tensors: Any, *arguments: Any, **options: Any) -> None:
            self._see(lambda: backward(tensors, *arguments, **options), tensors, arguments)

        def scaling(scaler: torch.amp.GradScaler, outputs: Any) -> Any:
            if scaler.is_enabled() and scaler not in self.scaled_by:
                self.scaled_by.append(scaler)
            return scale(scaler, outputs)

        with (
            patch.object(torch.autograd, "backward", watched),
            patch.object(torch.amp.GradScaler, "scale", scaling),
            patch.object(torch.nn.utils, "clip_grad_norm_", clipping),
            self._seeing_scatters(),
        ):
            handle = register_optimizer_step_pre_hook(self._see_used)
            try:
                yield
            finally:
                handle.remove()

    def _see_used(self, *_: object) -> None:
        """Clipping, or else an optimizer, is about to use the gradients that there are."""
        if not math.isnan(self._current().used_sq):
            return
        found = [p.grad for p in self.parameters if p.grad is not None]
        if found and not self.processes.sharded:
            squares = [float(one.detach().double().square().sum()) for one in found]
            self._current().used_sq = sum(squares)

    @contextmanager
    def _seeing_scatters(self) -> Iterator[None]:
        def seen(ordinary: Callable[..., Any]) -> Callable[..., Any]:
            def scatter(output: Tensor, input: Tensor, *rest: Any, **options: Any) -> Any:
                if input.dtype == torch.float16:
                    self.unseen = "gradients are divided before they are reduced in float16"
                self._scattered.append(input.detach().double().square().sum().cpu())
                return ordinary(output, input, *rest, **options)

            return scatter

        there = [name for name in _SCATTERS if self.processes.sharded and hasattr(dist, name)]
        ordinary = {name: getattr(dist, name) for name in there}
        try:
            for name in there:
                setattr(dist, name, seen(ordinary[name]))
            yield
        finally:
            for name in there:
                setattr(dist, name, ordinary[name])

    def _see(self, backward: Callable[[], None], roots: Any, arguments: Sequence[Any]) -> None:
        if self._ignored or self._inside or self.unseen:
            backward()
            return
        self._inside = True  # a function's own backward may start others
        try:
            self._watch(backward, roots, arguments)
        finally:
            self._inside = False

    def _watch(self, backward: Callable[[], None], roots: Any, arguments: Sequence[Any]) -> None:
        update = self._current()
        if update.units and not self._within and self._is_cleared():
            update = self._cleared(update)
        if self.processes.sharded:
            self._scattered = []
            backward()
            if self._scattered:
                self._add_scattered(update, torch.stack(self._scattered).sum())
            return
        if self._is_own():
            before = self._gradients()
            backward()
            found = [now - then for now, then in zip(self._gradients(), before, strict=True)]
        else:
            found = self._returned(roots, arguments[0] if arguments else None)
            backward()
        if any(bool(one.any()) for one in found):
            self._add(update, found)

    def _is_own(self) -> bool:
        """Whether `.grad` gains in a pass this process's gradient and nothing else."""
        used = any(p._post_accumulate_grad_hooks for p in self.parameters)
        exact = all(p.dtype in (torch.float32, torch.float64) for p in self.parameters)
        return self.processes.size == 1 and exact and not used

    def _returned(self, roots: Any, gradient: Any) -> list[Tensor]:
        """What `torch.autograd.grad` returns for the pass that comes."""
        try:
            found = torch.autograd.grad(
                roots, self.parameters, gradient, retain_graph=True, allow_unused=True
            )
        except RuntimeError as error:
            self.unseen = str(error).split("\n")[0].split(". ")[0]
            return []
        return [
            torch.zeros(p.shape, dtype=torch.float64) if g is None else g.detach().double().cpu()
            for g, p in zip(found, self.parameters, strict=True)
        ]

    def _gradients(self) -> list[Tensor]:
        return [
            torch.zeros(p.shape, dtype=torch.float64)
            if p.grad is None
            else p.grad.detach().double().cpu()
            for p in self.parameters
        ]

    def _is_cleared(self) -> bool:
        """Whether gradients were cleared since the last pass, and no update was made of them."""
        return all(p.grad is None or not bool(local(p.grad).any()) for p in self.parameters)

    def _current(self) -> _Update:
        """The update that passes are of now."""
        if self._committed() > self._before and self._next is None:
            self._next = self._nothing()
        return self._update if self._next is None else self._next

    def _cleared(self, update: _Update) -> _Update:
        """An update whose gradients were cleared begins anew, after what was declared of them."""
        anew = self._nothing()
        anew.declared = update.declared[update.units :]
        if update is self._update:
            self._update = anew
        else:
            self._next = anew
        return anew

    def _share(self) -> float:
        """A process's share in the mean, over the loss scale."""
        scale = self.scaled_by[0].get_scale() if self.scaled_by else 1.0
        return 1.0 / (self.processes.size * scale)

    def _add_scattered(self, update: _Update, squares: Tensor) -> None:
        update.unit_sq += squares * self._share() ** 2
        update.units += 1
        found = [local(p.grad).detach().double() for p in self.parameters if p.grad is not None]
        total = sum(float(one.square().sum()) for one in found)
        update.reduced_sq[0] = total * (self._share() * self.processes.size) ** 2

    def _add(self, update: _Update, gradients: Sequence[Tensor]) -> None:
        part = [one * self._share() for one in gradients]
        opened = update.open
        update.open = [a + b for a, b in zip(opened, part, strict=True)] if opened else part
        if not self._within:
            update.close_unit()

    # Updates.

    def end_update(self) -> Truth:
        """The update that was committed since the last call; every process calls it."""
        update = self._update
        update.close_unit()
        self._update, self._next = self._next or self._nothing(), None
        self._before = self._committed()
        unit_sq, mean_sq = self._everywhere(update.unit_sq), self._mean_sq(update)
        used = self._used(update, float(mean_sq.sum()))
        divided = _division(update.units, used)
        unit_sq, mean_sq = unit_sq * divided**2, mean_sq * divided**2
        counts = [*update.weights(), update.units, sum(size for size, _ in update.declared)]
        share, u, v, units, samples = self._everywhere(torch.tensor(counts).double()).tolist()
        if all(weight is None for _, weight in update.declared):
            share, u, v = 1.0, u / max(units, 1) ** 2, v / max(units, 1) ** 2
        if not update.declared:
            samples, v = self.batch_size, u * units / self.batch_size
        apart = share**2 - u
        known = units > 1 and apart > 0
        nan = torch.full_like(unit_sq, torch.nan)
        return Truth(
            mean_sq=mean_sq,
            gradient_sq=(mean_sq - unit_sq) / apart if known else nan,
            noise_trace=(share**2 * unit_sq - u * mean_sq) / (apart * v) if known else nan,
            units=round(units),
            samples=samples,
            declared=bool(update.declared),
            scale=share**2 * float(unit_sq.sum()) / (apart * v) if known else 0.0,
            passes=update.units,
            shrunk=used / divided,
        )

    def _used(self, update: _Update, mean_sq: float) -> float:
        """What gradients were multiplied by before they were used; NaN where unknown."""
        return (update.used_sq / mean_sq) ** 0.5 if mean_sq > 0 else torch.nan

    def _mean_sq(self, update: _Update) -> Tensor:
        if self.processes.sharded:
            return self._everywhere(update.reduced_sq) / self.processes.copies
        whole = [self._everywhere(one) for one in update.sum]
        return torch.stack([one.square().sum() for one in whole]) if whole else update.unit_sq

    def _everywhere(self, values: Tensor) -> Tensor:
        """The sum over processes, on the host; `values` stay."""
        return self.processes.add(values.to(self.parameters[0].device, copy=True)).cpu()


def _division(passes: int, used: float) -> float:
    """1/n where a loop divides gradients, not losses, by its n passes; else 1."""
    return 1 / passes if passes > 1 and abs(used * passes - 1) < _ROUNDING else 1.0
