"""Clocks that distances may be read against, and which of them makes batch sizes coincide best.

A clock is known from the rates and the batch size: iterations t, the summed rate Ση, the summed
squared rate over the batch size Ση²/M, and samples Mt.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .arms import constant_rate

Array = NDArray[np.float64]

ITERATION, RATE, NOISE, SAMPLES = "iteration", "Ση", "Ση²/M", "samples"
CLOCKS = (ITERATION, RATE, NOISE, SAMPLES)


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
