"""Rulers and gauges of verdicts: an interval beside the zone of its claim, and have beside goal.

Lengths are in pixels of the page. Colours are classes that the page's style knows (`f-zone`,
`s-axis`), so that one drawing serves light, dark and print.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.text import MINUS, printable

LARGE, SMALL, ROW = 360, 262, 200  # widths
_EDGE = 8  # room at the ends of a ruler
_LEAST = 5.0  # width of an interval, so that it is seen
_MOST_TICKS = 6
_DECADES = 5.0  # that an interval may take of a ruler beyond its zone; the rest is an arrow
_WIDE = 15.0  # ratio of a ruler's ends, above which fewer ticks find room
_LETTER = 5.8  # width of a letter of text at 12 px, on average
_BOLD = 5.8  # the same of a bold one
_GAP = 8.0  # between two texts


@dataclass(frozen=True)
class Zone:
    """Where a claim would hold.

    Attributes:
        low: lower end; −inf for none.
        high: upper end; inf for none.
        text: in a few words, with its bounds.
        ratio: whether values are ratios, which are drawn on a logarithmic scale.
        share: whether values are shares, which are told in percent.
    """

    low: float
    high: float
    text: str
    ratio: bool = False
    share: bool = False


@dataclass(frozen=True)
class _Scale:
    """Places of values along a ruler."""

    low: float
    high: float
    width: float
    log: bool

    def __call__(self, value: float) -> float:
        low, high, at = (self._turned(x) for x in (self.low, self.high, value))
        share = min(max((at - low) / (high - low), 0.0), 1.0)
        return _EDGE + share * (self.width - 2 * _EDGE)

    def _turned(self, value: float) -> float:
        return math.log(max(value, 1e-300)) if self.log else value


def ruler(found: Interval, zone: Zone, *, title: str, small: bool = False) -> Markup:
    """An interval on its scale beside the zone in which the claim would hold.

    The bar is the interval, of five pixels at least, the tick the estimate; arrow heads stand
    where the interval goes on.

    Arguments:
        found: the estimate with its interval.
        zone: where the claim would hold.
        title: what is measured.
        small: for a card in columns.

    Returns:
        An SVG element that says its numbers.
    """
    ends = found.ends(lambda x: shown(x, share=zone.share))
    told = f"{shown(found.value, share=zone.share)} {ends}"
    width, foot, top = (SMALL, 46, 20) if small else (LARGE, 54, 18)
    words = 13.0 if small else 12.0
    if small and _BOLD * len(told) + _LETTER * len(zone.text) > width - _GAP:
        words, foot, top = 30.0, 63, 37  # in a line of their own
    scale = _scale(found, zone, width)
    parts = [_zone(zone, scale, (top, foot), words, small=small), _axis(scale, foot, zone)]
    parts += [_bar(found, scale, (top + foot) / 2)]
    if small:
        parts.insert(0, _text(0, 13, told, "f-ink b"))
    says = f"{told}. Shaded, where the claim would hold: {zone.text}."
    return _svg(width, foot + 22, title, says, parts, "ruler")


def gauge(have: float, need: float, *, had: str, goal: str, title: str) -> Markup:
    """How much of what a verdict needs is there.

    Arguments:
        have: how much there is.
        need: how much there has to be.
        had: what there is, in words.
        goal: what there has to be, in words.
        title: what is counted.
    """
    share = min(max(have / need, 0.0), 1.0) if need > 0 else 0.0
    room = SMALL - 2
    parts = [
        _text(0, 13, had, "f-ink b"),
        _text(SMALL - 1, 13, goal, "f-quiet end"),
        Markup('<rect class="f-raised s-rule" x="1" y="22" width="{}" height="12"/>').format(room),
    ]
    if share:
        bar = '<rect class="f-axis" x="1" y="22" width="{}" height="12"/>'
        parts.append(Markup(bar).format(_px(share * room)))
    parts.append(Markup('<path class="s-ink" d="M{} 18v20"/>').format(SMALL - 1))
    return _svg(SMALL, 44, title, f"{had}, {goal}.", parts, "gauge")


def row(found: Interval, span: tuple[float, float], *, whole: bool = False) -> Markup:
    """An estimate with its interval beside 0, for a row of a table that tells its numbers.

    Arguments:
        found: the estimate; empty marks where it is unknown.
        span: lowest and highest value of all rows.
        whole: whether it stands for all of them.
    """
    scale = _Scale(*span, ROW, log=False)
    zero = _px(scale(0.0))
    parts = [Markup('<path class="s-axis dotted" d="M{} 4v20"/>').format(zero)]
    if math.isfinite(found.value):
        clear = "s-ink clear" if found.low > 0 or found.high < 0 else "s-quiet"
        ends = [_px(scale(end)) for end in _known_ends(found, span)]
        bar = '<path class="{}{}" d="M{} 14H{}"/>'
        parts.append(Markup(bar).format(clear, " whole" if whole else "", *ends))
        fill = "f-ink" if "clear" in clear else "f-paper s-quiet"
        dot = '<circle class="{}" cx="{}" cy="14" r="3"/>'
        parts.append(Markup(dot).format(fill, _px(scale(found.value))))
    body = Markup("").join(parts)
    head = '<svg class="gain" viewBox="0 0 {0} 28" width="{0}" height="28" aria-hidden="true">'
    return Markup(head).format(ROW) + body + Markup("</svg>")


def shown(value: float, *, share: bool = False, exact: bool = False) -> str:
    """A number of three digits, its thousands set apart from 10 000 on.

    Arguments:
        value: the number.
        share: whether it is a share, to be told in percent.
        exact: whether it keeps all its digits, as counts do.

    >>> shown(2.947), shown(12097.3), shown(0.0512), shown(0.0, share=True), shown(1.0)
    ('2.95', '12\u202f100', '0.0512', '0 %', '1.00')
    """
    if share:
        return f"{shown(100 * value)} %" if value else "0 %"
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        return f"{value:.2e}".replace("-", MINUS)
    places = 0 if exact else 2 - math.floor(math.log10(abs(value)))
    kept = round(value, places)
    text = f"{kept:{',' if abs(kept) >= 10_000 else ''}.{max(places, 0)}f}"
    return text.replace("-", MINUS).replace(",", "\u202f")


def ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Round numbers along a ruler, at most six.

    >>> ticks(0.7, 4.0, log=True), ticks(-0.12, 0.73, log=False)
    ([0.7, 1.0, 1.5, 2.0, 3.0, 4.0], [0.0, 0.2, 0.4, 0.6])
    >>> ticks(0.1, 20000.0, log=True)
    [0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0]
    """
    if not log:
        return _even(low, high)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = last - first
    if decades > 2:
        step = math.ceil(decades / _MOST_TICKS)
        found = [10.0**k for k in range(first, last + 1, step)]
    else:
        leads = (1, 2, 5) if high / low > _WIDE else (1, 1.5, 2, 3, 4, 5, 7)
        found = [float(f"{m}e{k}") for k in range(first, last + 1) for m in leads]
    inside = [x for x in found if low <= x * (1 + 1e-9) and x <= high * (1 + 1e-9)]
    return inside if len(inside) > 1 else _even(low, high)


def _even(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 in equal steps."""
    raw = (high - low) / (_MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def _scale(found: Interval, zone: Zone, width: float) -> _Scale:
    """Room for the zone's bounds and the interval, and a little beyond."""
    values = [x for x in (found.value, found.low, found.high) if math.isfinite(x)]
    bounds = [x for x in (zone.low, zone.high) if math.isfinite(x)]
    if zone.ratio:
        known = [x for x in [*values, *bounds] if x > 0] or [1.0]
        near = [x for x in [found.value, *bounds] if x > 0] or known
        low = max(min(known), min(near) / 10**_DECADES)
        high = min(max(known), max(near) * 10**_DECADES)
        room = max((high / low) ** 0.12, 1.2)
        lowest = low / room / (2 if zone.low <= 0 else 1)
        return _Scale(lowest, high * room, width, log=True)
    known = [*values, *bounds, 0.0] if zone.share else [*values, *bounds]
    low, high = min(known), max(known)
    room = 0.15 * (high - low) or 0.5
    return _Scale(0.0 if zone.share else low - room, high + room, width, log=False)


def _zone(
    zone: Zone, scale: _Scale, ends: tuple[float, float], words: float, *, small: bool
) -> Markup:
    """The zone between two heights, and its words at another above it."""
    top, foot = ends
    left = scale(zone.low) if math.isfinite(zone.low) else float(_EDGE)
    right = scale(zone.high) if math.isfinite(zone.high) else scale.width - _EDGE
    box = Markup('<rect class="f-zone" x="{}" y="{}" width="{}" height="{}"/>').format(
        _px(left), top, _px(max(right - left, 1.5)), foot - top
    )
    if small:
        return box + _text(scale.width - 1, words, zone.text, "f-quiet end")
    middle, half = (left + right) / 2, _LETTER * len(zone.text) / 2
    if middle - half < 0:
        return box + _text(max(left, 0), words, zone.text, "f-zone-ink")
    if middle + half > scale.width:
        return box + _text(min(right, scale.width), words, zone.text, "f-zone-ink end")
    return box + _text(middle, words, zone.text, "f-zone-ink middle")


def _axis(scale: _Scale, foot: float, zone: Zone) -> Markup:
    marks, words, end = "", Markup(""), -math.inf
    for value in ticks(scale.low, scale.high, log=scale.log):
        at, text = scale(value), _tick(value, share=zone.share)
        marks += f"M{_px(at)} {foot}v4"
        half = _LETTER * len(text) / 2
        if at - half > end + 4:
            words += _text(at, foot + 17, text, "f-quiet middle")
            end = at + half
    line = '<path class="s-axis" d="M{} {}H{}{}"/>'
    return Markup(line).format(_EDGE, foot, _px(scale.width - _EDGE), marks) + words


def _tick(value: float, *, share: bool) -> str:
    if share:
        return f"{100 * value:g} %"
    if value >= 1e5:
        raised = str(round(math.log10(value))).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"10{raised}"
    if float(value).is_integer():
        return shown(value, exact=True)
    return f"{value:g}".replace("-", MINUS)


def _known_ends(found: Interval, span: tuple[float, float]) -> tuple[float, float]:
    """The ends of an interval within a ruler; that of the ruler where one is not known."""
    low = found.low if math.isfinite(found.low) else span[0]
    high = found.high if math.isfinite(found.high) else span[1]
    return max(low, span[0]), min(high, span[1])


def _bar(found: Interval, scale: _Scale, middle: float) -> Markup:
    at = scale(found.value)
    left, right = (scale(end) for end in _known_ends(found, (scale.low, scale.high)))
    if right - left < _LEAST:
        left, right = at - _LEAST / 2, at + _LEAST / 2
    body = Markup('<rect class="span" x="{}" y="{}" width="{}" height="9"/>').format(
        _px(left), _px(middle - 4.5), _px(right - left)
    )
    for open_end, place, turn in (
        (not found.low >= scale.low, left, -1),
        (not found.high <= scale.high, right, 1),
    ):
        if open_end:
            head = '<path class="tip" d="M{} {}l{} 6l{} 6z"/>'
            body += Markup(head).format(_px(place), _px(middle - 6), 7 * turn, -7 * turn)
    return body + Markup('<path class="tick" d="M{} {}v20"/>').format(_px(at), _px(middle - 10))


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    told = printable(text, 60)
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(kind, _px(x), y, told)


def _px(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _svg(
    width: int, height: int, title: str, says: str, parts: Sequence[Markup], kind: str
) -> Markup:
    """The element, with a title and a description that hold its numbers."""
    head = Markup(
        '<svg class="{0}" viewBox="0 0 {1} {2}" width="{1}" height="{2}" role="img">'
        "<title>{3}</title><desc>{4}</desc>"
    ).format(kind, width, height, escape(printable(title, 200)), escape(printable(says, 300)))
    return head + Markup("").join(parts) + Markup("</svg>")
