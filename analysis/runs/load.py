"""Read recordings: files, folders, live folders and globs into one tree, a node a run.

A closed recording is one file, `PATH.nc`. A live one is a folder `PATH/` of segments, each a sound
recording of its own records. Where both are there, the closed one is read. Files come from other
machines, so sizes are looked at before values are read, and nothing is ever unpickled.
"""

import glob
import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import xarray as xr

from ultraslow.analysis.text import printable
from ultraslow.diffusion.recording import (
    SUFFIX,
    DatasetLike,
    RecordError,
    RemoteRecording,
    StoreError,
    check,
    closed_file,
    is_file,
    is_url,
    join_segments,
    local_path,
    missing_end,
    nearest_file,
    reach_files,
    reached,
    read_content,
    read_file,
    read_object,
    recordings_in,
    segments_of,
    state_of,
    unwritten,
    update_seconds,
)

from .stored import Chunks, chunks_by_dimension, stored
from .where import condition

_NODE_LENGTH = 60
# How often a reader looks again when a run was closed or resumed under its hands.
_ATTEMPTS = 5
_NAMED, _LONGEST = 3, 600  # of what cannot be used, in a warning; its characters

Place = Path | RemoteRecording
_Read = TypeVar("_Read", bound=DatasetLike)
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Unusable:
    """A path that gave no recording, with every fault found in it."""

    source: str
    faults: tuple[str, ...]


# What is made of a recording, and what of it cannot be used.
Outcome = tuple[_Read | None, Sequence[Unusable]]


def load(
    paths: Paths,
    *,
    where: str = "",
    chunks: Chunks | None = None,
    progress: Callable[[Iterable[Place]], Iterable[Place]] = iter,
) -> xr.DataTree:
    """The recordings at the given paths, one node a run.

    Paths may be files, folders that hold recordings at any depth, live folders, globs, or a mix;
    or URLs of object stores, as "s3://bucket/runs", of the same kinds.
    What cannot be used is warned of, and listed: `unusable` gives it back.

    Arguments:
        paths: where to look.
        where: which recordings to take, as "batch_size >= 1024 and scaling == 'sqrt'": names of
            labels and what `runs.NAMES` lists, compared; all of them when empty.
        chunks: leave on disk what a closed recording has more than one number of at each record,
            and read it in chunks of Dask where it is used: {"tensor": 100} for so many tensors at
            a time, one length for every dimension but `iteration`, or "auto". One recording at a
            time is then in memory, and all files have to stay where they are.
        progress: wraps the recordings found while they are read, as `tqdm.tqdm` does.

    Returns:
        A tree whose nodes are recordings, held in memory unless chunks are asked for. Node names
        are made safe and unique; the run's own name is its `run` coordinate. Each node has the
        attributes `path`; `sha256`, of the file, or of the joined digests of a live folder's
        segments; and `state`: `closed`, or what `diffusion.recording.state_of` tells of a live
        folder, with `written`, the time of its last segment, and `unwritten`, what a killed run
        lost, in words. The tree has `unusable`, and where a condition was given, `where` and the
        number of recordings that do not meet it, `left_out`.

    Raises:
        RecordError: when nothing is usable, with all faults.
        ConditionError: when the condition cannot be read, or no recording meets it.
        ValueError: when chunks would split `iteration`, or name no dimension of recordings.

    Warns:
        UserWarning: when something cannot be used, with some names and faults.
    """
    tree = load_quietly(paths, where=where, chunks=chunks, progress=progress)
    bad = unusable(tree)
    if bad:
        listed = "; ".join(f"{item.source}: {', '.join(item.faults)}" for item in bad[:_NAMED])
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        warnings.warn(printable(f"not used: {listed}{more}", _LONGEST), stacklevel=2)
    return tree


def load_quietly(
    paths: Paths,
    *,
    where: str = "",
    chunks: Chunks | None = None,
    progress: Callable[[Iterable[Place]], Iterable[Place]] = iter,
) -> xr.DataTree:
    """As `load`, for those who say themselves what cannot be used."""
    if chunks is not None:
        chunks_by_dimension(chunks)
    wanted = condition(where) if where.strip() else None
    reader = read if chunks is None else partial(_read_stored, chunks=chunks)
    nodes, faults = gathered(paths, partial(map, partial(attempt, reader)), progress)
    chosen = nodes if wanted is None else {node: nodes[node] for node in wanted.chosen(nodes)}
    tree = xr.DataTree.from_dict(chosen)
    if wanted is not None:
        tree.attrs.update(where=wanted.text, left_out=len(nodes) - len(chosen))
    tree.attrs["unusable"] = json.dumps([[item.source, item.faults] for item in faults])
    return tree


def attempt(
    reader: Callable[[Place], tuple[_Read, Sequence[Unusable]]], path: Place
) -> Outcome[_Read]:
    """What a reader makes of a recording: with its parts that are left out, or all that is."""
    try:
        return reader(path)
    except RecordError as error:
        return None, (Unusable(error.source, error.faults),)


def gathered(
    paths: Paths,
    read_all: Callable[[list[Place]], Iterable[Outcome[_Read]]],
    progress: Callable[[Iterable[Place]], Iterable[Place]],
) -> tuple[dict[str, _Read], list[Unusable]]:
    """What a reader makes of each recording at the given paths.

    Arguments:
        paths: where to look, as `load` takes them.
        read_all: what is made of each place, in their order, by `attempt`.
        progress: wraps the recordings found while they are read.

    Returns:
        By names that are safe and unique, and what cannot be used.

    Raises:
        RecordError: when nothing is usable, with all faults.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    if not isinstance(given, Iterable):
        raise TypeError(f"paths: found {type(given).__name__}, expected a path, or several")
    given = list(given)
    found, faults = _find_all(given)
    nodes: dict[str, _Read] = {}
    counts: dict[str, int] = {}
    for _, (one, left_out) in zip(progress(found), read_all(found), strict=True):
        if one is not None:
            nodes[_node_name(str(one.variables["run"].values), nodes, counts)] = one
        faults.extend(left_out)
    if not nodes:
        raise _nothing_usable(given, faults)
    return nodes, faults


def unusable(runs: xr.DataTree) -> tuple[Unusable, ...]:
    """What `load` found and could not use.

    Arguments:
        runs: a tree from `load`.

    Returns:
        One entry a path; empty for a tree that was made otherwise.
    """
    listed = json.loads(runs.attrs.get("unusable", "[]"))
    return tuple(Unusable(source, tuple(faults)) for source, faults in listed)


def read(path: Place) -> tuple[xr.Dataset, tuple[Unusable, ...]]:
    """One recording, from its file or from the segments of a live folder.

    Arguments:
        path: a file, a folder with segments, or either in a store.

    Returns:
        The recording, and the segments that were left out. The first broken segment ends what is
        read of a live folder, so that no gap goes unseen. Attributes are those of the last
        segment, which knows of resumptions.

    Raises:
        RecordError: when the recording cannot be used.
    """
    if isinstance(path, RemoteRecording):
        return _read_remote(path)
    closed, folder = (closed_file(path), path) if path.is_dir() else (path, path.with_suffix(""))
    for _ in range(_ATTEMPTS):
        reach = _reach(folder)  # before the segments, which may become more
        segments = [] if is_file(closed) else segments_of(folder)
        try:
            return _read_live(folder, segments, reach) if segments else _read_closed(closed)
        except RecordError:
            # A run that was closed or resumed meanwhile has moved its files; nothing else may
            # hide.
            if all(map(_exists, segments or [closed])) or not (
                is_file(closed) or segments_of(folder)
            ):
                raise
    raise RecordError(str(path), ["its files were moved again and again while it was read"])


def _read_stored(path: Place, chunks: Chunks) -> tuple[xr.Dataset, tuple[Unusable, ...]]:
    """As `read`, but for what a closed recording leaves on disk; those in stores are held."""
    run, left_out = read(path)
    if run.attrs["state"] == "closed" and isinstance(path, Path):
        run = stored(run, Path(run.attrs["path"]), run.attrs["sha256"], chunks)
    return run, left_out


def _read_closed(path: Path) -> tuple[xr.Dataset, tuple[Unusable, ...]]:
    dataset, digest = read_file(path)
    dataset.attrs.update(path=str(path), sha256=digest, state="closed")
    return dataset, ()


def _read_remote(place: RemoteRecording) -> tuple[xr.Dataset, tuple[Unusable, ...]]:
    """One recording from a store, whose segments are read as those of a live folder."""
    parts: list[xr.Dataset] = []
    digests: list[str] = []
    left_out: list[Unusable] = []
    for url in place.files:
        try:
            if left_out:
                raise RecordError(url, ["follows a segment that cannot be read"])
            part, digest = read_content(read_object(url), url)
            parts.append(part)
            digests.append(digest)
        except StoreError as error:
            left_out.append(Unusable(url, (str(error).removeprefix(f"{url}: "),)))
        except RecordError as error:
            left_out.append(Unusable(error.source, error.faults))
    if not parts:
        raise RecordError(place.url, [fault for item in left_out for fault in item.faults])
    if not place.live:
        parts[0].attrs.update(path=place.url, sha256=digests[0], state="closed")
        return parts[0], ()
    joined = join_segments(parts, place.url)
    check(joined, place.url)
    joined.attrs.update(_ends(joined, place.reach if not left_out else -1))
    joined.attrs.update(
        path=place.url,
        sha256=hashlib.sha256("".join(digests).encode()).hexdigest(),
        state="uploaded",
        written=place.written,
        unwritten="",
    )
    return joined, tuple(left_out)


def _reach(folder: Path) -> int:
    return reached([one.name for one in reach_files(folder)])


def _ends(run: xr.Dataset, reach: int) -> dict[str, object]:
    return missing_end(run.attrs, int(run["iteration"][-1]), reach)


def _read_live(
    folder: Path, segments: Sequence[Path], reach: int
) -> tuple[xr.Dataset, tuple[Unusable, ...]]:
    parts: list[xr.Dataset] = []
    digests: list[str] = []
    left_out: list[Unusable] = []
    for segment in segments:
        try:
            if left_out:
                raise RecordError(str(segment), ["follows a segment that cannot be read"])
            part, digest = read_file(segment)
            parts.append(part)
            digests.append(digest)
        except RecordError as error:
            left_out.append(Unusable(error.source, error.faults))
    if not parts or not all(segment.exists() for segment in segments):
        raise RecordError(str(folder), [fault for item in left_out for fault in item.faults])
    joined = join_segments(parts, str(folder))
    check(joined, str(folder))
    # What is broken tells of itself; a run that is resumed has another end meanwhile.
    joined.attrs.update(_ends(joined, -1 if left_out else min(reach, _reach(folder))))
    joined.attrs.update(
        path=str(folder),
        sha256=hashlib.sha256("".join(digests).encode()).hexdigest(),
        state=state_of(folder),
        written=_written(segments[-1]),
        unwritten=unwritten(folder, update_seconds(joined)),
    )
    return joined, tuple(left_out)


def _written(segment: Path) -> str:
    """When a segment was written, in UTC to the second; empty where it is gone."""
    try:
        return datetime.fromtimestamp(segment.stat().st_mtime, UTC).isoformat(timespec="seconds")
    except (OSError, OverflowError, ValueError):
        return ""


def _find_all(given: Sequence[str | os.PathLike[str]]) -> tuple[list[Place], list[Unusable]]:
    found: dict[object, Place] = {}
    faults: list[Unusable] = []
    for item in given:
        text = os.fspath(item)
        try:
            if is_url(text):
                there = recordings_in(text)
                found.update((one.url, one) for one in there)
                if not there:
                    faults.append(Unusable(text, ("no recording in the store under this name",)))
                continue
            text = local_path(text)
        except StoreError as error:
            faults.append(Unusable(text, (str(error).removeprefix(f"{text}: "),)))
            continue
        here = recordings_at(text)
        if not here:
            faults.append(Unusable(text, (absence(text),)))
        found.update((path.resolve(), path) for path in here)
    return list(found.values()), faults


def _nothing_usable(
    given: Sequence[str | os.PathLike[str]], faults: list[Unusable]
) -> RecordError:
    if len(faults) == 1:
        return RecordError(faults[0].source, faults[0].faults)
    listed = [f"{item.source}: {fault}" for item in faults for fault in item.faults]
    where = ", ".join(os.fspath(item) for item in given) if given else "no path given"
    return RecordError(where, ["no usable recording", *listed])


def _node_name(run: str, taken: Mapping[str, object], counts: dict[str, int]) -> str:
    # A node name is part of a path: no slash, no leading dot, nothing a shell would read.
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", run).strip("-.")[:_NODE_LENGTH] or "run"
    name, count = safe, counts.get(safe, 1)
    while name in taken:
        count += 1
        name = f"{safe}-{count}"
    counts[safe] = count
    return name


def recordings_at(text: str) -> list[Path]:
    """Recordings at a path: files, and live folders.

    A folder is searched at any depth, without following links to folders. Where a live folder and
    its closed file are both there, the closed file is given.

    Arguments:
        text: a file, with or without `.nc`; a folder; or a glob. `~` is the home folder.
    """
    return list(_found(os.path.expanduser(text))) if text else []


def absence(text: str) -> str:
    """Why no recording was found at a path."""
    if not text:
        return "an empty path, as an unset variable of a shell gives"
    if _is_folder(Path(os.path.expanduser(text))):
        return "the folder holds no recordings (files ending in .nc, or segments of a live run)"
    if glob.has_magic(text):
        return "the pattern matches no recording"
    return f"no such file or folder{nearest_file(text)}"


def _found(text: str) -> Iterator[Path]:
    path = Path(text)
    closed = closed_file(path)
    if _is_folder(path):
        below = list(_below(path))
        # The folder of a closed recording keeps its initial weights, and segments for a moment.
        own = is_file(closed) and (not below or _is_live(path))
        yield from [closed] if own else below
    elif _exists(path):
        yield path
    elif is_file(closed):
        yield closed
    elif glob.has_magic(text):
        for match in sorted(glob.glob(text, recursive=True)):
            yield from _found(match)


def _below(folder: Path) -> Iterator[Path]:
    if _is_live(folder):
        yield folder
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # not for our eyes: reading it will say so
        yield folder
        return
    names = {entry.name for entry in entries}
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if not (f"{entry.name}{SUFFIX}" in names and _is_live(path)):
                yield from _below(path)
        elif path.suffix == SUFFIX and entry.is_file():
            yield path


def _exists(path: Path) -> bool:
    """Whether something is there; not where that cannot be looked at."""
    try:
        return path.exists()
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_live(folder: Path) -> bool:
    return bool(segments_of(folder))
