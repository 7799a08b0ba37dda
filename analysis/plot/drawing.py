"""Figures as SVG whose colours are classes, so that one drawing serves a light and a dark page.

A figure is drawn in the colours of `look.LIGHT` and written without `style` attributes: a fill in
the colour of a role becomes the class `f-ROLE`, a stroke `s-ROLE`. Paths are thinned to what a
pixel shows and rounded to a tenth of one; round dots are lines of length 0 with round ends.
"""

import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase, RendererBase
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox, IdentityTransform
from numpy.typing import NDArray

from ultraslow.analysis.text import printable

from .look import GLYPH, LIGHT, PX, measured
from .pixels import columns, straightened

Array = NDArray[np.float64]
Paint = Callable[[Axes], object]
Box = tuple[float, float, float, float]

_DPI = 96  # a pixel of a page
_ROLES = {colour: role for role, colour in reversed(LIGHT.items())}
_ANCHORS = {"center": (' text-anchor="middle"', 0.5), "right": (' text-anchor="end"', 1.0)}
_LONGEST = 200  # letters of a text
_LARGEST = (
    40  # pixels of a mark; what is larger is one of the areas that matplotlib draws as marks
)
_MARK = 5.0  # pixels from the middle of a mark beside the axes to its edge
_EDGE = 2.0  # pixels that are left free around a drawing
MARGINS = (30.0, 12.0, 26.0, 40.0)  # left, right, top, bottom: where the axes begin


def drawn(
    paint: Paint, size: tuple[float, float], *, margins: tuple[float, ...] = MARGINS
) -> Markup:
    """What is inside the SVG of one pair of axes, as wide as what is written around it allows.

    Arguments:
        paint: draws on the axes; it is called again when they have found their place.
        size: width and height, pixels.
        margins: left, right, top and bottom, pixels, before texts have made room for themselves.

    Returns:
        Elements, to be set into an `svg` with this size as its view box.
    """
    wide, high = size
    figure = Figure(figsize=(wide / _DPI, high / _DPI), dpi=_DPI)
    left, right, top, bottom = margins
    axes = figure.add_axes(_box(size, margins))
    for _ in range(3):
        _wipe(axes)
        paint(axes)
        over = _overhang(axes, size)
        wanted = [m + o for m, o in zip((left, right, top, bottom), over, strict=True)]
        moved = max(abs(a - b) for a, b in zip(wanted, (left, right, top, bottom), strict=True))
        if moved < 1.0 or wanted[0] + wanted[1] > 0.8 * wide:
            break
        left, right, top, bottom = wanted
        axes.set_position(_box(size, (left, right, top, bottom)))
    renderer = Renderer(wide, high)
    FigureCanvasBase(figure)
    figure.patch.set_visible(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=GLYPH)  # the reader's browser has it
        figure.draw(renderer)
    return Markup("".join(renderer.parts))


def _wipe(axes: Axes) -> None:
    """Take away what was painted; scales and ticks, which cost most to make, are set anew."""
    painted = (axes.lines, axes.collections, axes.patches, axes.texts, axes.child_axes)
    for one in [each for kind in painted for each in kind]:
        one.remove()


def _box(size: tuple[float, float], margins: tuple[float, ...]) -> Box:
    """Left, bottom, width and height of the axes, as shares of the figure."""
    (wide, high), (left, right, top, bottom) = size, margins
    inner = max(wide - left - right, 10.0), max(high - top - bottom, 10.0)
    return left / wide, bottom / high, inner[0] / wide, inner[1] / high


def _overhang(axes: Axes, size: tuple[float, float]) -> tuple[float, float, float, float]:
    """How far texts go beyond the drawing at each side; negative where there is room to spare."""
    boxes = [_extent(text) for text in _texts(axes) if text.get_text() and text.get_visible()]
    for one in (axes, *axes.child_axes):
        outer = one.get_window_extent()
        boxes.append((outer.x0, outer.y0, outer.x1 + _MARK, outer.y1 + _MARK))
    for line in axes.lines:  # marks beside the axes
        if not line.get_clip_on() and line.get_transform() != axes.transData:
            at = line.get_transform().transform(line.get_xydata())
            boxes.append((*(at.min(axis=0) - _MARK), *(at.max(axis=0) + _MARK)))
    x0, y0, x1, y1 = np.array(boxes).T
    wide, high = size
    return (
        float(_EDGE - x0.min()),
        float(x1.max() - (wide - _EDGE)),
        float(y1.max() - (high - _EDGE)),
        float(_EDGE - y0.min()),
    )


def _texts(axes: Axes) -> Iterator[Text]:
    for one in (axes, *axes.child_axes):
        yield from one.texts
        for axis in (one.xaxis, one.yaxis):
            yield from axis.get_ticklabels()


def _extent(text: Text) -> tuple[float, float, float, float]:
    """Left, foot, right and top of a text, pixels."""
    size, bold = float(text.get_fontsize()), text.get_fontweight() == "bold"
    wide, high = measured(text.get_text(), size, bold=bold), size / PX
    try:
        x, y = text.get_transform().transform(text.get_unitless_position())
        if hasattr(text, "update_positions"):
            text.update_positions(None)
            x, y = text.get_transform().transform(text.get_unitless_position())
    except (TypeError, ValueError):
        return (np.inf, np.inf, -np.inf, -np.inf)
    share = _ANCHORS.get(text.get_horizontalalignment(), ("", 0.0))[1]
    share_above = {"top": 0.0, "center": 0.5, "center_baseline": 0.5}
    above = share_above.get(text.get_verticalalignment(), 0.8)
    return x - share * wide, y - (1 - above) * high, x + (1 - share) * wide, y + above * high


def svg(
    paint: Paint,
    *,
    name: str,
    title: str,
    description: str,
    size: tuple[float, float],
    kind: str = "",
    margins: tuple[float, ...] = MARGINS,
) -> Markup:
    """One figure as an SVG element.

    Arguments:
        paint: draws on a pair of axes.
        name: tells the figure from others on the page, as letters and dashes.
        title: what it is.
        description: what it shows, with its numbers.
        size: width and height, pixels.
        kind: its class; may be empty.
        margins: see `drawn`.

    Returns:
        The element.
    """
    wide, high = (f"{one:g}" for one in size)
    classed = Markup(' class="{}"').format(kind) if kind else Markup()
    return Markup(
        '<svg{} viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-labelledby="{}-t {}-d">'
        '<title id="{}-t">{}</title><desc id="{}-d">{}</desc>{}</svg>'
    ).format(
        classed,
        *(wide, high) * 2,
        *(name, name, name, printable(title, _LONGEST)),
        *(name, printable(description, 4000)),
        drawn(paint, size, margins=margins),
    )


def _short(value: float) -> str:
    """A number to a tenth, as short as it can be."""
    text = f"{value:.1f}"
    return "0" if text in ("0.0", "-0.0") else text.removesuffix(".0")


def _pair(point: Array) -> str:
    return f"{_short(point[0])} {_short(point[1])}"


class Renderer(RendererBase):
    """Writes what matplotlib draws as elements of an SVG.

    Attributes:
        parts: the elements, in the order in which they are drawn.
    """

    def __init__(self, wide: float, high: float) -> None:
        """An empty drawing of this width and height, pixels."""
        super().__init__()
        self.wide, self.high = wide, high
        self.parts: list[str] = []

    def get_canvas_width_height(self) -> tuple[float, float]:
        """Width and height, pixels."""
        return self.wide, self.high

    def points_to_pixels(self, points: Any) -> Any:
        """Points in pixels of a page."""
        return points / PX

    def get_text_width_height_descent(
        self, s: str, prop: Any, ismath: Any
    ) -> tuple[float, float, float]:
        """Width, height and descent of a text, pixels: a page has many of the same."""
        if ismath:
            return super().get_text_width_height_descent(s, prop, ismath)
        return _measures(s, prop.copy())

    def flipy(self) -> bool:
        """Texts are placed from the top, as in the file."""
        return True

    def draw_path(self, gc: Any, path: Any, transform: Any, rgbFace: Any = None) -> None:
        """A line or a filled outline."""
        painted = _painted(gc, rgbFace)
        if not painted:
            return
        lines = self._lines(gc, path, transform, filled=rgbFace is not None)
        if lines:
            self.parts.append(f'<path{painted} d="{lines}"/>')

    def draw_markers(
        self,
        gc: Any,
        marker_path: Any,
        marker_trans: Any,
        path: Any,
        trans: Any,
        rgbFace: Any = None,
    ) -> None:
        """One mark at each place, all in one element."""
        outline: Any = marker_trans.transform_path(marker_path)
        if np.ptp(outline.vertices, axis=0).max(initial=0) > _LARGEST:
            for place in trans.transform(path.vertices):
                moved = Path(outline.vertices + place, outline.codes)
                self.draw_path(gc, moved, IdentityTransform(), rgbFace)
            return
        at = trans.transform(path.vertices)
        at = at[np.isfinite(at).all(axis=1)]
        clip = gc.get_clip_rectangle()
        if clip is not None:
            at = at[_inside(at, clip)]
        if not at.size:
            return
        at = np.unique(np.round(np.column_stack([at[:, 0], self.high - at[:, 1]]), 1), axis=0)
        if outline.codes is not None and (outline.codes >= Path.CURVE3).sum() > len(outline) / 2:
            self._dots(gc, at, float(outline.vertices[:, 0].max()), rgbFace)
            return
        ends = outline.vertices[[0, -1]]
        closed = bool(np.allclose(ends[0], ends[1])) or outline.codes is not None
        corners = outline.vertices[: -1 if closed else None] * [1, -1]
        closed |= rgbFace is not None and len(corners) > 2  # as carets, which are filled
        steps = " ".join(_pair(step) for step in np.diff(np.round(corners, 1), axis=0))
        start = np.round(corners[0], 1)
        end = "z" if closed else ""
        body = "".join(f"M{_pair(place + start)}l{steps}{end}" for place in at)
        painted = _painted(gc, rgbFace if closed else None)
        self.parts.append(f'<path{painted} d="{body}"/>')

    def _dots(self, gc: Any, at: Array, radius: float, face: Any) -> None:
        """Round marks: lines of length 0 with round ends, and smaller ones where they are open."""
        body = "".join(f"M{_pair(place)}h0" for place in at)
        edge = self.points_to_pixels(gc.get_linewidth())
        rings = [(face, 2 * radius - edge)]
        if edge > 0 and gc.get_rgb()[3] > 0:
            rings.insert(0, (gc.get_rgb(), 2 * radius + edge))
        for colour, across in rings:
            if colour is not None and (len(colour) < 4 or colour[3] > 0):
                look = f"{_role('s', colour)}{_opacity('stroke', colour, gc)}"
                self.parts.append(
                    f'<path{look} fill="none" stroke-width="{_short(across)}" '
                    f'stroke-linecap="round" d="{body}"/>'
                )

    def draw_text(
        self,
        gc: Any,
        x: float,
        y: float,
        s: str,
        prop: Any,
        angle: float,
        ismath: Any = False,
        mtext: Text | None = None,
    ) -> None:
        """A line of text, anchored where it was asked to be: the reader's font is another."""
        points, bold = prop.get_size_in_points(), prop.get_weight() == "bold"
        side = mtext.get_horizontalalignment() if mtext else "left"
        anchor, share = _ANCHORS.get(side, ("", 0.0))
        x += share * self.get_text_width_height_descent(s, prop, ismath)[0]
        weight = ' font-weight="bold"' if bold else ""
        halo = ""
        if mtext is not None and mtext.get_gid() == "halo":
            halo = ' stroke-width="3" stroke-linejoin="round" paint-order="stroke"'
        colour = _role("f", gc.get_rgb(), "s-paper" if halo else "")
        text = escape(printable(s, _LONGEST).replace(" ", " "))
        self.parts.append(
            f'<text{colour} x="{_short(x)}" y="{_short(y)}" font-size="{_short(points / PX)}"'
            f"{weight}{anchor}{halo}>{text}</text>"
        )

    def _lines(self, gc: Any, path: Any, transform: Any, *, filled: bool) -> str:
        """The data of a path: each of its parts clipped, thinned and rounded."""
        clip = gc.get_clip_rectangle()
        outline: Any = transform.transform_path(path)
        if filled and clip is not None:
            outline = outline.clip_to_bbox(clip)
        body = []
        # matplotlib clips a pixel beyond the box that it is given.
        box = None if clip is None or filled else (*(clip.min + 1), *(clip.max - 1))
        for points, closed in _parts(outline, box):
            kept = points if filled else columns(points)
            kept = straightened(kept) if len(kept) > 2 else kept
            kept = np.column_stack([kept[:, 0], self.high - kept[:, 1]])
            drawn_at = [_pair(point) for point in kept]
            lean = [one for k, one in enumerate(drawn_at) if k == 0 or one != drawn_at[k - 1]]
            closed = closed or filled
            if closed and len(lean) > 2 and lean[0] == lean[-1]:
                lean.pop()
            if len(lean) > 1:
                body.append(f"M{' '.join(lean)}{'z' if closed else ''}")
        return "".join(body)


@lru_cache(maxsize=4096)
def _measures(text: str, font: FontProperties) -> tuple[float, float, float]:
    """Width, height and descent of a text, pixels."""
    return RendererBase.get_text_width_height_descent(Renderer(0.0, 0.0), text, font, False)


def _parts(path: Any, box: tuple[float, ...] | None) -> Iterator[tuple[Array, bool]]:
    """The unbroken parts of a path, and whether they are closed; curves as short lines."""
    plain: Any = path
    if path.codes is not None and (path.codes > Path.LINETO).any():
        straight = path.to_polygons(closed_only=False)
        ends = (path.codes == Path.CLOSEPOLY).any()
        yield from ((np.asarray(one), bool(ends)) for one in straight if len(one) > 1)
        return
    if box is not None or not np.isfinite(path.vertices).all():
        cleaned = path.cleaned(remove_nans=True, clip=box, simplify=False)
        kept = cleaned.codes != Path.STOP
        plain = Path(cleaned.vertices[kept], cleaned.codes[kept])
    if plain.codes is None:
        yield plain.vertices, False
        return
    starts = np.flatnonzero(plain.codes == Path.MOVETO)
    if not starts.size:
        return
    for first, last in zip(starts, [*starts[1:], len(plain.codes)], strict=True):
        if last - first > 1:
            yield plain.vertices[first:last], False


def _inside(places: Array, clip: Bbox) -> NDArray[np.bool_]:
    """Which places lie in a box, or on its edge."""
    low, high = np.asarray(clip.min) - 0.5, np.asarray(clip.max) + 0.5
    return np.asarray(((places >= low) & (places <= high)).all(axis=1))


def _painted(gc: Any, face: Any) -> str:
    """Class and attributes of a path; empty where it would not be seen."""
    wide = gc.get_linewidth() / PX
    stroke = gc.get_rgb() if wide > 0 and (len(gc.get_rgb()) < 4 or gc.get_rgb()[3] > 0) else None
    if face is not None and len(face) > 3 and face[3] == 0:
        face = None
    if stroke is None and face is None:
        return ""
    if stroke is None:
        return f"{_role('f', face)}{_opacity('fill', face, gc)}"
    look = f' stroke-width="{_short(wide)}"{_opacity("stroke", stroke, gc)}{_dashes(gc)}'
    if gc.get_capstyle() == "round":
        look += ' stroke-linecap="round"'
    if face is None:
        return f'{_role("s", stroke)} fill="none"{look}'
    also = _role("s", stroke).removeprefix(' class="').removesuffix('"')
    return f"{_role('f', face, also)}{_opacity('fill', face, gc)}{look}"


def _dashes(gc: Any) -> str:
    listed = gc.get_dashes()[1]
    if listed is None or not len(listed):
        return ""
    return f' stroke-dasharray="{" ".join(_short(float(one) / PX) for one in listed)}"'


def _opacity(what: str, colour: Any, gc: Any) -> str:
    own = colour[3] if len(colour) > 3 else 1.0
    share = gc.get_alpha() if gc.get_forced_alpha() else own
    return "" if share >= 1 else f' {what}-opacity="{share:.2g}"'


def _role(kind: str, colour: Any, also: str = "") -> str:
    """The class of a colour; one of no role is written as ink."""
    role = _ROLES.get(to_hex(colour), "ink")
    return f' class="{" ".join(filter(None, (f"{kind}-{role}", also)))}"'
