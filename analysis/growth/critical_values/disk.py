"""Rows of numbers that took long to simulate, kept on disk between calls and shared by processes.

One file holds what belongs together: the rows of one time grid. Its name is a digest of all that
the numbers follow from, the inputs as well as the code and the libraries that make them, so that
nothing ever has to be declared out of date: a file of other numbers has another name. A row is
added by one write at the file's end and carries a checksum of its own. What was cut off by a full
disk or damaged later does not fit it and is passed over, and the file is written anew without it.
A row that is not there is simulated, as if there were no cache: reading and writing never fail.

Processes that need the same row at the same time wait for the one that began it. They do so by
locks on single bytes of a file beside it, which the system takes back from a process that ends.
Where locks cannot be had, two may simulate the same row, and find the same numbers.
"""

import hashlib
import os
import platform
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

try:
    import fcntl
except ImportError:  # there are none on Windows
    fcntl = None  # type: ignore[assignment]

Array = NDArray[np.float64]

VARIABLE = "ULTRASLOW_CACHE"
_OFF = ("off", "0", "no", "none")
SUFFIX = ".rows"
MOST_FILES = 512  # of some 10 to 200 kB; those not used for longest go first
_LARGEST = 2**26  # bytes of a file that are read
_MARK = b"row1"
_CHECK = 8  # bytes of a checksum
PATIENCE = 30.0  # seconds that another process is waited for; a row takes 0.1 to 0.5
_LOOK_AGAIN = 0.02  # seconds
_DAY = 86_400.0
# What the numbers are made by, below the package's folder.
SOURCES = (
    "analysis/growth/critical_values/simulation.py",
    "analysis/growth/family.py",
    "analysis/growth/grids.py",
    "analysis/growth/noise_models.py",
    "analysis/growth/surface.py",
    "analysis/runs/blocks.py",
    "diffusion/laws/growth.py",
    "diffusion/laws/law.py",
    "diffusion/_validation.py",
)


def cache_folder() -> Path | None:
    """Where rows are kept: what `ULTRASLOW_CACHE` says, or the user's folder of caches.

    Returns:
        The folder, which need not exist; None where the variable is `off`.
    """
    said = os.environ.get(VARIABLE, "").strip()
    if said.lower() in _OFF:
        return None
    if said:
        return Path(os.path.expanduser(said))
    from platformdirs import user_cache_path

    return user_cache_path("ultraslow", appauthor=False)


@cache
def made_by() -> str:
    """Digest of the code and the libraries that the numbers come from; empty where unknown."""
    code = code_digest(SOURCES)
    if not code:
        return ""
    libraries = [
        (one.get("internal_api"), one.get("version"), one.get("architecture"))
        for one in threadpool_info()
        if one.get("user_api") == "blas"
    ]
    versions = np.__version__, scipy.__version__, platform.machine(), sorted(map(str, libraries))
    return hashlib.sha256(f"{code} {versions!r}".encode()).hexdigest()


def code_digest(sources: Iterable[str]) -> str:
    """Digest of the text of some modules; empty where they cannot be read.

    Arguments:
        sources: their files, below the package's folder.
    """
    above = Path(__file__).parents[3]
    found = hashlib.sha256()
    try:
        for source in sources:
            found.update((above / source).read_bytes().replace(b"\r\n", b"\n"))
    except OSError:  # the package lies in an archive
        return ""
    return found.hexdigest()


def rows_of(inputs: bytes, width: int) -> "Rows":
    """The rows that follow from these inputs and from this code.

    Arguments:
        inputs: all that the numbers follow from.
        width: numbers of a row.
    """
    folder, code = cache_folder(), made_by()
    if folder is None or not code:
        return Rows(None, width)
    digest = hashlib.sha256(code.encode() + inputs).hexdigest()
    return Rows(folder / f"{digest[:40]}{SUFFIX}", width)


class Rows:
    """Rows of one file, each known by a number from 0 on.

    Attributes:
        path: of the file; None where nothing is kept.
        width: numbers of a row.
    """

    def __init__(self, path: Path | None, width: int) -> None:
        self.path, self.width = path, width
        self._read_until = 0
        self._locks: int | None = None  # descriptor of the file whose bytes are locked
        self._guard = threading.Lock()

    def new(self) -> dict[int, Array]:
        """The rows in the file, if it has grown since they were asked for; else none."""
        if self.path is None:
            return {}
        try:
            status = self.path.stat()
            if status.st_size == self._read_until or status.st_size > _LARGEST:
                return {}
            content = self.path.read_bytes()
            self._read_until = len(content)
            if time.time() - status.st_mtime > _DAY:
                os.utime(self.path)  # it is still of use
        except OSError:
            return {}
        found, whole = _parsed(content, self.width)
        if not whole:
            self._write_anew(found)
        return found

    def add(self, number: int, row: Array) -> None:
        """Keep a row, if that can be done."""
        if self.path is None:
            return
        try:
            fresh = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            opened = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(opened, _packed(number, row))
            finally:
                os.close(opened)
            if fresh:
                _prune(self.path.parent)
        except OSError as error:
            self._give_up(error)

    @contextmanager
    def claimed(self, number: int, *, patience: float = PATIENCE) -> Iterator[bool]:
        """A claim to simulate a row, which one process has at a time.

        Arguments:
            number: of the row.
            patience: seconds to wait for another process; 0 to look only.

        Yields:
            Whether the row is free, or nobody can tell, or the wait was in vain.
        """
        descriptor = self._lock_file()
        if descriptor is None:
            yield True
            return
        until = time.monotonic() + patience
        taken = _taken(descriptor, number)
        while taken is False and time.monotonic() < until:
            time.sleep(_LOOK_AGAIN)
            taken = _taken(descriptor, number)
        try:
            yield taken is not False or patience > 0
        finally:
            if taken:
                fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, number)

    def _lock_file(self) -> int | None:
        with self._guard:
            if self._locks is None and self.path is not None and fcntl is not None:
                try:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    beside = self.path.with_suffix(".lock")
                    self._locks = os.open(beside, os.O_RDWR | os.O_CREAT, 0o666)
                except OSError as error:
                    self._give_up(error)
            return self._locks

    def _write_anew(self, rows: dict[int, Array]) -> None:
        """Leave out what is damaged; another process sees the old file or the new one."""
        if self.path is None:
            return
        beside = self.path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
        try:
            beside.write_bytes(b"".join(_packed(*pair) for pair in rows.items()))
            os.replace(beside, self.path)
        except OSError as error:
            self._give_up(error)
            beside.unlink(missing_ok=True)

    def _give_up(self, error: OSError) -> None:
        """Keep nothing from here on, and say so where the place was asked for."""
        path, self.path = self.path, None
        if path is not None and os.environ.get(VARIABLE, "").strip():
            warnings.warn(
                f"{VARIABLE}: nothing can be kept in {path.parent} ({error.strerror}); "
                "critical values are simulated in every call",
                stacklevel=2,
            )

    def __del__(self) -> None:
        if self._locks is not None:
            os.close(self._locks)


def _taken(descriptor: int, number: int) -> bool | None:
    """Whether a byte was locked; None where locks cannot be had."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _packed(number: int, row: Array) -> bytes:
    content = number.to_bytes(8, "little") + np.asarray(row, dtype="<f8").tobytes()
    return _MARK + hashlib.blake2b(content, digest_size=_CHECK).digest() + content


def _parsed(content: bytes, width: int) -> tuple[dict[int, Array], bool]:
    """The rows that fit their checksums, and whether there is nothing else."""
    start, whole = 0, True
    before, size = len(_MARK) + _CHECK, len(_MARK) + _CHECK + 8 + 8 * width
    found: dict[int, Array] = {}
    while start < len(content):
        part = content[start + before : start + size]
        check = hashlib.blake2b(part, digest_size=_CHECK).digest()
        if content[start : start + before] == _MARK + check and len(part) == size - before:
            number = int.from_bytes(part[:8], "little")
            found[number] = np.frombuffer(part[8:], dtype="<f8").astype(np.float64)
            start += size
            continue
        whole = False
        start = content.find(_MARK, start + 1)
        if start < 0:
            break
    return found, whole


def _prune(folder: Path) -> None:
    """Remove the files that were not used for longest, beyond the number that is kept."""
    with suppress(OSError):  # another process does the same
        files = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
        for path in files[: max(0, len(files) - MOST_FILES)]:
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)
