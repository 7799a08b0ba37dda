"""The confidence set of growth laws: those whose forecasts the runs of an arm do not refute.

With its shapes θ given, a law d = a + b f(t; θ) is fitted by linear least squares, and how far its
forecasts are off is a linear function of the records: of mean 0 over runs that follow the law,
whatever the noise is and however it is correlated. The runs are the sample, so a t test across
them asks whether each forecast is off. The law survives where some θ passes all its tests. This is
the inversion of a test: the true law is in the set with at least the stated probability, with
three runs as with ten, and no noise model is needed. Fitting θ anew at every origin would not do,
as a beginning that hardly tells θ gives forecasts that are off on average though the law holds.

What this keeps and excludes is simulated: tests/statistics/laws_table.md.

References:
    Ibragimov and Müller (2010), Journal of Business & Economic Statistics 28, 453: t tests across
    clusters. Hansen (1982), Econometrica 50, 1029: tests of more moments than parameters.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from .forecast import Forecast, check_curves, forecasts
from .laws import CANDIDATES, Candidate

Array = NDArray[np.float64]

# Values of each shape that are tried at first, for laws of one and of two; from how many of the
# best a search begins, and how many steps it may take.
_TRIED, _TRIED_OF_TWO = 81, 31
_STARTS, _STEPS = 3, 100
_NEAR, _ALIKE = 1e-6, 1e-3  # θ and |t| of the corners of a simplex that ends
_FINER, _STAGES = 8, 6  # how many times finer each further stage looks for the one of one shape
_ROUNDING = 1e-9  # a relative miss below it is none
# No law is the whole truth, and enough seeds refute each. What holds to a few per cent is worth
# knowing then, and beyond a fifth nothing is said to hold.
TOLERANCES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class ConfidenceSet:
    """Laws that the runs do not refute.

    Attributes:
        p_values: of every law: the smallest error at which it leaves the set.
        level: probability that the set holds the true law, at least.
        tolerance: share of the distance by which forecasts may be off; 0 where some law survives
            without, and otherwise the smallest of `TOLERANCES` at which one does.
    """

    p_values: Mapping[str, float]
    level: float
    tolerance: float = 0.0

    @property
    def surviving(self) -> tuple[str, ...]:
        """The laws in the set."""
        return tuple(name for name, p in self.p_values.items() if p > 1 - self.level)


def confidence_set(
    times: Array,
    values: Array,
    *,
    level: float = 0.95,
    candidates: Sequence[Candidate] = CANDIDATES,
) -> ConfidenceSet:
    """Laws whose forecasts are not shown to be off, from runs that differ by seed only.

    p = max over θ of min(1, K·min_k p_k(θ)), with p_k from the t test across runs of how far the
    k-th of K forecasts is off (Bonferroni). Where no law survives, forecasts may be off by a
    tolerance.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d > 0, shape (run, time), finite, two runs or more.
        level: probability that the set holds the true law, at least.
        candidates: the laws.

    Returns:
        The set.

    Raises:
        ValueError: with fewer than two runs, and as `forecast.rolling_origin`.

    >>> times = np.geomspace(1, 1e4, 40)
    >>> spread = 1 + 0.01 * np.random.default_rng(0).standard_normal((3, 40))
    >>> chosen = [law for law in CANDIDATES if law.name in ("log", "power")]
    >>> confidence_set(times, np.sqrt(times) * spread, candidates=chosen).surviving
    ('power',)
    """
    asked = forecasts(times)
    check_curves(times, values, asked)
    if len(values) < 2:
        raise ValueError("values: found one run, expected two or more, which tell their spread")
    kept: dict[str, dict[bytes, Array]] = {law.name: {} for law in candidates}
    for tolerance in TOLERANCES:
        p_values = {
            law.name: p_value(law, times, values, asked, tolerance, kept[law.name])
            for law in candidates
        }
        found = ConfidenceSet(p_values, level, tolerance)
        if found.surviving:
            break
    return found


def p_value(
    law: Candidate,
    times: Array,
    values: Array,
    asked: Sequence[Forecast],
    tolerance: float = 0.0,
    kept: dict[bytes, Array] | None = None,
) -> float:
    """The smallest error at which a law is refuted.

    Arguments:
        law: the law.
        times: t, shape (time,).
        values: d, shape (run, time), two runs or more.
        asked: what is forecast.
        tolerance: share of the distance by which forecasts may be off.
        kept: how far forecasts are off, by θ, where one that was found for another tolerance is.

    Returns:
        p of "some θ forecasts all distances within the tolerance, on average over runs".
    """
    off_by = _misses(law, times, values, asked)
    known = {} if kept is None else kept

    def largest(shapes: Array) -> Array:
        """The largest |t| over forecasts at given θ, shape (θ,)."""
        key = shapes.tobytes()
        if key not in known:
            known[key] = off_by(shapes)
        off = known[key]
        # Sums, as mean() and std() take longer than that for the few runs of an arm.
        mean = off.sum(axis=2, keepdims=True) / len(values)
        spread = np.sqrt(((off - mean) ** 2).sum(axis=2) / (len(values) - 1))
        error = spread / math.sqrt(len(values))
        beyond = np.maximum(np.abs(mean[:, :, 0]) - tolerance, 0.0)
        return (beyond / np.maximum(error, _ROUNDING)).max(axis=1)

    freedom, count = len(values) - 1, len(asked)
    certain = -float(stdtrit(freedom, 1 / (2 * count)))  # up to here p = 1
    statistic = _smallest(largest, *law.bounds(times), enough=certain)
    return min(1.0, 2 * count * float(stdtr(freedom, -statistic)))


def _misses(
    law: Candidate, times: Array, values: Array, asked: Sequence[Forecast]
) -> Callable[[Array], Array]:
    """How far forecasts are off, from θ (θ, shape) to shares of the distance (θ, forecast, run).

    With f̄ the mean of f over the records of a fit and f₁ the value at the target, the forecast is
    d̄ + b (f₁ − f̄), b = Σ (f − f̄) d / Σ (f − f̄)².
    """
    targets = np.array([one.weights for one in asked])
    ends = sorted({one.fitted for one in asked})  # forecasts from one origin have a fit in common
    which = np.array([ends.index(one.fitted) for one in asked])
    fitted = (np.arange(times.size) < np.array(ends)[:, None]).astype(np.float64)
    means = fitted / fitted.sum(axis=1, keepdims=True)
    actual = targets @ values.T
    level = (means @ values.T)[which] - actual

    def off_by(shapes: Array) -> Array:
        curves = law.curves(times, shapes)
        curves = curves / (curves[:, -1:] - curves[:, :1])
        mean = curves @ means.T
        centred = (curves[:, None] - mean[..., None]) * fitted
        slopes = centred @ values.T / (centred**2).sum(axis=2)[..., None]
        ahead = curves @ targets.T - mean[:, which]
        return np.asarray((slopes[:, which] * ahead[..., None] + level) / actual)

    return off_by


def _smallest(
    function: Callable[[Array], Array], low: Array, high: Array, *, enough: float
) -> float:
    """The minimum over a box: on a lattice, then about its best points.

    What is no larger than `enough` is not made smaller.

    With little noise the minimum of a law of two shapes lies in a valley that is far narrower than
    the lattice, so that the search begins at several of its points.
    """
    if low.size == 0:
        return float(function(np.empty((1, 0)))[0])
    tried = _TRIED if low.size == 1 else _TRIED_OF_TWO
    points = _lattice(low, high, tried)
    found = function(points)
    best = float(found.min())
    corners = points[np.argsort(found)[:_STARTS]]
    steps = (high - low) / (tried - 1)
    if low.size == 1:
        return _zoomed(function, corners, steps, low, high, best, enough)
    if best <= enough:
        return best
    return min(best, _walked(function, corners, steps, low, high, enough))


def _zoomed(
    function: Callable[[Array], Array],
    corners: Array,
    steps: Array,
    low: Array,
    high: Array,
    best: float,
    enough: float,
) -> float:
    """The minimum about some values of one shape, looked for at ever smaller steps."""
    offsets = np.linspace(-1, 1, 2 * _FINER + 1)
    for _ in range(_STAGES):
        if best <= enough:
            break
        around = np.clip(corners + offsets * steps, low, high)
        found = function(around.reshape(-1, 1)).reshape(around.shape)
        best = min(best, float(found.min()))
        corners = np.take_along_axis(around, found.argmin(axis=1)[:, None], axis=1)
        steps = steps / _FINER
    return best


def _walked(
    function: Callable[[Array], Array],
    corners: Array,
    steps: Array,
    low: Array,
    high: Array,
    enough: float,
) -> float:
    """The minimum that simplexes of Nelder and Mead find from values of two shapes.

    They move together, each by its own rule, as a value costs as much as values for all of them.
    """
    simplex = np.stack([_simplex(corner, steps, high) for corner in corners])
    found = function(simplex.reshape(-1, low.size)).reshape(simplex.shape[:2])
    every = np.arange(len(corners))
    for _ in range(_STEPS):
        order = np.argsort(found, axis=1)
        simplex = simplex[every[:, None], order]
        found = np.take_along_axis(found, order, axis=1)
        apart = np.abs(simplex[:, 1:] - simplex[:, :1]).max(), (found[:, -1] - found[:, 0]).max()
        if found[:, 0].min() <= enough or (apart[0] <= _NEAR and apart[1] <= _ALIKE):
            break
        middle = simplex[:, :-1].sum(axis=1) / low.size
        away = middle - simplex[:, -1]
        reflected = np.clip(middle + away, low, high)
        first = function(reflected)
        # Where that is the best yet, twice as far; where it is the worst, half of it or back.
        best, worst = first < found[:, 0], first >= found[:, -2]
        back = first >= found[:, -1]
        share = np.where(best, 2.0, np.where(back, -0.5, 0.5))
        other = np.clip(middle + share[:, None] * away, low, high)
        second = function(other)
        lower = second < np.where(back, found[:, -1], first)
        taken = lower & (best | worst)
        simplex[:, -1] = np.where(taken[:, None], other, reflected)
        found[:, -1] = np.where(taken, second, first)
        if (shrunk := np.flatnonzero(worst & ~lower)).size:
            simplex[shrunk] = (simplex[shrunk, :1] + simplex[shrunk]) / 2
            found[shrunk] = function(simplex[shrunk].reshape(-1, low.size)).reshape(-1, 3)
    return float(found.min())


def _simplex(corner: Array, steps: Array, high: Array) -> Array:
    """A corner and its neighbours along each axis, to the inside of the box."""
    signs = np.where(corner + steps > high, -1.0, 1.0)
    return np.vstack([corner, corner + np.diag(signs * steps)])


def _lattice(low: Array, high: Array, points: int) -> Array:
    axes = [np.linspace(one, other, points) for one, other in zip(low, high, strict=True)]
    return np.array(list(product(*axes)))
