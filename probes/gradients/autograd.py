"""Backward passes: where a gradient passes through, when a pass has ended, what was seen of it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from math import nan
from types import FrameType
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from ultraslow.probes.steps import Handle, current

_FUNCTION = BackwardCFunction.apply.__code__
_keeps_graph: Callable[[], bool] = getattr(
    torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: False
)
_BACKWARD, _GRAD = torch.autograd.backward.__code__, torch.autograd.grad.__code__


_WITHIN = (
    "a backward pass within another cannot be told from a unit; with torch.utils.checkpoint set "
    "use_reentrant=False"
)


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


def adds_up(parameter: Tensor) -> bool:
    """Whether the pass at hand adds to gradients; `torch.autograd.grad` only returns them.

    On the host the callers tell; a device has a thread of its own, in which there are none.

    Arguments:
        parameter: whose gradient has come, which would be asked for.

    Raises:
        RuntimeError: for a pass that the backward of a function in another pass has started,
            as it ends no unit.
    """
    found = False
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        code = frame.f_code
        if code is _FUNCTION:
            raise RuntimeError(_WITHIN)
        if not found and (code is _BACKWARD or code is _GRAD):
            if code is _GRAD:
                return False
            found = True
        frame = frame.f_back
    return found or not _is_returned(parameter)


def _is_returned(parameter: Tensor) -> bool:
    """Whether the pass at hand is one that was asked for the gradient of a parameter."""
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
        self._whose = ref(method.__self__)  # type: ignore[attr-defined]
        self._heard = method.__func__  # type: ignore[attr-defined]

    def __call__(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        if torch.compiler.is_compiling() or torch._C._is_tracing():
            return
        if torch.is_grad_enabled() and current() < 0 and (whose := self._whose()) is not None:
            self._heard(whose, (*args, *kwargs.values()) if kwargs else args)

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
    first: Tensor | None
    first, rows = None, {0}
    for one in arguments:
        parts = (one,) if isinstance(one, Tensor) or not isinstance(one, Mapping) else one.values()
        for tensor in parts:
            if isinstance(tensor, Tensor) and (shape := tensor.shape):
                first, rows = (tensor, set()) if first is None else (first, rows)
                rows.add(shape[0])
    if first is None or len(rows) != 1 or 0 in rows:
        return nan, nan
    count, dims = float(rows.pop()), first.dim()
    texts = dims == 3 or (dims == 2 and not first.is_floating_point())
    return count, count * first.shape[1] if texts else count


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
