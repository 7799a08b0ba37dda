"""Estimates with intervals, a row each: exponents of arms, gains of a ladder's rungs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.transforms import offset_copy

from ultraslow.analysis.growth import MARGIN, ArmJudgement, at_latest_onset
from ultraslow.analysis.intervals import SEEDS, Interval, t_interval
from ultraslow.analysis.predictions.growth import deciding_arms
from ultraslow.analysis.runs import SUMMED_RATE, clock_words
from ultraslow.analysis.scores import Ladder
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import MINUS, printable

from . import look
from .arms import Runs, Shown, arms_of, study_of

ROW, TALL_ROW = 30.0, 44.0  # pixels a row, wide and narrow
MOST = 60  # rows that can be read
_GAP = 14.0
_MARK = 16.0  # from a mark to its name


@dataclass(frozen=True)
class Row:
    """A row of a forest.

    Attributes:
        name: in bold.
        told: what tells it from others.
        found: the estimate with its interval.
        parts: single estimates, as of seeds.
        columns: further words, right-aligned.
        rank: of the batch size, which gives mark and colour; −1 for ink.
        sizes: number of batch sizes.
        hollow: whether its mark is open.
        level: confidence level at which P1 judges the arm; NaN where it does not.
    """

    name: str
    told: str
    found: Interval
    parts: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()
    rank: int = -1
    sizes: int = 1
    hollow: bool = False
    level: float = math.nan

    @property
    def colour(self) -> str:
        """Of its mark and bar."""
        return look.INK if self.rank < 0 else look.hue(self.rank, self.sizes)


def fixed(value: float, places: int = 2) -> str:
    """A number with so many decimals and a true minus."""
    return f"{value:.{places}f}".replace("-", MINUS) if math.isfinite(value) else "–"


def bracketed(found: Interval, places: int = 2) -> str:
    """An estimate with its interval in brackets."""
    ends = [
        fixed(x, places) if math.isfinite(x) else f"{MINUS if x < 0 else ''}∞"
        for x in (found.low, found.high)
    ]
    if math.isnan(found.low + found.high):
        return fixed(found.value, places)
    return f"{fixed(found.value, places)} [{ends[0]}, {ends[1]}]"


def exponents(
    runs: Runs | xr.Dataset, ax: Axes | None = None, *, clock: str = "iteration"
) -> Axes:
    """Growth exponents p with intervals, an arm a row: 0 is log t, ½ diffusion.

    Small dots are seeds; the bar is the interval with which P1 judges the arm; where it does not,
    that of the mean for four seeds or more, else the intervals of the runs joined. The green zone
    counts as log t. Open marks: most seeds have their onset at the latest allowed, a tenth of the
    iterations, and a later one would lower p.

    Arguments:
        runs: a study, recordings as `us.load` gives them, or what `us.fit_growth` gives, a series
            a row.
        ax: to be drawn on; by default a new figure.
        clock: "iteration", or "learning_rate_sum" for fits on Ση.

    Returns:
        The axes.

    >>> us.plot.exponents(us.fit_growth(distance))  # doctest: +SKIP
    """
    if isinstance(runs, xr.Dataset):
        rows = rows_of_fits(runs)
    else:
        rows = study_of(runs).found(rows_of_arms, clock)
    axes = look.axes_of(ax, (1120, 90 + ROW * len(rows)))
    narrow = look.is_narrow(axes)
    span = _range(rows)
    on = "" if clock == "iteration" else f" on {clock_words(clock)}"
    start_forest(axes, rows, span, across=f"exponent p{on}")
    axes.axvspan(-MARGIN, MARGIN, color=look.ZONE, linewidth=0, zorder=0)
    t = clock_words(SUMMED_RATE) if clock == SUMMED_RATE else "t"
    names = {0.0: f"log {t}" if narrow else f"counts as log {t}"}
    names |= {0.5: f"√{t}" if narrow else f"√{t}, diffusion", 1.0: t}
    for place, name in names.items():
        if span[0] <= place <= span[1]:
            style: dict[str, Any] = {"weight": "bold", "color": look.INK, "ha": "center"}
            look.write(axes, (place, 1), name, offset=(0, 10), at="x", **style)
            if place:
                dots: dict[str, Any] = {
                    "color": look.AXIS,
                    "linewidth": look.THIN,
                    "linestyle": look.DOTTED,
                }
                axes.axvline(place, **dots, zorder=0)
    heads = ("p with interval", "onset τ", "seeds")
    draw_rows(axes, rows, heads if rows and rows[0].columns else ())
    return axes


def rows_of_arms(study: Study, clock: str = "iteration") -> list[Row]:
    """The exponents of each arm that has any."""
    fits = study.fits if clock == "iteration" else study.rate_fits
    if fits is None:
        return []
    found = []
    judged = study.found(_judged) if clock == "iteration" else {}
    for one in arms_of(study):
        nodes = [node for node in one.nodes if node in fits["node"].values]
        own = fits.sel(node=nodes)
        own = own.isel(node=np.flatnonzero(np.isfinite(own["exponent"].values)))
        if own.sizes["node"]:
            said = next((judged[node] for node in nodes if node in judged), None)
            found.append(_arm_row(one, own, said))
    return found[:MOST]


def _judged(study: Study) -> dict[str, ArmJudgement]:
    """What P1 takes of the arms that speak, by each of their runs."""
    return {
        node: said
        for part in study.sets.values()
        for arm, said in deciding_arms(part)
        for node in arm.nodes
    }


def _arm_row(one: Shown, own: xr.Dataset, said: ArmJudgement | None = None) -> Row:
    summary = summed_up(own) if said is None else said.exponent
    onsets = [look.shown(f(own["onset"].values), 2) for f in (np.min, np.max)]
    onset = onsets[0] if onsets[0] == onsets[1] else "–".join(onsets)
    return Row(
        one.title,
        one.rule_words,
        summary,
        tuple(own["exponent"].values.tolist()),
        (bracketed(summary), onset, str(own.sizes["node"])),
        one.rank,
        one.sizes,
        hollow=at_latest_onset(own),
        level=math.nan if said is None else said.level,
    )


def summed_up(fits: xr.Dataset) -> Interval:
    """Mean exponent of runs with its t interval, or of fewer than four the joined intervals."""
    values = fits["exponent"].values
    if values.size >= SEEDS:
        return t_interval(values, level=fits.attrs["level"])
    ends = float(fits["exponent_low"].values.min()), float(fits["exponent_high"].values.max())
    return Interval(float(values.mean()), *ends, n=values.size)


def rows_of_fits(fits: xr.Dataset) -> list[Row]:
    """The exponents of what `us.fit_growth` gives, a series a row."""
    flat = fits["exponent"].stack(series=[...]) if fits["exponent"].ndim else None
    columns = [np.ravel(fits[name].values) for name in _ENDS]
    names = [""] if flat is None else [_series_name(index) for index in flat["series"].values]
    rows = []
    for name, value, low, high in zip(names, *columns, strict=True):
        found = Interval(float(value), float(low), float(high))
        rows.append(Row(printable(name, 40), "", found, (), (bracketed(found),)))
    return rows[:MOST]


_ENDS = ("exponent", "exponent_low", "exponent_high")


def _series_name(index: Any) -> str:
    return ", ".join(map(str, index)) if isinstance(index, tuple) else str(index)


def _range(rows: Sequence[Row]) -> tuple[float, float]:
    """Room for all estimates, and for the ends of most intervals."""
    values = [x for row in rows for x in (row.found.value, *row.parts) if math.isfinite(x)]
    ends = [x for row in rows for x in (row.found.low, row.found.high) if math.isfinite(x)]
    low, high = (float(x) for x in np.percentile(values + ends or [0.0], [3, 97]))
    low, high = min(low, *values, 0.0), max(high, *values, 0.5)
    return max(min(-0.12, low - 0.05), -2.0), min(max(0.65, high + 0.05), 2.0)


def start_forest(
    axes: Axes, rows: Sequence[Row], span: tuple[float, float], *, across: str
) -> None:
    """Axes of so many rows, the first on top, with lines between them."""
    count = max(len(rows), 1)
    look.frame(
        axes,
        x=span,
        y=(count, 0),
        log="",
        across=across,
        words=(lambda x: fixed(x, 1), look.tick),
        grid=False,
    )
    axes.hlines(range(1, count), *span, color=look.GRID, linewidth=look.THIN, zorder=0)


def draw_rows(axes: Axes, rows: Sequence[Row], heads: Sequence[str]) -> None:
    """Bars, marks and words of all rows; on narrow figures the words stand above the bars."""
    narrow = look.is_narrow(axes)
    names = max((look.measured(row.name, look.TEXT, bold=True) for row in rows), default=0.0)
    told = max((look.measured(row.told, look.TEXT) for row in rows), default=0.0)
    marked = any(row.rank >= 0 for row in rows)
    left = (_MARK if marked else 0.0) + names + (_GAP + told if told else 0.0) + _GAP
    offsets = _columns(rows, heads) if not narrow else []
    for head, x in zip(heads, offsets, strict=False):
        look.write(axes, (1, 1), head, offset=(x, 10), at="axes", ha="right")
    for k, row in enumerate(rows):
        y = k + (0.68 if narrow else 0.5)
        _draw_bar(axes, row, y)
        edge, at = (0.0, k + 0.26) if narrow else (-left, k + 0.5)
        if row.rank >= 0:
            _mark_beside(axes, row, at, edge + 5)
        place = edge + (_MARK if row.rank >= 0 else 0.0)
        bold: dict[str, Any] = {"weight": "bold", "color": look.INK}
        look.write(axes, (0, at), row.name, offset=(place, 0), at="y", **bold)
        if row.told:
            told_at = place + names + _GAP
            room = 400.0
            if narrow:
                value = look.measured(row.columns[0], look.TEXT) if row.columns else 0.0
                room = look.size_of(axes)[0] - told_at - value - 8
            words = look.shortened(row.told, room)
            look.write(axes, (0, at), words, offset=(told_at, 0), at="y")
        if narrow and row.columns:
            ink: dict[str, Any] = {"color": look.INK, "ha": "right"}
            look.write(axes, (1, at), row.columns[0], at="y", **ink).set_gid("halo")
        for text, x in zip(row.columns, offsets, strict=False):
            ink = {"color": look.INK, "ha": "right"}
            look.write(axes, (1, at), text, offset=(x, 0), at="y", **ink)


def _columns(rows: Sequence[Row], heads: Sequence[str]) -> list[float]:
    """Right ends of the columns beside the axes, pixels."""
    count = max((len(row.columns) for row in rows), default=0)
    ends, reached = [], 0.0
    for k in range(count):
        texts = [row.columns[k] for row in rows if len(row.columns) > k]
        texts += [heads[k]] if k < len(heads) else []
        reached += _GAP + 6 + max(look.measured(text, look.TEXT) for text in texts)
        ends.append(reached)
    return ends


def _draw_bar(axes: Axes, row: Row, y: float) -> None:
    span, found = axes.get_xlim(), row.found
    colour = row.colour
    if math.isfinite(found.value):
        low = -math.inf if math.isnan(found.low) else found.low
        high = math.inf if math.isnan(found.high) else found.high
        ends = np.clip([low, high], *span)
        look.line(axes, ends, [y, y], color=colour, linewidth=2.2 * look.PX, alpha=0.85)
        for beyond, place, head in ((low < span[0], span[0], 4), (high > span[1], span[1], 5)):
            if beyond:
                style: dict[str, Any] = {
                    "color": colour,
                    "markersize": 5 * look.PX,
                    "markeredgewidth": 0,
                }
                look.line(axes, [place], [y], marker=head, clip_on=False, **style)
    inside = [x for x in row.parts if span[0] <= x <= span[1]]
    if len(row.parts) > 1:
        dots: dict[str, Any] = {"marker": "o", "markersize": 4.5 * look.PX, "markeredgewidth": 0}
        look.line(
            axes, inside, [y] * len(inside), color=colour, linestyle="none", alpha=0.7, **dots
        )
    if span[0] <= found.value <= span[1]:
        rank = max(row.rank, 0)
        ring: dict[str, Any] = {**look.marked(rank, 6.3, look.PAPER), "zorder": 4}
        look.line(axes, [found.value], [y], **ring)
        marks = look.marked(rank, 5.0, colour, hollow=row.hollow)
        look.line(axes, [found.value], [y], **marks, zorder=5)


def _mark_beside(axes: Axes, row: Row, y: float, x: float) -> None:
    """A mark beside the axes, so many pixels from their left end."""
    whole: Any = axes.get_figure(root=True)
    moved = offset_copy(axes.get_yaxis_transform(), whole, x * look.PX, 0, units="points")
    style = look.marked(row.rank, 4.0, row.colour, hollow=row.hollow)
    look.line(axes, [0], [y], transform=moved, **style)


def ladder(found: Ladder, ax: Axes | None = None) -> Axes:
    """Gain of each rung of a ladder over the one before, and of the whole; filled beyond 0.

    Arguments:
        found: as `ladders` gives it.
        ax: to be drawn on; by default a new figure.

    Returns:
        The axes.

    >>> us.plot.ladder(ladders(study.runs)[0])  # doctest: +SKIP
    """
    rows = rows_of_ladder(found)
    axes = look.axes_of(ax, (660, 90 + ROW * len(rows)))
    every = [x for row in rows for x in (row.found.low, row.found.value, row.found.high, 0.0)]
    low, high = look.limits([every], log=False, room=0.08)
    across = "gain in accuracy" if found.metric == "accuracy" else f"gain in −ln {found.metric}"
    start_forest(axes, rows, (low, high), across=across)
    look.put_ticks(axes.xaxis, look.rounds(low, high, 5), look.tick)
    dots: dict[str, Any] = {"color": look.AXIS, "linewidth": look.THIN, "linestyle": look.DOTTED}
    axes.axvline(0, **dots, zorder=0)
    draw_rows(axes, rows, ("gain over the rung before",))
    return axes


def rows_of_ladder(found: Ladder) -> list[Row]:
    """A row a rung above the first, and one of the whole ladder."""
    rows = []
    for rung in found.rungs[1:]:
        name = rung.place.name or f"rung {rung.place.number}"
        rows.append(_gain_row(f"{rung.place.number} {name}", rung.over_before))
    if len(found.rungs) > 2:
        rows.append(_gain_row("whole ladder", found.rungs[-1].over_baseline))
    return rows


def _gain_row(name: str, gain: Any) -> Row:
    unknown = Interval(math.nan, math.nan, math.nan)
    found = unknown if gain is None else gain.interval
    clear = found.low > 0 or found.high < 0
    words = (bracketed(found, 3),)
    return Row(printable(name, 32), "", found, (), words, hollow=not clear)
