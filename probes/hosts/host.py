"""What hosts share: checks before a training begins, the samples of a batch, going on."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor

from ultraslow.probes.recorder.attach import attach
from ultraslow.probes.recorder.recorder import Recorder

Samples = Callable[[Any], int]
# What hosts know themselves.
_KNOWN = ("model", "optimizer", "path", "scaler")


def refuse_unknown(options: Mapping[str, Any]) -> None:
    """Refuse what `attach` would not take, before a long training has begun.

    Arguments:
        options: for `attach`, by name.

    Raises:
        TypeError: naming what is unknown, or known to the host already.
    """
    taken = [name for name in inspect.signature(attach).parameters if name not in _KNOWN]
    unknown = [name for name in options if name not in taken]
    if unknown:
        raise TypeError(f"{unknown[0]}: not an option of us.attach here, expected one of {taken}")


def with_labels(options: Mapping[str, Any], **known: Any) -> dict[str, Any]:
    """Options, and labels that the host knows where the user has given none.

    Arguments:
        options: for `attach`, by name.
        known: labels by name; None for one that is not known.
    """
    given = {*options, *(options.get("metadata") or {})}
    new = {name: value for name, value in known.items() if value is not None}
    return {**{name: new[name] for name in new if name not in given}, **options}


def length(collection: object) -> int | None:
    """How many entries there are; None where that is not known, or none."""
    try:
        return len(collection) or None  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None


def samples_of(batch: Any) -> int:
    """Length of the first dimension of the first tensor of a batch.

    Raises:
        ValueError: where there is no such tensor.
    """
    first = next(_tensors(batch), None)
    if first is None:
        raise ValueError(
            f"samples: found no tensor in a batch, which is a {type(batch).__name__}; give "
            "samples=, a function from a batch to how many samples it holds"
        )
    return first.shape[0]


def _tensors(batch: Any) -> Iterator[Tensor]:
    """Tensors with a first dimension, in a batch of nested containers."""
    if isinstance(batch, Tensor):
        yield from [batch] if batch.ndim else []
    elif isinstance(batch, Mapping):
        for part in batch.values():
            yield from _tensors(part)
    elif isinstance(batch, Collection) and not isinstance(batch, str | bytes):
        for part in batch:
            yield from _tensors(part)


def state_of(recorder: Recorder) -> dict[str, Any]:
    """What a later run needs to go on, for the host's checkpoint; every process calls it."""
    try:
        return {"recorder": recorder.state_dict()}
    except RuntimeError:  # it has stopped by itself, and has warned of that
        return {"iteration": recorder.iteration}


def resumed(state: Mapping[str, Any]) -> Any:
    """What `attach` takes as `resume`, of a state in a checkpoint; None of an empty one."""
    return state.get("recorder", state.get("iteration"))


@contextmanager
def replaced(owner: Any, name: str, by: Callable[..., Any]) -> Iterator[None]:
    """A method of an object, other instances of its class excepted, is called through another.

    Arguments:
        owner: of the method.
        name: of the method.
        by: is called with the method and its arguments.
    """
    inner, before = getattr(owner, name), vars(owner).get(name)
    setattr(owner, name, partial(by, inner))
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
