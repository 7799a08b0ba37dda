"""Recordings as one table: a row a record, quantities of tensors summed over them.

Columns have the names of fields, so that `ultraslow import` knows all of them, and `distance`, the
root of `distance_sq`, stands beside for those who draw. Sketches, landscapes and groups of
parameters are left out: a table with all dimensions of a recording has a row for each combination
of them, and of a study more than any memory holds.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.runs import runs_of
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording import FIELDS, SCALARS, whole_file

if TYPE_CHECKING:
    import pandas as pd

# Where the weights are is written as `nan` when it is no number; what was not due is left empty.
_MEASURED = ("distance", "distance_sq", "weight_sq", "overlap")


def to_frame(
    runs: xr.DataTree | Study | Mapping[str, xr.Dataset] | xr.Dataset, *, tensors: bool = False
) -> "pd.DataFrame":
    """Recordings as one tidy table, a row a record.

    Arguments:
        runs: recordings, as `load` gives them; a study of them, or a single one, as its node.
        tensors: whether a row is a record of one tensor, in place of the sums over all of them.

    Returns:
        Columns `run`, `iteration`, `distance` (‖w_t − w_0‖), the fields along iterations with
        tensors summed, held-out scores as `held_out_…`, the number of weights, and what runs are
        grouped by. With `tensors` the columns `run`, `iteration`, `tensor`, `tensor_size`,
        `distance`, the fields along iterations and tensors, and what runs are grouped by. What a
        run did not record is missing. Runs of one name are called by their nodes.

    Raises:
        TypeError: when these are no recordings.
    """
    import pandas as pd

    columns = _tensor_columns if tensors else _columns
    frames = [pd.DataFrame(columns(run, name)) for name, run in _by_name(runs)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _by_name(
    runs: xr.DataTree | Study | Mapping[str, xr.Dataset] | xr.Dataset,
) -> list[tuple[str, xr.Dataset]]:
    """The recordings, each with its name; where several have one, with that of its node."""
    if isinstance(runs, Study):
        found: dict[str, Any] = runs.runs
    elif isinstance(runs, xr.Dataset):  # which is a mapping as well
        found = {"": runs}
    elif isinstance(runs, xr.DataTree) and "iteration" in runs.dims:  # the node of one run
        found = {"": runs.to_dataset()}
    elif isinstance(runs, xr.DataTree) or not isinstance(runs, Mapping):
        found = runs_of(runs)
    else:
        found = {str(node): run for node, run in runs.items()}
    for one in found.values():
        if not (isinstance(one, xr.Dataset) and {"run", "distance_sq"} <= set(one.variables)):
            raise TypeError(
                f"runs: found a {type(one).__name__} without records, expected recordings, as "
                "`load` gives them"
            )
    own = {node: str(run.variables["run"].values) for node, run in found.items()}
    counts = Counter(own.values())
    return [(own[node] if counts[own[node]] == 1 else node, run) for node, run in found.items()]


def _columns(run: xr.Dataset, name: str) -> dict[str, Any]:
    totals = dict(_totals(run))
    count = run.sizes["iteration"]
    columns: dict[str, Any] = {
        "run": [name] * count,
        "iteration": run.variables["iteration"].values,
        "distance": totals["distance_sq"] ** 0.5,
        **totals,
    }
    if "held_out" in run:
        for metric in run.variables["metric"].values.tolist():
            columns[f"held_out_{metric}"] = run["held_out"].sel(metric=metric).values
    scalars = {"weights": int(run["tensor_size"].sum()), **_labels(run)}
    return columns | {label: [value] * count for label, value in scalars.items()}


def _tensor_columns(run: xr.Dataset, name: str) -> dict[str, Any]:
    records, count = run.sizes["iteration"], run.sizes["tensor"]
    columns: dict[str, Any] = {
        # One object each, which rows point to: texts of their own would be most of the table.
        "run": np.full(records * count, name, dtype=object),
        "iteration": np.repeat(run.variables["iteration"].values, count),
        "tensor": np.tile(run.variables["tensor"].values.astype(object), records),
        "tensor_size": np.tile(run.variables["tensor_size"].values, records),
    }
    fields = {
        key: run[key].transpose("iteration", "tensor").values.ravel()
        for key, field in FIELDS.items()
        if field.dims == ("iteration", "tensor") and key in run.variables
    }
    labels = {
        label: np.full(records * count, value, object if isinstance(value, str) else None)
        for label, value in _labels(run).items()
    }
    return {**columns, "distance": fields["distance_sq"] ** 0.5, **fields, **labels}


def _labels(run: xr.Dataset) -> dict[str, str | int | float]:
    """What runs are grouped by."""
    return {
        name: run.variables[name].values.item()
        for name in SCALARS
        if name != "run" and name in run.variables
    }


def _totals(run: xr.Dataset) -> Iterator[tuple[str, NDArray[Any]]]:
    """The fields along iterations, summed over tensors; unknown where that of one is."""
    for name, field in FIELDS.items():
        if name == "iteration" or name not in run.variables:
            continue
        if field.dims == ("iteration",):
            yield name, run.variables[name].values
        elif field.dims == ("iteration", "tensor"):
            yield name, np.asarray(run[name].sum("tensor", skipna=False).values)


def write_csv(runs: xr.DataTree, path: Path | None = None) -> str:
    """Write the table of recordings as CSV, numbers with all their digits.

    Arguments:
        runs: recordings, as `load` gives them.
        path: where to; a file there is replaced. Not written when None.

    Returns:
        The text.
    """
    table = to_frame(runs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    columns = [
        [_cell(value, name) for value in table[name].tolist()] for name in map(str, table.columns)
    ]
    writer.writerows(zip(*columns, strict=True))
    if path is not None:
        with whole_file(path.resolve()) as file:
            file.write(text.getvalue().encode())
    return text.getvalue()


def _cell(value: Any, name: str) -> str:
    """A value as text; empty for what was not recorded."""
    if isinstance(value, float) and np.isnan(value):
        return "nan" if name in _MEASURED else ""
    if isinstance(value, float) and value.is_integer() and FIELDS.get(name) is not None:
        return str(int(value)) if FIELDS[name].dtype == "i8" else repr(value)
    return "" if value is None else str(value)
