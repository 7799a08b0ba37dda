"""Clocks that distances may be read against, and which of them makes batch sizes coincide best.

A clock is known from the rates and the batch size: iterations t, the summed rate Ση, the summed
squared rate over the batch size Ση²/M, and samples Mt.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .arms import constant_rate, total_distance

Array = NDArray[np.float64]

ITERATION, RATE, NOISE, SAMPLES = "iteration", "Ση", "Ση²/M", "samples"
CLOCKS = (ITERATION, RATE, NOISE, SAMPLES)
GRID = 33  # times at which curves of several runs are compared


def clock_values(run: xr.Dataset, clock: str) -> Array:
    """The clock at each record.

    Ση² is taken as η·Ση, with η of the phase of constant rate: exact within it up to a constant.

    Arguments:
        run: a recording.
        clock: one of `CLOCKS`.

    Returns:
        Its values, shape (iteration,).
    """
    iteration = run["iteration"].values
    if clock == ITERATION:
        return iteration
    size = int(run["batch_size"].values)
    if clock == SAMPLES:
        return iteration * float(size)
    rate = constant_rate(run).rate
    summed = run["learning_rate_sum"].values if "learning_rate_sum" in run else rate * iteration
    return summed if clock == RATE else rate * summed / size


def common_window(
    runs: Mapping[str, xr.Dataset], *, clock: str = ITERATION
) -> tuple[float, float]:
    """Where the records of all runs at a constant rate overlap on a clock; (1, 0) for nowhere."""
    ends = [_ends(run, clock) for run in runs.values()]
    if not all(last > 0 for _, last in ends):
        return 1, 0
    return max(first for first, _ in ends), min(last for _, last in ends)


def _ends(run: xr.Dataset, clock: str) -> tuple[float, float]:
    """The clock at the first and last record of the stretch of constant rate."""
    stretch = constant_rate(run).iteration
    if not stretch.size:
        return 1.0, 0.0
    values = clock_values(run, clock)[np.isin(run["iteration"].values, stretch)]
    return values[0].item(), values[-1].item()


def last_common_decade(
    runs: Mapping[str, xr.Dataset], *, clock: str = ITERATION
) -> NDArray[np.float64]:
    """Times of the last decade in `common_window`, equally spaced in their logarithm, (GRID,)."""
    last = common_window(runs, clock=clock)[1]
    return np.geomspace(last / 10, last, GRID)


def log_distance(
    run: xr.Dataset, times: NDArray[np.float64], *, clock: str = ITERATION
) -> NDArray[np.float64]:
    """One run's ln d on the times of a clock, shape (time,)."""
    distance = total_distance(run).values
    values = clock_values(run, clock)
    known = (run["iteration"].values >= 1) & (distance > 0) & (values > 0)
    return np.interp(np.log(times), np.log(values[known]), np.log(distance[known]))
