"""What torch calls before and after the steps of all optimizers, and who listens.

A hook that comes or goes while another thread's optimizer loops over its hooks stops that
training. So one pair is registered in a process, at the first demand, and stays; it lies in
torch's own table, where later demands find it. Who listens is held weakly, in a tuple that is
replaced and never changed.

A closure that is given to a step is called within it, and makes its backward passes, and clips
there perhaps: it is given on as one that tells when it has ended.

A compiled step would trace what is called within it, and run that once. The hooks are kept out of
the graph, which is cut there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol
from weakref import ref

import torch
from torch._C._dynamo import eval_frame
from torch.optim import optimizer as torch_optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

Listener = Callable[[torch.optim.Optimizer], None]


class _Reference(NamedTuple):
    """A method that is called as long as its object lives; at every update, so it is kept apart.

    Arguments:
        whose: the object, held weakly.
        method: that of its class.
    """

    whose: "ref[object]"
    method: Callable[..., None]


_References = tuple[_Reference, ...]

# The number of the backward pass at hand; −1 outside of any. It is asked for at every gradient.
current: Callable[[], int] = torch._C._current_graph_task_id
_compiler: Callable[[], object] = getattr(eval_frame, "get_eval_frame_callback", lambda: True)

_REASON = (
    "the probes of ultraslow count optimizer steps on the host; compile the step without "
    "fullgraph=True"
)


class Handle(Protocol):
    """What undoes a hook."""

    def remove(self) -> None:
        """Undo it."""
        ...


def uncompiled(function: Callable[..., Any], *, reason: str | None = None) -> Callable[..., Any]:
    """A function that no compiler takes for a part of the program.

    What torch wraps around it for that takes as long as much of what is called here, and is gone
    through only in a step that is compiled as a whole.

    Arguments:
        function: to keep out.
        reason: what a compiler says that must not leave it out.
    """
    from torch._dynamo.decorators import skip  # it takes a second

    apart = torch.compiler.disable(function)

    def call(*given: object) -> Any:
        return function(*given) if _compiler() is None else apart(*given)

    kept: Any = skip(call)
    kept._torchdynamo_disable_msg = reason
    return call


def before_steps(method: Listener) -> Handle:
    """Call a method before any optimizer steps, as long as its object lives."""
    return _table().add(method, "before")


def after_steps(method: Listener) -> Handle:
    """Call a method after any optimizer has stepped, as long as its object lives."""
    return _table().add(method, "after")


def after_closures(method: Listener) -> Handle:
    """Call a method after any closure within a step, as long as its object lives."""
    return _table().add(method, "closure")


def listening() -> list[object]:
    """The objects whose methods are called before steps."""
    return _table().owners()


class _Table:
    """Who is called before and after steps, and after closures within them."""

    def __init__(self) -> None:
        """Nobody yet."""
        self._called: dict[str, _References] = {"before": (), "after": (), "closure": ()}

    def register(self) -> None:
        """Have torch call, for good."""
        for call, register in (
            (self._call_before, register_optimizer_step_pre_hook),
            (self._call_after, register_optimizer_step_post_hook),
        ):
            hook: Any = uncompiled(call, reason=_REASON)
            hook.table = self
            register(hook)

    def owners(self) -> list[object]:
        """Whose methods are called before steps."""
        return [one.whose() for one in _living(self._called["before"])]

    def add(self, method: Listener, when: str) -> Handle:
        """Add a listener; its handle takes it away."""
        reference = _Reference(ref(method.__self__), method.__func__)  # type: ignore[attr-defined]
        self._called[when] = (*_living(self._called[when]), reference)
        return _Listening(self, reference)

    def drop(self, reference: _Reference) -> None:
        """Take a listener away."""
        for when, references in self._called.items():
            self._called[when] = tuple(one for one in _living(references) if one is not reference)

    def _call_before(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Call who listens; the arguments, where there is a closure among them, to hear it."""
        _call(self._called["before"], optimizer)
        self_, *given = args
        if given and callable(given[0]):
            return (self_, self._heard(optimizer, given[0]), *given[1:]), named
        if callable(closure := named.get("closure")):
            return args, {**named, "closure": self._heard(optimizer, closure)}
        return None

    def _heard(
        self, optimizer: torch.optim.Optimizer, closure: Callable[..., Any]
    ) -> Callable[..., Any]:
        def tell(*given: Any, **named: Any) -> Any:
            result = closure(*given, **named)
            _call(self._called["closure"], optimizer)
            return result

        return tell

    def _call_after(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        _call(self._called["after"], optimizer)


class _Listening:
    """Takes a listener away."""

    def __init__(self, table: _Table, reference: _Reference) -> None:
        self._table = table
        self._reference = reference

    def remove(self) -> None:
        self._table.drop(self._reference)


def _table() -> _Table:
    """The table of this process."""
    for hook in tuple(torch_optimizer._global_optimizer_pre_hooks.values()):
        found = getattr(hook, "table", None)
        if isinstance(found, _Table):
            return found
    table = _Table()
    table.register()
    return table


def _living(references: _References) -> list[_Reference]:
    return [one for one in references if one.whose() is not None]


def _call(references: _References, optimizer: torch.optim.Optimizer) -> None:
    for whose, method in references:
        if (living := whose()) is not None:
            method(living, optimizer)
