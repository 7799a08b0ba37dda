"""Where recordings are: files, folders, live folders and globs as a list of recordings."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

SEGMENTS = "segment-*.nc"


def recordings_at(text: str) -> list[Path]:
    """Recordings at a path: files, and live folders.

    A folder is searched at any depth, without following links to folders. Where a live folder and
    its closed file are both there, the closed file is given.

    Arguments:
        text: a file, with or without `.nc`; a folder; or a glob.
    """
    return list(_found(text))


def segments_of(folder: Path) -> list[Path]:
    """The segments of a live folder in the order of their records; empty for other folders."""
    return sorted(folder.glob(SEGMENTS))


def closed_file(folder: Path) -> Path:
    """Where the recording of a live folder is once it is closed."""
    return folder.with_name(folder.name + ".nc") if folder.name else folder


def absence(text: str) -> str:
    """Why no recording was found at a path."""
    if Path(text).is_dir():
        return "the folder holds no recordings (files ending in .nc, or segments of a live run)"
    if glob.has_magic(text):
        return "the pattern matches no recording"
    return "no such file or folder"


def _found(text: str) -> Iterator[Path]:
    path = Path(text)
    closed = closed_file(path)
    if path.is_dir():
        below = list(_below(path))
        # The folder of a closed recording keeps its initial weights, and segments for a moment.
        own = closed.is_file() and (not below or _is_live(path))
        yield from [closed] if own else below
    elif path.exists():
        yield path
    elif closed.is_file():
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
            if not (f"{entry.name}.nc" in names and _is_live(path)):
                yield from _below(path)
        elif path.suffix == ".nc" and entry.is_file():
            yield path


def _is_live(folder: Path) -> bool:
    return any(folder.glob(SEGMENTS))
