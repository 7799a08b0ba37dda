"""The contract between measuring and analysing: what a recording holds.

One training run is one recording. `FIELDS` declares every variable with its dimensions, type,
unit, meaning and window rule; `pack` turns arrays into the dictionary that
`xarray.Dataset.from_dict` takes, and `check` lists every fault of a dataset. The module itself
needs numpy only: `check` uses a dataset's `dims`, `variables` and `attrs`.

What nobody knows of a run that was not recorded here is absent, NaN, or 0 where a size is
required (`batch_size`, `tensor_size`).

A *window* is the span of iterations after the previous record up to and including this one. A
field whose cell method is `iteration: mean` is an average over the window, so that sparse records
lose nothing; a `point` field is the value at the record.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from .errors import RecordError
from .fields import AXES, COORDINATES, FIELDS, Field

SCHEMA = 1
CONVENTIONS = "CF-1.11"

# Names and strings from files end in reports and error messages; longer ones are refused as
# hostile or broken.
NAME_LENGTH = 512
ATTRIBUTE_LENGTH = 1_000_000
LARGEST_INTEGER = 2**63 - 1  # that a recording holds

# Of the attribute `events`, which tells what happened to a run: their version, whose number stands
# in `events_schema`, and how many and how long they may be.
EVENTS_SCHEMA = 1
EVENTS = 100
EVENT_LENGTH = 400

# What all segments of a recording share, beside the values of its axes.
_SAME = ("run", "batch_size", "tensor", "tensor_size", "tensor_group", "scale_invariant")


class DatasetLike(Protocol):
    """What `check` reads of a dataset; `xarray.Dataset` has it."""

    @property
    def sizes(self) -> Mapping[Any, int]:
        """Length of each dimension."""
        ...

    @property
    def variables(self) -> Mapping[Any, Any]:
        """Variables and coordinates by name."""
        ...

    @property
    def attrs(self) -> Mapping[Any, Any]:
        """Attributes by name."""
        ...


def pack(values: Mapping[str, Any], attrs: Mapping[str, str | int | float] | None = None) -> dict:
    """The dictionary form of a recording, as `xarray.Dataset.from_dict` takes it.

    Arguments:
        values: from field name to array; dimensions, type, unit and meaning come from `FIELDS`.
        attrs: documentation of the run: text and numbers only.

    Returns:
        A dictionary with `coords`, `data_vars` and `attrs`; conventions and schema version are
        added.

    Raises:
        ValueError: for a name that `FIELDS` does not declare, an array of another number of
            dimensions, complex values, or integers of more than 63 bits.

    >>> packed = pack({"iteration": [0, 1], "loss": [float("nan"), 2.3], "batch_size": 8})
    >>> packed["data_vars"]["loss"]["dims"]
    ('iteration',)
    """
    unknown = sorted(set(values) - set(FIELDS))
    if unknown:
        raise ValueError(
            f"values: undeclared fields {unknown}, expected names in recording.FIELDS"
        )
    entries = {name: _entry(FIELDS[name], value) for name, value in values.items()}
    return {
        "coords": {name: entry for name, entry in entries.items() if name in COORDINATES},
        "data_vars": {name: entry for name, entry in entries.items() if name not in COORDINATES},
        "attrs": {"Conventions": CONVENTIONS, "schema": SCHEMA, **(attrs or {})},
    }


def _entry(field: Field, value: Any) -> dict:
    found = np.asarray(value)
    # numpy would take the real part of the one and turn the other into a negative number.
    if field.dtype != "str" and found.dtype.kind == "c":
        raise ValueError(f"{field.name}: found complex values, expected real ones")
    if field.dtype == "i8" and found.dtype.kind == "u" and (found > LARGEST_INTEGER).any():
        raise ValueError(f"{field.name}: found {found.max()}, expected at most {LARGEST_INTEGER}")
    array = np.asarray(value, dtype=np.str_ if field.dtype == "str" else field.dtype)
    if array.ndim != len(field.dims):
        raise ValueError(f"{field.name}: found {array.ndim} dimensions, expected {field.dims}")
    attrs = {"long_name": field.meaning}
    if field.units:
        attrs["units"] = field.units
    if field.cell_method:
        attrs["cell_methods"] = field.cell_method
    return {"dims": field.dims, "data": array, "attrs": attrs}


def check(dataset: DatasetLike, source: str = "dataset") -> None:
    """Refuse a dataset that is no sound recording, listing every fault at once.

    Arguments:
        dataset: an `xarray.Dataset` or anything with `sizes`, `variables` and `attrs`.
        source: the file or run to name in the message.

    Raises:
        RecordError: with one sentence a fault.
    """
    faults = [*_schema_faults(dataset), *_field_faults(dataset)]
    if not faults:  # values are only looked at where shapes and types are sound
        faults = [*_axis_faults(dataset), *_value_faults(dataset)]
    if faults:
        raise RecordError(source, faults)


def _schema_faults(dataset: DatasetLike) -> Iterable[str]:
    schema = dataset.attrs.get("schema")
    if schema is None:
        yield "attribute schema is missing: this is not a recording"
    elif not isinstance(schema, int | np.integer) or int(schema) != SCHEMA:
        found = f"schema version {str(schema)[:NAME_LENGTH]!r}, this version reads {SCHEMA}"
        later = isinstance(schema, int | np.integer) and int(schema) > SCHEMA
        yield found + (_written_by(dataset.attrs) if later else "")
    for name, value in dataset.attrs.items():
        if isinstance(value, str) and len(value) > ATTRIBUTE_LENGTH:
            name = str(name)[:NAME_LENGTH]
            yield f"attribute {name} has {len(value)} characters, at most {ATTRIBUTE_LENGTH}"


def _written_by(attributes: Mapping[Any, Any]) -> str:
    """Which version can read what a later one has written, as a recording says it."""
    try:
        writer = json.loads(str(attributes.get("versions", ""))).get("ultraslow", "")
    except (ValueError, AttributeError):
        writer = ""
    known = str(writer or "")[:NAME_LENGTH]
    return f": install ultraslow {known} or later, which wrote it" if known else ""


def _field_faults(dataset: DatasetLike) -> Iterable[str]:
    for field in FIELDS.values():
        if field.name not in dataset.variables:
            if field.required:
                yield f"{field.name} is missing"
            continue
        variable = dataset.variables[field.name]
        if tuple(variable.dims) != field.dims:
            yield f"{field.name} has dimensions {tuple(variable.dims)}, expected {field.dims}"
        if not _is_of_type(variable.dtype, field.dtype):
            yield f"{field.name} has type {variable.dtype}, expected {field.dtype}"


def _is_of_type(found: np.dtype, expected: str) -> bool:
    kinds = {"str": "UOST", "i8": "iu", "f8": "f"}
    return np.dtype(found).kind in kinds[expected]


def _axis_faults(dataset: DatasetLike) -> Iterable[str]:
    iteration = np.asarray(dataset.variables["iteration"].values)
    if iteration.size == 0:
        yield "there is no record"
    elif iteration[0] < 0:
        yield f"iteration starts at {iteration[0]}, expected 0 or more"
    falls = np.flatnonzero(np.diff(iteration) <= 0)
    if falls.size:
        at = int(falls[0])
        yield f"iteration does not increase: {iteration[at]} is followed by {iteration[at + 1]}"
    tensor = [str(name) for name in dataset.variables["tensor"].values]
    if len(set(tensor)) < len(tensor):
        yield f"tensor names repeat: {len(tensor)} names, {len(set(tensor))} different"
    named = [name for name in ("metric", "ensemble") if name in dataset.variables]
    others = [str(value) for name in named for value in dataset.variables[name].values]
    names = [*tensor, *others, str(dataset.variables["run"].values)]
    longest = max(map(len, names))
    if longest > NAME_LENGTH:
        yield f"a name has {longest} characters, at most {NAME_LENGTH}"


def _value_faults(dataset: DatasetLike) -> Iterable[str]:
    # 0: nobody knows, as of curves that another program logged.
    if int(dataset.variables["batch_size"].values) < 0:
        yield f"batch_size is {int(dataset.variables['batch_size'].values)}, expected 0 or more"
    if np.any(np.asarray(dataset.variables["tensor_size"].values) < 0):
        yield "tensor_size has values below 0"
    # Weights that diverged are a finding: inf and NaN are left to the analysis.
    for name in ("distance_sq", "weight_sq"):
        values = np.asarray(dataset.variables[name].values)
        if np.any(values < 0):
            yield f"{name} has {int(np.sum(values < 0))} negative values"


def events_attributes(events: Iterable[tuple[int, str]]) -> dict[str, str | int]:
    """The attributes that tell what happened to a run; none where nothing did.

    Arguments:
        events: iterations and sentences; the first `EVENTS` are kept.

    >>> events_attributes([(3, "the weights are not finite")])
    {'events': '[[3, "the weights are not finite"]]', 'events_schema': 1}
    """
    listed = [list(event) for event in events][:EVENTS]
    return {"events": json.dumps(listed), "events_schema": EVENTS_SCHEMA} if listed else {}


def events_version(attributes: Mapping[Any, Any]) -> int:
    """The version of a recording's events; 1 where it has none, as before there was a number.

    Arguments:
        attributes: of the recording.
    """
    found = attributes.get("events_schema", 1)
    return int(found) if isinstance(found, int | np.integer) else 1


def events_of(attributes: Mapping[Any, Any]) -> list[tuple[int, str]]:
    """What happened to a run, as its recording tells: iterations and sentences.

    Arguments:
        attributes: of the recording; what is none of ours is left out, and so are events of a
            later version than this one writes.

    >>> events_of({"events": '[[3, "the weights are not finite"], 4]'})
    [(3, 'the weights are not finite')]
    """
    if events_version(attributes) > EVENTS_SCHEMA:
        return []
    try:
        listed = json.loads(str(attributes.get("events", "[]")))
    except (ValueError, RecursionError):
        return []
    pairs = listed if isinstance(listed, list) else []
    told = [item for item in pairs if isinstance(item, list) and len(item) == 2]
    return [
        (at, text[:EVENT_LENGTH])
        for at, text in told[:EVENTS]
        if type(at) is int and isinstance(text, str)
    ]


def seam_faults(earlier: DatasetLike, later: DatasetLike) -> Iterable[str]:
    """Why the records of one segment cannot follow those of another; nothing when they can.

    Arguments:
        earlier: a sound segment of a recording.
        later: the sound segment after it.

    Returns:
        One sentence a fault.
    """
    ends = int(earlier.variables["iteration"].values[-1])
    starts = int(later.variables["iteration"].values[0])
    if starts <= ends:
        yield f"segments overlap: one ends at iteration {ends}, the next starts at {starts}"
    for name in (*_SAME, *AXES):
        if name in earlier.variables and name in later.variables:
            values = [segment.variables[name].values for segment in (earlier, later)]
            if not np.array_equal(*values):
                yield f"the segment that starts at iteration {starts} has other values of {name}"
    other = sorted(map(str, set(earlier.variables) ^ set(later.variables)))
    if other:
        yield f"the segment that starts at iteration {starts} differs in having {other}"
