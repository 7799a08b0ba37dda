"""Power of a design to tell a power of t from a logarithm, through the fit that will be used.

Series are simulated with the pilot's noise and fitted, and the test is the t test of the exponents
of several seeds. The power of one run's own test is for `certificate.certify`.
"""

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from .fitting import gradients
from .growth import fit_growth
from .noise_models import covariance, simulate
from .pilot import Pilot, continued, curve

Array = NDArray[np.float64]

# Sets of seeds drawn from the simulated fits: a share of 0.8 is then known to 0.6 %.
_SETS = 4000


def simulated(
    of: Pilot, times: Array, exponent: float, *, draws: int, rng: np.random.Generator
) -> xr.DataArray:
    """Series that continue a pilot by a law of exponent p, in units of the pilot's growth.

    Arguments:
        of: the pilot.
        times: records of the design, shape (time,), iterations.
        exponent: p.
        draws: series.
        rng: source of random numbers.

    Returns:
        Distances along `series` and `iteration`.
    """
    later = continued(of, times)
    noise = later.noise_share * simulate(later.noise, times, draws, rng=rng)
    # The offset is free; without one a noisy series could start below 0 and mean no distance.
    table = 10.0 + curve(of, exponent, times) + noise
    return xr.DataArray(table, {"iteration": times}, ["series", "iteration"])


def exponents(distances: xr.DataArray) -> Array:
    """Fitted exponents p̂ of simulated series, shape (series,)."""
    return fit_growth(distances, calibrate=False)["exponent"].values


def seeds_power(
    fitted: Array, seeds: int, *, spread: float, level: float, rng: np.random.Generator
) -> float:
    """Probability that the t test across seeds rejects a mean exponent of 0.

    Arguments:
        fitted: exponents of series of the true law, shape (series,).
        seeds: S, two or more.
        spread: standard deviation of exponents between seeds.
        level: confidence level of the test.
        rng: source of random numbers.

    Returns:
        The share of sets of S seeds whose interval excludes 0.
    """
    drawn = rng.choice(fitted, (_SETS, seeds))
    drawn = drawn + spread * rng.standard_normal((_SETS, seeds))
    error = drawn.std(axis=1, ddof=1) / math.sqrt(seeds)
    half = float(stats.t.ppf(0.5 + level / 2, seeds - 1)) * error
    return float(np.mean(np.abs(drawn.mean(axis=1)) > half))


def exponent_error(of: Pilot, times: Array, exponent: float) -> float:
    """Standard error of p̂ at the records of a design, asymptotic: σ·[(JᵀC⁻¹J)⁻¹]_pp^½.

    J holds the derivatives of the law in (a, b, p, τ) and C the shape of the noise.

    Arguments:
        of: the pilot.
        times: records, shape (time,), iterations.
        exponent: p.

    Returns:
        The error; below the truth where the noise model has to be chosen from the data.
    """
    later = continued(of, times)
    ends = of.times[[0, -1]] + of.onset
    unit = gradients(np.log(ends)[None], np.array([exponent]), np.ones(1))[0, :, 1]
    slope = 1.0 / float(unit[1] - unit[0])
    log_time = np.log(times + of.onset)[None]
    design = gradients(log_time, np.array([exponent]), np.array([slope]))[0]
    white = np.linalg.solve(np.linalg.cholesky(covariance(later.noise, times)), design)
    length = np.linalg.norm(white, axis=0)
    inverse = np.linalg.pinv((white / length).T @ (white / length), rcond=1e-12, hermitian=True)
    return float(later.noise_share * math.sqrt(inverse[2, 2]) / length[2])
