"""Means across seeds: seeds are the sample, tensors of one run are not.

Within a run all tensors share the order of the data, so a run counts once however many tensors it
has. Each run's own interval says what that trajectory tells; the spread between seeds says how
trajectories differ. Where there are four seeds or more, the interval across them is the one to
report: it holds whatever the dependence within a run.
"""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from .interval import Interval, t_quantile

Array = NDArray[np.float64]

SEEDS = 4  # from this many on, the interval across runs is the primary one


def t_interval(values: ArrayLike, *, level: float, name: str = "") -> Interval:
    """Mean of one number a run with the t interval of S − 1 degrees of freedom.

    mean ± t_{S−1} s/√S, valid with runs of unequal precision and any dependence within a run, at
    levels of 92 % and above.

    References:
        Student (1908), Biometrika 6, 1. Ibragimov and Müller (2010), J. Bus. Econ. Stat. 28, 453:
        runs of unequal precision.

    Arguments:
        values: one number a run, shape (run,); those that are not finite are left out and counted
            in the reason.
        level: confidence level.
        name: whose mean it is, in words.

    Returns:
        The mean and its interval, unbounded with fewer than two runs.

    >>> print(t_interval([0.1, 0.2, 0.3, 0.2], level=0.95))
    0.200 [0.070, 0.330]
    """
    given = np.asarray(values, dtype=np.float64).ravel()
    kept = given[np.isfinite(given)]
    reason = _reason(kept.size, given.size - kept.size)
    if kept.size < 2:
        mean = float(kept[0]) if kept.size else math.nan
        return Interval(mean, -math.inf, math.inf, kept.size, name, reason)
    mean, error = float(kept.mean()), float(kept.std(ddof=1)) / math.sqrt(kept.size)
    half = t_quantile(kept.size - 1, level) * error
    return Interval.around(mean, half, n=kept.size, name=name, reason=reason)


def _reason(runs: int, left_out: int) -> str:
    notes = []
    if runs < 2:
        notes.append(f"{runs} run(s): nothing is known of the spread between runs")
    elif runs < SEEDS:
        notes.append(f"{runs} runs: the spread between runs is known poorly")
    if left_out:
        notes.append(f"{left_out} run(s) without a finite value left out")
    return "; ".join(notes)


def standard_errors(fits: xr.Dataset) -> xr.DataArray:
    """Standard error of each exponent that its calibrated interval amounts to.

    (high − low)/(2 z); inf where the interval is unbounded.

    Arguments:
        fits: as returned by `growth.fit_growth`.

    Returns:
        The standard errors, over the dimensions of the series.
    """
    quantile = ndtri((1 + fits.attrs["level"]) / 2)
    return (fits["exponent_high"] - fits["exponent_low"]) / (2 * quantile)


@dataclass(frozen=True)
class Pooled:
    """Random-effects mean of several estimates.

    Attributes:
        mean: of the `n` estimates that entered, with its interval.
        heterogeneity: standard deviation of the true values around the mean.
        share: share of the total variance that is heterogeneity, I².
        left_out: estimates that did not enter, without a bounded interval.
    """

    mean: Interval
    heterogeneity: float
    share: float
    left_out: int


def pool(estimates: ArrayLike, errors: ArrayLike, *, level: float) -> Pooled:
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
    from statsmodels.stats.meta_analysis import combine_effects  # seconds that few calls need

    value = np.asarray(estimates, dtype=np.float64).ravel()
    error = np.asarray(errors, dtype=np.float64).ravel()
    kept = np.isfinite(value) & np.isfinite(error) & (error > 0)
    used, left_out = int(kept.sum()), int((~kept).sum())
    if used < 2:
        reason = f"{used} estimate(s) with a standard error, 2 needed"
        unknown = Interval(math.nan, -math.inf, math.inf, used, reason=reason)
        return Pooled(unknown, math.nan, math.nan, left_out)
    with np.errstate(divide="ignore"):  # I² of estimates that are all equal
        found = combine_effects(value[kept], error[kept] ** 2, method_re="iterated", use_t=True)
    half = t_quantile(used - 1, level) * float(found.sd_eff_w_re_hksj)
    mean = Interval.around(float(found.mean_effect_re), half, n=used)
    share = float(np.clip(found.i2, 0.0, 1.0))
    return Pooled(mean, math.sqrt(max(found.tau2, 0.0)), share, left_out)


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
    from statsmodels.stats.multitest import multipletests  # seconds that few calls need

    given = np.asarray(p_values, dtype=np.float64).ravel()
    kept = np.isfinite(given)
    rejected, adjusted = np.zeros(given.size, dtype=bool), np.full(given.size, np.nan)
    if kept.any():
        method = "fdr_by" if dependent else "fdr_bh"
        rejected[kept], adjusted[kept] = multipletests(given[kept], rate, method=method)[:2]
    note = f"{int(rejected.sum())} of {int(kept.sum())} tensors, from {runs} independent run(s)"
    return Discoveries(rejected, adjusted, rate, runs, note)
