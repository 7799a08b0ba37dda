"""How figures look: colours by role, marks by batch size, sizes of text, and their axes.

Lengths are those of a page: a pixel is 1/96 inch, ¾ of a point. Colours are those of the light
page; a page that shows figures in the dark gives each role its other colour.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from ultraslow.analysis.text import MINUS, printable

from .colours import COLOURS, role_of_size

PX = 0.75  # points a pixel
TEXT = 12 * PX
THIN, LINE, FIT = 1.0 * PX, 1.6 * PX, 5.0 * PX
SEED, RECORD, MEAN = 1.4, 2.1, 3.4  # radii of marks, pixels
DASHED, DOTTED = (0, (4, 3)), (0, (1.5, 2.5))
BAND = 0.17  # opacity
NARROW = 420  # pixels of a figure from which on there is room for more words

GLYPH = "Glyph .* missing from font"  # a warning of matplotlib
_ACROSS, _UP = 46, 34  # pixels from one tick to the next, at least

LIGHT = {role: colours[0] for role, colours in COLOURS.items()}
PAPER, INK, QUIET, ZONE = LIGHT["paper"], LIGHT["ink"], LIGHT["quiet"], LIGHT["zone"]
AXIS, RULE, GRID, WASH = LIGHT["axis"], LIGHT["rule"], LIGHT["grid"], LIGHT["wash"]


def _shape(*corners: tuple[float, float]) -> Path:
    """A closed outline, of the size of a circle of radius 1 in points."""
    return Path([*corners, corners[0]], closed=True)


def _plus() -> Path:
    arm, end = 0.36, 1.15
    quarter = [(arm, arm), (arm, end), (-arm, end), (-arm, arm)]
    turns = [(1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0)]
    around = [(a * x + b * y, c * x + d * y) for a, b, c, d in turns for x, y in quarter]
    return _shape(*around)


def _turned(shape: Path, degrees: float) -> Path:
    return shape.transformed(mpl.transforms.Affine2D().rotate_deg(degrees))


_TRIANGLE = _shape((0, 1.25), (1.2, -0.94), (-1.2, -0.94))
_SQUARE = _shape((-0.89, -0.89), (0.89, -0.89), (0.89, 0.89), (-0.89, 0.89))
# Marks of about equal area, by rank of the batch size.
MARKS: tuple[Any, ...] = (
    "o",
    _SQUARE,
    _TRIANGLE,
    _turned(_SQUARE, 45),
    _plus(),
    _turned(_TRIANGLE, 180),
    _turned(_plus(), 45),
    _shape(*[(1.15 * math.sin(a), 1.15 * math.cos(a)) for a in np.arange(5) * 2 * math.pi / 5]),
)


def hue(rank: int, count: int) -> str:
    """The colour of a batch size by its rank among so many.

    >>> hue(0, 3), hue(2, 3)
    ('#35185f', '#0a7470')
    """
    return LIGHT[role_of_size(rank, count)]


def mark(rank: int) -> Any:
    """The mark of a batch size by its rank, as matplotlib takes markers."""
    return MARKS[rank % len(MARKS)]


def _reach(shape: Any) -> float:
    """How far an outline goes from its middle: matplotlib scales markers to that."""
    return 1.0 if isinstance(shape, str) else float(np.abs(shape.vertices).max())


def marked(rank: int, radius: float, colour: str, *, hollow: bool = False) -> dict[str, Any]:
    """The options of `Axes.plot` for marks of a batch size.

    Arguments:
        rank: of the batch size, smallest 0.
        radius: of a mark, pixels.
        colour: of it.
        hollow: whether its inside is left open.
    """
    return {
        "marker": mark(rank),
        "markersize": 2 * radius * PX * _reach(mark(rank)),
        "markerfacecolor": PAPER if hollow else colour,
        "markeredgecolor": colour,
        "markeredgewidth": 1.5 * PX if hollow else 0.0,
        "linestyle": "none",
        "clip_on": False,
    }


def tick(value: float) -> str:
    """A round number as short as it can be, its thousands set apart.

    >>> tick(1500.0), tick(0.25), tick(-2.0), tick(1e-6), tick(20000.0), tick(1e7)
    ('1\u202f500', '0.25', '−2', '10⁻⁶', '20\u202f000', '10⁷')
    """
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e6):
        power = math.floor(math.log10(size) + 1e-9)
        raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        lead = round(value / 10.0**power, 3)
        return f"10{raised}" if lead == 1 else f"{lead:g}·10{raised}".replace("-", MINUS)
    text = f"{value:,.0f}" if float(value).is_integer() else f"{value:.6g}"
    return text.replace("-", MINUS).replace(",", "\u202f")


def shown(value: float, digits: int = 3) -> str:
    """A measured number to significant digits, its thousands set apart.

    >>> shown(29.44), shown(12104.0), shown(0.05), shown(float("inf"))
    ('29.4', '12\u202f100', '0.05', '∞')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"
    return tick(float(f"{value:.{digits}g}"))


@lru_cache(maxsize=4096)
def measured(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a text is in the font of matplotlib, pixels."""
    font = mpl.font_manager.FontProperties(size=size, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=GLYPH)
        found = text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
    return float(found) / PX


def shortened(text: str, room: float, size: float = TEXT) -> str:
    """A text cut at its end to so many pixels."""
    if measured(text, size) <= room:
        return text
    while text and measured(f"{text}…", size) > room:
        text = text[:-1].rstrip(" ,")
    return f"{text}…" if text else ""


def axes_of(axes: Axes | None, size: tuple[float, float]) -> Axes:
    """The axes that were given, or those of a new figure of this size, pixels."""
    if axes is not None:
        return axes
    from matplotlib import pyplot

    figsize = size[0] / 96, size[1] / 96
    return pyplot.subplots(figsize=figsize, layout="constrained", dpi=144)[1]


def size_of(axes: Axes) -> tuple[float, float]:
    """Width and height of a pair of axes, pixels."""
    box = axes.get_window_extent()
    whole: Any = axes.get_figure(root=True)
    return box.width * 96 / whole.dpi, box.height * 96 / whole.dpi


def is_narrow(axes: Axes) -> bool:
    """Whether the figure has the width of a phone or of a panel."""
    whole: Any = axes.get_figure(root=True)
    return bool(whole.get_figwidth() * 96 < NARROW)


def decades(low: float, high: float, most: int) -> list[float]:
    """Ticks of a logarithmic axis: powers of ten, or 1, 2, 5 where there are few of these.

    >>> decades(1, 1500, 6), decades(14, 90, 6)
    ([1.0, 10.0, 100.0, 1000.0], [15.0, 20.0, 30.0, 40.0, 60.0, 80.0])
    """
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    powers = [10.0**k for k in range(first, last + 1)]
    if len(powers) >= 3:
        return powers[:: math.ceil(len(powers) / most)]
    for leads in ((1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8)):
        found = [round(lead * 10.0**k, 12) for k in range(first - 1, last + 1) for lead in leads]
        inside = [one for one in found if low * (1 - 1e-9) <= one <= high * (1 + 1e-9)]
        if len(inside) > most:
            return inside[:: math.ceil(len(inside) / most)]
        if len(inside) >= 3:
            return inside
    return inside if len(inside) > len(powers) else powers


def rounds(low: float, high: float, most: int) -> list[float]:
    """Ticks of a linear axis: round numbers between its ends.

    >>> rounds(0, 41, 5)
    [0.0, 10.0, 20.0, 30.0, 40.0]
    """
    found = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    room = 1e-9 * (high - low)
    return [round(float(x), 12) + 0.0 for x in found if low - room <= x <= high + room]


def frame(
    axes: Axes,
    *,
    x: tuple[float, float],
    y: tuple[float, float],
    log: str = "x",
    across: str = "iteration",
    up: str = "",
    words: tuple[Callable[[float], str], Callable[[float], str]] = (tick, tick),
    ticks: Sequence[float] | None = None,
    grid: bool = True,
) -> None:
    """Limits, ticks and names of the axes: the value's above its top, the other at its right end.

    Arguments:
        axes: to be drawn on.
        x: limits of the abscissa.
        y: limits of the ordinate.
        log: which of them are logarithmic: "x", "y", "xy" or "".
        across: name of the abscissa.
        up: name of the ordinate.
        words: how ticks of either are written.
        ticks: of the abscissa, where they are not to be found.
        grid: whether the ordinate has ticks, and lines at them.
    """
    wide, high = size_of(axes)
    axes.set_facecolor("none")
    for side in ("left", "top", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=AXIS, linewidth=THIN)
    axes.set_xscale("log" if "x" in log else "linear")
    axes.set_yscale("log" if "y" in log else "linear")
    axes.set(xlim=x, ylim=y)
    across_most, up_most = max(int(wide / _ACROSS), 2), max(min(int(high / _UP), 6), 2)
    find = decades if "x" in log else rounds
    places = find(*x, across_most) if ticks is None else list(ticks)
    put_ticks(axes.xaxis, places, words[0])
    find = decades if "y" in log else rounds
    put_ticks(axes.yaxis, find(*y, up_most) if grid else [], words[1])
    axes.tick_params(axis="x", length=4 * PX, width=THIN, color=AXIS, pad=3 * PX)
    axes.tick_params(axis="y", length=0, pad=6 * PX)
    axes.tick_params(axis="both", labelsize=TEXT, labelcolor=QUIET)
    if grid:
        axes.grid(visible=True, axis="y", color=GRID, linewidth=THIN)
        axes.set_axisbelow(True)
    if across:
        write(axes, (1, 0), across, offset=(0, -24), at="axes", ha="right", va="top")
    if up:
        left = max((measured(words[1](t), TEXT) for t in axes.get_yticks()), default=-7.0) + 7
        write(axes, (0, 1), up, offset=(-left, 13), at="axes", va="baseline")


def line(axes: Axes, x: ArrayLike, y: ArrayLike, **style: Any) -> Line2D:
    """A line, or marks, in axes that have their limits, which `Axes.plot` would look for.

    Arguments:
        axes: to be drawn on.
        x: shape (point,).
        y: shape (point,).
        style: of matplotlib's lines.
    """
    drawn = Line2D(x, y, **style)
    axes.add_artist(drawn)
    return drawn


def put_ticks(axis: Any, places: Iterable[float], words: Callable[[float], str]) -> None:
    """Have an axis show these ticks alone, written so."""
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: words(float(value))))


def write(
    axes: Axes,
    place: tuple[float, float],
    text: str,
    *,
    offset: tuple[float, float] = (0, 0),
    at: str = "data",
    **style: Any,
) -> Any:
    """A text near a place; names may come from files, and a dollar sign in one is no formula.

    Arguments:
        axes: to be drawn on.
        place: in data, or in fractions of the axes.
        text: on one line.
        offset: from the place, pixels to the right and upwards.
        at: "data", "axes", or "x" and "y" for data along one and fractions along the other.
        style: of matplotlib's texts.
    """
    systems: dict[str, Any] = {
        "data": "data",
        "axes": "axes fraction",
        "x": ("data", "axes fraction"),
        "y": ("axes fraction", "data"),
    }
    return axes.annotate(
        printable(text, 200),
        place,
        (offset[0] * PX, offset[1] * PX),
        xycoords=systems[at],
        textcoords="offset points",
        parse_math=False,
        annotation_clip=False,
        **{"fontsize": TEXT, "color": QUIET, "va": "center", **style},
    )


def limits(values: Iterable[Any], *, log: bool, room: float = 0.05) -> tuple[float, float]:
    """The range of finite values (above 0 on a logarithmic axis), with some room on both sides."""
    parts = [np.ravel(np.asarray(one, dtype=float)) for one in values]
    every = np.concatenate(parts) if parts else np.empty(0)
    every = every[np.isfinite(every) & ((every > 0) | (not log))]
    if not every.size:
        return (0.1, 10.0) if log else (0.0, 1.0)
    low, high = float(every.min()), float(every.max())
    if log:
        factor = (high / low) ** room if high > low else 2.0
        return low / factor, high * factor
    gap = room * (high - low) if high > low else abs(high) or 1.0
    return low - gap, high + gap
