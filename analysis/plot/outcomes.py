"""What training comes to: the loss, and held-out scores beside the distance."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ultraslow.analysis.runs import label
from ultraslow.analysis.scores import trainings
from ultraslow.analysis.study import Study

from . import look
from .arms import Curve, Runs, Shown, arms_of, chosen, curve, leading, mean, study_of
from .growth import curve_of
from .labels import End, name_ends

Array = NDArray[np.float64]

_MOST = 14  # arms in one picture of the loss
_TASK = ("model", "data", "data_size")  # what scores depend on beside the training
_POINTS = 200  # times at which a mean is drawn


def loss(
    runs: Runs,
    ax: Axes | None = None,
    *,
    arm: int | str | Shown | None = None,
    rules: bool = True,
) -> Axes:
    """Training loss against iterations, mean over the seeds of each arm.

    Arms of one batch size are told apart by dashes and by the names at their ends: full lines and
    filled marks have η ∝ √M.

    Arguments:
        runs: a study, or recordings as `us.load` gives them.
        ax: to be drawn on; by default a new figure.
        arm: its batch size, name, or one of its runs; by default all arms.
        rules: whether arms of every rule for the learning rate are drawn, or one a batch size.

    Returns:
        The axes.

    >>> us.plot.loss(us.load("runs/*.nc"))  # doctest: +SKIP
    """
    axes = look.axes_of(ax, (540, 330))
    study = study_of(runs)
    every = arms_of(study) if arm is None else [chosen(study, arm)]
    shown = [one for one in every if not one.rung] or every
    shown = leading(shown) if len(shown) > _MOST or not rules else shown
    curves = {one: study.found(loss_curves, one) for one in shown}
    curves = {one: found for one, found in curves.items() if found}
    flat = [each for found in curves.values() for each in found]
    log = all((each.value > 0).all() for each in flat)
    low, high = look.limits([each.time for each in flat], log=True, room=0)
    foot, top = look.limits([each.value for each in flat], log=log)
    up = "training loss, mean over seeds"
    look.frame(axes, x=(low, high), y=(foot, top), log="xy" if log else "x", up=up)
    sizes = [one.batch_size for one in curves]
    ends = []
    for one, found in curves.items():
        middle = mean(found, _POINTS)
        if middle is None or not middle.time.size:
            continue
        beside = [each.rule_words for each in curves if each.batch_size == one.batch_size]
        dashes = _DASHES[beside.index(one.rule_words) % len(_DASHES)]
        style: dict[str, Any] = {"color": one.colour, "linewidth": look.LINE, "linestyle": dashes}
        look.line(axes, middle.time, middle.value, **style)
        hollow = one.rule not in ("sqrt", "") or bool(one.set_name or one.rung)
        marks = one.marks(look.MEAN - 0.2, hollow=hollow)
        look.line(axes, middle.time[::28], middle.value[::28], **marks, zorder=4)
        several = sizes.count(one.batch_size) > 1
        name = f"{one.title}, {one.rule_words}" if several and one.rule_words else one.title
        end = float(middle.time[-1]), float(middle.value[-1])
        ends.append(End(*end, _brief(axes, name), falls=True))
    name_ends(axes, ends)
    return axes


# One batch size: the first of its arms, then others.
_DASHES = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 1.5, 1, 1.5)), (0, (9, 2)), (0, (1, 1)))


def _brief(axes: Axes, name: str) -> str:
    """A name of an arm that leaves the curves most of the figure."""
    narrow = look.is_narrow(axes)
    return look.shortened(
        name.removeprefix("M = ") if narrow else name, 100.0 if narrow else 170.0
    )


def loss_curves(study: Study, one: Shown) -> list[Curve]:
    """The loss of an arm's runs that recorded it."""
    found = [study.runs[node] for node in one.nodes if "loss" in study.runs[node]]
    return [each for run in found if (each := curve(run["loss"])).time.size]


def generalization(runs: Runs, ax: Axes | None = None) -> Axes:
    """Held-out score against the distance, at the end of each run.

    Filled marks have η ∝ √M, hollow ones another rule; each arm is named beside its runs.

    Arguments:
        runs: a study, or recordings as `us.load` gives them, that were evaluated.
        ax: to be drawn on; by default a new figure.

    Returns:
        The axes.

    >>> us.plot.generalization(us.load("runs/*.nc"))  # doctest: +SKIP
    """
    axes = look.axes_of(ax, (540, 330))
    study = study_of(runs)
    points = study.found(scored_ends)
    accuracy = study.metric == "accuracy"
    x = look.limits([own[0] for own in points.values()], log=True, room=0.12)
    y = look.limits([own[1] for own in points.values()], log=False, room=0.1)
    words = (lambda v: f"{look.tick(round(100 * v, 6))} %") if accuracy else look.tick
    up = "held-out accuracy" if accuracy else f"−ln held-out {study.metric or 'score'}"
    across = "distance at the end" if look.is_narrow(axes) else "distance at the end, logarithmic"
    look.frame(axes, x=x, y=y, across=across, up=up, words=(look.tick, words))
    for one, (far, score) in points.items():
        hollow = one.rule not in ("sqrt", "") or bool(one.set_name or one.rung)
        look.line(axes, far, score, **one.marks(4.2, hollow=hollow))
    _name_clouds(axes, points)
    return axes


def scored_ends(study: Study) -> dict[Shown, tuple[Array, Array]]:
    """Distance and score at the end of each run, by arm, of the network and data of the first.

    Scores of other data cannot be set beside them, nor those of the upper rungs of a ladder.
    """
    found: dict[Shown, tuple[Array, Array]] = {}
    every = [one for one in arms_of(study) if not one.rung]
    task = {one: [label(study.runs[one.nodes[0]], name) for name in _TASK] for one in every}
    if not study.metric or not every:
        return found
    for one in every:
        if task[one] != task[every[0]]:
            continue
        runs = {node: study.runs[node] for node in one.nodes}
        pairs = []
        for node, scored in zip(runs, trainings(runs, study.metric), strict=True):
            far = study.found(curve_of, node)
            if far.time.size and scored.score.size and far.value[-1] > 0:
                pairs.append((float(far.value[-1]), float(scored.score[-1])))
        if pairs:
            far_all, scores = np.array(pairs).T
            found[one] = far_all, scores
    return found


def _name_clouds(axes: Axes, points: dict[Shown, tuple[Array, Array]]) -> None:
    """The name of each arm beside its runs, where it touches neither marks nor other names."""
    to_pixels = axes.transData + axes.transAxes.inverted()
    wide, high = look.size_of(axes)
    scale = np.array([wide, high])
    marks = [to_pixels.transform(np.column_stack(own)) * scale for own in points.values()]
    taken = [(*(m - 5), *(m + 5)) for cloud in marks for m in cloud]
    sizes = [one.batch_size for one in points]
    for one, cloud in zip(points, marks, strict=True):
        # What its mark does not show: hollow ones stand for a rule, which a rate makes plain.
        plain = one.rule == "sqrt" and not one.set_name
        apart = one.beside if one.beside.startswith("η") else "" if plain else one.rule_words
        several = sizes.count(one.batch_size) > 1 and bool(apart)
        name = f"{one.title}, {apart}" if several else one.title
        if look.is_narrow(axes) and one.batch_size:
            name = name.removeprefix("M = ")
        name = look.shortened(name, 150.0)
        long = look.measured(name, look.TEXT)
        for left, middle, side in _beside(cloud, long):
            box = (left, middle - 7, left + long, middle + 7)
            inside = box[0] >= -20 and box[2] <= wide + 40 and 4 <= middle <= high
            if inside and not any(_touch(box, other) for other in taken):
                spot = (left if side == "left" else left + long) / wide, middle / high
                look.write(axes, spot, name, at="axes", ha=side)
                taken.append(box)
                break


def _beside(cloud: Array, long: float) -> list[tuple[float, float, str]]:
    """Places for a name: left end and middle, pixels, and the side that is anchored."""
    low, high, middle = cloud.min(axis=0), cloud.max(axis=0), cloud.mean(axis=0)
    heights = (middle[1], high[1] + 5, low[1] - 5, high[1] + 14, low[1] - 14, high[1] + 26)
    right = [(high[0] + 9, height, "left") for height in heights]
    left = [(low[0] - 9 - long, height, "right") for height in heights]
    return [place for both in zip(right, left, strict=True) for place in both]


def _touch(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
