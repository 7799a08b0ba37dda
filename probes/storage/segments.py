"""The store: immutable NetCDF segments while a run lives, one file when it closes.

A live recording is a folder of segments. Each is written under a temporary name, synced to disk
and renamed, so a reader sees whole segments only and a killed run loses what was not yet written,
nothing else. Every segment is a valid recording of its own records; they join along `iteration`.
Closing writes all records to one `.nc` beside the folder in the same way, and only then removes
the segments. At any moment the `.nc`, where there is one, or else the segments hold all records.
An empty file tells by its name how far they reach, so that a missing end is noticed.

Nothing is locked or appended to: appending with xarray would replace the first records instead of
adding to them, and network file systems lock badly. Of a disk only exclusive creation, writing in
one piece, syncing and renaming is asked. Every file ends with a seal
(`diffusion.recording.netcdf`), which shows any damage.
"""

import errno
import glob
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
import xarray as xr

from ultraslow.diffusion.recording import (
    SUFFIX,
    Lease,
    RecordError,
    closed_file,
    join_segments,
    local_path,
    make_folder,
    missing_end,
    nearest_file,
    reach_files,
    reached,
    read_file,
    segment_file,
    segments_of,
    size_fault,
    sync_folder,
    tell_reached,
    to_bytes,
    whole_file,
)

# Of the longest name beside a recording's own: a dot, the suffix, 32 digits and ".tmp".
_BESIDE = len(f".{SUFFIX}.{uuid.UUID(int=0).hex}.tmp")
_NAME_LENGTH = 255  # bytes, of nearly all file systems
_LISTED = 3  # recordings of a folder that a message names
_TAIL = "tail-*.nc.aside"


def absent_recording(path: str | Path) -> str:
    """That there is no recording at a path where a single one is wanted, and what may be meant.

    Arguments:
        path: as it was typed.
    """
    typed = Path(os.path.expanduser(local_path(path)))
    if typed.is_file():
        wanted = f"a file ending in {SUFFIX}, or a live folder"
        return f"path: found {path}, expected a recording: {wanted}"
    if not typed.is_dir():
        file = typed if typed.suffix == SUFFIX else closed_file(typed)
        return f"path: found no recording at {path}{nearest_file(file)}"
    entries = sorted(typed.iterdir())
    held = [one for one in entries if one.suffix == SUFFIX or segments_of(one)]
    listed = [str(one) for one in held[:_LISTED]] + ["…"] * (len(held) > _LISTED)
    holds = f"one of those in it: {', '.join(listed)}" if held else "and none is in it"
    return f"path: found the folder {path}, expected a single recording, {holds}"


class SegmentStore:
    """The files of one recording.

    Attributes:
        tails: files of records that a run which goes on from before them has set aside, each with
            its last iteration.
    """

    def __init__(self, path: str | Path) -> None:
        """Name the files: `path` is the live folder, `path` + `.nc` the closed file."""
        path = Path(os.path.expanduser(local_path(path)))
        self.folder = path.with_suffix("") if path.suffix == SUFFIX else path
        self.file = closed_file(self.folder)
        self.lease = Lease(self.folder)
        self.tails: dict[Path, int] = {}

    def open(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Make the live folder and take its lease.

        Arguments:
            resume: whether a recording of this name is to be continued.
            overwrite: whether a recording of this name is removed, also one that a recorder of
                this process has not closed.

        Raises:
            FileExistsError: when somebody records here or, unless it is to be resumed, when there
                is already a recording of this name, live or closed.
        """
        if not (resume or overwrite):
            self._refuse_existing()
        make_folder(self.folder)
        self.lease.acquire(take_over=resume, replace=overwrite)
        if overwrite:
            self._remove()

    def _refuse_existing(self) -> None:
        for found in [self.file, *self.segments()]:
            if found.exists() and not self.lease.is_of_this_process():
                raise FileExistsError(
                    f"path: found a recording at {found}; choose another path, move it away, "
                    "continue it with resume, or replace it with overwrite=True"
                )

    def _remove(self) -> None:
        """Remove all records, from the end, so that what a crash leaves has no gap."""
        self._clear_away()
        self._forget_reach()
        self.file.unlink(missing_ok=True)
        for segment in (*self.folder.glob(_TAIL), *reversed(self.segments())):
            segment.unlink()
            sync_folder(self.folder)

    def segments(self) -> list[Path]:
        """Whole segments in the order of their records."""
        return segments_of(self.folder)

    @property
    def reach(self) -> int:
        """The last iteration that segments held, some of which may be missing; −1 if unknown."""
        return reached([one.name for one in reach_files(self.folder)])

    def _forget_reach(self) -> None:
        """No longer tell how far segments reach, before some of them go."""
        told = reach_files(self.folder)
        with suppress(OSError):
            for one in told:
                one.unlink()
            if told:
                sync_folder(self.folder)

    def read(self) -> xr.Dataset | None:
        """All records, live or closed; None when there are none.

        Raises:
            RecordError: when a file is damaged or segments do not fit.
        """
        parts = [self.file] if self.file.exists() else self.segments()
        return (
            join_segments([read_file(part)[0] for part in parts], str(self.folder))
            if parts
            else None
        )

    def write(self, records: xr.Dataset) -> Path:
        """Add a segment that holds the given records; it is on disk when this returns.

        Raises:
            TakenOver: when another process records here now.
            OSError, RuntimeError: when the disk refuses; nothing is left behind.
        """
        target = segment_file(self.folder, int(records["iteration"][0]))
        _write_whole(target, records, permit=self.lease.check)
        last = int(records["iteration"][-1])
        self._overtake(last)
        tell_reached(self.folder, last)
        return target

    def replace(self, records: xr.Dataset) -> None:
        """Write the closed file anew, with the given records; until then the old one stands.

        Raises:
            TakenOver: when another process records here now.
            OSError: when the disk refuses; the old file is as it was.
        """
        _write_whole(self.file, records, permit=self.lease.check)

    def tell(self, attributes: Mapping[str, str | int]) -> None:
        """Add attributes to a live recording, whose last segment has those that count.

        Raises:
            TakenOver: when another process records here now.
            OSError, RecordError: when the disk refuses, or the segment is damaged.
        """
        segments = [] if self.file.exists() else self.segments()
        if segments:
            records = read_file(segments[-1])[0]
            if records.attrs != {**records.attrs, **attributes}:
                told = records.assign_attrs(attributes)
                _write_whole(segments[-1], told, permit=self.lease.check)

    def cut(self, last: int) -> None:
        """Make a closed recording live again and set aside the records after an iteration.

        They are kept in a file `tail-1.nc.aside`, the next time `tail-2.nc.aside`, which is a
        recording under another name. When records have been written up to its last iteration it
        goes.

        Arguments:
            last: last iteration to keep.
        """
        self._clear_away()
        self._forget_reach()
        if self.file.exists():
            self._finish()
            with whole_file(segment_file(self.folder, 0), permit=self.lease.check) as copy:
                copy.write(self.file.read_bytes())
            self.file.unlink()
            sync_folder(self.file.parent)
        kept: dict[Path, xr.Dataset] = {}
        tail: list[xr.Dataset] = []
        for segment in reversed(self.segments()):
            records = read_file(segment)[0]
            late = records["iteration"].values > last
            if not late.any():
                break
            kept[segment] = records.isel(iteration=~late)
            tail.insert(0, records.isel(iteration=late))
        self._set_aside(tail)
        # From the end, one after the other, so that at any moment what is on disk has no gap.
        for segment, records in kept.items():
            if records.sizes["iteration"]:
                _write_whole(segment, records, permit=self.lease.check)
            else:
                segment.unlink()
                sync_folder(self.folder)

    def _set_aside(self, tail: list[xr.Dataset]) -> None:
        for file in self.folder.glob(_TAIL):
            with suppress(RecordError):  # what cannot be read is kept
                self.tails[file] = int(read_file(file)[0]["iteration"][-1])
        if tail:
            number = 1
            while (file := self.folder / _TAIL.replace("*", str(number))).exists():
                number += 1
            _write_whole(file, join_segments(tail, str(file)), permit=self.lease.check)
            self.tails[file] = int(tail[-1]["iteration"][-1])

    def _overtake(self, last: int) -> None:
        for file in [file for file, end in self.tails.items() if end <= last]:
            with suppress(OSError):
                file.unlink()
            del self.tails[file]

    def compact(self, attributes: Mapping[str, str | int] | None = None) -> Path:
        """Join all segments into the closed file, then remove them and give the lease back.

        Called again after a crash within, it finishes what is left to do. Records that would make
        a file too large to be read stay in their segments.

        Arguments:
            attributes: added to those of the recording.

        Raises:
            TakenOver: when another process records here now.
            OSError: when the disk refuses, or the file would be too large.
        """
        self.lease.check()
        if not self.file.exists():
            parts = self.segments()
            if not parts:
                raise FileNotFoundError(f"{self.folder}: found no segments to close")
            records = join_segments([read_file(part)[0] for part in parts], str(self.folder))
            records = records.assign_attrs(attributes or {})
            ends = missing_end(records.attrs, int(records["iteration"][-1]), self.reach)
            records = records.assign_attrs(ends)
            _write_whole(self.file, records, permit=self.lease.check)
        self._finish()
        self.close()
        return self.file

    def close(self) -> None:
        """Give the lease back; an empty folder goes."""
        self.lease.release()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _finish(self) -> None:
        """Remove the segments that the closed file holds as well."""
        self._forget_reach()
        segments = self.segments()
        closed = read_file(self.file)[0]["iteration"].values if segments else np.array([])
        for segment in segments:
            extra = np.setdiff1d(read_file(segment)[0]["iteration"].values, closed)
            if extra.size:
                raise FileExistsError(
                    f"path: {segment} holds iteration {extra[0]}, which {self.file} does not; "
                    "these are two recordings, move one of them away"
                )
        for segment in segments:
            segment.unlink()
        if segments:  # or some of them may come back beside the closed file made live again
            sync_folder(self.folder)

    def _clear_away(self) -> None:
        """Remove what a killed writer left half written."""
        own = f".{glob.escape(self.file.name)}.*.tmp"
        in_folder = [self.folder.glob(f".{name}-*.tmp") for name in ("segment", "tail", "initial")]
        for left in (*chain(*in_folder), *self.file.parent.glob(own)):
            left.unlink(missing_ok=True)


def _write_whole(target: Path, records: xr.Dataset, *, permit: Callable[[], None]) -> None:
    """Write a file of records: the target is absent, old or whole.

    Arguments:
        target: the file.
        records: its content.
        permit: raises when this process may not write; asked last, as the rest takes a while.
    """
    content = to_bytes(records)
    if fault := size_fault(len(content)):
        raise OSError(errno.EFBIG, f"one file of all records {fault}", str(target))
    with whole_file(target, permit=permit) as file:
        file.write(content)


def name_fault(folder: Path) -> str:
    """Why a recording cannot have this name, as files beside it need longer ones; empty if it can.

    Arguments:
        folder: the live folder.
    """
    size, longest = len(os.fsencode(folder.name)), _longest_name(folder.parent) - _BESIDE
    if size <= longest:
        return ""
    return (
        f"found a name of {size} bytes, {folder.name[:40]!r}…, expected at most {longest}: files "
        "beside the recording have longer names"
    )


def _longest_name(folder: Path) -> int:
    """Bytes that a name in a folder may have, by the nearest folder that exists."""
    for one in (folder, *folder.parents):
        try:
            return os.pathconf(one, "PC_NAME_MAX")
        except (OSError, ValueError, AttributeError):
            continue
    return _NAME_LENGTH
