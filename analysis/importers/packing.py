"""From the rows of a run to its recording: distances, windows, labels, and where all comes from.

Nothing is added that was not measured or said: what a file lacks is absent, or NaN where a
recording has to have it; sizes that nobody knows are 0. The attribute `origin` tells the file, the
columns, the rows that were left out, and what was taken for granted.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.diffusion.recording import (
    FIELDS,
    NAME_LENGTH,
    SCALARS,
    check,
    check_sizes,
    events_attributes,
    events_of,
    pack,
    parsed_label,
)

from .columns import SQUARED, ColumnMap, plain_name
from .overruled import BASE_RATES, Said, other_settings, overruled
from .rates import LoggedRate, taken_for_granted
from .sheet import (
    Array,
    Cell,
    Numbers,
    Rows,
    Sheet,
    as_number,
    column_numbers,
    is_absent,
    shown,
)
from .stitching import Stitched

# A cosine beyond 1 by more than float32 rounds is none.
_ROUNDING = 1e-5
_FLOAT32 = 1.2e-7
_PERCENT = 1.5  # an accuracy above is one in percent
# Labels that tell runs apart: a file in which they vary holds several.
_OF_RUNS = {"seed", "model", "data", "optimizer"}
_MEASURED = ("learning_rate", "loss", "samples", "epoch")
_INTERVAL = 5  # updates between rows, from which on 49, 99, … is no chance
_SETTINGS = 50_000  # characters of settings that are kept

ORIGIN = "origin"


@dataclass(frozen=True, eq=False)
class Imported:
    """A recording that was made of rows.

    Attributes:
        name: of the run.
        sheet: the file it comes from.
        columns: which column is what.
        records: the recording.
        origin: where it comes from, as its attribute has it.
    """

    name: str
    sheet: Sheet
    columns: ColumnMap
    records: xr.Dataset
    origin: Mapping[str, Any]


def pack_run(
    name: str,
    sheet: Sheet,
    rows: Rows,
    columns: ColumnMap,
    found: Stitched,
    said: Said,
    left_out: Mapping[str, int],
) -> Imported:
    """The recording of one run.

    Arguments:
        name: of the run.
        sheet: the file.
        rows: places of its rows.
        columns: which column is what.
        found: its rows, one for each step.
        said: what a person says of it.
        left_out: rows of the file that conditions left out, by reason.

    Raises:
        RecordError: when nothing is measured, or values contradict each other.
        ValueError: for a label that is none.
    """
    assumed: list[str] = []
    motion = _motion(sheet, columns, found, said, assumed)
    _check_rates(sheet, rows, columns)
    assumed += _counted_from_0(found.iteration)
    assumed += _counted_from_before(found.iteration, motion)
    keep = _records(columns, found)
    if not keep.any():
        raise sheet.fault(f"run {shown(name)}: no row has a number beside its step")
    iteration = found.iteration[keep]
    values: dict[str, Any] = {
        "iteration": iteration,
        "tensor": ["weights"],
        **{key: value[keep][:, None] for key, value in motion.items()},
        **_copied(sheet, columns, found, keep),
        **_training(sheet, columns, found, keep, said, assumed),
        **_held_out(columns, found, keep, assumed),
        **_labels(sheet, rows, columns, said, assumed),
        "run": name[:NAME_LENGTH],
    }
    columns = _taken(columns, values)
    left_out = {**left_out, **_without_distance(sheet, rows, columns)}
    origin = {
        **_origin(sheet, columns, found, assumed, left_out),
        "not_used": list(overruled(sheet, rows, columns, said)),
    }
    attributes: dict[str, str | int] = {
        ORIGIN: json.dumps(origin, default=str, ensure_ascii=False)
    }
    attributes |= events_attributes(found.events)
    records = xr.Dataset.from_dict(pack(values, attributes))
    check(records, sheet.source)
    assert not found.events or events_of(records.attrs)
    return Imported(name, sheet, columns, records, origin)


def _taken(columns: ColumnMap, values: Mapping[str, Any]) -> ColumnMap:
    """The columns that something of a recording was taken from, without those that gave nothing.

    As epochs that are numbered, a label that varies, or a cosine beside a distance.
    """
    idle = {role for role in _MEASURED if role not in values}
    if "distance" in columns.of or "norm" not in columns.of:
        idle |= {"cosine"}
    return replace(
        columns,
        of={role: name for role, name in columns.of.items() if role not in idle},
        copied=tuple(name for name in columns.copied if name in values),
        labels=tuple(name for name in columns.labels if name in values),
    )


def _without_distance(sheet: Sheet, rows: Rows, columns: ColumnMap) -> dict[str, int]:
    """How many rows have something else than a number where the weights are, by a reason.

    An empty cell says that nothing was logged there, as most rows of some logs do, and is not
    counted.
    """
    found = {}
    for name in columns.motion:
        cells = [sheet.columns[name][row] for row in rows]
        lost = [
            row
            for row, cell in zip(rows.tolist(), cells, strict=True)
            if cell is not None and str(cell).strip() and not _is_finite(cell)
        ]
        if lost:
            cell = shown(str(sheet.columns[name][lost[0]]).strip())
            reason = f"of the curve, without a finite number: {cell} at {sheet.at(lost[0], name)}"
            found[reason + (", the first" if len(lost) > 1 else "")] = len(lost)
    return found


def _is_finite(cell: Cell) -> bool:
    """Whether a cell of a column that was read as numbers holds a finite one."""
    return not is_absent(cell) and np.isfinite(as_number(str(cell).replace(",", ".")) or 0.0)


def _records(columns: ColumnMap, found: Stitched) -> NDArray[np.bool_]:
    """Steps that become records: those with the weights' place or a held-out score; or all."""
    named = [*columns.motion, *columns.held_out.values()]
    if not columns.motion:
        named = list(found.columns)
    logged = [found.columns[name].logged for name in named if name in found.columns]
    return np.asarray(np.logical_or.reduce(logged)) if logged else np.zeros(0, dtype=bool)


def _motion(
    sheet: Sheet, columns: ColumnMap, found: Stitched, said: Said, assumed: list[str]
) -> dict[str, Array]:
    """Squared distance, squared norm and overlap at each step, NaN where they are not known."""
    unknown = np.full(found.iteration.size, np.nan)
    if columns.copied:
        return {
            name: found.columns[name].values if name in columns.copied else unknown
            for name in ("distance_sq", "weight_sq", "overlap")
        }
    norm = _of(columns, found, "norm")
    if norm is not None and np.any(norm.values < 0):
        at = int(np.argmax(norm.values < 0))
        raise sheet.fault(
            f"step {found.iteration[at]}, column {shown(columns.of['norm'])}: found "
            f"{norm.values[at]:.6g}, expected a norm of 0 or more"
        )
    if "distance" in columns.of:
        squares = _squares(sheet, columns, found)
    elif norm is not None and "cosine" in columns.of:
        squares = _from_cosine(sheet, columns, found, norm.values, said, assumed)
    else:
        squares = unknown
        assumed.append("the file has no distance from the initial weights")
    weight_sq = unknown if norm is None else norm.values**2
    overlap = _overlap(columns, squares, weight_sq, _initial_norm(found, weight_sq, said), assumed)
    return {"distance_sq": squares, "weight_sq": weight_sq, "overlap": overlap}


def _overlap(
    columns: ColumnMap, squares: Array, weight_sq: Array, start: float, assumed: list[str]
) -> Array:
    """⟨w, w0⟩ = (w² + w0² − d²)/2; unknown where d is none of |w − w0| to w + w0."""
    overlap = (weight_sq + start**2 - squares) / 2
    if "distance" not in columns.of or not np.isfinite(overlap).any():
        return overlap
    bound = np.sqrt(weight_sq) * start * (1 + _ROUNDING)
    if np.any(np.abs(overlap) > bound + _ROUNDING):
        assumed.append(
            f"{shown(columns.of['norm'])} and {shown(columns.of['distance'])} are not of the same "
            "tensors, as no angle fits both; angles are left out"
        )
        return np.full_like(overlap, np.nan)
    assumed.append(
        f"angles follow from {shown(columns.of['norm'])} and {shown(columns.of['distance'])}, if "
        "both are of the same tensors"
    )
    return overlap


def _check_rates(sheet: Sheet, rows: Rows, columns: ColumnMap) -> None:
    """Refuse a learning rate below 0, with its place."""
    name = columns.of.get("learning_rate", "learning_rate")
    if name not in columns.used():
        return
    values = column_numbers(sheet, name, rows=rows).values
    negative = np.flatnonzero(values < 0)
    if negative.size:
        at = int(negative[0])
        place = sheet.at(int(rows[at]), name)
        raise sheet.fault(f"{place}: found {values[at]:g}, expected a learning rate of 0 or more")


def _counted_from_0(iteration: NDArray[np.int64]) -> list[str]:
    """That steps as 49, 99, … may be counted from 0, in a sentence; nothing for others."""
    gaps = np.diff(iteration)
    if not gaps.size or iteration[0] == 0 or (gap := int(np.gcd.reduce(gaps))) < _INTERVAL:
        return []
    if iteration[0] % gap != gap - 1:
        return []
    return [
        f"steps are {iteration[0]}, {iteration[1]}, …: where the first update was step 0, they "
        f"are 1 too small, and --shift 1 makes them {iteration[0] + 1}, {iteration[1] + 1}, …"
    ]


def _counted_from_before(iteration: NDArray[np.int64], motion: Mapping[str, Array]) -> list[str]:
    """That weights which rest at a late first step begin there, in a sentence; else nothing."""
    squares = motion.get("distance_sq")
    if squares is None or iteration[0] <= 1 or squares[0] != 0:
        return []
    return [
        f"step {iteration[0]} is update {iteration[0]}, though the distance is 0 there: where "
        f"training begins at it, --shift -{iteration[0]} counts from it"
    ]


def _of(columns: ColumnMap, found: Stitched, role: str) -> Numbers | None:
    return found.columns[columns.of[role]] if role in columns.of else None


def _squares(sheet: Sheet, columns: ColumnMap, found: Stitched) -> Array:
    name = columns.of["distance"]
    values = found.columns[name].values
    if not np.isfinite(values).any():
        raise sheet.fault(f"column {shown(name)}: found no finite number, expected distances")
    if np.any(values < 0):
        at = int(np.argmax(values < 0))
        raise sheet.fault(
            f"step {found.iteration[at]}, column {shown(name)}: found {values[at]:.6g}, expected "
            "a distance of 0 or more"
        )
    if found.iteration[0] == 0 and values[0] > 0:
        raise sheet.fault(
            f"column {shown(name)}: found {values[0]:.6g} at step 0, where the distance from the "
            "initial weights is 0: is it another distance, or is 0 the first update (--shift 1)?"
        )
    return values if plain_name(name) in SQUARED else values**2


def _initial_norm(found: Stitched, weight_sq: Array, said: Said) -> float:
    if np.isfinite(said.initial_norm):
        return said.initial_norm
    return float(np.sqrt(weight_sq[0])) if found.iteration[0] == 0 else float("nan")


def _from_cosine(
    sheet: Sheet, columns: ColumnMap, found: Stitched, norm: Array, said: Said, assumed: list[str]
) -> Array:
    """‖w − w0‖² = w² + w0² − 2·w·w0·cos, with w and w0 the norms now and at first."""
    named = [columns.of[role] for role in ("norm", "cosine")]
    cosine = found.columns[named[1]].values
    start = _initial_norm(found, norm**2, said)
    if not np.isfinite(start):
        raise sheet.fault(
            f"the norm at step 0 is not in {shown(named[0])} (the first step is "
            f"{found.iteration[0]}); --initial-norm tells it"
        )
    beyond = np.abs(cosine) > 1 + _ROUNDING
    if beyond.any():
        at = int(np.argmax(beyond))
        raise sheet.fault(
            f"step {found.iteration[at]}, column {shown(named[1])}: found {cosine[at]:.6g}, "
            "expected a cosine from -1 to 1"
        )
    if found.iteration[0] == 0 and abs(cosine[0] - 1) > _ROUNDING:
        raise sheet.fault(
            f"column {shown(named[1])}: found {cosine[0]:.6g} at step 0, where the cosine to the "
            "initial weights is 1: is it another cosine, or is 0 the first update (--shift 1)?"
        )
    squares = norm**2 + start**2 - 2 * norm * start * cosine
    first = f"{said.initial_norm:g}" if np.isfinite(said.initial_norm) else "its value at step 0"
    assumed.append(
        f"d² = w² + w0² − 2·w·w0·cos with w = {shown(named[0])}, w0 = {first} and "
        f"cos = {shown(named[1])}, which holds if both are of the same tensors; where the cosine "
        f"was a float32, distances below {np.sqrt(2 * _FLOAT32):.1g}·w0 are rounding"
    )
    squares = np.where(found.iteration == 0, 0.0, squares)
    return np.asarray(np.where(squares < 0, 0.0, squares))


def _whole_numbers(sheet: Sheet, name: str, values: Array) -> NDArray[np.int64]:
    bad = ~((values == np.floor(values)) & (np.abs(values) < 2.0**53))
    if bad.any():
        found = values[int(np.argmax(bad))]
        raise sheet.fault(f"column {shown(name)}: found {found:g}, expected whole numbers")
    return np.asarray(values.astype(np.int64))


def _copied(
    sheet: Sheet, columns: ColumnMap, found: Stitched, keep: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Fields of a recording that a file has under their names."""
    values: dict[str, NDArray[Any]] = {}
    for name in columns.copied:
        if name in ("distance_sq", "weight_sq", "overlap", "iteration"):
            continue
        own = found.columns[name]
        if not own.logged.any() or (FIELDS[name].dtype == "i8" and not own.logged[keep].all()):
            continue
        value: NDArray[Any] = own.values[keep]
        if FIELDS[name].dtype == "i8":
            value = _whole_numbers(sheet, name, value)
        values[name] = value[:, None] if "tensor" in FIELDS[name].dims else value
    return values


def _training(
    sheet: Sheet,
    columns: ColumnMap,
    found: Stitched,
    keep: NDArray[np.bool_],
    said: Said,
    assumed: list[str],
) -> dict[str, Array]:
    """Learning rate with its sum, loss as the mean since the record before, samples, epochs."""
    iteration = found.iteration[keep]
    values: dict[str, Array] = {}
    rate = said.rate
    logged = _of(columns, found, "learning_rate")
    if rate is None and logged is not None and np.isfinite(logged.values).any():
        known = np.isfinite(logged.values)
        rate = LoggedRate(found.iteration[known].astype(np.float64), logged.values[known])
    if rate is not None:
        values |= {
            "learning_rate": rate.at(iteration),
            "learning_rate_sum": rate.summed(iteration),
        }
        assumed.append(taken_for_granted(rate))
    elif "learning_rate" not in columns.copied:
        assumed.append(_without_rate(sheet))
    loss = _of(columns, found, "loss")
    if loss is not None and loss.logged.any():
        values["loss"] = _window_means(loss, keep)
        thinner = int(loss.logged.sum()) > int((loss.logged & keep).sum())
        assumed.append(
            "the loss of a record is the mean of those that were logged since the one before"
            if thinner
            else "the loss is what was logged at the record, of one update or of several"
        )
    for role in ("samples", "epoch"):
        own = _of(columns, found, role)
        if own is None or not own.logged.any():
            continue
        if role == "epoch" and _counts(own.values[own.logged]):
            assumed.append(f"{shown(columns.of[role])} numbers epochs and is not used")
            continue
        values[role] = own.values[keep]
    return values


def _without_rate(sheet: Sheet) -> str:
    """That nobody knows the learning rate, with what settings say, and what tells it."""
    base = next((sheet.settings[name] for name in BASE_RATES if name in sheet.settings), None)
    known = isinstance(base, int | float) and not isinstance(base, bool)
    said, example = "nobody says the learning rate; --learning-rate tells it", ""
    if known:
        said = f"the settings name the learning rate {base:g}, but not whether it stayed so"
        example = f"; if it did, --learning-rate {base:g} says so"
    return f"{said}{example}, and without it growth is fitted on iterations alone"


def _counts(values: Array) -> bool:
    """Whether epochs are numbered, and not measured as passes: 3 stands for all of the fourth."""
    return bool(np.all(values == np.floor(values)) and np.unique(values).size < values.size)


def _window_means(column: Numbers, keep: NDArray[np.bool_]) -> Array:
    """Means over the steps after each record up to the next, NaN where nothing was logged."""
    ends = np.flatnonzero(keep)
    window = np.searchsorted(ends, np.arange(keep.size))
    inside = column.logged & np.isfinite(column.values) & (window < ends.size)
    count = np.bincount(window[inside], minlength=ends.size)
    total = np.bincount(window[inside], weights=column.values[inside], minlength=ends.size)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _held_out(
    columns: ColumnMap, found: Stitched, keep: NDArray[np.bool_], assumed: list[str]
) -> dict[str, Any]:
    scores = {}
    for quantity, name in columns.held_out.items():
        values = found.columns[name].values[keep]
        if quantity == "accuracy" and np.nanmax(values, initial=0.0) > _PERCENT:
            values = values / 100
            assumed.append(f"{shown(name)} is in percent, as it has values above {_PERCENT}")
        scores[quantity] = values
    if not scores:
        return {}
    return {"metric": list(scores), "held_out": np.stack(list(scores.values()), axis=1)}


def _labels(
    sheet: Sheet, rows: Rows, columns: ColumnMap, said: Said, assumed: list[str]
) -> dict[str, str | int | float]:
    """What a run is grouped by: as said, as columns have it, or as the file's settings do."""
    found: dict[str, str | int | float] = {}
    others = other_settings(sheet, said)
    for name, value in sheet.settings.items():
        label = {"lr": "base_learning_rate"}.get(name, name)
        if (
            name in others
            or label not in SCALARS
            or label in ("run", "world_size")
            or is_absent(value)
        ):
            continue
        try:
            found[label] = parsed_label(label, str(value))
        except (ValueError, TypeError):
            assumed.append(f"{shown(name)} of the file's settings is no {label}: {shown(value)}")
    for name in columns.labels:
        if name not in _OF_RUNS and _varies(sheet, rows, name):
            assumed.append(f"{shown(name)} varies within a run and is no label of it")
            continue
        own = _constant(sheet, rows, name)
        try:
            found |= {} if own is None else {name: parsed_label(name, own)}
        except ValueError as error:
            assumed.append(f"column {shown(name)} is no label: {error}")
    if "batch_size" in columns.of:
        found["batch_size"] = _whole(sheet, rows, columns.of["batch_size"], "--batch-size")
    sizes = {"tensor_size": said.weights}
    if "weights" in columns.of:
        sizes["tensor_size"] = _whole(sheet, rows, columns.of["weights"], "--weights")
    if said.batch_size:
        found["batch_size"] = said.batch_size
    if not found.get("batch_size"):
        assumed.append("nobody says how many samples an update has; --batch-size tells it")
    weights: dict[str, Any] = {"tensor_size": [sizes["tensor_size"]]}
    labels = {"batch_size": 0, **found, **said.labels}
    try:
        check_sizes(labels)
    except ValueError as error:
        raise sheet.fault(str(error)) from error
    return {**labels, **weights}


def _varies(sheet: Sheet, rows: Rows, name: str) -> bool:
    cells = {str(sheet.columns[name][row]).strip() for row in rows}
    return len(cells - {"", "None"}) > 1


def _constant(sheet: Sheet, rows: Rows, name: str) -> str | None:
    """The one value of a column in the rows of a run; None without any."""
    cells = [sheet.columns[name][row] for row in rows]
    values = list(dict.fromkeys(str(cell).strip() for cell in cells if not is_absent(cell)))
    if len(values) > 1:
        raise sheet.fault(
            f"column {shown(name)}: found {shown(values[0])} and {shown(values[1])} in one run, "
            f"expected one value; --by {name} makes two runs of them"
        )
    return values[0] if values else None


def _whole(sheet: Sheet, rows: Rows, name: str, option: str) -> int:
    found = _constant(sheet, rows, name)
    try:
        number = float(found or 0)
    except ValueError:
        number = float("nan")
    if not (number >= 0 and number.is_integer()):
        raise sheet.fault(
            f"{option}: found {shown(found)} in column {shown(name)}, expected a whole number"
        )
    return int(number)


def _origin(
    sheet: Sheet,
    columns: ColumnMap,
    found: Stitched,
    assumed: Sequence[str],
    left_out: Mapping[str, int],
) -> dict[str, Any]:
    settings = dict(sheet.settings)
    fits = settings and len(json.dumps(settings, default=str)) <= _SETTINGS
    return {
        "file": sheet.source.replace("\\", "/").rsplit("/", 1)[-1],
        "sha256": sheet.sha256,
        "format": sheet.kind,
        "columns": {
            **columns.of,
            **{f"held-out {quantity}": name for quantity, name in columns.held_out.items()},
            **{name: name for name in (*columns.copied, *columns.labels)},
        },
        "rows": len(sheet.lines),
        "used": found.used,
        "left_out": {**left_out, **found.left_out},
        "assumptions": list(dict.fromkeys([*assumed, *sheet.notes, *columns.notes])),
        **({"settings": settings} if fits else {}),
    }
