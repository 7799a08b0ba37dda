"""Power of a design to tell a power of t from a logarithm, through the fit that will be used.

Series are simulated with the pilot's noise and fitted, and sets of them are judged by the rule of
the verdict on P1. The power of one run's own test is for `certificate.certify`.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from .decision import CONTRADICTED, SUPPORTED, overall
from .exponent_rule import judged, too_few
from .fitting import gradients
from .growth import fit_growth
from .noise_models import covariance, simulate
from .pilot import Pilot, continued, curve
from .replication import PRIMARY_RUNS
from .usable_fits import usable

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
    half = simulate(later.noise, times, (draws + 1) // 2, rng=rng)
    # Each noise with both signs: the mean of p̂ over the draws is then off in second order only.
    noise = later.noise_share * np.concatenate([half, -half])[:draws]
    # The offset is free; without one a noisy series could start below 0 and mean no distance.
    table = 10.0 + curve(of, exponent, times) + noise
    return xr.DataArray(table, {"iteration": times}, ["series", "iteration"])


def exponents(distances: xr.DataArray) -> Array:
    """Fitted exponents p̂ of simulated series, shape (series,); NaN where P1 leaves a run out.

    Intervals within a run are asymptotic here, so that `p_unbounded` is found a little more rarely
    than with the simulated critical values of `fits.fit_totals`.
    """
    fits = fit_growth(distances, calibrate=False)
    first, last = distances["iteration"].values[[0, -1]]
    onset = fits["onset"].fillna(0.0)
    looked_at = fits[["exponent", "onset", "status", "reason"]].assign(
        first=first,
        last=last,
        decades=math.log10(last / first),
        grown_decades=np.log10((last + onset) / (first + onset)),
    )
    nodes = np.arange(fits.sizes["series"])
    known = looked_at.rename(series="node").assign_coords(node=nodes, run=("node", nodes))
    kept, _ = usable(known)
    return known["exponent"].where(known["node"].isin(kept)).values


@dataclass(frozen=True)
class Shares:
    """How often the verdict on P1 says what.

    Attributes:
        supported: share of sets of runs.
        contradicted: share of sets of runs.
    """

    supported: float
    contradicted: float


def verdict_shares(
    fitted: Array, seeds: int, *, spread: float, level: float, rng: np.random.Generator
) -> Shares:
    """How often P1 is supported and contradicted by an arm of so many seeds.

    The rule is that of `log_law.log_growth`, which both take from `exponent_rule`. Sets of which
    fewer than `PRIMARY_RUNS` runs can be used count as undecided; `log_growth` takes the interval
    of each run there.

    Arguments:
        fitted: exponents of series of the true law, shape (series,); NaN for unusable ones.
        seeds: S.
        spread: standard deviation of exponents between seeds.
        level: confidence level of the test.
        rng: source of random numbers.

    Returns:
        Shares of the sets of S seeds.
    """
    drawn = rng.choice(fitted, (_SETS, seeds))
    drawn = drawn + spread * rng.standard_normal((_SETS, seeds))
    # Sorted by how many runs can be used: each number of them has its own quantiles.
    counts = np.isfinite(drawn).sum(axis=1)
    words: list[str] = []
    for count in range(PRIMARY_RUNS, seeds + 1):
        if too_few(count, seeds - count):
            continue
        rows = drawn[counts == count]
        words += _words(rows[np.isfinite(rows)].reshape(-1, count), level=level)
    return Shares(words.count(SUPPORTED) / _SETS, words.count(CONTRADICTED) / _SETS)


def _words(exponents: Array, *, level: float) -> list[str]:
    """The verdict on each row of the exponents of an arm's runs."""
    count = exponents.shape[1]
    middles = exponents.mean(axis=1).tolist()
    errors = (exponents.std(axis=1, ddof=1) / math.sqrt(count)).tolist()

    @cache
    def quantile(wanted: float) -> float:
        return float(stats.t.ppf(0.5 + wanted / 2, count - 1))

    def word(middle: float, error: float) -> str:
        def at(wanted: float) -> list[_Ends]:
            half = quantile(wanted) * error
            return [_Ends(middle - half, middle + half)]

        return overall(judged(at, level=level)[1])

    return [word(*pair) for pair in zip(middles, errors, strict=True)]


class _Ends(NamedTuple):
    low: float
    high: float


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
