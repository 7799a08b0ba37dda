"""Repairing a recording: keep what is sound, set aside what is not, and say what was lost."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.diffusion.recording import (
    RecordError,
    missing_segments,
    read_file,
    seam_faults,
    sync_folder,
)

from . import initial
from .segments import SegmentStore, absent_recording
from .weights import read_header, refuse_damaged

ASIDE = ".broken"
_START = re.compile(r"segment-(\d{12,18})\.nc")

Gap = tuple[int, int | None]


@dataclass(frozen=True)
class Repair:
    """What a repair found and did.

    Arguments:
        path: the recording: its closed file, or the live folder where nothing had to be done.
        records: how many it holds.
        faults: one sentence a fault; empty for a sound recording.
        aside: broken files under the names they have now.
        rebuilt: whether the closed file was written anew.
    """

    path: Path
    records: int
    faults: tuple[str, ...]
    aside: tuple[Path, ...]
    rebuilt: bool = False


@dataclass
class _Sorted:
    """Files by what they are good for."""

    sound: list[xr.Dataset] = field(default_factory=list)
    broken: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def repair_recording(path: str | Path) -> Repair:
    """Rebuild a recording from its sound parts.

    A damaged file is renamed to end in `.broken`, and the records of the others are joined to one
    closed file, whose attribute `gaps` lists the last iteration before and the first after each
    hole. Nothing is deleted, and a sound recording stays as it is. Damaged initial weights are
    told of and stay; without them the run cannot be resumed. A repair that was interrupted is
    finished by the next.

    Arguments:
        path: the live folder or the closed file.

    Returns:
        What was found and done.

    Raises:
        FileNotFoundError: when there is no recording.
        FileExistsError: while the recording is being written.
        RecordError: when no part is sound; nothing was changed then.
    """
    store = SegmentStore(path)
    closed, segments = store.file.exists(), store.segments()
    if not closed and not segments:
        raise FileNotFoundError(absent_recording(path))
    live = store.folder.is_dir()
    if live:
        store.lease.acquire(take_over=False)
    try:
        return _repaired(store, [store.file] if closed else [], segments)
    finally:
        if live:
            store.close()


def _repaired(store: SegmentStore, closed: list[Path], segments: list[Path]) -> Repair:
    found = _sort(closed)
    if not found.sound:
        parts = _sort(segments)  # a damaged closed file is no loss while its segments are there
        found = _Sorted(
            parts.sound, [*found.broken, *parts.broken], [*found.faults, *parts.faults]
        )
    if not found.sound:
        raise RecordError(str(store.folder), ["no part is sound", *found.faults])
    faults = [*found.faults, *_initial_faults(store.folder)]
    count = sum(part.sizes["iteration"] for part in found.sound)
    earlier = sorted(store.folder.glob(f"segment-*{ASIDE}*"))
    last = int(found.sound[-1]["iteration"][-1])
    ends = [(last, None)] if not closed and store.reach > last else []
    known, gaps = _known_gaps(found.sound[-1]), _gaps(found.sound, found.broken, earlier, ends)
    untold = [gap for gap in gaps if gap not in known]
    if not found.broken and (closed or not untold):
        path = store.file if closed else store.folder
        return Repair(path, count, tuple(faults), ())
    if not found.broken:
        gone = {*missing_segments(found.sound), *ends}
        faults += [
            f"no records {_between(gap)}: "
            + ("their segments are missing" if gap in gone else "their files were set aside")
            for gap in untold
        ]
    aside = tuple(_set_aside(file) for file in found.broken)
    path = store.compact({"gaps": json.dumps(gaps)})
    return Repair(path, count, tuple(faults), aside, rebuilt=True)


def _sort(files: list[Path]) -> _Sorted:
    """Read files in their order; one that does not fit those before it is as good as broken."""
    found = _Sorted()
    for file in files:
        try:
            part, _ = read_file(file)
            misfits = list(seam_faults(found.sound[-1], part)) if found.sound else []
        except RecordError as error:
            misfits = list(error.faults)
        if misfits:
            found.broken.append(file)
            found.faults += [f"{file.name}: {fault}" for fault in misfits]
        else:
            found.sound.append(part)
    return found


def _set_aside(file: Path) -> Path:
    aside, number = file.with_name(file.name + ASIDE), 1
    while aside.exists():
        number += 1
        aside = file.with_name(f"{file.name}{ASIDE}-{number}")
    os.rename(file, aside)
    sync_folder(file.parent)
    return aside


def _gaps(
    sound: list[xr.Dataset], broken: Sequence[Path], earlier: Sequence[Path], ends: Sequence[Gap]
) -> list[Gap]:
    """Last iteration before and first after each hole; None where nothing follows.

    Arguments:
        sound: segments that are kept.
        broken: files that are not.
        earlier: files that were set aside before; what was recorded again is no hole any more.
        ends: the hole at the end, where there is one.
    """
    there = np.concatenate([part["iteration"].values for part in sound])
    lost = [*_starts(broken), *(start for start in _starts(earlier) if start not in there)]
    gaps: set[Gap] = {_around(there, start) for start in lost} | {
        *missing_segments(sound),
        *ends,
    }
    for before, after in _known_gaps(sound[-1]):
        if _around(there, before) == (before, after):
            gaps.add((before, after))
    return sorted(gaps, key=lambda gap: gap[0])


def _starts(files: Sequence[Path]) -> list[int]:
    """First iterations of segments, by their names."""
    return [int(found[1]) for file in files if (found := _START.match(file.name))]


def _around(there: NDArray[np.int64], lost: int) -> Gap:
    """The last iteration that is there up to one that was lost, and the first after it."""
    before, after = there[there <= lost], there[there > lost]
    return int(before[-1]) if before.size else -1, int(after[0]) if after.size else None


def _known_gaps(part: xr.Dataset) -> list[Gap]:
    """Holes that the recording tells of itself."""
    try:
        return [(int(a), None if b is None else int(b)) for a, b in json.loads(part.attrs["gaps"])]
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return []


def _between(gap: Gap) -> str:
    before, after = gap
    return f"after iteration {before}" + ("" if after is None else f" and before {after}")


def _initial_faults(folder: Path) -> Iterator[str]:
    for file in initial.weight_files(folder):
        try:
            refuse_damaged(read_header(file))
        except (ValueError, OSError) as error:
            yield str(error).removeprefix("path: ")
    if not initial.weight_files(folder):
        yield f"no initial weights in {folder}: the run cannot be resumed"
