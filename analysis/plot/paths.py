"""Where the weights go: how straight the path is, whether it ages, how rough the loss is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ultraslow.analysis.predictions.growth import FAR, READINGS, aged, path_ratio
from ultraslow.analysis.predictions.landscape import scans_of
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording import has_holes

from . import look
from .arms import Curve, Runs, Shown, arms_of, chosen, leading, study_of
from .growth import draw_arm
from .labels import End, name_ends

Array = NDArray[np.float64]

DIRECTIONS = {
    "isotropic": "isotropic directions",
    "filter": "filter-normalized directions",
    "noise": "along gradient noise",
    "trajectory": "along the trajectory",
}
_GUIDES = (1.0, 2.0)  # γ of the lines that steepness is read off


def _shown(runs: Runs, arm: int | str | Shown | None) -> list[Shown]:
    """The arm that was asked for, or those that lead each batch size."""
    study = study_of(runs)
    return leading(arms_of(study)) if arm is None else [chosen(study, arm)]


def straightness(
    runs: Runs, ax: Axes | None = None, *, arm: int | str | Shown | None = None
) -> Axes:
    """Straightness R = ‖w_t − w_0‖²/Σ‖Δw‖² against iterations, momentum divided out.

    Independent steps have R = 1, a straight path far more; a walker that barriers hold back lies
    in the green zone, below ⅓, and falls.

    Arguments:
        runs: a study, or recordings as `us.load` gives them, with `step_sq`.
        ax: to be drawn on; by default a new figure.
        arm: its batch size, name, or one of its runs; by default one arm a batch size.

    Returns:
        The axes.

    >>> us.plot.straightness(us.load("runs/*.nc"))  # doctest: +SKIP
    """
    axes = look.axes_of(ax, (540, 330))
    study = study_of(runs)
    curves = {one: study.found(path_curves, one) for one in _shown(study, arm)}
    curves = {one: found for one, found in curves.items() if found}
    flat = [each for found in curves.values() for each in found]
    low, high = look.limits([each.time for each in flat], log=True, room=0)
    foot, top = look.limits([*(each.value for each in flat), np.array([0.25, 1.5])], log=True)
    top *= 1.3  # names of curves that end early
    up = "straightness R, momentum divided out"
    look.frame(axes, x=(low, high), y=(foot, top), log="xy", up=up)
    axes.axhspan(foot, FAR, color=look.ZONE, linewidth=0, zorder=0)
    dots: dict[str, Any] = {"color": look.AXIS, "linewidth": look.THIN, "linestyle": look.DOTTED}
    axes.axhline(1.0, **dots)
    look.write(axes, (0, 1.0), "independent steps", offset=(6, 8), at="y").set_gid("halo")
    words = "held back: below ⅓" if look.is_narrow(axes) else "held back: below ⅓, and falling"
    look.write(axes, (1, foot), words, offset=(-6, 9), at="y", ha="right").set_gid("halo")
    ends = []
    for one, found in curves.items():
        end = draw_arm(axes, one, found, log=True, crowd=len(flat))
        if end is not None:
            ends.append(End(*end, one.title, look.shown(end[1])))
    name_ends(axes, ends)
    return axes


def path_curves(study: Study, one: Shown) -> list[Curve]:
    """Straightness of an arm's runs that recorded their steps and have no gaps in their path."""
    found = []
    for node in one.nodes:
        run = study.runs[node]
        if "step_sq" in run and not has_holes(run.attrs):
            at, ratio = path_ratio(run)
            if at.size > 1:
                found.append(Curve(at.astype(float), ratio))
    return found


def aging(
    runs: Runs,
    ax: Axes | None = None,
    *,
    arm: int | str | Shown,
    reading: str = READINGS[0],
) -> Axes:
    """Displacements after a waiting time, against one reading of how they age.

    One line a waiting time s, early ones pale: Δ²(s, τ) = ‖w_{s+τ} − w_s‖², over d²(s) where the
    reading says so. Under a reading that holds all lines are one.

    Arguments:
        runs: a study, or recordings as `us.load` gives them, with sketches of the weights.
        ax: to be drawn on; by default a new figure.
        arm: its batch size, name, or one of its runs.
        reading: "aging in ln t", "aging in t", "aging in t, unscaled" or "stationary".

    Returns:
        The axes.

    Raises:
        ValueError: when there is no such reading.

    >>> us.plot.aging(us.load("runs/*.nc"), arm=64)  # doctest: +SKIP
    """
    if reading not in READINGS:
        raise ValueError(f"reading: found {reading!r}, expected one of {', '.join(READINGS)}")
    axes = look.axes_of(ax, (360, 330))
    study = study_of(runs)
    one = chosen(study, arm)
    lines = study.found(aged_lines, one)
    place = READINGS.index(reading)
    scaled = place < 2
    drawn = [
        (start, xs[place], np.exp(values - (base if scaled else 0.0)))
        for start, xs, values, base in lines
    ]
    log = place > 0
    x = look.limits([xs for _, xs, _ in drawn], log=log, room=0.0)
    y = look.limits([values for *_, values in drawn], log=True)
    names = ("ln τ/ln s", "τ/s", "τ/s", "lag τ, iterations")
    up = "Δ²(s, τ)/d²(s)" if scaled else "Δ²(s, τ)"
    look.frame(axes, x=x, y=y, log="xy" if log else "y", across=names[place], up=up)
    for k, (_, xs, values) in enumerate(drawn):
        pale = 0.3 + 0.7 * k / max(len(drawn) - 1, 1)
        style: dict[str, Any] = {"color": one.colour, "alpha": round(pale, 2)}
        look.line(axes, xs, values, linewidth=look.LINE, **style)
        marks: dict[str, Any] = {
            **one.marks(2.4),
            "markerfacecolor": one.colour,
            "alpha": round(pale, 2),
        }
        look.line(axes, xs, values, **marks)
    ends = [
        End(float(xs[-1]), float(values[-1]), "", f"s = {look.tick(start)}")
        for start, xs, values in (drawn[:1] + drawn[-1:] if len(drawn) > 1 else drawn)
    ]
    name_ends(axes, ends)
    return axes


AgedLine = tuple[float, tuple[Array, ...], Array, float]


def aged_lines(study: Study, one: Shown) -> list[AgedLine]:
    """Of each waiting time: s, the argument of each reading, ln Δ² and ln d²(s), mean over seeds.

    Of runs whose records differ the first alone is taken.
    """
    measured = [found for node in one.nodes if (found := aged(study.runs[node])) is not None]
    if not measured:
        return []
    pairs = measured[0][0]
    alike = [
        each
        for each in measured
        if each[0].start.shape == pairs.start.shape
        and np.array_equal(each[0].start, pairs.start)
        and np.array_equal(each[0].lag, pairs.lag)
    ]
    squares = np.mean([each[1] for each in alike], axis=0)
    bases = np.mean([each[2] for each in alike], axis=0)
    relative = pairs.lag / pairs.start
    arguments = (np.log(pairs.lag) / np.log(pairs.start), relative, relative, pairs.lag)
    lines: list[AgedLine] = []
    for start in np.unique(pairs.start):
        own = (pairs.start == start) & np.isfinite(squares) & np.isfinite(bases)
        if own.sum() > 1:
            xs = tuple(one_of[own] for one_of in arguments)
            lines.append((float(start), xs, squares[own], float(bases[own][0])))
    return lines


def landscape(
    runs: Runs,
    ax: Axes | None = None,
    *,
    kind: str = "filter",
    arm: int | str | Shown | None = None,
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> Axes:
    """Spread of loss differences against the radius, at the last scan of each run.

    Both axes are logarithmic; dotted lines have the slopes γ = 1, as of random barriers (and of
    any smooth loss at small radii), and γ = 2, as of a bowl.

    Arguments:
        runs: a study, or recordings as `us.load` gives them, with landscape scans.
        ax: to be drawn on; by default a new figure.
        kind: of directions: "isotropic", "filter", "noise" or "trajectory".
        arm: its batch size, name, or one of its runs; by default one arm a batch size.
        limits: of radius and spread; by default they follow from the scans.

    Returns:
        The axes.

    Raises:
        ValueError: when there is no such kind of direction.

    >>> us.plot.landscape(us.load("runs/*.nc"), kind="filter")  # doctest: +SKIP
    """
    if kind not in DIRECTIONS:
        raise ValueError(f"kind: found {kind!r}, expected one of {', '.join(DIRECTIONS)}")
    axes = look.axes_of(ax, (360, 330))
    study = study_of(runs)
    spreads = {one: study.found(spread_of, one, kind) for one in _shown(study, arm)}
    known = {one: found for one, found in spreads.items() if found is not None}
    x, y = limits or landscape_limits(list(known.values()))
    look.frame(axes, x=x, y=y, log="xy", across="radius r", up="spread of ΔL")
    start = x[0] * (x[1] / x[0]) ** 0.45
    foot = y[0] * (y[1] / y[0]) ** 0.04
    for power in _GUIDES:
        ends = np.array([start, x[1]])
        heights = foot * (ends / start) ** power
        dots: dict[str, Any] = {
            "color": look.AXIS,
            "linewidth": look.THIN,
            "linestyle": look.DOTTED,
        }
        look.line(axes, ends, heights, **dots)
        inside = min(x[1], start * (y[1] / foot) ** (1 / power))
        middle = start * (inside / start) ** 0.6
        spot = (middle, foot * (middle / start) ** power)
        look.write(axes, spot, f"γ = {power:g}", offset=(4, -6), ha="left").set_gid("halo")
    for one, found in known.items():
        look.line(axes, found.time, found.value, color=one.colour, linewidth=look.LINE)
        look.line(axes, found.time, found.value, **one.marks(look.MEAN - 0.2), zorder=4)
    return axes


def spread_of(study: Study, one: Shown, kind: str) -> Curve | None:
    """Geometric mean over the seeds of an arm of the spread at each radius of their last scans."""
    scanned = study.where(lambda run: "loss_difference" in run).each(scans_of)
    last = [scanned[node][kind][-1] for node in one.nodes if scanned.get(node, {}).get(kind)]
    radii: dict[int, list[tuple[float, float]]] = {}
    for scan in last:  # radii of runs differ a little: they go with the norm of the weights
        for place, (radius, spread) in enumerate(zip(scan.radius, scan.spread(), strict=True)):
            if np.isfinite(spread) and spread > 0:
                radii.setdefault(place, []).append((np.log(radius), np.log(spread)))
    full = [np.mean(own, axis=0) for own in radii.values() if 2 * len(own) > len(last)]
    if len(full) < 2:
        return None
    middle = np.exp(np.array(sorted(map(tuple, full))))
    return Curve(middle[:, 0], middle[:, 1])


def landscape_limits(found: Sequence[Curve]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits of radius and spread that hold several kinds of directions."""
    x = look.limits([each.time for each in found], log=True)
    y = look.limits([each.value for each in found], log=True, room=0.1)
    return x, (y[0] / 3, y[1])


def scanned_kinds(runs: Runs) -> list[str]:
    """The kinds of directions of which any leading arm has a spread to draw."""
    study = study_of(runs)
    return [
        kind
        for kind in DIRECTIONS
        if any(study.found(spread_of, one, kind) is not None for one in _shown(study, None))
    ]
