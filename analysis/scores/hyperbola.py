"""The hyperbola of iterations against samples, fitted to several batch sizes.

S(M) = S_min·(1 + M_crit/M), fitted to ln S by least squares, with seeds as the sample.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ultraslow.analysis.intervals import Interval, t_quantile
from ultraslow.diffusion.scaling import steps_to_target

Array = NDArray[np.float64]

_BOOTSTRAPS = 1000
# M_crit is sought from a thirtieth of the smallest to thirty times the largest batch size: beyond,
# iterations change by less than 3 % between the sizes that were run, or are ∝ 1/M to 3 %.
_BEYOND = 30.0
_GRID = 400


@dataclass(frozen=True)
class Hyperbola:
    """A fitted hyperbola.

    Attributes:
        critical: M_crit, samples, of `n` seeds; NaN where the best lies at the edge of what is
            sought. Its lower end is 0 and its upper one infinite where the batch sizes do not
            bound it.
        fewest_steps: S_min, iterations; NaN where M_crit lies at the upper edge.
        misfit: p-value of "the iterations follow the hyperbola"; NaN where it cannot be told.
        beyond: p-value of "the iterations are constant" where M_crit lies at the lower edge, of
            "they are ∝ 1/M" at the upper edge; 1 elsewhere. Small, no hyperbola fits.
    """

    critical: Interval
    fewest_steps: float
    misfit: float
    beyond: float = 1.0


def fit_hyperbola(
    sizes: Array, logs: Sequence[Array], *, level: float, rng: np.random.Generator
) -> Hyperbola:
    """The hyperbola of the iterations that seeds took at each batch size, at the fastest rate.

    The interval is ln M_crit ± t_{n−1}·s·√(n/(n − 1)), with s the standard deviation over a
    bootstrap that draws whole seeds, whose iterations at different batch sizes may go together,
    and that chooses the rate anew each time. It is open on a side where more draws than it leaves
    out lie at the edge; the other end is then that of all M_crit at which the slope of the sum of
    squares does not differ from 0, by a t test with the same bootstrap.

    Arguments:
        sizes: M, shape (size,), samples, increasing.
        logs: ln S of each batch size, shape (rate, seed); rates may differ in number.
        level: confidence level.
        rng: source of random numbers.

    Returns:
        The fit.
    """
    grid = np.geomspace(sizes[0] / _BEYOND, sizes[-1] * _BEYOND, _GRID)
    seeds = logs[0].shape[1]
    drawn = rng.integers(0, seeds, (_BOOTSTRAPS, seeds))
    drawn = np.concatenate([np.arange(seeds)[None], drawn])
    means = np.stack([rates[:, drawn].mean(axis=2).min(axis=0) for rates in logs], axis=1)
    found = _best(sizes, means, grid)
    error, best = _Error(seeds, level), math.exp(found[0])
    shape = np.log(steps_to_target(sizes, fewest_steps=1.0, critical_batch_size=best))
    fewest = float(np.mean(means[0] - shape))
    fastest = np.stack([rates[np.argmin(rates.mean(axis=1))] for rates in logs])
    ends = _ends(found, np.log(grid), sizes, means, error=error)
    critical = Interval(best, *ends, seeds)
    inside = Hyperbola(critical, math.exp(fewest), _misfit(fastest, fewest + shape))
    return _at_edge(inside, sizes, means, grid, error=error)


@dataclass(frozen=True)
class _Error:
    """How long intervals are: of so many seeds, at a level."""

    seeds: int
    level: float

    @property
    def quantile(self) -> float:
        return t_quantile(self.seeds - 1, self.level)

    def of(self, draws: Array) -> Array:
        """Standard error from bootstrap draws, shape (draw, …) → (…)."""
        return np.asarray(draws.std(axis=0, ddof=1) * math.sqrt(self.seeds / (self.seeds - 1)))


def _at_edge(
    found: Hyperbola, sizes: Array, means: Array, grid: Array, *, error: _Error
) -> Hyperbola:
    """The fit without an estimate where the best lies at an edge of the grid."""
    best = found.critical
    if best.value <= grid[0] * (1 + 1e-9):
        beyond = _departure(means, 1 / sizes, error)
        return replace(found, critical=replace(best, value=math.nan, low=0.0), beyond=beyond)
    if best.value >= grid[-1] * (1 - 1e-9):
        beyond = _departure(means + np.log(sizes), sizes, error)
        above = replace(best, value=math.nan, high=math.inf)
        return replace(found, critical=above, fewest_steps=math.nan, beyond=beyond)
    return found


def _departure(flat: Array, direction: Array, error: _Error) -> float:
    """p-value of t that means, constant in the limit of an edge, have no slope on a direction."""
    slopes = flat @ (direction - direction.mean()) / np.ptp(direction)
    spread = float(error.of(slopes[1:]))
    if spread < 1e-9:
        return 1.0
    return float(2 * stats.t.sf(abs(slopes[0]) / spread, error.seeds - 1))


def _best(sizes: Array, means: Array, grid: Array) -> Array:
    """Ln M_crit of least squares for each row of mean ln S; S_min is profiled out."""
    shapes, centred = _centred(np.log1p(grid[:, None] / sizes)), _centred(means)
    # Σ(y − s)² less Σ y², which is the same for the whole row.
    loss = np.sum(shapes**2, axis=1) - 2 * centred @ shapes.T
    return _vertex(np.log(grid), loss)


def _centred(rows: Array) -> Array:
    return np.asarray(rows - rows.mean(axis=1, keepdims=True))


def _vertex(log_grid: Array, loss: Array) -> Array:
    """Minimum of each row by a parabola through the three best points; edges stay edges."""
    k = np.argmin(loss, axis=1)
    inner = np.clip(k, 1, log_grid.size - 2)
    rows = np.arange(loss.shape[0])
    left, middle, right = (loss[rows, inner + step] for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.where(bend > 0, 0.5 * (left - right) / np.where(bend > 0, bend, 1.0), 0.0)
    step = log_grid[1] - log_grid[0]
    edge = (k == 0) | (k == log_grid.size - 1)
    return np.where(edge, log_grid[k], log_grid[inner] + np.clip(shift, -1, 1) * step)


def _ends(
    found: Array, log_grid: Array, sizes: Array, means: Array, *, error: _Error
) -> tuple[float, float]:
    """The interval; an end is open where more draws than it leaves out lie at the grid's edge."""
    middle, draws = float(found[0]), found[1:]
    inside = draws[(draws > log_grid[0]) & (draws < log_grid[-1])]
    half = error.quantile * float(error.of(inside)) if inside.size > 1 else 0.0
    tail = (1 - error.level) / 2
    open_low = np.mean(draws <= log_grid[0]) > tail or middle - half < log_grid[0]
    open_high = np.mean(draws >= log_grid[-1]) > tail or middle + half > log_grid[-1]
    if not (open_low or open_high):
        return math.exp(middle - half), math.exp(middle + half)
    rejected = log_grid[_rejected(sizes, means, np.exp(log_grid), error)]
    below, above = rejected[rejected < middle], rejected[rejected > middle]
    return (
        0.0 if open_low or not below.size else math.exp(below[-1]),
        math.inf if open_high or not above.size else math.exp(above[0]),
    )


def _rejected(sizes: Array, means: Array, grid: Array, error: _Error) -> NDArray[np.bool_]:
    """Where in the grid the slope of the sum of squares by ln M_crit differs from 0."""
    shapes = _centred(np.log1p(grid[:, None] / sizes))
    slopes = _centred(1 / (1 + sizes / grid[:, None]))  # ∂ ln S/∂ ln M_crit
    scores = _centred(means) @ slopes.T - np.sum(shapes * slopes, axis=1)
    return np.asarray(np.abs(scores[0]) > error.quantile * error.of(scores[1:]))


def _misfit(logs: Array, fitted: Array) -> float:
    """p-value of Hotelling's T² that the residuals of the mean ln S are 0 in all directions left.

    Two directions belong to the fitted parameters and are projected out. With fewer seeds than
    batch sizes at most one degree of freedom is left for the spread, and next to no power.
    """
    residual = logs - fitted[:, None]
    basis = np.linalg.svd(np.stack([np.ones_like(fitted), _slope(fitted)], axis=1))[0][:, 2:]
    left = basis.T @ residual
    k, n = left.shape
    if n < k + 2:
        return math.nan
    mean, spread = left.mean(axis=1), np.atleast_2d(np.cov(left))
    if np.linalg.matrix_rank(spread) < k:
        return math.nan
    t_sq = n * float(mean @ np.linalg.solve(spread, mean))
    return float(stats.f.sf(t_sq * (n - k) / (k * (n - 1)), k, n - k))


def _slope(fitted: Array) -> Array:
    """∂ ln S/∂ ln M_crit = 1 − S_min/S along the sizes, up to a factor and a constant."""
    return -np.expm1(fitted.min() - fitted)
