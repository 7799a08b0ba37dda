"""Repairing a recording: keep what is sound, set aside what is not, and say what was lost."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import xarray as xr

from diffusion.recording import RecordError, seam_faults

from . import initial
from .store import SegmentStore, read
from .weights_file import read_header, refuse_damaged

ASIDE = ".broken"


@dataclass(frozen=True)
class Repair:
    """What a repair found and did.

    Arguments:
        path: the recording: its closed file, or the live folder where nothing had to be done.
        records: how many it holds.
        faults: one sentence a fault; empty for a sound recording.
        aside: broken files under the names they have now.
    """

    path: Path
    records: int
    faults: tuple[str, ...]
    aside: tuple[Path, ...]


@dataclass
class _Sorted:
    """Files by what they are good for."""

    sound: list[xr.Dataset] = field(default_factory=list)
    broken: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def repair(path: str | Path) -> Repair:
    """Rebuild a recording from its sound parts.

    A damaged file is renamed to end in `.broken`, and the records of the others are joined to one
    closed file, whose attribute `gaps` lists the last iteration before and the first after each
    hole. Nothing is deleted, and a sound recording stays as it is. Damaged initial weights are
    told of and stay; without them the run cannot be resumed.

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
        raise FileNotFoundError(f"path: found no recording at {store.folder}")
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
    if not found.broken:
        path = store.file if closed else store.folder
        return Repair(path, count, tuple(faults), ())
    aside = tuple(_set_aside(file) for file in found.broken)
    gaps = list(_gaps(found.sound, found.broken))
    path = store.compact({"gaps": json.dumps(gaps)})
    return Repair(path, count, tuple(faults), aside)


def _sort(files: list[Path]) -> _Sorted:
    """Read files in their order; one that does not fit those before it is as good as broken."""
    found = _Sorted()
    for file in files:
        try:
            part = read(file)
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
    return aside


def _gaps(sound: list[xr.Dataset], broken: list[Path]) -> Iterator[tuple[int, int | None]]:
    """Last iteration before and first after each hole; None where nothing follows."""
    starts = [int(file.stem.partition("-")[2]) for file in broken if "-" in file.stem]
    ends = [int(part["iteration"][-1]) for part in sound]
    follows: list[int | None] = [int(part["iteration"][0]) for part in sound[1:]]
    if starts and min(starts) < int(sound[0]["iteration"][0]):
        yield -1, int(sound[0]["iteration"][0])
    for end, start in zip(ends, [*follows, None], strict=True):
        if any(end < lost and (start is None or lost < start) for lost in starts):
            yield end, start


def _initial_faults(folder: Path) -> Iterator[str]:
    for file in initial.files(folder):
        try:
            refuse_damaged(read_header(file))
        except ValueError as error:
            yield str(error).removeprefix("path: ")
    if not initial.files(folder):
        yield f"no initial weights in {folder}: the run cannot be resumed"
