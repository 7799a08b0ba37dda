"""The error that carries a recording's faults; apart, so that commands start without numpy.

Beside it, what messages of errors have in common.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

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
_LONGEST = 200  # characters of a message that a library wrote
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


def escaped(text: object, *, lines: bool = False) -> str:
    r"""A text that does nothing to a terminal, whatever names of files and runs are in it.

    Arguments:
        text: to be printed.
        lines: whether it may have several lines.

    >>> escaped("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    """
    return "".join(
        one.encode("unicode_escape", "backslashreplace").decode()
        if unicodedata.category(one) in _OBEYED and not (lines and one == "\n")
        else one
        for one in str(text)
    )
