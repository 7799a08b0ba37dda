"""What a run can serve, said while there is time to change it.

A recording that lacks its seed or its second unit looks sound to the day it is analysed. So two
lines go to standard error, of a new recording and from the process that writes it: after ten
updates of one unit each, that no noise can be told from them; and when the first records are on
disk, which predictions a run like this can take part in, and what the others want.
"""

import json
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

import xarray as xr

from ultraslow.diffusion.predictions import lacking
from ultraslow.diffusion.recording import ASKED_WITH, LABELS, nearest

_UPDATES = 10
_NUMBER = re.compile(r"(?:^|[-_.])s(?:eed)?[-_=]?(\d{1,18})$")
# In the line to change; what is copied as it stands is refused.
_PLACES = {"seed": "SEED", "scaling": "RULE", "data_size": "D"}


def say(folder: Path, text: str) -> None:
    """A line about a recording on standard error; never a reason to stop a training."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(f"recording {folder}: {text}", file=sys.stderr, flush=True)


class Notices:
    """Warns of a recording; says nothing twice, and an empty message not at all."""

    def __init__(self, folder: Path, note: Callable[[str], None] = lambda _: None) -> None:
        """Name the recording by its folder, and what keeps the messages in it."""
        self._folder = folder
        self._note = note
        self._given = {""}

    def warn(self, message: str) -> None:
        """Warn, once for each message."""
        if message not in self._given:
            self._given.add(message)
            self._note(message)
            text = f"recording {self._folder}: {message}"
            warnings.warn(text, RuntimeWarning, stacklevel=3)


def outlook(folder: Path, records: xr.Dataset) -> str:
    """Which predictions a run can serve, and what the others want of `us.attach`.

    Arguments:
        folder: of the recording.
        records: its first ones.

    Returns:
        One line.
    """
    rule = str(records["scaling"].values) if "scaling" in records else ""
    found = lacking(set(map(str, records.variables)), rule)
    served = ", ".join(key for key, absent in found.items() if not absent)
    line = f"can serve {served or 'no prediction'}"
    wanted: dict[str, list[str]] = {}
    for key, absent in found.items():
        for name in dict.fromkeys(_ask(name, records) for name in absent):
            wanted.setdefault(name, []).append(key)
    if not wanted:
        return f"{line}."
    listed = ", ".join(f"{name} ({', '.join(keys)})" for name, keys in wanted.items())
    return f"{line}; others want of us.attach {listed}.{_later(folder, found, records)}"


def _ask(name: str, records: xr.Dataset) -> str:
    if name == "scaling" and name in records:
        return f"another rule than {records['scaling'].values}"
    if name == "noise_trace" and "mean_sq" not in records:
        return "'noise' among probes"
    return ASKED_WITH[name]


def _later(folder: Path, found: Mapping[str, Collection[str]], records: xr.Dataset) -> str:
    """The command that adds the labels that are missing; empty where none is."""
    absent = {name for names in found.values() for name in names if name not in records}
    labels = {name: _PLACES[name] for name in LABELS if name in absent and name in _PLACES}
    if not labels:
        return ""
    told = _misnamed(labels, records)
    if "seed" in labels and (number := _NUMBER.search(folder.name)):
        labels["seed"] = number[1]
        told += f" A name is not read for its {number[0].lstrip('-_.')}."
    words = " ".join(f"{name}={place}" for name, place in labels.items())
    command = f"ultraslow label {shlex.quote(str(folder))} {words}"
    return f"{told} Labels can be added when it is closed: `{command}`."


def _misnamed(labels: Collection[str], records: xr.Dataset) -> str:
    """That metadata may hold a label under another name, where it does."""
    keys = json.loads(str(records.attrs.get("config", "{}")))
    pairs = [(key, name) for name in labels for key in keys if name in key or nearest(key, [name])]
    return "".join(f" {key} in metadata is not read as {name}." for key, name in pairs[:3])


class OneUnit:
    """Says, once, that the first updates have one unit each; seen on the host alone."""

    def __init__(self, folder: Path, *, listens: bool) -> None:
        """Begin to count.

        Arguments:
            folder: of the recording.
            listens: whether a new run measures noise on a single process.
        """
        self._folder = folder
        self._left = _UPDATES if listens else 0

    def saw(self, units: float) -> None:
        """An update of so many units."""
        if not self._left:
            return
        self._left = self._left - 1 if units == 1 else 0
        if units == 1 and not self._left:
            say(
                self._folder,
                f"{_UPDATES} updates had one backward pass each, from which no gradient noise can "
                "be told. To measure it from the start, split each batch: k times (loss / k)"
                ".backward() before a step, or train on several processes. To do without: "
                "probes=[].",
            )
