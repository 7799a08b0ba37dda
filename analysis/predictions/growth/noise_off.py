"""P6: without noise there is no growth; full-batch descent from the same weights comes to rest.

The log-slope of full-batch runs over the last common decade is set against that of noisy runs from
the same initial weights, seed by seed.
"""

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import DECADES
from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    fieller,
)
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import (
    Span,
    by_seed,
    constant_rate,
    noise_free,
    slope,
)
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number, plural

Array = NDArray[np.float64]

EFFECT = "log-slope without noise over that with noise, last common decade"
# At rest: less than a tenth of the noisy slope. Growing "by the same law": at least half of it.
# What lies between is slowing down, and where it will end is not known.
AT_REST, ALIKE = 0.1, 0.5


def noise_off(study: Study) -> Verdict:
    """Verdict on P6.

    Supported when the interval of the ratio of slopes lies within ±`AT_REST`, contradicted when it
    lies above `ALIKE`.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of slopes.
    """
    blank = question("P6", EFFECT)
    known, missing = study.comparable("distance_sq", "data_size", "learning_rate")
    pairs = _pairs(known.runs) if missing is None else []
    missing = missing or _missing_arm(known.runs, pairs)
    if missing is not None:
        return blank.lacking(missing, known.sample)
    used = known.part(name for pair in pairs for name in pair)
    if min(constant_rate(run).decades for run in used.runs.values()) < DECADES:
        return blank.lacking(_short(), used.sample)
    span = used.last_decade
    slopes = np.array([[slope(known.runs[name], span) for name in pair] for pair in pairs])
    if not np.isfinite(slopes).all():
        return blank.lacking(_short(), used.sample)
    share = ratio_of_means(slopes[:, 0], slopes[:, 1], level=study.level)
    word = _word(share)
    return blank.decided(
        word,
        share,
        reason=_reason(word, share, span),
        needed=_needed(share),
        sample=used.sample,
        assumptions=_assumptions(used),
    )


def ratio_of_means(numerators: Array, denominators: Array, *, level: float) -> Interval:
    """Ratio of two paired means with Fieller's interval.

    Arguments:
        numerators: x, shape (pair,).
        denominators: y, shape (pair,).
        level: confidence level.

    Returns:
        The ratio; its interval is unbounded where the mean of y is not told from 0.
    """
    n = numerators.size
    means = float(numerators.mean()), float(denominators.mean())
    covariance = np.cov(numerators, denominators) / n
    return fieller(*means, covariance, n=n, level=level)


def _word(share: Interval) -> str:
    if share.low > -AT_REST and share.high < AT_REST:
        return SUPPORTED
    return CONTRADICTED if share.low > ALIKE else UNDECIDABLE


def _pairs(runs: Mapping[str, xr.Dataset]) -> list[tuple[str, str]]:
    """Runs without and with noise of equal seeds, of the smallest noisy batch size."""
    still = by_seed(runs, [name for name, run in runs.items() if noise_free(run)])
    noisy = [name for name, run in runs.items() if not noise_free(run)]
    smallest = min((int(runs[name]["batch_size"].values) for name in noisy), default=0)
    chosen = [name for name in noisy if int(runs[name]["batch_size"].values) == smallest]
    walking = by_seed(runs, chosen)
    pairs = [(still[seed], walking[seed]) for seed in still if seed in walking]
    return [pair for pair in pairs if not _from_other_weights(runs, pair)]


def _from_other_weights(runs: Mapping[str, xr.Dataset], pair: tuple[str, str]) -> bool:
    digests = {str(runs[name].attrs.get("initial_sha256", "")) for name in pair}
    return len(digests - {""}) > 1


def _missing_arm(runs: Mapping[str, xr.Dataset], pairs: list[tuple[str, str]]) -> Missing | None:
    still = [run for run in runs.values() if noise_free(run)]
    if not still:
        return Missing(
            "No run saw the whole training set in each update, which is what removes the noise.",
            f"a full-batch arm (batch size = data size), {SEEDS} seeds, from the same weights as "
            "the noisy runs",
        )
    if len(still) == len(runs):
        return Missing("All runs are noise-free.", f"a noisy arm of {SEEDS} seeds")
    if len(pairs) < SEEDS:
        return Missing(
            f"{plural(len(pairs), 'seed')} with and without noise from the same weights; the "
            f"seeds are the sample.",
            f"{SEEDS} seeds or more in both arms, from the same weights",
        )
    return None


def _short() -> Missing:
    return Missing(
        f"The runs with and without noise do not all have {DECADES:g} decades of constant "
        "learning rate and finite distances in the last one.",
        "training on with a constant learning rate in both arms",
    )


def _reason(word: str, share: Interval, span: Span) -> str:
    over = f"over iterations {number(round(span[0]))} to {number(round(span[1]))}"
    found = f"without noise the log-slope is {share} of that with noise {over}"
    if word == SUPPORTED:
        return f"Descent comes to rest: {found}, within ±{AT_REST:g}."
    if word == CONTRADICTED:
        return f"Descent without noise keeps growing: {found}, above {ALIKE:g}."
    return f"Neither at rest (±{AT_REST:g}) nor growing alike (above {ALIKE:g}): {found}."


def _assumptions(used: Study) -> tuple[str, ...]:
    told = all(run.attrs.get("initial_sha256") for run in used.runs.values())
    weights = "compared by their hash" if told else "taken to be those of equal seeds"
    size = used.where(lambda run: not noise_free(run)).batch_sizes[0]
    return (f"initial weights {weights}", f"noisy arm: batch size {size}")


def _needed(share: Interval) -> str:
    if not math.isfinite(share.low):
        return "noisy runs whose distance still grows in the last decade, or more seeds"
    if share.low > AT_REST and share.high < ALIKE:
        return "longer runs, as descent without noise has slowed down and not stopped"
    return f"more than {share.n} seeds, or longer runs"
