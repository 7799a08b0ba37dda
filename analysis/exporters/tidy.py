"""Recordings as one table: a row a record, quantities of tensors summed over them.

Columns have the names of fields, so that `ultraslow import` knows all of them, and `distance`, the
root of `distance_sq`, stands beside for those who draw. Sketches, landscapes, groups of parameters
and single tensors are left out.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ultraslow.analysis.runs import runs_of
from ultraslow.diffusion.recording import FIELDS, SCALARS, whole_file

if TYPE_CHECKING:
    import pandas as pd

# Where the weights are is written as `nan` when it is no number; what was not due is left empty.
_MEASURED = ("distance", "distance_sq", "weight_sq", "overlap")


def as_table(runs: xr.DataTree) -> "pd.DataFrame":
    """Recordings as one table, a row a record.

    Arguments:
        runs: recordings, as `load` gives them.

    Returns:
        Columns `run`, `iteration`, `distance` (‖w_t − w_0‖), the fields along iterations with
        tensors summed, held-out scores as `held_out_…`, the number of weights, and what runs are
        grouped by. What a run did not record is missing.
    """
    import pandas as pd

    frames = [pd.DataFrame(_columns(run)) for run in runs_of(runs).values()]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _columns(run: xr.Dataset) -> dict[str, Any]:
    totals = dict(_totals(run))
    count = run.sizes["iteration"]
    columns: dict[str, Any] = {
        "run": [str(run["run"].values)] * count,
        "iteration": run["iteration"].values,
        "distance": totals["distance_sq"] ** 0.5,
        **totals,
    }
    if "held_out" in run:
        for metric in run["metric"].values.tolist():
            columns[f"held_out_{metric}"] = run["held_out"].sel(metric=metric).values
    weights = int(run["tensor_size"].sum())
    scalars = {"weights": weights} | {
        name: run.variables[name].values.item()
        for name in SCALARS
        if name != "run" and name in run.variables
    }
    return columns | {name: [value] * count for name, value in scalars.items()}


def _totals(run: xr.Dataset) -> Iterator[tuple[str, Any]]:
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
    table = as_table(runs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    columns = [
        [_cell(value, name) for value in table[name].tolist()] for name in map(str, table.columns)
    ]
    writer.writerows(zip(*columns, strict=True))
    if path is not None:
        with whole_file(path) as file:
            file.write(text.getvalue().encode())
    return text.getvalue()


def _cell(value: Any, name: str) -> str:
    """A value as text; empty for what was not recorded."""
    if isinstance(value, float) and np.isnan(value):
        return "nan" if name in _MEASURED else ""
    if isinstance(value, float) and value.is_integer() and FIELDS.get(name) is not None:
        return str(int(value)) if FIELDS[name].dtype == "i8" else repr(value)
    return "" if value is None else str(value)
