"""Sheets: what a file holds as columns of cells, whatever its format, and the numbers in them.

A cell is what the file has at one place: text in a CSV file, text or a number in JSON, None where
nothing was written. An empty cell is no number: it was not logged. `nan` was: a run that diverged
says so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.text import either_way, has_decimal_commas, is_grouped, is_pointed
from ultraslow.diffusion.recording import RecordError, escaped

Cell = str | int | float | bool | None
Array = NDArray[np.float64]
Rows = NDArray[np.int64]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.ASCII)
_INFINITE = {"inf": np.inf, "infinity": np.inf, "∞": np.inf, "-∞": -np.inf}
_INFINITE |= {"+inf": np.inf, "-inf": -np.inf, "-infinity": -np.inf, "+infinity": np.inf}
_ABSENT = {"", "null", "none", "na", "n/a", "<na>"}
_SHOWN = 40  # characters of a cell
_NAMED = 12  # columns that a message lists


class NothingWantedError(RecordError):
    """A file that holds nothing of what is asked for, which others of its folder may hold."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """The rows of one file.

    Attributes:
        source: its path, for messages.
        name: what the run in it is called when nothing else names it.
        sha256: of the file's bytes, in hexadecimal digits.
        kind: its format in words.
        columns: cells by the name of the column, each of as many as there are rows.
        lines: where each row stands in the file, counted from 1.
        place: what is counted: a line of text, an entry of a list.
        settings: what the file says of the whole run, by key.
        notes: what reading it has found, in sentences.
        decimal_commas: whether a comma may stand before decimals, as it separates no cells.
    """

    source: str
    name: str
    sha256: str
    kind: str
    columns: Mapping[str, Sequence[Cell]]
    lines: Sequence[int]
    place: str = "line"
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    decimal_commas: bool = False

    def fault(self, text: str) -> RecordError:
        """What is wrong with this file."""
        return RecordError(self.source, [text])

    def lacks(self, text: str) -> "NothingWantedError":
        """That nothing in this file is wanted."""
        return NothingWantedError(self.source, [text])

    def names(self) -> str:
        """The names of its columns, as messages list them."""
        known = [shown(other) for other in self.columns]
        return ", ".join(known[:_NAMED]) + (", …" if len(known) > _NAMED else "")

    def at(self, row: int, column: str = "") -> str:
        """A place in the file, in words."""
        where = f"{self.place} {self.lines[row]}"
        return f"{where}, column {shown(column)}" if column else where

    def column(self, name: str, option: str = "") -> Sequence[Cell]:
        """The cells of a column.

        Raises:
            RecordError: when there is none of that name.
        """
        if name in self.columns:
            return self.columns[name]
        asked = f"{option}: " if option else ""
        raise self.lacks(f"{asked}there is no column {shown(name)}; there are {self.names()}")


def shown(text: object) -> str:
    """A name or cell as messages show it: in quotation marks, on one line, not too long."""
    safe = escaped(text)
    return f"'{safe}'" if len(safe) <= _SHOWN else f"'{safe[:_SHOWN]}…'"


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column of numbers.

    Attributes:
        values: shape (row,); NaN where there is none.
        logged: whether something was written there, shape (row,); NaN may have been.
    """

    values: Array
    logged: NDArray[np.bool_]


def column_numbers(sheet: Sheet, name: str, option: str = "", rows: Rows | None = None) -> Numbers:
    """The numbers of a column, those of some rows or of all.

    Arguments:
        sheet: the file.
        name: of the column.
        option: that asked for it, for messages.
        rows: places of rows; all when None.

    Raises:
        RecordError: for a column that is missing, text, truth values, or a number that can be
            read in two ways; with line, column, and what was found.
    """
    cells = sheet.column(name, option)
    places = np.arange(len(cells)) if rows is None else rows
    chosen = [cells[place] for place in places]
    _check_points(sheet, name, chosen, places)
    if (plain := _plain_numbers(chosen)) is not None:
        return plain
    commas = _decimal_commas(sheet, name, chosen, places)
    values, logged = np.full(len(chosen), np.nan), np.zeros(len(chosen), dtype=bool)
    for k, cell in enumerate(chosen):
        if is_absent(cell):
            continue
        found = _number(cell, commas)
        if found is None:
            raise sheet.fault(
                f"{sheet.at(int(places[k]), name)}: found {shown(cell)}, expected a number; "
                "--where leaves rows out, and an empty cell is one that was not logged"
            )
        values[k], logged[k] = found, True
    return Numbers(values, logged)


def _plain_numbers(cells: Sequence[Cell]) -> Numbers | None:
    """The numbers of cells that are all texts of plain numbers, in a tenth of the time."""
    if set(map(type, cells)) != {str}:
        return None
    whole = "".join(map(str, cells))
    if not whole.isascii() or "_" in whole or "," in whole:  # what Python reads, and others not
        return None
    try:
        values = np.array([float(cell) for cell in cells if cell is not None])
    except ValueError:
        return None
    return Numbers(values, np.ones(values.size, dtype=bool))


def is_absent(cell: Cell) -> bool:
    """Whether nothing was written there."""
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in _ABSENT)


def as_number(cell: Cell) -> float | None:
    """A cell's number; None for one that is none, or is not there.

    >>> as_number(" 1e3 "), as_number("1_000"), as_number(None), as_number("-inf")
    (1000.0, None, None, -inf)
    """
    return None if is_absent(cell) else _number(cell, commas=False)


def _number(cell: Cell, commas: bool) -> float | None:
    if isinstance(cell, bool):
        return None
    if isinstance(cell, int | float):
        try:
            return float(cell)
        except OverflowError:
            return None
    text = str(cell).strip().replace("−", "-")
    if _NUMBER.fullmatch(text):
        return float(text)
    if text.lower() in ("nan", "+nan", "-nan"):
        return np.nan
    if text.lower() in _INFINITE:
        return _INFINITE[text.lower()]
    return float(text.replace(",", ".")) if commas and _COMMA.fullmatch(text) else None


def _check_points(sheet: Sheet, name: str, cells: Sequence[Cell], places: Rows) -> None:
    """Refuse 1.5 in a file that has commas before decimals, where 1.500 is a thousand and more."""
    if not sheet.decimal_commas:
        return
    pointed = [place for place, cell in zip(places, cells, strict=True) if is_pointed(cell)]
    if not pointed or not any(map(has_decimal_commas, sheet.columns.values())):
        return
    texts = {place: str(sheet.columns[name][place]).strip() for place in pointed}
    place = next((one for one in pointed if not is_grouped(texts[one])), pointed[0])
    raise sheet.fault(
        f"{sheet.at(int(place), name)}: found {shown(texts[place])} in a file with commas before "
        "decimals, expected points between thousands alone, as in 1.000"
    )


def _decimal_commas(sheet: Sheet, name: str, cells: Sequence[Cell], places: Rows) -> bool:
    """Whether commas stand before decimals in a column; an error where that cannot be known."""
    texts = [
        (place, cell.strip())
        for place, cell in zip(places, cells, strict=True)
        if isinstance(cell, str) and "," in cell
    ]
    if not texts:
        return False
    if all(either_way(text) for _, text in texts):
        place, text = texts[0]
        raise sheet.fault(
            f"{sheet.at(int(place), name)}: found {shown(text)}, which is {either_way(text)}; "
            "expected numbers without commas between thousands"
        )
    points = any(isinstance(cell, str) and "." in cell for cell in cells)
    return sheet.decimal_commas and not points
