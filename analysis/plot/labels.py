"""Names at the ends of curves, moved apart where they would touch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from . import look
from .pixels import within

_LINE = 14.0  # pixels from one line of text to the next
_BESIDE = 8.0
# Curves that end before this share of the abscissa are named there, and not beside the axes.
_EARLY = 0.93


@dataclass(frozen=True)
class End:
    """The end of a curve and what stands there.

    Attributes:
        x: of its last point, data.
        y: of its last point, data.
        name: in bold; empty for a number alone.
        told: a line below it, or the number; may be empty.
        falls: whether the curve comes from above.
    """

    x: float
    y: float
    name: str
    told: str = ""
    falls: bool = False

    @property
    def lines(self) -> int:
        """How many lines its label has."""
        return max(1, bool(self.name) + bool(self.told))


def some(ends: Sequence[End], high: float) -> list[End]:
    """As many ends as there is room to name, the outermost first, then evenly between.

    Arguments:
        ends: from the lowest to the highest.
        high: room, pixels.
    """
    room = max(int(high / (_LINE * max((one.lines for one in ends), default=1))), 2)
    if len(ends) <= room:
        return list(ends)
    places = np.unique(np.linspace(0, len(ends) - 1, room).round().astype(int))
    return [ends[place] for place in places]


def name_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write names at the ends of curves: beside the axes, or above an end that comes early."""
    _, high = look.size_of(axes)
    known = [one for one in ends if np.isfinite(one.x) and np.isfinite(one.y)]
    to_axes = axes.transData + axes.transAxes.inverted()
    spots = {id(one): to_axes.transform((one.x, one.y)) for one in known}
    late = [one for one in known if spots[id(one)][0] >= _EARLY]
    late = some(sorted(late, key=lambda one: float(spots[id(one)][1])), high)
    heights = [float(np.clip(spots[id(one)][1], 0, 1)) * high for one in late]
    placed = _apart(heights, [one.lines for one in late], high)
    for one, place in zip(late, placed, strict=True):
        _label(axes, one, (1.0, place / high), "axes", _BESIDE, "left")
    early = [one for one in known if one not in late and spots[id(one)][0] < _EARLY]
    for one in some(sorted(early, key=lambda one: one.y), high / 2):
        above = (10.0 + 7 * (one.lines - 1)) * (-1 if one.falls else 1)
        _label(axes, one, (one.x, one.y), "data", -_BESIDE, "right", above)


def _apart(heights: Sequence[float], lines: Sequence[int], high: float) -> list[float]:
    """Middles of labels of one or two lines, pixels above the foot of the axes."""
    slots, owner = [], []
    for k, (height, count) in enumerate(zip(heights, lines, strict=True)):
        for line in range(count):
            slots.append(height + (line - (count - 1) / 2) * _LINE)
            owner.append(k)
    placed = within(slots, _LINE, 0.0, high)
    return [
        float(np.mean([place for place, own in zip(placed, owner, strict=True) if own == k]))
        for k in range(len(heights))
    ]


def _label(
    axes: Axes,
    one: End,
    place: tuple[float, float],
    at: str,
    beside: float,
    side: str,
    above: float = 0.0,
) -> None:
    bold: dict[str, Any] = {"weight": "bold", "color": look.INK}
    rows = [(one.name, bold), (one.told, {})]
    rows = [(text, style) for text, style in rows if text]
    for k, (text, style) in enumerate(rows):
        up = above + ((len(rows) - 1) / 2 - k) * _LINE
        drawn = look.write(axes, place, text, offset=(beside, up), at=at, ha=side, **style)
        if at == "data":
            drawn.set_gid("halo")
