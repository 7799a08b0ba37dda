"""Numbers and names as people read and write them."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ultraslow.diffusion.recording import shortened

MINUS = "−"
# Characters of a text from a file: a configuration is documentation, not data; what is longer
# stands in the JSON file.
LONGEST = 4000
# 23,8 and 1.234,5: a comma before decimals, points between thousands.
_COMMA = re.compile(r"[+-]?(\d*|[1-9]\d{0,2}(\.\d{3})+),\d+([eE][+-]?\d+)?", re.ASCII)
# 1,234 is that as well, or a comma between thousands.
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?", re.ASCII)
_POINTED = re.compile(r"[+-]?[\d.]*\.[\d.]*(,\d+)?([eE][+-]?\d+)?", re.ASCII)


def number(value: float, digits: int = 3) -> str:
    """A number rounded to significant digits, with a thousands separator from 10,000 on.

    >>> number(0.012345), number(-1234.6), number(1234567.0), number(float("inf")), number(1e-7)
    ('0.0123', '−1235', '1,234,567', '∞', '1e-07')
    >>> number(999.9999)
    '1000'
    """
    if math.isnan(value):
        return "–"
    sign = MINUS if value < 0 else ""
    size = abs(value)
    if math.isinf(size):
        return sign + "∞"
    if size >= 1000 or float(f"{size:.{digits}g}") >= 1000:  # 999.9 as well, and not as 1e+03
        return sign + (f"{size:,.0f}" if size >= 10_000 else f"{size:.0f}")
    return sign + f"{size:.{digits}g}"


def p_value(value: float) -> str:
    """A p-value; of tiny ones that they are tiny, as their size says nothing more.

    >>> p_value(0.0321), p_value(7.8e-5)
    ('0.032', '< 0.001')
    """
    return "< 0.001" if value < 0.001 else number(value, 2)


def rounded(value: float) -> str:
    """A number with at most three decimals and about four digits, as effects are shown.

    >>> rounded(1.35), rounded(-0.00012), rounded(0.0519), rounded(123.4), rounded(float("-inf"))
    ('1.350', '0.000', '0.052', '123.4', '−∞')
    """
    if not math.isfinite(value) or abs(value) >= 1000:
        return number(value)
    text = f"{abs(value):.{3 if abs(value) < 10 else 2 if abs(value) < 100 else 1}f}"
    return MINUS + text if value < 0 and float(text) else text


def interval(low: float, high: float, *, show: Callable[[float], str] = number) -> str:
    """An interval in brackets, or what is left of it where an end is missing.

    >>> interval(-0.1, 0.25), interval(100.0, float("inf")), interval(float("nan"), 1.0)
    ('[−0.1, 0.25]', '[100, ∞)', '–')
    """
    if math.isnan(low) or math.isnan(high):
        return "–"
    left = "(" if math.isinf(low) else "["
    right = ")" if math.isinf(high) else "]"
    return f"{left}{show(low)}, {show(high)}{right}"


def fixed(value: float, decimals: int = 2) -> str:
    """A number with a fixed number of decimals, as decades and ratios are shown.

    >>> fixed(3.176), fixed(1), fixed(-0.001)
    ('3.18', '1.00', '0.00')
    """
    return f"{round(float(value), decimals) + 0.0:.{decimals}f}"  # -0.0 + 0.0 is 0.0


def between(low: float, high: float) -> str:
    """A range of exponents.

    >>> between(-0.051, 0.3), between(float("nan"), 1.0)
    ('−0.05 to 0.30', '–')
    """
    if math.isnan(low + high):
        return number(math.nan)
    return f"{fixed(low)} to {fixed(high)}".replace("-", MINUS)


def percent(share: float, decimals: int = 0) -> str:
    """A share in percent.

    >>> percent(0.834), percent(0.0124, 1)
    ('83%', '1.2%')
    """
    return f"{share:.{decimals}%}"


def signed_percent(share: float) -> str:
    """A relative difference in whole percent.

    >>> signed_percent(0.034), signed_percent(-0.589), signed_percent(-0.001)
    ('+3%', '−59%', '0%')
    """
    if not math.isfinite(share):
        return number(share)
    size = f"{abs(share):.0%}"
    return size if size == "0%" else f"{MINUS if share < 0 else '+'}{size}"


def in_short(count: float) -> str:
    """A count in at most six characters.

    >>> in_short(999), in_short(75_290), in_short(25_557_032)
    ('999', '75.3k', '25.6M')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


def time_span(seconds: float) -> str:
    """A time span in its largest whole unit.

    >>> time_span(59), time_span(60), time_span(2e5)
    ('59 s', '1 min', '2 d')
    """
    for unit, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {word}"
    return f"{max(seconds, 0):.0f} s"


def sentence(text: str) -> str:
    """A clause as a sentence: a capital first, a full stop last.

    >>> sentence("one run speaks of itself only")
    'One run speaks of itself only.'
    """
    return f"{text[:1].upper()}{text[1:]}."


def real(value: float | str | None) -> float:
    """The number behind what JSON holds in its place: None is NaN, "inf" and "-inf" are infinite.

    >>> real(None), real("-inf"), real(2)
    (nan, -inf, 2.0)
    """
    return math.nan if value is None else float(value)


def printable(text: str, length: int = 80) -> str:
    r"""Text from a file on one line, without control characters, at most `length` characters.

    A run's name may hold terminal escapes or the characters that turn a line's direction round;
    both could make a table say something else than it does.

    >>> printable("a\x1b[31mb\nc"), printable("x" * 9, 5)
    ('a�[31mb�c', 'xx…xx')
    """
    safe = "".join(
        "�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text
    )
    return shortened(safe, length)


def of_batch_size(size: int) -> str:
    """A batch size in words; 0 is one that nobody knows.

    >>> of_batch_size(64), of_batch_size(19_200_000), of_batch_size(0)
    ('batch size 64', 'batch size 19,200,000', 'unknown batch size')
    """
    return f"batch size {number(size)}" if size else "unknown batch size"


def sizes_in_words(listed: str) -> str:
    """The batch sizes of a sample, given as text with commas between them.

    >>> sizes_in_words("64, 256"), sizes_in_words("32768"), sizes_in_words("")
    ('batch sizes 64, 256', 'batch size 32,768', 'no batch size')
    """
    if not listed:
        return "no batch size"
    if listed == "0":
        return of_batch_size(0)
    sizes = [number(int(one)) if one.isdecimal() else one for one in listed.split(", ")]
    return f"batch size{'s' if len(sizes) > 1 else ''} {', '.join(sizes)}"


def sizes_and(sizes: Sequence[int]) -> str:
    """Batch sizes in a sentence.

    >>> sizes_and([64]), sizes_and([64, 256]), sizes_and([64, 256, 25_000])
    ('batch size 64', 'batch sizes 64 and 256', 'batch sizes 64, 256 and 25,000')
    """
    *most, last = map(number, sizes)
    return f"batch sizes {', '.join(most)} and {last}" if most else of_batch_size(sizes[0])


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "run"), plural(2, "batch size")
    ('1 run', '2 batch sizes')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def first_of(names: Sequence[str], most: int = 3) -> str:
    """Names in a row, cut where more would make a sentence unreadable.

    >>> first_of(["a", "b", "c"]), first_of(["a", "b", "c", "d"])
    ('a, b, c', 'a, b, c, …')
    """
    return ", ".join([*names[:most], *(["…"] if len(names) > most else [])])


def has_decimal_commas(cells: Iterable[object]) -> bool:
    """Whether a cell is a number whose comma can stand before decimals alone.

    >>> has_decimal_commas(["1.000", "23,8298"]), has_decimal_commas(["1,000", "23.8"])
    (True, False)
    """
    texts = (cell.strip() for cell in cells if isinstance(cell, str) and "," in cell)
    return any(_COMMA.fullmatch(text) and not _EITHER.fullmatch(text) for text in texts)


def either_way(text: str) -> str:
    """Both numbers that a text may be whose commas stand between thousands or before decimals.

    >>> either_way("8,312"), either_way("1,234,567"), either_way("8,31"), either_way("8312")
    ('8312 or 8.312', '1234567', '', '')
    """
    if not _EITHER.fullmatch(text.strip()):
        return ""
    parts = text.strip().split(",")
    return " or ".join(["".join(parts), *([".".join(parts)] if len(parts) == 2 else [])])


def is_grouped(text: str) -> bool:
    """Whether points stand between the thousands of a number, if they are no decimal points.

    >>> is_grouped("12.345"), is_grouped("1.234,5"), is_grouped("0.001"), is_grouped("1.5")
    (True, True, False, False)
    """
    return _GROUPED.fullmatch(text.strip()) is not None


def is_pointed(cell: object) -> bool:
    """Whether a cell is a number with a point.

    >>> is_pointed(" 1.5"), is_pointed("1e3"), is_pointed("v1.2")
    (True, False, False)
    """
    text = cell.strip() if isinstance(cell, str) else ""
    return _POINTED.fullmatch(text) is not None and any(map(str.isdigit, text))


def without_thousands(
    columns: Mapping[str, Sequence[Any]],
) -> tuple[dict[str, Sequence[Any]], dict[str, str]]:
    """Columns of a file with decimal commas, without the points between thousands.

    A column with any other point is left as it is, for who reads it to refuse.

    Arguments:
        columns: cells by the name of the column.

    Returns:
        The columns, and of each that was changed a cell as it was.

    >>> without_thousands({"step": ["999", "1.000"], "d": ["1,5", "23,8"]})
    ({'step': ['999', '1000'], 'd': ['1,5', '23,8']}, {'step': '1.000'})
    """
    found, changed = dict(columns), dict[str, str]()
    if not any(map(has_decimal_commas, columns.values())):
        return found, changed
    for name, cells in columns.items():
        pointed = [str(cell).strip() for cell in cells if is_pointed(cell)]
        if pointed and all(map(is_grouped, pointed)):
            found[name] = [
                cell.replace(".", "") if isinstance(cell, str) and is_pointed(cell) else cell
                for cell in cells
            ]
            changed[name] = pointed[0]
    return found, changed
