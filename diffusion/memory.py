"""Noise with a memory: how much sums of it vary, and how means over windows go together.

For stationary noise of unit variance let S(h) be the variance of a sum of h neighbours. It is all
that the covariance of sums over windows [a, b) and [c, d) needs,

    ½ (S(b − c) + S(d − a) − S(b − d) − S(a − c)),        S(−h) = S(h),

whatever the lengths of the windows and the gaps between them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import numbers, positive

Array = NDArray[np.float64]


def fading_sum_variance(count: ArrayLike, length: float) -> Array:
    """Variance of a sum of noise whose correlation fades exponentially, φ^h with φ = e^(−1/τ).

    S(h) = h (1 + φ)/(1 − φ) − 2φ (1 − φ^h)/(1 − φ)²

    Arguments:
        count: h `(*)`, terms of the sum; of a negative number the size counts.
        length: τ, terms over which the correlation falls to 1/e.

    Returns:
        The variance `(*)`, for noise of unit variance.

    References:
        Box, Jenkins and Reinsel (1994), Time Series Analysis, §3.2: autoregression of order 1.

    >>> np.round(fading_sum_variance([1, 2, -2], length=1 / np.log(2)), 6)  # 2 + 2φ, φ = ½
    array([1., 3., 3.])
    """
    terms = np.abs(numbers(count, "count"))
    # 1 − φ and 1 − φ^h without the digits that a long memory takes from them.
    rest = -np.expm1(-1 / positive(length, "length"))
    gone = -np.expm1(-terms / length)
    kept = 1 - rest
    return np.asarray(terms * (1 + kept) / rest - 2 * kept * gone / rest**2)


def fractional_sum_variance(count: ArrayLike, hurst: float) -> Array:
    """Variance of a sum of fractional Gaussian noise, S(h) = h^(2H).

    Its correlation falls as a power, h^(2H − 2): a memory without a length. Fractional differences
    of order d have H = d + ½.

    Arguments:
        count: h `(*)`, terms of the sum; of a negative number the size counts.
        hurst: H, in (0, 1); ½ is independent noise.

    Returns:
        The variance `(*)`, for noise of unit variance.

    References:
        Mandelbrot and Van Ness (1968), SIAM Review 10, 422.

    >>> fractional_sum_variance([1, 100, -100], hurst=0.75)
    array([   1., 1000., 1000.])
    """
    if not 0 < hurst < 1:
        raise ValueError(f"hurst: found {hurst}, expected a number in (0, 1)")
    return np.asarray(np.abs(numbers(count, "count")) ** (2 * hurst))


def window_covariance(edges: ArrayLike, sum_variance: Callable[[Array], Array]) -> Array:
    """Covariance of the means of noise over neighbouring windows.

    Arguments:
        edges: where windows begin and where the last ends, increasing, shape (window + 1,).
        sum_variance: S, for noise of unit variance.

    Returns:
        Shape (window, window).

    >>> window_covariance([0, 1, 5], lambda h: abs(h))  # independent noise: 1/n on the diagonal
    array([[1.  , 0.  ],
           [0.  , 0.25]])
    """
    places = numbers(edges, "edges")
    between = sum_variance(np.subtract.outer(places, places))
    # Rows begin at a, columns at c: S(b − c) + S(a − d) − S(b − d) − S(a − c).
    sums = between[1:, :-1] + between[:-1, 1:] - between[1:, 1:] - between[:-1, :-1]
    lengths = np.diff(places)
    return np.asarray(sums / (2 * np.outer(lengths, lengths)))
