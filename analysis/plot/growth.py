"""How far the weights moved: distances, the laws fitted to them, and what these leave."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ultraslow.analysis.growth import conditioned_curve, fitted_law
from ultraslow.analysis.runs import SUMMED_RATE, clock_words, followed, total_distance
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import MINUS, fixed

from . import look
from .arms import Curve, Runs, Shown, arms_of, chosen, curve, leading, mean, study_of
from .labels import End, name_ends
from .pixels import evenly

Array = NDArray[np.float64]

_CROWD = 150  # curves in a picture, up to which each seed is drawn
MOST_SEEDS = 24  # of an arm; more are shown as a band from the lowest to the highest
_MARKS = 500  # in a panel
_RECORDS, _LEFT = 22, 30  # marks a seed: over the fit, and of what it leaves
_GRID = 72  # times at which a law is drawn
_APART = 0.01  # of the final distance: a law is drawn by itself where its line is so far off
_STRIP = 42.0  # pixels of the strip below a panel
TOP = 6.0  # %, of the final distance, that residuals are shown up to
_USUAL = 2.0
ACROSS = {"iteration": "iteration", SUMMED_RATE: f"summed rate {clock_words(SUMMED_RATE)}"}


def on_clock(run: xr.Dataset, clock: str) -> xr.DataArray:
    """Total distance of a run with the readings of a clock as `clock`, while both are known."""
    if clock == "iteration":
        distance = total_distance(run)
        return distance.assign_coords(clock=("iteration", distance["iteration"].values))
    distance = followed(run, clock)[0]
    readings = distance[clock].values
    return distance.reset_coords(drop=True).assign_coords(clock=("iteration", readings))


def distance_curve(run: xr.Dataset, clock: str = "iteration") -> Curve:
    """Total distance of a run after iteration 0; empty where the run does not hold the clock."""
    try:
        found = on_clock(run, clock)
    except ValueError:
        return Curve(np.empty(0), np.empty(0))
    return curve(found, found["clock"].values)


def curve_of(study: Study, node: str, clock: str = "iteration") -> Curve:
    """As `distance_curve`, of a run of a study, which keeps it."""
    return distance_curve(study.runs[node], clock)


def fits_of(runs: Runs, nodes: Sequence[str], clock: str = "iteration") -> dict[str, xr.Dataset]:
    """Growth fits of some runs that have one, by node.

    Of a study they are those that it keeps; of recordings only what is asked for is fitted.
    """
    whole = study_of(runs)
    study = runs if isinstance(runs, Study) else Study({n: whole.runs[n] for n in nodes})
    rows = {node: study.found(_fit_of, node, clock) for node in nodes}
    return {node: row for node, row in rows.items() if row is not None}


def _fit_of(study: Study, node: str, clock: str) -> xr.Dataset | None:
    """The growth fit of a run; None where it has none."""
    fits = study.fits if clock == "iteration" else study.rate_fits
    if fits is None or node not in fits["node"].values:
        return None
    row = fits.sel(node=node)
    return row if np.isfinite(float(row["exponent"])) else None


def distance(
    runs: Runs,
    ax: Axes | None = None,
    *,
    arm: int | str | Shown | None = None,
    clock: str = "iteration",
    fits: bool = True,
    top: float | None = None,
    span: tuple[float, float] | None = None,
) -> Axes:
    """Distances from the initial weights against the logarithm of time.

    Of one arm: the records of all its seeds over the line fitted to each, which is conditioned on
    the wandering of its own run; the law alone is dashed where the two differ. Of all arms: each
    seed as a thin line, the mean of each arm with marks, its name at the end.

    Arguments:
        runs: a study, or recordings as `us.load` gives them.
        ax: to be drawn on; by default a new figure.
        arm: its batch size, name, or one of its runs; by default all arms are drawn.
        clock: "iteration", or "learning_rate_sum" for Ση.
        fits: whether the laws of an arm are drawn; they are fitted where they are not at hand.
        top: upper end of the ordinate; by default it follows from the curves.
        span: both ends of the abscissa, likewise.

    Returns:
        The axes.

    >>> us.plot.distance(us.load("runs/*.nc"), arm="64, sqrt")  # doctest: +SKIP
    """
    axes = look.axes_of(ax, (540, 330))
    study = study_of(runs)
    if arm is None:
        return _all_arms(study, axes, clock, top, span)
    one = chosen(study, arm)
    found = {node: study.found(curve_of, node, clock) for node in one.nodes}
    curves = {node: each for node, each in found.items() if each.time.size}
    low, high = span or look.limits([each.time for each in curves.values()], log=True, room=0)
    top = top or 1.06 * max((float(each.value.max()) for each in curves.values()), default=1.0)
    look.frame(axes, x=(low, high), y=(0, top), across=ACROSS.get(clock, clock))
    rows = fits_of(runs, one.nodes, clock) if fits else {}
    crowd = len(curves) > MOST_SEEDS
    for node, row in list(rows.items())[:MOST_SEEDS]:
        line = study.found(fitted_line, node, clock) if isinstance(runs, Study) else None
        line = line or _fitted_line(row, study.runs[node], clock)
        if line is not None:
            _draw_fit(axes, line, one)
    if crowd:
        _draw_band(axes, list(curves.values()), one)
    else:
        count = max(_MARKS // max(len(curves), 1), 4)
        for each in curves.values():
            kept = evenly(each.time, min(count, _RECORDS))
            look.line(axes, each.time[kept], each.value[kept], **one.marks(look.RECORD), zorder=4)
    _tell_exponent(axes, [float(row["exponent"]) for row in rows.values()], list(curves.values()))
    return axes


@dataclass(frozen=True)
class FittedLine:
    """A law fitted to a run, where it was fitted.

    Attributes:
        times: t, shape (time,).
        line: the law with the wandering of the run, shape (time,).
        law: the law alone, shape (time,); NaN where it is not told from the line.
    """

    times: Array
    line: Array
    law: Array


def fitted_line(study: Study, node: str, clock: str = "iteration") -> FittedLine | None:
    """The line of a run of a study; None where it has no fit."""
    row = fits_of(study, [node], clock).get(node)
    return None if row is None else _fitted_line(row, study.runs[node], clock)


def _fitted_line(row: xr.Dataset, run: xr.Dataset, clock: str) -> FittedLine | None:
    distance = on_clock(run, clock)
    at = np.asarray(distance["iteration"].values)
    if clock == "iteration":  # the law is about the stretch of constant rate
        distance = distance.isel(
            iteration=(at >= float(row["first"])) & (at <= float(row["last"]))
        )
    readings = np.asarray(distance["clock"].values, dtype=float)
    known = np.isfinite(distance.values) & (readings > 0)
    if known.sum() < 2:
        return None
    times = np.geomspace(readings[known][0], readings[known][-1], _GRID)
    other = None if clock == "iteration" else readings
    line = conditioned_curve(row, distance, times, clock=other)
    law = fitted_law(row, times)[0]
    off = np.abs(law - line) > _APART * float(np.nanmax(distance.values[known]))
    near = off | np.roll(off, 1) | np.roll(off, -1) if off.any() else off
    return FittedLine(times, line, np.where(near, law, np.nan))


def _draw_fit(axes: Axes, found: FittedLine, one: Shown) -> None:
    """The line that meets the records of a run, and its law where that runs beside it."""
    pale: dict[str, Any] = {"linewidth": look.FIT, "alpha": 0.2, "solid_capstyle": "butt"}
    look.line(axes, found.times, found.line, color=one.colour, **pale)
    if np.isfinite(found.law).any():
        dashes: dict[str, Any] = {"linewidth": look.THIN, "linestyle": look.DASHED}
        look.line(axes, found.times, found.law, color=one.colour, **dashes)


def _draw_band(axes: Axes, curves: Sequence[Curve], one: Shown) -> None:
    """Mean with marks, and a band from the lowest run to the highest, of more than can be read."""
    middle = mean(curves, 48)
    if middle is None:
        return
    values = np.stack([each.at(middle.time) for each in curves])
    ends = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    axes.fill_between(middle.time, *ends, color=one.colour, alpha=look.BAND, linewidth=0)
    look.line(axes, middle.time, middle.value, color=one.colour, linewidth=look.LINE)
    look.line(axes, middle.time[::4], middle.value[::4], **one.marks(look.MEAN), zorder=4)


def _tell_exponent(axes: Axes, exponents: Sequence[float], curves: Sequence[Curve]) -> None:
    """The mean exponent and its range over the seeds, where the curves leave room."""
    if not exponents:
        return
    low, high = axes.get_xlim()
    middle = float(np.sqrt(low * high))
    there = [v for each in curves if np.isfinite(v := float(each.at(np.array([middle]))[0]))]
    upper = not there or np.mean(there) < 0.55 * axes.get_ylim()[1]
    rows = [f"p = {_fixed(float(np.mean(exponents)))}"]
    if len(exponents) > 1:
        rows.append(f"{_fixed(min(exponents))} to {_fixed(max(exponents))}")
    for k, text in enumerate(rows):
        up = -6.0 - 14 * k if upper else 8.0 + 14 * (len(rows) - 1 - k)
        place, side = ((0, 1), "left") if upper else ((1, 0), "right")
        style: dict[str, Any] = {"weight": "bold", "color": look.INK} if k == 0 else {}
        shift = 6.0 if upper else -6.0
        look.write(axes, place, text, offset=(shift, up), at="axes", ha=side, **style)


def _fixed(value: float) -> str:
    return fixed(value).replace("-", MINUS)


def _all_arms(
    study: Study,
    axes: Axes,
    clock: str,
    top: float | None,
    span: tuple[float, float] | None,
) -> Axes:
    every = arms_of(study)
    shown = leading(every) if len(every) > 12 else every
    curves = {one: seeds_of(study, one, clock) for one in shown}
    flat = [each for found in curves.values() for each in found]
    low, high = span or look.limits([each.time for each in flat], log=True, room=0)
    top = top or 1.05 * max((float(each.value.max()) for each in flat), default=1.0)
    up = "distance from the initial weights"
    look.frame(axes, x=(low, high), y=(0, top), across=ACROSS.get(clock, clock), up=up)
    sizes = [one.batch_size for one in shown]
    ends = []
    for one, found in curves.items():
        end = draw_arm(axes, one, found, crowd=len(flat))
        if end is not None:
            several = sizes.count(one.batch_size) > 1 and bool(one.rule_words)
            name = f"{one.title}, {one.rule_words}" if several else one.title
            ends.append(End(*end, name, look.shown(end[1])))
    name_ends(axes, ends)
    return axes


def seeds_of(study: Study, one: Shown, clock: str = "iteration") -> list[Curve]:
    """The distances of an arm's runs that have any."""
    found = [study.found(curve_of, node, clock) for node in one.nodes]
    return [each for each in found if each.time.size]


def draw_arm(
    axes: Axes,
    one: Shown,
    curves: Sequence[Curve],
    *,
    log: bool = False,
    count: int = 14,
    crowd: int = 0,
) -> tuple[float, float] | None:
    """Seeds as thin lines and their mean with marks; hollow marks for rules other than √M.

    Arguments:
        axes: to be drawn on.
        one: the arm.
        curves: of its runs.
        log: whether the mean is the geometric one.
        count: how many marks.
        crowd: how many curves there are in the picture; of too many the means alone are drawn.

    Returns:
        Where the mean ends; None without one.
    """
    middle = mean(curves, 4 * count - 3, log=log)
    if middle is None or not middle.time.size:
        return None
    hollow = one.rule not in ("sqrt", "") or bool(one.set_name or one.rung)
    crowded = crowd > _CROWD
    if len(curves) > MOST_SEEDS:
        values = np.stack([each.at(middle.time) for each in curves])
        ends = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(middle.time, *ends, color=one.colour, alpha=look.BAND, linewidth=0)
    elif not crowded:
        for each in curves:
            look.line(axes, each.time, each.value, color=one.colour, linewidth=look.THIN, zorder=3)
    if len(curves) > 1 or crowded:
        look.line(axes, middle.time, middle.value, color=one.colour, linewidth=look.LINE, zorder=3)
    look.line(
        axes, middle.time[::4], middle.value[::4], **one.marks(look.MEAN, hollow=hollow), zorder=4
    )
    return float(middle.time[-1]), float(middle.value[-1])


def residuals(
    runs: Runs,
    ax: Axes | None = None,
    *,
    arm: int | str | Shown,
    clock: str = "iteration",
    span: tuple[float, float] | None = None,
) -> Axes:
    """What the laws fitted to an arm leave of its records, in percent of the final distance.

    Beyond ±6 % arrowheads stand for the records; within ±2 % lies the grey band.

    Arguments:
        runs: a study, or recordings as `us.load` gives them.
        ax: to be drawn on; by default a new figure.
        arm: its batch size, name, or one of its runs.
        clock: "iteration", or "learning_rate_sum" for Ση.
        span: both ends of the abscissa; by default they follow from the curves.

    Returns:
        The axes.

    >>> us.plot.residuals(us.load("runs/*.nc"), arm="64, sqrt")  # doctest: +SKIP
    """
    axes = look.axes_of(ax, (540, 140))
    study = study_of(runs)
    one = chosen(study, arm)
    left: dict[str, tuple[Array, Array]] = {}
    for node, row in fits_of(runs, one.nodes, clock).items():
        found = study.found(left_of, node, clock) if isinstance(runs, Study) else None
        found = found or _left(row, study.found(curve_of, node, clock), clock)
        if found is not None:
            left[node] = found
    low, high = span or look.limits([times for times, _ in left.values()], log=True, room=0)
    look.frame(axes, x=(low, high), y=(-TOP, TOP), across=ACROSS.get(clock, clock), grid=False)
    axes.axhspan(-_USUAL, _USUAL, color=look.WASH, linewidth=0, zorder=0)
    axes.axhline(0, color=look.AXIS, linewidth=look.THIN, zorder=1)
    for place in (-5, 5):
        text = f"{place:+d}".replace("-", MINUS)
        look.write(axes, (0, place), text, offset=(-5, 0), at="y", ha="right")
    look.write(axes, (0, 0), "residual, %", offset=(-28, -24), at="axes", va="top")
    count = max(_MARKS // max(len(left), 1), 4)
    for times, values in list(left.values())[:MOST_SEEDS]:
        kept = evenly(times, min(count, _LEFT))
        times, values = times[kept], values[kept]
        inside = np.abs(values) <= TOP
        dots: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0, "clip_on": False}
        dots |= {"color": one.colour, "zorder": 3}
        look.line(
            axes, times[inside], values[inside], marker="o", markersize=2.8 * look.PX, **dots
        )
        for beyond, end, head in ((values > TOP, TOP, 6), (values < -TOP, -TOP, 7)):
            at = np.full(beyond.sum(), end)
            look.line(axes, times[beyond], at, marker=head, markersize=4.5 * look.PX, **dots)
    return axes


def left_of(study: Study, node: str, clock: str = "iteration") -> tuple[Array, Array] | None:
    """What the law fitted to a run of a study leaves; None where it has no fit."""
    row = fits_of(study, [node], clock).get(node)
    return None if row is None else _left(row, study.found(curve_of, node, clock), clock)


def _left(row: xr.Dataset, measured: Curve, clock: str) -> tuple[Array, Array] | None:
    """Times and residuals of a fitted run, % of its final distance, where it was fitted."""
    times, values = measured.time, measured.value
    if clock == "iteration":
        inside = (times >= float(row["first"])) & (times <= float(row["last"]))
        times, values = times[inside], values[inside]
    if not times.size or not values[-1] > 0:
        return None
    return times, 100 * (values - fitted_law(row, times)[0]) / values[-1]


def panel(
    runs: Runs,
    ax: Axes | None = None,
    *,
    arm: int | str | Shown,
    clock: str = "iteration",
    top: float | None = None,
    span: tuple[float, float] | None = None,
) -> Axes:
    """The distances of an arm over their laws, with a strip below of what these leave.

    Arguments:
        runs: a study, or recordings as `us.load` gives them.
        ax: to be drawn on, its lower third for the strip; by default a new figure.
        arm: its batch size, name, or one of its runs.
        clock: "iteration", or "learning_rate_sum" for Ση.
        top: upper end of the ordinate, as panels share it; by default it follows from the curves.
        span: both ends of the abscissa, likewise.

    Returns:
        The axes.

    >>> us.plot.panel(us.load("runs/*.nc"), arm="64, sqrt")  # doctest: +SKIP
    """
    axes = look.axes_of(ax, (360, 360))
    distance(runs, axes, arm=arm, clock=clock, top=top, span=span)
    one = chosen(runs, arm)
    if not fits_of(runs, one.nodes, clock):
        return axes
    axes.tick_params(axis="x", length=0, labelbottom=False)
    for text in list(axes.texts):
        if text.get_text() == ACROSS.get(clock, clock):
            text.remove()
    high = look.size_of(axes)[1]
    tall = _STRIP / high
    strip = axes.inset_axes((0, -tall - 16 / high, 1, tall))
    residuals(runs, strip, arm=arm, clock=clock, span=axes.get_xlim())
    return axes
