"""Names at the ends of curves, moved to where they touch neither each other nor the curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from . import look
from .pixels import within

Array = NDArray[np.float64]

_LINE = 14.0  # pixels from one line of text to the next
_BESIDE = 8.0
# Curves that end before this share of the abscissa are named there, and not beside the axes.
_EARLY = 0.93
_STEP = 5.0  # pixels between the points of curves that names keep off
_TOUCH = 1000  # what another name in the way weighs against one such point
_FAR = 0.3  # what a pixel farther up or down weighs
_OTHERS = 20.0  # what a place weighs that is no farther from another end


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
    wide, high = look.size_of(axes)
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
    early = some(sorted(early, key=lambda one: one.y), high / 2)
    if early:
        taken = [
            _box(one, (wide, place), _BESIDE, "left", 0.0)
            for one, place in zip(late, placed, strict=True)
        ]
        points = _points(axes, (wide, high))
        middles = {id(one): spots[id(one)] * (wide, high) for one in known}
        for one in early:
            spot = middles[id(one)]
            others = [at for key, at in middles.items() if key != id(one)]
            beside, side, above = _free(one, spot, points, taken, others)
            taken.append(_box(one, spot, beside, side, above))
            _label(axes, one, (one.x, one.y), "data", beside, side, above)


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


def _free(
    one: End,
    spot: Array,
    points: Array,
    taken: Sequence[tuple[float, float, float, float]],
    others: Sequence[Array],
) -> tuple[float, str, float]:
    """Where a name at a spot (2,), pixels, is least in the way: offset, alignment and height.

    To the left above the end, where a curve that rises leaves room, or to its right, else farther
    up or below.
    """
    step = (10.0 + 7 * (one.lines - 1)) * (-1 if one.falls else 1)
    places = [(-_BESIDE, "right", step), (_BESIDE, "left", 0.0)]
    places += [(-_BESIDE, "right", far * step) for far in (2, 3, -1, -2)]
    places += [(_BESIDE, "left", far * step) for far in (1, -1)]

    def weight(place: tuple[float, str, float]) -> float:
        left, low, right, top = _box(one, spot, *place)
        inside = (points > (left, low)).all(axis=1) & (points < (right, top)).all(axis=1)
        apart = [x1 <= left or x0 >= right or y1 <= low or y0 >= top for x0, y0, x1, y1 in taken]
        farther = max(abs(place[2]) - abs(step), 0.0)
        middle = spot[1] + place[2]
        strange = any(
            left - _BESIDE <= x <= right + _BESIDE and abs(middle - y) <= abs(place[2])
            for x, y in others
        )
        weights = _TOUCH * apart.count(False) + _FAR * farther + _OTHERS * strange
        return float(inside.sum()) + weights

    return min(places, key=weight)


def _box(
    one: End, spot: Sequence[float] | Array, beside: float, side: str, above: float
) -> tuple[float, float, float, float]:
    """Left, low, right and top of a label at a spot, pixels."""
    wide = max(look.measured(one.name, look.TEXT, bold=True), look.measured(one.told, look.TEXT))
    left = spot[0] + beside - (wide if side == "right" else 0)
    half = one.lines * _LINE / 2
    return left, spot[1] + above - half, left + wide, spot[1] + above + half


def _points(axes: Axes, size: tuple[float, float]) -> Array:
    """Points along all lines of the axes, pixels from their corner, shape (point, 2)."""
    to_axes = axes.transData + axes.transAxes.inverted()
    found = [np.empty((0, 2))]
    for line in axes.get_lines():
        known = np.asarray(line.get_xydata(), dtype=float)
        if line.get_transform() != axes.transData or not known.size:
            continue
        corners = to_axes.transform(known) * size
        corners = corners[np.isfinite(corners).all(axis=1)]
        along = np.append(0.0, np.cumsum(np.hypot(*np.diff(corners, axis=0).T)))
        if corners.size and along[-1] < 100 * sum(size):
            steps = np.arange(0.0, along[-1] + _STEP, _STEP)
            found.append(np.stack([np.interp(steps, along, x) for x in corners.T], axis=1))
    return np.concatenate(found)


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
