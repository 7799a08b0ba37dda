"""Noise scale of recordings: over whole runs, and over time."""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

from .noise import Array, NoiseScale, noise_interval

BINS_PER_DECADE = 5


def run_noise_scale(run: xr.Dataset, *, level: float = 0.95) -> NoiseScale:
    """B_simple over a whole run.

    Arguments:
        run: a recording.
        level: confidence level.

    Returns:
        The estimate; without an interval, and with the reason, where no noise was recorded.
    """
    if not has_noise(run):
        reason = str(run.attrs.get("noise_absent", "no gradient noise was recorded"))
        return NoiseScale(math.nan, math.nan, math.nan, "", 0, 0, reason)
    return noise_interval(*_windows(run), level=level)


def noise_over_time(runs: Sequence[xr.Dataset], *, level: float = 0.95) -> xr.Dataset:
    """B_simple in bins of equal length in ln t, from all windows of equal runs together.

    Arguments:
        runs: recordings that differ by seed only; those without noise are left out.
        level: confidence level.

    Returns:
        A Dataset along `iteration` (the geometric middle of each bin) with `estimate`, `low` and
        `high`, in samples; empty where no noise was recorded.
    """
    measured = [run for run in runs if has_noise(run)]
    iteration = np.concatenate([run["iteration"].values for run in measured] or [np.empty(0)])
    windows = [_windows(run) for run in measured]
    g, s, n = (np.concatenate([w[k] for w in windows] or [np.empty(0)]) for k in range(3))
    bins = _bins(np.maximum(iteration, 1))
    found: dict[float, NoiseScale] = {}
    for number in np.unique(bins[(iteration > 0) & (n > 0)]):
        inside = (bins == number) & (iteration > 0)
        centre = float(np.exp(np.mean(np.log(iteration[inside]))))
        found[centre] = noise_interval(g[inside], s[inside], n[inside], level=level)
    columns = ("estimate", "low", "high")
    variables = {k: ("iteration", [float(getattr(b, k)) for b in found.values()]) for k in columns}
    return xr.Dataset(variables, coords={"iteration": list(found)})


def _bins(iteration: Array) -> Array:
    """Bin of each iteration; the last one takes what is left over at the end."""
    place = np.log10(iteration) * BINS_PER_DECADE
    return np.minimum(np.floor(place), max(np.floor(place.max(initial=0) + 0.5) - 1, 0))


def has_noise(run: xr.Dataset) -> bool:
    """Whether a recording holds gradient noise."""
    return {"gradient_sq", "noise_trace", "noise_updates"} <= set(map(str, run.data_vars))


def _windows(run: xr.Dataset) -> tuple[Array, Array, Array]:
    """Window means summed over tensors, and the updates in each window."""
    totals = [run[name].sum("tensor", skipna=False) for name in ("gradient_sq", "noise_trace")]
    return totals[0].values, totals[1].values, run["noise_updates"].values.astype(float)
