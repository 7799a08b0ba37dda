"""One table of values, as the terminal, a page and programs read it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ultraslow.analysis.text import LONGEST, printable
from ultraslow.diffusion.terminal import (
    INDENT,
    WIDTH,
    Head,
    grid_rows,
    has_colour,
    screen_width,
    wrapped,
)

if TYPE_CHECKING:
    from markupsafe import Markup

NONE = "–"


def plain(value: Any) -> Any:
    """A value as JSON holds it; NaN becomes None, infinities the texts "inf" and "-inf".

    >>> plain({"low": np.float64("nan"), "high": [np.inf, np.int64(2)]})
    {'low': None, 'high': ['inf', 2]}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: its heading.
        show: a row's value in words.
        left: flush left, as names and words are; numbers are flush right.
        tied: of the column before, as its interval is: the two are not parted.
        spare: can be left out of a narrow terminal.
        solid: is not wrapped, though it is flush left.
    """

    title: str
    show: Callable[[Any], str]
    left: bool = False
    tied: bool = False
    spare: bool = False
    solid: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of values with the way each column is shown.

    Attributes:
        title: what it is.
        lead: sentences above it.
        columns: left to right; no header is printed where none has a title.
        rows: mappings or frozen dataclasses, as JSON holds them.
        below: sentences that stand under a row in the terminal.
        notes: sentences under the table.
    """

    title: str = ""
    lead: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    rows: Sequence[Any] = ()
    below: Callable[[Any], Sequence[str]] | None = None
    notes: tuple[str, ...] = ()

    def cells(self) -> list[list[str]]:
        """The values in words, row by row."""
        return [[column.show(row) for column in self.columns] for row in self.rows]

    def json(self) -> list[Any]:
        """The rows as JSON holds them."""
        return [plain(asdict(row) if is_dataclass(row) else row) for row in self.rows]  # type: ignore[arg-type]

    def html(self) -> "Markup":
        """The table and its notes as a part of a page."""
        from .markup import piece

        return piece("table", self)

    def terminal(self, width: int | None = None) -> str:
        """Plain text, in colour and as wide as the terminal where there is one.

        Where a table has no room, its words wrap; then columns that can be spared go, which a
        note tells; then what is left of a row stands below it (`diffusion.terminal`).

        Arguments:
            width: columns to fill; by default those of the terminal, and as many as the table
                needs where the output goes elsewhere.

        >>> run = Column("run", lambda row: row["run"], left=True)
        >>> exponent = Column("p", lambda row: row["p"])
        >>> rows = [{"run": "a", "p": "0.1"}, {"run": "bb", "p": "12"}]
        >>> print(Table(columns=(run, exponent), rows=rows).terminal())
        run    p
        a    0.1
        bb    12
        """
        width = screen_width() if width is None else width
        parts = [_wrapped(line, width) for line in (self.title, *self.lead) if line]
        notes = [_wrapped(note, width) for note in self.notes]
        if self.rows and self.columns:
            text, left_out = self._grid(width)
            parts += [text]
            notes = [*_spared(left_out, width), *notes]
        return "\n\n".join(["\n".join(parts)] * bool(parts) + ["\n".join(notes)] * bool(notes))

    def _grid(self, width: int | None) -> tuple[str, list[str]]:
        """The rows as text, each with its sentences under it, and the columns left out."""
        heads = [Head(one.title, one.left, one.tied, one.spare, one.solid) for one in self.columns]
        cells = [list(map(_clean, row)) for row in self.cells()]
        top, shown, left_out = grid_rows(heads, cells, width, colour=has_colour())
        if not self.below:
            return "\n".join([*top, *(line for lines in shown for line in lines)]), left_out
        listed = []
        for row, lines in zip(self.rows, shown, strict=True):
            told = [_wrapped(" " * INDENT + one, width, indent=0) for one in self.below(row)]
            listed.append("\n".join([*lines, *told]))
        return "\n\n".join([*top, *listed]), left_out


def printed(tables: Sequence[Table]) -> str:
    """Tables for the terminal, one below the other."""
    return "\n\n".join(text for text in (table.terminal() for table in tables) if text)


def _spared(titles: Sequence[str], width: int | None) -> list[str]:
    """That columns were left out, and where they are."""
    if not titles:
        return []
    listed = ", ".join(titles)
    return [_wrapped(f"Not shown here: {listed}. A wider terminal or a file has all.", width)]


def _clean(cell: str) -> str:
    return printable(cell, LONGEST)


def _wrapped(sentence: str, width: int | None, *, indent: int = INDENT) -> str:
    """A sentence over lines of at most `WIDTH` columns, all but the first set in."""
    return wrapped(_clean(sentence), min(width or WIDTH, WIDTH), indent=indent)


def entry(
    title: str,
    key: str,
    show: Callable[[Any], str] = str,
    *,
    left: bool = False,
    spare: bool = False,
) -> Column:
    """A column of one entry of each row; a dash stands for None."""
    text = lambda row: NONE if row[key] is None else show(row[key])  # noqa: E731
    return Column(title, text, left, spare=spare)
