"""Window statistics: what is kept of the updates between two records.

Records are spaced evenly in ln t, updates are not: a late window holds thousands of them. Sums are
therefore merged chunk by chunk (Chan, Golub & LeVeque 1983, eq. 2.1), which neither stores the
updates nor subtracts large squares from each other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of rows of `k` quantities.

    Scatter is the sum of outer products of deviations from the mean.
    """

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Unbiased covariance `(k, k)`; NaN with fewer than two rows."""
        return (
            self.scatter / (self.count - 1)
            if self.count > 1
            else np.full_like(self.scatter, np.nan)
        )


def moments(rows: ArrayLike) -> Moments:
    """Moments of the finite rows: a row that holds an inf or NaN is left out whole.

    Arguments:
        rows: one row an update `(update, k)`.

    Returns:
        Their moments; mean and scatter are zero when no row is finite.

    >>> moments([[1.0], [3.0], [float("nan")]])
    Moments(count=2, mean=array([2.]), scatter=array([[2.]]))
    """
    rows = np.asarray(rows, dtype=np.float64)
    finite = rows[np.isfinite(rows).all(axis=1)]
    if len(finite) == 0:
        return nothing(rows.shape[1])
    mean = finite.mean(axis=0)
    deviations = finite - mean
    return Moments(len(finite), mean, deviations.T @ deviations)


def nothing(k: int) -> Moments:
    """Moments of no rows of `k` quantities: the neutral element of `merge`."""
    return Moments(0, np.zeros(k), np.zeros((k, k)))


def add_rows(total: ArrayLike, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """A sum with more rows, added one after the other: the same bits in any chunks.

    NumPy's own sums depend on how many numbers there are.

    Arguments:
        total: sum so far `(…)`.
        rows: what to add `(row, …)`.

    Returns:
        The sum `(…)`.

    >>> add_rows(1.0, np.array([2.0, 3.0]))
    np.float64(6.0)
    """
    return np.add.accumulate(np.concatenate([np.asarray(total)[None], rows]))[-1]


def extend(window: Moments, rows: ArrayLike) -> Moments:
    """Moments of what is in the window and of more finite rows, added one after the other.

        mean ← mean + (x − mean)/n,  scatter ← scatter + (x − mean_before)(x − mean_after)ᵀ

    Rows that arrive in other chunks give the same bits, so that a result does not depend on when
    a run was written to disk.

    Arguments:
        window: moments so far.
        rows: one row an update `(update, k)`; a row that holds an inf or NaN is left out whole.

    Returns:
        Their moments.

    References:
        Welford (1962), Note on a method for calculating corrected sums of squares and products,
        Technometrics 4.

    >>> extend(moments([[1.0], [3.0]]), [[8.0]])
    Moments(count=3, mean=array([4.]), scatter=array([[26.]]))
    """
    rows = np.asarray(rows, dtype=np.float64)
    finite = rows[np.isfinite(rows).all(axis=1)]
    count, mean, scatter = window.count, window.mean.tolist(), window.scatter.tolist()
    for row in finite.tolist():  # plain numbers: a few of them cost less than an array
        count += 1
        before = [x - m for x, m in zip(row, mean, strict=True)]
        mean = [m + b / count for m, b in zip(mean, before, strict=True)]
        after = [x - m for x, m in zip(row, mean, strict=True)]
        scatter = [
            [s + b * a for s, a in zip(line, after, strict=True)]
            for line, b in zip(scatter, before, strict=True)
        ]
    k = window.mean.size
    return Moments(count, np.array(mean), np.array(scatter).reshape(k, k))


def merge(first: Moments, second: Moments) -> Moments:
    """Moments of two sets of rows together.

    Arguments:
        first: moments of one set.
        second: moments of the other, of as many quantities.

    Returns:
        Moments of their union.

    References:
        Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance, The American
        Statistician 37, eq. 2.1.

    >>> merge(moments([[1.0]]), moments([[3.0]])) == moments([[1.0], [3.0]])
    True
    """
    count = first.count + second.count
    if count == 0:
        return first
    gap = second.mean - first.mean
    mean = first.mean + gap * (second.count / count)
    between = np.outer(gap, gap) * (first.count * second.count / count)
    return Moments(count, mean, first.scatter + second.scatter + between)
