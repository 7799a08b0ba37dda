"""Differences between two means, with intervals from the spread between runs."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .text import interval, rounded

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Contrast:
    """A difference of means with its interval.

    Attributes:
        estimate: the difference.
        low: lower end of its interval.
        high: upper end.
        error: standard error.
        freedom: degrees of freedom of the error.
        count: runs of the smaller sample, or pairs.
    """

    estimate: float
    low: float
    high: float
    error: float
    freedom: float
    count: int

    def __str__(self) -> str:
        return f"{rounded(self.estimate)} {interval(self.low, self.high, show=rounded)}"


def unpaired(above: ArrayLike, below: ArrayLike, *, level: float) -> Contrast:
    """Mean of one sample less that of another, by Welch's interval.

    x̄ − ȳ ± t_ν·√(s_x²/n + s_y²/m)

    References:
        Welch (1947), Biometrika 34, 28: two samples of unequal variance.

    Arguments:
        above: x, shape (run,), two values or more.
        below: y, shape (run,), two values or more.
        level: confidence level.

    Returns:
        The difference.

    >>> print(unpaired([1.0, 2.0, 3.0], [0.0, 1.0, 2.0], level=0.95))
    1.000 [−1.267, 3.267]
    """
    samples = [np.asarray(values, dtype=np.float64) for values in (above, below)]
    parts = [values.var(ddof=1) / values.size for values in samples]
    total = float(sum(parts))
    smaller = min(values.size for values in samples)
    spread = sum(part**2 / (values.size - 1) for part, values in zip(parts, samples, strict=True))
    freedom = float(total**2 / spread) if spread > 0 else float(smaller - 1)
    middle = float(samples[0].mean() - samples[1].mean())
    return _contrast(middle, math.sqrt(total), freedom, count=smaller, level=level)


def paired(differences: ArrayLike, *, level: float) -> Contrast:
    """Mean of differences between the two runs of a pair, by Student's interval.

    d̄ ± t_{n−1}·s_d/√n

    Arguments:
        differences: d, shape (pair,), two values or more.
        level: confidence level.

    Returns:
        The mean difference.

    >>> print(paired([0.9, 1.0, 1.1], level=0.95))
    1.000 [0.752, 1.248]
    """
    values = np.asarray(differences, dtype=np.float64)
    error = float(values.std(ddof=1) / math.sqrt(values.size))
    freedom = float(values.size - 1)
    return _contrast(float(values.mean()), error, freedom, count=values.size, level=level)


def p_value(contrast: Contrast) -> float:
    """Two-sided p-value of "the difference is 0".

    >>> round(p_value(paired([0.9, 1.0, 1.1], level=0.95)), 4)
    0.0033
    """
    if contrast.error == 0:
        return float(contrast.estimate == 0)
    return float(2 * stats.t.sf(abs(contrast.estimate) / contrast.error, contrast.freedom))


def _contrast(
    middle: float, error: float, freedom: float, *, count: int, level: float
) -> Contrast:
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * error
    return Contrast(middle, middle - half, middle + half, error, freedom, count)
