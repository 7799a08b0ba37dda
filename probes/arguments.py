"""Whether the arguments of `attach` are what they should be; each fault names its argument."""

from collections.abc import Collection, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .description import check_scalars
from .evaluation import Evaluation
from .landscape import Landscape
from .processes import within_wrapper
from .recorder import Recorder

PROBES = ("distance", "noise", "path", "trajectory")


def check_types(
    model: object, optimizer: object, path: object, *, scaler: object, flush_seconds: object
) -> None:
    """Refuse values of another type.

    Raises:
        TypeError: naming the argument, what was found and what was expected.
    """
    _check_kind("model", model, torch.nn.Module)
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
    if isinstance(metadata, Mapping):
        check_scalars(metadata)


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
    if isinstance(probes, str):
        raise TypeError(f"probes: found {probes!r}, expected a list of names, as [{probes!r}]")
    unknown = sorted(set(probes or ()).difference(PROBES))
    if unknown:
        raise ValueError(f"probes: found {unknown}, expected names of {list(PROBES)}")


def check_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.nn.Parameter]
) -> None:
    """Refuse an optimizer that does not train the model, or that is recorded already.

    Raises:
        ValueError: saying which.
    """
    if not tensors:
        raise ValueError("model: found no trainable parameter, expected at least one")
    if complex_ones := [name for name, tensor in tensors.items() if tensor.is_complex()]:
        raise ValueError(f"model: found complex tensors {complex_ones[:3]}, expected real ones")
    owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    strange = [name for name, parameter in tensors.items() if id(parameter) not in owned]
    if strange:
        raise ValueError(
            f"optimizer: does not own {len(strange)} of the model's {len(tensors)} trainable "
            f"parameters, the first is {strange[0]!r}; where parameters have optimizers of their "
            "own, give one that owns all of them and call its step after each backward pass"
        )
    hooks = optimizer._optimizer_step_post_hooks.values()
    if any(isinstance(getattr(hook, "__self__", None), Recorder) for hook in hooks):
        raise ValueError("optimizer: a recorder is already attached to it; close that one first")
