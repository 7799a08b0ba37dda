"""P1' and P10: growth of the distance against landscape and noise, each measured by itself.

P1' sets the power q of d ∝ (ln t)^q against the exponent γ = α/2 of the landscape: q·γ = 1. P10
sets the log-slope against temperature over landscape strength, dd/d ln t = T/c.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import stdtr

from ultraslow.analysis.growth import DECADES, signed_root
from ultraslow.analysis.intervals import SEEDS, joint_level, t_interval
from ultraslow.analysis.predictions.evidence import (
    LONG_SEEDS,
    Arms,
    arm_titles,
    decided_by_arms,
    driven_by_noise,
    few_seeds,
    judge_arms,
    left_out,
    mostly,
    over,
    reach,
    until,
)
from ultraslow.analysis.predictions.means import Zone
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import (
    Span,
    constant_rate,
    last_decade,
    measured_temperature,
    positive_slope,
)
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number, plural

from .powers import LATEST, log_power, power_advantage, seen_after
from .roughness import RADII, RANDOM, LossScan, exponent, outer_half, scans_of

PRODUCT = "q·γ, power of ln t in the distance times exponent of the landscape (1: they agree)"
CLOSURE = "log-slope over T/c (1: they agree)"
# The local power of ln t of simulated walkers on random potentials differs from 1/γ by up to half
# over the decades in which they have one. Only larger departures speak against the claim.
PRODUCT_MARGIN = math.log(1.5)
CLOSURE_MARGIN = math.log(3.0)
# γ = 1 below the crossover is what every smooth loss shows, up to some per cent from its
# curvature, and no measurement.
_SMOOTH = 0.1
_ROUNDING = 1e-9
# ln of how many times the squares that the best power of t leaves, the best power of ln t leaves,
# from which on single runs are told to go like powers of t. Of simulated powers of ln t none is,
# and of √t with noise of 1 % nine in ten are (tests/statistics/motion_table.md).
_CLEAR = math.log(2.0)


def closed_loop(study: Study) -> Verdict:
    """Verdict on P1'.

    Arms whose distance goes like a power of t, and not of its logarithm, have no q and are not
    asked; where all are such, P1' is not applicable. Of the others it is supported when the
    interval of q·γ lies within a factor of 1.5 of 1, contradicted when it lies beyond it.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with q·γ.
    """
    blank = question("P1'", PRODUCT)
    known, missing = study.comparable("loss_difference", "distance_sq", "learning_rate")
    if missing is not None:
        return blank.lacking(missing, known.sample)
    noisy, still = driven_by_noise(known)
    long = noisy.where(_can_speak)
    powers = _like_powers(long)
    if powers.runs and set(long.of_arms().arms) == set(powers.arms):
        return blank.not_applicable(_no_logarithm(powers), powers.sample, span=reach(powers))
    curved = long.part(name for name in long.runs if name not in powers.runs)
    gammas = {name: landscape_exponent(found) for name, found in curved.each(scans_of).items()}
    asked = curved.part(name for name in curved.runs if name not in _smooth(curved, gammas))
    if curved.of_arms().runs and not asked.of_arms().runs:
        return blank.lacking(_below_crossover(), curved.sample)
    products = {name: _log_product(run, gammas[name]) for name, run in asked.runs.items()}
    found = judge_arms(_usable(asked, products), (products, Zone.within(PRODUCT_MARGIN)))
    if found is None:
        return blank.lacking(_no_power(known, asked, products, gammas), known.sample)
    alike = left_out(long, curved, "their distance grows like a power of t")
    near = left_out(curved, asked, "scans so close to the weights that any smooth loss has γ = 1")
    short = left_out(noisy, long, f"less than {DECADES:g} decades of constant rate")
    return decided_by_arms(
        blank,
        asked,
        found,
        reason=_product_reason(found),
        assumptions=("landscape along random directions", *alike, *near, *short, *still),
        span=reach(found.shown),
    )


def closure(study: Study) -> Verdict:
    """Verdict on P10.

    Supported when the interval of the log-slope over T/c lies within a factor of 3 of 1,
    contradicted when that of one arm lies beyond it.

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
    noisy, still = driven_by_noise(known)
    long = noisy.where(_can_speak)
    around = long.each(scans_of)
    mismatch = {name: _log_mismatch(run, around[name]) for name, run in long.runs.items()}
    found = judge_arms(_usable(long, mismatch), (mismatch, Zone.within(CLOSURE_MARGIN)))
    if found is None:
        what = f"{DECADES:g} decades of constant rate, usable radii, noise and a positive slope"
        return blank.lacking(few_seeds(_usable(long, mismatch), what, LONG_SEEDS), known.sample)
    short = left_out(noisy, long, f"less than {DECADES:g} decades of constant rate")
    blind = left_out(long, _usable(long, mismatch), "no usable radii, noise or positive slope")
    span = found.entered.last_decade
    return decided_by_arms(
        blank,
        _usable(long, mismatch),
        found,
        reason=_closure_reason(found, span),
        assumptions=("landscape along random directions", *blind, *short, *still),
        span=span,
    )


def _usable(tried: Study, numbers: Mapping[str, float]) -> Study:
    return mostly(tried, (name for name in tried.runs if math.isfinite(numbers[name])))


def _can_speak(run: xr.Dataset) -> bool:
    return constant_rate(run).decades >= DECADES


def _like_powers(study: Study) -> Study:
    """The runs of arms whose distance goes like a power of t rather than of its logarithm."""
    better = study.each(power_advantage)
    error = (1 - joint_level(study.level, 1)) / 2
    found = []
    for names in study.of_arms().arms.values():
        roots = signed_root(np.array([better[name] for name in names]))
        known = roots[np.isfinite(roots)]
        # Seeds that agree to rounding are no draws, and tell nothing of the spread.
        drawn = known.size >= SEEDS and np.ptp(known) > _ROUNDING
        if drawn and stdtr(known.size - 1, -_ratio_to_error(known)) < error:
            found += names
    return study.part(found)


def _ratio_to_error(values: NDArray[np.float64]) -> float:
    """Student's t of a mean against 0."""
    return float(values.mean() / values.std(ddof=1)) * math.sqrt(values.size)


def _no_logarithm(powers: Study) -> str:
    last = reach(powers)[1]
    where = " and ".join(dict.fromkeys(arm_titles(powers).values()))
    return (
        f"Up to iteration {number(last)} the distance grows like a power of t at {where}: such "
        f"powers fit better than any power of ln t that sets in by iteration "
        f"{number(round(LATEST * last))}, so that there is no q to compare."
    )


def _no_power(
    known: Study,
    asked: Study,
    products: Mapping[str, float],
    gammas: Mapping[str, tuple[float, bool]],
) -> Missing:
    """What the runs lack that could have a power of ln t: seeds, radii or iterations."""
    what = f"{DECADES:g} decades of growth by a power of ln t and {RADII} usable radii"
    full = asked.of_arms()
    if not full.runs and asked.runs and min(asked.each(power_advantage).values()) > _CLEAR:
        return _more_like_powers(asked)
    if not full.runs:
        return (
            few_seeds(asked, what, LONG_SEEDS)
            if asked.runs
            else few_seeds(known.part([]), what, LONG_SEEDS)
        )
    if not any(math.isfinite(gammas[name][0]) for name in full.runs):
        return few_seeds(_usable(asked, products), what, LONG_SEEDS)
    ends = [seen_after(run) for run in full.runs.values()]
    wanted = max((end for end in ends if math.isfinite(end)), default=math.nan)
    here = max(float(constant_rate(run).iteration[-1]) for run in full.runs.values())
    if not wanted > here:
        return few_seeds(_usable(asked, products), what, LONG_SEEDS)
    reason = (
        f"The distance has not yet gone on for {DECADES:g} decades after the iteration at which "
        "its power of ln t sets in."
    )
    return replace(until(1.25 * wanted, here), reason=reason)


def _more_like_powers(few: Study) -> Missing:
    """That seeds go like powers of t, so that more of them would hardly have a power of ln t."""
    least = math.exp(min(few.each(power_advantage).values()))
    seeds = max(map(few.seeds, few.arms))
    last = reach(few)[1]
    return Missing(
        f"Up to iteration {number(last)} the distance grows like a power of t in "
        f"{plural(len(few.runs), 'run')}: powers of ln t that set in by iteration "
        f"{number(round(LATEST * last))} leave {number(least, 2)} times its squared misfit or "
        f"more. {SEEDS} seeds at one batch size are needed to say so of all (now {seeds}).",
        "runs whose distance grows like a power of ln t; more seeds are unlikely to change that "
        "of these",
    )


def _product_reason(found: Arms) -> str:
    factor = number(math.exp(PRODUCT_MARGIN))
    product = found.mean.mapped(math.exp)
    said = f"At {found.name} the power of ln t times the exponent of the landscape is {product}"
    return f"{said}, where 1 within a factor of {factor} counts as agreement.{found.others}"


def _closure_reason(found: Arms, span: Span) -> str:
    factor = number(math.exp(CLOSURE_MARGIN))
    ratio = found.mean.mapped(math.exp)
    return (
        f"At {found.name} the distance grows {ratio} times as fast as "
        f"temperature over landscape strength say {over(span)}, where a factor of {factor} either "
        f"way counts as agreement.{found.others}"
    )


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


def _smooth(study: Study, gammas: Mapping[str, tuple[float, bool]]) -> set[str]:
    """Runs of arms whose γ is not told from the 1 of a smooth loss, and not beyond r× either."""
    found: set[str] = set()
    known = study.part(n for n in study.runs if math.isfinite(gammas[n][0])).of_arms()
    for names in known.arms.values():
        mean = t_interval([gammas[name][0] for name in names], level=study.level)
        reaches = mean.low < 1 + _SMOOTH and mean.high > 1 - _SMOOTH
        if reaches and not any(gammas[name][1] for name in names):
            found.update(names)
    return found


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
