"""Curves of several batch sizes side by side: with what a logarithm would have done, and by clock.

The first answers whether distances grow like log t, the second on which clock they are one curve.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ultraslow.analysis.predictions.batch_size import collapsing
from ultraslow.analysis.runs import (
    CLOCKS,
    ITERATION,
    clock_values,
    last_common_decade,
    line,
    total_distance,
)
from ultraslow.analysis.study import Study

from . import look
from .arms import Curve, Runs, Shown, arms_of, curve, leading, mean, study_of
from .growth import draw_arm, seeds_of
from .labels import End, name_ends

MOST = 5  # batch sizes in one picture; of more the smallest, the largest and some between
WINDOW = (5.0, 50.0)  # iterations that the logarithm is fitted to
_CLOCK_NAMES = {"iteration": "iterations t", "Ση": "summed rate Ση", "samples": "samples Mt"}


def window_of(curves: Sequence[Curve]) -> tuple[float, float]:
    """The early iterations that a logarithm is fitted to: `WINDOW`, or a part of shorter runs.

    Arguments:
        curves: of all runs in the picture.

    Returns:
        First and last iteration; at least a decade lies beyond, where most curves have one. The
        few that begin late or end early change nothing for the others.
    """
    begins, ends = (sorted(float(each.time[k]) for each in curves) for k in (0, -1))
    first = begins[len(curves) // 2] if curves else 1.0
    last = ends[(len(curves) - 1) // 2] if curves else 10.0
    low = WINDOW[0] if first <= WINDOW[0] else first
    if 20 * low <= last:
        return low, max(low * 10, min(WINDOW[1], last)) if 100 * low <= last else low * 4
    return first, math.sqrt(first * max(last, first))


def of_picture(runs: Runs) -> list[Shown]:
    """The arms of the first picture: those of √M, or else of the rule with most batch sizes."""
    shown = leading(arms_of(runs))
    if len(shown) <= MOST:
        return shown
    places = np.unique(np.linspace(0, len(shown) - 1, MOST).round().astype(int))
    return [shown[place] for place in places]


def log_line(curves: Sequence[Curve], span: tuple[float, float]) -> tuple[float, float] | None:
    """Slope in ln t and height at t = 1 of the straight line through records of a span, or None.

    Least squares over the records of all seeds of an arm.
    """
    times = np.concatenate([each.time for each in curves]) if curves else np.empty(0)
    values = np.concatenate([each.value for each in curves]) if curves else np.empty(0)
    slope, height = line(times, values, span)
    if math.isnan(slope):
        return None
    inside = (times >= span[0] * (1 - 1e-9)) & (times <= span[1] * (1 + 1e-9))
    return slope, height - slope * float(np.log(times[inside]).mean())


def hero(runs: Runs, ax: Axes | None = None) -> Axes:
    """Distances against ln t, with what a logarithm through their beginnings would have done.

    The arms with η ∝ √M, or else of the rule with most batch sizes: seeds as thin lines, their
    mean with marks; dashed, the straight line through early iterations (the grey window). Where
    batch sizes end together, a bracket tells how far apart they are.

    Arguments:
        runs: a study, or recordings as `us.load` gives them.
        ax: to be drawn on; by default a new figure.

    Returns:
        The axes.

    >>> us.plot.hero(us.load("runs/*.nc"))  # doctest: +SKIP
    """
    axes = look.axes_of(ax, (660, 470))
    study = study_of(runs)
    curves = {one: seeds_of(study, one) for one in of_picture(study)}
    curves = {one: found for one, found in curves.items() if found}
    flat = [each for found in curves.values() for each in found]
    span = window_of(flat)
    low, high = look.limits([each.time for each in flat], log=True, room=0)
    top = 1.1 * max((float(each.value.max()) for each in flat), default=1.0)
    up = "distance from the initial weights"
    look.frame(axes, x=(low, high), y=(0, top), across="iteration, logarithmic", up=up)
    axes.axvspan(*span, color=look.WASH, linewidth=0, zorder=0)
    narrow = look.is_narrow(axes)
    middle = math.sqrt(span[0] * span[1])
    words = "fitted here" if narrow else "line fitted here"
    look.write(axes, (middle, 1), words, offset=(0, -9), at="x", ha="center")
    means: dict[Shown, Curve] = {}
    lines: dict[Shown, tuple[float, float]] = {}
    for one, found in curves.items():
        last = max(float(each.time[-1]) for each in found)
        straight = log_line(found, span)
        if straight is not None and last > span[1]:
            slope, start = straight
            ends = np.array([span[0], last])
            values = start + slope * np.log(ends)
            style: dict[str, Any] = {
                "color": one.colour,
                "linewidth": look.LINE,
                "linestyle": look.DASHED,
            }
            look.line(axes, ends, values, **style, zorder=2)
            lines[one] = last, float(values[-1])
    for one, found in curves.items():
        draw_arm(axes, one, found, count=10 if narrow else 14, crowd=len(flat))
        middle_curve = mean(found, 53)
        if middle_curve is not None:
            means[one] = middle_curve
    _name(axes, means, lines, _bracket(axes, means), narrow=narrow)
    return axes


def _bracket(axes: Axes, means: dict[Shown, Curve]) -> tuple[Shown, str] | None:
    """Between smallest and largest batch size where the shorter one ends; told at the latter."""
    order = sorted(means, key=lambda one: one.batch_size)
    if len(order) < 2:
        return None
    small, large = order[0], order[-1]
    last = min(float(means[one].time[-1]) for one in order)
    ends = [float(means[one].at(np.array([last]))[0]) for one in (small, large)]
    if not all(end > 0 for end in ends):
        return None
    foot, top = sorted(ends)
    gap = 7 / look.size_of(axes)[1] * axes.get_ylim()[1]
    if top - foot > 4 * gap:
        style: dict[str, Any] = {"color": look.INK, "linewidth": look.THIN, "zorder": 5}
        beam: dict[str, Any] = {
            "marker": "_",
            "markersize": 8 * look.PX,
            "markeredgewidth": look.THIN,
        }
        look.line(axes, [last, last], [foot + gap, top - gap], **style, **beam)
    ratio = look.shown(ends[1] / ends[0])
    at = "" if means[large].time[-1] <= 1.01 * last else f" at {look.tick(round(last))}"
    return large, f"{ratio} × that of M = {look.tick(small.batch_size)}{at}"


def _name(
    axes: Axes,
    means: dict[Shown, Curve],
    lines: dict[Shown, tuple[float, float]],
    apart: tuple[Shown, str] | None,
    *,
    narrow: bool,
) -> None:
    """Names and distances at the ends of the curves, and of the straight lines."""
    ends = []
    last = axes.get_xlim()[1]
    for one, found in means.items():
        x, y = float(found.time[-1]), float(found.value[-1])
        told = look.shown(y)
        if one in lines and lines[one][1] > 0:
            factor = look.shown(y / lines[one][1], 2)
            told = f"{told}, {factor}×" if narrow else f"{told}, {factor} × the line"
        if apart is not None and one is apart[0] and not narrow and x < 0.9 * last:
            told = f"{look.shown(y)}, {apart[1]}"
        name = look.tick(one.batch_size) if narrow and one.batch_size else one.title
        ends.append(End(x, y, name, told))
    late = [(x, y) for x, y in lines.values() if x > 0.9 * last]
    for x, y in late:
        highest = y == max(height for _, height in late)
        told = f"{look.shown(y)}{', like log t' if highest and not narrow else ''}"
        ends.append(End(x, y, "", told))
    name_ends(axes, ends)


def collapse(
    runs: Runs, ax: Axes | None = None, *, clock: str = ITERATION, arms: str = "sqrt"
) -> Axes:
    """Distances of several batch sizes against one clock; the decade that is compared is grey.

    It is the verdict's own: the last decade of the clock that all compared runs have in common at
    a constant rate. Both axes are logarithmic, so that curves that coincide up to a factor are
    parallel.

    Arguments:
        runs: a study, or recordings as `us.load` gives them.
        ax: to be drawn on; by default a new figure.
        clock: "iteration", "Ση", "Ση²/M" or "samples".
        arms: the rule for the learning rate: "sqrt", as P2 compares them, or "linear" for P2'.

    Returns:
        The axes.

    Raises:
        ValueError: when there is no such clock.

    >>> us.plot.collapse(us.load("runs/*.nc"), clock="Ση")  # doctest: +SKIP
    """
    if clock not in CLOCKS:
        raise ValueError(f"clock: found {clock!r}, expected one of {', '.join(CLOCKS)}")
    axes = look.axes_of(ax, (360, 330))
    study = study_of(runs)
    compared = study.found(compared_runs, arms)
    decade = study.found(compared_decade, arms, clock)
    shown = arms_of(study)
    of_them = [one for one in shown if set(one.nodes) & set(compared.runs)]
    of_them = of_them or [one for one in leading(shown) if one.rule in (arms, "")]
    curves = {one: study.found(_on, one, clock) for one in of_them or leading(shown)}
    flat = [each for found in curves.values() for each in found]
    low, high = look.limits([each.time for each in flat], log=True, room=0)
    foot, top = look.limits([each.value for each in flat], log=True)
    name = _CLOCK_NAMES.get(clock, clock)
    look.frame(axes, x=(low, high), y=(foot, top), log="xy", across=name)
    if decade is not None:
        axes.axvspan(*decade, color=look.WASH, linewidth=0, zorder=0)
    for one, found in curves.items():
        draw_arm(axes, one, found, log=True, count=8, crowd=len(flat))
    return axes


def compared_runs(study: Study, rule: str = "sqrt") -> Study:
    """The runs of the first set of equal runs that P2 compares, or P2'; none where it lacks some.

    Arguments:
        study: the runs.
        rule: "sqrt" or "linear".
    """
    first = next(iter(study.sets.values()), study.part(()))
    if not first.runs or first.unlike is not None:
        return first.part(())
    known = first.distinct.where(lambda run: int(run.variables["batch_size"].values) > 0)
    return collapsing(known, "Ση" if rule == "linear" else ITERATION)


def compared_decade(study: Study, rule: str, clock: str) -> tuple[float, float] | None:
    """Both ends of the decade of a clock over which batch sizes are compared; None for none."""
    compared = study.found(compared_runs, rule)
    if not compared.runs:
        return None
    times = last_common_decade(compared.runs, clock=clock)
    return float(times[0]), float(times[-1])


def _on(study: Study, one: Shown, clock: str) -> list[Curve]:
    """Distances of an arm's runs on a clock, where they are above 0."""
    found = []
    for node in one.nodes:
        run = study.runs[node]
        distance = total_distance(run)
        positive = distance.where(distance > 0)
        each = curve(positive, np.asarray(clock_values(run, clock), dtype=float))
        if each.time.size:
            found.append(each)
    return found
