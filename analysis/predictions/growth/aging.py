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
from functools import reduce

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    joint_level,
    t_quantile,
)
from ultraslow.analysis.predictions.evidence import (
    arm_titles,
    driven_by_noise,
    few_seeds,
    left_out,
    more_seeds,
    most_seen,
    mostly,
    undecided_by_seeds,
)
from ultraslow.analysis.predictions.means import Measure, Zone
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import Span, constant_rate, distances
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import interval, number, rounded
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
_OTHERS = len(READINGS) - 1


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
class _Arm:
    """What the runs of an arm have in common: squared displacements at the same pairs.

    Attributes:
        name: in words.
        nodes: its runs.
        squares: ln Δ², shape (seed, pair).
        distances: ln d²(s), of the same shape.
        pairs: waiting times and lags.
    """

    name: str
    nodes: tuple[str, ...]
    squares: Array
    distances: Array
    pairs: Pairs


@dataclass(frozen=True)
class _Collapse:
    """ln of the residual of aging in ln t over that of each other reading, with intervals.

    Attributes:
        arm: in words.
        seeds: how many.
        log: the logarithms, shape (reading,).
        low: lower ends.
        high: upper ends.
        values: the jackknife's numbers, one a seed, shape (seed, reading).
        end: last iteration.
    """

    arm: str
    seeds: int
    log: Array
    low: Array
    high: Array
    values: Array
    end: float


def aging(study: Study) -> Verdict:
    """Verdict on P8.

    Supported when aging in ln t leaves residuals smaller by more than `MARGIN` than the other
    readings, contradicted when another leaves ones smaller by more than a factor `AGAINST` in one
    arm. Each arm is judged over its own records; runs that are short, at rest or without gradient
    noise are left out.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of residuals to the best other reading.
    """
    blank = question("P8", EFFECT)
    known, missing = study.comparable("sketch", "distance_sq", "learning_rate")
    if missing is not None:
        return blank.lacking(missing, known.sample)
    noisy, still = driven_by_noise(known)
    if not noisy.of_arms().runs:
        return blank.lacking(few_seeds(noisy, "a sketch of the trajectory"), known.sample)
    long = noisy.where(_is_long)
    moving = mostly(long, (name for name, run in long.runs.items() if _moves(run)))
    arms = _arms(moving)
    if not arms:
        return blank.lacking(_short(noisy.of_arms()), noisy.sample)
    used = noisy.part(name for arm in arms for name in arm.nodes)
    notes = (
        *left_out(noisy, long, f"less than {DECADES:g} decades of sketches at a constant rate"),
        *left_out(long, moving, "the weights come to rest, or their arm does"),
        *left_out(
            moving, used, f"fewer than {SEEDS} seeds in the arm, or shorter than the others"
        ),
        *still,
    )
    found = [_jackknife(arm, level=study.level) for arm in arms]
    joint = joint_level(study.level, len(arms))
    wide = [_jackknife(arm, level=joint) for arm in arms]
    span = _span(arms)
    levels = study.level, joint
    return _verdict(blank, used, found, wide, notes=notes, span=span, levels=levels)


def _times(run: xr.Dataset) -> NDArray[np.int64]:
    """Recorded iterations at a constant rate whose displacements are known."""
    at = run.variables["iteration"].values
    if _is_exact(run):
        finite = np.isfinite(run.variables["displacement_sq"].values).all(axis=1)
        at = np.intersect1d(at[finite], run.variables["since"].values)
    else:
        at = at[np.isfinite(run.variables["sketch"].values).all(axis=1)]
    stretch = constant_rate(run).iteration
    return at[(at >= FIRST) & np.isin(at, stretch)]


def _is_exact(run: xr.Dataset) -> bool:
    """Whether displacements were measured, as of checkpoints, and not estimated from sketches."""
    return "displacement_sq" in run and bool(
        np.isfinite(run.variables["displacement_sq"].values).any()
    )


def _is_long(run: xr.Dataset) -> bool:
    return _spans(_times(run))


def _spans(times: NDArray[np.int64]) -> bool:
    return times.size >= WAITING and bool(times[-1] >= times[0] * 10**DECADES)


def _moves(run: xr.Dataset) -> bool:
    """Whether all displacements that are asked for are above 0: weights at rest have none."""
    pairs = _pairs(_times(run))
    return all(np.isfinite(values).all() for values in displacements(run, pairs))


def _arms(study: Study) -> list[_Arm]:
    """The arms with `SEEDS` runs that share records over `DECADES`."""
    titles, found = arm_titles(study.of_arms()), []
    for names in study.arms.values():
        times = {name: _times(study.runs[name]) for name in names}

        def enough(chosen: list[str], times: dict[str, NDArray[np.int64]] = times) -> bool:
            return len(chosen) >= SEEDS and _spans(_shared(times, chosen))

        used = most_seen({name: float(at[-1]) for name, at in times.items()}, enough)
        if not used:
            continue
        pairs = _pairs(_shared(times, used))
        measured = [displacements(study.runs[name], pairs) for name in used]
        squares, distances = (np.array(values) for values in zip(*measured, strict=True))
        if np.isfinite(squares).all() and np.isfinite(distances).all():
            found.append(_Arm(titles[used[0]], tuple(used), squares, distances, pairs))
    return found


def _span(arms: Sequence[_Arm]) -> Span:
    """First and last iteration between which all arms were compared."""
    return (
        max(float(arm.pairs.start.min()) for arm in arms),
        min(float((arm.pairs.start + arm.pairs.lag).max()) for arm in arms),
    )


def _shared(times: Mapping[str, NDArray[np.int64]], names: Sequence[str]) -> NDArray[np.int64]:
    return reduce(np.intersect1d, (times[name] for name in names))


def _pairs(shared: NDArray[np.int64]) -> Pairs:
    """Pairs of records, thinned to a grid even in ln s and ln τ."""
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
    distance_sq = distances(chosen) ** 2
    if _is_exact(run):
        squares = chosen["displacement_sq"].sel(since=times).values
    else:
        squares = two_time_refined(chosen["sketch"].values, distance_sq).value
    rows = np.searchsorted(times, pairs.start)
    columns = np.searchsorted(times, pairs.start + pairs.lag)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(squares[rows, columns]), np.log(distance_sq[rows])


def aged(run: xr.Dataset) -> tuple[Pairs, Array, Array] | None:
    """Displacements of one run as P8 compares them; None where too few were recorded.

    Arguments:
        run: a recording of `sketch` or `displacement_sq`.

    Returns:
        Waiting times and lags, ln Δ²(s, τ) and ln d²(s), both of shape (pair,).
    """
    if "sketch" not in run and not _is_exact(run):
        return None
    times = _times(run)
    if times.size < WAITING or times[-1] < 20 * times[0]:
        return None
    pairs = _pairs(times)
    return pairs, *displacements(run, pairs)


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


def _jackknife(arm: _Arm, *, level: float) -> _Collapse:
    """Log ratios of residuals of the mean over seeds, with delete-one-seed t intervals."""
    n = len(arm.squares)
    kept = [np.delete(np.arange(n), k) for k in range(n)]
    whole = _log_ratios(arm.squares, arm.distances, arm.pairs)
    parts = np.array([_log_ratios(arm.squares[k], arm.distances[k], arm.pairs) for k in kept])
    values = n * whole - (n - 1) * parts
    half = t_quantile(n - 1, level) * values.std(axis=0, ddof=1) / math.sqrt(n)
    end = float((arm.pairs.start + arm.pairs.lag).max())
    return _Collapse(arm.name, n, whole, whole - half, whole + half, values, end)


def _log_ratios(squares: Array, distances: Array, pairs: Pairs) -> Array:
    found = np.maximum(
        collapse_residuals(squares.mean(axis=0), distances.mean(axis=0), pairs), 1e-12
    )
    return np.log(found[0] / found[1:])


def _verdict(
    blank: Verdict,
    study: Study,
    found: Sequence[_Collapse],
    wide: Sequence[_Collapse],
    *,
    notes: tuple[str, ...] = (),
    span: Span = (math.nan, math.nan),
    levels: tuple[float, float] = (0.95, 0.95),
) -> Verdict:
    margin, against_margin = math.log1p(MARGIN), math.log(AGAINST)
    word, item = UNDECIDABLE, max(found, key=lambda item: float(item.high.max()))
    against = [one for one in wide if one.low.max() > against_margin]
    if against:
        word, item = CONTRADICTED, max(against, key=lambda one: float(one.low.max()))
    elif _all_support(found, wide, margin):
        word, item = SUPPORTED, _clearest([one for one in found if one.high.max() < -margin])
    best = int((item.low if word == CONTRADICTED else item.high).argmax())
    value, low, high = (float(np.exp(ends[best])) for ends in (item.log, item.low, item.high))
    need = _need(found, levels[0]) if word == UNDECIDABLE else Missing("", "")
    return blank.decided(
        word,
        Interval(value, low, high, item.seeds),
        reason=_reason(word, item, best),
        needed=need.needed,
        meaning=f"{EFFECT}, {item.seeds} seeds at {item.arm}",
        sample=study.sample,
        assumptions=(*_estimated(study), *notes),
        null=(0.0, 1 / (1 + MARGIN)),
        span=span,
        level=levels[word == CONTRADICTED],
        have=need.have,
        need=need.need,
        unit=need.unit,
    )


def _estimated(study: Study) -> tuple[str, ...]:
    exact = sum(map(_is_exact, study.runs.values()))
    if exact == len(study.runs):
        return ()
    some = f" in {len(study.runs) - exact} of {len(study.runs)} runs" if exact else ""
    return (f"displacements estimated from sketches of the weights{some}",)


def _need(found: Sequence[_Collapse], level: float) -> Missing:
    """More seeds, where so many as anybody would train decide."""
    zone = Zone(-math.inf, -math.log1p(MARGIN), above=math.log(AGAINST))
    measures = [Measure(zone, [one.values[:, k] for one in found]) for k in range(_OTHERS)]
    last = min(one.end for one in found)
    have = min(one.seeds for one in found)
    otherwise = undecided_by_seeds(have, last)
    return more_seeds(measures, have, "an arm", level=level, otherwise=otherwise)


def _all_support(found: Sequence[_Collapse], wide: Sequence[_Collapse], margin: float) -> bool:
    """As `means.judge`: all arms do, or some at the joint level and no other leans away."""
    if all(one.high.max() < -margin for one in found):
        return True
    some = any(one.high.max() < -margin for one in wide)
    return some and all(one.log.max() < -margin for one in found)


def _clearest(items: Sequence[_Collapse]) -> _Collapse:
    return max(items, key=lambda one: float(one.high.max()))


def _reason(word: str, item: _Collapse, best: int) -> str:
    ends = interval(math.exp(item.low[best]), math.exp(item.high[best]), show=rounded)
    found = (
        f"At {item.arm} displacements up to iteration {number(item.end)} scatter "
        f"{rounded(math.exp(item.log[best]))} {ends} times as much around a function of ln τ/ln s "
        f"as around one of the reading '{READINGS[1 + best]}'"
    )
    if word == SUPPORTED:
        return f"{found}, the best other."
    if word == CONTRADICTED:
        return f"{found}; from {AGAINST:g} times on that speaks against it."
    return f"{found}; {1 / (1 + MARGIN):.2f} or less would be for it, {AGAINST:g} or more against."


def _short(study: Study) -> Missing:
    last = max(float(run["iteration"][-1]) for run in study.runs.values())
    wanted = math.ceil(FIRST * 10**DECADES)
    reason = (
        f"No arm has {SEEDS} seeds that move and whose sketches span {DECADES:g} decades after "
        f"iteration {FIRST}."
    )
    if last >= wanted:
        return Missing(
            reason,
            f"sketches at {WAITING} or more log-spaced records from iteration {FIRST} to "
            f"{number(wanted)} or later at a constant learning rate, in {SEEDS} seeds",
        )
    return Missing(
        reason,
        f"training at a constant learning rate until iteration {number(wanted)} or later, in "
        f"{SEEDS} seeds",
        last,
        float(wanted),
        "iterations",
    )
