"""P8: the motion ages; displacements after a waiting time s depend on ln τ/ln s.

Four readings of the two-time displacement Δ²(s, τ) = ‖w_{s+τ} − w_s‖² are compared, for τ ≥ s:

    aging in ln t           Δ² = d²(s)·F(ln τ/ln s)
    aging in t              Δ² = d²(s)·F(τ/s)
    aging in t, unscaled    Δ² = F(τ/s)
    stationary              Δ² = F(τ)

Each ln F is a cubic in ln of its argument (in ln τ/ln s itself for the first); the reading whose
residuals are smallest collapses the displacements best. The mean of ln Δ² over seeds is judged,
with a jackknife over seeds. At τ < s a walker in a valley is close to equilibrium and stationary
whatever it does later.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    joint_level,
    t_quantile,
)
from ultraslow.analysis.predictions.evidence import few_seeds
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import constant_rate, total_distance
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import interval, rounded
from ultraslow.diffusion.sketch import two_time_refined

Array = NDArray[np.float64]

EFFECT = "residual of the collapse over ln τ/ln s, relative to the best other"
READINGS = ("aging in ln t", "aging in t", "aging in t, unscaled", "stationary")
# Residuals that differ by less are those of readings that the data do not tell apart.
MARGIN = 0.10
# Simulated walkers on a random potential come close to their aging form slowly: over three decades
# another reading may leave residuals smaller by 1.6. Only larger factors speak against the claim.
AGAINST = 2.0
# Waiting times and lags: a grid even in ln t. Below 10 iterations ln τ/ln s means little.
WAITING, LAGS, FIRST = 12, 16, 10
DECADES = 2.5
_DEGREE = 3


@dataclass(frozen=True)
class Pairs:
    """Waiting times and lags at which displacements are compared, each of shape (pair,)."""

    start: Array
    lag: Array

    def arguments(self) -> tuple[Array, ...]:
        """The argument of F in each reading."""
        relative = np.log(self.lag / self.start)
        return np.log(self.lag) / np.log(self.start), relative, relative, np.log(self.lag)


@dataclass(frozen=True)
class _Collapse:
    """ln of the residual of aging in ln t over that of each other reading, with intervals."""

    arm: str
    seeds: int
    log: Array
    low: Array
    high: Array


def aging(study: Study) -> Verdict:
    """Verdict on P8.

    Supported when aging in ln t leaves residuals smaller by more than `MARGIN` than the other
    readings in every arm, contradicted when another leaves ones smaller by more than a factor
    `AGAINST` in one arm.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of residuals to the best other reading.
    """
    blank = question("P8", EFFECT)
    known, missing = study.comparable("sketch", "distance_sq", "learning_rate")
    if missing is not None:
        return blank.lacking(missing, known.sample)
    chosen = known.of_arms()
    if not chosen.runs:
        missing = few_seeds(known, "a sketch of the trajectory")
        return blank.lacking(missing, known.sample)
    pairs = _pairs(chosen.runs)
    if pairs is None:
        return blank.lacking(_short(), chosen.sample)
    found = _judge(chosen, pairs)
    wide = _judge(chosen.at(joint_level(study.level, len(found))), pairs)
    return _verdict(blank, chosen, found, wide)


def _times(run: xr.Dataset) -> NDArray[np.int64]:
    """Recorded iterations at a constant rate where the sketch is known."""
    finite = np.isfinite(run["sketch"].values).all(axis=1)
    at = run["iteration"].values[finite]
    stretch = constant_rate(run).iteration
    return at[(at >= FIRST) & np.isin(at, stretch)]


def _pairs(runs: Mapping[str, xr.Dataset]) -> Pairs | None:
    """Pairs of records that all runs have, thinned to a grid even in ln s and ln τ."""
    shared = _times(next(iter(runs.values())))
    for run in runs.values():
        shared = np.intersect1d(shared, _times(run))
    if shared.size < WAITING or shared[-1] < shared[0] * 10**DECADES:
        return None
    starts = _nearest(shared, np.geomspace(shared[0], shared[-1] / 20, WAITING))
    couples: set[tuple[int, int]] = set()
    for start in starts:
        later = shared[shared >= 2 * start]
        ends = _nearest(later, start + np.geomspace(start, shared[-1] - start, LAGS))
        couples |= {(int(start), int(end)) for end in ends}
    ordered = np.array(sorted(couples), dtype=np.float64)
    return Pairs(ordered[:, 0], ordered[:, 1] - ordered[:, 0])


def _nearest(known: NDArray[np.int64], wanted: Array) -> NDArray[np.int64]:
    return np.unique(known[np.abs(known - wanted[:, None]).argmin(axis=1)])


def displacements(run: xr.Dataset, pairs: Pairs) -> tuple[Array, Array]:
    """Ln Δ²(s, τ) and ln d²(s) of one run, each of shape (pair,)."""
    times = np.unique(np.concatenate([pairs.start, pairs.start + pairs.lag])).astype(np.int64)
    chosen = run.sel(iteration=times)
    distance_sq = total_distance(chosen).values ** 2
    squares = two_time_refined(chosen["sketch"].values, distance_sq).value
    rows = np.searchsorted(times, pairs.start)
    columns = np.searchsorted(times, pairs.start + pairs.lag)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(squares[rows, columns]), np.log(distance_sq[rows])


def collapse_residuals(log_square: Array, log_distance: Array, pairs: Pairs) -> Array:
    """Root mean squared residual of ln Δ² in each reading.

    Arguments:
        log_square: ln Δ², shape (pair,).
        log_distance: ln d²(s), shape (pair,).
        pairs: waiting times and lags.

    Returns:
        One residual a reading, in the order of `READINGS`.
    """
    relative = log_square - log_distance
    scaled = (relative, relative, log_square, log_square)
    return np.array([_residual(x, y) for x, y in zip(pairs.arguments(), scaled, strict=True)])


def _residual(x: Array, y: Array) -> float:
    centred = 2 * (x - x.min()) / np.ptp(x) - 1
    fitted = np.polynomial.chebyshev.Chebyshev.fit(centred, y, _DEGREE)(centred)
    return float(np.sqrt(np.mean((y - fitted) ** 2)))


def _judge(study: Study, pairs: Pairs) -> list[_Collapse]:
    found = []
    for arm, names in study.arms.items():
        measured = [displacements(study.runs[name], pairs) for name in names]
        squares, distances = (np.array(values) for values in zip(*measured, strict=True))
        if np.isfinite(squares).all() and np.isfinite(distances).all():
            found.append(_jackknife(str(arm), squares, distances, pairs, level=study.level))
    return found


def _jackknife(
    arm: str, squares: Array, distances: Array, pairs: Pairs, *, level: float
) -> _Collapse:
    """Log ratios of residuals of the mean over seeds, with delete-one-seed t intervals."""
    n = len(squares)
    kept = [np.delete(np.arange(n), k) for k in range(n)]
    whole = _log_ratios(squares, distances, pairs)
    parts = np.array([_log_ratios(squares[k], distances[k], pairs) for k in kept])
    values = n * whole - (n - 1) * parts
    half = t_quantile(n - 1, level) * values.std(axis=0, ddof=1) / math.sqrt(n)
    return _Collapse(arm, n, whole, whole - half, whole + half)


def _log_ratios(squares: Array, distances: Array, pairs: Pairs) -> Array:
    found = np.maximum(
        collapse_residuals(squares.mean(axis=0), distances.mean(axis=0), pairs), 1e-12
    )
    return np.log(found[0] / found[1:])


def _verdict(
    blank: Verdict, study: Study, found: Sequence[_Collapse], wide: Sequence[_Collapse]
) -> Verdict:
    if not found:
        return blank.lacking(_short(), study.sample)
    margin, against_margin = math.log1p(MARGIN), math.log(AGAINST)
    word, item = UNDECIDABLE, max(found, key=lambda item: float(item.log.max()))
    against = [one for one in wide if one.low.max() > against_margin]
    if against:
        word, item = CONTRADICTED, max(against, key=lambda one: float(one.low.max()))
    elif all(one.high.max() < -margin for one in found):
        word = SUPPORTED
    best = int(item.log.argmax())
    value, low, high = (float(np.exp(ends[best])) for ends in (item.log, item.low, item.high))
    return blank.decided(
        word,
        Interval(value, low, high, item.seeds),
        reason=_reason(word, item, best),
        needed=f"longer runs, or more than {item.seeds} seeds",
        sample=study.sample,
        assumptions=("displacements estimated from sketches of the weights",),
    )


def _reason(word: str, item: _Collapse, best: int) -> str:
    ends = interval(math.exp(item.low[best]), math.exp(item.high[best]), show=rounded)
    found = (
        f"over ln τ/ln s the residual is {rounded(math.exp(item.log[best]))} {ends} of that of "
        f"the reading '{READINGS[1 + best]}', mean of {item.seeds} seeds at {item.arm}"
    )
    if word == SUPPORTED:
        return f"Displacements collapse best over ln τ/ln s: {found}, the best other."
    if word == CONTRADICTED:
        return f"Displacements collapse better otherwise: {found}."
    far = f"by {MARGIN:.0%} for the claim, by a factor of {AGAINST:g} against it"
    return f"The readings are not told apart ({far}): {found}, the best other."


def _short() -> Missing:
    return Missing(
        f"The runs share less than {DECADES:g} decades of finite sketches after iteration "
        f"{FIRST}.",
        f"sketches at log-spaced records over {DECADES:g} decades of constant learning rate",
    )
