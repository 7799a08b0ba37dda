"""Backward passes: where a gradient passes through, when a pass has ended, what was seen of it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from ultraslow.probes.steps import Handle, current

_FUNCTION = BackwardCFunction.apply.__code__


@dataclass(frozen=True)
class Seen:
    """What a tap saw of one update on this process; squares `(tensor,)` in float64.

    Arguments:
        units: units on this process; NaN of a tap that failed.
        unit_sq: S, squared norms of this process's unit contributions, summed over units.
        total_sq: Big, squared norms of this process's part of the reduced gradient.
        discarded: gradients that were cleared without a step, as mixed precision does when it
            skips one.
        seconds: host time spent.
        lost: units of the discarded gradients.
    """

    units: float
    unit_sq: Tensor
    total_sq: Tensor
    discarded: int
    seconds: float
    lost: int = 0


def only_returns(parameter: Tensor) -> bool:
    """Whether the pass at hand is that of `torch.autograd.grad`, with the parameter asked for."""
    with torch.enable_grad():
        node: Any = parameter.view_as(parameter).grad_fn
    try:
        torch._C._will_engine_execute_node(node.next_functions[0][0])
    except RuntimeError:  # what it says of a parameter whose gradient is returned
        return True
    return False


def after_pass(callback: Callable[[], None]) -> None:
    """Call a function when the pass at hand has ended, after those that were queued before."""
    torch.autograd.Variable._execution_engine.queue_callback(callback)


def hear_forward(model: torch.nn.Module, heard: Callable[[], None]) -> Handle:
    """Call a function before the model does, unless without gradients."""

    def hear(*_: object) -> None:
        if torch.is_grad_enabled():
            heard()

    return model.register_forward_pre_hook(hear)


class AfterPass:
    """Calls a function once for all demands within a backward pass, and outside of any at once."""

    def __init__(self, function: Callable[[], None]) -> None:
        """Remember the function."""
        self._function = function
        self._pass = -1

    def __call__(self) -> None:
        """Call it, in a pass when that has ended and what was queued at its end is done."""
        if current() < 0:
            self._function()
        elif current() != self._pass:
            self._pass = current()
            after_pass(lambda: after_pass(self._function))


def refuse_within_another() -> None:
    """A pass that the backward of a function in another pass has started ends no unit.

    Raises:
        RuntimeError: within such a pass.
    """
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code is not _FUNCTION:
        frame = frame.f_back
    if frame.f_code is _FUNCTION:
        raise RuntimeError(
            "a backward pass within another cannot be told from a unit; with "
            "torch.utils.checkpoint set use_reentrant=False"
        )
