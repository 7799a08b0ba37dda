"""Exponents across runs: seeds are the sample, tensors of one run are not.

Within a run all tensors share the order of the data, so a run counts once however many tensors it
has. Each run's own interval says what that trajectory tells; the spread between seeds says how
trajectories differ. Where there are four seeds or more, the interval across them is the one to
report: it holds whatever the dependence within a run.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests

Array = NDArray[np.float64]

SEEDS = 4  # from this many on, the interval across runs is the primary one


@dataclass(frozen=True)
class AcrossRuns:
    """Mean over runs with its t interval.

    Attributes:
        mean: the mean.
        low: lower end of the interval.
        high: upper end.
        spread: standard deviation between runs.
        runs: how many runs there are.
        p_value: of a mean of 0, two-sided.
        reason: why the interval is unbounded or to be read with care, or empty.
    """

    mean: float
    low: float
    high: float
    spread: float
    runs: int
    p_value: float
    reason: str


def across_runs(values: ArrayLike, *, level: float = 0.95) -> AcrossRuns:
    """Mean over runs with the t interval of S − 1 degrees of freedom.

    mean ± t_{S−1} s/√S, valid with runs of unequal precision and any dependence within a run, at
    levels of 92 % and above.

    References:
        Ibragimov and Müller (2010), J. Bus. Econ. Stat. 28, 453.

    Arguments:
        values: one number a run, shape (run,); those that are not finite are left out and counted
            in the reason.
        level: confidence level.

    Returns:
        The mean and its interval, unbounded with fewer than two runs.

    >>> across_runs([0.1, 0.2, 0.3, 0.2]).runs
    4
    """
    given = np.asarray(values, dtype=np.float64).ravel()
    kept = given[np.isfinite(given)]
    reason = _reason(kept.size, given.size - kept.size)
    if kept.size < 2:
        mean = float(kept[0]) if kept.size else np.nan
        return AcrossRuns(mean, -np.inf, np.inf, np.nan, kept.size, np.nan, reason)
    mean, spread = float(kept.mean()), float(kept.std(ddof=1))
    error = spread / np.sqrt(kept.size)
    half = float(t.ppf((1 + level) / 2, kept.size - 1)) * error
    p_value = _two_sided(mean, error, kept.size - 1)
    return AcrossRuns(mean, mean - half, mean + half, spread, kept.size, p_value, reason)


def _two_sided(difference: float, error: float, freedom: int) -> float:
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * t.sf(abs(difference) / error, freedom))


def _reason(runs: int, left_out: int) -> str:
    notes = []
    if runs < 2:
        notes.append(f"{runs} run(s): nothing is known of the spread between runs")
    elif runs < SEEDS:
        notes.append(f"{runs} runs: the spread between runs is known poorly")
    if left_out:
        notes.append(f"{left_out} run(s) without a finite value left out")
    return "; ".join(notes)


def between_arms(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> AcrossRuns:
    """Difference of two arms' means with the t interval of min(S₁, S₂) − 1 degrees of freedom.

    m₁ − m₂ ± t √(s₁²/S₁ + s₂²/S₂), valid with arms of unequal spread and size.

    References:
        Ibragimov and Müller (2016), Rev. Econ. Stat. 98, 83.

    Arguments:
        first: one number a run of the first arm, shape (run,).
        second: of the second arm, shape (run,).
        level: confidence level.

    Returns:
        The difference; `runs` is the smaller arm's, `spread` the standard error.
    """
    one, other = across_runs(first, level=level), across_runs(second, level=level)
    runs = min(one.runs, other.runs)
    reason = "; ".join(
        f"{name} arm: {arm.reason}"
        for name, arm in (("first", one), ("second", other))
        if arm.reason
    )
    difference = one.mean - other.mean
    if runs < 2:
        return AcrossRuns(difference, -np.inf, np.inf, np.nan, runs, np.nan, reason)
    error = float(np.hypot(one.spread / np.sqrt(one.runs), other.spread / np.sqrt(other.runs)))
    half = float(t.ppf((1 + level) / 2, runs - 1)) * error
    p_value = _two_sided(difference, error, runs - 1)
    return AcrossRuns(
        difference, difference - half, difference + half, error, runs, p_value, reason
    )


def standard_errors(fits: xr.Dataset) -> xr.DataArray:
    """Standard error of each exponent that its calibrated interval amounts to.

    (high − low)/(2 z); inf where the interval is unbounded.

    Arguments:
        fits: as returned by `growth.fit_growth`.

    Returns:
        The standard errors, over the dimensions of the series.
    """
    quantile = norm.ppf((1 + fits.attrs["level"]) / 2)
    return (fits["exponent_high"] - fits["exponent_low"]) / (2 * quantile)


def calibration_ratio(fits: xr.Dataset, *, dim: str = "run") -> xr.DataArray:
    """Spread of the exponent between runs over the median standard error of one run.

    Near 1 where runs differ no more than each one's interval says; well above 1 where trajectories
    differ in earnest, and the interval of one run must not be taken for that of the next.

    Arguments:
        fits: as returned by `growth.fit_growth`.
        dim: the dimension that counts runs.

    Returns:
        The ratio, over the other dimensions; NaN with fewer than two runs, 0 where half of the
        intervals or more are unbounded.
    """
    usable = fits["exponent"].where(np.isfinite(fits["exponent"]))
    spread = usable.std(dim, ddof=1)
    return spread / standard_errors(fits).where(usable.notnull()).median(dim)


@dataclass(frozen=True)
class Pooled:
    """Random-effects mean of several estimates.

    Attributes:
        mean: the pooled estimate.
        low: lower end of its interval.
        high: upper end.
        heterogeneity: standard deviation of the true values around the mean.
        share: share of the total variance that is heterogeneity, I².
        used: how many estimates entered.
        left_out: how many did not, without a bounded interval.
    """

    mean: float
    low: float
    high: float
    heterogeneity: float
    share: float
    used: int
    left_out: int


def pool(estimates: ArrayLike, errors: ArrayLike, *, level: float = 0.95) -> Pooled:
    """Random-effects mean of estimates with known standard errors.

    Paule–Mandel heterogeneity with the Hartung–Knapp interval. It takes the estimates for
    independent: across runs they are, across tensors of one run they are not, and the interval is
    then about these tensors in this run.

    References:
        Hartung and Knapp (2001), Stat. Med. 20, 3875; `statsmodels` `combine_effects`.

    Arguments:
        estimates: shape (estimate,).
        errors: standard errors, shape (estimate,); estimates without a finite one are left out.
        level: confidence level.

    Returns:
        The pooled estimate; NaN, with an unbounded interval, with fewer than two estimates.
    """
    value = np.asarray(estimates, dtype=np.float64).ravel()
    error = np.asarray(errors, dtype=np.float64).ravel()
    kept = np.isfinite(value) & np.isfinite(error) & (error > 0)
    used, left_out = int(kept.sum()), int((~kept).sum())
    if used < 2:
        return Pooled(np.nan, -np.inf, np.inf, np.nan, np.nan, used, left_out)
    with np.errstate(divide="ignore"):  # I² of estimates that are all equal
        found = combine_effects(value[kept], error[kept] ** 2, method_re="iterated", use_t=True)
    mean, half = found.mean_effect_re, t.ppf((1 + level) / 2, used - 1) * found.sd_eff_w_re_hksj
    heterogeneity = float(np.sqrt(max(found.tau2, 0.0)))
    share = float(np.clip(found.i2, 0.0, 1.0))
    low, high = float(mean - half), float(mean + half)
    return Pooled(float(mean), low, high, heterogeneity, share, used, left_out)


@dataclass(frozen=True)
class Discoveries:
    """Tensors whose hypothesis is rejected at a given rate of false discoveries.

    Attributes:
        rejected: shape (tensor,).
        adjusted: adjusted p-values, shape (tensor,); NaN where there was none.
        rate: expected share of false ones among the rejected.
        runs: independent runs behind the p-values.
        note: how to read it.
    """

    rejected: NDArray[np.bool_]
    adjusted: Array
    rate: float
    runs: int
    note: str


def false_discoveries(
    p_values: ArrayLike, *, runs: int, rate: float = 0.05, dependent: bool = True
) -> Discoveries:
    """Hypotheses rejected over many tensors with the rate of false discoveries controlled.

    References:
        Benjamini and Yekutieli (2001), Ann. Stat. 29, 1165, under any dependence; Benjamini and
        Hochberg (1995), J. R. Stat. Soc. B 57, 289, under independence or positive dependence.

    Arguments:
        p_values: one a tensor, shape (tensor,); those that are not finite are never rejected.
        runs: independent runs behind the p-values.
        rate: expected share of false ones among the rejected.
        dependent: whether tensors may depend on each other in any way.

    Returns:
        The discoveries.
    """
    given = np.asarray(p_values, dtype=np.float64).ravel()
    kept = np.isfinite(given)
    rejected, adjusted = np.zeros(given.size, dtype=bool), np.full(given.size, np.nan)
    if kept.any():
        method = "fdr_by" if dependent else "fdr_bh"
        rejected[kept], adjusted[kept] = multipletests(given[kept], rate, method=method)[:2]
    note = f"{int(rejected.sum())} of {int(kept.sum())} tensors, from {runs} independent run(s)"
    return Discoveries(rejected, adjusted, rate, runs, note)
