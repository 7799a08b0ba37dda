"""One table of values, as the terminal, a page and programs read it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from markupsafe import Markup
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from ultraslow.analysis.text import printable

from .markup import LONGEST, piece
from .numbers import plain

# Sentences are not read at more columns; tables are as wide as they must be.
WIDTH = 100
_GAP, _INDENT = 2, 4
NONE = "–"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: its heading.
        show: a row's value in words.
        left: flush left, as names and words are; numbers are flush right.
        tied: of the column before, as its interval is: the two are not parted.
    """

    title: str
    show: Callable[[Any], str]
    left: bool = False
    tied: bool = False


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

    @property
    def keys(self) -> int:
        """The number of first columns that name a row: those flush left, or one."""
        left = [column.left for column in self.columns]
        return max(left.index(False) if False in left else 1, 1)

    def cells(self) -> list[list[str]]:
        """The values in words, row by row."""
        return [[column.show(row) for column in self.columns] for row in self.rows]

    def json(self) -> list[Any]:
        """The rows as JSON holds them."""
        return [plain(asdict(row) if is_dataclass(row) else row) for row in self.rows]  # type: ignore[arg-type]

    def html(self) -> Markup:
        """The table and its notes as a part of a page."""
        return piece("table", self)

    def terminal(self, width: int | None = None) -> str:
        """Plain text, in colour and as wide as the terminal where there is one.

        Nothing is left out to make a table narrow: columns that find no room are set below, the
        names of the rows repeated; words wrap.

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
        screen = Console()
        if width is None and screen.is_terminal:
            width = screen.width
        parts = [_wrapped(line, width) for line in (self.title, *self.lead) if line]
        if self.rows and self.columns:
            parts += [self._paragraphs(width) if self.below else self._blocks(width)]
        notes = [_wrapped(note, width) for note in self.notes]
        return "\n\n".join(["\n".join(parts)] * bool(parts) + ["\n".join(notes)] * bool(notes))

    def _blocks(self, width: int | None) -> str:
        """The columns side by side, in as many blocks as the width asks for."""
        cells = [list(map(_clean, row)) for row in self.cells()]
        titles = [column.title for column in self.columns]
        widths = [max(map(cell_len, texts)) for texts in zip(titles, *cells, strict=True)]
        if width is not None:
            # Names and words fold in the last resort, numbers never do.
            widths = [
                min(own, max(width // 3, cell_len(column.title))) if column.left else own
                for own, column in zip(widths, self.columns, strict=True)
            ]
        tied = [column.tied for column in self.columns]
        blocks = parted_columns(widths, tied, self.keys, width)
        return "\n\n".join(self._grid(cells, widths, block) for block in blocks)

    def _paragraphs(self, width: int | None) -> str:
        """Each row as a line of its own, with its sentences under it."""
        cells = [list(map(_clean, row)) for row in self.cells()]
        widths = [max(map(cell_len, texts)) for texts in zip(*cells, strict=True)]
        if width is not None:
            before = sum(widths[:-1]) + _GAP * (len(widths) - 1)
            widths[-1] = min(widths[-1], max(width - before, 8))
        shown = []
        for row, own in zip(self.rows, cells, strict=True):
            lines = [self._grid([own], widths, range(len(own)))]
            told = self.below(row) if self.below else ()
            lines += [_wrapped(sentence, width, first=_INDENT) for sentence in told]
            shown.append("\n".join(lines))
        return "\n\n".join(shown)

    def _grid(self, cells: list[list[str]], widths: Sequence[int], block: Sequence[int]) -> str:
        heads = any(column.title for column in self.columns)
        # Gaps are columns: versions of rich differ in what padding does at the edges.
        grid = Grid(box=None, pad_edge=False, padding=0, show_header=heads)
        for place, k in enumerate(block):
            column = self.columns[k]
            if place:
                grid.add_column(width=_GAP)
            grid.add_column(
                Text(column.title, style="bold"),
                justify="left" if column.left else "right",
                width=widths[k],
                overflow="fold",
            )
        for row in cells:
            shown = [Text(row[k], style="" if heads else "bold") for k in block]
            grid.add_row(*[one for cell in shown for one in (cell, Text())][:-1])
        room = sum(widths[k] + _GAP for k in block)
        console = Console(width=room, highlight=False, markup=False, emoji=False)
        with console.capture() as captured:
            console.print(grid)
        return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n"))


def printed(tables: Sequence[Table]) -> str:
    """Tables for the terminal, one below the other."""
    return "\n\n".join(text for text in (table.terminal() for table in tables) if text)


def parted_columns(
    widths: Sequence[int], tied: Sequence[bool], keys: int, width: int | None
) -> list[list[int]]:
    """Columns in blocks that find room side by side, each begun by the columns of names.

    Arguments:
        widths: of the columns.
        tied: whether a column stays with the one before.
        keys: the number of columns of names.
        width: to be filled; None for one block.

    >>> parted_columns([5, 9, 9, 9], [False] * 4, 1, 30)
    [[0, 1, 2], [0, 3]]
    >>> parted_columns([5, 9, 9, 9], [False, False, False, True], 1, 30)
    [[0, 1], [0, 2, 3]]
    """
    groups: list[list[int]] = []
    for k in range(keys, len(widths)):
        if tied[k] and groups:
            groups[-1].append(k)
        else:
            groups.append([k])
    names = list(range(keys))
    blocks = [[*names]]
    for group in groups:
        needed = sum(widths[k] + _GAP for k in [*blocks[-1], *group]) - _GAP
        if width is not None and needed > width and len(blocks[-1]) > keys:
            blocks.append([*names])
        blocks[-1] += group
    return blocks


def _clean(cell: str) -> str:
    return printable(cell, LONGEST)


def _wrapped(sentence: str, width: int | None, *, first: int = 0) -> str:
    """A sentence over lines of at most `WIDTH` columns, all but the first set in."""
    room = max(min(width or WIDTH, WIDTH) - _INDENT, 1)
    lines = Text(_clean(sentence)).wrap(Console(width=WIDTH), room, overflow="fold")
    return " " * first + ("\n" + " " * _INDENT).join(line.plain.rstrip() for line in lines)


def entry(title: str, key: str, show: Callable[[Any], str] = str, *, left: bool = False) -> Column:
    """A column of one entry of each row; a dash stands for None."""
    return Column(title, lambda row: NONE if row[key] is None else show(row[key]), left)
