"""Iterations to a target loss, and the loss that runs of several batch sizes can be held to."""

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import SEEDS
from ultraslow.analysis.runs import label

from .held_out import rate_of

Array = NDArray[np.float64]

# A run whose loss fell by less than this share of the largest fall at its batch size did not
# train.
_FALL = 0.5
_WHOLE = 0.9  # of what others reach: a run that ends before ended early
# The loss is averaged over this width of ln t, a tenth of a decade either way.
_WIDTH = 0.23


def smoothed(run: xr.Dataset) -> tuple[Array, Array]:
    """The training loss over time, averaged over a fifth of a decade.

    A record holds the mean loss of its window, which is taken to be the loss at the window's
    middle; windows are weighted by their updates.

    Arguments:
        run: a recording with a loss.

    Returns:
        Iterations and losses, shape (window,) each.
    """
    iteration, loss = (
        run.variables["iteration"].values.astype(np.float64),
        run.variables["loss"].values,
    )
    middle = (iteration + np.concatenate([[0.0], iteration[:-1]]) + 1) / 2
    updates = np.diff(iteration, prepend=0.0)
    known = (iteration >= 1) & np.isfinite(loss)
    time, value, weight = np.log(middle[known]), loss[known], updates[known]
    near = np.abs(time[:, None] - time) <= _WIDTH
    means = (near * weight) @ value / np.maximum(near @ weight, 1e-300)
    # What is averaged lies at the mean ln t of its windows, not at the middle one.
    centres = (near * weight) @ time / np.maximum(near @ weight, 1e-300)
    return np.exp(centres), means


def steps_to(run: xr.Dataset, target: float) -> float:
    """Iterations until the smoothed loss first reaches a target, linear in ln t between windows.

    Arguments:
        run: a recording with a loss.
        target: the loss.

    Returns:
        Iterations; NaN when it is never reached, and 0 when the first record is there already,
        so that when it was reached is not known.
    """
    time, loss = smoothed(run)
    below = np.flatnonzero(loss <= target)
    if not below.size:
        return math.nan
    k = int(below[0])
    if k == 0:
        return 0.0
    share = (loss[k - 1] - target) / (loss[k - 1] - loss[k])
    return float(math.exp((1 - share) * math.log(time[k - 1]) + share * math.log(time[k])))


def first_loss(run: xr.Dataset) -> float:
    """The loss at the first record with one; NaN without any."""
    loss = smoothed(run)[1]
    return float(loss[0]) if loss.size else math.nan


def lowest_loss(run: xr.Dataset) -> float:
    """The lowest smoothed loss; NaN where no loss is finite."""
    loss = smoothed(run)[1]
    return float(loss.min()) if loss.size else math.nan


def untrained(runs: Mapping[str, xr.Dataset]) -> tuple[str, ...]:
    """Runs that diverged or hardly trained, which the loss to reach may not hang on.

    Their loss is a finite number in the first half of their iterations at most, or it fell less
    than half as far as that of the best run of their batch size.

    Arguments:
        runs: recordings with a loss, by node name.

    Returns:
        Node names, in their order.
    """
    falls = {name: _fall(run) for name, run in runs.items()}
    most: dict[int, float] = {}
    for name, run in runs.items():
        size = int(run.variables["batch_size"].values)
        most[size] = max(most.get(size, 0.0), falls[name])
    return tuple(
        name
        for name, run in runs.items()
        if falls[name] < _FALL * most[int(run.variables["batch_size"].values)] or _ceases(run)
    )


def ended_early(runs: Mapping[str, xr.Dataset]) -> dict[str, int]:
    """Runs whose loss ends before nine tenths of what `SEEDS` others reach at the same rate.

    What they reach says nothing of the others, and sets no target for them.

    Arguments:
        runs: recordings with a loss, by node name.

    Returns:
        Of each the last iteration with a finite loss. Those that diverged are told apart.
    """
    fallen = set(untrained(runs))
    arms: dict[tuple[int, float], dict[str, int]] = {}
    for name, run in runs.items():
        known = run.variables["iteration"].values[np.isfinite(run.variables["loss"].values)]
        if name not in fallen and known.size:
            own = arms.setdefault((int(run.variables["batch_size"].values), rate_of(run)), {})
            own[name] = int(known[-1])
    found: dict[str, int] = {}
    for lasts in arms.values():
        if len(lasts) > SEEDS:
            reached = sorted(lasts.values(), reverse=True)[SEEDS - 1]
            found |= {name: last for name, last in lasts.items() if last < _WHOLE * reached}
    return found


def _fall(run: xr.Dataset) -> float:
    """First loss less the lowest; −1 where no loss is finite."""
    loss = smoothed(run)[1]
    return float(loss[0] - loss.min()) if loss.size else -1.0


def _ceases(run: xr.Dataset) -> bool:
    iteration, loss = run.variables["iteration"].values, run.variables["loss"].values
    return not np.isfinite(loss[iteration > iteration[-1] / 2]).any()


def common_target(runs: Mapping[str, xr.Dataset], enough: int = SEEDS) -> float:
    """The lowest loss that all seeds reach at every rate that trained.

    A rate trained when it has seeds enough and none of its runs is among the `untrained`.

    Arguments:
        runs: recordings with a loss, by node name.
        enough: seeds that are enough.

    Returns:
        The highest of the lowest smoothed losses of these runs; NaN where no rate trained.
    """
    fallen = set(untrained(runs))
    arms: dict[tuple[int, float], list[str]] = {}
    for name, run in runs.items():
        arms.setdefault((int(run.variables["batch_size"].values), rate_of(run)), []).append(name)
    counted = [
        name
        for names in arms.values()
        if not fallen & set(names) and len({label(runs[n], "seed", n) for n in names}) >= enough
        for name in names
    ]
    return max((lowest_loss(runs[name]) for name in counted), default=math.nan)
