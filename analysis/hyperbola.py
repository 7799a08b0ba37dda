"""The hyperbola of iterations against samples, fitted to several batch sizes.

S(M) = S_min·(1 + M_crit/M), fitted to ln S by least squares, with seeds as the sample.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from diffusion.scaling import steps_to_target

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
        critical: M_crit, samples.
        low: lower end of its interval; 0 where the batch sizes do not bound it.
        high: upper end; infinite where they do not.
        fewest_steps: S_min, iterations.
        misfit: p-value of "the iterations follow the hyperbola"; NaN with too few seeds to tell.
    """

    critical: float
    low: float
    high: float
    fewest_steps: float
    misfit: float


def fit_hyperbola(
    sizes: Array, logs: Sequence[Array], *, level: float, rng: np.random.Generator
) -> Hyperbola:
    """The hyperbola of the iterations that seeds took at each batch size, at the fastest rate.

    The interval is ln M_crit ± t_{n−1}·s·√(n/(n − 1)), with s the standard deviation over a
    bootstrap that draws whole seeds, whose iterations at different batch sizes may go together,
    and that chooses the rate anew each time.

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
    critical = math.exp(found[0])
    shape = np.log(steps_to_target(sizes, fewest_steps=1.0, critical_batch_size=critical))
    fewest = float(np.mean(means[0] - shape))
    ends = _ends(found[0], found[1:], np.log(grid), seeds=seeds, level=level)
    fastest = np.stack([rates[np.argmin(rates.mean(axis=1))] for rates in logs])
    return Hyperbola(critical, *ends, math.exp(fewest), _misfit(fastest, fewest + shape))


def _best(sizes: Array, means: Array, grid: Array) -> Array:
    """Ln M_crit of least squares for each row of mean ln S; S_min is profiled out."""
    shapes = np.log1p(grid[:, None] / sizes)
    shapes -= shapes.mean(axis=1, keepdims=True)
    centred = means - means.mean(axis=1, keepdims=True)
    # Σ(y − s)² less Σ y², which is the same for the whole row.
    loss = np.sum(shapes**2, axis=1) - 2 * centred @ shapes.T
    return _vertex(np.log(grid), loss)


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
    middle: float, draws: Array, log_grid: Array, *, seeds: int, level: float
) -> tuple[float, float]:
    """The interval; an end is open where more draws than it leaves out lie at the grid's edge."""
    t = float(stats.t.ppf(0.5 + level / 2, seeds - 1))
    inside = draws[(draws > log_grid[0]) & (draws < log_grid[-1])]
    if inside.size < 2:
        return 0.0, math.inf
    half = t * float(inside.std(ddof=1)) * math.sqrt(seeds / (seeds - 1))
    tail = (1 - level) / 2
    open_low = np.mean(draws <= log_grid[0]) > tail or middle - half < log_grid[0]
    open_high = np.mean(draws >= log_grid[-1]) > tail or middle + half > log_grid[-1]
    return 0.0 if open_low else math.exp(middle - half), math.inf if open_high else math.exp(
        middle + half
    )


def _misfit(logs: Array, fitted: Array) -> float:
    """p-value of Hotelling's T² that the residuals of the mean ln S are 0 in all directions left.

    Two directions belong to the fitted parameters and are projected out.
    """
    residual = logs - fitted[:, None]
    basis = np.linalg.svd(np.stack([np.ones_like(fitted), _slope(fitted)], axis=1))[0][:, 2:]
    left = basis.T @ residual
    k, n = left.shape
    if n <= k:
        return math.nan
    mean, spread = left.mean(axis=1), np.atleast_2d(np.cov(left))
    if np.linalg.matrix_rank(spread) < k:
        return math.nan
    t_sq = n * float(mean @ np.linalg.solve(spread, mean))
    return float(stats.f.sf(t_sq * (n - k) / (k * (n - 1)), k, n - k))


def _slope(fitted: Array) -> Array:
    """∂ ln S/∂ ln M_crit = 1 − S_min/S along the sizes, up to a factor and a constant."""
    return -np.expm1(fitted.min() - fitted)
