"""Distances between the weights of two iterations, among the rows of a file.

Where a column tells from which iteration a distance is measured, rows that have 0 there are about
the start, and the others give `displacement_sq`. A pair may stand in either order, or in both.
"""

import json
from dataclasses import dataclass, replace

import numpy as np

from ultraslow.diffusion.recording import check, pack

from .columns import SQUARED, ColumnMap, plain_name
from .packing import ORIGIN, Imported
from .sheet import Array, Rows, Sheet, column_numbers, shown

_SAME = 1e-4  # relative difference of a distance that is written twice


@dataclass(frozen=True, eq=False)
class Lags:
    """Squared distances between the weights of two iterations.

    Attributes:
        rows: their rows in the file.
        earlier: iterations, shape (pair,).
        later: iterations above them.
        square: ‖w_later − w_earlier‖².
    """

    rows: Rows
    earlier: Rows
    later: Rows
    square: Array


def apart(sheet: Sheet, rows: Rows, columns: ColumnMap) -> tuple[Rows, Lags | None]:
    """The rows about the distance from the start, and those about other distances.

    Arguments:
        sheet: the file.
        rows: places of the rows of one run.
        columns: which column is what.

    Raises:
        RecordError: where no row is about the start, or iterations are no whole numbers.
    """
    name = columns.of.get("lagged")
    if name is None:
        return rows, None
    since = column_numbers(sheet, name, "--lagged", rows)
    start = since.logged & (since.values == 0)
    if not start.any():
        raise sheet.fault(
            f"--lagged: no row has 0 in {shown(name)}, expected distances from the start as well"
        )
    others = rows[~start & since.logged]
    if not others.size:
        return rows[start], None
    steps = column_numbers(sheet, columns.of["iteration"], "--iteration", others)
    distance = column_numbers(sheet, columns.of["distance"], "--distance", others)
    known = steps.logged & distance.logged
    ends = np.stack([steps.values, since.values[~start & since.logged]])
    pairs = np.sort(ends[:, known], axis=0)
    whole = (pairs >= 0) & (pairs == np.floor(pairs)) & (pairs < 2**62)
    if not whole.all():
        at = int(others[known][np.argmin(whole.all(axis=0))])
        raise sheet.fault(f"{sheet.at(at)}: expected two iterations, whole numbers of 0 or more")
    values = distance.values[known]
    square = values if plain_name(columns.of["distance"]) in SQUARED else values**2
    earlier, later = pairs.astype(np.int64)
    return rows[start], Lags(others[known], earlier, later, square)


def with_lags(made: Imported, lags: Lags) -> Imported:
    """A recording with the squared distances between its iterations.

    Arguments:
        made: a recording of the rows about the start.
        lags: the other rows.

    Returns:
        With `displacement_sq`, NaN where no row tells it. Pairs of iterations that have no record
        are left out and counted.

    Raises:
        RecordError: for a pair that is written twice with different distances.
    """
    at = made.records["iteration"].values
    start = dict(zip(at.tolist(), made.records["distance_sq"].values[:, 0].tolist(), strict=True))
    place = {iteration: k for k, iteration in enumerate(at.tolist())}
    square = np.full((at.size, at.size), np.nan)
    np.fill_diagonal(square, 0.0)
    used = 0
    triples = zip(lags.earlier.tolist(), lags.later.tolist(), lags.square.tolist(), strict=True)
    for row, (earlier, later, value) in zip(lags.rows.tolist(), triples, strict=True):
        known = square[place[later], place[earlier]] if {earlier, later} <= set(place) else np.nan
        known = start.get(later, np.nan) if earlier == 0 else known
        if np.isfinite(known) and not np.isclose(value, known, rtol=2 * _SAME):
            raise made.sheet.fault(
                f"{made.sheet.at(row)}: found {value**0.5:.6g} between iterations {earlier} and "
                f"{later}, and {known**0.5:.6g} elsewhere in the file"
            )
        if {earlier, later} <= set(place):
            square[place[later], place[earlier]] = square[place[earlier], place[later]] = value
        used += earlier == 0 or {earlier, later} <= set(place)
    packed = pack({"since": at, "displacement_sq": square})
    coordinate, variable = packed["coords"]["since"], packed["data_vars"]["displacement_sq"]
    records = made.records.assign_coords(
        since=(coordinate["dims"], coordinate["data"], coordinate["attrs"])
    ).assign(displacement_sq=(variable["dims"], variable["data"], variable["attrs"]))
    origin = {**made.origin, "used": made.origin["used"] + used}
    if missed := lags.rows.size - used:
        origin["left_out"] = {**origin["left_out"], "of iterations without a record": missed}
    records.attrs[ORIGIN] = json.dumps(origin, default=str, ensure_ascii=False)
    check(records, made.sheet.source)
    return replace(made, records=records, origin=origin)
