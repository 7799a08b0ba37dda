"""Whose a live recording is: what stands in `lease.json`, and whether that process lives.

The file holds a JSON object: `host` and `pid` of the process that records, `started` (the kernel's
time of its start, which tells it from a later process of the same number), `machine` (which
containers of one machine and machines of one name do not share) and a `token` that no other lease
has. It comes from a folder that others may write to, so little of it is read
and nothing in it is believed but what can be looked up on this machine.
"""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

NAME = "lease.json"
_LENGTH = 4096  # characters; a lease has some 150


@dataclass(frozen=True)
class Owner:
    """A process that records, as its lease names it.

    Arguments:
        host: name of its machine.
        pid: its number there; 0 where the lease is cut off or says nothing of use.
        started: when it started, in the kernel's words; empty where there are none.
        machine: the machine since its last start, and the container.
        token: of the lease.
    """

    host: str = ""
    pid: int = 0
    started: str = ""
    machine: str = ""
    token: str = ""

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


def this_process(token: str) -> Owner:
    """The owner that this process is."""
    return Owner(socket.gethostname(), os.getpid(), _started(os.getpid()), _machine(), token)


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
    Owner(host='a', pid=3, started='', machine='', token='t')
    >>> owner_of('{"host": "a", "pi')
    Owner(host='', pid=0, started='', machine='', token='')
    """
    try:
        told = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return Owner()
    if not isinstance(told, dict):
        return Owner()
    words = {name: told.get(name) for name in ("host", "started", "machine", "token")}
    pid = told.get("pid")
    return Owner(
        pid=pid if isinstance(pid, int) and 0 < pid < 2**31 else 0,
        **{name: word if isinstance(word, str) else "" for name, word in words.items()},
    )


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
        return f"live on {owner.host[:64]}?"
    return "live" if owner.lives else "killed"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty where there is no /proc."""
    try:
        # The command's name, in brackets, may hold anything; the start is the 20th word after it.
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return stat.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _machine() -> str:
    """The kernel since its start and the name space of process numbers; the host without /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()
