"""A count sketch of a vector: few numbers from which squared distances are estimated.

The sketch y of x has k components, y_b = Σ σ_i·x_i over the indices i whose bucket is b. It is
linear, so the sketch of a difference is the difference of sketches, and sketches of parts of x
add up to that of x. Bucket and sign are hashed from the index alone. With row r = ⌊i/k⌋ and
column c = i mod k,

    bucket_i = (c + shift_r) mod k        shift_r = ⌊(word(s', r) >> 32)·k / 2³²⌋
    σ_i = −1 where bit 63 − (r mod 32) of word(s, ⌊r/32⌋·k + c) is set, else +1

where word(s, n) is output n of the generator SplitMix64 started from the seed s, and s' is its
mixing function applied to s. A whole row moves by one shift, so a sketch costs one addition a
weight and no table of buckets; any two indices of different rows still meet with probability
1/k, and indices of one row never do.

References:
    Charikar, Chen and Farach-Colton (2002), Finding frequent items in data streams, for the
    sketch; Weinberger, Dasgupta, Langford, Smola and Attenberg (2009), Feature hashing for large
    scale multitask learning, arXiv 0902.2206, for norms and inner products from it;
    Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators, for SplitMix64.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import count, whole

Array = NDArray[np.float64]
Words = NDArray[np.uint64]
Integers = NDArray[np.int64]

# Relative standard error of a squared distance: √(2/1024) = 4.4 %.
COMPONENTS = 1024
# Rows that share a word of sign bits.
GROUP = 32

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class SquaredDistances:
    """Estimates of ‖x − y‖² and their standard errors, of one shape."""

    value: Array
    standard_error: Array


def distance_between(first: ArrayLike, second: ArrayLike) -> SquaredDistances:
    """The squared distance of two vectors, estimated from their sketches.

        D̂ = ‖y − y'‖²        E D̂ = D        Var D̂ = (2/k)·(D² − Σ_r D_r²) ≤ (2/k)·D²

    The error D̂ − D is the sum of σ_i·σ_j·d_i·d_j, d = x − x', over i ≠ j that share a bucket.
    Signs make its terms uncorrelated, and only indices of different rows meet, with probability
    1/k: hence the variance, in which D_r is the part of D in row r. With one index a row it is
    the (2/k)·(‖d‖⁴ − ‖d‖₄⁴) of feature hashing. The standard error is √(2/(k + 2))·D̂; on
    average, its square is no smaller than the variance. All pairs of times share one hash: their
    errors are correlated, and averaging over pairs does not remove them.

    Arguments:
        first: y `(*, component)`, in the unit of the weights.
        second: y' `(*, component)`, of the same components and seed.

    Returns:
        D̂ and its standard error `(*)`, in the unit of the weights squared.

    Raises:
        ValueError: when the numbers of components differ.

    References:
        Weinberger et al. (2009), for feature hashing.

    >>> estimate = distance_between([3.0, 0.0, 1.0], [0.0, 4.0, 1.0])
    >>> float(estimate.value), round(float(estimate.standard_error), 3)
    (25.0, 15.811)
    """
    y, z = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not (y.ndim and z.ndim and y.shape[-1] == z.shape[-1] >= 1):
        raise ValueError(f"first, second: found shapes {y.shape}, {z.shape}, expected (*, k) both")
    return _with_error(np.sum((y - z) ** 2, axis=-1), y.shape[-1])


def two_time(sketches: ArrayLike) -> SquaredDistances:
    """The squared distances ‖w_s − w_t‖² between all pairs of times, by `distance_between`.

    Arguments:
        sketches: y `(time, component)`, in the unit of the weights.

    Returns:
        Estimates and standard errors `(time, time)`, symmetric, zero on the diagonal.

    Raises:
        ValueError: when the sketches are not a matrix.

    >>> two_time([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]).value
    array([[ 0., 25.,  1.],
           [25.,  0., 18.],
           [ 1., 18.,  0.]])
    """
    y = np.asarray(sketches, dtype=np.float64)
    if y.ndim != 2 or y.shape[1] < 1:
        raise ValueError(f"sketches: found shape {y.shape}, expected (time, component)")
    from scipy.spatial.distance import cdist  # training, which makes sketches, does not need it

    # From differences, not from inner products: those cancel when w_s is close to w_t.
    return _with_error(cdist(y, y, "sqeuclidean"), y.shape[1])


def two_time_refined(sketches: ArrayLike, distance_sq: ArrayLike) -> SquaredDistances:
    """The squared distances ‖w_s − w_t‖² from sketches and the exact distances from w_0.

    With m_t = ‖w_t − w_0‖² known, only the cosine ρ between two displacements is left. The
    likelihood of a normal sample of k pairs of components is largest at the root in [−1, 1] of

        ρ³ − ρ̂·ρ² + (‖y_s‖²/m_s + ‖y_t‖²/m_t − 1)·ρ − ρ̂ = 0        ρ̂ = y_s·y_t/√(m_s·m_t)

    and gives

        D̂ = m_s + m_t − 2ρ·√(m_s·m_t)        Var D̂ ≈ (4/k)·m_s·m_t·(1 − ρ²)²/(1 + ρ²)

    The error is that of `two_time` or smaller: by √½ for orthogonal displacements of one length,
    by more where one is much the shorter, and 0 for distances from w_0. D̂ is unbiased to order
    1/k, and its interval right from some hundred components on, where many weights have moved.
    Below a hundredth of m_s or m_t, where known norms say nothing and would cost digits, the
    estimate is that of `two_time`.

    Arguments:
        sketches: y of w_t − w_0 `(time, component)`, in the unit of the weights.
        distance_sq: m_t `(time,)`, over all the weights that are sketched.

    Returns:
        Estimates and standard errors `(time, time)`, symmetric, zero on the diagonal.

    Raises:
        ValueError: when shapes do not match, or a distance is negative.

    References:
        Li, Hastie and Church (2006), Improving random projections using marginal information,
        COLT, for the idea. The cubic is the score of the normal likelihood, the variance the
        inverse of its Fisher information.

    >>> two_time_refined([[0.0, 0.0], [3.0, 4.0], [3.0, -4.0]], [0.0, 25.0, 25.0]).value.round(6)
    array([[ 0., 25., 25.],
           [25.,  0., 64.],
           [25., 64.,  0.]])
    """
    direct = two_time(sketches)
    y, m = np.asarray(sketches, dtype=np.float64), np.asarray(distance_sq, dtype=np.float64)
    if m.shape != y.shape[:1] or np.any(m < 0):
        raise ValueError(f"distance_sq: found {m}, expected {len(y)} numbers, none negative")
    scale = np.sqrt(np.outer(m, m))
    share = np.divide(np.sum(y**2, axis=1), m, out=np.ones_like(m), where=m > 0)
    cosine = np.divide(y @ y.T, scale, out=np.zeros_like(scale), where=scale > 0)
    rho = _likeliest_cosine(cosine, share[:, None] + share)
    error = 2.0 * scale * (1.0 - rho**2) / np.sqrt(y.shape[1] * (1.0 + rho**2))
    near = direct.value < 0.01 * np.maximum(m[:, None], m)
    return SquaredDistances(
        np.where(near, direct.value, m[:, None] + m - 2.0 * rho * scale),
        np.where(near, direct.standard_error, error),
    )


def _likeliest_cosine(cosine: Array, shares: Array) -> Array:
    """The root in [−1, 1] of ρ³ − ρ̂·ρ² + (shares − 1)·ρ − ρ̂, by bisection.

    It is bracketed, because 2|ρ̂| ≤ shares: geometric means do not exceed arithmetic ones.
    """
    low, high = np.full_like(cosine, -1.0), np.full_like(cosine, 1.0)
    for _ in range(54):  # halvings down to the spacing of floats
        rho = (low + high) / 2
        rising = ((rho - cosine) * rho + shares - 1.0) * rho < cosine
        low, high = np.where(rising, rho, low), np.where(rising, high, rho)
    return (low + high) / 2


def buckets_and_signs(
    indices: ArrayLike, *, components: int = COMPONENTS, seed: int = 0
) -> tuple[Integers, Array]:
    """The bucket and the sign of each index, as the module's docstring defines them.

    Arguments:
        indices: i `(*)`, positions in the vector, from 0.
        components: k.
        seed: s, taken modulo 2⁶⁴.

    Returns:
        Buckets `(*)` in [0, k), and signs `(*)`, 1 or −1.

    Raises:
        ValueError: for an index that is negative or no integer, or another argument out of range.

    >>> buckets, signs = buckets_and_signs([0, 1, 1024], seed=3)
    >>> buckets.tolist(), signs.tolist()
    ([834, 835, 445], [1.0, -1.0, 1.0])
    """
    k = count(components, "components")
    index = np.asarray(indices)
    if index.dtype.kind not in "iu" or np.any(index < 0):
        raise ValueError(f"indices: found {index}, expected integers >= 0")
    row, column = np.divmod(index.astype(np.int64), k)
    bits = sign_bits(row // GROUP, column, components=k, seed=seed)
    minus = (bits >> (GROUP - 1 - row % GROUP).astype(np.uint32)) & np.uint32(1)
    return (column + shifts(row, components=k, seed=seed)) % k, 1.0 - 2.0 * minus.astype(
        np.float64
    )


def sign_bits(
    groups: ArrayLike, columns: ArrayLike, *, components: int, seed: int
) -> NDArray[np.uint32]:
    """The signs of `GROUP` consecutive rows in one column, as bits; the first row's is the top.

    Arguments:
        groups: ⌊r/32⌋ `(*)`.
        columns: c `(*)`, which broadcasts with the groups.
        components: k.
        seed: s.

    Returns:
        Bits `(*)`, 1 for a minus.
    """
    k = np.uint64(count(components, "components"))
    group, column = (np.asarray(x).astype(np.uint64) for x in (groups, columns))
    return (splitmix64(seed, group * k + column) >> np.uint64(32)).astype(np.uint32)


def shifts(rows: ArrayLike, *, components: int, seed: int) -> Integers:
    """By how many columns each row moves, cyclically.

    Arguments:
        rows: r `(*)`.
        components: k.
        seed: s.

    Returns:
        Shifts `(*)` in [0, k).
    """
    k = np.uint64(count(components, "components"))
    row = np.asarray(rows).astype(np.uint64)
    high = splitmix64(_mix(_state(seed)).item(), row) >> np.uint64(32)
    return ((high * k) >> np.uint64(32)).astype(np.int64)


def splitmix64(seed: int, outputs: ArrayLike) -> Words:
    """Chosen outputs of the generator SplitMix64.

    Arguments:
        seed: s, the state it starts from, taken modulo 2⁶⁴.
        outputs: n `(*)`, which outputs, from 0.

    Returns:
        64-bit words `(*)`.

    References:
        Steele, Lea and Flood (2014), with the constants of variant 13 of Stafford. The example
        is the one that public descriptions of the generator print.

    >>> splitmix64(1234567, [0, 1]).tolist()
    [6457827717110365317, 3203168211198807973]
    """
    n = np.atleast_1d(np.asarray(outputs).astype(np.uint64))
    words = _mix(_state(seed) + (n + np.uint64(1)) * _GAMMA)
    return words.reshape(np.shape(outputs))


def _mix(z: Words) -> Words:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _state(seed: int) -> Words:
    # An array, because numpy warns when a scalar wraps around, as it should here.
    return np.array([whole(seed, "seed") % 2**64], dtype=np.uint64)


def _with_error(squares: Array, components: int) -> SquaredDistances:
    return SquaredDistances(squares, np.sqrt(2.0 / (components + 2)) * squares)
