"""Sinai's walk in the limit of long times: the walker sits at the bottom of its valley.

On a potential with independent steps of variance σ² the walker at time t has crossed every barrier
below T·ln t. Then σ²·x/(T·ln t)² tends in distribution to a law L without parameters.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ultraslow.diffusion._validation import all_finite, positive

from .potential import checked_potential

Array = NDArray[np.float64]

MEAN_ABS = 5 / 6  # E|L| = (256/π⁵)·Σ (−1)^k/(2k+1)⁵
MEAN_SQ = 61 / 45  # E L² = (4096/π⁷)·Σ (−1)^k/(2k+1)⁷

# Terms of the series: at |x| = 1e-3 those left out are below 1e-20. There, and closer to 0, the
# density is ½ to more digits than a float has.
_TERMS, _NEAR = 100, 1e-3


def density(x: ArrayLike) -> Array:
    """The density of L.

        f(x) = (2/π)·Σ_k (−1)^k/(2k+1)·exp(−(2k+1)²·π²·|x|/8)

    Arguments:
        x: positions in units of (T·ln t)²/σ² `(*)`; f is ½ at 0 and, to double precision, up to
            |x| = 1e-3, where the series converges slowly.

    Returns:
        f `(*)`.

    References:
        Kesten (1986), Physica A 138, 299; Golosov (1986), Russian Math. Surveys 41, 199. The
        series has not been compared with their text; its moments 5/6 and 61/45 are checked
        against sampled valleys.

    >>> density([0.0, 1.0]).round(4)
    array([0.5   , 0.1854])
    """
    distance = np.abs(all_finite(x, "x"))
    odd = 2.0 * np.arange(_TERMS) + 1.0
    signs = np.where(np.arange(_TERMS) % 2 == 0, 1.0, -1.0) / odd
    series = np.exp(-(odd**2) * np.pi**2 / 8 * distance[..., None]) @ signs
    return np.where(distance > _NEAR, 2.0 / np.pi * series, 0.5)


def mean_sq_asymptote(times: ArrayLike, *, temperature: float, scale: float = 1.0) -> Array:
    """The leading term of ⟨x²⟩ at long times, (61/45)·(T·ln t)⁴/σ⁴.

    The approach is slow: corrections are of relative order 1/ln t.

    Arguments:
        times: t > 1 `(*)`.
        temperature: T, in the unit of V.
        scale: σ, standard deviation of a step of V.

    Returns:
        ⟨x²⟩ `(*)`, sites squared.

    Raises:
        ValueError: for a time of 1 or less, or another argument out of range.
    """
    t = all_finite(times, "times")
    if not (t > 1.0).all():
        raise ValueError(f"times: found {t.min():g}, expected values above 1")
    length = (positive(temperature, "temperature") * np.log(t)) ** 2
    return MEAN_SQ * (length / positive(scale, "scale") ** 2) ** 2


def valley_bottom(potential: ArrayLike, barrier: float) -> NDArray[np.int64]:
    """The site where a walker from the middle sits once it has crossed all barriers below one.

    On each side, follow the potential until it has risen by the barrier Γ above its lowest point
    so far: that point is the side's candidate. The walker first takes the side whose way climbs
    less. It leaves for the other one if the rim between them is less than Γ above where it sits
    and the other is lower.

    Arguments:
        potential: V `(sample, site)`, an odd number of sites.
        barrier: Γ = T·ln t > 0, in the unit of V.

    Returns:
        Sites from the middle `(sample,)`.

    Raises:
        ValueError: when some potential ends before it has risen by the barrier, has no middle
            site, or holds inf or NaN.

    References:
        Kesten (1986), Physica A 138, 299.

    >>> valley_bottom([[9.0, 0.5, 3.0, 0.0, 1.0, -1.0, 9.0]], barrier=4.0)
    array([2])
    """
    v = checked_potential(potential)
    rise = positive(barrier, "barrier")
    middle = v.shape[1] // 2
    sites, climbs, bottoms = np.stack(
        [_side(v[:, middle:], rise), _side(v[:, middle::-1], rise)], axis=1
    )
    sites *= [[1], [-1]]
    rows, first = np.arange(len(v)), np.argmin(climbs, axis=0)
    here, there = bottoms[first, rows], bottoms[1 - first, rows]
    leaves = (np.maximum(climbs.max(axis=0), 0.0) - here < rise) & (there < here)
    return sites[np.where(leaves, 1 - first, first), rows].astype(np.int64)


def _side(v: Array, rise: float) -> tuple[Array, Array, Array]:
    """Lowest site before the first rise, the height climbed to reach it, and its potential."""
    lowest = np.minimum.accumulate(v, axis=1)
    risen = v - lowest >= rise
    short = int(np.sum(~risen.any(axis=1)))
    if short:
        raise ValueError(
            f"potential: {short} of {len(v)} end before they have risen by barrier {rise:g},"
            " expected more sites"
        )
    rows = np.arange(len(v))
    bottom_value = lowest[rows, risen.argmax(axis=1)]
    bottom = np.argmax(v <= bottom_value[:, None], axis=1)
    # The start itself is left out: from the top of a hill the walker takes the lower neighbour.
    highest = np.maximum.accumulate(v[:, 1:], axis=1)
    climb = np.where(bottom > 0, highest[rows, np.maximum(bottom, 1) - 1], 0.0)
    return bottom.astype(np.float64), climb, bottom_value
