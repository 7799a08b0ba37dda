"""Which clock makes the curves of all batch sizes coincide best, scored on seeds left out.

The curve of a run is predicted by the mean curve of the other batch sizes, over all seeds but its
own, on the clock in question. What is left is the root mean square of ln d.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .clocks import CLOCKS
from .curves import arms, label
from .distance_ratio import GRID, common_window, log_distance
from .replication import across_runs

Array = NDArray[np.float64]

_ROUNDING = 1e-9


def clock_errors(runs: Mapping[str, xr.Dataset], clock: str) -> dict[object, float]:
    """Out-of-seed error of one clock, over the last decade that all runs have in common on it.

    Arguments:
        runs: recordings by node name, of two batch sizes or more.
        clock: one of `clocks.CLOCKS`.

    Returns:
        Root mean squared error of ln d by seed, for the seeds that every arm has; empty where the
        runs share no decade of the clock, or fewer than two seeds.
    """
    known = dict(runs)
    first, last = common_window(known, clock=clock)
    members = list(arms(known).values())
    seed_of = {name: label(run, "seed", None) for name, run in known.items()}
    seeds = _shared_seeds(members, seed_of)
    if last < 10 * first or len(seeds) < 2:
        return {}
    times = np.geomspace(last / 10, last, GRID)
    curves = {name: log_distance(run, times, clock=clock) for name, run in known.items()}
    return {seed: _error(members, seed_of, curves, seed) for seed in sorted(seeds, key=str)}


def _shared_seeds(members: Sequence[Sequence[str]], seed_of: Mapping[str, object]) -> set[object]:
    """Seeds that every arm has, where there are two arms or more."""
    named = [{seed_of[name] for name in names} for names in members]
    return set.intersection(*named) - {None} if len(named) > 1 else set()


def _error(
    members: Sequence[Sequence[str]],
    seed_of: Mapping[str, object],
    curves: Mapping[str, Array],
    seed: object,
) -> float:
    """Error of predicting a seed's runs from the other seeds of the other arms."""
    squares = []
    for names in members:
        own = [n for n in names if seed_of[n] == seed]
        others = [n for n in curves if n not in names and seed_of[n] != seed]
        middle = np.mean([curves[n] for n in others], axis=0)
        squares += [float(np.mean((curves[n] - middle) ** 2)) for n in own]
    return math.sqrt(float(np.mean(squares)))


def best_clock(runs: Mapping[str, xr.Dataset], *, level: float = 0.95) -> str:
    """In words, the clock of least out-of-seed error; empty where fewer than two can be scored.

    Arguments:
        runs: recordings by node name.
        level: confidence level of telling it from the next best.

    Returns:
        One phrase with the errors of all clocks that can be scored.
    """
    scored = {clock: clock_errors(runs, clock) for clock in CLOCKS}
    means = {clock: float(np.mean(list(e.values()))) for clock, e in scored.items() if e}
    if len(means) < 2 or not all(map(math.isfinite, means.values())):
        return ""
    # Under the √M rule Ση²/M runs like the iterations: of equal clocks the first is named.
    order = sorted(means, key=lambda clock: round(means[clock] / _ROUNDING))
    best, following = order[:2]
    gains = [scored[best][seed] - scored[following][seed] for seed in scored[best]]
    told = across_runs(gains, level=level).high < -_ROUNDING
    listed = ", ".join(f"{clock} {means[clock]:.1%}" for clock in order)
    how = "" if told else f", not told from {following}"
    return f"curves coincide best over {best}{how} (out-of-seed errors: {listed})"
