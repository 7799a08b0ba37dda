"""How far drift lets large batches overshoot under √M rates, from the measured noise scale."""

import math
from collections.abc import Mapping

import xarray as xr

from diffusion.noise_theory import increment_excess

from .curves import label
from .slopes import last_decade, window_mean
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
        f"with the noise scale B = {number(scale)} drift makes squared updates at batch size "
        f"{sizes[-1]} (1 + M/B)/(1 + M₀/B) = {rounded(factor)} times those at {sizes[0]}"
    )
