"""What a recording says of its run: coordinates to group by, attributes to read."""

import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ultraslow.diffusion.recording import SCALARS, as_label
from ultraslow.probes.buffer import TensorGroups

_VERSIONS = ("ultraslow", "torch", "numpy", "xarray", "netCDF4")
# Where the argument of `attach` has another name than the label.
_ARGUMENTS = {"model": "model_name"}


def described(metadata: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata, with the labels that were given by name, all of them held to their words.

    Arguments:
        metadata: the user's.
        given: labels by name; None for one that was not given.

    Returns:
        From key to value; labels that are None are left out.

    Raises:
        TypeError: for a label of another type, naming what was found and what was expected.
        ValueError: for a label out of range, or that was given twice with different values.
    """
    found = {}
    for name, value in metadata.items():
        if name not in SCALARS:
            found[name] = value
        elif value is not None:
            found[name] = as_label(name, value, f"metadata[{name!r}]")
    for name, value in given.items():
        if value is None:
            continue
        argument = _ARGUMENTS.get(name, name)
        own = as_label(name, value, argument)
        if found.setdefault(name, own) != own:
            raise ValueError(
                f"{argument}: found {own!r}, and {found[name]!r} in metadata; give one of them"
            )
    return found


def coordinates(
    optimizers: Sequence[torch.optim.Optimizer], metadata: Mapping[str, Any]
) -> dict[str, str | int | float]:
    """Scalar coordinates: what the optimizers tell, overruled by the metadata.

    Arguments:
        optimizers: read for their names, the first one's learning rate, and the momentum and
            weight decay of the first group of each, where that is one number of all.
        metadata: as `described` gives it; keys that are no labels are ignored here.

    Returns:
        From field name to value.
    """
    groups = [optimizer.param_groups[0] for optimizer in optimizers]
    told: dict[str, str | int | float] = {
        "optimizer": "+".join(type(optimizer).__name__ for optimizer in optimizers)
    }
    # What optimizers of strangers keep under these names may be anything.
    if (rate := _number(groups[0].get("lr"))) is not None:
        told["base_learning_rate"] = rate
    for name in ("momentum", "weight_decay"):
        values = {_number(group.get(name)) for group in groups}
        value = values.pop()
        if value is not None and not values:
            told[name] = value
    return {**told, **{name: metadata[name] for name in metadata if name in SCALARS}}


def _number(value: object) -> float | None:
    single = isinstance(value, torch.Tensor) and value.ndim == 0
    return float(value) if single or isinstance(value, Real) else None  # type: ignore[arg-type]


def in_groups(static: Mapping[str, Any], groups: TensorGroups | None) -> dict[str, Any]:
    """Coordinates along tensors, of groups of them: sizes added, and what all of a group share.

    Arguments:
        static: values of all coordinates.
        groups: None where each tensor is by itself.

    Raises:
        ValueError: for a group whose tensors are trained by several parameter groups.
    """
    if groups is None:
        return dict(static)
    found = {**static, "tensor": list(groups.names)}
    parts = [list(places) for places in groups.members]
    found["tensor_size"] = [int(np.sum(np.take(static["tensor_size"], at))) for at in parts]
    if "scale_invariant" in static:  # a sum is when all of it is
        found["scale_invariant"] = [
            int(np.min(np.take(static["scale_invariant"], at))) for at in parts
        ]
    if "tensor_group" in static:
        slots = [set(np.take(static["tensor_group"], at).tolist()) for at in parts]
        for name, several in zip(groups.names, slots, strict=True):
            if len(several) > 1:
                raise ValueError(
                    f"groups: {name!r} holds tensors of the optimizer's parameter groups "
                    f"{sorted(several)}, whose learning rates are recorded by tensor; make a "
                    "group for each"
                )
        found["tensor_group"] = [several.pop() for several in slots]
    return found


def attributes(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Documentation: the rest of the metadata as JSON, versions, commit and time.

    Arguments:
        metadata: the user's; what JSON cannot hold is stored as its `repr`.

    Returns:
        Texts by attribute name.
    """
    rest = {name: value for name, value in metadata.items() if name not in SCALARS}
    versions = {name: version(name) for name in _VERSIONS}
    return {
        "title": "Weight distance, gradient noise and loss of a training run",
        "source": "ultraslow probes",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": json.dumps(rest, default=repr, sort_keys=True),
        "versions": json.dumps({"python": platform.python_version(), **versions}),
        "commit": _commit(),
    }


def superseded(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Entries that later ones lack or have otherwise, as they were; of nested ones those alone.

    >>> superseded({"a": 1, "settings": {"b": 2, "c": 3}}, {"a": 1, "settings": {"b": 2, "c": 4}})
    {'settings': {'c': 3}}
    """
    found: dict[str, Any] = {}
    for name, value in earlier.items():
        now = later.get(name)
        if isinstance(value, Mapping) and isinstance(now, Mapping):
            if inner := superseded(value, now):
                found[name] = inner
        elif name not in later or now != value:
            found[name] = value
    return found


def _commit() -> str:
    """Commit of the working folder, where training code usually lies, or else of the program.

    The program's counts where git knows the program; empty where neither is to be had.
    """
    describe = ("describe", "--always", "--dirty", "--abbrev=40")
    program = getattr(sys.modules["__main__"], "__file__", None)
    here = _git(*describe)
    if here or program is None:
        return here
    file = Path(program).resolve()
    known = _git("ls-files", file.name, folder=file.parent)
    return known and _git(*describe, folder=file.parent)


def _git(*words: str, folder: Path | None = None) -> str:
    """What git answers in a folder; nothing where it fails."""
    try:
        answer = subprocess.run(
            ["git", *words], capture_output=True, text=True, timeout=5, check=False, cwd=folder
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()
