"""What is asked of a disk: whole files and folders that outlast a power cut.

A file system may bring changes to disk in any order until they are synced: the content of a file
by itself, its name by a sync of the folder that holds it. A new folder takes a sync of the one
above. A file that is moved to another folder may be in neither until both are synced, and so it is
written anew in the other before it goes.
"""

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# What file systems answer that cannot sync a folder, some network file systems among them.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def whole_file(target: Path, *, permit: Callable[[], None] = lambda: None) -> Iterator[BinaryIO]:
    """A file to be written that takes its name when it is complete and on disk.

    It has a name that nobody can foresee until then, and is made by this process: a link that
    somebody else has put there is not followed. Where something fails nothing is left behind, and
    the target is what it was.

    Arguments:
        target: its name; a file there is replaced.
        permit: raises when this process may not write; asked last, as writing takes a while.

    Raises:
        FileExistsError: where a device, a pipe or a folder has the name.
    """
    if target.exists() and not target.is_file():
        raise FileExistsError(errno.EEXIST, "is no regular file", str(target))
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        permit()
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # A full disk is told without a name, a read-only folder with one that nobody knows.
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(target), None
        raise
    sync_folder(target.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; they are on disk when this returns."""
    new = [at for at in (folder, *folder.parents) if not at.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(new):
        with suppress(OSError):  # a folder above need not be readable
            sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk, where the file system can do it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)
