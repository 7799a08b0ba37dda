"""What decides where P1 is undecided: more seeds of the same length, or the same seeds for longer.

Both are simulated from what the arm showed and judged by the rule, `growth.arm_words`. More seeds
are drawn beside those that there are, with mean and spread as uncertain as so few leave them.
Longer runs follow the law that the arm prefers so far: the growth family with its exponent, or,
where late logarithms fit better than powers of t, the logarithm whose onset explains how much the
last decade added. The verdict and `ultraslow plan` advise by this one function.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import (
    EXPONENT_HIGH,
    EXPONENT_LOW,
    LEAST_SEEDS,
    MARGIN,
    Advantage,
    ArmCurves,
    arm_words,
    logarithm_onset,
    signed_root,
    simulate_noise,
)
from ultraslow.analysis.intervals import UNDECIDABLE
from ultraslow.analysis.text import number

from .pilot import Pilot, continued, curve
from .power import fitted_runs, record_times, set_words

Array = NDArray[np.float64]

PROMISED = 0.8  # share of simulated studies that the advice decides
MOST_SEEDS = 50  # that anybody would train
MOST_TIMES = 100  # as many iterations
_LENGTHS = 10.0 ** np.array([0.25, 0.5, 0.75, 1.0, 1.5, math.log10(MOST_TIMES)])
_SETS = 1000  # of more seeds
_SERIES = 240  # of each length
_INSIDE = 0.1  # of the ends between which exponents are fitted


@dataclass(frozen=True)
class Continuation:
    """What decides an undecided arm in four simulated studies of five.

    Attributes:
        seeds: runs in all, each of the length that there is; 0 where `MOST_SEEDS` do not suffice.
        last: iteration until which the seeds that there are have to train on; 0 where `MOST_TIMES`
            as many iterations do not suffice.
        present: seeds and last iteration that there are.
    """

    seeds: int
    last: int
    present: tuple[int, int]

    @property
    def seeds_first(self) -> bool:
        """Whether more seeds take fewer updates than longer runs."""
        count, last = self.present
        more = (self.seeds - count) * last if self.seeds else math.inf
        return more <= (count * (self.last - last) if self.last else math.inf)

    def in_words(self, where: str, longer: str = "") -> str:
        """An instruction, the cheaper way first.

        Arguments:
            where: the arm.
            longer: how to come to the later iteration, where that is more than to train on.
        """
        count, last = self.present
        later = longer or f"training on at the same rate until iteration {number(self.last)}"
        ways = [f"{self.seeds} seeds at {where}"] if self.seeds else []
        ways += [later] if self.last else []
        if not ways:
            until = number(MOST_TIMES * last)
            return (
                f"another batch size or rate: at {where} neither {MOST_SEEDS} seeds nor training "
                f"until iteration {until} would decide four studies of five"
            )
        return ", or ".join(ways if self.seeds_first else ways[::-1])


def continuation(of: Pilot, *, level: float) -> Continuation:
    """What decides an arm that P1's rule leaves undecided.

    Arguments:
        of: the arm, as `pilot` reads it; of `LEAST_SEEDS` runs or more.
        level: confidence level at which the arm is judged.

    Returns:
        Seeds, and iterations.
    """
    found = of.found
    if found is None or found.exponents.size < LEAST_SEEDS:
        raise ValueError(f"of: expected an arm of {LEAST_SEEDS} runs or more")
    count, last = found.exponents.size, int(of.times[-1])
    counts = range(count + 1, MOST_SEEDS + 1)
    seeds = (n for n in counts if _decided(_more_seeds(found, n), level) >= PROMISED)
    # To two digits, upwards: nobody stops at iteration 8435.
    lengths = (_rounded_up(last * times) for times in _LENGTHS)
    longer = (until for until in lengths if _decided(_longer(of, until), level) >= PROMISED)
    return Continuation(next(seeds, 0), next(longer, 0), (count, last))


def _decided(found: ArmCurves, level: float) -> float:
    """Share of sets of seeds that the rule decides."""
    return float((set_words(found, level=level) != UNDECIDABLE).mean())


def _rounded_up(iteration: float) -> int:
    """To two digits.

    >>> _rounded_up(8435.1), _rounded_up(1500)
    (8500, 1500)
    """
    unit = 10 ** (math.floor(math.log10(iteration)) - 1)
    return math.ceil(iteration / unit - 1e-9) * unit


def _more_seeds(found: ArmCurves, count: int) -> ArmCurves:
    """Sets of the seeds there are with others beside them, from the posterior predictive.

    μ ~ t_{n−1}(mean, s²/n) and σ² ~ (n − 1)s²/χ²_{n−1}: the flat prior of Student's interval.
    """
    rng, present = np.random.default_rng(0), found.exponents.size
    wider = np.sqrt((present - 1) / rng.chisquare(present - 1, (_SETS, 1)))

    def extended(values: Array) -> Array:
        spread = wider * values.std(ddof=1)
        middle = values.mean() + spread * rng.standard_normal((_SETS, 1)) / math.sqrt(present)
        new = middle + spread * rng.standard_normal((_SETS, count - present))
        return np.concatenate([np.broadcast_to(values, (_SETS, present)), new], axis=1)

    def squared(values: Array) -> Array:
        roots = extended(signed_root(values))
        return np.sign(roots) * roots**2

    better = Advantage(squared(found.advantage.faster), squared(found.advantage.slower))
    return ArmCurves(extended(found.exponents), better)


def _longer(of: Pilot, last: int) -> ArmCurves:
    """Sets of as many seeds as there are, trained until iteration `last`."""
    found, rng = of.found, np.random.default_rng(last)
    assert found is not None
    count = found.exponents.size
    sets = -(-_SERIES // count)
    mean, spread = float(found.exponents.mean()), float(found.exponents.std(ddof=1))
    powers = found.advantage.faster if mean > 0 else found.advantage.slower
    if abs(mean) > MARGIN and signed_root(powers).mean() < 0:
        of, mean, spread = replace(of, onset=logarithm_onset(of.ratio, of.times[-1])), 0.0, 0.0
    middle = mean + spread / math.sqrt(count) * rng.standard_t(count - 1, (sets, 1))
    own = middle + of.seed_spread * rng.standard_normal((sets, count))
    exponents = np.clip(own, EXPONENT_LOW + _INSIDE, EXPONENT_HIGH - _INSIDE)
    times = record_times(last)
    later = continued(of, times)
    noise = later.noise_share * simulate_noise(later.noise, times, sets * count, rng=rng)
    grown = np.stack([curve(of, p, times) for p in exponents.ravel()])
    # The offset is free; without one a noisy series could start below 0 and mean no distance.
    table = xr.DataArray(10.0 + grown + noise, {"iteration": times}, ["series", "iteration"])
    fits = fitted_runs(table)

    def in_sets(values: Array) -> Array:
        return values.reshape(sets, count)

    better = Advantage(in_sets(fits.advantage.faster), in_sets(fits.advantage.slower))
    return ArmCurves(in_sets(fits.exponents), better)


def state_of(of: Pilot, *, level: float) -> str:
    """In words, what P1's rule says of the pilot's arm alone, and what decides it."""
    found = of.found
    if found is None:
        return ""
    count = found.exponents.size
    if count < LEAST_SEEDS:
        return f"{LEAST_SEEDS} seeds of one arm are needed for a verdict on P1; here are {count}"
    word = str(arm_words(found.exponents, found.advantage, level=level))
    if word != UNDECIDABLE:
        return f"these {count} seeds decide already: P1 is {word} by them"
    way = continuation(of, level=level).in_words(f"batch size {of.batch_size}")
    return f"these {count} seeds leave P1 undecided; what decides it: {way}"
