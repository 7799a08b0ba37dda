"""Recordings on the disk, looked at again and again: of each file is read once what is watched.

A live recording is a folder of segments that come one after the other, and a run writes thousands
of them. So a segment is read when it is new, its tensors are summed, and it is added to what was
read before; it is read again only where it was written anew, as when a run goes on from an earlier
iteration. The last segment may be on its way from another machine: one that cannot be read yet is
none for a while.
"""

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from ultraslow.analysis.runs.load import recordings_at
from ultraslow.analysis.runs.where import Condition, condition, value_of
from ultraslow.diffusion.recording import (
    FIELDS,
    SUFFIX,
    ForeignError,
    Owner,
    RecordError,
    closed_file,
    is_file,
    read_file,
    recorded_by,
    seam_faults,
    segments_of,
    state_of,
    unwritten,
    update_seconds,
)

# Seconds that a last segment may take to arrive until it is told that it cannot be read.
PATIENCE = 30.0
# How often a folder is looked at again whose files were moved under its reader's hands.
_ATTEMPTS = 5
_MOMENT = 0.05  # seconds between two of them

# Name, size and time of a file: where they are the same, so is what was read of it.
Stamp = tuple[str, int, int]


@dataclass(frozen=True, eq=False)
class Sight:
    """What is on the disk of one recording.

    Attributes:
        path: the closed file, or the live folder.
        records: its records, tensors summed; None while there are none.
        state: "closed", "foreign" (a file that is no recording), "vanished", or what `state_of`
            tells of a live folder.
        written: when the last of its files was written, seconds since 1970; NaN without any.
        owner: the process that records, as it says.
        lost: what a killed process had not written, in words.
        fault: why not all that is there is shown; empty where it is.
    """

    path: Path
    records: xr.Dataset | None
    state: str
    written: float
    owner: Owner = Owner()
    lost: str = ""
    fault: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in ("closed", "foreign", "killed", "left", "vanished")


class Followed:
    """One recording, from its first segment to its closed file.

    Attributes:
        folder: of its segments.
        file: of all its records, once it is closed.
    """

    def __init__(self, path: Path) -> None:
        """Name its files; nothing is read yet.

        Arguments:
            path: a live folder, or a closed recording.
        """
        closed = path.suffix == SUFFIX or is_file(path)
        self.folder = path.with_suffix("") if closed else path
        self.file = path if closed else closed_file(path)
        self._stamps: list[Stamp] = []
        self._ends: list[int] = []  # last iteration of each file that was read
        self._records: xr.Dataset | None = None
        self._last: xr.Dataset | None = None  # record, of all tensors, which the next must fit
        self._bad: tuple[Stamp, float] | None = None  # and since when
        self._written = math.nan
        self._gone = False
        self._foreign = False

    def look(self) -> Sight:
        """Read what is new, and say what there is."""
        state, files = "", list[Path]()
        for _ in range(_ATTEMPTS):
            # Asked first: what a process that is gone by then has written is all there.
            state = state_of(self.folder)
            files = self._files()
            if not (files or self._gone or self.folder.is_dir()):
                time.sleep(_MOMENT)  # a run that begins anew takes its folder away and makes it
                continue
            try:
                stamps = [_stamp(path) for path in files]
            except OSError:  # closed, cut or removed meanwhile
                continue
            fault = self._read(files, stamps)
            if files and self._moved(files):
                continue
            return self._sight(files, state, fault)
        told = "its files are moved again and again while they are read" if files else ""
        return self._sight(files, state, told)

    def _files(self) -> list[Path]:
        return [self.file] if is_file(self.file) else segments_of(self.folder)

    def _moved(self, files: Sequence[Path]) -> bool:
        """Whether a file that could not be read is there no more."""
        return len(self._stamps) < len(files) and not all(map(os.path.lexists, files))

    def _read(self, files: Sequence[Path], stamps: list[Stamp]) -> str:
        """Add what is new; returns why not all of it could be."""
        if not files:  # gone or about to begin anew: the last of what was there may be shown
            return ""
        self._foreign, same = False, 0
        for old, new in zip(self._stamps, stamps, strict=False):
            if old != new:
                break
            same += 1
        if same < len(self._stamps):
            self._keep(same)
        parts, fault = [], ""
        for path, stamp in zip(files[same:], stamps[same:], strict=True):
            try:
                part = read_file(path)[0]
                if self._last is not None and (faults := list(seam_faults(self._last, part))):
                    raise RecordError(str(path), faults)
            except RecordError as error:
                fault = self._unreadable(error, path, stamp, last=path == files[-1])
                break
            parts.append(summed(part))
            self._last = part.isel(iteration=slice(-1, None))
            self._stamps.append(stamp)
            self._ends.append(int(part.variables["iteration"].values[-1]))
        if parts:
            before = [] if self._records is None else [self._records]
            self._records = _joined([*before, *parts])
        if self._stamps:
            self._written = max(stamp[2] for stamp in self._stamps[-2:]) / 1e9
        return fault

    def _keep(self, count: int) -> None:
        """Forget all but the first files, as those after them were written anew."""
        del self._stamps[count:], self._ends[count:]
        self._last = None
        if not count:
            self._records = None
        elif self._records is not None:
            kept = self._records.variables["iteration"].values <= self._ends[-1]
            self._records = self._records.isel(iteration=kept)

    def _unreadable(self, error: RecordError, path: Path, stamp: Stamp, *, last: bool) -> str:
        self._foreign = isinstance(error, ForeignError) and path == self.file
        if self._bad is None or self._bad[0] != stamp:
            self._bad = (stamp, time.monotonic())
        arriving = last and path != self.file and time.monotonic() - self._bad[1] < PATIENCE
        if arriving and time.time() - stamp[2] / 1e9 < PATIENCE:
            return ""
        beyond = f"; records after iteration {self._ends[-1]} are not shown" if self._ends else ""
        return f"{path.name} {'; '.join(error.faults)}{beyond}"

    def _sight(self, files: Sequence[Path], state: str, fault: str) -> Sight:
        self._gone = not files and not self.folder.is_dir()
        if files == [self.file]:
            closed = "foreign" if self._foreign else "closed"
            return Sight(self.file, self._records, closed, self._written, fault=fault)
        if self._gone:
            return Sight(self.folder, self._records, "vanished", self._written)
        pace = 0.0 if self._records is None else update_seconds(self._records)
        return Sight(
            self.folder,
            self._records if files else None,
            state,
            self._written,
            recorded_by(self.folder),
            unwritten(self.folder, pace) if state == "killed" else "",
            fault,
        )


class Watched:
    """All recordings at some paths, also those that come later."""

    def __init__(self, paths: Sequence[str], where: str = "") -> None:
        """Name where to look.

        Arguments:
            paths: recordings, folders that hold some, or globs, which need not be there yet.
            where: which of them, as `load` takes it; of what has no records yet nobody knows.

        Raises:
            ConditionError: when it is no condition.
        """
        self.paths = list(paths)
        self._wanted = condition(where) if where.strip() else None
        self._known: dict[Path, Followed] = {}

    def look(self) -> Iterator[Sight]:
        """What there is of each, read one after the other."""
        for text in self.paths:
            for path in recordings_at(text) or _begun(text):
                found = Followed(path)
                self._known.setdefault(found.folder.absolute(), found)
        for followed in list(self._known.values()):
            sight = followed.look()
            if self._wanted is None or _is_wanted(sight, self._wanted):
                yield sight


def _is_wanted(sight: Sight, wanted: Condition) -> bool:
    run = sight.records
    return run is None or wanted.met_by({name: value_of(run, name) for name in wanted.names})


def _begun(text: str) -> list[Path]:
    """A live folder at a path in which a process has begun and written nothing yet."""
    folder = Path(os.path.expanduser(text))
    try:
        return [folder] if folder.is_dir() and recorded_by(folder).pid else []
    except OSError:
        return []


def summed(run: xr.Dataset) -> xr.Dataset:
    """A recording in which one tensor stands for all, and of which all else that is watched stays.

    Arguments:
        run: a recording, or a part of one.

    Returns:
        It, with `tensor` of length 1, and without sketches, landscapes and groups.
    """
    kept: dict[str, object] = {}
    for name, field in FIELDS.items():
        if name not in run.variables:
            continue
        values = run.variables[name].values
        if field.dims == ("iteration", "tensor"):
            ordered = run.variables[name].transpose("iteration", "tensor").values
            kept[name] = (field.dims, ordered.sum(axis=1, keepdims=True))
        elif field.dims in (("iteration",), ()) or name in ("metric", "held_out"):
            kept[name] = (run.variables[name].dims, values)
    kept["tensor"] = ("tensor", np.array(["all"]))
    kept["tensor_size"] = ("tensor", [int(run.variables["tensor_size"].values.sum())])
    found = xr.Dataset(kept, attrs=run.attrs)
    plain = [name for name, field in FIELDS.items() if not field.dims and name in found]
    return found.set_coords([*plain, "tensor_size"])


def _joined(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Parts of one recording in a row; what does not go along iterations is the last one's."""
    if len(parts) == 1:
        return parts[0]
    last = parts[-1]
    columns = {
        name: (variable.dims, np.concatenate([one.variables[name].values for one in parts]))
        for name, variable in last.variables.items()
        if variable.dims[:1] == ("iteration",)
    }
    times = columns.pop("iteration")
    return last.drop_dims("iteration").assign_coords(iteration=times).assign(columns)


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return path.name, found.st_size, found.st_mtime_ns
