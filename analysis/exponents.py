"""Exponents with their intervals, of an arm across its seeds or of a single run."""

import math
from dataclasses import dataclass

import xarray as xr
from scipy import stats

from .curves import Arm
from .exponent_rule import DETECTABLE


@dataclass(frozen=True)
class Estimate:
    """An exponent with its interval, of an arm or of a run.

    Attributes:
        name: whose it is, in words.
        exponent: p.
        low: lower end of the interval.
        high: upper end.
        error: standard error.
        decades: of growth beyond the onset.
        seeds: number of runs behind it.
    """

    name: str
    exponent: float
    low: float
    high: float
    error: float
    decades: float
    seeds: int = 1

    @property
    def farthest(self) -> float:
        """Distance of the interval's far end from 0."""
        return max(abs(self.low), abs(self.high))


def across_seeds(arm: Arm, fits: xr.Dataset, *, level: float) -> Estimate:
    """Mean exponent of an arm with its t interval across seeds.

    p̄ ± t_{S−1} · s/√S

    Arguments:
        arm: the arm.
        fits: fits of its S runs along `node`.
        level: confidence level.

    Returns:
        The estimate.
    """
    exponent = fits["exponent"].values
    error = float(exponent.std(ddof=1) / math.sqrt(exponent.size))
    half = error * float(stats.t.ppf(0.5 + level / 2, exponent.size - 1))
    mean = float(exponent.mean())
    name = f"mean of {exponent.size} seeds at {arm}"
    decades = float(fits["grown_decades"].min())
    return Estimate(name, mean, mean - half, mean + half, error, decades, exponent.size)


def within_run(fit: xr.Dataset) -> Estimate:
    """Exponent of one run with the interval of its own fit.

    Arguments:
        fit: the fit of one run, without dimensions.

    Returns:
        The estimate; it speaks of this trajectory and not of the next seed.
    """
    low, high = float(fit["exponent_low"]), float(fit["exponent_high"])
    error = float(fit["detectable"]) / DETECTABLE
    name = f"run {str(fit['run'].values)[:80]}"
    return Estimate(name, float(fit["exponent"]), low, high, error, float(fit["grown_decades"]))
