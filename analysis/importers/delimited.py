"""CSV files and their relatives: which character separates cells, and the rows.

Cells are separated by commas, semicolons, tabs, bars or blanks. What separates them is what gives
every row as many cells as the first, and more than one.
"""

import csv
import io
import re
from collections.abc import Sequence
from itertools import islice

from ultraslow.analysis.text import without_thousands
from ultraslow.diffusion.recording import RecordError

from .sheet import Cell, Sheet, as_number, shown

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
# A number that goes on: 0. and 1e- and a sign.
_BEGUN = re.compile(r"[+-]?(\d+[.,]|\d+([.,]\d*)?[eE][+-]?)|[+-]", re.ASCII)
_LOOKED_AT = 50  # rows that tell the delimiter
_LONGEST = 1_000_000  # characters of a cell
# TensorBoard's page draws so many points of a longer curve at random, and lets those be saved.
SAMPLED = (1000, 10_000)
_FROM_PAGE = ["wall time", "step", "value"]


def delimited_sheet(text: str, source: str, name: str, sha256: str) -> Sheet:
    """The rows of a CSV file.

    Arguments:
        text: its content.
        source: its path.
        name: of the run in it.
        sha256: of its bytes.

    Raises:
        RecordError: when it has no header and rows, or a row of another number of cells.
    """
    csv.field_size_limit(_LONGEST)
    skipped, body = _without_comments(text)
    delimiter = _delimiter(body, source)
    table = _Table(body, delimiter, source, skipped)
    header, first = _header(table.rows[0]), 1
    notes: list[str] = []
    if all(as_number(cell) is not None for cell in header):
        header, first = [f"column{k + 1}" for k in range(len(header))], 0
        notes.append("the first row names no columns; they are called column1, column2, …")
    _check_names(header, source)
    rows, lines = table.rows[first:], table.lines[first:]
    if rows and not text.endswith("\n"):
        whole = len(rows[-1]) >= len(header) and not _BEGUN.fullmatch(rows[-1][-1].strip())
        notes.append(_without_end(lines[-1], whole=whole))
        rows, lines = (rows, lines) if whole else (rows[:-1], lines[:-1])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise RecordError(
                source,
                [f"line {line}: found {len(row)} cells, expected {len(header)} as in the header"],
            )
    if not rows:
        raise RecordError(source, ["holds a header and no row"])
    if [one.lower() for one in header] == _FROM_PAGE and len(rows) in SAMPLED:
        notes.append(sampled(len(rows)))
    columns: dict[str, Sequence[Cell]] = dict(
        zip(header, map(list, zip(*rows, strict=True)), strict=True)
    )
    kind = f"CSV, cells between {_DELIMITERS[delimiter]}"
    commas = delimiter != ","
    if commas:
        columns, changed = without_thousands(columns)
        notes += [
            f"commas stand before decimals, so that points in {shown(column)} are between "
            f"thousands: {cell} is read as {cell.replace('.', '').replace(',', '.')}"
            for column, cell in changed.items()
        ]
    return Sheet(
        source, name, sha256, kind, columns, lines, notes=tuple(notes), decimal_commas=commas
    )


def _without_end(line: int, *, whole: bool) -> str:
    """What a last line without an end may be."""
    if not whole:
        return f"line {line} is cut off in its middle, and left out"
    return (
        f"line {line}, the last one, has no end: if the file was cut off there, so is its last "
        "number"
    )


def sampled(count: int) -> str:
    """What a curve of so many points may be, that was saved from TensorBoard's page."""
    return (
        f"it holds {count} points, as many as TensorBoard's page draws of a longer curve, at "
        "random; the event file has all of them"
    )


def _without_comments(text: str) -> tuple[int, str]:
    """How many lines begin with # before the rows, and the rest; the last of them may be names."""
    lines = text.split("\n")
    count = 0
    while count < len(lines) and lines[count].startswith("#"):
        count += 1
    if not count:
        return 0, text
    # numpy.savetxt writes the header behind a mark; people add a remark in brackets.
    behind = lines[count - 1].lstrip("# \t").strip()
    body = "\n".join(lines[count:])
    below = re.split(r"[,;\t| ]+", body.split("\n", 1)[0].strip())
    for header in (behind, re.sub(r"\s*\([^()]*\)$", "", behind)):
        cells = re.split(r"[,;\t| ]+", header)
        if len(cells) == len(below) and not any(as_number(cell) is not None for cell in cells):
            return count - 1, f"{header}\n{body}"
    return count, body


class _Table:
    """The rows of a text and the line that each begins at; empty lines are none."""

    def __init__(self, text: str, delimiter: str, source: str, skipped: int) -> None:
        self.rows: list[list[str]] = []
        self.lines: list[int] = []
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
        )
        before = 0
        try:
            for row in reader:
                if any(map(str.strip, row)):
                    cells = row if delimiter != " " else [cell for cell in row if cell]
                    self.rows.append(cells)
                    self.lines.append(before + 1 + skipped)
                before = reader.line_num
        except csv.Error as error:
            raise RecordError(
                source, [f"line {reader.line_num + skipped}: {error}, expected a CSV file"]
            ) from error


def _delimiter(text: str, source: str) -> str:
    head = [line for line in islice(text.splitlines(), 10 * _LOOKED_AT) if line.strip()]
    sample = "\n".join(head[:_LOOKED_AT])
    if not sample:
        raise RecordError(source, ["holds no rows"])
    scores = {one: _agreement(sample, one) for one in _DELIMITERS}
    best = max(scores, key=scores.__getitem__)
    if not scores[best]:
        raise RecordError(
            source,
            [
                f"line 1: found {shown(head[0])}, expected the names of two columns or more, "
                "between commas, semicolons, tabs, bars or blanks"
            ],
        )
    return best


def _agreement(sample: str, delimiter: str) -> float:
    """The share of rows with as many cells as the header; 0 where that has one.

    Blanks stand within names as well, so that others are preferred.
    """
    try:
        rows = list(csv.reader(io.StringIO(sample), delimiter=delimiter, skipinitialspace=True))
    except csv.Error:  # a cell that has no end; told where the rows are read
        rows = [line.split(delimiter) for line in sample.split("\n")]
    counts = [len([cell for cell in row if cell or delimiter != " "]) for row in rows if row]
    same = sum(count == counts[0] for count in counts) / len(counts)
    return 0.0 if counts[0] < 2 else same / 2 if delimiter == " " else same


def _header(cells: Sequence[str]) -> list[str]:
    """Names of columns; a first one without a name is the index that pandas writes."""
    stripped = [cell.strip() for cell in cells]
    return [cell or ("index" if k == 0 else f"column{k + 1}") for k, cell in enumerate(stripped)]


def _check_names(header: Sequence[str], source: str) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise RecordError(
            source, [f"line 1: two columns are called {shown(twice[0])}, expected other names"]
        )
