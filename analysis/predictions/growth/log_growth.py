"""P1: in the phase of constant learning rate the distance grows like the logarithm of t.

The exponent p of the growth family is 0 for that law. The sample are the seeds of an arm: with
four or more, the interval of an arm's mean exponent comes from the spread between its runs, which
needs no model of the noise within a run. A run's own interval speaks of that trajectory and not of
the next seed; where no arm has four it is told, and nothing is decided.

Exponents with their intervals, of an arm across its seeds or of a single run.

Exponents of groups of tensors: the whole distance may hide tensors that grow by another law.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import (
    DETECTABLE,
    DISQUALIFYING,
    MARGIN,
    fit_tensors,
    judged,
    mostly_left_out,
    shortage,
    told_apart,
    too_few,
    usable,
)
from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    decide,
    overall,
    t_interval,
)
from ultraslow.analysis.predictions.evidence import entering, named
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import Arm, grouped
from ultraslow.analysis.study import Missing, Study

from .extrapolation import extrapolations


@dataclass(frozen=True)
class Exponent(Interval):
    """An exponent p with its interval, of an arm or of a run.

    Attributes:
        error: standard error.
        decades: of growth beyond the onset.
    """

    error: float = math.nan
    decades: float = math.nan


def across_seeds(arm: Arm, fits: xr.Dataset, *, level: float) -> Exponent:
    """Mean exponent of an arm with its t interval across seeds.

    p̄ ± t_{S−1} · s/√S

    Arguments:
        arm: the arm.
        fits: fits of its S runs along `node`.
        level: confidence level.

    Returns:
        The estimate.
    """
    exponent = fits["exponent"].values
    found = t_interval(exponent, level=level, name=f"mean of {exponent.size} seeds at {arm}")
    error = float(exponent.std(ddof=1) / math.sqrt(exponent.size))
    return Exponent(**vars(found), error=error, decades=float(fits["grown_decades"].min()))


def within_run(fit: xr.Dataset) -> Exponent:
    """Exponent of one run with the interval of its own fit.

    Arguments:
        fit: the fit of one run, without dimensions.

    Returns:
        The estimate; it speaks of this trajectory and not of the next seed.
    """
    return Exponent(
        float(fit["exponent"]),
        float(fit["exponent_low"]),
        float(fit["exponent_high"]),
        n=1,
        name=f"run {str(fit['run'].values)[:80]}",
        error=float(fit["detectable"]) / DETECTABLE,
        decades=float(fit["grown_decades"]),
    )


def group_exponents(study: Study) -> tuple[str, ...]:
    """In words, the mean exponent of each group of tensors in each arm with enough seeds.

    Arguments:
        study: the runs.

    Returns:
        One phrase an arm of `SEEDS` runs or more; none where runs have a single tensor.
    """
    entered = study.of_arms()
    chosen = {name: grouped(run) for name, run in entered.runs.items()}
    if max((run.sizes["tensor"] for run in chosen.values()), default=0) < 2:
        return ()
    fits = fit_tensors(chosen, level=study.level, intervals=False)
    known = fits["exponent"].where(~fits["status"].isin(DISQUALIFYING))
    return tuple(
        _phrase(arm, known.sel(node=names), level=study.level)
        for arm, names in entered.arms.items()
    )


def _phrase(arm: Arm, exponents: xr.DataArray, *, level: float) -> str:
    groups: Sequence[str] = exponents["tensor"].values.tolist()
    parts = [_part(group, exponents.sel(tensor=group).values, level=level) for group in groups]
    return f"p by tensors at {arm}: {', '.join(parts)}"


def _part(group: str, exponents: NDArray[np.float64], *, level: float) -> str:
    found = t_interval(exponents, level=level)
    if found.n < SEEDS:
        return f"{group} not estimated"
    return f"{group} {found}"


# P1 allows (ln t)^(2/α) for any α of the landscape; this is its case α = 2, which the exponent
# p = 0 stands for. An exponent other than 0 speaks against this case and not against all of P1.
STATEMENT = "With a constant learning rate the distance from the initial weights grows like log t."
EFFECT = "exponent p of the distance (0: log t, 0.5: diffusion, 1: ballistic)"
# An interval inside the margin with 80 % power needs a margin of 1.96 + 1.28 standard errors.
_EQUIVALENCE = 3.24
# se ∝ (σ/D)/(Λ √n) with D = bΛ and n ∝ Λ, hence se ∝ Λ^−2.5 in the decades Λ.
_DECADES_POWER = 2.5
# No training goes on for longer than this many decades of iterations.
_LONGEST = 8.0


def log_growth(study: Study) -> Verdict:
    """Verdict on P1.

    Supported when the interval of every arm lies inside ±`MARGIN`; contradicted when that of one
    arm, with half the error shared among all arms, lies wholly beyond it. The interval given with
    a contradiction is that wider one. Arms of fewer than `SEEDS` seeds do not enter; where there
    are no others it is undecidable. Simulated exponents of 0 on average that spread by 0.08 over
    seeds contradicted in a quarter of all sets when single runs could.

    References:
        Ibragimov and Müller (2010), Journal of Business & Economic Statistics 28, 453: the t
        interval across clusters.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the exponent that is farthest from 0.
    """
    runs = study.distinct
    blank = replace(question("P1", EFFECT), statement=STATEMENT)
    if runs.unlike is not None:
        return blank.lacking(runs.unlike, runs.sample)
    names, unusable = usable(runs.fits)
    if too_few(len(names), len(unusable)):
        reason = mostly_left_out(unusable, len(runs.runs))
        return blank.lacking(Missing(reason, shortage(runs.fits)), runs.sample)
    kept = runs.part(names)
    verdict = _judge(blank, kept)
    noted = [*extrapolations(kept), *group_exponents(kept), *told_apart(unusable)]
    return replace(verdict, assumptions=(*verdict.assumptions, *noted))


def _judge(blank: Verdict, study: Study) -> Verdict:
    entered, few = entering(study)
    if not entered.runs:
        return _of_single_runs(blank, study)
    members = {arm: study.fits.sel(node=names) for arm, names in entered.arms.items()}
    exponents, words = judged(
        lambda level: [across_seeds(arm, own, level=level) for arm, own in members.items()],
        level=study.level,
    )
    word = overall(words)
    worst = _deciding(exponents, words, word)
    return blank.decided(
        word,
        worst,
        reason=_reason(worst, word),
        needed=_needed(worst),
        meaning=f"{EFFECT}, {worst.name}",
        sample=entered.sample,
        assumptions=(
            _rate(entered.fits),
            "intervals across seeds, which are independent runs",
            *few,
        ),
    )


def _of_single_runs(blank: Verdict, study: Study) -> Verdict:
    """Undecidable, with the exponent of the run whose interval reaches farthest."""
    fits = study.fits
    worst = max(
        (within_run(fits.sel(node=name)) for name in study.runs), key=lambda one: one.farthest
    )
    word = decide(worst.low, worst.high, MARGIN)
    reason, needed = _reason(worst, word), _needed(worst)
    if word != UNDECIDABLE:
        reason = (
            f"No arm has {SEEDS} seeds, and an interval within a run says nothing of the next "
            f"seed. p = {named(worst)}."
        )
        needed = f"{SEEDS} seeds or more at one batch size"
    return blank.decided(
        UNDECIDABLE,
        worst,
        reason=reason,
        needed=needed,
        meaning=f"{EFFECT}, {worst.name}",
        sample=study.sample,
        assumptions=(
            _rate(fits),
            f"intervals within runs, as no arm has {SEEDS} seeds: the spread between seeds is not "
            "covered",
        ),
    )


def _deciding(exponents: Sequence[Exponent], words: list[str], word: str) -> Exponent:
    """The exponent that the verdict hangs on: the farthest from 0 of those that say it."""
    saying = [item for item, said in zip(exponents, words, strict=True) if said == word]
    nearest = [min(abs(item.low), abs(item.high)) for item in saying]
    if word == CONTRADICTED:
        return saying[int(np.argmax(nearest))]
    return max(saying, key=lambda item: item.farthest)


# d² = Σ θᵢ²·(1 − (1 − ηhᵢ)^t)²: by iteration t the modes with h > 1/(ηt) have arrived, so that a
# log-uniform h makes d² a sum over ln t, and d ∝ ln t where θ² grows along it.
_CAUSE = (
    "This says how the distance grows and not why: descent without noise on a quadratic whose "
    "curvatures spread over many decades can grow alike."
)


def _reason(worst: Exponent, word: str) -> str:
    found = f"p = {named(worst)}"
    if word == SUPPORTED:
        return f"Every interval lies inside ±{MARGIN:g}; the farthest from 0 is {found}. {_CAUSE}"
    if word == CONTRADICTED:
        law, side = ("a power of t", "<") if worst.value > 0 else ("a law that saturates", ">")
        return (
            f"The interval lies wholly beyond ±{MARGIN:g}: {found}, {law}. A power of log t, as "
            f"(ln t)^(2/α) with α {side} 2, is not told apart from it here."
        )
    excluded = worst.low > 0 or worst.high < 0
    also = (
        " and excludes 0, but departures within the margin are not ruled out" if excluded else ""
    )
    return f"The interval reaches across ±{MARGIN:g}{also}: {found}."


def _rate(fits: xr.Dataset) -> str:
    decades = fits["grown_decades"].values
    shortest = int(np.argmin(decades))
    first, last = int(fits["first"][shortest]), int(fits["last"][shortest])
    return (
        f"constant learning rate, {decades.min():.2f} decades beyond the onset of growth "
        f"(iterations {first} to {last})"
    )


def _needed(worst: Exponent) -> str:
    ratio = _EQUIVALENCE * worst.error / MARGIN
    if not math.isfinite(ratio):
        return "a longer run: its exponent is not identified"
    if ratio <= 1:
        return "more seeds: the estimate lies too near the margin for this sample"
    count = max(SEEDS, math.ceil(worst.n * ratio**2))
    decades = worst.decades * ratio ** (1 / _DECADES_POWER)
    longer = f", or runs of about {decades:.1f} decades" if decades < _LONGEST else ""
    return f"about {count} seeds an arm of this length{longer}"
