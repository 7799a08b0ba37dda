"""P5: on a fixed landscape the log-slope goes like T^(2/α), with the temperature T ∝ η/M.

Within a seed, ln of the log-slope is a line in ln T over the arms; its slope is one number a seed.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    t_interval,
)
from ultraslow.analysis.predictions.evidence import left_out
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import (
    Span,
    by_seed,
    injected_noise,
    label,
    measured_temperature,
    noise_free,
    positive_slope,
    rate_over_size,
)
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number, plural

from .closure import landscape_exponent
from .roughness import scans_of

EFFECT = "exponent x of the log-slope ∝ T^x"
# Exponents of simulated walkers stay a quarter below 2/α over three decades; only departures
# beyond a factor of 1.5 speak against the claim.
FACTOR = 1.5
# Temperatures that differ by less do not spread ln T enough to see a power.
RANGE = 3.0
# α ≤ 2 for any self-affine landscape, so that 2/α is 1 at least.
_LEAST = 1.0
# Arms are compared within seeds, which takes out what runs of one seed have in common.
_UNPAIRED = "their seed is unknown or lacking in some arm, or their arm has too few"


def activation(study: Study) -> Verdict:
    """Verdict on P5.

    Supported when the interval of the exponent lies within a factor of 1.5 of 2/α, contradicted
    when it lies beyond it. Where no landscape was recorded α is unknown: an exponent that is too
    small for any α contradicts, and nothing supports.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the exponent.
    """
    blank = question("P5", EFFECT)
    warm = study.where(lambda run: not noise_free(run))
    known, missing = warm.comparable("distance_sq", "learning_rate")
    if missing is not None:
        return blank.lacking(missing, known.sample)
    span = known.last_decade
    heats, how = _temperatures(known.runs, span)
    used = _paired(known)
    missing = _missing_arm(used.runs, heats, span) or _cold(known.runs, used.runs, heats)
    if missing is not None:
        return blank.lacking(missing, known.sample)
    slopes = {name: positive_slope(run, span) for name, run in used.runs.items()}
    if not all(value > 0 for value in slopes.values()):
        return blank.lacking(_at_rest(slopes), used.sample)
    found = t_interval(_exponents(used.runs, heats, slopes), level=study.level)
    expected = _expected(used)
    word = _word(found, expected)
    exponent = f"x = {found}, mean of {found.n} seeds; {expected.name}"
    return blank.decided(
        word,
        found,
        reason=_reason(word, exponent),
        needed=_needed(expected, found),
        sample=used.sample,
        assumptions=(
            how,
            f"iterations {span[0]:.0f} to {span[1]:.0f}",
            *left_out(known, used, _UNPAIRED),
        ),
    )


def _temperatures(runs: Mapping[str, xr.Dataset], span: Span) -> tuple[dict[str, float], str]:
    """Temperature of each run, measured where all runs recorded their noise."""
    measured = {name: measured_temperature(run, span) for name, run in runs.items()}
    if all(value > 0 for value in measured.values()):
        return measured, "temperature from the measured gradient noise"
    # Added noise heats as well, by as much beside that of the batches as only a record can tell.
    plain = {n: rate_over_size(r) if injected_noise(r) == 0 else math.nan for n, r in runs.items()}
    return (
        plain,
        "temperature taken ∝ η/M, as not every run recorded its gradient noise",
    )


def _paired(study: Study) -> Study:
    """Runs of the seeds that every arm has; the others would tilt the comparison.

    Arms of fewer than `SEEDS` seeds are left out where two others have as many.
    """
    named = {arm: by_seed(study.runs, names) for arm, names in study.arms.items()}
    enough = {arm: names for arm, names in named.items() if len(names) >= SEEDS}
    used = enough if len(enough) > 1 else named
    shared = set.intersection(*map(set, used.values())) if used else set()
    kept = {names[seed] for names in used.values() for seed in shared}
    return study.part(name for name in study.runs if name in kept)


def _missing_arm(
    runs: Mapping[str, xr.Dataset], heats: Mapping[str, float], span: Span
) -> Missing | None:
    values = [heats[name] for name in runs]
    seeds = {label(run, "seed", None) for run in runs.values()}
    if span[1] < span[0]:
        return Missing(
            "The runs share no decade of constant learning rate.",
            "runs with a constant learning rate over the same iterations",
        )
    if not all(value > 0 for value in values):
        return Missing(
            "The temperature of runs with added noise is not known, as not every run recorded its "
            "gradient noise.",
            "the gradient noise, recorded in every run",
        )
    if len(seeds) < SEEDS:
        return Missing(
            f"{plural(len(seeds), 'seed')} in every arm; the seeds are the sample.",
            f"{SEEDS} seeds or more, the same in every arm",
        )
    return None


def _cold(
    known: Mapping[str, xr.Dataset], used: Mapping[str, xr.Dataset], heats: Mapping[str, float]
) -> Missing | None:
    """That temperatures are too much alike; those of arms of few seeds as well, or not."""
    apart, all_apart = (
        max(heats[name] for name in names) / min(heats[name] for name in names)
        for names in (used, known)
    )
    if apart >= RANGE:
        return None
    which = f", in the arms of {SEEDS} seeds or more" if len(used) < len(known) else ""
    needed = f"arms whose temperature differs by a factor of {RANGE:g} or more"
    if all_apart >= RANGE:
        needed = f"{SEEDS} seeds, the same in every arm, in the arms that have fewer"
    return Missing(
        f"The temperatures differ by a factor of {number(apart)} only{which}.",
        needed if all_apart >= RANGE else f"{needed}, or arms with injected noise",
    )


def _at_rest(slopes: Mapping[str, float]) -> Missing:
    count = sum(not value > 0 for value in slopes.values())
    return Missing(
        f"The distance of {plural(count, 'run')} does not grow in the last common decade.",
        "arms whose distance still grows",
    )


def _exponents(
    runs: Mapping[str, xr.Dataset], heats: Mapping[str, float], slopes: Mapping[str, float]
) -> list[float]:
    """Slope of ln(log-slope) over ln T within each seed."""
    members: dict[object, list[str]] = {}
    for name, run in runs.items():
        members.setdefault(label(run, "seed", None), []).append(name)
    return [
        float(
            np.polyfit(
                np.log([heats[n] for n in names]), np.log([slopes[n] for n in names]), deg=1
            )[0]
        )
        for names in members.values()
    ]


def _expected(study: Study) -> Interval:
    """2/α = 1/γ from the landscape, with the interval of γ across seeds, named in words.

    Runs of one seed start on one landscape, at whatever temperature, and count once.
    """
    gammas: dict[object, list[float]] = {}
    for name, found in study.each(scans_of).items():
        gamma = landscape_exponent(found)[0]
        if math.isfinite(gamma):
            gammas.setdefault(label(study.runs[name], "seed", None), []).append(gamma)
    mean = t_interval([float(np.mean(values)) for values in gammas.values()], level=study.level)
    if mean.n < SEEDS or not mean.low > 0:
        name = "α was not measured, and 2/α ≥ 1 for any α ≤ 2"
        return Interval(math.nan, _LEAST, math.inf, name=name)
    inverse = mean.mapped(lambda gamma: 1 / gamma)
    return replace(inverse, name=f"2/α = {inverse} from the landscape")


def _word(found: Interval, expected: Interval) -> str:
    """Both intervals enter: the claim holds or fails whatever 2/α is within its interval."""
    if expected.high / FACTOR < found.low and found.high < expected.low * FACTOR:
        return SUPPORTED
    if found.high < expected.low / FACTOR or found.low > expected.high * FACTOR:
        return CONTRADICTED
    return UNDECIDABLE


def _reason(word: str, exponent: str) -> str:
    if word == SUPPORTED:
        return f"The exponent is 2/α within a factor of {FACTOR:g}: {exponent}."
    if word == CONTRADICTED:
        return f"The exponent lies beyond a factor of {FACTOR:g} from 2/α: {exponent}."
    return f"The exponent is not told to be within a factor of {FACTOR:g} of 2/α: {exponent}."


def _needed(expected: Interval, found: Interval) -> str:
    if not math.isfinite(expected.high):
        return "landscape scans of the same runs, which measure α"
    return f"more than {found.n} seeds, or temperatures farther apart"
