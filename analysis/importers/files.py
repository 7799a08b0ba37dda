"""Files that are imported: found, read as a whole, told apart by what is in them.

A file is read once and hashed. One that ends in `.gz` is unpacked; the rest is told by its
content, and not by its name.
"""

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ultraslow.diffusion.recording import RecordError, size_fault

from .delimited import delimited_sheet
from .event_files import PATTERN, events_sheet
from .logs import log_sheet
from .sheet import Sheet, shown

_LIMIT = 2**31  # bytes of a file, packed or not
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# What files of other kinds begin with.
_OTHERS = {
    b"\x89HDF": "is a NetCDF or HDF5 file: recordings are read as they are",
    b"CDF\x01": "is a NetCDF file: recordings are read as they are",
    b"PK\x03\x04": "is an archive, as of torch or Excel: `ultraslow checkpoints` reads weights",
    b"\x80": "is a pickle, which is never opened: `ultraslow checkpoints` reads weights",
    b"PAR1\x15": "is a Parquet file: `to_csv` of pandas makes it readable here",
    b":W&B": "is the log of wandb itself: a run's `history().to_csv` makes it readable here",
}
# Files that all programs call alike: their folder tells the run.
_COMMON = re.compile(
    r"(metrics?|trainer_state|log|logs|history|progress|scalars?|train(ing)?([_-]?log)?|results?|"
    r"wandb[_-]history|stats)",
    re.IGNORECASE,
)
_STEP_FOLDER = re.compile(r"checkpoint[-_](\d+)", re.IGNORECASE)
_STATE = "trainer_state.json"  # of Hugging Face, in each checkpoint all from the beginning
# Settings of runs, of Lightning and others, which lie beside metrics.
_UPPER_FOLDERS = 2


def sheets_of(paths: Sequence[Path]) -> Iterator[Sheet]:
    """The sheets of files and folders.

    Arguments:
        paths: files; folders stand for the event files in them, at any depth, and for
            `metrics.csv` and `trainer_state.json`.

    Raises:
        RecordError: when something is not there, or cannot be read.
    """
    for path in paths:
        path = path.expanduser()
        if not path.exists():
            raise RecordError(str(path), ["no such file or folder"])
        if path.is_dir():
            yield from _folder(path)
        elif path.match(PATTERN):
            yield _events([path], path)
        else:
            yield _sheet(path)


def _folder(folder: Path) -> Iterator[Sheet]:
    """A sheet for each folder with event files, or with a log of a known name."""
    below = [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]
    found = False
    for place in below:
        events = sorted(path for path in place.glob(PATTERN) if path.is_file())
        logs = [place / name for name in ("metrics.csv", _STATE)]
        logs = [path for path in logs if path.is_file() and not _is_earlier(path)]
        found = found or bool(events or logs)
        if logs:  # Lightning writes the same numbers into both
            yield from map(_sheet, logs)
        elif events:
            yield _events(events, place)
    if not found:
        raise RecordError(
            str(folder),
            ["the folder holds no event files, metrics.csv or trainer_state.json; name the files"],
        )


def _is_earlier(path: Path) -> bool:
    """Whether it is the state of a trainer of which a later checkpoint has all, and more."""
    step = _STEP_FOLDER.fullmatch(path.parent.name)
    if path.name != _STATE or step is None:
        return False
    above = path.parent.parent
    others = (_STEP_FOLDER.fullmatch(one.parent.name) for one in above.glob(f"*/{_STATE}"))
    later = any(int(one[1]) > int(step[1]) for one in others if one is not None)
    return later or (above / _STATE).is_file()


def _events(paths: Sequence[Path], source: Path) -> Sheet:
    contents = [(str(path), content_of(path)) for path in paths]
    digest = hashlib.sha256(b"".join(content for _, content in contents)).hexdigest()
    return events_sheet(contents, str(source), run_name(paths[0].parent / "events"), digest)


def _sheet(path: Path) -> Sheet:
    packed = content_of(path)
    digest = hashlib.sha256(packed).hexdigest()
    content = _unpacked(packed, path) if packed[:2] == b"\x1f\x8b" else packed
    if not content.strip():
        raise RecordError(str(path), ["is empty, expected rows of a CSV or JSON file"])
    for start, what in _OTHERS.items():
        if content.startswith(start):
            raise RecordError(str(path), [f"{what}, expected a CSV or JSON file or event files"])
    if _is_event_file(content):
        return events_sheet([(str(path), content)], str(path), run_name(path), digest)
    text = _text(content, path)
    read = log_sheet if text.lstrip()[:1] in ("{", "[") else delimited_sheet
    return read(text, str(path), run_name(path), digest)


def _is_event_file(content: bytes) -> bool:
    """Whether it begins as an event file does, with its version."""
    return b"brain.Event:" in content[:64]


def content_of(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        RecordError: when it cannot be read, or is larger than what is read at all.
    """
    try:
        if fault := size_fault(path.stat().st_size):
            raise RecordError(str(path), [fault])
        return path.read_bytes()
    except OSError as error:
        raise RecordError(str(path), [f"cannot be read ({error.strerror})"]) from error


def _unpacked(content: bytes, path: Path) -> bytes:
    """What a packed file holds; it may have several parts in a row."""
    parts, left, room = [], content, _LIMIT
    while left:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(left, room))
        except zlib.error as error:
            raise RecordError(str(path), [f"is damaged: {error}"]) from error
        room -= len(parts[-1])
        if unpacker.unconsumed_tail or room <= 0:
            raise RecordError(str(path), [f"unpacks to more than {_LIMIT} bytes"])
        if not unpacker.eof:
            raise RecordError(str(path), ["is cut off: the packed data has no end"])
        left = unpacker.unused_data
        if not left.strip(b"\0"):  # some programs fill files up with zeros
            break
    return b"".join(parts)


def _text(content: bytes, path: Path) -> str:
    coding = next((name for mark, name in _BOMS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(coding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        found = shown(content[error.start : error.start + 4])
        raise RecordError(
            str(path), [f"line {line}: found {found}, expected text in UTF-8"]
        ) from error
    if "\0" in text:
        raise RecordError(str(path), ["holds zero bytes, expected the text of a CSV or JSON file"])
    return text.replace("\r\n", "\n").replace("\r", "\n")


def run_name(path: Path) -> str:
    """What the run in a file is called: the file's name, or its folder's where all are alike.

    >>> run_name(Path("plots/dist_8gpu.csv.gz")), run_name(Path("logs/version_3/metrics.csv"))
    ('dist_8gpu', 'logs-version_3')
    >>> run_name(Path("out/checkpoint-500/trainer_state.json"))
    'out-checkpoint-500'
    """
    stem = path.name
    for ending in (".gz", ".csv", ".tsv", ".txt", ".jsonl", ".json", ".ndjson", ".dat", ".log"):
        stem = stem.removesuffix(ending)
    if not _COMMON.fullmatch(stem) and stem != "events":
        return stem
    above = [part for part in path.absolute().parent.parts if part != path.anchor]
    if not above:
        return stem
    last = above[-1]
    several = re.fullmatch(r"version_\d+|\d+", last) or _STEP_FOLDER.fullmatch(last)
    return "-".join(above[-_UPPER_FOLDERS:]) if several else last
