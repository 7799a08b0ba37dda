"""Recordings that go to an object store while they are made.

The disk here is what counts: the recording is made on it, with all that a disk can promise, and
what is whole there is copied to the store by a thread of its own, which never stops the training.
A store has no renaming and nobody who writes alone, so the order of the copies keeps the promise
that what is there opens: w0 first, segments in their order, the closed file before the segments
that it replaces go. Where a store refuses, it is told once and tried again, less and less often.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from ultraslow.diffusion.recording import (
    SUFFIX,
    RecordError,
    StoreError,
    closed_file,
    from_bytes,
    get_object,
    is_url,
    join_segments,
    local_path,
    objects_of,
    put_object,
    reach_files,
    read_object,
    refuse_hostile,
    remove_object,
    segments_of,
    store_of,
)

from . import initial
from .segments import SegmentStore, absent_recording

FOLDER = "uploads"  # of recordings that go to a store, where nobody names another
_RETRY, _SELDOM = 5.0, 300.0  # seconds between two attempts, at first and at last
_CLOSE = 60.0  # seconds that the close waits for another file to get through
_ASK = 15.0  # seconds that a start waits for a store
_TAKEN = (
    "path: found a recording at {url} ({url}{name}); choose another URL, continue it with resume, "
    "or replace it with overwrite=True"
)


def recorded_at(path: str | Path, local: str | Path | None = None) -> tuple[str, str]:
    """Where a run records, and the URL that it uploads to; empty for a run on a disk alone.

    Arguments:
        path: a path or a URL.
        local: the folder on a disk of a recording at a URL; `uploads/BUCKET/NAME` when None.

    Raises:
        StoreError: for a URL that is hostile, or whose library is not installed.
        ValueError: for a folder beside a path.

    >>> recorded_at("memory://bucket/study/run.nc")
    ('uploads/bucket/study/run', 'memory://bucket/study/run')
    """
    if not is_url(path):
        if local is not None:
            raise ValueError("local: found a folder beside a path that is none of a store")
        return local_path(path), ""
    url = str(path).rstrip("/").removesuffix(SUFFIX)
    refuse_hostile(url)
    parts = [part for part in url.partition("://")[2].split("/") if part]
    if len(parts) < 2:
        raise StoreError(f"{url}: expected SCHEME://BUCKET/NAME, with a name for the recording")
    store_of(url)
    return str(local) if local is not None else str(Path(FOLDER, *parts)), url


class Upload:
    """Copies a recording to a store as it grows.

    Attributes:
        url: of the recording there, without `.nc`.
        fault: why the last attempt failed; empty when it did not.
        owns: whether what the store has under this name may be replaced.
    """

    def __init__(
        self, folder: Path, url: str, *, retry: float = _RETRY, patience: float = _CLOSE
    ) -> None:
        """Name the live folder here and the URL there; nothing is copied yet.

        Arguments:
            folder: the live folder.
            url: of the recording there, without `.nc`.
            retry: seconds until a store that refused is tried again, at first.
            patience: seconds that the close waits for the next file to get through.
        """
        self.folder, self.url, self.fault = folder, url, ""
        self._retry, self._patience = retry, patience
        self._there: dict[str, tuple[int, int]] = {}  # size and time of the file that was copied
        self._strange: set[str] | None = None  # in the store, of earlier runs; None: not asked yet
        self._wake, self._done, self._ends = (threading.Event() for _ in range(3))
        self._through = 0  # files copied so far
        self._copying = self.owns = False
        self._told = False
        self._thread: threading.Thread | None = None

    def refuse_existing(self) -> None:
        """Refuse a new recording where the store has one; a store that is silent is asked later.

        Raises:
            FileExistsError: when something is there.
        """
        found = _within(_ASK, lambda: objects_of(self.url))
        if found:
            raise FileExistsError(_TAKEN.format(url=self.url, name=sorted(found)[0]))
        self.owns = found is not None

    def fetch(self) -> None:
        """Bring what the store has to the disk, where nothing is of it there yet.

        Raises:
            StoreError: when it is not on the disk, and the store cannot be asked.
            FileExistsError: when the store has records that the disk lacks.
        """
        self.owns = True
        here = {name for name, _ in self._files()}
        if not here:
            there = objects_of(self.url)
            names = [name for name in there if SUFFIX not in there or not _is_live(name)]
            for name in sorted(names, key=lambda name: (name == SUFFIX, name)):
                target = closed_file(self.folder) if name == SUFFIX else self.folder / name[1:]
                get_object(self.url + name, target)
            return
        there = _within(_ASK, lambda: objects_of(self.url)) or {}
        later = sorted(name for name in there if "segment-" in name or name == SUFFIX)
        last = max((name for name in here if "segment-" in name), default="")
        beyond = [name for name in later if name > last] if SUFFIX not in here else []
        if beyond:
            raise FileExistsError(
                f"path: found {self.url}{beyond[-1]} in the store, and not in {self.folder}: the "
                "run went on elsewhere; move the folder away and resume"
            )

    def start(self) -> None:
        """Begin to copy, in the background."""
        self._thread = threading.Thread(target=self._run, name="ultraslow upload", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Something was written to disk."""
        self._wake.set()

    def news(self) -> str:
        """What there is to tell of the store since the last time, once; empty for nothing."""
        if self.fault and not self._told:
            self._told = True
            return (
                f"is not uploaded for now: {self.fault}; the files are kept in {self.folder}, and "
                "it is tried again while the training goes on"
            )
        return ""

    def finish(self) -> str:
        """Copy the rest, as long as files get through; what is missing then, with the remedy."""
        if self._thread is None:
            return ""
        self._ends.set()
        self._wake.set()
        seen, since = self._through, time.monotonic()
        while not self._done.wait(0.05):
            if self._through != seen:
                seen, since = self._through, time.monotonic()
            if time.monotonic() - since > (10 if self._copying else 1) * self._patience:
                break
        self._thread = None
        missing = self.missing()
        if not missing:
            return ""
        replaces = ", overwrite=True" if self.owns else ""
        return (
            f"{len(missing)} of its files are not in the store, {missing[0]} among them"
            f"{f' ({self.fault})' if self.fault else ''}; they are kept in {self.folder}: upload "
            f"them with python -c \"import ultraslow as us; us.upload('{self.folder}', "
            f"'{self.url}'{replaces})\""
        )

    def missing(self) -> list[str]:
        """Names of files that are here, and not in the store as they are here."""
        return [name for name, file in self._files() if self._there.get(name) != _state(file)]

    def _files(self) -> list[tuple[str, Path]]:
        """What is to be in the store, in the order in which it comes there."""
        closed = closed_file(self.folder)
        records = [closed] if closed.is_file() else segments_of(self.folder)
        reach = [] if closed.is_file() else reach_files(self.folder)
        kept = [*initial.weight_files(self.folder), *records, *reach]
        return [(SUFFIX if one == closed else f"/{one.name}", one) for one in kept]

    def _run(self) -> None:
        pause = self._retry
        while True:
            self._wake.clear()
            ends = self._ends.is_set()
            try:
                self.copy()
                self.fault, self._told, pause = "", False, self._retry
            except Exception as error:  # whatever it is, it is no reason to stop a training
                self.fault = str(error) or type(error).__name__
            if ends and not self.fault:
                break
            if not self.fault:
                self._wake.wait()
            elif ends:
                time.sleep(self._retry)
            else:
                self._ends.wait(pause)
                pause = min(2 * pause, _SELDOM)
        self._done.set()

    def copy(self) -> None:
        """Copy what is new, and then remove what the copies replace.

        Raises:
            StoreError, OSError: when the store or the disk refuses; what was copied stays.
        """
        if self._strange is None:
            found = set(objects_of(self.url))
            if found and not self.owns:
                raise StoreError(_TAKEN.format(url=self.url, name=sorted(found)[0]))
            self._strange, self.owns = found, True
        wanted = dict(self._files())
        if SUFFIX not in wanted:  # records that were set aside go from the end, before others come
            self._remove(lambda name: name.startswith("/reached-") and name not in wanted)
            self._remove(lambda name: _is_live(name) and name not in wanted)
        for name, file in wanted.items():
            state = _state(file)
            if state is None or self._there.get(name) == state:
                continue
            self._copying = True
            try:
                put_object(file, self.url + name)
            except (StoreError, OSError):
                if _state(file) is None:  # it went meanwhile, and another stands for it
                    continue
                raise
            finally:
                self._copying = False
            self._there[name] = state
            self._through += 1
        if dict(self._files()).keys() == wanted.keys():
            self._remove(lambda name: name not in wanted)

    def _remove(self, gone: Callable[[str], bool]) -> None:
        known = {*self._there, *(self._strange or ())}
        for name in sorted(filter(gone, known), reverse=True):
            remove_object(self.url + name)
            self._there.pop(name, None)
            self._strange = (self._strange or set()) - {name}


def _is_live(name: str) -> bool:
    """Whether an object is one of a live recording, which its closed file replaces."""
    return name.startswith(("/segment-", "/reached-"))


def _state(file: Path) -> tuple[int, int] | None:
    """Size and time of a file; None where it has gone meanwhile."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _within(seconds: float, action: Callable[[], dict[str, int]]) -> dict[str, int] | None:
    """What a store answers within a time; None where it does not, or refuses."""
    answer: list[dict[str, int]] = []

    def ask() -> None:
        try:
            answer.append(action())
        except StoreError:
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else None


def upload(path: str | Path, url: str, *, overwrite: bool = False) -> None:
    """Copy a recording to an object store, all of it.

    Arguments:
        path: the closed file, or the live folder.
        url: where to, as `s3://bucket/run`; an earlier part of the same run that is there is
            replaced.
        overwrite: whether what else is there is replaced as well.

    Raises:
        FileNotFoundError: when there is no recording.
        RecordError: when it is damaged.
        FileExistsError: when the store has a recording of another run, or later records.
        StoreError: when the store refuses; what was copied stays, and another call goes on.

    >>> upload("runs/run.nc", "s3://bucket/run")  # doctest: +SKIP
    """
    folder = Path(local_path(path)).expanduser()
    folder = folder.with_suffix("") if folder.suffix == SUFFIX else folder
    _, target = recorded_at(url, folder)
    one = Upload(folder, target)
    if not one.missing():
        raise FileNotFoundError(absent_recording(path))
    try:
        here = SegmentStore(folder).read()
    except RecordError as error:
        told = f"nothing was uploaded; `ultraslow repair {path}` keeps what is sound"
        raise RecordError(error.source, [*error.faults, told]) from error
    found = {} if overwrite else objects_of(target)
    if found and (other := _other_than(here, folder, target, found)):
        name = SUFFIX if SUFFIX in found else max(found)
        raise FileExistsError(
            f"url: found {other} at {target} ({target}{name}); choose another URL, or replace it "
            "with overwrite=True"
        )
    one.owns = True
    one.copy()


def _other_than(here: xr.Dataset | None, folder: Path, url: str, found: dict[str, int]) -> str:
    """What a store has that is no earlier part of a recording; empty where it is one.

    Arguments:
        here: the records on the disk, None where there are weights alone.
        folder: the live folder.
        url: of what is there, without `.nc`.
        found: its objects, as `objects_of` gives them.
    """
    names = [SUFFIX] if SUFFIX in found else sorted(name for name in found if "segment-" in name)
    if not names:  # a copy that had just begun
        files = {f"/{file.name}": file for file in initial.weight_files(folder)}
        same = all(
            name in files and files[name].stat().st_size == size
            for name, size in found.items()
            if not _is_live(name)
        )
        return "" if same else "the weights of another run"
    try:
        parts = [from_bytes(read_object(url + name), url + name) for name in names]
        there = join_segments(parts, url)
    except RecordError:
        return "a recording that cannot be read"
    if here is None or not _of_one_run(there, here):
        return "a recording of another run"
    ends = [int(one["iteration"][-1]) for one in (there, here)]
    if ends[0] > ends[1]:
        return f"records of this run up to iteration {ends[0]}, and on the disk up to {ends[1]},"
    return ""


def _of_one_run(there: xr.Dataset, here: xr.Dataset) -> bool:
    """Whether two recordings began as one: by time and initial weights, or by all they hold."""
    if "created" not in here.attrs:
        return there.equals(here)
    told = [
        (str(one["run"].values), *(one.attrs.get(name) for name in ("created", "initial_sha256")))
        for one in (there, here)
    ]
    return told[0] == told[1]
