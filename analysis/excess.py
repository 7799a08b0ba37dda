"""How far drift lets large batches overshoot under √M rates, from the measured noise scale."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import xarray as xr

from diffusion.noise_theory import increment_excess

from .curves import label
from .slopes import Span, last_decade, window_mean
from .text import number, rounded


def explained_excess(runs: Mapping[str, xr.Dataset]) -> str:
    """In words, the overshoot of squared updates that drift explains; empty without its grounds.

    (1 + M/B)/(1 + M₀/B) with the noise scale B = tr Σ/|G|² over the last common decade, all runs
    together, M the largest and M₀ the smallest batch size.

    Arguments:
        runs: recordings by node name.

    Returns:
        One phrase, for runs under the √M rule whose noise was recorded.
    """
    if any(str(label(run, "scaling")) != "sqrt" for run in runs.values()):
        return ""
    span = last_decade(runs)
    traces = [window_mean(run, "noise_trace", span) for run in runs.values()]
    squares = [window_mean(run, "gradient_sq", span) for run in runs.values()]
    scale = sum(traces) / sum(squares) if sum(squares) else math.nan
    if not (scale > 0 and math.isfinite(scale)):
        return ""
    sizes = sorted(int(run["batch_size"].values) for run in runs.values())
    factor = float(increment_excess(scale, sizes[-1], sizes[0]))
    return (
        f"with the noise scale of all runs together, B = {number(scale)}, drift would make "
        f"squared updates at batch size {sizes[-1]} (1 + M/B)/(1 + M₀/B) = {rounded(factor)} "
        f"times those at {sizes[0]}{_recorded(runs, span, sizes)}"
    )


def _recorded(runs: Mapping[str, xr.Dataset], span: Span, sizes: Sequence[int]) -> str:
    """What the paths say instead, where all runs recorded theirs."""
    if any("step_sq" not in run for run in runs.values()):
        return ""
    by_size: dict[int, list[float]] = {}
    for run in runs.values():
        by_size.setdefault(int(run["batch_size"].values), []).append(_mean_step(run, span))
    low, high = (fmean(by_size[size]) for size in (sizes[0], sizes[-1]))
    return f"; the recorded paths make it {rounded(high / low)}" if low > 0 and high > 0 else ""


def _mean_step(run: xr.Dataset, span: Span) -> float:
    """Mean squared length of an update in a span; NaN where no part of it lies between records."""
    at = run["iteration"].values
    within = np.flatnonzero((at > span[0]) & (at <= span[1]))
    if not within.size or within[0] == 0:
        return math.nan
    path = float(run["step_sq"].sum("tensor", skipna=False).values[within].sum())
    return path / float(at[within[-1]] - at[within[0] - 1])
