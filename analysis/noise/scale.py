"""The noise scale of measured moments, with intervals.

B_simple = tr Σ/|G|² is the ratio of two means over many updates. Runs of other seeds tell how far
it can be known: with three or more the interval is Student's across them. Within fewer runs it
comes from the windows, each a mean over its updates, with whatever memory their noise may have.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ultraslow.analysis.intervals import Interval, fieller, t_interval

from .memory import Stretch, ratio_spread

Array = NDArray[np.float64]

FEWEST_SEEDS = 3
FEWEST_WINDOWS = 4
MOST_BLOCKS = 150
UNTOLD = "the squared gradient cannot be told from 0"


@dataclass(frozen=True)
class NoiseScale:
    """An estimate of B_simple.

    Attributes:
        interval: B_simple, samples, from `n` seeds or blocks of windows; NaN where the mean of
            |G|² is not positive. Its upper end is infinite where |G|² cannot be told from 0, and
            both ends are NaN where windows are too few.
        method: `seeds`, or `windows` where fewer than three seeds tell; empty without an interval.
        updates: updates with an estimate.
        correlated: whether windows drift slowly, by a trend that is none of the usual or by noise
            of which a run holds fewer than five independent stretches. The interval is wide then,
            and where it is noise may still be too short.
        first: the first of the iterations that B is averaged over; 0 where that is not known.
        last: the last of them.
    """

    interval: Interval
    method: str
    updates: int
    correlated: bool = False
    first: int = 0
    last: int = 0

    def __str__(self) -> str:
        found = self.interval
        if not math.isfinite(found.low):
            return f"unknown ({found.reason})"
        if math.isinf(found.high):
            return f"B ≥ {found.low:.3g}"
        return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"

    def record(self) -> dict[str, float | int | str | bool]:
        """As files hold it: a flat record."""
        by_seeds = self.method == "seeds"
        return {
            "estimate": self.interval.value,
            "low": self.interval.low,
            "high": self.interval.high,
            "method": self.method,
            "first_iteration": self.first,
            "last_iteration": self.last,
            "updates": self.updates,
            "seeds": self.interval.n if by_seeds else 0,
            "blocks": 0 if by_seeds else self.interval.n,
            "reason": self.interval.reason,
            "correlated": self.correlated,
        }


class Windows(NamedTuple):
    """Recorded windows of one run, or what is asked of them.

    Attributes:
        gradient_sq: window means g of the signed estimates of |G|², shape (window,).
        noise_trace: window means s of the signed estimates of tr Σ, shape (window,).
        updates: updates n with an estimate in each window, shape (window,).
        inside: the windows that the estimate is about, shape (window,); None for all.
    """

    gradient_sq: ArrayLike
    noise_trace: ArrayLike
    updates: ArrayLike
    inside: ArrayLike | None = None


def noise_interval(runs: Sequence[Windows], *, level: float = 0.95) -> NoiseScale:
    """B_simple of some windows of one or more runs, with its interval.

    B = Σ n_k s_k / Σ n_k g_k in each run. Three runs or more are a sample: the estimate is the
    geometric mean of their B and the interval Student's, mean(ln B) ± t·s/√S. Of fewer the ratio
    is that of all windows, and the interval follows from the windows (`memory.ratio_spread`):
    what other seeds would do is not in it. A ratio below 0, which an unbiased estimate of no noise
    gives half of the time, counts as 0.

    Arguments:
        runs: windows of runs that differ by seed only.
        level: confidence level.

    Returns:
        The estimate, in samples; without an interval where fewer than three runs have fewer than
        four windows.
    """
    stretches = [one for one in map(_stretch, runs) if one.inside.any()]
    if len(stretches) >= FEWEST_SEEDS:
        return seed_scale(stretches, level=level)
    count = sum(int((_used(one)[0] & _used(one)[1]).sum()) for one in runs)
    if count >= FEWEST_WINDOWS:
        return window_scale(stretches, level=level)
    reason = f"{count} windows with gradient noise, {FEWEST_WINDOWS} needed"
    unknown = Interval(_ratio(stretches), math.nan, math.nan, count, reason=reason)
    return NoiseScale(unknown, "", _updates(stretches))


def seed_scale(stretches: Sequence[Stretch], *, level: float) -> NoiseScale:
    """B across runs of different seeds, by Student's interval of ln B.

    Where a run has no ratio above 0 the interval is Fieller's, of the runs' mean s and g.

    Arguments:
        stretches: one a run.
        level: confidence level.

    Returns:
        The estimate.
    """
    means = np.array([_sums(one) for one in stretches]) / [[_updates([one])] for one in stretches]
    updates = _updates(stretches)
    if (means > 0).all():
        logarithms = np.log(means[:, 0] / means[:, 1])
        found = replace(t_interval(logarithms, level=level), reason="").mapped(math.exp)
        return NoiseScale(found, "seeds", updates)
    s, g = means.mean(axis=0).tolist()
    covariance = np.cov(means.T) / len(means)
    found = fieller(s, g, covariance, n=len(means), level=level, positive=True)
    found = replace(found, reason=UNTOLD if found.reason else "")
    return NoiseScale(found, "seeds", updates)


def window_scale(stretches: Sequence[Stretch], *, level: float) -> NoiseScale:
    """B within runs, by windows.

    Arguments:
        stretches: one a run.
        level: confidence level.

    Returns:
        The estimate; without an interval where there are fewer than four blocks.
    """
    spread = ratio_spread(stretches)
    low, high = spread.interval(level)
    reason = UNTOLD if math.isinf(high) else ""
    blocks = sum(one.updates.size for one in stretches)
    found = Interval(_ratio(stretches), low, high, blocks, reason=reason)
    return NoiseScale(found, "windows", _updates(stretches), spread.slow_share > 0.5)


def _updates(stretches: Sequence[Stretch]) -> int:
    return sum(int(one.updates[one.inside].sum()) for one in stretches)


def _sums(stretch: Stretch) -> Array:
    """Sums of s and g over the updates inside."""
    weights = stretch.updates * stretch.inside
    return np.array([weights @ stretch.noise_trace, weights @ stretch.gradient_sq])


def _ratio(stretches: Sequence[Stretch]) -> float:
    s, g = np.sum([_sums(one) for one in stretches] or [np.zeros(2)], axis=0).tolist()
    return max(s, 0.0) / g if g > 0 else math.nan


def _stretch(windows: Windows) -> Stretch:
    """Windows merged in order into at most about `MOST_BLOCKS` blocks of equal updates.

    Windows without updates or with an estimate that is not finite are left out. Longer windows
    than a block stay whole, and no block holds windows inside and outside.
    """
    g, s, n = (np.asarray(item, dtype=float) for item in windows[:3])
    kept, inside = _used(windows)
    g, s, n, inside = g[kept], s[kept], n[kept], inside[kept]
    if not n.size:
        return Stretch(n, n, n, inside)
    ends = np.cumsum(n)
    block = np.ceil(ends / (ends[-1] / MOST_BLOCKS) - 1e-9)
    begins = np.diff(block, prepend=-1.0) > 0
    begins[1:] |= inside[1:] != inside[:-1]
    starts = np.flatnonzero(begins)
    size = np.add.reduceat(n, starts)
    sums = [np.add.reduceat(n * x, starts) / size for x in (g, s)]
    return Stretch(sums[0], sums[1], size, inside[starts])


def _used(windows: Windows) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which windows have updates and finite estimates, and which are asked about."""
    g, s, n = (np.asarray(item, dtype=float) for item in windows[:3])
    inside = np.ones(n.shape) if windows.inside is None else windows.inside
    return np.isfinite(g) & np.isfinite(s) & (n > 0), np.asarray(inside, dtype=bool)
