"""The error that carries a recording's faults; apart, so that commands start without numpy.

Beside it, what messages of errors have in common.
"""

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

# What the libraries raise for damaged files; AttributeError for a damaged attribute.
_DAMAGE = (
    OSError,
    RuntimeError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
# What JSON may end in the middle of.
_BEGUN = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_IN_NUMBER = re.compile(r"\.|[eE][+-]?")
_LONGEST = 200  # characters of a message that a library wrote
_LONGEST_LINE = 2000  # characters of a line of any message
_ENTRIES = 10_000  # of a folder that are looked at for a name
# Categories of characters that a terminal obeys: control, direction of writing, halves, line ends.
_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


class RecordError(ValueError):
    """A recording that cannot be used, with every fault that was found.

    Attributes:
        source: the file, folder or run the faults were found in.
        faults: one sentence a fault.
    """

    def __init__(self, source: str, faults: Iterable[str]) -> None:
        self.source = str(source)
        self.faults = tuple(faults)
        super().__init__(f"{self.source}: " + "; ".join(self.faults))

    def __reduce__(self) -> tuple[type[Self], tuple[str, tuple[str, ...]]]:
        """What another process makes it of: its two parts, and not its message."""
        return type(self), (self.source, self.faults)


class ForeignError(RecordError):
    """A file of another kind, which never was a recording, so that none is to be had from it."""


class UnfamiliarError(Exception):
    """The bytes of a file are not written as this package writes them."""


@contextmanager
def damage(source: str, found: str) -> Iterator[None]:
    """What a library raises within, reading a file, becomes a fault of that file.

    Arguments:
        source: the file's name.
        found: what is wrong then; the library's own words follow.
    """
    try:
        yield
    except RecordError:
        raise
    except _DAMAGE as error:
        raise RecordError(source, [f"{found} ({brief(error)})"]) from error


def brief(error: Exception) -> str:
    """A library's message on one line, cut to a readable length."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:_LONGEST] or type(error).__name__


def cut_off(error: ValueError) -> str:
    """Where a JSON text was cut off that could not be read; empty where it ends and is no JSON.

    >>> try:
    ...     json.loads('{"step": 1, "loss": 0.')
    ... except ValueError as error:
    ...     cut_off(error)
    'is cut off at line 1, character 22'
    """
    if not isinstance(error, json.JSONDecodeError) or not error.doc.strip():
        return ""
    text = error.doc.rstrip()
    rest = text[error.pos :]
    ends = error.pos > 0 and any(word.startswith(rest) for word in _BEGUN)
    if not (ends or _IN_NUMBER.fullmatch(rest) or error.msg.startswith("Unterminated")):
        return ""
    last = text.rpartition("\n")[2]
    return f"is cut off at line {text.count(chr(10)) + 1}, character {len(last)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """What a misspelled word may have been, in brackets; empty where nothing is near.

    >>> nearest("sqroot", ["fixed", "sqrt"])
    ' (sqrt?)'
    >>> nearest("cosine", ["fixed", "sqrt"])
    ''
    """
    from difflib import get_close_matches

    near = get_close_matches(word.lower()[:_LONGEST], list(known), n=1, cutoff=0.55)
    return f" ({near[0]}?)" if near else ""


def shortened(text: str, length: int) -> str:
    """A text without its middle where it has more than so many characters.

    >>> shortened("x" * 9, 5)
    'xx…xx'
    """
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - head - 1) :]}"


def escaped(text: object, *, lines: bool = False) -> str:
    r"""A text that does nothing to a terminal, whatever names of files and runs are in it.

    Arguments:
        text: to be printed; of a line that is longer than any message the middle is left out.
        lines: whether it may have several lines.

    >>> escaped("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    """
    parts = str(text).split("\n") if lines else [str(text)]
    return "\n".join(
        "".join(
            one.encode("unicode_escape", "backslashreplace").decode()
            if unicodedata.category(one) in _OBEYED
            else one
            for one in shortened(part, _LONGEST_LINE)
        )
        for part in parts
    )


def nearest_file(path: str | os.PathLike[str]) -> str:
    """What a path that leads nowhere may have been, in brackets; empty where nothing is near.

    Arguments:
        path: of a file or folder that is not there.
    """
    from difflib import get_close_matches

    wanted = Path(path).expanduser()
    folder = wanted.parent
    try:
        if not folder.is_dir():  # the folder is what was misspelled
            return nearest_file(folder) if folder != folder.parent else ""
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(_ENTRIES), entries, strict=False)]
    except (OSError, ValueError):
        return ""
    # An ending is shared by all recordings of a folder, and would make all of them near.
    stems = {name.removesuffix(wanted.suffix) if wanted.suffix else name: name for name in names}
    found = get_close_matches(wanted.stem[:_LONGEST], [*stems], n=1, cutoff=0.7)
    return f" ({folder / stems[found[0]]}?)" if found else ""
