"""Power of a design to tell a power of t from a logarithm, through the fit that will be used.

Series are simulated with the pilot's noise and fitted, and sets of them are judged by the rule of
the verdict on P1. The power of one run's own test is for `certificate.certify`.

What a plan is asked, and the simulated sets of runs that answer it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import (
    DECADES,
    EXPONENT_HIGH,
    EXPONENT_LOW,
    LEAST_SEEDS,
    MARGIN,
    WEAK_SIGNAL,
    Advantage,
    ArmCurves,
    advantage,
    arm_words,
    curve_gradients,
    fit_peaks,
    noise_covariance,
)
from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, UNDECIDABLE
from ultraslow.diffusion.recording import log_spaced

from .pilot import Pilot, continued, curve

Array = NDArray[np.float64]
Rows = NDArray[np.bool_]

# Sets of seeds drawn from the simulated fits: a share of 0.8 is then known to 0.6 %.
_SETS = 4000
_MOST_SEEDS = 40  # of a set
LONGEST = 8.0  # decades: no training goes on for longer
STEP = 0.25  # decades between the lengths considered


def simulated(
    of: Pilot, times: Array, exponent: float, *, draws: int, rng: np.random.Generator
) -> xr.DataArray:
    """Series that continue a pilot by a law of exponent p, in units of the pilot's growth.

    Each is of a seed with an exponent of its own, p + s·z with the pilot's spread s between seeds:
    how much better powers of t fit it differs with its exponent, and not with its noise alone.

    Arguments:
        of: the pilot.
        times: records of the design, shape (time,), iterations.
        exponent: p, the mean over seeds.
        draws: series.
        rng: source of random numbers.

    Returns:
        Distances along `series` and `iteration`.
    """
    half = rng.standard_normal(((draws + 1) // 2, times.size))
    own = rng.standard_normal(len(half))
    # Each noise with both signs: the mean of p̂ over the draws is then off in second order only.
    exponents = exponent + of.seed_spread * np.concatenate([own, -own])[:draws]
    within = np.clip(exponents, EXPONENT_LOW, EXPONENT_HIGH)
    return series(of, within, times, np.concatenate([half, -half])[:draws])


def series(of: Pilot, exponents: Array, times: Array, deviates: Array) -> xr.DataArray:
    """Series of given noise that continue a pilot, in units of its growth.

    The part until some iteration is what the same runs show by then.

    Arguments:
        of: the pilot.
        exponents: p of each, shape (series,).
        times: records, shape (time,), iterations.
        deviates: independent normal numbers that the noise is made of, shape (series, time).

    Returns:
        Distances along `series` and `iteration`.
    """
    later = continued(of, times)
    root = np.linalg.cholesky(noise_covariance(later.noise, times))
    grown = np.stack([curve(of, p, times) for p in exponents])
    # The offset is free; without one a noisy series could start below 0 and mean no distance.
    table = 10.0 + grown + later.noise_share * deviates @ root.T
    return xr.DataArray(table, {"iteration": times}, ["series", "iteration"])


@dataclass(frozen=True)
class Fitted:
    """What P1 reads off simulated series.

    Attributes:
        exponents: p̂, shape (series,); NaN where nothing could be fitted.
        usable: whether P1 uses the run, shape (series,).
        advantage: by how much powers fit better than late logarithms.
    """

    exponents: Array
    usable: Rows
    advantage: Advantage


def fitted_series(distances: xr.DataArray) -> Fitted:
    """What P1 reads off simulated series.

    Exponents alone, as the rule asks for no intervals within a run.
    """
    times = np.asarray(distances["iteration"].values, dtype=np.float64)
    exponents, signals = fit_peaks(times, np.asarray(distances.values))
    # As `growth.usable`: at one rate nothing but a weak signal leaves a run out.
    clear = np.isfinite(exponents) & (signals >= WEAK_SIGNAL)
    long = math.log10(times[-1] / times[0]) >= DECADES
    return Fitted(exponents, clear & long, advantage(times, np.asarray(distances.values)))


def fitted_runs(distances: xr.DataArray) -> ArmCurves:
    """What P1 reads off simulated series; exponents are NaN where it leaves a run out."""
    found = fitted_series(distances)
    return ArmCurves(np.where(found.usable, found.exponents, np.nan), found.advantage)


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
    fitted: ArmCurves, seeds: int, *, level: float, rng: np.random.Generator
) -> Shares:
    """How often P1 is supported and contradicted by an arm of so many seeds.

    The rule is that of `log_growth.log_growth`, which both take from `growth.rule`. Sets of which
    fewer than `LEAST_SEEDS` runs, or fewer than half, can be used count as undecided.

    Arguments:
        fitted: series of the true law; exponents are NaN for unusable ones.
        seeds: S.
        level: confidence level of the test.
        rng: source of random numbers; sets of fewer seeds are parts of those of more.

    Returns:
        Shares of the sets of S seeds.
    """
    # Seed by seed, so that a set has the same first seeds however many there are.
    drawn = rng.integers(fitted.exponents.size, size=(_MOST_SEEDS, _SETS)).T[:, :seeds]
    better = Advantage(fitted.advantage.faster[drawn], fitted.advantage.slower[drawn])
    words = set_words(ArmCurves(fitted.exponents[drawn], better), level=level).tolist()
    return Shares(words.count(SUPPORTED) / _SETS, words.count(CONTRADICTED) / _SETS)


def set_words(found: ArmCurves, *, level: float) -> NDArray[np.str_]:
    """What P1's rule says of sets of seeds, of which some cannot be used.

    Arguments:
        found: of each run, shape (set, seed); exponents are NaN of runs that cannot be used.
        level: confidence level.

    Returns:
        Words, shape (set,); undecidable where fewer than `LEAST_SEEDS` runs, or fewer than half,
        can be used.
    """
    known = np.isfinite(found.exponents)
    counts, seeds = known.sum(axis=1), known.shape[1]
    words = np.full(counts.size, UNDECIDABLE, dtype="U16")
    # Sorted by how many runs can be used: each number of them has its own quantiles.
    for count in range(LEAST_SEEDS, seeds + 1):
        rows = counts == count
        if 2 * count < seeds or not rows.any():
            continue

        def usable_of(values: Array, rows: Rows = rows, count: int = count) -> Array:
            return values[rows][known[rows]].reshape(-1, count)

        better = Advantage(usable_of(found.advantage.faster), usable_of(found.advantage.slower))
        ratios = None if found.ratios is None else usable_of(found.ratios)
        words[rows] = arm_words(usable_of(found.exponents), better, level=level, ratios=ratios)
    return words


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
    unit = curve_gradients(np.log(ends)[None], np.array([exponent]), np.ones(1))[0, :, 1]
    slope = 1.0 / float(unit[1] - unit[0])
    log_time = np.log(times + of.onset)[None]
    design = curve_gradients(log_time, np.array([exponent]), np.array([slope]))[0]
    white = np.linalg.solve(np.linalg.cholesky(noise_covariance(later.noise, times)), design)
    length = np.linalg.norm(white, axis=0)
    inverse = np.linalg.pinv((white / length).T @ (white / length), rcond=1e-12, hermitian=True)
    return float(later.noise_share * math.sqrt(inverse[2, 2]) / length[2])


DRAWS = (100, 10_000)  # fewest and most: beyond, shares are vague, or wait for hours


@dataclass(frozen=True)
class Question:
    """What is to be told apart, and how surely.

    Attributes:
        exponent: p of the power law to tell from the logarithm; NaN for what recordings leave
            open.
        power: probability with which it shall be told.
        level: confidence level of the test.
        draws: series simulated for each law and length.
    """

    exponent: float
    power: float = 0.8
    level: float = 0.95
    draws: int = 400


def check_question(question: Question) -> None:
    """Refuse what cannot be answered.

    Raises:
        ValueError: when the exponent counts as log growth or lies beyond those that are fitted, or
            a number is out of range.
    """
    exponent = question.exponent
    if math.isinf(exponent) or abs(exponent) <= MARGIN:
        raise ValueError(
            f"exponent: found {question.exponent}, expected a number beyond ±{MARGIN:g}, within "
            "which verdicts take growth for that of log t"
        )
    if not (math.isnan(exponent) or EXPONENT_LOW < exponent < EXPONENT_HIGH):
        raise ValueError(
            f"exponent: found {question.exponent:g}, expected a number between {EXPONENT_LOW:g} "
            f"and {EXPONENT_HIGH:g}, among which fits look for theirs"
        )
    for name, value in (("power", question.power), ("level", question.level)):
        if not 0.5 <= value < 1:
            raise ValueError(f"{name}: found {value}, expected a number from 0.5 to 1")
    if not DRAWS[0] <= question.draws <= DRAWS[1]:
        raise ValueError(f"draws: found {question.draws}, expected {DRAWS[0]} to {DRAWS[1]}")


def record_times(last: int, *, per_decade: int = 25) -> Array:
    """Iterations t ≥ 1 that the default schedule records."""
    return log_spaced(last, per_decade=per_decade)[1:].astype(np.float64)


def training_lengths() -> list[int]:
    """Last iterations considered, from the shortest that a verdict takes.

    >>> training_lengths()[:2], training_lengths()[-1] <= 10**8
    ([317, 563], True)
    """
    steps = int((LONGEST - DECADES) / STEP) + 1
    return [math.ceil(10 ** (DECADES + STEP * k)) for k in range(steps)]


class Simulations:
    """How often sets of runs of a length come out how.

    All lengths are parts of the same simulated runs, so that their shares differ by what the
    lengths are and not by chance.
    """

    def __init__(
        self,
        question: Question,
        of: Pilot,
        rng: np.random.Generator,
        advance: Callable[[], None] | None,
    ) -> None:
        self._question, self._of, self._advance = question, of, advance
        self._fitted: dict[int, list[ArmCurves]] = {}
        self._times = np.unique([*record_times(int(10**LONGEST)), *training_lengths()])
        laws = [(of, question.exponent), (of, 0.0), (replace(of, onset=0.0), 0.0)]
        self._runs = [
            simulated(law, self._times, exponent, draws=question.draws, rng=rng)
            for law, exponent in (laws if of.onset else laws[:2])
        ]

    def power(self, seeds: int, last: int) -> float:
        """Share of sets of so many seeds of this length that contradict under the power law."""
        return self.shares(seeds, last)[0].contradicted

    def shares(self, seeds: int, last: int) -> list[Shares]:
        """Of the power law, the log law, and the log law of onset 0."""
        level = self._question.level
        # The same draws for every length, so that power rises smoothly with it.
        return [
            verdict_shares(fitted, seeds, level=level, rng=np.random.default_rng(0))
            for fitted in self._of_several(last)
        ]

    def lengths(self) -> list[int]:
        """Last iterations that were looked at, in order."""
        return sorted(self._fitted)

    def _of_several(self, last: int) -> list[ArmCurves]:
        """Fitted series of each law."""
        if last not in self._fitted:
            kept = self._times <= last
            found = [fitted_runs(runs.isel(iteration=kept)) for runs in self._runs]
            self._fitted[last] = [*found, found[-1]][:3]
            if self._advance is not None:
                self._advance()
        return self._fitted[last]
