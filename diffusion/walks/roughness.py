"""How a loss varies with distance: statistics over directions of its differences ΔL(r·v).

For a differentiable loss and unit directions v that are uniform on the sphere in N dimensions,
the first orders in r are

    mean ΔL = r²·tr H/(2N)        std ΔL = r·|∇L|/√N

so a standard deviation in proportion to r is what every smooth loss shows at small r, random
landscape or not. Beyond the crossover the mean dominates, and an RMS difference mixes the two:
mean, standard deviation and RMS are kept apart here.

References:
    Hoffer, Hubara and Soudry (2017), Train longer, generalize better, for the use of the growth
    of loss differences with distance. The two formulas are averages of the expansion
    ΔL = r·∇L·v + r²·vᵀHv/2 + O(r³), with E v vᵀ = I/N.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LossStructure:
    """Statistics of loss differences at each radius, and their standard errors, `(radius,)`.

    `nonfinite` counts the directions whose difference is inf or NaN. Where there is one, the
    statistics are NaN: leaving it out would leave out the steepest directions.
    """

    mean: Array
    mean_error: Array
    standard_deviation: Array
    standard_deviation_error: Array
    rms: Array
    rms_error: Array
    directions: int
    nonfinite: NDArray[np.int64]


def structure(differences: ArrayLike) -> LossStructure:
    """Mean, standard deviation and RMS of loss differences over directions, each by itself.

    With n directions, standard deviation s and kurtosis κ = m_4/s⁴, the standard errors are

        s/√n        s·√((κ − (n − 3)/(n − 1))/(4n))        std(ΔL²)/(2·RMS·√n)

    the last two by the delta method, so they need some tens of directions.

    Arguments:
        differences: signed ΔL `(radius, direction)`, in the unit of the loss, two directions or
            more.

    Returns:
        The statistics, in the unit of the loss.

    Raises:
        ValueError: when there are fewer than two directions.

    >>> found = structure([[1.0, 3.0], [-4.0, 4.0]])
    >>> found.mean, found.standard_deviation.round(3), found.rms.round(3)
    (array([2., 0.]), array([1.414, 5.657]), array([2.236, 4.   ]))
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or d.shape[1] < 2:
        raise ValueError(f"differences: found shape {d.shape}, expected (radius, direction ≥ 2)")
    nonfinite = np.sum(~np.isfinite(d), axis=1)
    d = np.where(nonfinite[:, None] > 0, np.nan, d)
    n = d.shape[1]
    mean, deviation = d.mean(axis=1), d.std(axis=1, ddof=1)
    rms = np.sqrt(np.mean(d**2, axis=1))
    return LossStructure(
        mean=mean,
        mean_error=deviation / np.sqrt(n),
        standard_deviation=deviation,
        standard_deviation_error=_deviation_error(d - mean[:, None], deviation),
        rms=rms,
        rms_error=_ratio(np.std(d**2, axis=1, ddof=1), 2.0 * rms * np.sqrt(n)),
        directions=n,
        nonfinite=nonfinite,
    )


def _deviation_error(centred: Array, deviation: Array) -> Array:
    n = centred.shape[1]
    kurtosis = np.mean(_ratio(centred, deviation[:, None]) ** 4, axis=1)
    return deviation * np.sqrt(np.maximum(kurtosis - (n - 3) / (n - 1), 0.0) / (4 * n))


def _ratio(numerator: Array, denominator: Array) -> Array:
    """The ratio; 0 where both vanish, as for differences that are all the same."""
    below = np.broadcast_to(denominator, numerator.shape)
    zeros = np.where(np.isnan(below), np.nan, 0.0)
    return np.divide(numerator, below, out=zeros, where=below > 0)
