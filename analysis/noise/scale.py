"""The noise scale of measured moments, with intervals.

B_simple = tr Σ/|G|² is the ratio of two means over many updates. Each recorded window holds a mean
over its updates, so the estimate weights windows by their updates. Neighbouring windows are merged
into blocks of about equal numbers of updates, and the interval comes from the spread between
blocks: blocks longer than the correlation time are independent.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ultraslow.analysis.intervals import Interval, fieller, t_quantile

Array = NDArray[np.float64]

BLOCKS = (20, 10, 5)
FEWEST_BLOCKS = 4
# Beyond this relative error of |G|² or tr Σ the ratio's distribution is too skew for the
# jackknife.
NOISY = 0.1


@dataclass(frozen=True)
class NoiseScale:
    """An estimate of B_simple.

    Attributes:
        interval: B_simple, samples, from `n` independent blocks; NaN where the mean of |G|² is not
            positive. Its upper end is infinite where |G|² cannot be told from 0, and both ends are
            NaN where blocks are too few.
        method: `jackknife` or `fieller`; empty when there is no interval.
        updates: updates with an estimate.
        correlated: whether windows look correlated over more than half a block, as few of them or
            those of a long memory do, or those of a trend. With a long memory the interval is too
            short: at nominal 95 % it held in 78 to 90 % of simulated sets.
    """

    interval: Interval
    method: str
    updates: int
    correlated: bool = False

    def __str__(self) -> str:
        found = self.interval
        if not math.isfinite(found.low):
            return f"unknown ({found.reason})"
        if math.isinf(found.high):
            return f"B ≥ {found.low:.3g}"
        return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"

    def record(self) -> dict[str, float | int | str | bool]:
        """As files hold it: a flat record."""
        return {
            "estimate": self.interval.value,
            "low": self.interval.low,
            "high": self.interval.high,
            "method": self.method,
            "updates": self.updates,
            "blocks": self.interval.n,
            "reason": self.interval.reason,
            "correlated": self.correlated,
        }


@dataclass(frozen=True)
class Blocks:
    """Block means of |G|² and tr Σ.

    Attributes:
        gradient_sq: mean estimates of |G|², shape (block,).
        noise_trace: mean estimates of tr Σ, shape (block,).
        updates: updates in a block, shape (block,).
    """

    gradient_sq: Array
    noise_trace: Array
    updates: Array


def noise_interval(
    gradient_sq: ArrayLike, noise_trace: ArrayLike, updates: ArrayLike, *, level: float = 0.95
) -> NoiseScale:
    """B_simple of a stretch of windows with its interval.

    B = Σ n_k s_k / Σ n_k g_k. The interval is that of the delete-one-block jackknife, and
    Fieller's, {B : (s̄ − B ḡ)² ≤ t² (V_s − 2BC + B²V_g)}, where the relative error of ḡ or s̄
    exceeds `NOISY`, as that of s̄ does where there is hardly any noise. A ratio below 0, which an
    unbiased estimate of no noise gives half of the time, counts as 0.

    References:
        Busing, Meijer and van der Leeden (1999), Statistics and Computing 9, 3: the jackknife with
        blocks of unequal size.
        Fieller (1954), Journal of the Royal Statistical Society B 16, 175.

    Arguments:
        gradient_sq: window means g of the signed estimates of |G|², shape (window,).
        noise_trace: window means s of the signed estimates of tr Σ, shape (window,).
        updates: updates n in each window, shape (window,).
        level: confidence level.

    Returns:
        The estimate, in samples.
    """
    moments = independent_blocks(gradient_sq, noise_trace, updates)
    count = moments.updates.size
    total = int(moments.updates.sum())
    if count < FEWEST_BLOCKS:
        reason = f"{count} windows with gradient noise, {FEWEST_BLOCKS} needed"
        unknown = Interval(_ratio(moments), math.nan, math.nan, count, reason=reason)
        return NoiseScale(unknown, "", total)
    windows = in_blocks(gradient_sq, noise_trace, updates, blocks=int(np.size(updates)))
    correlated = _outlasts(windows, count)
    if max(_relative_errors(moments)) > NOISY:
        return replace(fieller_scale(moments, level=level), correlated=correlated)
    middle = _ratio(moments)
    # On the scale of ln B the interval of a ratio of positive means is nearly symmetric.
    width = math.exp(t_quantile(count - 1, level) * jackknife_error(moments) / middle)
    found = Interval(middle, middle / width, middle * width, count)
    return NoiseScale(found, "jackknife", total, correlated)


def independent_blocks(
    gradient_sq: ArrayLike, noise_trace: ArrayLike, updates: ArrayLike
) -> Blocks:
    """The finest of some block lengths at which neighbouring blocks do not look correlated.

    Blocks shorter than the correlation time differ too little, and intervals from them are too
    short. A correlation of neighbours above one standard error, 1/√J, asks for longer blocks.

    Arguments:
        gradient_sq: window means, shape (window,).
        noise_trace: window means, shape (window,).
        updates: updates in each window, shape (window,).

    Returns:
        The blocks.
    """
    for blocks in BLOCKS:
        moments = in_blocks(gradient_sq, noise_trace, updates, blocks=blocks)
        values = (moments.gradient_sq, moments.noise_trace)
        if max(map(neighbour_correlation, values)) <= 1 / math.sqrt(max(moments.updates.size, 1)):
            break
    return moments


def _outlasts(windows: Blocks, blocks: int) -> bool:
    """Whether the memory of windows, (1 + ρ)/(1 − ρ) of them, is longer than half a block.

    A correlation ρ of neighbours below two standard errors, 2/√W, counts as none.
    """
    values = (windows.gradient_sq, windows.noise_trace)
    correlation, count = max(map(neighbour_correlation, values)), windows.updates.size
    if correlation <= 2 / math.sqrt(max(count, 1)):
        return False
    return count / blocks < 2 * (1 + correlation) / (1 - correlation)


def neighbour_correlation(values: Array) -> float:
    """Correlation of each value with the next one; 0 for fewer than three.

    >>> round(neighbour_correlation(np.array([1.0, 2.0, 3.0, 4.0])), 3)
    0.25
    """
    centred = values - values.mean() if values.size else values
    total = float(np.sum(centred**2))
    return float(np.sum(centred[1:] * centred[:-1])) / total if values.size > 2 and total else 0.0


def in_blocks(
    gradient_sq: ArrayLike, noise_trace: ArrayLike, updates: ArrayLike, *, blocks: int = 20
) -> Blocks:
    """Windows merged in order into at most `blocks` blocks of about equal numbers of updates.

    Windows without updates or with an estimate that is not finite are left out.

    Arguments:
        gradient_sq: window means, shape (window,).
        noise_trace: window means, shape (window,).
        updates: updates in each window, shape (window,).
        blocks: how many to make at most.

    Returns:
        The blocks; windows longer than a block stay whole.
    """
    g, s, n = (np.asarray(item, dtype=float) for item in (gradient_sq, noise_trace, updates))
    kept = np.isfinite(g) & np.isfinite(s) & (n > 0)
    g, s, n = g[kept], s[kept], n[kept]
    ends = np.cumsum(n)
    block = np.ceil(ends / (ends[-1] / blocks) - 1e-9) if n.size else ends
    starts = np.flatnonzero(np.diff(block, prepend=-1.0))
    size = np.add.reduceat(n, starts) if n.size else n
    sums = [np.add.reduceat(n * x, starts) if n.size else n for x in (g, s)]
    return Blocks(sums[0] / size, sums[1] / size, size)


def _means(moments: Blocks) -> tuple[float, float]:
    weights = moments.updates
    if not weights.size:
        return math.nan, math.nan
    return (
        float(np.average(moments.gradient_sq, weights=weights)),
        float(np.average(moments.noise_trace, weights=weights)),
    )


def _ratio(moments: Blocks) -> float:
    gradient_sq, noise_trace = _means(moments)
    return max(noise_trace, 0.0) / gradient_sq if gradient_sq > 0 else math.nan


def block_covariance(moments: Blocks) -> Array:
    """Covariance of the two weighted means, |G|² first.

    C = Σ_j n_j (x_j − x̄)(x_j − x̄)ᵀ / ((J − 1) Σ_j n_j), for blocks whose variance falls as
    1/n_j.

    Arguments:
        moments: J blocks.

    Returns:
        Shape (2, 2).
    """
    values = np.stack([moments.gradient_sq, moments.noise_trace])
    centred = values - np.asarray(_means(moments))[:, None]
    weights = moments.updates
    return (centred * weights) @ centred.T / ((weights.size - 1) * weights.sum())


def _relative_errors(moments: Blocks) -> list[float]:
    """Relative errors of the means of |G|² and tr Σ; infinite for a mean that is not positive."""
    variances = np.diag(block_covariance(moments)).tolist()
    return [
        math.sqrt(variance) / mean if mean > 0 else math.inf
        for mean, variance in zip(_means(moments), variances, strict=True)
    ]


def jackknife_error(moments: Blocks) -> float:
    """Standard error of B by leaving out one block at a time.

    With h_j = Σn/n_j and pseudo-values θ_j = h_j B − (h_j − 1) B_(−j), the variance is
    (1/J) Σ_j (θ_j − θ̄)²/(h_j − 1), θ̄ being the jackknife estimate J·B − Σ_j (1 − 1/h_j) B_(−j).

    References:
        Busing, Meijer and van der Leeden (1999), Statistics and Computing 9, 3.

    Arguments:
        moments: J blocks.

    Returns:
        The standard error, in samples.
    """
    n, count = moments.updates, moments.updates.size
    g, s = n * moments.gradient_sq, n * moments.noise_trace
    whole = s.sum() / g.sum()
    without = (s.sum() - s) / (g.sum() - g)
    h = n.sum() / n
    pseudo = h * whole - (h - 1) * without
    centre = count * whole - np.sum((1 - 1 / h) * without)
    return float(np.sqrt(np.mean((pseudo - centre) ** 2 / (h - 1))))


def fieller_scale(moments: Blocks, *, level: float) -> NoiseScale:
    """B with Fieller's interval, which stays right when |G|² or tr Σ may be 0.

    Arguments:
        moments: the blocks.
        level: confidence level.

    Returns:
        The estimate; its upper end is infinite when the interval of |G|² reaches 0.
    """
    gradient_sq, noise_trace = _means(moments)
    errors, blocks = block_covariance(moments)[::-1, ::-1], moments.updates.size
    found = fieller(noise_trace, gradient_sq, errors, n=blocks, level=level, positive=True)
    if found.reason:
        found = replace(found, reason="the squared gradient cannot be told from 0")
    return NoiseScale(found, "fieller", int(moments.updates.sum()))
