"""Whose a live recording is: a small file, `lease.json`, that names the process that writes.

Network file systems lock badly, so nothing is locked. The file is created exclusively, which makes
a second recorder on the same machine notice the first. A recorder on another machine cannot be
asked whether it lives; a resumed run takes the lease over from it, and the former owner finds a
foreign lease before its next write and stops.

The file holds a JSON object: `host` and `pid` of the process that records, `started` (the kernel's
time of its start, which tells it from a later process of the same number), `machine` (which
containers of one machine and machines of one name do not share), a `token` that no other lease
has, and `flush_seconds`, about how far what is on disk lies behind. It comes from a folder that
others may write to, so little of it is read and nothing in it is believed but what can be looked
up on this machine.
"""

import gc
import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import escaped

NAME = "lease.json"
_WRITING = 0.2  # seconds that it takes at most to write a lease that was made
# Updates that a recorder holds at most until it writes them.
HELD_UPDATES = 256
_LONG = 1e6  # seconds; those who ask for more write when so many updates are held
_LENGTH = 4096  # characters; a lease has some 150


class TakenOver(Exception):
    """Another process records to this path now."""


class Lease:
    """The right to write to a live folder.

    Attributes:
        flush_seconds: about how much time may be lost when the process is killed; 0 where nobody
            has told.
    """

    def __init__(self, folder: Path) -> None:
        """Name the file; nothing is created yet."""
        self.path = folder / NAME
        self.flush_seconds = 0.0
        self._token = ""
        self._process = 0

    def acquire(self, *, take_over: bool = False, replace: bool = False) -> None:
        """Take the lease; a dead owner on this machine loses it.

        Arguments:
            take_over: whether an owner on another machine loses it as well.
            replace: whether another lease of this very process does.

        Raises:
            FileExistsError: when somebody else records here.
        """
        token = uuid.uuid4().hex
        found = written(self.path)
        if found is not None and not owner_of(found).pid:  # perhaps it is being written
            time.sleep(_WRITING)
            found = written(self.path)
        if found is not None:
            self._displace(found, take_over=take_over, replace=replace)
        made = False
        try:
            with self.path.open("x") as file:
                made = True
                owner = this_process(token, self.flush_seconds)
                file.write(json.dumps(asdict(owner)))
            mine = owner_of(written(self.path)).token == token
        except FileExistsError:
            mine = False
        except BaseException:  # a disk that refuses: the next attempt finds nobody
            if made:
                self.path.unlink(missing_ok=True)
            raise
        if not mine:  # or it was taken for that of a dead process before it was written
            raise FileExistsError(
                f"path: another process began to record at {self.path.parent} at the same time"
            )
        self._token, self._process = token, os.getpid()

    def check(self) -> None:
        """Refuse to go on when the lease is somebody else's.

        Raises:
            TakenOver: when it was taken over or removed, and in a fork of the process that has it.
            OSError: when the folder is gone or cannot be read.
        """
        if self._token and self._process != os.getpid():
            raise TakenOver(f"process {self._process}, of which this is a fork, records here")
        if self._token and owner_of(written(self.path)).token != self._token:
            os.scandir(self.path.parent).close()  # a vanished folder is not a foreign lease
            raise TakenOver(
                f"{self.path} is not this process's any more: another process records here"
            )

    def is_of_this_process(self) -> bool:
        """Whether this process has a lease of the folder, this one or another."""
        return _is_held_here(owner_of(written(self.path)))

    def release(self) -> None:
        """Give the lease back, if it is still this one's; a fork gives back nothing."""
        token, self._token = self._token, ""  # also where the disk refuses
        if token and self._process == os.getpid() and owner_of(written(self.path)).token == token:
            self.path.unlink(missing_ok=True)

    def holds(self, owner: "Owner") -> bool:
        """Whether this is the owner's lease, which it has not given back."""
        return self._process == os.getpid() and self._token == owner.token != ""

    def _displace(self, found: str, *, take_over: bool, replace: bool) -> None:
        owner = owner_of(found)
        nobody = owner.pid == 0  # cut off by a crash
        if owner.lives and owner.pid == os.getpid():
            if not replace and _is_held_here(owner):
                raise FileExistsError(
                    f"path: this process records at {self.path.parent} already; close that "
                    "recorder first, or attach with overwrite=True to begin anew"
                )
        elif owner.lives or not (owner.here or take_over or nobody):
            host = escaped(owner.host)
            raise FileExistsError(
                f"path: process {owner.pid} on {host} records at {self.path.parent}; stop it or "
                "choose another path"
                + ("" if owner.here else f". If it is dead, resume, or remove {self.path}")
            )
        # Of two processes that find the same stale lease, one succeeds in moving it away.
        aside = self.path.with_name(f".{NAME}.{uuid.uuid4().hex}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        moved = written(aside)
        if moved != found and not self.path.exists():
            os.rename(aside, self.path)  # somebody took it over in between: give it back
            raise FileExistsError(f"path: another process records at {self.path.parent}")
        aside.unlink(missing_ok=True)


def state_of(folder: Path) -> str:
    """What goes on in a live folder.

    Arguments:
        folder: with segments.

    Returns:
        `live` while a process of this machine records there; `killed` when that process is gone
        and did not give the recording back; `left` when it did, without closing; and
        `live on HOST?` when it is on another machine, which cannot be asked.
    """
    text = written(folder / NAME)
    if text is None:
        return "left"
    owner = owner_of(text)
    if owner.host and not owner.here:
        return f"live on {escaped(owner.host[:64])}?"
    return "live" if owner.lives else "killed"


def recorded_by(folder: Path) -> "Owner":
    """The process that a live folder's lease names; nobody where there is none."""
    return owner_of(written(folder / NAME))


def unwritten(folder: Path, update_seconds: float = 0.0) -> str:
    """What a process that was killed had not written yet, in words; empty where none was killed.

    The moment of its end stands nowhere, so the most that it can be is told.

    Arguments:
        folder: with segments.
        update_seconds: that an update took; 0 where that is unknown.
    """
    lag = killed_behind(folder)
    return "" if lag is None else lost_in_words(lag, update_seconds)


def killed_behind(folder: Path) -> float | None:
    """About how many seconds the disk lay behind a process that was killed; 0 where unknown.

    Arguments:
        folder: with segments.

    Returns:
        None where no process was killed.
    """
    killed = state_of(folder) == "killed"
    return owner_of(written(folder / NAME)).flush_seconds if killed else None


def lost_in_words(lag: float, update_seconds: float = 0.0) -> str:
    """What was lost with a process that wrote so many seconds late, each update taking so long.

    >>> lost_in_words(0.5, 0.1)
    'up to 6 updates of its last 0.5 s or so are lost'
    """
    held = HELD_UPDATES
    if lag > 0 and update_seconds > 0:
        held = max(1, min(held, round(lag / update_seconds)))
    # One more may be made while those that are held are on their way to the disk.
    span = f" of its last {lag:g} s or so" if lag else ""
    return f"up to {held + 1} updates{span} are lost"


@dataclass(frozen=True)
class Owner:
    """A process that records, as its lease names it.

    Arguments:
        host: name of its machine.
        pid: its number there; 0 where the lease is cut off or says nothing of use.
        started: when it started, in the kernel's words; empty where there are none.
        machine: the machine since its last start, and the container.
        token: of the lease.
        flush_seconds: about how much time may be lost when it is killed; 0 where it is unknown.
    """

    host: str = ""
    pid: int = 0
    started: str = ""
    machine: str = ""
    token: str = ""
    flush_seconds: float = 0.0

    @property
    def here(self) -> bool:
        """Whether it is a process of this machine, so that it can be looked up."""
        return self.machine == _machine()

    @property
    def lives(self) -> bool:
        """Whether it is alive on this machine, and not another one of the same number."""
        return (
            self.here and self.pid > 0 and _exists(self.pid) and _started(self.pid) == self.started
        )


def this_process(token: str, flush_seconds: float = 0.0) -> Owner:
    """The owner that this process is."""
    host, pid = socket.gethostname(), os.getpid()
    return Owner(host, pid, _started(pid), _machine(), token, flush_seconds)


def written(path: Path) -> str | None:
    """What stands in a lease; None where there is none."""
    try:
        if not path.is_file():  # neither a pipe, which would never answer, nor a folder
            return None
        with path.open(errors="replace") as file:
            return file.read(_LENGTH)
    except (FileNotFoundError, NotADirectoryError):
        return None


def owner_of(text: str | None) -> Owner:
    """The owner that a lease names; nobody where it was cut off by a crash.

    >>> owner_of('{"host": "a", "pid": 3, "token": "t"}')
    Owner(host='a', pid=3, started='', machine='', token='t', flush_seconds=0.0)
    >>> owner_of('{"host": "a", "pi')
    Owner(host='', pid=0, started='', machine='', token='', flush_seconds=0.0)
    """
    try:
        told = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return Owner()
    if not isinstance(told, dict):
        return Owner()
    words = {name: told.get(name) for name in ("host", "started", "machine", "token")}
    pid, seconds = told.get("pid"), told.get("flush_seconds")
    known = isinstance(seconds, float | int) and 0 <= seconds < _LONG
    return Owner(
        pid=pid if isinstance(pid, int) and 0 < pid < 2**31 else 0,
        flush_seconds=float(seconds or 0.0) if known else 0.0,
        **{name: word if isinstance(word, str) else "" for name, word in words.items()},
    )


def _is_held_here(owner: Owner) -> bool:
    """Whether it is this process, and something in it has the lease.

    One that was given back may still be on a disk that has refused to remove it.
    """
    if not (owner.pid == os.getpid() and owner.lives):
        return False
    return any(type(found) is Lease and found.holds(owner) for found in gc.get_objects())


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty where there is no /proc.

    One that has ended and that its parent has not asked about (a zombie) still has a number, and
    writes nothing any more: it never started.
    """
    try:
        # The command's name, in brackets, may hold anything; its state and, as the 20th word, its
        # start come after it.
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        words = stat.rpartition(")")[2].split()
        return "ended" if words[0] in "ZX" else words[19]
    except (OSError, IndexError):
        return ""


def _machine() -> str:
    """The kernel since its start and the name space of process numbers; the host without /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()
