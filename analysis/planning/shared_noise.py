"""The noise that the runs of an arm share, estimated from all of them at once.

The fit of one run finds less noise than there is: the slowest part of it passes for growth, and of
few independent stretches too short a correlation comes out. Exponents of single runs would then
differ by two thirds of what they do, and the rest would pass for a spread between seeds, which
longer runs do not mend. Here all runs choose one model, and what each loses to the four parameters
of its curve is allowed for:

    ℓ(C) = Σ_k [−½ ln|C| − ½ ln|J_k'C⁻¹J_k| + ½ ln|J_k'J_k|] − ½ν ln Σ_k RSS_k

with J_k the derivatives of the law in (a, b, p, τ) at the fit of run k, RSS_k what is left of the
run in the metric of C beside J_k, and ν = Σ_k (n_k − 4). σ̂² is the sum over ν.

References:
    Harville (1974), Biometrika 61, 383: the restricted likelihood with its determinant terms.
    Cox and Reid (1987), Journal of the Royal Statistical Society B 49, 1: the same for parameters
    that the law is not linear in.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.growth import NoiseModel, curve_gradients, handicap, menu, noise_covariance

Array = NDArray[np.float64]

_PARAMETERS = 4  # a, b, p and τ


class FittedCurve(NamedTuple):
    """A run's distances with the law that was fitted.

    Attributes:
        times: t ≥ 1 of its records, shape (time,), increasing, iterations.
        values: d, shape (time,), in a unit in which the runs are alike.
        exponent: p̂.
        onset: τ̂, iterations.
    """

    times: Array
    values: Array
    exponent: float
    onset: float


class SharedNoise(NamedTuple):
    """The noise of all runs.

    Attributes:
        times: of all records, shape (time,), which the model is scaled to.
        model: its shape.
        sigma: its size, unit of the distances.
    """

    times: Array
    model: NoiseModel
    sigma: float


def shared_noise(curves: Sequence[FittedCurve]) -> SharedNoise:
    """The noise model that runs choose together, of those that fits choose among.

    Arguments:
        curves: the runs, one or more.

    Returns:
        The model of the largest restricted likelihood, with its size.
    """
    times = np.unique(np.concatenate([curve.times for curve in curves]))
    groups: dict[bytes, list[FittedCurve]] = {}
    for curve in curves:
        groups.setdefault(curve.times.tobytes(), []).append(curve)
    recorded = [np.searchsorted(times, group[0].times) for group in groups.values()]
    tables = [np.stack([_tangent_and_values(one) for one in group]) for group in groups.values()]
    freedom = sum(curve.times.size - _PARAMETERS for curve in curves)
    best, found = -math.inf, SharedNoise(times, NoiseModel("white"), math.nan)
    for model in menu(times):
        covariance = noise_covariance(model, times)
        parts = [
            _part(covariance[np.ix_(kept, kept)], table)
            for kept, table in zip(recorded, tables, strict=True)
        ]
        squares = sum(part[1] for part in parts)
        likelihood = sum(part[0] for part in parts) - 0.5 * freedom * math.log(squares)
        if likelihood - handicap(model) > best:
            best = likelihood - handicap(model)
            found = SharedNoise(times, model, math.sqrt(squares / freedom))
    return found


def _tangent_and_values(curve: FittedCurve) -> Array:
    """Orthonormal vectors that span the derivatives of a law, so that ln|J'J| is 0; and d."""
    log_time = np.log(curve.times + curve.onset)[None]
    gradients = curve_gradients(log_time, np.array([curve.exponent]), np.ones(1))[0]
    tangent = np.linalg.qr(gradients / np.linalg.norm(gradients, axis=0))[0]
    return np.column_stack([tangent, curve.values])


def _part(covariance: Array, table: Array) -> tuple[float, float]:
    """−½ ln|C| − ½ ln|J'C⁻¹J| and RSS of the runs of one set of times, added up."""
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, table)  # of shape (run, time, J beside d)
    diagonal = np.abs(np.diagonal(np.linalg.qr(white, mode="r"), axis1=1, axis2=2))
    determinants = len(table) * np.log(np.diagonal(root)).sum() + np.log(diagonal[:, :-1]).sum()
    # Of a curve without noise only rounding is left.
    least = 1e-14 * (white[:, :, -1] ** 2).sum(axis=1)
    return -float(determinants), float(np.maximum(diagonal[:, -1] ** 2, least).sum())
