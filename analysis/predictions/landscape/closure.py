"""P1' and P10: growth of the distance against landscape and noise, each measured by itself.

P1' sets the power q of d ∝ (ln t)^q against the exponent γ = α/2 of the landscape: q·γ = 1. P10
sets the log-slope against temperature over landscape strength, dd/d ln t = T/c.
"""

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import DECADES
from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, Interval, decide
from ultraslow.analysis.predictions.evidence import (
    arm_means,
    decided_by_arms,
    few_seeds,
    judge_arms,
    left_out,
    named,
)
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import (
    constant_rate,
    last_decade,
    measured_temperature,
    noise_free,
    positive_slope,
    total_distance,
)
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number

from .roughness import RADII, RANDOM, LossScan, exponent, outer_half, scans_of

Array = NDArray[np.float64]

PRODUCT = "q·γ, power of ln t in the distance times exponent of the landscape (1: they agree)"
CLOSURE = "log-slope over T/c (1: they agree)"
# The local power of ln t of simulated walkers on random potentials differs from 1/γ by up to half
# over the decades in which they have one. Only larger departures speak against the claim.
PRODUCT_MARGIN = math.log(1.5)
CLOSURE_MARGIN = math.log(3.0)
# γ = 1 below the crossover is what every smooth loss shows, and no measurement.
_SMOOTH = 0.2


def closed_loop(study: Study) -> Verdict:
    """Verdict on P1'.

    Supported when the interval of q·γ lies within a factor of 1.5 of 1 in every arm, contradicted
    when that of one arm lies beyond it.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with q·γ.
    """
    blank = question("P1'", PRODUCT)
    known, missing = study.comparable("loss_difference", "distance_sq", "learning_rate")
    if missing is not None:
        return blank.lacking(missing, known.sample)
    long = known.where(lambda run: _can_speak(run) and not noise_free(run))
    gammas = {name: landscape_exponent(found) for name, found in long.each(scans_of).items()}
    if _only_smooth(long, gammas):
        return blank.lacking(_below_crossover(), known.sample)
    products = {name: _log_product(run, gammas[name]) for name, run in long.runs.items()}
    what = f"{DECADES:g} decades of growth by a power of ln t and {RADII} usable radii"
    return _judged(blank, long, products, margin=PRODUCT_MARGIN, what=what)


def closure(study: Study) -> Verdict:
    """Verdict on P10.

    Supported when the interval of the log-slope over T/c lies within a factor of 3 of 1 in every
    arm, contradicted when that of one arm lies beyond it.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio.
    """
    blank = question("P10", CLOSURE)
    fields = ("loss_difference", "noise_trace", "distance_sq", "learning_rate")
    known, missing = study.comparable(*fields)
    if missing is not None:
        return blank.lacking(missing, known.sample)
    long = known.where(_can_speak)
    around = long.each(scans_of)
    mismatch = {name: _log_mismatch(run, around[name]) for name, run in long.runs.items()}
    what = f"{DECADES:g} decades of constant rate, usable radii, noise and a positive slope"
    return _judged(blank, long, mismatch, margin=CLOSURE_MARGIN, what=what)


def _judged(
    blank: Verdict, long: Study, numbers: Mapping[str, float], *, margin: float, what: str
) -> Verdict:
    used = long.part(name for name in long.runs if math.isfinite(numbers[name]))
    count, total = len(used.runs), len(long.runs)
    if 0 < 2 * count < total:
        reason = f"Only {count} of {total} runs have {what}."  # too few to speak for all
        return blank.lacking(Missing(reason, f"longer runs, all with {what}"), long.sample)
    found = judge_arms(used, numbers, lambda low, high: decide(low, high, margin))
    if found is None:
        return blank.lacking(few_seeds(used, what), used.sample)
    word, mean = found
    return decided_by_arms(
        blank,
        used,
        word,
        mean,
        reason=_reason(word, mean, margin),
        assumptions=("landscape along random directions", *left_out(long, used, what)),
        needed=f"more than {mean.n} seeds, or longer runs",
    )


def _can_speak(run: xr.Dataset) -> bool:
    return constant_rate(run).decades >= DECADES


def _reason(word: str, mean: Interval, margin: float) -> str:
    found, factor = named(mean, math.exp), number(math.exp(margin))
    if word == SUPPORTED:
        return f"The ratio is 1 within a factor of {factor}; the farthest from it is {found}."
    if word == CONTRADICTED:
        return f"The ratio lies beyond a factor of {factor} from 1: {found}."
    return f"The interval reaches across a factor of {factor} from 1: {found}."


def log_power(run: xr.Dataset) -> float:
    """The power q of d = [s·ln(1 + t/τ)]^q over the phase of constant learning rate.

    For each τ from 1 iteration on, ln d is a straight line in ln ln(1 + t/τ) with slope q; the τ
    with the least squared residuals is taken. For t < τ this is the power t^q and no logarithm: a
    run that has not gone on for `DECADES` beyond τ has not shown one, and walkers on random
    potentials are in that state for a long time.

    Arguments:
        run: a recording.

    Returns:
        q; NaN where the distance is not positive and finite, or no power of a logarithm yet.
    """
    stretch = constant_rate(run).iteration
    distance = total_distance(run).sel(iteration=stretch).values
    if not (stretch.size > 3 and np.isfinite(distance).all() and (distance > 0).all()):
        return math.nan
    log_distance = np.log(distance) - np.log(distance).mean()
    units = np.geomspace(1.0, float(stretch[-1]), 80)
    clock = np.log(np.log1p(stretch / units[:, None]))
    clock -= clock.mean(axis=1, keepdims=True)
    slopes = clock @ log_distance / (clock**2).sum(axis=1)
    residual = ((log_distance - slopes[:, None] * clock) ** 2).sum(axis=1)
    best = int(residual.argmin())
    return float(slopes[best]) if stretch[-1] >= 10**DECADES * units[best] else math.nan


def landscape_exponent(found: Mapping[str, list[LossScan]]) -> tuple[float, bool]:
    """γ along random directions at the distances travelled, and whether it is beyond r×."""
    measured = random_scans(found)
    beyond = _mean([exponent(scan, low=scan.crossover()) for scan in measured])
    if math.isfinite(beyond):
        return beyond, True
    return _mean([exponent(scan, low=outer_half(scan)) for scan in measured]), False


def random_scans(found: Mapping[str, list[LossScan]]) -> list[LossScan]:
    """Scans along the first kind of random direction that was measured."""
    return next((found[kind] for kind in RANDOM if kind in found), [])


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _only_smooth(study: Study, gammas: Mapping[str, tuple[float, bool]]) -> bool:
    """Whether no γ is told from the 1 of a smooth loss and none was measured beyond r×."""
    if any(beyond for _, beyond in gammas.values()):
        return False
    means = arm_means(study, {name: gamma for name, (gamma, _) in gammas.items()})
    return bool(means) and all(abs(mean.value - 1) < _SMOOTH for mean in means)


def _below_crossover() -> Missing:
    return Missing(
        "All radii lie where any smooth loss has γ = 1, which measures no landscape.",
        "scans at radii beyond the crossover of mean and spread and up to the distance travelled",
    )


def _log_product(run: xr.Dataset, gamma: tuple[float, bool]) -> float:
    product = log_power(run) * gamma[0]
    return math.log(product) if product > 0 else math.nan


def _log_mismatch(run: xr.Dataset, found: Mapping[str, list[LossScan]]) -> float:
    span = last_decade({"run": run})
    strength = _mean([_log_strength(scan) for scan in random_scans(found)])
    terms = positive_slope(run, span), measured_temperature(run, span)
    if not all(value > 0 for value in terms):
        return math.nan
    return math.log(terms[0]) + strength - math.log(terms[1])


def _log_strength(scan: LossScan) -> float:
    """Logarithm of c = std(ΔL)/r at the largest usable radius."""
    spread = scan.spread()
    usable = np.flatnonzero(np.isfinite(spread) & (spread > 0))
    if not usable.size:
        return math.nan
    return math.log(spread[usable[-1]] / scan.radius[usable[-1]])
