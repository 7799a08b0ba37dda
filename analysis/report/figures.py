"""Figures of the report as SVG text.

Every function takes plain values and returns one small figure, so that a page can lay them out in
columns that reflow. One colour stands for one batch size throughout, dark to bright with the batch
size, from a map that keeps its order for colour-blind readers and in grey.

How the report's figures look: colours, sizes and settings, as plain values.
"""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from ultraslow.analysis.plot import Paint, evenly, look, svg
from ultraslow.analysis.text import fixed, number, of_batch_size, plural, printable

from .data import Band, Curve, Dot, Local, Rivals, exponent_range, spread_out
from .distances import Panel
from .markup import inline_svg


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


def _draw(size: tuple[float, float], name: str, paint: Callable[[Axes], None]) -> Markup:
    """An SVG of one pair of axes; `name` keeps the identifiers of figures on one page apart."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # Glyphs that this machine's font lacks are drawn by the reader's browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        paint(axes)
        # Nothing was drawn, as of runs without a distance.
        if axes.get_xscale() == "log" and not axes.dataLim.x1 > 0:
            axes.set_xlim(1, 10)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=METADATA)
    return inline_svg(text.getvalue())


# Plain digits: set formulas would be placed by this machine's font and shown in the reader's.
_POWERS = FuncFormatter(lambda value, _: number(value))


def _log_time(axes: Axes, label: str = "iteration") -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, numticks=8))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(_POWERS)
    axes.set_xlabel(label)


def _grid(axes: Axes) -> None:
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


def distance_panel(shown: Panel, *, top: float, colour: str, clock: str = "iteration") -> Markup:
    """Distance of one batch size against the logarithm of a clock, with fitted laws.

    Arguments:
        shown: its runs, others that stand in grey behind them, and the laws.
        top: upper limit of the ordinate, shared by all batch sizes.
        colour: of this batch size.
        clock: what the abscissa is.

    Returns:
        An SVG element.
    """

    def paint(axes: Axes) -> None:
        for curve in shown.behind:
            axes.plot(curve.iteration, curve.value, color=FAINT, linewidth=0.6, zorder=1)
        for curve in shown.curves:
            style: dict[str, Any] = {"color": colour, "markersize": 2.2, "alpha": 0.75}
            axes.plot(curve.iteration, curve.value, "o", markeredgewidth=0, zorder=3, **style)
        for fit in shown.laws:
            axes.fill_between(fit.iteration, fit.low, fit.high, color=INK, alpha=0.12, linewidth=0)
            axes.plot(fit.iteration, fit.middle, color=INK, linewidth=0.9, zorder=4)
        part = f", {shown.part}" if shown.part else ""
        axes.set_title(printable(f"{of_batch_size(shown.batch_size)}{part}", 44))
        axes.set_ylim(0, top)
        _log_time(axes, clock)
        _grid(axes)

    on = "" if clock == "iteration" else "rate-"
    of = f"-{shown.part}" if shown.part else ""
    return _draw(SMALL, f"distance-{on}{shown.batch_size}{of}", paint)


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
        axes.plot(band.iteration, shown.power, **pale, solid_capstyle="butt")
        dashes: dict[str, Any] = {"color": look.INK, "linewidth": look.LINE}
        axes.plot(band.iteration, shown.logarithm, **dashes, linestyle=_DASHED)
        dots: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0, "clip_on": False}
        kept = evenly(band.iteration, 40)
        dots |= {"color": colour, "marker": "o", "markersize": 4.6 * look.PX, "zorder": 4}
        axes.plot(band.iteration[kept], band.middle[kept], **dots)
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
            axes.plot(ends, at, linestyle=_DASHED, linewidth=look.LINE, **sign)
        else:
            pale: dict[str, Any] = {"linewidth": look.FIT, "alpha": 0.22}
            axes.plot(ends, at, solid_capstyle="butt", **pale, **sign)
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
        axes.plot([start, end, end], [below, below, above], **line)
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
            axes.plot(band.iteration, band.middle, linestyle=style, **ink)
        _key(axes, [f"off by {number(miss, 2)} %" for miss in shown.misses], shown, upper=True)

    told = "; ".join(
        f"the best {name} is off by {number(miss, 2)} %"
        for name, miss in zip(_names(shown), shown.misses, strict=True)
    )
    sizes: dict[str, Any] = {"wide": _HALF, "narrow": _HALF_NARROW}
    title = "What the best late logarithm and the best power of t leave"
    return figure(paint, name="residuals", title=title, description=told, **sizes)


def all_runs(
    curves: Sequence[Curve], *, colours: Mapping[int, str], title: str, log: bool
) -> Markup:
    """All runs in one figure, each batch size named at the right end of its curves.

    Arguments:
        curves: all runs.
        colours: from `palette`.
        title: what the ordinate is.
        log: whether the ordinate is logarithmic.

    Returns:
        An SVG element.
    """

    def paint(axes: Axes) -> None:
        for curve in curves:
            axes.plot(curve.iteration, curve.value, color=colours[curve.batch_size], alpha=0.8)
        axes.set_title(title)
        if log:
            _log_values(axes)
        _log_time(axes)
        _grid(axes)
        _name_ends(axes, curves, colours)

    return _draw(WIDE, f"together-{title}", paint)


def _log_values(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(_POWERS)
    axes.yaxis.set_minor_formatter(NullFormatter())


def _name_ends(axes: Axes, curves: Sequence[Curve], colours: Mapping[int, str]) -> None:
    """Batch sizes beside the ends of their curves, moved apart where they would overlap."""
    to_axes = axes.transData + axes.transAxes.inverted()
    ends: dict[int, list[float]] = {}
    for curve in curves:
        if curve.value.size and np.isfinite(curve.value[-1]):
            point = to_axes.transform((curve.iteration[-1], curve.value[-1]))
            ends.setdefault(curve.batch_size, []).append(float(point[1]))
    sizes = sorted(ends, key=lambda size: np.mean(ends[size]))
    places = spread_out([float(np.mean(ends[size])) for size in sizes], gap=0.065)
    for size, place in zip(sizes, places, strict=True):
        name = number(size) if size else "unknown"
        axes.text(1.02, place, name, color=colours[size], transform=axes.transAxes, va="center")


def ratio_curves(
    curves: Sequence[Curve],
    *,
    margin: float,
    span: tuple[float, float],
    colours: Mapping[int, str],
) -> Markup:
    """Distances over those of the smallest batch size, with the margin that counts as equal.

    Arguments:
        curves: ratios of each run to the mean of the smallest batch size.
        margin: relative difference that counts as none.
        span: iterations over which the prediction is judged.
        colours: from `palette`.

    Returns:
        An SVG element.
    """

    def paint(axes: Axes) -> None:
        axes.axhspan(1 / (1 + margin), 1 + margin, color=INK, alpha=0.06, linewidth=0)
        axes.axvline(span[0], color=QUIET, linewidth=0.6, linestyle=(0, (4, 3)))
        for curve in curves:
            axes.plot(curve.iteration, curve.value, color=colours[curve.batch_size], alpha=0.8)
        axes.set_title("distance ÷ that of the smallest batch size")
        _log_time(axes)
        _grid(axes)
        _name_ends(axes, curves, colours)

    return _draw(WIDE, "ratios", paint)


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
        axes.plot(ends, [y, y], color=colour, linewidth=look.LINE, alpha=0.25)
    if low <= dot.found.value <= high:
        axes.plot([dot.found.value], [y], **look.marked(rank, 3.4, colour), zorder=3)


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
        axes.plot(band.iteration, band.middle, color=colour, linewidth=look.LINE)
        dashes: dict[str, Any] = {"color": look.INK, "linewidth": look.THIN}
        axes.plot(band.iteration, shown.law, linestyle=_DASHED, **dashes)

    known = band.middle[np.isfinite(band.middle)]
    told = f"From {fixed(known[0])} to {fixed(known[-1])}." if known.size else "Not known."
    title = f"Local exponent at {name}"
    at = f"local-{shown.batch_size}"
    return figure(paint, name=at, title=title, description=told, wide=(268, 216))


def gain_dots(dots: Sequence[Dot], rows: Sequence[str], *, label: str, name: str) -> Markup:
    """Gains with intervals, a row each, against no gain; `label` names the abscissa."""

    def paint(axes: Axes) -> None:
        found = [dot.found for dot in dots]
        ends = [x for one in found for x in (0.0, one.value, one.low, one.high) if np.isfinite(x)]
        room = 0.08 * (max(ends, default=0.0) - min(ends, default=0.0)) or 1.0
        axes.axvline(0.0, color=FAINT, linewidth=0.7, zorder=1)
        _paint_dots(axes, dots, (min(ends) - room, max(ends) + room), {0: INK})
        _name_rows(axes, rows)
        axes.set_xlabel(label)

    return _draw((WIDE[0], 0.75 + 0.25 * len(rows)), name, paint)


def _name_rows(axes: Axes, rows: Sequence[str]) -> None:
    """Labels of the rows of dots, the first at the top."""
    labelled = [k for k, row in enumerate(rows) if row]
    axes.set_yticks(labelled, [printable(rows[k], 34) for k in labelled])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(rows) - 0.3, -0.7)


def _paint_dots(
    axes: Axes, dots: Sequence[Dot], span: tuple[float, float], colours: Mapping[int, str]
) -> None:
    axes.set_xlim(*span)
    for dot in dots:
        colour = colours[dot.batch_size]
        if np.isfinite(dot.windows).all():
            reach = np.clip(dot.windows, *span)
            axes.plot(reach, [dot.row, dot.row], color=colour, linewidth=4.5, alpha=0.18)
        if np.isfinite(dot.found.value):
            ends = np.clip(dot.ends, *span)
            axes.plot(ends, [dot.row, dot.row], color=colour, linewidth=2.2 if dot.strong else 1.0)
            marker, size = ("D", 4.5) if dot.strong else ("o", 3.2)
            axes.plot(
                dot.found.value, dot.row, marker, color=colour, markersize=size, markeredgewidth=0
            )
            _mark_open_ends(axes, dot, span, colour)


def _mark_open_ends(axes: Axes, dot: Dot, span: tuple[float, float], colour: str) -> None:
    """Arrow heads where an interval goes on beyond the figure."""
    for beyond, place, marker in (
        (dot.ends[0] < span[0], span[0], "<"),
        (dot.ends[1] > span[1], span[1], ">"),
    ):
        if beyond:
            style: dict[str, Any] = {"markersize": 4, "markeredgewidth": 0, "clip_on": False}
            axes.plot(place, dot.row, marker, color=colour, **style)


def noise_panel(
    scale: Band, *, batch_size: int, limits: tuple[float, float], colour: str
) -> Markup:
    """Noise scale of one batch size's runs over time, against the batch size itself.

    Arguments:
        scale: B_simple with its interval; an infinite upper end means a lower bound only.
        batch_size: M, drawn as a reference.
        limits: of the ordinate, shared by all batch sizes.
        colour: of this batch size.

    Returns:
        An SVG element.
    """

    def paint(axes: Axes) -> None:
        _log_values(axes)
        _log_time(axes)
        axes.set_ylim(*limits)
        known = np.isfinite(scale.low) & (scale.high > 0)
        low = np.clip(scale.low[known], limits[0], limits[1])
        high = np.clip(scale.high[known], limits[0], limits[1])
        axes.fill_between(scale.iteration[known], low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(scale.iteration, scale.middle, "o-", color=colour, markersize=2.6)
        axes.axhline(batch_size, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        note = f"M = {number(batch_size)}"
        axes.annotate(note, (1.0, batch_size), (0, 3), ha="right", **RIGHT)
        axes.set_title(of_batch_size(batch_size))
        _grid(axes)

    return _draw(SMALL, f"noise-{batch_size}", paint)


INK, QUIET, FAINT, RULE = "#1f2328", "#6b7280", "#c9ced6", "#e5e8ec"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.unicode_minus": True,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.1,
    "lines.solid_capstyle": "round",
    # Text stays text: it can be selected, scales with the page and makes files small.
    "svg.fonttype": "none",
    # Names come from files; a dollar sign in one is no formula.
    "text.parse_math": False,
}
SMALL, WIDE, TALL = (3.5, 2.5), (4.7, 3.1), 6.0
# Nothing of the file's metadata, least of all its date: equal numbers give equal figures.
METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
ABOVE: dict[str, Any] = {
    "xycoords": ("data", "axes fraction"),
    "textcoords": "offset points",
    "fontsize": 7.5,
}
RIGHT: dict[str, Any] = {
    "xycoords": ("axes fraction", "data"),
    "textcoords": "offset points",
    "fontsize": 7.5,
}
