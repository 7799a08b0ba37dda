"""What commands print: columns and sentences that fit a terminal, and all of them in a pipe.

A terminal of 40 columns and one of 160 show the same answer. Where a table has no room, its words
wrap; then columns that can be spared go, which is told; then what is left of a row stands below
it. A word, a name or a number is cut only where it is wider than the terminal by itself. A file or
another program gets every column, one line a row, without escape codes.

Only the standard library is needed, so that help is printed at once.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from .recording import escaped

WIDTH = 100  # sentences are not read at more columns
GAP, INDENT = 2, 4
_LEAST = 12  # columns of words are not made narrower than this,
_EASY = 30  # or than this as long as others can be spared
# Latin, Greek, dashes, super- and subscripts, arrows and signs of mathematics: one column each.
_NARROW = re.compile(
    "[ -~\xa0-\xac\xae-\u02ff\u0370-\u0482\u2010-\u2027\u2030-\u205e\u2070-\u20bf\u2100-\u22ff]*"
)
# An interval is not parted; neither is any other word.
_WORD = re.compile(r"(\s*)([\[(][−\d.,∞]+, [−\d.,∞]+[\])]\S*|\S+)")
_PART = re.compile(r"(\s*)([\[(][−\d.,∞]+, [−\d.,∞]+[\])]\S*|[^-_/\s]+[-_/]?)")
_PIECE = re.compile(r"[^-_/.,]*[-_/.,]*")
_TONES = {
    "contradicted": "31",
    "off": "31",
    "diverged": "31",
    "killed": "31",
    "supported": "32",
    "undecidable": "33",
    "left": "33",
    "live": "36",
}


@dataclass(frozen=True)
class Head:
    """How one column of a table is set.

    Attributes:
        title: its heading.
        left: flush left, as names and words are; numbers are flush right.
        tied: of the column before, as its interval is: the two are not parted.
        spare: can be left out where there is no room.
        solid: is not wrapped, though it is flush left.
    """

    title: str = ""
    left: bool = False
    tied: bool = False
    spare: bool = False
    solid: bool = False


def screen_width(stream: TextIO | None = None) -> int | None:
    """Columns of the terminal that a stream goes to; None where it goes elsewhere.

    Arguments:
        stream: standard output by default.
    """
    stream = stream or sys.stdout
    return max(shutil.get_terminal_size((80, 24)).columns, 20) if stream.isatty() else None


def has_colour(stream: TextIO | None = None) -> bool:
    """Whether a stream shows colours, and nobody has asked for none (https://no-color.org)."""
    return (
        screen_width(stream) is not None
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in ("", "dumb")
    )


def cells(text: str) -> int:
    """The columns that a text takes in a terminal.

    >>> cells("|G|²"), cells("漢字")
    (4, 4)
    """
    if _NARROW.fullmatch(text):
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def tell(text: object, *, lines: bool = False, stream: TextIO | None = None) -> None:
    """Print a message in which names of files and runs may stand; it wraps in a terminal.

    Arguments:
        text: the message.
        lines: whether it may have several lines.
        stream: standard error by default.
    """
    stream = stream or sys.stderr
    width = screen_width(stream)
    for line in escaped(text, lines=lines).split("\n"):
        print(wrapped(line, width) if width else line, file=stream, flush=True)


def wrapped(text: str, width: int, *, indent: int = INDENT) -> str:
    """A text over lines of at most so many columns; what it begins with in blanks stays.

    Arguments:
        text: one line.
        width: columns.
        indent: by which all lines but the first are set in further.

    >>> print(wrapped("the exponent is 0.538 [0.421, 0.655] here", 20))
    the exponent is
        0.538
        [0.421, 0.655]
        here
    """
    start = re.match(" *", text).end()  # type: ignore[union-attr]
    start = start if start < width // 2 else 0
    further = start + indent if start + indent < width // 2 else start
    lines = list(_lines(text, width - start, width - further))
    return "\n".join(
        " " * (further if k else start) + line for k, line in enumerate(lines or [""])
    )


def _lines(text: str, first: int, rest: int) -> Iterator[str]:
    """The words of a text, line by line; words that find no room in one are cut."""
    line, room = "", first
    for blanks, word in _WORD.findall(text):
        if line and cells(line) + len(blanks) + cells(word) > room:
            yield line
            line, room = "", rest
        line = f"{line}{blanks}{word}" if line else word
        while cells(line) > room:
            head = _cut(line, room)
            yield head
            line, room = line[len(head) :], rest
    if line:
        yield line


def _cut(word: str, room: int) -> str:
    """As much of a word as there is room for, up to a dash or a point if it has one there."""
    head = ""
    for piece in _PIECE.findall(word):
        if not piece or cells(head + piece) > room:
            break
        head += piece
    if head:
        return head
    count = max(room // 2, 1)
    while count < len(word) and cells(word[: count + 1]) <= room:
        count += 1
    return word[:count]


def grid(
    heads: Sequence[Head],
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    *,
    colour: bool = False,
) -> tuple[str, list[str]]:
    """A table as text.

    Arguments:
        heads: its columns, the most important first; no header stands where none has a title.
        rows: texts, one a column.
        width: columns to fill; None for one line a row.
        colour: whether headings are bold and verdicts coloured.

    Returns:
        The text, and the titles of the columns that were left out.

    >>> heads = [Head("run", left=True), Head("p"), Head("decades", spare=True)]
    >>> text, left_out = grid(heads, [["a-long-name", "0.1", "3.18"]], 18)
    >>> print(text)
    run            p
    a-long-name  0.1
    >>> left_out
    ['decades']
    """
    top, shown, left_out = grid_rows(heads, rows, width, colour=colour)
    return "\n".join([*top, *(line for lines in shown for line in lines)]), left_out


def grid_rows(
    heads: Sequence[Head],
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    *,
    colour: bool = False,
) -> tuple[list[str], list[list[str]], list[str]]:
    """As `grid`: the lines of the header, those of each row, and what was left out."""
    texts = list(zip([one.title for one in heads], *rows, strict=True))
    natural = [max(map(cells, own)) for own in texts]
    shown, widths = list(range(len(heads))), natural
    below: list[list[int]] = []
    if width is not None:
        columns = list(zip(heads, natural, texts, strict=True))
        words, pieces = ([_floor(*column, at) for column in columns] for at in (_WORD, _PART))
        easy = [min(own, max(least, _EASY)) for own, least in zip(natural, words, strict=True)]
        shown, below, floors = _fitting(heads, easy, (words, pieces), width)
        widths = _shrunk(natural, floors, shown, heads, width)
    titled = any(heads[k].title for k in shown)
    bold, tone = ("1", "tone" if titled else "1") if colour else ("", "")
    top = list(_row([one.title for one in heads], heads, widths, shown, bold)) if titled else []
    listed = [
        [*_row(row, heads, widths, shown, tone), *_beneath(row, heads, below, width or WIDTH)]
        for row in rows
    ]
    there = {*shown, *(k for group in below for k in group)}
    left_out = [one.title for k, one in enumerate(heads) if k not in there and not one.tied]
    return top, listed, left_out


def _floor(head: Head, natural: int, texts: Sequence[str], at: re.Pattern[str]) -> int:
    """How narrow a column can be made: words wrap, numbers do not, names in the last resort."""
    if not head.left or head.solid:
        return natural
    words = [found[2] for text in texts for found in at.finditer(text)]
    return min(natural, max(_LEAST, *map(cells, words), 0))


def _fitting(
    heads: Sequence[Head], easy: Sequence[int], floors: Sequence[Sequence[int]], width: int
) -> tuple[list[int], list[list[int]], Sequence[int]]:
    """The columns that stand side by side, and groups of those that go below each row.

    Arguments:
        heads: the columns.
        easy: how narrow each can be made before a column that can be spared goes.
        floors: how narrow at all, where words stay whole, and where names part at dashes.
        width: of all of them.

    Returns:
        The columns, the groups, and which of the floors the columns need.
    """
    groups: list[list[int]] = []
    for k, one in enumerate(heads):
        if one.tied and groups:
            groups[-1].append(k)
        else:
            groups.append([k])

    def fits(least: Sequence[int]) -> bool:
        return sum(least[k] + GAP for group in groups for k in group) - GAP <= width

    for group in [one for one in reversed(groups) if heads[one[0]].spare]:
        if fits(easy):
            break
        groups.remove(group)
    below: list[list[int]] = []
    while not any(map(fits, floors)) and len(groups) > 1:
        below.insert(0, groups.pop())
    needed = next((least for least in floors if fits(least)), floors[-1])
    return [k for group in groups for k in group], below, needed


def _shrunk(
    natural: Sequence[int],
    floors: Sequence[int],
    shown: Sequence[int],
    heads: Sequence[Head],
    width: int,
) -> list[int]:
    """Widths that fit together: the widest columns of words give way first."""
    widths = list(natural)
    over = sum(widths[k] + GAP for k in shown) - GAP - width
    while over > 0:
        giving = [k for k in shown if widths[k] > floors[k]]
        if not giving:  # a single name wider than the terminal, or a number and its interval
            giving = [k for k in shown if heads[k].left and widths[k] > 1] or [
                k for k in shown if widths[k] > 1
            ]
            if not giving:
                break
        widest = max(giving, key=lambda k: widths[k])
        widths[widest] -= 1
        over -= 1
    return widths


def _row(
    texts: Sequence[str],
    heads: Sequence[Head],
    widths: Sequence[int],
    shown: Sequence[int],
    style: str,
) -> Iterator[str]:
    """One row, over as many lines as its words take."""
    folded = [
        list(_lines(texts[k], widths[k], widths[k])) if cells(texts[k]) > widths[k] else [texts[k]]
        for k in shown
    ]
    for place in range(max(map(len, folded))):
        line = ""
        for k, lines in zip(shown, folded, strict=True):
            text = lines[place] if place < len(lines) else ""
            blank = " " * (widths[k] - cells(text))
            code = _TONES.get(texts[k].lower(), "") if style == "tone" else style
            painted = f"\x1b[{code}m{text}\x1b[0m" if code and text else text
            line += (painted + blank if heads[k].left else blank + painted) + " " * GAP
        yield line.rstrip()


def _beneath(
    row: Sequence[str], heads: Sequence[Head], below: Sequence[Sequence[int]], width: int
) -> Iterator[str]:
    """What finds no room in a row: each value with its title, but for those that are absent."""
    told = []
    for group in below:
        values = [row[k] for k in group if row[k] not in ("", "–")]
        if values:
            told.append(" ".join([heads[group[0]].title, *values]).strip())
    if told:
        yield from wrapped(" " * INDENT + " · ".join(told), width, indent=0).split("\n")
