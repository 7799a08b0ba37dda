"""What the processes of a training tell the command that started them."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

Tell = Callable[[Mapping[str, Any]], None]

# Reading the loss waits for the device, so progress is told this seldom.
_TELL_SECONDS = 0.2
# Lines shorter than a pipe's buffer are written in one piece, so those of several processes do
# not mix.
_LONGEST = 2000


def tell(event: Mapping[str, Any]) -> None:
    """Write an event as one line of JSON on standard output, at once.

    Where nobody reads any more, because the starter was killed, nothing is told: the run must
    still be kept.
    """
    short = {key: v[:_LONGEST] if isinstance(v, str) else v for key, v in event.items()}
    try:
        sys.stdout.write(json.dumps(short) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def silent(event: Mapping[str, Any]) -> None:
    """Tell nothing."""


class Progress:
    """Tells how far a run is, seldom enough to cost nothing."""

    def __init__(self, run: str, tell: Tell) -> None:
        self._run = run
        self._tell = tell
        self._started = self._told = time.monotonic()
        self._seconds = float("nan")
        self._made = 0

    def resumed(self, iteration: int) -> None:
        """The run goes on from a checkpoint."""
        self._tell({"event": "resumed", "run": self._run, "iteration": iteration})

    def images(self, sha256: str, *, expected: str) -> None:
        """The images were read; their digest, where it is not the one that the recipe has."""
        if sha256 and expected and sha256 != expected:
            event = {"event": "images", "run": self._run, "sha256": sha256}
            self._tell({**event, "expected": expected})

    def kept(self, iteration: int) -> None:
        """A checkpoint is on disk."""
        self._tell({"event": "kept", "run": self._run, "iteration": iteration})

    def at(self, iteration: int, loss: Tensor) -> None:
        """An update was made."""
        self._made += 1
        if time.monotonic() - self._told > _TELL_SECONDS:
            self._tell(
                {"event": "at", "run": self._run, "iteration": iteration, "loss": loss.item()}
            )
            self._told = time.monotonic()

    def trained(self) -> None:
        """The last update was made."""
        self._seconds = time.monotonic() - self._started

    def end(self, accuracy: float) -> None:
        """The run is over and its recording closed."""
        outcome = {
            "accuracy": accuracy,
            "seconds": self._seconds,
            "iterations": self._made,
        }
        self._tell({"event": "end", "run": self._run, **outcome})
