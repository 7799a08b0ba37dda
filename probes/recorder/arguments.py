"""Whether the arguments of `attach` are what they should be; each fault names its argument."""

from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ultraslow.probes.distributed import refuse_unseen, within_wrapper
from ultraslow.probes.quantities import QUANTITIES, WITH_SETTINGS, Evaluation
from ultraslow.probes.quantities.landscape import Landscape
from ultraslow.probes.steps import is_recorded
from ultraslow.probes.storage import PLACES, SegmentStore, name_fault


def probe_names() -> list[str]:
    """Names that `attach` takes as `probes`."""
    return sorted({"noise", *QUANTITIES} - WITH_SETTINGS)


def check_types(
    model: object,
    optimizers: Sequence[object],
    path: object,
    *,
    scaler: object,
    flush_seconds: object,
) -> None:
    """Refuse values of another type.

    Raises:
        TypeError: naming the argument, what was found and what was expected.
    """
    _check_kind("model", model, torch.nn.Module)
    for optimizer in optimizers:
        _check_kind("optimizer", optimizer, torch.optim.Optimizer)
    _check_kind("path", path, str | Path)
    _check_kind("scaler", scaler, torch.amp.GradScaler | None)
    _check_kind("flush_seconds", flush_seconds, Real)


def check_descriptions(evaluation: object, landscape: object, metadata: object) -> None:
    """Refuse what does not say what to measure, or of which run.

    Raises:
        TypeError: naming the argument, what was found and what was expected.
    """
    _check_kind("evaluation", evaluation, Evaluation | None)
    _check_kind("landscape", landscape, Landscape | None)
    _check_kind("metadata", metadata, Mapping | None)


def _check_kind(name: str, value: object, kind: Any) -> None:
    if not isinstance(value, kind):
        wanted = getattr(kind, "__name__", str(kind))
        raise TypeError(f"{name}: found {type(value).__name__}, expected {wanted}")


def check_values(
    model: torch.nn.Module,
    path: str | Path,
    flush_seconds: float,
    *,
    batch_size: int,
    probes: Collection[str] | None,
) -> None:
    """Refuse values that cannot be meant.

    Raises:
        ValueError, TypeError: naming the argument, what was found and what was expected.
    """
    if not Path(path).name:
        raise ValueError(f"path: found {str(path)!r}, expected a name for the recording")
    if fault := name_fault(SegmentStore(path).folder):
        raise ValueError(f"path: {fault}")
    if not flush_seconds >= 0:
        raise ValueError(f"flush_seconds: found {flush_seconds}, expected a time, >= 0")
    if within_wrapper(model):
        raise ValueError(
            "model: found the module within a DistributedDataParallel, expected the wrapper"
        )
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
        raise TypeError(f"batch_size: found {batch_size!r}, expected an integer")
    if batch_size < 1:
        raise ValueError(f"batch_size: found {batch_size}, expected samples in an update, >= 1")
    check_probes(probes)


def check_probes(probes: Collection[str] | None) -> None:
    """Refuse probes that there are not.

    Raises:
        ValueError, TypeError: naming the argument, what was found and what was expected.
    """
    if isinstance(probes, str):
        raise TypeError(f"probes: found {probes!r}, expected a list of names, as [{probes!r}]")
    unknown = sorted(set(probes or ()).difference(probe_names()))
    if unknown:
        raise ValueError(f"probes: found {unknown}, expected names of {probe_names()}")


def check_place(initial_on: object, landscape: Landscape | None) -> None:
    """Refuse to keep w0 where it cannot be, or not be used.

    Raises:
        ValueError: naming the argument, what was found and what was expected.
    """
    if initial_on not in PLACES:
        raise ValueError(f"initial_on: found {initial_on!r}, expected one of {list(PLACES)}")
    if landscape is not None and initial_on != "device":
        raise ValueError(
            f"initial_on: found {initial_on!r} with landscape=, which moves weights along the way "
            "from w0 and needs it beside them; leave one of the two out"
        )


# Modules whose optimizers only decide whether the wrapped one steps, and what they call it.
_HOSTS = ("accelerate.", "lightning.", "pytorch_lightning.")
_WITHIN = ("optimizer", "_optimizer", "base_optimizer", "optim")


def own_optimizers(optimizer: Any, model: object = None) -> list[Any]:
    """The optimizers whose steps can be followed, of one that was given or of several.

    Raises:
        TypeError, ValueError: as `own_optimizer`, and for none.
    """
    if isinstance(optimizer, str) or not isinstance(optimizer, Sequence):
        return [own_optimizer(optimizer, model)]
    if not optimizer:
        raise ValueError("optimizer: found none, expected one or a list of several")
    return [own_optimizer(one, model) for one in optimizer]


def clock_of(clock: Any, optimizers: Sequence[torch.optim.Optimizer]) -> int | None:
    """The number of the optimizer whose steps are iterations; None where each is waited for.

    Raises:
        ValueError: for one that was not given.
    """
    if clock is None:
        return None
    found = [k for k, one in enumerate(optimizers) if one is own_optimizer(clock)]
    if not found:
        raise ValueError(
            f"clock: found {type(clock).__name__}, expected one of the optimizers that are given, "
            f"{_listed(optimizers)}"
        )
    return found[0]


def own_optimizer(optimizer: Any, model: object = None) -> Any:
    """The optimizer whose steps can be followed.

    Accelerate and Lightning wrap optimizers: theirs steps where the wrapped one does, and that is
    followed. What another wrapper does to the weights before or after nobody can know.

    Arguments:
        optimizer: as it was given, of whatever type.
        model: that it trains.

    Returns:
        The optimizer within a wrapper of those; others as they are.

    Raises:
        TypeError: for a wrapper of another kind, naming what it holds.
        ValueError: for an optimizer that does not call the hooks of torch's, and where it or the
            model hides what is trained.
    """
    refuse_unseen(model, optimizer)
    while _from_host(optimizer) and optimizer.optimizer is not optimizer:
        optimizer = optimizer.optimizer
    if _is_followed(optimizer):
        return optimizer
    name = type(optimizer).__name__
    held = [one for one in _WITHIN if _is_followed(getattr(optimizer, one, None))]
    advice = (
        f"give the one that it holds, `.{held[0]}`, if all weights move in that" if held else ""
    )
    if isinstance(optimizer, torch.optim.Optimizer):
        advice = advice or "call `super().__init__(params, defaults)` in its own `__init__`"
        raise ValueError(
            f"optimizer: found {name}, which does not call the `__init__` of torch's Optimizer, "
            f"so that its steps cannot be followed; {advice}"
        )
    if held:
        raise TypeError(f"optimizer: found {name}, expected Optimizer; {advice}")
    return optimizer


def _from_host(optimizer: Any) -> bool:
    modules = [f"{kind.__module__}." for kind in type(optimizer).__mro__]
    return any(one.startswith(_HOSTS) for one in modules) and hasattr(optimizer, "optimizer")


def _is_followed(optimizer: object) -> bool:
    hooked = hasattr(optimizer, "_optimizer_step_post_hooks")
    return isinstance(optimizer, torch.optim.Optimizer) and hooked


def check_optimizers(
    optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, torch.nn.Parameter]
) -> None:
    """Refuse optimizers that do not train the model, or that are recorded already.

    Raises:
        ValueError: saying which.
    """
    if not tensors:
        raise ValueError("model: found no trainable parameter, expected at least one")
    if empty := [name for name, tensor in tensors.items() if tensor.is_meta]:
        raise ValueError(
            f"model: found {len(empty)} tensors on the meta device, the first is {empty[0]!r}, "
            "which have no values yet; call model.to_empty(device=…) and initialize them, then "
            "attach"
        )
    if complex_ones := [name for name, tensor in tensors.items() if tensor.is_complex()]:
        raise ValueError(f"model: found complex tensors {complex_ones[:3]}, expected real ones")
    if len({id(one) for one in optimizers}) < len(optimizers):
        raise ValueError(f"optimizer: found {_listed(optimizers)}, one of them twice")
    wanted, owned = {id(tensor) for tensor in tensors.values()}, set[int]()
    for number, one in enumerate(optimizers):
        own = {id(parameter) for group in one.param_groups for parameter in group["params"]}
        if not own & wanted and len(optimizers) > 1:
            raise ValueError(
                f"optimizer: number {number} of {_listed(optimizers)} owns none of the model's "
                "trainable parameters; leave it out"
            )
        owned |= own
    strange = [name for name, parameter in tensors.items() if id(parameter) not in owned]
    if strange:
        raise ValueError(
            f"optimizer: does not own {len(strange)} of the model's {len(tensors)} trainable "
            f"parameters, the first is {strange[0]!r}; give all optimizers that train the model, "
            "attach(model, [first, second], …). Where parameters have optimizers of their own "
            "that step in the backward pass, give one that owns all of them and call its step "
            "after each pass"
        )
    if any(is_recorded(one) for one in optimizers):
        raise ValueError("optimizer: a recorder is already attached to it; close that one first")


def _listed(optimizers: Sequence[torch.optim.Optimizer]) -> str:
    return f"[{', '.join(type(one).__name__ for one in optimizers)}]"
