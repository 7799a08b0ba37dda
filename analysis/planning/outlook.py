"""What more seeds and longer runs would make P1's rule say of an arm, by simulation.

What the seeds of an arm leave open is drawn: the mean of their exponents and the spread between
them, and whether the law is a power of t, of any exponent, or a logarithm, by how well each
explains what was found. Each such truth is continued: the runs that there are train on, and others
stand beside them. All designs are parts of the same simulated runs, so that their chances differ
by what the designs are and not by chance. The verdict and `ultraslow plan` both advise by this.

References:
    O'Hagan, Stevens and Campbell (2005), Pharmaceutical Statistics 4, 187: assurance.
"""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.growth import (
    DECADES,
    EXPONENT_HIGH,
    EXPONENT_LOW,
    LEAST_SEEDS,
    MARGIN,
    Advantage,
    ArmCurves,
    NoiseModel,
    logarithm_onset,
    signed_root,
)
from ultraslow.analysis.intervals import UNDECIDABLE, seeds_at_most, t_quantile

from .pilot import Pilot, scatter
from .power import Fitted, fitted_series, record_times, series, set_words

Array = NDArray[np.float64]

MOST_TIMES = 10.0  # as many iterations as there are: more is another study
_STEPS = 10.0 ** np.array([0.25, 0.5, 0.75, 1.0])
_TRUTHS = 800  # a share of 0.8 is then known to 1.4 %
_SERIES = 200  # of each law, from which the runs of all truths are taken
_NEAR = 10  # places among these, in the order of their exponents, that stand for one another
_INSIDE = 0.1  # of the ends between which exponents are fitted
# Relative error of the noise, of a few runs whose records depend on each other. It is a choice:
# four runs tell what it makes of exponents to a quarter, see tests/statistics/advice_table.md.
_NOISE_KNOWN = 0.2
_NEGLIGIBLE = 0.02  # of the truths: a law that is not simulated
# The spread of exponents between seeds, as arms of image classifiers have it, and the degrees of
# freedom that it counts for: of a few seeds alone the spread may be ten times what it is.
_USUAL_SPREAD, _USUAL_FREEDOM = 0.025, 4
_SPREADS = np.geomspace(1e-3, 4.0, 1000)  # as wide as exponents that are fitted can lie apart
_WIDE = 0.05  # half-width of an interval of the mean exponent that says little


@dataclass(frozen=True)
class Outlook:
    """How often designs decide an arm.

    Attributes:
        present: seeds and last iteration that there are.
        seeds: runs in all, in order.
        lasts: last iterations of all of them, in order; first the one that there is.
        decided: share of simulated continuations that the rule decides, shape (seeds, lasts).
        obstacle: in words, why the largest design decides no more often.
    """

    present: tuple[int, int]
    seeds: tuple[int, ...]
    lasts: tuple[int, ...]
    decided: Array
    obstacle: str


def outlook(of: Pilot, *, level: float) -> Outlook:
    """How often more seeds and longer runs would decide the arm of a pilot.

    Arguments:
        of: the arm, as `pilot` reads it, of one run or more.
        level: confidence level at which the arm is judged.

    Returns:
        Shares of continuations of up to `MOST_TIMES` as many iterations and `seeds_at_most`.

    Raises:
        ValueError: when nothing was found of any run.
    """
    found = of.found
    if found is None or not found.exponents.size:
        raise ValueError("of: found numbers alone, expected an arm of one run or more")
    curves = (found.exponents, found.advantage.faster, found.advantage.slower)
    numbers = tuple(np.asarray(values).tobytes() for values in (of.times, *curves))
    shape = (of.noise, of.noise_share, of.onset, of.ratio)
    return _outlook(_Design((*numbers, *shape), of), level)


@dataclass(frozen=True)
class _Design:
    """A pilot, equal to another where all that an outlook follows from is."""

    numbers: tuple[bytes | NoiseModel | float, ...]
    of: Pilot = field(compare=False)


# The verdict and the plan ask for the same arm.
@lru_cache(maxsize=32)
def _outlook(design: _Design, level: float) -> Outlook:
    of = design.of
    assert of.found is not None
    count, last = of.found.exponents.size, int(of.times[-1])
    seeds = tuple(range(max(count, LEAST_SEEDS), seeds_at_most(count) + 1))
    lasts = (last, *(_rounded_up(last * times) for times in _STEPS))
    truths = _Truths(of, seeds[-1], lasts)
    sets = [truths.until(until) for until in lasts]
    decided = [[_decided(runs, n, level) for runs in sets] for n in seeds]
    return Outlook(
        (count, last), seeds, lasts, np.array(decided), _obstacle(sets[-1], level, one=count == 1)
    )


def _decided(runs: ArmCurves, seeds: int, level: float) -> float:
    """Share of sets of which the first so many seeds decide."""
    better = Advantage(runs.advantage.faster[:, :seeds], runs.advantage.slower[:, :seeds])
    words = set_words(ArmCurves(runs.exponents[:, :seeds], better), level=level)
    return float((words != UNDECIDABLE).mean())


def _rounded_up(iteration: float) -> int:
    """To two digits: nobody stops at iteration 8435.

    >>> _rounded_up(8435.1), _rounded_up(1500)
    (8500, 1500)
    """
    unit = 10 ** (math.floor(math.log10(iteration)) - 1)
    return math.ceil(iteration / unit - 1e-9) * max(unit, 1)


def _obstacle(runs: ArmCurves, level: float, *, one: bool) -> str:
    """Why most of the sets that are left open are, in words; of one run no spread is known."""
    known = runs.exponents[np.isfinite(runs.exponents).all(axis=1)]
    if len(known) < len(runs.exponents) / 2:
        return "most fits would fail"
    count = known.shape[1]
    middle = np.abs(known.mean(axis=1))
    half = t_quantile(count - 1, level) * known.std(axis=1, ddof=1) / math.sqrt(count)
    near = np.abs(middle - MARGIN) <= half
    if near.mean() < 0.5:
        return "powers of t and late logarithms may fit alike"
    if np.median(half[near]) > _WIDE:
        differ = "are taken to differ" if one else "differ"
        return f"exponents of seeds {differ} by ±{known.std(axis=1, ddof=1).mean():.2g}"
    return f"the exponent may lie near ±{MARGIN:g}, up to which growth counts as log t"


class _Truths:
    """Laws that an arm may follow, and the runs that continue it under each.

    What the noise within a run makes of exponents is simulated, v; beyond it seeds spread by an s
    that is as likely as their scatter and what is usual say (`spread_between`), and the mean of n
    of them lies around theirs by √[(s² + v²)/n]. Longer runs have less of v, and as much of s. The
    seeds that there are keep what they showed of themselves.
    """

    def __init__(self, of: Pilot, seeds: int, lasts: tuple[int, ...]) -> None:
        assert of.found is not None
        self._of, self._found, self._last = of, of.found, lasts[0]
        later = record_times(lasts[-1])
        times = np.concatenate([of.times, later[later > lasts[0]], lasts[1:]])
        self._times = np.unique(times)
        self._rng = np.random.default_rng(0)
        self._noise = self._rng.standard_normal((_SERIES, self._times.size))
        self._deviates = self._rng.standard_normal((3, _TRUTHS, seeds))
        self._jitter = self._rng.integers(-_NEAR, _NEAR + 1, (_TRUTHS, seeds))
        mean = _inside(float(self._found.exponents.mean()))
        self._now = self._fits(of, np.full(_SERIES, mean), self._last)
        self._kinds = self._weighed()

    def _weighed(self) -> list[tuple[NDArray[np.bool_], Pilot, Array]]:
        """Of each law the truths that it holds in, its pilot, and the exponents of the runs."""
        of, mean = self._of, float(self._found.exponents.mean())
        onset = logarithm_onset(of.ratio, self._last) if math.isfinite(of.ratio) else of.onset
        laws = [of, replace(of, onset=onset)]
        centres = [mean, 0.0]
        now = [self._now, self._fits(laws[1], np.zeros(_SERIES), self._last)]
        power, logarithm = (self._likelihood(fits, mean > 0) for fits in now)
        # The exponent of a power is free: any in an interval of one is as likely as another.
        likely = np.array([power[1], logarithm[0] + logarithm[1]])
        shares = np.exp(likely - likely.max())
        shares[shares <= _NEGLIGIBLE * shares.sum()] = 0.0  # the others hold all truths
        edges = np.concatenate([[0.0], np.cumsum(shares / shares.sum())])
        places = (np.arange(_TRUTHS) + 0.5) / _TRUTHS
        return [
            (rows, law, self._exponents(centre, fits)[rows])
            for low, high, law, centre, fits in zip(
                edges[:-1], edges[1:], laws, centres, now, strict=True
            )
            if (rows := (places > low) & (places <= high)).any()
        ]

    def _likelihood(self, fits: Fitted, faster: bool) -> tuple[float, float]:
        """Log-densities of the means of p̂, and of √|A| at that p̂, that were found, under one law.

        Noise that raises p̂ raises A of the powers above the logarithm as well: alone they would
        count the same deviation twice. How far apart laws are in √|A| goes with the inverse of the
        noise, which is known to `_NOISE_KNOWN`.
        """
        found, count = self._found, self._found.exponents.size
        sides = [of.faster if faster else of.slower for of in (found.advantage, fits.advantage)]
        seen, simulated = (
            np.stack([exponents, signed_root(side)])
            for exponents, side in zip((found.exponents, fits.exponents), sides, strict=True)
        )
        covariance = np.cov(simulated)
        along = np.array([[1.0, 0.0], [-covariance[0, 1] / covariance[0, 0], 1.0]])
        unsure = (0.0, _NOISE_KNOWN * float(simulated[1].mean()))
        densities = []
        for own, drawn, error in zip(along @ seen, along @ simulated, unsure, strict=True):
            variance = (drawn.var() + (own.var(ddof=1) if count > 1 else 0.0)) / count + error**2
            off = float(own.mean() - drawn.mean())
            densities.append(-0.5 * (off**2 / variance + math.log(2 * math.pi * variance)))
        return densities[0], densities[1]

    def _exponents(self, centre: float, fits: Fitted) -> Array:
        """Own exponents of the runs of all truths, shape (truth, seed)."""
        found, within = self._found.exponents, scatter(fits.exponents)
        between = spread_between(found, within)
        spread = np.hypot(between, within)
        means = centre + 0.0 * spread
        if centre:
            means = centre + spread / math.sqrt(found.size) * self._deviates[0, :, :1]
        share = between**2 / (between**2 + within**2)
        seen = found - found.mean() + centre
        known = means + share * (seen - means)
        deviates = self._deviates[1]
        own = means + between * deviates
        kept = np.sqrt(share) * within * deviates[:, : found.size]
        own[:, : found.size] = known + kept
        return np.clip(own, EXPONENT_LOW + _INSIDE, EXPONENT_HIGH - _INSIDE)

    def until(self, last: int) -> ArmCurves:
        """What is found of the runs of all truths by an iteration, shape (truth, seed)."""
        if last == self._last and math.log10(last / self._of.times[0]) >= DECADES:
            return self._beside()
        shape = self._jitter.shape
        exponents, faster, slower = np.full((3, *shape), np.nan)
        for rows, law, wanted in self._kinds:
            own = np.quantile(wanted, (np.arange(_SERIES) + 0.5) / _SERIES)
            fits = self._fits(law, own, last)
            # Ties among the wanted ones are broken at random, so that all series are taken.
            order = np.lexsort([self._deviates[2][rows].ravel(), wanted.ravel()])
            rank = np.empty(order.size)
            rank[order] = np.arange(order.size) / order.size
            place = (rank * _SERIES).astype(int).reshape(wanted.shape) + self._jitter[rows]
            place = np.clip(place, 0, _SERIES - 1)
            usable = np.where(fits.usable, fits.exponents - own, np.nan)
            exponents[rows] = wanted + usable[place]
            faster[rows] = fits.advantage.faster[place]
            slower[rows] = fits.advantage.slower[place]
        return ArmCurves(exponents, Advantage(faster, slower))

    def _beside(self) -> ArmCurves:
        """Seeds that are as long as those that there are, beside them: as these are spread."""
        found, fits = self._found, self._now

        def extended(values: Array, spread: Array, deviates: Array) -> Array:
            count = values.size
            middle = values.mean() + spread * self._deviates[0, :, :1] / math.sqrt(count)
            all_of = middle + spread * deviates
            all_of[:, :count] = values
            return np.asarray(all_of)

        def squared(values: Array, simulated: Array) -> Array:
            own, usual = signed_root(values), float(signed_root(simulated).std())
            roots = extended(own, _spread_of_roots(own, usual), self._deviates[2])
            return np.sign(roots) * roots**2

        better = Advantage(
            squared(found.advantage.faster, fits.advantage.faster),
            squared(found.advantage.slower, fits.advantage.slower),
        )
        within = scatter(fits.exponents)
        spread = np.hypot(spread_between(found.exponents, within), within)
        return ArmCurves(extended(found.exponents, spread, self._deviates[1]), better)

    def _fits(self, law: Pilot, exponents: Array, last: int) -> Fitted:
        """Fits of the simulated runs by an iteration: the same runs for all of them."""
        kept = self._times <= last
        table = series(law, exponents, self._times, self._noise)
        return fitted_series(table.isel(iteration=kept))


def spread_between(exponents: Array, within: float) -> Array:
    """Spreads s of exponents between seeds, as likely as what was found and what is usual say.

    Usual is s² ~ ν₀s₀²/χ²(ν₀); n exponents of variance V make an s as likely as
    (s² + v²)^{−(n − 1)/2} exp(−(n − 1)V/[2(s² + v²)]), where v is what the noise explains.

    Arguments:
        exponents: p̂, shape (seed,).
        within: v.

    Returns:
        The spreads, shape (truth, 1), in an order that depends on nothing else.
    """
    freedom = exponents.size - 1
    squares = freedom * exponents.var(ddof=1) if freedom else 0.0
    total = _SPREADS**2 + within**2
    # The density of s² times s² itself, as the grid is even in ln s.
    usual = -_USUAL_FREEDOM * (np.log(_SPREADS) + 0.5 * (_USUAL_SPREAD / _SPREADS) ** 2)
    likely = usual - 0.5 * freedom * np.log(total) - 0.5 * squares / total
    reached = np.cumsum(np.exp(likely - likely.max()))
    places = (np.arange(_TRUTHS) + 0.5) / _TRUTHS
    drawn = np.interp(places * reached[-1], reached, _SPREADS)
    return np.asarray(np.random.default_rng(1).permutation(drawn)[:, None])


def _spread_of_roots(roots: Array, usual: float) -> Array:
    """Standard deviations of √|A| that seeds allow, shape (truth, 1): the usual one counts too."""
    rng, freedom = np.random.default_rng(1), roots.size - 1
    squares = freedom * roots.var(ddof=1) if freedom else 0.0
    squares += _USUAL_FREEDOM * usual**2
    return np.sqrt(squares / rng.chisquare(freedom + _USUAL_FREEDOM, (_TRUTHS, 1)))


def _inside(exponent: float) -> float:
    return float(np.clip(exponent, EXPONENT_LOW + _INSIDE, EXPONENT_HIGH - _INSIDE))
