"""Curves that others measured, as recordings: what a person asks for, and the files that are made.

    runs = us.import_runs("dist.csv", where="it1 == 0", learning_rate=1e-4, batch_size=256)
    us.import_runs("metrics.csv", "runs/", batch_size=512)     # writes runs/….nc as well

Everything is read, checked and packed before a file is written. Files are made in a folder beside,
and take their names when all of them are there.
"""

import math
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import xarray as xr

from ultraslow.diffusion.recording import (
    SCALARS,
    SUFFIX,
    as_label,
    local_path,
    make_folder,
    sync_folder,
    to_bytes,
    whole_file,
)

from .columns import (
    BATCH_SIZES,
    ColumnMap,
    long_form,
    mapped,
    option_of,
    plain_name,
    unscoped,
)
from .conditions import fulfilled
from .files import sheets_of
from .lags import apart, with_lags
from .overruled import Said
from .packing import Imported, pack_run
from .rates import LoggedRate, Rate, schedule
from .sheet import NothingWantedError, Rows, Sheet, column_numbers, is_absent, shown
from .stitching import stitched

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_NAME = 100  # characters of a file's name
# Roles whose columns hold numbers that are used.
_NUMERIC = ("distance", "norm", "cosine", "learning_rate", "loss", "samples", "epoch")


@dataclass(frozen=True)
class ImportRequest:
    """What a person asks of an import; empty texts and None where nothing is said.

    Attributes:
        columns: from role, as `iteration` or `distance`, to the name of the column.
        learning_rate: a number, a schedule, the name of a column, or a file with both columns.
        batch_size: a number, or the name of a column.
        weights: how many there are.
        initial_norm: norm of the initial weights.
        where: a condition on rows.
        labels: from label to value.
        restarted: whether of a log whose steps begin anew the last start counts.
        shift: what to add to iterations.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    learning_rate: str = ""
    batch_size: str = ""
    weights: int = 0
    initial_norm: float = float("nan")
    where: str = ""
    labels: Mapping[str, str | int | float] = field(default_factory=dict)
    restarted: bool = False
    shift: int = 0

    def __post_init__(self) -> None:
        if self.initial_norm <= 0 or math.isinf(self.initial_norm):
            found = f"{self.initial_norm:g}"
            raise ValueError(f"initial norm: found {found}, expected a number above 0")


def import_runs(
    files: Paths,
    folder: str | os.PathLike[str] | None = None,
    *,
    iteration: str = "",
    distance: str = "",
    norm: str = "",
    cosine: str = "",
    learning_rate: str | float = "",
    loss: str = "",
    batch_size: str | int = "",
    weights: int = 0,
    initial_norm: float = float("nan"),
    lagged: str = "",
    by: str = "",
    where: str = "",
    labels: Mapping[str, str | int | float] | None = None,
    restarted: bool = False,
    shift: int = 0,
    overwrite: bool = False,
) -> xr.DataTree:
    """Runs that other programs logged, as recordings.

    Columns that are not named are told by their names, and what was made of them stands in the
    attribute `origin` of each recording, as JSON.

    Arguments:
        files: CSV, JSON and JSON-lines files, event files of TensorBoard, or folders of those.
        folder: where to write the recordings; not written when None.
        iteration: column of the updates t.
        distance: column of ‖w_t − w_0‖.
        norm: column of ‖w_t‖; with `cosine` it gives the distance.
        cosine: column of the cosine between w_t and w_0.
        learning_rate: a number, a schedule as `cyclic:1e-5,1e-3,25000,25000`, the name of a
            column, or a file with columns of iterations and rates.
        loss: column of the training loss.
        batch_size: samples in an update, or the name of a column.
        weights: number of weights.
        initial_norm: ‖w_0‖, where the log does not begin with it.
        lagged: column of the iteration from which a row's distance is measured: rows that have 0
            there are about the start, others give `displacement_sq`.
        by: column that tells the runs of one file apart.
        where: condition on rows, as `it1 == 0`.
        labels: labels of the runs, as `{"seed": 1}`.
        restarted: of a log whose steps begin anew the last start counts.
        shift: what to add to iterations, as 1 where 0 stands for the first update.
        overwrite: whether files of the same names may be replaced.

    Returns:
        A tree of recordings, a node a run, as `load` gives it.

    Raises:
        RecordError: for a file that cannot be used: place, what was found, what was expected.
        ValueError: for an argument that is none.
        FileExistsError: when a recording is there already.
    """
    columns = {
        "iteration": iteration,
        "distance": distance,
        "norm": norm,
        "cosine": cosine,
        "loss": loss,
        "lagged": lagged,
        "by": by,
    }
    _check_labels(labels or {})
    given = {name: as_label(name, value) for name, value in (labels or {}).items()}
    request = ImportRequest(
        {role: name for role, name in columns.items() if name},
        str(learning_rate),
        str(batch_size),
        weights,
        initial_norm,
        where,
        given,
        restarted,
        shift,
    )
    target = None if folder is None else Path(local_path(folder))
    paths = [files] if isinstance(files, str | os.PathLike) else list(files)
    found = imported([Path(path) for path in paths], request)
    if target is not None:
        write_all(found, target, overwrite=overwrite)
    return xr.DataTree.from_dict({one.name: one.records for one in found})


def imported(paths: Sequence[Path], request: ImportRequest) -> list[Imported]:
    """The runs in files, as recordings in memory.

    Raises:
        RecordError: for a file that cannot be used.
        ValueError: for a request that cannot be understood.
    """
    _check(request)
    found: list[Imported] = []
    seen: dict[str, str] = {}
    for path in paths:
        for sheet in _wanted(path, request):
            if sheet.sha256 in seen:
                told = f"is the same, byte by byte, as {seen[sheet.sha256]}: one run counts once"
                raise sheet.fault(told)
            seen[sheet.sha256] = sheet.source
            found += _runs_of(sheet, request)
    taken: set[str] = set()
    named = []
    for one in found:
        name = _file_name(one.name, taken)
        taken.add(name)
        named.append(replace(one, name=name))
    return named


def _wanted(path: Path, request: ImportRequest) -> list[Sheet]:
    """The sheets of a file, or those of a folder that hold anything that is wanted.

    Raises:
        NothingWantedError: when none does.
    """
    kept, left = list[Sheet](), list[NothingWantedError]()
    for sheet in sheets_of([path]):
        try:
            if not sheet.columns:
                raise sheet.lacks("; ".join(["holds no scalars", *sheet.notes]))
            plain = unscoped(long_form(sheet))
            said, chosen = _said_columns(plain, request)
            mapped(plain, said, chosen.settled)
        except NothingWantedError as error:
            left.append(error)
            continue
        kept.append(plain)
    if not kept and left:
        raise left[0]
    if left:
        told = tuple(f"left out: {error}" for error in left)
        kept[0] = replace(kept[0], notes=(*kept[0].notes, *told))
    return kept


def _check(request: ImportRequest) -> None:
    if request.weights < 0:
        raise ValueError(f"--weights: found {request.weights}, expected 0 or more")
    _check_labels(request.labels)
    if request.labels.get("run") and "by" in request.columns:
        raise ValueError("--label run: found beside --by, expected one of them")


def _check_labels(labels: Mapping[str, object]) -> None:
    unknown = [name for name in labels if name not in SCALARS or name == "batch_size"]
    if unknown:
        known = ", ".join(one for one in SCALARS if one != "batch_size")
        raise ValueError(f"--label: found {shown(unknown[0])}, expected one of {known}")


def _runs_of(sheet: Sheet, request: ImportRequest) -> list[Imported]:
    said, chosen = _said_columns(sheet, request)
    columns = mapped(sheet, said, chosen.settled)
    by = columns.of.get("by", "")
    if plain_name(by) in BATCH_SIZES and chosen.batch_size:
        columns = replace(columns, passed={**columns.passed, "batch_size": [by]})
    elif plain_name(by) in BATCH_SIZES and not {"batch_size"} & {*columns.of, *columns.copied}:
        columns = replace(columns, of={**columns.of, "batch_size": by})
    rows, left_out = np.arange(len(sheet.lines)), {}
    if request.where:
        rows = np.flatnonzero(fulfilled(sheet, request.where))
        left_out[f"by --where {request.where}"] = len(sheet.lines) - int(rows.size)
        if not rows.size:
            raise sheet.fault(f"--where: no row fulfils {shown(request.where)}")
    found = []
    for name, own in _groups(sheet, rows, columns, request).items():
        if request.shift and "lagged" in columns.of:
            raise sheet.fault("--shift: found beside pairs of iterations, expected one of them")
        first, pairs = apart(sheet, own, columns)
        joined = stitched(
            sheet,
            first,
            _used(columns),
            iteration=columns.of["iteration"],
            restarted=request.restarted,
            shift=request.shift,
            followed=_followed(columns) or columns.of.get("loss", ""),
            noisy=not _followed(columns),
        )
        made = pack_run(name, sheet, own, columns, joined, chosen, left_out)
        found.append(with_lags(made, pairs) if pairs is not None else made)
    return found


def _said_columns(sheet: Sheet, request: ImportRequest) -> tuple[dict[str, str], Said]:
    """The columns that a request names, and what it says without a column."""
    said = dict(request.columns)
    rate, batch_size = None, 0
    if request.learning_rate:
        rate = None if request.learning_rate in sheet.columns else _rate(sheet, request)
        if rate is None:
            if request.learning_rate not in sheet.columns:
                told = f"there is no file and no column {shown(request.learning_rate)}"
                raise sheet.lacks(
                    f"--learning-rate: {told}; there are the columns {sheet.names()}"
                )
            said["learning_rate"] = request.learning_rate
    if request.batch_size:
        try:
            batch_size = int(as_label("batch_size", float(request.batch_size), "--batch-size"))
        except ValueError:
            if request.batch_size not in sheet.columns and _is_number(request.batch_size):
                raise
            said["batch_size"] = request.batch_size
    options = {
        **{role: f"{option_of(role)} {name}" for role, name in said.items()},
        **{name: f"--label {name}={value}" for name, value in request.labels.items()},
        "learning_rate": f"--learning-rate {request.learning_rate}",
        "batch_size": f"--batch-size {request.batch_size}",
        "weights": f"--weights {request.weights}",
    }
    if "run" in request.labels:
        options["by"] = options["run"]
    norm = request.initial_norm
    return said, Said(rate, batch_size, request.weights, norm, request.labels, options)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rate(sheet: Sheet, request: ImportRequest) -> Rate | None:
    """A schedule, or the rates of a file; None for what must be a column, then."""
    found = schedule(request.learning_rate)
    path = Path(request.learning_rate).expanduser()
    if found is not None or not path.is_file():
        return found
    (other,) = sheets_of([path])
    # A curve that TensorBoard's page saved has its tag in the file's name alone.
    value = [name for name in other.columns if plain_name(name) == "value"]
    columns = mapped(other, {"learning_rate": value[0]} if value else {})
    if "learning_rate" not in columns.of:
        raise other.fault("found no column of learning rates, as learning_rate or lr")
    updates, rates = (
        column_numbers(other, columns.of[role]) for role in ("iteration", "learning_rate")
    )
    both = updates.logged & rates.logged
    negative = np.flatnonzero(both & (rates.values < 0))
    if negative.size:
        at = int(negative[0])
        place = other.at(at, columns.of["learning_rate"])
        raise other.fault(f"{place}: found {rates.values[at]:g}, expected a rate of 0 or more")
    if not both.any() or np.any(np.diff(updates.values[both]) <= 0):
        raise other.fault("expected iterations that increase, with a learning rate each")
    return LoggedRate(updates.values[both], rates.values[both])


def _used(columns: ColumnMap) -> list[str]:
    """The columns of numbers that a recording is made of."""
    named = [columns.of[role] for role in _NUMERIC if role in columns.of]
    return list(dict.fromkeys([*named, *columns.held_out.values(), *columns.copied]))


def _followed(columns: ColumnMap) -> str:
    """A column that goes on where a run is resumed: of distances, or norms; empty without any."""
    own = "distance_sq" if "distance_sq" in columns.copied else ""
    return columns.of.get("distance") or own or columns.of.get("norm", "")


def _groups(
    sheet: Sheet, rows: Rows, columns: ColumnMap, request: ImportRequest
) -> dict[str, Rows]:
    """The rows of each run, by its name."""
    if "by" not in columns.of:
        return {str(request.labels.get("run", sheet.name)): rows}
    cells = sheet.columns[columns.of["by"]]
    members: dict[str, list[int]] = {}
    for row in rows.tolist():
        if is_absent(cells[row]):
            raise sheet.fault(
                f"{sheet.at(row, columns.of['by'])}: the cell is empty, expected the name of a run"
            )
        members.setdefault(str(cells[row]).strip(), []).append(row)
    plain = columns.of["by"].lower() in ("run", "run_name")
    return {
        name if plain else f"{sheet.name}-{columns.of['by']}-{name}": np.array(own)
        for name, own in members.items()
    }


def _file_name(name: str, taken: set[str]) -> str:
    """A name for a file, of its own: no slash, nothing that a shell would read."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:_NAME] or "run"
    found, count = safe, 1
    while found in taken:
        count += 1
        found = f"{safe}-{count}"
    return found


def targets(found: Sequence[Imported], folder: Path) -> dict[Path, Imported]:
    """The file of each run."""
    return {folder / f"{one.name}{SUFFIX}": one for one in found}


def write_all(found: Sequence[Imported], folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write recordings, all of them or none.

    Arguments:
        found: the runs.
        folder: where to; it is made where there is none.
        overwrite: whether files of the same names may be replaced.

    Returns:
        The files.

    Raises:
        FileExistsError: when one is there already, or the folder is a file.
    """
    files = targets(found, folder)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(17, "is a file, expected a folder", str(folder))
    there = [path for path in files if path.exists() or path.with_suffix("").is_dir()]
    if there and not overwrite:
        raise FileExistsError(17, "exists already; --overwrite replaces it", str(there[0]))
    is_new = not folder.exists()
    make_folder(folder)
    beside = folder / f".import.{uuid.uuid4().hex}.tmp"
    beside.mkdir()
    try:
        for path, one in files.items():
            with whole_file(beside / path.name) as file:
                file.write(to_bytes(one.records))
        for path in files:
            os.replace(beside / path.name, path)
        sync_folder(folder)
    except OSError as error:
        told = f"{error.strerror}: nothing was written; make room there, or choose another folder"
        raise OSError(error.errno, told, str(folder)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if is_new and not any(folder.iterdir()):
            folder.rmdir()
    return list(files)
