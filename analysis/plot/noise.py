"""The gradient noise scale against iterations, and against the batch size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ultraslow.analysis.noise import ArmScale, GradientNoise, arm_scales, noisy_arms
from ultraslow.analysis.study import Study

from . import look
from .arms import Runs, Shown, arms_of, chosen, study_of
from .labels import End, name_ends

_UP = "noise scale B, samples"
# Factors in M: between arms of one batch size, and from the first to the last of them.
_BESIDE, _BREADTH = 1.16, 2.0
_AROUND = 3.0  # factor of room beyond what is shown


def noise_scale(
    runs: Runs | Sequence[ArmScale],
    ax: Axes | None = None,
    *,
    arm: int | str | Shown | None = None,
    against: str = "iteration",
    limits: tuple[float, float] | None = None,
) -> Axes:
    """B_simple = tr Σ/|G|², in samples: a batch smaller than B is mostly noise.

    Against iterations: of an arm its estimates with the band of their intervals, other batch sizes
    in grey, the batch size itself dashed; without an arm, each batch size. Against the batch size:
    each arm over whole runs, with its interval; above the diagonal an update is mostly noise.

    Arguments:
        runs: a study, or recordings as `us.load` gives them; for "batch_size" also what
            `arm_scales` gives.
        ax: to be drawn on; by default a new figure.
        arm: its batch size, name, or one of its runs.
        against: "iteration" or "batch_size".
        limits: of the ordinate; by default they follow from the estimates.

    Returns:
        The axes.

    >>> us.plot.noise_scale(us.load("runs/*.nc"), against="batch_size")  # doctest: +SKIP
    """
    if against not in ("iteration", "batch_size"):
        raise ValueError(f"against: found {against!r}, expected 'iteration' or 'batch_size'")
    axes = look.axes_of(ax, (540, 330))
    if against == "batch_size":
        scales = runs if isinstance(runs, Sequence) else study_of(runs).found(_scales)
        return _by_size(scales, axes)
    if isinstance(runs, Sequence):
        raise TypeError("runs: found scales of arms, expected a study or recordings")
    study = study_of(runs)
    found_bands = bands(runs)
    one = None if arm is None else chosen(study, arm)
    own = _own_band(runs, found_bands, one)
    everything = [*found_bands.values(), *([own] if own is not None else [])]
    times = [band["iteration"].values for band in everything]
    low, high = look.limits(times, log=True, room=0)
    span = limits or scale_limits(everything, [] if one is None else [one.batch_size])
    up = _UP if one is None else ""
    look.frame(axes, x=(low, high), y=span, log="xy", up=up)
    if one is None:
        _draw_all(axes, study_arms(runs, found_bands), found_bands)
        return axes
    for size, band in found_bands.items():
        if size != one.batch_size:
            grey: dict[str, Any] = {"color": look.AXIS, "linewidth": look.THIN, "alpha": 0.7}
            look.line(axes, band["iteration"].values, band["estimate"].values, **grey)
    if own is not None:
        _draw_band(axes, own, one, span)
    _draw_batch(axes, one, span, own)
    return axes


def bands(runs: Runs) -> dict[int, xr.Dataset]:
    """B over time of each batch size, the runs of its main arm taken together, where it is known.

    Arguments:
        runs: a study, or recordings.

    Returns:
        `GradientNoise.over_time` by batch size.
    """
    return study_of(runs).found(_bands)


def _bands(study: Study) -> dict[int, xr.Dataset]:
    found = {
        size: GradientNoise(members, study.level).over_time()
        for size, members in study.found(_noisy).items()
    }
    return {size: band for size, band in found.items() if _told(band)}


def _noisy(study: Study) -> dict[int, list[xr.Dataset]]:
    return noisy_arms(study.runs)


def _told(band: xr.Dataset) -> bool:
    return bool(band.sizes["iteration"] and np.isfinite(band["estimate"].values).any())


def _scales(study: Study) -> list[ArmScale]:
    return arm_scales(study.runs, level=study.level)


def _own_band(runs: Runs, found: dict[int, xr.Dataset], one: Shown | None) -> xr.Dataset | None:
    """The band of an arm; that of its batch size where it is the main one."""
    if one is None:
        return None
    study = study_of(runs)
    members = study.found(_noisy).get(one.batch_size, [])
    names = {str(run.variables["run"].values) for run in members}
    if names == {str(study.runs[node]["run"].values) for node in one.nodes}:
        return found.get(one.batch_size)
    band = study.found(_band_of, one.nodes)
    return band if _told(band) else None


def _band_of(study: Study, nodes: Sequence[str]) -> xr.Dataset:
    """B over time of some runs."""
    return GradientNoise([study.runs[node] for node in nodes], study.level).over_time()


def study_arms(runs: Runs, found: dict[int, xr.Dataset]) -> list[Shown]:
    """Of each batch size with a noise scale the arm with most seeds."""
    every = arms_of(runs)
    return [
        max((one for one in every if one.batch_size == size), key=lambda one: len(one.nodes))
        for size in found
    ]


def scale_limits(found: Sequence[xr.Dataset], sizes: Sequence[int]) -> tuple[float, float]:
    """The range of an ordinate: of estimates and batch sizes; intervals may go beyond."""
    values = [band["estimate"].values for band in found]
    low, high = look.limits([*values, np.array([s for s in sizes if s], float)], log=True, room=0)
    return low / _AROUND, high * _AROUND


def _draw_all(axes: Axes, shown: Sequence[Shown], found: dict[int, xr.Dataset]) -> None:
    ends = []
    for one in shown:
        band = found[one.batch_size]
        known = np.isfinite(band["estimate"].values) & (band["estimate"].values > 0)
        x, y = band["iteration"].values[known], band["estimate"].values[known]
        look.line(axes, x, y, color=one.colour, linewidth=look.LINE)
        look.line(axes, x, y, **one.marks(look.MEAN - 0.4))
        if x.size:
            ends.append(End(float(x[-1]), float(y[-1]), one.title))
    name_ends(axes, ends)


def _draw_band(axes: Axes, band: xr.Dataset, one: Shown, span: tuple[float, float]) -> None:
    x, y = band["iteration"].values, band["estimate"].values
    low, high = band["low"].values, band["high"].values
    told = np.isfinite(low) & (high > 0)
    ends = np.clip(low[told], *span), np.clip(high[told], *span)
    axes.fill_between(x[told], *ends, color=one.colour, alpha=look.BAND, linewidth=0)
    known = np.isfinite(y) & (y > 0)
    look.line(axes, x[known], y[known], color=one.colour, linewidth=look.LINE)
    inside = known & (y >= span[0]) & (y <= span[1])
    look.line(axes, x[inside], y[inside], **one.marks(look.MEAN - 0.4))


def _draw_batch(
    axes: Axes, one: Shown, span: tuple[float, float], band: xr.Dataset | None
) -> None:
    """The batch size, where B would be at the crossover, named where the curve leaves room."""
    size = one.batch_size
    if not span[0] < size < span[1]:
        return
    style: dict[str, Any] = {
        "color": one.colour,
        "linewidth": 1.8 * look.PX,
        "linestyle": look.DASHED,
    }
    axes.axhline(size, **style)
    wide, high = look.size_of(axes)
    x, y = np.empty(0), np.empty(0)
    if band is not None:
        to_axes = axes.transData + axes.transAxes.inverted()
        points = np.column_stack([band["iteration"].values, band["estimate"].values])
        x, y = to_axes.transform(points[np.isfinite(points[:, 1])]).T * [[wide], [high]]
    line = float(np.log(size / span[0]) / np.log(span[1] / span[0])) * high
    long = look.measured(one.title, look.TEXT, bold=True)
    best, spot = -1.0, (0.0, "left", 5.0, 9.0)
    for side, left in (("right", wide - long), ("left", 5.0)):
        for up in (-10.0, 9.0):
            near = (x > left - 10) & (x < left + long + 10)
            room = min(float(np.abs(y[near] - line - up).min(initial=high)), 24.0)
            if room > best:
                best, spot = room, (float(side == "right"), side, 5.0 * (side == "left"), up)
    bold: dict[str, Any] = {"weight": "bold", "color": look.INK, "ha": spot[1]}
    text = look.write(axes, (spot[0], size), one.title, offset=spot[2:], at="y", **bold)
    text.set_gid("halo")


def _by_size(found: Sequence[ArmScale], axes: Axes) -> Axes:
    known = [one for one in found if one.batch_size > 0 and one.scale.interval.value > 0]
    sizes = sorted({one.batch_size for one in known})
    every = sorted({one.batch_size for one in found if one.batch_size > 0})
    values = [one.scale.interval.value for one in known]
    low, high = look.limits([np.array(values), np.array(sizes, float)], log=True, room=0)
    span = low / _AROUND, high * _AROUND
    across = look.limits([np.array(sizes, float)], log=True, room=0)
    most = max((sum(one.batch_size == size for one in known) for size in sizes), default=1)
    aside = max(_beside(most) ** ((most - 1) / 2), 1.3) * 1.2
    x = across[0] / aside, across[1] * aside
    look.frame(
        axes, x=x, y=span, log="xy", across="batch size M", up=_UP, ticks=_spaced(axes, sizes, x)
    )
    corners = [max(x[0], span[0]), min(x[1], span[1])]
    area = [x[0], *corners, corners[-1] if corners[-1] >= span[1] else x[1]]
    height = [max(span[0], x[0]), *corners, span[1]]
    axes.fill_between(area, height, span[1], color=look.WASH, linewidth=0, zorder=0)
    look.line(axes, corners, corners, color=look.AXIS, linewidth=look.THIN, linestyle=look.DOTTED)
    look.write(axes, (0, 1), "an update is mostly noise", offset=(8, -14), at="axes")
    look.write(axes, (1, 0), "mostly gradient", offset=(-6, 12), at="axes", ha="right")
    for size in sizes:
        own = [one for one in known if one.batch_size == size]
        _draw_size(axes, own, every.index(size), len(every), span)
    return axes


def _beside(count: int) -> float:
    """Factor in M between arms of one batch size, of which there are so many."""
    return min(_BESIDE, _BREADTH ** (1 / max(count - 1, 1)))


def _spaced(axes: Axes, sizes: Sequence[int], x: tuple[float, float]) -> list[float]:
    """The batch sizes that can be named below the axis without touching."""
    wide = look.size_of(axes)[0] / np.log(x[1] / x[0])
    kept: list[float] = []
    for size in sizes:
        room = look.measured(look.tick(size), look.TEXT) + 8
        if not kept or np.log(size / kept[-1]) * wide >= room:
            kept.append(float(size))
    return kept


def _draw_size(
    axes: Axes, own: Sequence[ArmScale], rank: int, count: int, span: tuple[float, float]
) -> None:
    """The arms of one batch size beside each other, and the range of their estimates below."""
    colour = look.hue(rank, count)
    lowest, highest = span[1], span[0]
    for k, one in enumerate(own):
        x = one.batch_size * _beside(len(own)) ** (k - (len(own) - 1) / 2)
        low, value, high = (
            float(np.clip(v, *span))
            for v in (one.scale.interval.low, one.scale.interval.value, one.scale.interval.high)
        )
        if np.isfinite([low, high]).all():
            look.line(axes, [x, x], [low, high], color=colour, linewidth=look.LINE)
            lowest, highest = min(lowest, low), max(highest, high)
        hollow = bool(one.arm) and one.arm not in ("sqrt", "baseline")
        look.line(axes, [x], [value], **look.marked(rank, 5.0, colour, hollow=hollow))
        lowest, highest = min(lowest, value), max(highest, value)
    ends = [look.shown(f([one.scale.interval.value for one in own])) for f in (min, max)]
    text = ends[0] if ends[0] == ends[1] else "–".join(ends)
    # Below the lowest, or above the highest where that reaches down to the axis.
    low_down = lowest < span[0] * (span[1] / span[0]) ** 0.1
    place = (float(own[0].batch_size), highest if low_down else lowest)
    bold: dict[str, Any] = {"weight": "bold", "color": look.INK, "ha": "center"}
    up = 10.0 if low_down else -10.0
    look.write(axes, place, text, offset=(0, up), **bold).set_gid("halo")
