"""Checkpoints of reference runs."""

from pathlib import Path

SUFFIX = ".checkpoint"


def checkpoint_of(path: Path) -> Path:
    """The checkpoint beside a recording.

    Arguments:
        path: of the recording, without its ending.

    >>> checkpoint_of(Path("runs/a")).name
    'a.checkpoint'
    """
    return path.with_name(path.name + SUFFIX)
