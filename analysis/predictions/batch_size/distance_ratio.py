"""Ratios of distances between batch sizes, with intervals from the spread between seeds.

Runs are compared on the last decade of iterations that all of them have in common, in ln t, and by
ratios. Seeds are the sample, and the variance is not pooled over arms, since larger batches may
spread less.
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import unpaired
from ultraslow.analysis.runs import ITERATION, Arm, clock_values, constant_rate, total_distance
from ultraslow.analysis.runs.arms import arms
from ultraslow.analysis.text import interval, rounded

GRID = 33
_TIMES = 3

# Of each arm, a row a run: ln d on common times, or one number that stands for them.
Curves = dict[Arm, NDArray[np.float64]]


@dataclass(frozen=True)
class Ratio:
    """Logarithm of the ratio of two arms' distances, with its interval.

    Attributes:
        numerator: the arm above.
        denominator: the arm below.
        log: mean difference of ln d.
        low: lower end of its interval.
        high: upper end.
    """

    numerator: Arm
    denominator: Arm
    log: float
    low: float
    high: float

    def short(self) -> str:
        """The ratio with its interval."""
        ends = interval(ratio_of(self.low), ratio_of(self.high), show=rounded)
        return f"{rounded(ratio_of(self.log))} {ends}"

    def __str__(self) -> str:
        sizes = f"batch {self.numerator.batch_size} over batch {self.denominator.batch_size}"
        return f"{self.short()} ({sizes})"


def common_window(runs: dict[str, xr.Dataset], *, clock: str = ITERATION) -> tuple[float, float]:
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
    runs: dict[str, xr.Dataset], *, clock: str = ITERATION
) -> NDArray[np.float64]:
    """Times of the last decade in `common_window`, equally spaced in their logarithm, (GRID,)."""
    last = common_window(runs, clock=clock)[1]
    return np.geomspace(last / 10, last, GRID)


def log_curves(
    runs: dict[str, xr.Dataset], times: NDArray[np.float64], *, clock: str = ITERATION
) -> Curves:
    """Each arm's ln d on common times, linear in the logarithm of time between records.

    Arguments:
        runs: recordings by node name.
        times: of the clock, shape (time,).
        clock: one of `clocks.CLOCKS`.

    Returns:
        ln d of each arm's runs, shape (run, time).
    """
    return {
        arm: np.stack([log_distance(runs[name], times, clock=clock) for name in names])
        for arm, names in arms(runs).items()
    }


def log_distance(
    run: xr.Dataset, times: NDArray[np.float64], *, clock: str = ITERATION
) -> NDArray[np.float64]:
    """One run's ln d on the times of a clock, shape (time,)."""
    distance = total_distance(run).values
    values = clock_values(run, clock)
    known = (run["iteration"].values >= 1) & (distance > 0) & (values > 0)
    return np.interp(np.log(times), np.log(values[known]), np.log(distance[known]))


def log_slopes(
    runs: dict[str, xr.Dataset], times: NDArray[np.float64], *, clock: str = ITERATION
) -> Curves:
    """Logarithm of each run's slope dd/d ln t over the times; NaN where the distance falls."""
    curves = log_curves(runs, times, clock=clock)
    centred = np.log(times) - np.log(times).mean()
    slopes = {arm: np.exp(logs) @ centred / (centred @ centred) for arm, logs in curves.items()}
    return {
        arm: np.log(values, out=np.full_like(values, np.nan), where=values > 0)
        for arm, values in slopes.items()
    }


def means(curves: Curves) -> Curves:
    """The mean of ln d over time, one number a run."""
    return {arm: values.mean(axis=1) for arm, values in curves.items()}


def at_column(curves: Curves, column: int) -> Curves:
    """One number a run: its ln d at one of the times."""
    return {arm: values[:, column] for arm, values in curves.items()}


def pairs_in_time(curves: Curves, *, level: float) -> list[Ratio]:
    """Ratios of all pairs of arms at the start, in the middle and at the end of the times."""
    columns = np.linspace(0, GRID - 1, _TIMES).astype(int)
    return [
        log_ratio(above, below, at_column(curves, column), level=level)
        for below, above in combinations(sorted(curves), 2)
        for column in columns
    ]


def pairs_of(logs: Curves, *, level: float) -> list[Ratio]:
    """Ratios of all pairs of arms from one number a run."""
    pairs = combinations(sorted(logs), 2)
    return [log_ratio(above, below, logs, level=level) for below, above in pairs]


def log_ratio(numerator: Arm, denominator: Arm, logs: Curves, *, level: float) -> Ratio:
    """Ratio of two arms' distances from one ln d a run, by Welch's interval (`unpaired`).

    Arguments:
        numerator: the arm above.
        denominator: the arm below.
        logs: ln d of each arm's runs, shape (run,).
        level: confidence level.

    Returns:
        The ratio's logarithm with its interval.
    """
    found = unpaired(logs[numerator], logs[denominator]).interval(level)
    return Ratio(numerator, denominator, found.value, found.low, found.high)


def ratio_of(value: float) -> float:
    """The ratio behind its logarithm; infinite where it would overflow."""
    return math.exp(value) if value < 700 else math.inf
