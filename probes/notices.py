"""Warnings about one recording, each given once."""

import warnings
from pathlib import Path


class Notices:
    """Warns of a recording; says nothing twice, and an empty message not at all."""

    def __init__(self, folder: Path) -> None:
        """Name the recording by its folder."""
        self._folder = folder
        self._given = {""}

    def warn(self, message: str) -> None:
        """Warn, once for each message."""
        if message not in self._given:
            self._given.add(message)
            text = f"recording {self._folder}: {message}"
            warnings.warn(text, RuntimeWarning, stacklevel=3)
