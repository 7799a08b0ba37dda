"""Taps: reading the gradient of each unit before it is reduced.

A *unit* is one backward pass on one process: a microbatch. Its gradient passes through a hook on
every parameter before it is accumulated or reduced over processes, so the hooks see h_i·W, where W
is the number of processes that average. The update's own gradient Σ h_i is read when a backward
pass has ended, before anything clips it.

"Ended" needs care under DistributedDataParallel (DDP), which reduces gradients in a callback of
its own at the end of the backward pass. Callbacks run in the order in which they were queued; ours
is queued by the first hook, before DDP's, and only queues another, which therefore runs after
DDP's. The slot for DDP's communication hook stays free.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from .distance import square


class GradientTap:
    """Squared gradient norms per tensor, of the units of an update and of the update."""

    def __init__(
        self, parameters: Sequence[Tensor], *, processes: int, failed: Callable[[Exception], None]
    ) -> None:
        """Hook the parameters.

        Arguments:
            parameters: trainable parameters; their order is the order of all results.
            processes: W, how many processes average their gradients.
            failed: told of the first exception, after which the tap is silent.
        """
        self.units = 0
        self.seconds = 0.0
        self._parameters = list(parameters)
        self._processes = processes
        self._failed = failed
        self._zero = torch.zeros((), dtype=torch.float64, device=self._parameters[0].device)
        self._seen: dict[int, Tensor] = {}
        self._task = -1  # identifies a backward pass; a pass that raised leaves no trace behind
        self._handles: list[RemovableHandle] = [
            p.register_hook(partial(self._see, index)) for index, p in enumerate(self._parameters)
        ]
        self._reset()

    def take(self) -> tuple[int, Tensor, Tensor]:
        """What was seen since the last call.

        Returns:
            The number of units on this process; S, squared norms of this process's contributions
            summed over
            units `(tensor,)`; Big, squared norms of the reduced gradient `(tensor,)`; float64.
            Under DDP, S of all
            processes add up to the update's S; Big is the same everywhere.
        """
        taken = (self.units, self._unit_sq / self._processes**2, self._total_sq)
        self._reset()
        return taken

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _reset(self) -> None:
        self.units = 0
        self.seconds = 0.0
        self._unit_sq = self._zero.expand(len(self._parameters))
        self._total_sq = self._unit_sq

    def _see(self, index: int, gradient: Tensor) -> None:
        start = time.perf_counter()
        try:
            task = torch._C._current_graph_task_id()
            if task != self._task:
                self._task, self._seen = task, {}
                _after_backward(self._queue_behind_reduction)
            self._seen[index] = square(gradient)
        except Exception as error:
            self._fail(error)
        self.seconds += time.perf_counter() - start

    def _queue_behind_reduction(self) -> None:
        _after_backward(self._end_backward)

    def _end_backward(self) -> None:
        start = time.perf_counter()
        try:
            self._unit_sq = self._unit_sq + self._stack(self._seen)
            gradients = {i: p.grad for i, p in enumerate(self._parameters) if p.grad is not None}
            self._total_sq = self._stack({i: square(g) for i, g in gradients.items()})
            self.units += 1
        except Exception as error:
            self._fail(error)
        self.seconds += time.perf_counter() - start

    def _stack(self, squares: dict[int, Tensor]) -> Tensor:
        """One vector `(tensor,)`; a parameter that took no part has gradient zero."""
        rows = [squares.get(i, self._zero) for i in range(len(self._parameters))]
        return torch.stack([row.to(self._zero.device, non_blocking=True) for row in rows])

    def _fail(self, error: Exception) -> None:
        """Go silent; S of this process is NaN from here on, so no sum is silently short."""
        if self._handles:
            self.close()
            self._zero = self._zero.new_full((), torch.nan)
            self._reset()
            self._failed(error)


def _after_backward(callback: Callable[[], None]) -> None:
    torch.autograd.Variable._execution_engine.queue_callback(callback)
