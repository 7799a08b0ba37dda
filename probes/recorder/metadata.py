"""What a recording says of its run: coordinates to group by, attributes to read."""

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ultraslow.diffusion.recording import FIELDS

_VERSIONS = ("ultraslow", "torch", "numpy", "xarray", "netCDF4")
_SCALARS = frozenset(name for name, field in FIELDS.items() if not field.dims)


def coordinates(
    optimizer: torch.optim.Optimizer, metadata: Mapping[str, Any]
) -> dict[str, str | int | float]:
    """Scalar coordinates: what the optimizer tells, overruled by the metadata.

    Arguments:
        optimizer: read for its name and the first group's learning rate, momentum and weight
            decay.
        metadata: the user's; keys that are no declared scalar field are ignored here.

    Returns:
        From field name to value.
    """
    group = optimizer.param_groups[0]
    told = {
        "optimizer": type(optimizer).__name__,
        "base_learning_rate": float(group["lr"]),
        "momentum": group.get("momentum"),
        "weight_decay": group.get("weight_decay"),
    }
    known = {**told, **{name: metadata[name] for name in metadata if name in _SCALARS}}
    return {name: value for name, value in known.items() if value is not None}


def attributes(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Documentation: the rest of the metadata as JSON, versions, commit and time.

    Arguments:
        metadata: the user's; what JSON cannot hold is stored as its `repr`.

    Returns:
        Texts by attribute name.
    """
    rest = {name: value for name, value in metadata.items() if name not in _SCALARS}
    versions = {name: version(name) for name in _VERSIONS}
    return {
        "title": "Weight distance, gradient noise and loss of a training run",
        "source": "ultraslow probes",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": json.dumps(rest, default=repr, sort_keys=True),
        "versions": json.dumps({"python": platform.python_version(), **versions}),
        "commit": _commit(),
    }


def check_scalars(metadata: Mapping[str, Any]) -> None:
    """Refuse metadata whose declared fields have values of another type.

    Raises:
        TypeError: naming the key, what was found and what was expected.
    """
    expected = {"str": str, "i8": int | np.integer, "f8": int | float | np.number}
    for name in sorted(_SCALARS & set(metadata)):
        kind = expected[FIELDS[name].dtype]
        if not isinstance(metadata[name], kind) or isinstance(metadata[name], bool):
            raise TypeError(
                f"metadata[{name!r}]: found {metadata[name]!r}, expected {FIELDS[name].dtype}"
            )


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
