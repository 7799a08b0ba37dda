"""Taps: reading the gradient of each unit before it is reduced.

A *unit* is one backward pass on one process: a microbatch. Its gradient passes through a hook on
every parameter before it is accumulated or reduced over processes, so the hooks see h_i·W, where W
is the number of processes that average. The update's own gradient Σ h_i is read when a backward
pass has ended, before anything clips it.

"Ended" needs care under DistributedDataParallel (DDP), which reduces gradients in a callback of
its own at the end of the backward pass. Callbacks run in the order in which they were queued; ours
is queued by the first hook, before DDP's, and only queues another, which therefore runs after
DDP's. The slot for DDP's communication hook stays free.

Hooks also run in `torch.autograd.grad`, which adds to no gradient and makes no unit.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.distributed.tensor import DTensor

from .distance import square
from .processes import local

# Bytes at most of a gradient that is copied and squared when its backward pass has ended.
SMALL = 1 << 18

_FUNCTION = BackwardCFunction.apply.__code__


class Handle(Protocol):
    """What undoes a hook."""

    def remove(self) -> None:
        """Undo it."""
        ...


@dataclass(frozen=True)
class Seen:
    """What a tap saw of one update on this process; squares `(tensor,)` in float64.

    Arguments:
        units: units on this process.
        unit_sq: S, squared norms of this process's unit contributions, summed over units.
        total_sq: Big, squared norms of this process's part of the reduced gradient.
        discarded: gradients that were cleared without a step, as mixed precision does when it
            skips one.
        seconds: host time spent.
        lost: units of the discarded gradients.
    """

    units: int
    unit_sq: Tensor
    total_sq: Tensor
    discarded: int
    seconds: float
    lost: int = 0


class GradientTap:
    """Squared gradient norms per tensor, of the units of an update and of the update.

    While it is `paused` backward passes are none of the training's. For plain and DDP modules;
    `ShardedTap` inherits the bookkeeping and differs in how a unit is seen.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        processes: int,
        failed: Callable[[Exception], None],
        scale: Callable[[], Tensor | None] = lambda: None,
        turn: Callable[[], object] = lambda: None,
    ) -> None:
        """Hook the parameters.

        Arguments:
            parameters: trainable parameters; their order is the order of all results.
            processes: W, how many processes average their gradients.
            failed: told of the first exception, after which the tap is silent.
            scale: loss scale in force during a backward pass; None where there is none.
            turn: another object after every step that mixed precision tried.
        """
        self.units = 0
        self.paused = self.making = False
        self._parameters = list(parameters)
        self._processes = processes
        self._failed = failed
        self._scale = scale
        self._zero = torch.zeros((), dtype=torch.float64, device=self._parameters[0].device)
        self._task = -1  # identifies a backward pass; a pass that raised leaves no trace behind
        self._silent = False
        self._passed = -1  # the last one that was none of the training's
        self._turn, self._now = turn, turn()
        self._squares: dict[int, Tensor] = {}
        self._small: dict[int, Tensor] = {}  # copies, to be squared
        self._discarded = self._lost = 0
        self._seconds = 0.0
        self._reset()
        self._handles: list[Handle] = []
        self._hook()

    def take(self) -> Seen:
        """What was seen since the last call."""
        squares = (self._unit_sq, self._total_sq)
        seen = Seen(self.units, *squares, self._discarded, self._seconds, self._lost)
        self._discarded, self._seconds, self._lost = 0, 0.0, 0
        self.making = False
        self._reset()
        return seen

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self) -> None:
        self._handles = [
            p.register_hook(partial(self._see, index)) for index, p in enumerate(self._parameters)
        ]

    def _reset(self) -> None:
        self.units = 0
        self._unit_sq = self._zero.expand(len(self._parameters))
        self._total_sq = self._unit_sq

    def _see(self, index: int, gradient: Tensor | None) -> None:
        if self.paused or self._silent:
            self._stir()
            return
        start = time.perf_counter()
        try:
            if self._adds(self._parameters[index]):
                if self._begins():
                    _after_backward(self._queue_behind_reduction)
                if _is_small(gradient):
                    self._small[index] = gradient.detach().clone()
                elif gradient is not None:
                    self._squares[index] = square(gradient)
        except Exception as error:
            self._fail(error)
        self._seconds += time.perf_counter() - start

    def _stir(self, *_: object) -> None:
        """Something of the next update was seen."""
        self.making = self.making or not self.paused

    def _adds(self, parameter: Tensor) -> bool:
        """Whether the pass at hand adds to gradients; looked at once a pass.

        Raises:
            RuntimeError: for a pass within another, whose end does not end the unit.
        """
        task = torch._C._current_graph_task_id()
        if task not in (self._task, self._passed):
            if _only_returns(parameter):
                self._passed = task
            elif _within_another():
                raise RuntimeError(
                    "a backward pass within another cannot be told from a unit; with "
                    "torch.utils.checkpoint set use_reentrant=False"
                )
        return task != self._passed

    def _begins(self) -> bool:
        """Whether a backward pass begins; what was cleared before it is then forgotten."""
        task = torch._C._current_graph_task_id()
        if task == self._task:
            return False
        self._task, self._squares, self._small, self.making = task, {}, {}, True
        before, self._now = self._now, self._turn()
        tried = before is not self._now  # and not taken, or the units would have been
        if self.units and (tried or all(p.grad is None for p in self._parameters)):
            self._discarded += 1
            self._lost += self.units
            self._reset()
        return True

    def _queue_behind_reduction(self) -> None:
        """Take the squares that are left; one after the other they take a fifth of the time."""
        start = time.perf_counter()
        try:
            self._squares.update((i, square(g)) for i, g in self._small.items())
        except Exception as error:
            self._fail(error)
        self._small = {}
        _after_backward(self._end_backward)
        self._seconds += time.perf_counter() - start

    def _end_backward(self) -> None:
        start = time.perf_counter()
        try:
            self._count_unit(self._stack(self._squares) / self._processes**2)
            self._read_total()
        except Exception as error:
            self._fail(error)
        self._seconds += time.perf_counter() - start

    def _count_unit(self, squares: Tensor) -> None:
        self._unit_sq = self._unit_sq + squares / self._scale_sq()
        self.units += 1

    def _read_total(self) -> None:
        gradients = {i: p.grad for i, p in enumerate(self._parameters) if p.grad is not None}
        squares = {i: square(local(gradient)) for i, gradient in gradients.items()}
        self._total_sq = self._stack(squares) / self._scale_sq()

    def _scale_sq(self) -> Tensor | float:
        scale = self._scale()
        return 1.0 if scale is None else scale.double().square()

    def _stack(self, squares: dict[int, Tensor]) -> Tensor:
        """One vector `(tensor,)`; a parameter that took no part has gradient zero."""
        rows = [squares.get(i, self._zero) for i in range(len(self._parameters))]
        return torch.stack([row.to(self._zero.device, non_blocking=True) for row in rows])

    def _fail(self, error: Exception) -> None:
        """Go silent; S of this process is NaN from here on, so no sum is silently short."""
        if not self._silent:
            self._silent = True
            self._zero = self._zero.new_full((), torch.nan)
            self._reset()
            self._failed(error)


class BackwardWatch(GradientTap):
    """Sees that a backward pass was made, and nothing of it: where noise is not measured."""

    def __init__(self, model: torch.nn.Module, parameters: Sequence[Tensor]) -> None:
        """Hook the parameters; or the model, where it is sharded and its parameters hear nothing.

        Arguments:
            model: as it is trained.
            parameters: trainable parameters.
        """
        self._model = model
        super().__init__(parameters, processes=1, failed=lambda _: None)
        self._silent = True
        self._zero = self._zero.new_full((), torch.nan)
        self._reset()

    def take(self) -> Seen:
        """One unit, of which nothing is known."""
        return replace(super().take(), units=1)

    def _hook(self) -> None:
        if any(isinstance(p, DTensor) for p in self._parameters):
            self._handles = [hear_forward(self._model, self._stir)]
        else:
            super()._hook()


def hear_forward(model: torch.nn.Module, heard: Callable[[], None]) -> Handle:
    """Call a function before the model does, unless without gradients."""

    def hear(*_: object) -> None:
        if torch.is_grad_enabled():
            heard()

    return model.register_forward_pre_hook(hear)


def _is_small(gradient: Tensor | None) -> TypeGuard[Tensor]:
    """Whether to copy a gradient and square the copy after the pass: in its midst that is slow."""
    dense = gradient is not None and gradient.layout == torch.strided
    return dense and gradient.numel() * gradient.element_size() <= SMALL  # type: ignore[union-attr]


def _after_backward(callback: Callable[[], None]) -> None:
    torch.autograd.Variable._execution_engine.queue_callback(callback)


def _only_returns(parameter: Tensor) -> bool:
    """Whether the pass at hand is that of `torch.autograd.grad`, with the parameter asked for."""
    with torch.enable_grad():
        node: Any = parameter.view_as(parameter).grad_fn
    try:
        torch._C._will_engine_execute_node(node.next_functions[0][0])
    except RuntimeError:  # what it says of a parameter whose gradient is returned
        return True
    return False


def _within_another() -> bool:
    """Whether the pass at hand was started by the backward of a function in another pass."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code is not _FUNCTION:
        frame = frame.f_back
    return frame.f_code is _FUNCTION
