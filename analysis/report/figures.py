"""Figures of the page as SVG: those of `ultraslow.analysis.plot`, and what the page alone shows.

A figure is drawn twice, for wide windows and for narrow ones; its colours are classes, to which
the page gives those of its theme.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from ultraslow.analysis.plot import Paint, evenly, look, svg
from ultraslow.analysis.text import fixed, number, of_batch_size, plural, printable

from .data import Dot, Local, Rivals, exponent_range


def figure(
    paint: Paint,
    *,
    name: str,
    title: str,
    description: str,
    wide: tuple[float, float],
    narrow: tuple[float, float] | None = None,
) -> Markup:
    """A figure of the page: drawn for wide windows and for narrow ones, not scaled.

    Colours are classes: `f-ROLE` fills, `s-ROLE` strokes, with the roles of `plot.COLOURS`.

    Arguments:
        paint: draws on a pair of axes, as the functions of `ultraslow.analysis.plot` do.
        name: of the figure among those of the page, as letters, digits and dashes.
        title: what it is.
        description: what it shows, with its numbers.
        wide: width and height, pixels.
        narrow: the same for windows below 1060 px; None where one drawing serves both.

    Returns:
        One SVG, or one of class `wide` and one of class `narrow`.
    """
    told: dict[str, Any] = {"title": title, "description": description}
    if narrow is None:
        return svg(paint, name=name, size=wide, **told)
    return svg(paint, name=f"{name}-wide", size=wide, kind="wide", **told) + svg(
        paint, name=f"{name}-narrow", size=narrow, kind="narrow", **told
    )


def palette(batch_sizes: Sequence[int]) -> dict[int, str]:
    """The colour of each batch size on a light page, by rank; its role gives that of a dark one.

    >>> palette([64, 1024])
    {64: '#35185f', 1024: '#2c5aa8'}
    """
    sizes = sorted(set(batch_sizes))
    return {size: look.hue(rank, len(sizes)) for rank, size in enumerate(sizes)}


_DASHED = look.DASHED
_HALF, _HALF_NARROW = (540.0, 330.0), (360.0, 290.0)


def _names(shown: Rivals) -> tuple[str, str]:
    return "late logarithm", "power of t" if shown.faster else "saturating law"


def rivals_panel(shown: Rivals, *, colour: str) -> Markup:
    """The curves that P1's sentence is about, with the best late logarithm and the best power.

    Arguments:
        shown: the curves.
        colour: of their batch size.

    Returns:
        SVG elements.
    """
    band = shown.measured

    def paint(axes: Axes) -> None:
        foot = min(0.0, float(band.low.min()))
        if band.low.min() > 0.4 * band.high.max():
            foot = float(band.low.min()) * 0.98
        top = 1.05 * float(band.high.max())
        x = float(band.iteration[0]), float(band.iteration[-1])
        look.frame(axes, x=x, y=(foot, top), up="distance, mean of the seeds")
        axes.fill_between(band.iteration, band.low, band.high, color=colour, alpha=0.17, lw=0)
        pale: dict[str, Any] = {"color": look.INK, "linewidth": look.FIT, "alpha": 0.22}
        look.line(axes, band.iteration, shown.power, **pale, solid_capstyle="butt")
        dashes: dict[str, Any] = {"color": look.INK, "linewidth": look.LINE}
        look.line(axes, band.iteration, shown.logarithm, **dashes, linestyle=_DASHED)
        dots: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0, "clip_on": False}
        kept = evenly(band.iteration, 40)
        dots |= {"color": colour, "marker": "o", "markersize": 4.6 * look.PX, "zorder": 4}
        look.line(axes, band.iteration[kept], band.middle[kept], **dots)
        _mark_decades(axes, shown)
        # Curves that bend upwards leave room at the upper left, others at the lower right.
        _key(axes, shown.laws, shown, upper=shown.ratio > 1)

    late, law = _names(shown)
    told = (
        f"{shown.name}, {plural(shown.seeds, 'seed')}: the best {law} is {shown.laws[1]}, the "
        f"best {late} {shown.laws[0]}; the last decade added {fixed(shown.ratio)} times as much "
        "as the one before."
    )
    title = "Distance with the best late logarithm and the best power of t"
    sizes: dict[str, Any] = {"wide": _HALF, "narrow": _HALF_NARROW}
    return figure(paint, name="rivals", title=title, description=told, **sizes)


def _key(axes: Axes, words: Sequence[str], shown: Rivals, *, upper: bool) -> None:
    """What is dashed and what is pale, in the corner that the curves leave free."""
    for k, (name, told) in enumerate(zip(_names(shown), words, strict=True)):
        up = -8.0 - 15 * k if upper else 24.0 - 15 * k
        place = (0.0, 1.0) if upper else (0.45, 0.0)
        sign: dict[str, Any] = {"color": look.INK, "transform": axes.transAxes}
        wide, high = look.size_of(axes)
        ends = np.array([place[0] + 6 / wide, place[0] + 30 / wide])
        at = [place[1] + up / high] * 2
        if k == 0:
            look.line(axes, ends, at, linestyle=_DASHED, linewidth=look.LINE, **sign)
        else:
            pale: dict[str, Any] = {"linewidth": look.FIT, "alpha": 0.22}
            look.line(axes, ends, at, solid_capstyle="butt", **pale, **sign)
        text = look.shortened(f"{name}: {told}", wide * (0.7 if upper else 0.45))
        look.write(axes, place, text, offset=(36, up), at="axes").set_gid("halo")


def _mark_decades(axes: Axes, shown: Rivals) -> None:
    """Steps along the curve: what the last decade added, and the one before."""
    (last, high), (middle, half), (first, low) = shown.decades
    line: dict[str, Any] = {"color": look.QUIET, "linewidth": look.THIN, "zorder": 2}
    for start, end, below, above, label in (
        (first, middle, low, half, "× 1"),
        (middle, last, half, high, f"× {fixed(shown.ratio)}"),
    ):
        look.line(axes, [start, end, end], [below, below, above], **line)
        look.write(axes, (end, (below + above) / 2), label, offset=(5, 0)).set_gid("halo")


def residual_panel(shown: Rivals) -> Markup:
    """What the best late logarithm and the best power leave of each seed, in % of its growth.

    Arguments:
        shown: the curves.

    Returns:
        SVG elements.
    """
    room = 1.45 * max(float(np.abs([band.low, band.high]).max()) for band in shown.left)

    def paint(axes: Axes) -> None:
        times = shown.left[0].iteration
        x = float(times[0]), float(times[-1])
        up = "curves less their best fits, % of the growth"
        look.frame(axes, x=x, y=(-room, room), up=up)
        axes.axhline(0.0, color=look.AXIS, linewidth=look.THIN)
        for band, style, alpha in zip(shown.left, (_DASHED, "-"), (0.10, 0.22), strict=True):
            shade: dict[str, Any] = {"color": look.INK, "alpha": alpha, "linewidth": 0}
            axes.fill_between(band.iteration, band.low, band.high, **shade)
            ink: dict[str, Any] = {"color": look.INK, "linewidth": look.LINE}
            look.line(axes, band.iteration, band.middle, linestyle=style, **ink)
        _key(axes, [f"off by {number(miss, 2)} %" for miss in shown.misses], shown, upper=True)

    told = "; ".join(
        f"the best {name} is off by {number(miss, 2)} %"
        for name, miss in zip(_names(shown), shown.misses, strict=True)
    )
    sizes: dict[str, Any] = {"wide": _HALF, "narrow": _HALF_NARROW}
    title = "What the best late logarithm and the best power of t leave"
    return figure(paint, name="residuals", title=title, description=told, **sizes)


def exponent_dots(
    dots: Sequence[Dot],
    rows: Sequence[str],
    *,
    margin: float,
    colours: Mapping[int, str],
    name: str,
    clock: str = "t",
) -> Markup:
    """Exponents by tensor, the estimate of each batch size on one row with its interval.

    Arguments:
        dots: estimates; several may share a row.
        rows: labels by row; empty ones repeat the one above.
        margin: largest |p| that counts as log growth.
        colours: from `palette`.
        name: keeps this figure apart from others.
        clock: what the laws are powers of.

    Returns:
        SVG elements.
    """
    named = [row for row in rows if row]
    place = np.cumsum([bool(row) for row in rows]) - 1  # rows without a name share the one above
    sizes = sorted(colours)  # all of the study: ranks are those of other figures
    high = 84.0 + 19 * len(named)

    def paint(axes: Axes) -> None:
        low, top = exponent_range(dots)
        count = max(len(named), 1)
        across = "exponent p" if clock == "t" else f"exponent p on {clock}"
        look.frame(axes, x=(low, top), y=(count, 0), log="", across=across, grid=False)
        axes.hlines(range(1, count), low, top, color=look.GRID, linewidth=look.THIN, zorder=0)
        axes.axvspan(-margin, margin, color=look.ZONE, linewidth=0, zorder=0)
        for at, law in ((0.0, f"log {clock}"), (0.5, f"√{clock}"), (1.0, clock)):
            if low <= at <= top:
                line: dict[str, Any] = {"color": look.AXIS, "linewidth": look.THIN}
                axes.axvline(at, linestyle=look.DOTTED, **line, zorder=0)
                bold: dict[str, Any] = {"weight": "bold", "color": look.INK, "ha": "center"}
                look.write(axes, (at, 1), law, offset=(0, 10), at="x", **bold)
        room = 130.0 if look.is_narrow(axes) else 260.0
        for k, text in enumerate(named):
            short = look.shortened(printable(text, 60), room)
            look.write(axes, (0, k + 0.5), short, offset=(-10, 0), at="y", ha="right")
        for dot in dots:
            _paint_tensor(axes, dot, float(place[dot.row]) + 0.5, sizes)

    told = f"{plural(len(named), 'row')}, batch sizes {', '.join(map(number, sizes))}."
    both: dict[str, Any] = {"wide": (720.0, high), "narrow": (360.0, high)}
    return figure(paint, name=name, title="Growth exponents", description=told, **both)


def _paint_tensor(axes: Axes, dot: Dot, y: float, sizes: Sequence[int]) -> None:
    low, high = axes.get_xlim()
    rank = sizes.index(dot.batch_size)
    colour = look.hue(rank, len(sizes))
    if not np.isfinite(dot.found.value):
        return
    if np.isfinite(dot.ends).any():
        ends = np.clip(dot.ends, low, high)
        look.line(axes, ends, [y, y], color=colour, linewidth=look.LINE, alpha=0.25)
    if low <= dot.found.value <= high:
        look.line(axes, [dot.found.value], [y], **look.marked(rank, 3.4, colour), zorder=3)


def local_panel(shown: Local, *, colour: str, span: tuple[float, float]) -> Markup:
    """The local exponent along the curves of an arm, and that of the laws fitted to them.

    Arguments:
        shown: the exponents.
        colour: of the batch size.
        span: limits of the ordinate, shared by all batch sizes.

    Returns:
        An SVG element.
    """
    band = shown.found
    arm = f", {shown.arm}" if shown.arm else ""
    name = printable(f"{of_batch_size(shown.batch_size)}{arm}", 40)

    def paint(axes: Axes) -> None:
        x = float(band.iteration[0]), float(band.iteration[-1])
        look.frame(axes, x=x, y=span, up=name, grid=False)
        for place, law in ((0.0, "log t"), (0.5, "√t"), (1.0, "t")):
            if span[0] <= place <= span[1]:
                dots: dict[str, Any] = {"color": look.AXIS, "linewidth": look.THIN}
                axes.axhline(place, linestyle=look.DOTTED, **dots)
                look.write(axes, (0, place), law, offset=(-6, 0), at="y", ha="right")
        low, high = np.clip(band.low, *span), np.clip(band.high, *span)
        shade: dict[str, Any] = {"color": colour, "alpha": look.BAND, "linewidth": 0}
        axes.fill_between(band.iteration, low, high, **shade)
        look.line(axes, band.iteration, band.middle, color=colour, linewidth=look.LINE)
        dashes: dict[str, Any] = {"color": look.INK, "linewidth": look.THIN}
        look.line(axes, band.iteration, shown.law, linestyle=_DASHED, **dashes)

    known = band.middle[np.isfinite(band.middle)]
    told = f"From {fixed(known[0])} to {fixed(known[-1])}." if known.size else "Not known."
    title = f"Local exponent at {name}"
    at = f"local-{shown.batch_size}"
    return figure(paint, name=at, title=title, description=told, wide=(268, 216))
