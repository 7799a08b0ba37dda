"""Backward passes: where a gradient passes through, when a pass has ended, what was seen of it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from math import nan
from types import FrameType
from typing import Any, NamedTuple
from weakref import WeakMethod

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from ultraslow.probes.steps import Handle, current

_FUNCTION = BackwardCFunction.apply.__code__
_keeps_graph: Callable[[], bool] = getattr(
    torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: False
)
_BACKWARD, _GRAD = torch.autograd.backward.__code__, torch.autograd.grad.__code__


class Inputs(NamedTuple):
    """What the forward passes of an update were given on this process.

    Rows are an input's first dimension, tokens the first two of an input that may count some.

    Arguments:
        forwards: forward passes; NaN where they are not one a unit.
        rows: Σ r over them.
        over_rows: Σ 1/r.
        tokens: Σ of the tokens.
        over_tokens: Σ of their inverse.
        joint: backward passes without a forward pass of their own.
    """

    forwards: float = nan
    rows: float = nan
    over_rows: float = nan
    tokens: float = nan
    over_tokens: float = nan
    joint: float = 0.0


def inputs_of(heard: Sequence[tuple[float, float]], *, joint: int = 0) -> Inputs:
    """Sums over forward passes of which rows and tokens are known, or NaN."""
    if not heard:
        return Inputs(joint=joint)
    rows = over_rows = tokens = over_tokens = 0.0
    for some_rows, some_tokens in heard:
        rows += some_rows
        over_rows += 1 / some_rows
        tokens += some_tokens
        over_tokens += 1 / some_tokens
    return Inputs(len(heard), rows, over_rows, tokens, over_tokens, joint)


class Seen(NamedTuple):
    """What a tap saw of one update on this process; squares `(tensor,)` in float64.

    Arguments:
        units: units on this process; NaN of a tap that failed.
        unit_sq: S, squared norms of this process's unit contributions, summed over units.
        total_sq: Big, squared norms of this process's part of the reduced gradient.
        discarded: gradients that were cleared without a step, as mixed precision does when it
            skips one.
        seconds: host time spent.
        lost: units of the discarded gradients.
        inputs: of the model.
        added: whether passes that were none of the training's have added to the gradient.
        fault: why its gradient is unknown; empty where it is known.
    """

    units: float
    unit_sq: Tensor
    total_sq: Tensor
    discarded: int
    seconds: float
    lost: int = 0
    inputs: Inputs = Inputs()
    added: bool = False
    fault: str = ""


def keeps_graph() -> bool:
    """Whether the pass at hand leaves its graph for another, as with `retain_graph=True`."""
    return bool(_keeps_graph())


def only_returns(parameter: Tensor) -> bool:
    """Whether the pass at hand is that of `torch.autograd.grad`, with the parameter asked for.

    On the host the callers tell; a device has a thread of its own, in which there are none.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code in (_BACKWARD, _GRAD):
            return frame.f_code is _GRAD
        frame = frame.f_back
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


_NO_SCRIPT = (
    "torch.jit.script cannot compile the hook by which the probes hear forward passes: script a "
    "new instance that has loaded the model's state_dict, or use torch.jit.trace or torch.export"
)


class _Ear:
    """A hook that tells of forward passes with gradients, what they are given.

    It holds nothing, and copies of a module, also pickled ones, have a hook that does nothing.
    Within what is compiled or traced it is nothing, too.
    """

    def __init__(self, method: Callable[[Sequence[object]], None]) -> None:
        self._method = WeakMethod(method)

    def __call__(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        if not torch.is_grad_enabled() or current() >= 0:
            return
        if (heard := self._method()) is not None:
            heard((*args, *kwargs.values()))

    @property
    def __name__(self) -> str:
        """None; who asks is `torch.jit.script`, which compiles the hooks of a module by name."""
        raise AttributeError(_NO_SCRIPT)

    def __deepcopy__(self, memo: object) -> "_Ear":
        return _Ear(self._deaf)

    def _deaf(self, arguments: Sequence[object]) -> None:
        """What a copy calls."""

    def __reduce__(self) -> tuple[object, ...]:
        return getattr, (nullcontext(), "__exit__")


def hear_forward(model: torch.nn.Module, heard: Callable[[Sequence[object]], None]) -> Handle:
    """Call a method before the model is, unless without gradients or within a backward pass.

    Arguments:
        model: whose forward passes are heard.
        heard: is given the model's arguments, as long as its object lives.
    """
    return model.register_forward_pre_hook(_Ear(heard), with_kwargs=True)


def rows_of(arguments: Sequence[object]) -> tuple[float, float]:
    """Rows and tokens of a model's arguments; NaN where its tensors do not agree on rows.

    Tokens are rows where nothing suggests that the second dimension counts some.
    """
    first, rows = None, {0}
    for one in arguments:
        parts = (one,) if isinstance(one, Tensor) or not isinstance(one, Mapping) else one.values()
        for tensor in parts:
            if isinstance(tensor, Tensor) and tensor.dim():
                first, rows = (tensor, set()) if first is None else (first, rows)
                rows.add(tensor.shape[0])
    if first is None or len(rows) != 1 or 0 in rows:
        return nan, nan
    texts = first.dim() == 3 or (first.dim() == 2 and not first.is_floating_point())
    return float(first.shape[0]), float(first.shape[0] * (first.shape[1] if texts else 1))


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
