"""How far a path has gone: distance, mean squared displacements, local slopes, straightness.

A path is an array `(time, *, dimension)`; the axes in between count walkers, runs or whatever was
simulated together. Distances are Euclidean, ‖x_t − x_0‖.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from ._validation import increasing, indices, numbers

Array = NDArray[np.float64]


def distance(path: ArrayLike) -> Array:
    """The distance from the first point, ‖x_t − x_0‖.

    Arguments:
        path: x `(time, *, dimension)`.

    Returns:
        Distances `(time, *)`, in the unit of x.

    >>> distance([[0.0, 0.0], [3.0, 4.0]])
    array([0., 5.])
    """
    x = _path(path)
    return np.linalg.norm(x - x[0], axis=-1)


def mean_squared_displacement(path: ArrayLike) -> Array:
    """The ensemble mean ⟨‖x_t − x_0‖²⟩ over all walkers of a path.

    Arguments:
        path: x `(time, walker, …, dimension)`.

    Returns:
        Means `(time,)`, in the unit of x squared.

    >>> mean_squared_displacement([[[0.0], [0.0]], [[1.0], [3.0]]])
    array([0., 5.])
    """
    squared = distance(path) ** 2
    return squared.reshape(len(squared), -1).mean(axis=1)


def lagged_msd(path: ArrayLike) -> Array:
    """The time-averaged displacement of each lag, over all pairs of times that far apart.

        MSD(m) = 1/(n − m) · Σ_k ‖x_{k+m} − x_k‖²

    Splitting the square leaves sums of ‖x‖², which are cumulative, and the autocorrelation, which
    an FFT gives in n·log n. Times have to be equally spaced. A path that ages has another answer
    at each waiting time: see `two_time_msd`.

    Arguments:
        path: x `(time, *, dimension)`.

    Returns:
        Averages `(lag, *)` for the lags 0 … n − 1, in the unit of x squared.

    References:
        Calandrini, Pellegrini, Calligari, Hinsen and Kneller (2011), Collection SFN 12, 201, for
        the split.

    >>> lagged_msd([[0.0], [1.0], [2.0], [3.0]])
    array([0., 1., 4., 9.])
    """
    x = _path(path)
    n = len(x)
    # The mean carries no displacement but costs digits when the two terms are subtracted.
    x = x - x.mean(axis=0)
    squared = np.sum(x**2, axis=-1)
    pairs = n - np.arange(n).reshape(-1, *[1] * (squared.ndim - 1))
    head = np.cumsum(squared, axis=0)[::-1]  # Σ of the first n − m squares
    tail = np.cumsum(squared[::-1], axis=0)[::-1]  # Σ of the last n − m squares
    msd = (head + tail - 2.0 * _autocorrelation(x)) / pairs
    msd[0] = 0.0
    return np.maximum(msd, 0.0)


def two_time_msd(path: ArrayLike, starts: ArrayLike) -> Array:
    """The squared displacement ‖x_t − x_s‖² between each waiting time s and every time t.

    Arguments:
        path: x `(time, *, dimension)`.
        starts: indices of the waiting times `(start,)`.

    Returns:
        Squares `(start, time, *)`, in the unit of x squared.

    Raises:
        ValueError: when an index is not whole or lies outside the path.

    >>> two_time_msd([[0.0], [1.0], [3.0]], [0, 1])
    array([[0., 1., 9.],
           [1., 0., 4.]])
    """
    x = _path(path)
    squares = [np.sum((x - x[s]) ** 2, axis=-1) for s in indices(starts, "starts", length=len(x))]
    return np.stack(squares) if squares else np.empty((0, *x.shape[:-1]))


def between_all(products: ArrayLike) -> Array:
    """The squared displacements ‖x_j − x_i‖² between all points, from products of the steps.

        ‖x_j − x_i‖² = Σ_{i < a, b ≤ j} e_a·e_b        e_a = x_a − x_{a−1}, x_0 = 0

    The sum runs over the steps from i to j alone and is added up from j on backwards. With
    products of x_i itself, ‖x_i‖² + ‖x_j‖² − 2 x_i·x_j, a displacement that is small beside the
    path would be lost in the last digits of large numbers.

    Arguments:
        products: e_a·e_b `(step, step)`, the first step being x_1 itself.

    Returns:
        Squares `(step + 1, step + 1)`, symmetric, zero on the diagonal; the first row holds the
        squared norms ‖x_j‖².

    Raises:
        ValueError: when the products are no square matrix.

    >>> steps = np.array([[3.0, 0.0], [0.0, 4.0], [-3.0, 0.0]])
    >>> between_all(steps @ steps.T)
    array([[ 0.,  9., 25., 16.],
           [ 9.,  0., 16., 25.],
           [25., 16.,  0.,  9.],
           [16., 25.,  9.,  0.]])
    """
    found = np.asarray(products, dtype=np.float64)
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise ValueError(f"products: found shape {found.shape}, expected (step, step)")
    n = len(found)
    # What the step to j adds, coming from i: its own square and twice its products with the steps
    # between them.
    between = np.cumsum(np.triu(found, 1)[::-1], axis=0)[::-1]
    added = np.zeros((n + 1, n + 1))
    added[:n, 1:] = np.triu(2.0 * between + np.diag(found))
    upper = np.maximum(np.cumsum(added, axis=1), 0.0)
    return np.triu(upper) + np.triu(upper, 1).T


def path_straightness(path: ArrayLike) -> Array:
    """The share of the path's length that became distance, 1 for independent steps.

        R(t) = ‖x_t − x_0‖² / Σ_{s ≤ t} ‖x_s − x_{s−1}‖²

    Uncorrelated steps give 1 on average, a straight line t, a confined walker less than 1. Every
    step has to be in the path: skipping records makes R larger.

    Arguments:
        path: x `(time, *, dimension)`, all steps.

    Returns:
        R `(time − 1, *)` after each step, dimensionless; NaN where nothing has moved yet.

    >>> path_straightness([[0.0], [1.0], [2.0], [3.0]])
    array([1., 2., 3.])
    """
    x = _path(path)
    length = np.cumsum(np.sum(np.diff(x, axis=0) ** 2, axis=-1), axis=0)
    reached = distance(x)[1:] ** 2
    return np.divide(reached, length, out=np.full_like(reached, np.nan), where=length > 0)


def log_slope(times: ArrayLike, values: ArrayLike) -> Array:
    """The local slope s = dd/d ln t, by second-order differences in ln t.

    Arguments:
        times: t `(time,)`, increasing and positive, at least three.
        values: d `(time, *)`.

    Returns:
        s `(time, *)`, in the unit of d.

    Raises:
        ValueError: when the times are not positive and increasing, or the lengths differ.

    >>> log_slope([1.0, 10.0, 100.0], np.log10([1.0, 10.0, 100.0])).round(4)
    array([0.4343, 0.4343, 0.4343])
    """
    t, d = _series(times, values)
    return np.gradient(d, np.log(t), axis=0, edge_order=2)


def local_exponent(times: ArrayLike, values: ArrayLike) -> Array:
    """The local exponent d ln d/d ln t of a positive quantity.

    Arguments:
        times: t `(time,)`, increasing and positive, at least three.
        values: d `(time, *)`.

    Returns:
        The exponent `(time, *)`, dimensionless; NaN where d is not positive.

    >>> local_exponent([1.0, 10.0, 100.0], [2.0, 20.0, 200.0])
    array([1., 1., 1.])
    """
    return log_slope(times, _logarithm(values))


def curvature(times: ArrayLike, values: ArrayLike) -> Array:
    """The bend of a growth curve in log time, κ = d ln s/d ln t with s = dd/d ln t.

    A logarithm has κ = 0, a power t^p has κ = p whatever its offset, saturation has κ < 0 and
    (ln t)^q has κ = (q − 1)/ln t. The two values at each end are one-sided and less exact.

    Arguments:
        times: t `(time,)`, increasing and positive, at least three.
        values: d `(time, *)`.

    Returns:
        κ `(time, *)`, dimensionless; NaN where the slope is not positive.

    >>> t = np.geomspace(1, 1e4, 9)
    >>> curvature(t, 5 + t**0.25)[2:-2].round(12)
    array([0.25, 0.25, 0.25, 0.25, 0.25])
    """
    return log_slope(times, _logarithm(log_slope(times, values)))


def log_time_exponent(times: ArrayLike, msd: ArrayLike) -> Array:
    """The effective exponent q = Δ ln⟨x²⟩/Δ ln ln t between neighbouring times.

    If ⟨x²⟩ ∝ (ln t)^q from some time on, this tends to q: 4/α for a walker on a random potential
    whose structure function grows like r^α.

    Arguments:
        times: t `(time,)`, increasing and above 1.
        msd: ⟨x²⟩ `(time, *)`, positive.

    Returns:
        q `(time − 1, *)`, dimensionless; NaN where ⟨x²⟩ is not positive.

    Raises:
        ValueError: when the times are not increasing and above 1, or the lengths differ.

    >>> log_time_exponent([10.0, 100.0, 1000.0], np.log([10.0, 100.0, 1000.0]) ** 4).round(12)
    array([4., 4.])
    """
    t = increasing(times, "times", above=1.0, least=2)
    x = _logarithm(msd)
    _same_length(t, x, "msd")
    loglog = np.log(np.log(t)).reshape(-1, *[1] * (x.ndim - 1))
    return np.diff(x, axis=0) / np.diff(loglog, axis=0)


def _path(path: ArrayLike) -> Array:
    x = numbers(path, "path")
    if x.ndim < 2 or len(x) < 1:
        raise ValueError(f"path: found shape {x.shape}, expected (time, …, dimension)")
    return x


def _series(times: ArrayLike, values: ArrayLike) -> tuple[Array, Array]:
    t = increasing(times, "times", least=3)
    d = numbers(values, "values")
    _same_length(t, d, "values")
    return t, d


def _same_length(times: Array, values: Array, name: str) -> None:
    if values.ndim < 1 or len(values) != len(times):
        raise ValueError(f"{name}: found shape {values.shape}, expected {len(times)} times")


def _logarithm(values: ArrayLike) -> Array:
    x = np.asarray(values, dtype=np.float64)
    return np.log(x, out=np.full_like(x, np.nan), where=x > 0)


def _autocorrelation(x: Array) -> Array:
    """Σ_k x_k·x_{k+m} for every lag m, summed over the last axis."""
    n = len(x)
    size = fft.next_fast_len(2 * n - 1, real=True)  # padded, so that the correlation does not wrap
    spectrum = fft.rfft(x, size, axis=0)
    power = np.sum(np.abs(spectrum) ** 2, axis=-1)
    return fft.irfft(power, size, axis=0)[:n]
