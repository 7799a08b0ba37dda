"""Whether a run can be recorded, and whether what is on disk belongs to it."""

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ultraslow.diffusion.recording import ATTRIBUTE_LENGTH, FIELDS, LABELS, NAME_LENGTH, pack
from ultraslow.probes.buffer import State
from ultraslow.probes.norms import Blockwise, same_values
from ultraslow.probes.quantities import QUANTITIES
from ultraslow.probes.storage import initial

# By these fields, and by the first of each quantity's, a recording shows which probes made it.
_TRACES = {"noise": "mean_sq", "scaler": "skipped"}
# Radii may follow from w0, which a run that goes on does not begin with.
_AXES = ("group", "metric", "ensemble", "direction", "fraction")
# What may differ between the parts of a run without a word.
_MAY_DIFFER = ("world_size", "base_learning_rate", "run", "gradient_difference")
# Relative tolerance of the squared distance of weights that were read from a checkpoint. The same
# weights have the same distance, up to the order of adding; a slow run moves by little more.
_SAME = 1e-6


def refuse_unreadable(static: Mapping[str, Any], attributes: Mapping[str, str]) -> None:
    """A run that no reader would accept is not begun: its recording would be lost.

    Arguments:
        static: coordinates of the run.
        attributes: of it.

    Raises:
        ValueError: saying what is too long or cannot be stored.
    """
    try:
        pack(static, attributes)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"metadata: cannot be recorded: {error}") from error
    for name, text in attributes.items():
        if len(text) > ATTRIBUTE_LENGTH:
            what = "metadata" if name == "config" else name
            raise ValueError(
                f"{what}: found {len(text)} characters, expected at most {ATTRIBUTE_LENGTH}"
            )
    for axis in ("tensor", "metric", "ensemble", "run"):
        for name in np.atleast_1d(np.asarray(static.get(axis, ""), dtype=np.str_)).tolist():
            if len(name) > NAME_LENGTH:
                raise ValueError(
                    f"{axis}: found a name of {len(name)} characters, {name[:40]!r}…, expected at "
                    f"most {NAME_LENGTH}"
                )


def refuse_other_run(
    folder: Path,
    records: xr.Dataset,
    static: Mapping[str, object],
    probes: Collection[str],
    *,
    warn: Callable[[str], None],
) -> None:
    """A run goes on with the same tensors, batch and probes; of the rest it is warned.

    Arguments:
        folder: of the recording.
        records: that are there.
        static: coordinates of the run that goes on.
        probes: all that it runs, `scaler` among them with mixed precision.
        warn: is told of the rest.

    Raises:
        ValueError: saying what differs.
    """
    axes = [name for name in _AXES if name in static and name in records]
    if "tensor_group" in static and "tensor_group" in records:
        axes.append("tensor_group")  # or rates would be those of other groups
    for name in ("tensor", "tensor_size", "batch_size", *axes):
        found, expected = np.asarray(static[name]), records[name].values
        if not np.array_equal(found, expected):
            raise ValueError(
                f"{name}: found {_named(found)}, the recording at {folder} has {_named(expected)}"
            )
    quantities = {name: quantity.fields[0] for name, quantity in QUANTITIES.items()}
    for probe, field in (_TRACES | quantities).items():
        found_before = probe == "scaler" and field in records  # and will be again
        if found_before or FIELDS[field].required:
            continue
        if (field in records) != (probe in probes):
            had = "has" if field in records else "has no"
            raise ValueError(
                f"probes: the recording {had} {field}, which {probe!r} makes; resume with the "
                "same probes and scaler"
            )
    for told in _other_metadata(folder, records, static):
        warn(told)


def refuse_other_landscape(
    records: xr.Dataset, static: Mapping[str, object], attributes: Mapping[str, str]
) -> None:
    """A landscape goes on at the same radii and in the same mode, or its values would be mixed.

    Radii that follow from w0 are not compared: before w0 is read they are those of other weights.

    Arguments:
        records: that are there.
        static: coordinates of the run that goes on.
        attributes: of it.

    Raises:
        ValueError: saying what differs.
    """
    for name in ("landscape_mode", "landscape_radii"):
        had = records.attrs.get(name)
        if had is not None and had != attributes.get(name):
            raise ValueError(
                f"landscape: found {name} {attributes.get(name)!r}, the recording has {had!r}"
            )
    if records.attrs.get("landscape_radii") == "given":
        found, expected = np.asarray(static["radius"]), records["radius"].values
        if not np.array_equal(found, expected):
            raise ValueError(
                f"landscape: found radii {_named(found)}, the recording has {_named(expected)}"
            )


def refuse_earlier_initial(folder: Path) -> None:
    """A new run does not overwrite the initial weights of another.

    Raises:
        FileExistsError: when there are some.
    """
    saved = initial.weight_files(folder)
    if saved:
        raise FileExistsError(
            f"path: found initial weights of an earlier run at {saved[0]}; choose another path or "
            "move the folder away"
        )


def refuse_other_initial(folder: Path, state: State, digest: str) -> None:
    """A state goes on with the initial weights it began with.

    Arguments:
        folder: of the recording.
        state: that goes on.
        digest: SHA-256 of the initial weights that are there; empty where not all can be seen.

    Raises:
        ValueError: when they are others.
    """
    if digest and state.initial and state.initial != digest:
        raise ValueError(
            f"path: the initial weights in {folder} have the checksum {digest[:12]}…, "
            f"expected {state.initial[:12]}…: they are those of another run"
        )


def refuse_other_weights(
    folder: Path, weights: Sequence[Tensor], initial_weights: Sequence[Tensor | Blockwise]
) -> None:
    """A run without a record can only go on from its initial weights themselves.

    Raises:
        ValueError: when the model has others.
    """
    if not all(map(same_values, weights, initial_weights)):
        raise ValueError(
            f"path: found initial weights in {folder} but no record, and the model has other "
            "weights; to begin anew, remove the folder"
        )


def other_weights(state: State, distance_sq: float) -> str:
    """What to say where the weights are not as far from w0 as at the state's iteration."""
    known = np.isfinite(state.distance_sq)
    if not known or np.isclose(state.distance_sq, distance_sq, rtol=_SAME, atol=0.0):
        return ""
    return (
        f"the weights are {distance_sq**0.5:.9g} from the initial ones, but were "
        f"{state.distance_sq**0.5:.9g} at iteration {state.iteration}; load the checkpoint of "
        "that iteration before attaching"
    )


def _other_metadata(
    folder: Path, records: xr.Dataset, static: Mapping[str, object]
) -> Iterator[str]:
    """What to say of metadata that a recording has otherwise, and of those that it lacks."""
    scalars = [name for name in static if name in records and records[name].ndim == 0]
    had = {name: records[name].values[()] for name in scalars if name not in _MAY_DIFFER}
    changed = [name for name, value in had.items() if value != static[name]]
    if changed:
        told = ", ".join(f"{name} {had[name]}" for name in changed)
        given = ", ".join(f"{name} {static[name]}" for name in changed)
        yield f"goes on with its own {told}, and not with what was given now, {given}"
    new = [name for name in LABELS if name in static and name not in records]
    if new := [name for name in new if name not in _MAY_DIFFER]:
        words = " ".join(shlex.quote(f"{name}={static[name]}") for name in new)
        yield (
            f"was begun without {', '.join(new)} and goes on without; when it is closed, run "
            f"`ultraslow label {shlex.quote(str(folder))} {words}`"
        )


def _named(values: NDArray[Any]) -> str:
    listed = np.atleast_1d(values).tolist()
    return f"{listed}" if len(listed) <= 6 else f"{len(listed)} values, {listed[:3]} …"
