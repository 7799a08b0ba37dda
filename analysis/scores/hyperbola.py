"""The hyperbola of iterations against samples, fitted to several batch sizes.

S(M) = S_min·(1 + M_crit/M), fitted to ln S by least squares. Its interval comes from seeds that
all batch sizes share, or else from how runs at a batch size differ, or else from how far the
batch sizes lie off the curve.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize
from scipy.special import fdtrc, stdtr

from ultraslow.analysis.intervals import Interval, t_quantile
from ultraslow.diffusion.scaling import steps_to_target

Array = NDArray[np.float64]

_BOOTSTRAPS = 1000
# M_crit is sought from a thirtieth of the smallest to thirty times the largest batch size: beyond,
# iterations change by less than 3 % between the sizes that were run, or are ∝ 1/M to 3 %.
_BEYOND = 30.0
_GRID = 400
SIZES = 3  # two parameters, and one more to see whether they fit
MISFIT = 0.01  # p-value below which the hyperbola is said not to fit
SEEDWISE, RUNS, OFF_CURVE = "seeds", "runs", "misfit"  # what an interval comes from
_BEND = 5.0  # powers κ are sought from a fifth to this
_EQUAL = 1e-9  # differences in ln S that count as none: of copies, or of exact steps


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
        basis: what the interval comes from: `seeds`, `runs` at a batch size, or the `misfit`.
        departure: largest relative departure of a batch size's geometric mean from the curve.
    """

    critical: Interval
    fewest_steps: float
    misfit: float
    beyond: float = 1.0
    basis: str = SEEDWISE
    departure: float = math.nan


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
    along = _slope(fewest + shape)
    if found[0] in (np.log(grid[0]), np.log(grid[-1])):  # the curve beyond is what is tested
        low = found[0] == np.log(grid[0])
        shape, along = (np.zeros_like(sizes), 1 / sizes) if low else (-np.log(sizes), sizes)
        fewest = float(np.mean(means[0] - shape))
    inside = Hyperbola(
        Interval(best, *ends, seeds),
        math.exp(fewest),
        _misfit(fastest, fewest + shape, along),
        departure=float(np.abs(np.expm1(means[0] - fewest - shape)).max()),
    )
    return _at_edge(inside, sizes, means, grid, error=error)


def profile_hyperbola(
    sizes: Array, logs: Sequence[Array], *, level: float, least: float = 0.0
) -> Hyperbola:
    """The hyperbola of runs that share no seeds, of one run a batch size above all.

    The mean ln S of each of k batch sizes is fitted, and {M_crit : R(M_crit) − R ≤ t_ν²·s²} is the
    interval, with R the sum of squares at the best S_min, R without argument the least one. With
    two runs or more at every batch size s² is their variance, pooled, ν = Σ (r − 1) and the
    weights in R are the r runs of a size, unless the sizes lie off the curve by more than that
    explains. Else s² = R/(k − 2) and ν = k − 2: then the interval takes in how well the hyperbola
    holds, and says nothing of how runs differ.

    Lack of fit is tested by F = R/((k − 2)·s²) where runs are repeated, and else by κ = 1 in the
    curve S_min·(1 + (M_crit/M)^κ).

    Arguments:
        sizes: M, shape (size,), samples, increasing, three or more.
        logs: ln S of the runs at each batch size, shape (run,); they may differ in number.
        level: confidence level.
        least: a variance of ln S that is known to be there, as from rounding, which several sizes
            may share and then do not show.

    Returns:
        The fit. In the interval, n counts runs where it comes from them, else batch sizes.
    """
    counts: Array = np.array([one.size for one in logs], dtype=np.float64)
    within = float(sum(np.sum((one - one.mean()) ** 2) for one in logs))
    repeated = counts.min() > 1 and within > counts.sum() * _EQUAL**2
    means = np.array([one.mean() for one in logs])
    profile = _Profile(sizes, means, counts if repeated else np.ones_like(counts))
    best = profile.best()
    rest, beyond = profile.rest_of_best(best)
    off = float(rest**2 @ profile.weights) / (sizes.size - 2)
    spread = _Spread(max(off, least), sizes.size - 2)
    misfit = profile.curvature(best, least)
    basis, n = OFF_CURVE, sizes.size
    if repeated:
        freedom = int(counts.sum()) - sizes.size
        own = _Spread(max(within / freedom, least), freedom)
        misfit = float(fdtrc(spread.freedom, own.freedom, off / own.variance))
        if misfit >= MISFIT:
            spread, basis, n = own, RUNS, int(counts.sum())
    low, high = profile.ends(best, t_quantile(spread.freedom, level) ** 2 * spread.variance)
    above = 0.0 if beyond else np.log1p(math.exp(best) / sizes[0])
    fewest = math.exp(float(means[0] - above - rest[0]))
    found = Hyperbola(
        Interval(math.exp(best), low, high, n),
        fewest,
        misfit,
        basis=basis,
        departure=float(np.abs(np.expm1(rest)).max()),
    )
    return _profile_at_edge(found, profile, best, spread, least)


@dataclass(frozen=True)
class _Spread:
    """A variance of ln S with its degrees of freedom."""

    variance: float
    freedom: int


@dataclass(frozen=True)
class _Profile:
    """The weighted sum of squares R of mean ln S as a function of θ = ln M_crit."""

    sizes: Array
    means: Array
    weights: Array

    @property
    def edges(self) -> tuple[float, float]:
        return math.log(self.sizes[0] / _BEYOND), math.log(self.sizes[-1] * _BEYOND)

    def _centred(self, values: Array) -> Array:
        middle = values @ self.weights / self.weights.sum()
        return np.asarray(values - middle[..., None])

    def rest(self, place: ArrayLike) -> Array:
        """What the curve leaves of the means at the best S_min, shape (…, size)."""
        critical = np.exp(np.asarray(place, dtype=np.float64))[..., None]
        return self._centred(self.means - np.log1p(critical / self.sizes))

    def loss(self, place: ArrayLike) -> Array:
        """R, of the shape of the places."""
        return np.asarray(self.rest(place) ** 2 @ self.weights)

    def rest_of_best(self, best: float) -> tuple[Array, bool]:
        """What the best curve leaves, and whether that is the limit beyond an edge.

        Constant iterations are those of M_crit → 0 and ones ∝ 1/M those of M_crit → ∞, from which
        the curves at the edges still differ.
        """
        rest = self.rest(best)
        lower, upper = self.edges
        if lower < best < upper:
            return rest, False
        limit = self._centred(self.means + (best == upper) * np.log(self.sizes))
        beyond = bool(limit**2 @ self.weights < rest**2 @ self.weights)
        return (limit, True) if beyond else (rest, False)

    def best(self) -> float:
        """The place of the least sum of squares; an edge where it falls on to there."""
        grid = np.linspace(*self.edges, _GRID)
        k = int(np.argmin(self.loss(grid)))
        if k in (0, _GRID - 1):
            return float(grid[k])
        around = {"bounds": (grid[k - 1], grid[k + 1]), "options": {"xatol": 1e-9}}
        return float(
            optimize.minimize_scalar(lambda x: float(self.loss(x)), method="bounded", **around).x
        )

    def ends(self, best: float, allowed: float) -> tuple[float, float]:
        """The farthest M_crit on either side whose sum is not larger than the least and this."""
        limit = float(self.loss(best)) + allowed

        def over(place: float) -> float:
            return float(self.loss(place)) - limit

        found = []
        for edge, open_end in zip(self.edges, (0.0, math.inf), strict=True):
            path = np.linspace(edge, best, _GRID)
            inside = np.flatnonzero(self.loss(path) <= limit)
            k = int(inside[0]) if inside.size else _GRID - 1
            found.append(open_end if k == 0 else math.exp(_crossing(over, path[k - 1], path[k])))
        return found[0], found[1]

    def curvature(self, best: float, known: float) -> float:
        """p-value of κ = 1 in S_min·(1 + (M_crit/M)^κ), by F; NaN without a degree of freedom.

        The variance is that of what is left, or a known one where that is larger.
        """
        freedom = self.sizes.size - 3
        plain = float(self.rest_of_best(best)[0] ** 2 @ self.weights)
        if freedom < 1:
            return math.nan
        if plain <= self.sizes.size * _EQUAL**2:
            return 1.0

        def rest(parameters: Array) -> Array:
            power = np.logaddexp(0.0, (parameters[0] - np.log(self.sizes)) * parameters[1])
            return np.asarray(self._centred(self.means - power) * np.sqrt(self.weights))

        # From the best of a grid, as the sum may have more than one minimum.
        places = np.linspace(*self.edges, 60)
        powers = np.geomspace(1 / _BEND, _BEND, 25)
        curves = np.logaddexp(0.0, (places[:, None, None] - np.log(self.sizes)) * powers[:, None])
        losses = self._centred(self.means - curves) ** 2 @ self.weights
        row, column = np.unravel_index(int(np.argmin(losses)), losses.shape)
        start = (float(places[row]), float(powers[column]))
        limits = ([self.edges[0], 1 / _BEND - 1e-9], [self.edges[1] + 1e-9, _BEND + 1e-9])
        least = min(plain, 2 * float(optimize.least_squares(rest, start, bounds=limits).cost))
        variance = max(least / freedom, known, 1e-300)
        return float(fdtrc(1, freedom, (plain - least) / variance))


def _crossing(over: Callable[[float], float], outside: float, inside: float) -> float:
    """Where a function that is positive outside and not so inside becomes 0."""
    if over(inside) == 0.0:
        return inside
    return float(optimize.brentq(over, outside, inside, xtol=1e-10))


def _profile_at_edge(
    found: Hyperbola, profile: _Profile, place: float, spread: _Spread, least: float
) -> Hyperbola:
    """The fit without an estimate where the best lies at an edge of what is sought."""
    lower, upper = profile.edges
    if lower < place < upper:
        return found
    low = place == lower
    flat = profile.means if low else profile.means + np.log(profile.sizes)
    x = np.log(profile.sizes) - np.average(np.log(profile.sizes), weights=profile.weights)
    squares = float(profile.weights @ x**2)
    slope = float(profile.weights @ (x * flat)) / squares
    variance, freedom = spread.variance, spread.freedom
    if found.basis == OFF_CURVE:  # about the straight line that is tested, not about the edge
        rest = flat - np.average(flat, weights=profile.weights) - slope * x
        variance = max(float(profile.weights @ rest**2) / freedom, least)
    error = math.sqrt(variance / squares)
    beyond = float(2 * stdtr(freedom, -abs(slope) / max(error, _EQUAL)))
    ends = (0.0, found.critical.high) if low else (found.critical.low, math.inf)
    critical = replace(found.critical, value=math.nan, low=ends[0], high=ends[1])
    fewest = found.fewest_steps if low else math.nan
    return replace(found, critical=critical, fewest_steps=fewest, beyond=beyond)


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
    return float(2 * stdtr(error.seeds - 1, -abs(slopes[0]) / spread))


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


def _misfit(logs: Array, fitted: Array, along: Array) -> float:
    """p-value of Hotelling's T² that the residuals of the mean ln S are 0 in all directions left.

    Two directions belong to the fitted parameters, the second of them `along` the sizes, and are
    projected out. With fewer seeds than
    batch sizes at most one degree of freedom is left for the spread, and next to no power.
    """
    residual = logs - fitted[:, None]
    basis = np.linalg.svd(np.stack([np.ones_like(fitted), along], axis=1))[0][:, 2:]
    left = basis.T @ residual
    k, n = left.shape
    if n < k + 2:
        return math.nan
    mean, spread = left.mean(axis=1), np.atleast_2d(np.cov(left))
    if np.linalg.matrix_rank(spread) < k:
        return math.nan
    t_sq = n * float(mean @ np.linalg.solve(spread, mean))
    return float(fdtrc(k, n - k, t_sq * (n - k) / (k * (n - 1))))


def _slope(fitted: Array) -> Array:
    """∂ ln S/∂ ln M_crit = 1 − S_min/S along the sizes, up to a factor and a constant."""
    return -np.expm1(fitted.min() - fitted)
