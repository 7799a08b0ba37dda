"""Verdicts drawn: an interval beside the zone where its claim would hold, and all of them."""

import math
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED
from ultraslow.analysis.text import printable

from . import look

_WORDS = {SUPPORTED: "supported", CONTRADICTED: "contradicted"}
_LEAST = 5.0  # pixels of a bar
_SPANS = 1.5  # powers of ten that a ruler shows beyond what is nearest to the zone
_LINEAR = ("exponent", "share", "held-out", "d ln R", "power")
# A mark of its own for each word: colour is not the only key.
_MARKS: dict[str, Any] = {"supported": "o", "contradicted": "D", "undecidable": "_"}


def role_of(word: str) -> str:
    """The role of a verdict's colour."""
    return _WORDS.get(word, "undecidable")


def _field(row: Any, name: str) -> Any:
    """A field of a verdict: a row of `us.test` or a `Verdict`."""
    return row[name].item() if isinstance(row, xr.Dataset) else getattr(row, name)


def null_of(row: Any) -> tuple[float, float]:
    """The values at which a prediction holds; NaN where it is about more than one number."""
    if isinstance(row, xr.Dataset):
        names = ("null_low", "null_high")
        low, high = (float(row[n].item()) if n in row else math.nan for n in names)
        return low, high
    low, high = row.null
    return float(low), float(high)


def ruler(row: Any, ax: Axes | None = None) -> Axes:
    """The interval of a verdict's effect on its scale, beside the zone where the claim would hold.

    Zone: where the claim would hold; bar: the interval; tick: the estimate. Ratios are drawn on a
    logarithmic scale; arrowheads mark ends beyond the ruler.

    Arguments:
        row: one verdict of `us.test`, as `us.test(runs).sel(prediction="P2").isel(set=0)`.
        ax: to be drawn on; by default a new figure.

    Returns:
        The axes.

    >>> us.plot.ruler(us.test(runs).sel(prediction="P2").isel(set=0))  # doctest: +SKIP
    """
    axes = look.axes_of(ax, (360, 76))
    value, low, high = (float(_field(row, n)) for n in ("effect", "effect_low", "effect_high"))
    zone = null_of(row)
    meaning = str(_field(row, "effect_meaning"))
    log = not meaning.startswith(_LINEAR) and value > 0 and low > 0 and zone[1] > 0
    span = _span((value, low, high), zone, log=log)
    look.frame(axes, x=span, y=(0, 1), log="x" if log else "", across="", grid=False)
    if not math.isnan(zone[0] + zone[1]):
        ends = np.clip(zone, *span)
        axes.axvspan(*ends, color=look.ZONE, linewidth=0, zorder=0)
        middle = float(np.sqrt(ends[0] * ends[1]) if log else np.mean(ends))
        look.write(axes, (middle, 1), _zone_words(zone), offset=(0, 8), at="x", ha="center")
    if not math.isfinite(value):
        look.write(axes, (0.5, 0.5), "no estimate", at="axes", ha="center")
        return axes
    colour = look.LIGHT[role_of(str(_field(row, "verdict")))]
    wide = look.size_of(axes)[0]
    to_axes = axes.transData + axes.transAxes.inverted()
    known = [low if math.isfinite(low) else span[0], high if math.isfinite(high) else span[1]]
    left, at, right = (
        float(to_axes.transform((x, 0))[0]) for x in np.clip([known[0], value, known[1]], *span)
    )
    if (right - left) * wide < _LEAST:
        left, right = at - _LEAST / wide / 2, at + _LEAST / wide / 2
    beam: dict[str, Any] = {"color": colour, "transform": axes.transAxes, "solid_capstyle": "butt"}
    look.line(axes, [left, right], [0.5, 0.5], linewidth=9 * look.PX, alpha=0.42, **beam)
    for beyond, place, head in ((not low >= span[0], left, 4), (not high <= span[1], right, 5)):
        if beyond:
            tip: dict[str, Any] = {"marker": head, "markersize": 7 * look.PX, "markeredgewidth": 0}
            look.line(axes, [place], [0.5], clip_on=False, **tip, **beam)
    look.line(axes, [at, at], [0.22, 0.78], linewidth=2.6 * look.PX, **beam)
    return axes


def _zone_words(zone: tuple[float, float]) -> str:
    low, high = (look.shown(end) for end in zone)
    if not math.isfinite(zone[0]) or zone[0] == 0:
        return f"below {high}"
    return f"{low} to {high}" if math.isfinite(zone[1]) else f"from {low} on"


def _span(
    found: tuple[float, float, float], zone: tuple[float, float], *, log: bool
) -> tuple[float, float]:
    """Room for the zone's bounds and the interval; of a far end on a log scale not all."""
    bounds = [x for x in zone if math.isfinite(x)]
    values = [x for x in found if math.isfinite(x)]
    if log:
        known = [x for x in [*values, *bounds] if x > 0] or [1.0]
        near = [x for x in [found[0], *bounds] if x > 0] or known
        low = max(min(known), min(near) / 10**_SPANS)
        high = min(max(known), max(near) * 10**_SPANS)
        room = max((high / low) ** 0.12, 1.2)
        return low / room, high * room
    low, high = min([*values, *bounds], default=0.0), max([*values, *bounds], default=1.0)
    room = 0.15 * (high - low) or 0.5
    return low - room, high + room


def verdicts(found: xr.Dataset, ax: Axes | None = None, *, of_set: int = 0) -> Axes:
    """All predictions at a glance: mark, colour and word of each verdict, with its effect.

    Arguments:
        found: what `us.test` gives.
        ax: to be drawn on; by default a new figure.
        of_set: which set of equal runs, where there are several.

    Returns:
        The axes.

    >>> us.plot.verdicts(us.test(us.load("runs/*.nc")))  # doctest: +SKIP
    """
    table = found.isel(set=of_set) if "set" in found.dims else found
    names = table["prediction"].values.tolist()
    axes = look.axes_of(ax, (660, 30 + 24 * len(names)))
    look.frame(axes, x=(0, 1), y=(len(names), 0), log="", across="", ticks=[], grid=False)
    axes.spines["bottom"].set_visible(False)
    axes.hlines(range(1, len(names)), 0, 1, color=look.GRID, linewidth=look.THIN, zorder=0)
    wide = look.size_of(axes)[0]
    for k, name in enumerate(names):
        row = table.sel(prediction=name)
        word, y = str(row["verdict"].item()), k + 0.5
        colour = look.LIGHT[role_of(word)]
        style: dict[str, Any] = {
            "markersize": 9 * look.PX,
            "markeredgecolor": colour,
            "clip_on": False,
        }
        style |= {"color": colour, "markeredgewidth": 1.6 * look.PX}
        look.line(axes, [8 / wide], [y], marker=_MARKS.get(word, "_"), linestyle="none", **style)
        bold: dict[str, Any] = {"weight": "bold", "color": look.INK}
        look.write(axes, (0, y), name.replace("'", "′"), offset=(22, 0), at="y", **bold)
        look.write(axes, (0, y), word, offset=(62, 0), at="y", color=colour)
        told = _effect(row)
        text = look.shortened(told, wide - 180)
        look.write(axes, (0, y), text, offset=(168, 0), at="y")
    return axes


def _effect(row: xr.Dataset) -> str:
    """The effect with its interval and what it is; the reason of what has none."""
    value, low, high = (float(row[n].item()) for n in ("effect", "effect_low", "effect_high"))
    if not math.isfinite(value):
        return printable(str(row["reason"].item()), 160)
    ends = f" [{look.shown(low)}, {look.shown(high)}]" if math.isfinite(low + high) else ""
    return printable(f"{look.shown(value)}{ends} {row['effect_meaning'].item()}", 160)
