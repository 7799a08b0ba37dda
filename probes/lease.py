"""Whose recording it is: a small file that names the process that writes.

Network file systems lock badly, so nothing is locked. The file is created exclusively, which makes
a second recorder on the same machine notice the first. A recorder on another machine cannot be
asked whether it lives; a resumed run takes the lease over from it, and the former owner finds a
foreign lease before its next write and stops.
"""

import json
import os
import uuid
from dataclasses import asdict
from pathlib import Path

from diffusion.owner import NAME, owner_of, this_process, written


class TakenOver(Exception):
    """Another process records to this path now."""


class Lease:
    """The right to write to a live folder."""

    def __init__(self, folder: Path) -> None:
        """Name the file; nothing is created yet."""
        self.path = folder / NAME
        self._token = ""

    def acquire(self, *, take_over: bool = False) -> None:
        """Take the lease; a dead owner on this machine loses it.

        Arguments:
            take_over: whether an owner on another machine loses it as well.

        Raises:
            FileExistsError: when somebody else records here.
        """
        token = uuid.uuid4().hex
        found = written(self.path)
        if found is not None:
            self._displace(found, take_over=take_over)
        try:
            with self.path.open("x") as file:
                file.write(json.dumps(asdict(this_process(token))))
        except FileExistsError:
            raise FileExistsError(
                f"path: another process began to record at {self.path.parent} at the same time"
            ) from None
        self._token = token

    def check(self) -> None:
        """Refuse to go on when the lease is somebody else's.

        Raises:
            TakenOver: when it was taken over or removed.
            OSError: when the folder is gone or cannot be read.
        """
        if self._token and owner_of(written(self.path)).token != self._token:
            os.scandir(self.path.parent).close()  # a vanished folder is not a foreign lease
            raise TakenOver(
                f"{self.path} is not this process's any more: another process records here"
            )

    def release(self) -> None:
        """Give the lease back, if it is still this one's."""
        if self._token and owner_of(written(self.path)).token == self._token:
            self.path.unlink(missing_ok=True)
        self._token = ""

    def _displace(self, found: str, *, take_over: bool) -> None:
        owner = owner_of(found)
        nobody = owner.pid == 0  # cut off by a crash
        if owner.lives or not (owner.here or take_over or nobody):
            raise FileExistsError(
                f"path: process {owner.pid} on {owner.host} records at {self.path.parent}; stop "
                "it or choose another path"
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
