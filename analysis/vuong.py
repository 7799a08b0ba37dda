"""Two laws compared on one curve by their likelihood, whether or not they differ at all.

The null hypothesis is that both lie equally far from the truth. The usual statistic, the mean
difference of log densities over its standard error, has a normal limit only where the two fitted
curves differ; a logarithm and a small power fitted to the same growth hardly do, and then the
statistic is a ratio of two noise terms. Weighting every other record a little more for one law,
and the others for the other, keeps the standard error away from 0 and the limit normal throughout.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from .candidates import Candidate
from .law_fits import fit_law, residuals, search
from .noise_models import NoiseModel, covariance
from .status import check_curve

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PairTest:
    """Comparison of two laws on one curve.

    Attributes:
        statistic: standard normal if both laws lie equally far from the truth; positive where the
            first is nearer.
        p_value: two-sided.
        difference: mean difference of log densities a record, less that of the numbers of
            parameters; positive where the first law is nearer.
        better: name of the law that is nearer, or empty where it is not told.
    """

    statistic: float
    p_value: float
    difference: float
    better: str


def compare_pair(
    times: Array,
    values: Array,
    laws: tuple[Candidate, Candidate],
    *,
    noise: NoiseModel,
    level: float = 0.95,
) -> PairTest:
    """Uniformly valid test of which of two laws lies nearer to the truth.

    z = Σ_k [w_k ln f₁(d_k) − w_{k+1} ln f₂(d_k) − (q₁ − q₂)(1 + ε/2)/(2n)]/(√n σ̃), w = 1 for odd
    and 1 + ε for even k, σ̃² = (1 + ε) σ² + ε²(σ₁² + σ₂²)/2, with f the one-step-ahead densities
    under the noise model, q the numbers of parameters, σ² the variance of ln f₁ − ln f₂, and σ_i²
    that of ln f_i. ε = n^{−1/6} (ln ln n)^{1/3}: it must vanish, but more slowly than n^{−1/2};
    this rate, with the constant 1, is a choice whose size is simulated (tests/statistics).

    Both laws are held against the same noise model, that of the growth fit; where it is far off,
    so is the test. For several runs, `replication.across_runs` of `difference` needs no noise
    model.

    References:
        Schennach and Wilhelm (2017), J. Am. Stat. Assoc. 112, 1663: the weights and σ̃; their
        data-driven ε is not used. Vuong (1989), Econometrica 57, 307: the correction for the
        numbers of parameters.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (time,), finite.
        laws: the two laws.
        noise: of the curve, for example `growth.fitted_noise`.
        level: 1 − probability of naming a better law where there is none.

    Returns:
        The comparison.

    Raises:
        ValueError: with fewer than 12 records, times that do not increase, or values that are
            constant or not finite.
    """
    check_curve(times, values)
    if times.size < 12:
        raise ValueError(f"times: found {times.size} records, expected at least 12")
    if np.ptp(values) == 0:
        raise ValueError("values: found a constant, which every law fits alike")
    white = np.linalg.inv(np.linalg.cholesky(covariance(noise, times)))
    densities = [_log_densities(law, times, values, white=white) for law in laws]
    excess = laws[0].parameters - laws[1].parameters
    statistic, difference = regularized(densities[0], densities[1], excess=excess)
    p_value = float(2 * norm.sf(abs(statistic)))
    nearer = laws[0].name if statistic > 0 else laws[1].name
    return PairTest(statistic, p_value, difference, nearer if p_value < 1 - level else "")


def _log_densities(law: Candidate, times: Array, values: Array, *, white: Array) -> Array:
    """Ln f of each whitened record, less what is the same for all laws, shape (time,)."""
    of = search(law, times, white)
    left = residuals(of, values, fit_law(of, values).shape)
    variance = max(float(left @ left) / left.size, 1e-300)
    return -0.5 * np.log(variance) - 0.5 * left**2 / variance


def regularized(first: Array, second: Array, *, excess: int) -> tuple[float, float]:
    """The statistic z and the mean difference of two series of log densities.

    Arguments:
        first: ln f₁, shape (time,).
        second: ln f₂, shape (time,).
        excess: q₁ − q₂.

    Returns:
        z, and the mean of ln f₁ − ln f₂ less (q₁ − q₂)/(2n).
    """
    # In pairs, so that what is common to both laws drops out of the weighted sum.
    count = first.size - first.size % 2
    one, two = first[-count:], second[-count:]
    weight = count ** (-1 / 6) * np.log(np.log(count)) ** (1 / 3)
    alternating = np.where(np.arange(count) % 2 == 0, 1.0, 1.0 + weight)
    total = float(np.sum(alternating * one - alternating[::-1] * two))
    total -= 0.5 * excess * (1 + weight / 2)
    spread = (1 + weight) * np.var(one - two) + weight**2 / 2 * (np.var(one) + np.var(two))
    difference = float(np.mean(first - second)) - 0.5 * excess / first.size
    return total / float(np.sqrt(count * max(spread, 1e-300))), difference
