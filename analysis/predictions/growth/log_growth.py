"""P1: in the phase of constant learning rate the distance grows like the logarithm of t.

The exponent p of the growth family is 0 for that law. The sample are the seeds of an arm: with
four or more, the interval of an arm's mean exponent comes from the spread between its runs, which
needs no model of the noise within a run. A run's own interval speaks of that trajectory and not of
the next seed; where no arm has four it is told, and nothing is decided.

Exponents with their intervals, of an arm across its seeds or of a single run.

Exponents of groups of tensors: the whole distance may hide tensors that grow by another law.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from ultraslow.analysis.growth import (
    DETECTABLE,
    DISQUALIFYING,
    MARGIN,
    fit_tensors,
    fit_totals,
    judged,
    mostly_left_out,
    shortage,
    told_apart,
    too_few,
)
from ultraslow.analysis.growth.usable import usable
from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    decide,
    overall,
    t_interval,
)
from ultraslow.analysis.predictions.evidence import Missing, entering, sample, undecided, unlike
from ultraslow.analysis.predictions.extrapolation import extrapolations
from ultraslow.analysis.predictions.verdict import Verdict
from ultraslow.analysis.runs import Arm, grouped, one_per_seed
from ultraslow.analysis.runs.arms import arms
from ultraslow.analysis.text import interval, rounded


@dataclass(frozen=True)
class Estimate:
    """An exponent with its interval, of an arm or of a run.

    Attributes:
        name: whose it is, in words.
        exponent: p.
        low: lower end of the interval.
        high: upper end.
        error: standard error.
        decades: of growth beyond the onset.
        seeds: number of runs behind it.
    """

    name: str
    exponent: float
    low: float
    high: float
    error: float
    decades: float
    seeds: int = 1

    @property
    def farthest(self) -> float:
        """Distance of the interval's far end from 0."""
        return max(abs(self.low), abs(self.high))


def across_seeds(arm: Arm, fits: xr.Dataset, *, level: float) -> Estimate:
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
    error = float(exponent.std(ddof=1) / math.sqrt(exponent.size))
    half = error * float(stats.t.ppf(0.5 + level / 2, exponent.size - 1))
    mean = float(exponent.mean())
    name = f"mean of {exponent.size} seeds at {arm}"
    decades = float(fits["grown_decades"].min())
    return Estimate(name, mean, mean - half, mean + half, error, decades, exponent.size)


def within_run(fit: xr.Dataset) -> Estimate:
    """Exponent of one run with the interval of its own fit.

    Arguments:
        fit: the fit of one run, without dimensions.

    Returns:
        The estimate; it speaks of this trajectory and not of the next seed.
    """
    low, high = float(fit["exponent_low"]), float(fit["exponent_high"])
    error = float(fit["detectable"]) / DETECTABLE
    name = f"run {str(fit['run'].values)[:80]}"
    return Estimate(name, float(fit["exponent"]), low, high, error, float(fit["grown_decades"]))


def group_exponents(runs: Mapping[str, xr.Dataset], *, level: float) -> tuple[str, ...]:
    """In words, the mean exponent of each group of tensors in each arm with enough seeds.

    Arguments:
        runs: recordings by node name.
        level: confidence level.

    Returns:
        One phrase an arm of `SEEDS` runs or more; none where runs have a single tensor.
    """
    members = {arm: names for arm, names in arms(dict(runs)).items() if len(names) >= SEEDS}
    chosen = {name: grouped(runs[name]) for names in members.values() for name in names}
    if max((run.sizes["tensor"] for run in chosen.values()), default=0) < 2:
        return ()
    fits = fit_tensors(chosen, level=level, intervals=False)
    known = fits["exponent"].where(~fits["status"].isin(DISQUALIFYING))
    return tuple(
        _phrase(arm, known.sel(node=names), level=level) for arm, names in members.items()
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


PREDICTION = "P1"
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


def log_growth(
    runs: dict[str, xr.Dataset],
    fits: xr.Dataset | None = None,
    *,
    level: float = 0.95,
    margin: float = MARGIN,
) -> Verdict:
    """Verdict on P1.

    Supported when the interval of every arm lies inside ±`margin`; contradicted when that of one
    arm, with half the error shared among all arms, lies wholly beyond it. The interval given with
    a contradiction is that wider one. Arms of fewer than `SEEDS` seeds do not enter; where there
    are no others it is undecidable. Simulated exponents of 0 on average that spread by 0.08 over
    seeds contradicted in a quarter of all sets when single runs could.

    References:
        Ibragimov and Müller (2010), Journal of Business & Economic Statistics 28, 453: the t
        interval across clusters.

    Arguments:
        runs: recordings by node name.
        fits: `growth.fit_totals(runs, level=level)`, when it is at hand.
        level: confidence level.
        margin: largest |p| that counts as log growth.

    Returns:
        The verdict, with the exponent that is farthest from 0.
    """
    runs = one_per_seed(runs)
    blank = Verdict(PREDICTION, STATEMENT, UNDECIDABLE, "", EFFECT)
    differing = unlike(runs)
    if differing is not None:
        return undecided(blank, runs, differing)
    fits = fit_totals(runs, level=level) if fits is None else fits.sel(node=list(runs))
    names, unusable = usable(fits)
    if too_few(len(names), len(unusable)):
        reason = mostly_left_out(unusable, len(runs))
        return undecided(blank, runs, Missing(reason, shortage(fits)))
    kept = {name: runs[name] for name in names}
    verdict = _judge(kept, fits.sel(node=names), level=level, margin=margin)
    noted = [*extrapolations(kept, level=level), *group_exponents(kept, level=level)]
    noted += told_apart(unusable)
    return replace(verdict, assumptions=(*verdict.assumptions, *noted))


def _judge(
    runs: dict[str, xr.Dataset], fits: xr.Dataset, *, level: float, margin: float
) -> Verdict:
    entered, few = entering(runs)
    if not entered:
        return _of_single_runs(runs, fits, margin=margin)

    def at(wanted: float) -> list[Estimate]:
        members = {arm: fits.sel(node=names) for arm, names in arms(entered).items()}
        return [across_seeds(arm, own, level=wanted) for arm, own in members.items()]

    estimates, words = judged(at, level=level, margin=margin)
    word = overall(words)
    worst = _deciding(estimates, words, word)
    rate = _rate(fits.sel(node=list(entered)))
    return Verdict(
        PREDICTION,
        STATEMENT,
        word,
        _reason(worst, word, margin),
        f"{EFFECT}, {worst.name}",
        *(worst.exponent, worst.low, worst.high),
        sample=sample(entered),
        assumptions=(rate, "intervals across seeds, which are independent runs", *few),
        needed=_needed(worst, margin) if word == UNDECIDABLE else "",
    )


def _of_single_runs(runs: dict[str, xr.Dataset], fits: xr.Dataset, *, margin: float) -> Verdict:
    """Undecidable, with the exponent of the run whose interval reaches farthest."""
    worst = max((within_run(fits.sel(node=name)) for name in runs), key=lambda one: one.farthest)
    word = decide(worst.low, worst.high, margin)
    reason, needed = _reason(worst, word, margin), _needed(worst, margin)
    if word != UNDECIDABLE:
        reason = (
            f"No arm has {SEEDS} seeds, and an interval within a run says nothing of the next "
            f"seed. {_found(worst)}."
        )
        needed = f"{SEEDS} seeds or more at one batch size"
    return Verdict(
        PREDICTION,
        STATEMENT,
        UNDECIDABLE,
        reason,
        f"{EFFECT}, {worst.name}",
        *(worst.exponent, worst.low, worst.high),
        sample=sample(runs),
        assumptions=(
            _rate(fits),
            f"intervals within runs, as no arm has {SEEDS} seeds: the spread between seeds is not "
            "covered",
        ),
        needed=needed,
    )


def _deciding(estimates: Sequence[Estimate], words: list[str], word: str) -> Estimate:
    """The estimate that the verdict hangs on: the farthest from 0 of those that say it."""
    saying = [item for item, said in zip(estimates, words, strict=True) if said == word]
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


def _reason(worst: Estimate, word: str, margin: float) -> str:
    found = _found(worst)
    if word == SUPPORTED:
        return f"Every interval lies inside ±{margin:g}; the farthest from 0 is {found}. {_CAUSE}"
    if word == CONTRADICTED:
        law, side = ("a power of t", "<") if worst.exponent > 0 else ("a law that saturates", ">")
        return (
            f"The interval lies wholly beyond ±{margin:g}: {found}, {law}. A power of log t, as "
            f"(ln t)^(2/α) with α {side} 2, is not told apart from it here."
        )
    excluded = worst.low > 0 or worst.high < 0
    also = (
        " and excludes 0, but departures within the margin are not ruled out" if excluded else ""
    )
    return f"The interval reaches across ±{margin:g}{also}: {found}."


def _found(worst: Estimate) -> str:
    ends = interval(worst.low, worst.high, show=rounded)
    return f"p = {rounded(worst.exponent)} {ends} ({worst.name})"


def _rate(fits: xr.Dataset) -> str:
    decades = fits["grown_decades"].values
    shortest = int(np.argmin(decades))
    first, last = int(fits["first"][shortest]), int(fits["last"][shortest])
    return (
        f"constant learning rate, {decades.min():.2f} decades beyond the onset of growth "
        f"(iterations {first} to {last})"
    )


def _needed(worst: Estimate, margin: float) -> str:
    ratio = _EQUIVALENCE * worst.error / margin
    if not math.isfinite(ratio):
        return "a longer run: its exponent is not identified"
    if ratio <= 1:
        return "more seeds: the estimate lies too near the margin for this sample"
    count = max(SEEDS, math.ceil(worst.seeds * ratio**2))
    decades = worst.decades * ratio ** (1 / _DECADES_POWER)
    longer = f", or runs of about {decades:.1f} decades" if decades < _LONGEST else ""
    return f"about {count} seeds an arm of this length{longer}"
