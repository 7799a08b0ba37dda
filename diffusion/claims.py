"""How much memory a file asks for, before any of it is given.

A header of some hundred bytes can claim 10⁹ tensors. What is declared is therefore added up before
a value is read. Types of variable length other than text may hold anything and are refused. Texts
are looked at before they are laid out side by side, each as wide as the longest.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

# A recording of 300 records, 1000 tensors and 10 fields has 24 MB. A file that asks for more than
# this much memory is broken, hostile or no recording.
MEMORY_LIMIT = 2**31
# Bytes that a text takes in memory at least: a pointer and a Python string.
_TEXT_BYTES = 64
_LETTER_BYTES = 4  # of numpy's texts
_SHOWN = 80  # characters of a name


class Declared(Protocol):
    """What a header tells of a variable; `netCDF4.Variable` has it."""

    @property
    def dtype(self) -> Any:
        """Type of a value; `str` for text."""
        ...

    @property
    def datatype(self) -> Any:
        """The same, or a description of a type that the file itself defines."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each dimension."""
        ...

    def chunking(self) -> Any:
        """Length of the blocks that are read as a whole, or `contiguous`."""
        ...


class Readable(Protocol):
    """A variable whose values can be read; `netCDF4.Variable` is one."""

    @property
    def dtype(self) -> Any:
        """Type of a value; `str` for text."""
        ...

    def __getitem__(self, key: Any) -> Any:
        """Values."""
        ...


def claim_faults(variables: Mapping[str, Declared]) -> Iterator[str]:
    """Why the values of a file must not be read; nothing when they may.

    Arguments:
        variables: as the header declares them, by name.

    Returns:
        One sentence a fault.
    """
    strange = [name[:_SHOWN] for name, variable in variables.items() if not _is_plain(variable)]
    if strange:
        yield f"{strange[:3]} have types of their own, expected numbers and text"
        return
    claimed = {name: _bytes(variable) for name, variable in variables.items()}
    if sum(claimed.values()) > MEMORY_LIMIT:
        largest = max(claimed, key=claimed.__getitem__)
        yield (
            f"claims {sum(claimed.values()) / 2**30:.3g} GiB of values, at most "
            f"{MEMORY_LIMIT / 2**30:.3g} GiB are read; the largest is {largest[:_SHOWN]!r} of "
            f"{variables[largest].shape}"
        )


def text_faults(variables: Mapping[str, Readable]) -> Iterator[str]:
    """Why texts must not be laid out side by side; nothing when they may.

    One long name among many short ones would take the room of as many long ones.

    Arguments:
        variables: that `claim_faults` let pass, by name.

    Returns:
        One sentence a fault.
    """
    total = 0
    for name, variable in variables.items():
        if variable.dtype is not str:
            continue
        texts = np.asarray(variable[...], dtype=object).ravel()
        longest = max(map(len, texts), default=0)
        total += _LETTER_BYTES * longest * texts.size
        if total > MEMORY_LIMIT:
            yield (
                f"asks for more than {MEMORY_LIMIT / 2**30:.3g} GiB of texts; {name[:_SHOWN]!r} "
                f"has {texts.size} of up to {longest} characters"
            )
            return


def value_faults(variables: Mapping[str, Any]) -> list[str]:
    """Why the values of a file must not be taken; texts are looked at where all may be read."""
    return list(claim_faults(variables)) or list(text_faults(variables))


def size_fault(size: int) -> str | None:
    """Why a file of so many bytes must not be read; None when it may.

    >>> size_fault(2**40)
    'has 1.02e+03 GiB, at most 2 GiB are read'
    """
    if size <= MEMORY_LIMIT:
        return None
    return f"has {size / 2**30:.3g} GiB, at most {MEMORY_LIMIT / 2**30:.3g} GiB are read"


def _is_plain(variable: Declared) -> bool:
    return variable.dtype is str or isinstance(variable.datatype, np.dtype)


def _bytes(variable: Declared) -> int:
    item = _TEXT_BYTES if variable.dtype is str else np.dtype(variable.dtype).itemsize
    # Python integers: a product of claimed sizes may exceed 64 bits.
    total = block = max(item, 1)
    chunks = variable.chunking()
    for length, chunk in zip(
        variable.shape, chunks if isinstance(chunks, list) else variable.shape, strict=True
    ):
        total, block = total * int(length), block * int(chunk)
    return max(total, block if total else 0)
