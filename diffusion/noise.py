"""Gradient-noise arithmetic: from sums over units to unbiased estimates.

An update's gradient is the sum of contributions h_i of independently sampled *units* (a microbatch
on a rank): h_i = a_i·(mean gradient of the unit's n_i samples), with weights a_i that add up to 1.
Per-sample gradients have mean G and covariance Σ. Then with

    S   = Σ_i |h_i|²        Big = |Σ_i h_i|²        u = Σ_i a_i²        v = Σ_i a_i²/n_i

E S = u|G|² + v·tr Σ and E Big = |G|² + v·tr Σ, because distinct units are independent. Solving the
two equations gives the unbiased estimates below; with equal units they are those of McCandlish et
al. (2018, appendix A). Both are signed. Clamping or dividing them update by update biases the
noise scale, so neither is done here: average each over many updates first, then divide.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class NoiseEstimates:
    """Unbiased signed estimates of |G|² and tr Σ, shaped like the sums they come from."""

    gradient_sq: NDArray[np.float64]
    noise_trace: NDArray[np.float64]


def unit_estimates(
    unit_sq: ArrayLike, total_sq: ArrayLike, u: ArrayLike, v: ArrayLike
) -> NoiseEstimates:
    """Unbiased estimates of |G|² and tr Σ from the sums over the units of one update.

        |G|² = (Big − S)/(1 − u)        tr Σ = (S − u·Big)/((1 − u)·v)

    The scale is that of the update's own gradient: if the h_i add up to c·(mean gradient), both
    come out times c².

    Arguments:
        unit_sq: S, sum of squared norms of the unit contributions `(*)`, gradient unit squared.
        total_sq: Big, squared norm of their sum `(*)`, gradient unit squared.
        u: sum of squared unit weights `(*)`, in (0, 1).
        v: sum of squared unit weights over unit sizes `(*)`, per sample.

    Returns:
        Estimates `(*)`; NaN where u = 1, since one unit holds no information about the noise.

    References:
        McCandlish, Kaplan, Amodei et al. (2018), An Empirical Model of Large-Batch Training,
        appendix A, for equal units.

    >>> estimate = unit_estimates(12.0, 8.0, 0.5, 1 / 16)
    >>> float(estimate.gradient_sq), float(estimate.noise_trace)
    (-8.0, 256.0)
    """
    s, big, u, v = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (unit_sq, total_sq, u, v))
    )
    several = u < 1.0
    spread = np.where(several, 1.0 - u, np.nan)
    return NoiseEstimates((big - s) / spread, (s - u * big) / (spread * v))


def noise_scale(gradient_sq: ArrayLike, noise_trace: ArrayLike) -> float:
    """The simple noise scale B = mean(tr Σ)/mean(|G|²), in samples, over all given estimates.

    Arguments:
        gradient_sq: signed estimates of |G|² `(*)`; NaN entries are left out together with their
            partner.
        noise_trace: signed estimates of tr Σ `(*)`.

    Returns:
        The ratio of the two means; NaN when nothing is finite or the mean of |G|² is not positive.

    >>> noise_scale([3.0, 5.0], [70.0, 58.0])
    16.0
    """
    g, s = np.broadcast_arrays(np.asarray(gradient_sq, float), np.asarray(noise_trace, float))
    finite = np.isfinite(g) & np.isfinite(s)
    if not finite.any() or g[finite].mean() <= 0:
        return float("nan")
    return float(s[finite].mean() / g[finite].mean())
