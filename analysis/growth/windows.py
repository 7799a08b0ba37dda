"""Exponents of windows of a curve, and whether they agree with the law that was fitted to it.

The interval of an exponent is one within its family: of a curve whose exponent changes on the way
it tells what the whole of the curve averages to, as sharply as if it did not change. Here

    κₖ = 2 log₁₀ (d̄ₖ − d̄ₖ₊₁) / (d̄ₖ₊₁ − d̄ₖ₊₂)

with d̄ⱼ the mean of d over a fifth of a decade around T·10^(−0.1 − j/2): what half a decade added
over what the half before did, for the decades that end at T, T/√10, T/10, … A power t^p has κₖ = p
in every window and log t has 0; an onset makes early windows larger. It needs no model of the
noise. Whether a law fits is judged across seeds: the mean of κₖ less that of each seed's own
fitted law has a t interval, and a misfit is said where one lies beyond ±`MARGIN`. How often that
is wrong, and what it finds, is simulated: tests/statistics/windows_table.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import Interval, joint_level, t_interval
from ultraslow.analysis.text import between, of_batch_size
from ultraslow.diffusion.laws import growth_regressor

from .decade_ratio import HALF_WIDTH, averages, fitted_records
from .rule import DISQUALIFYING, LEAST_SEEDS, MARGIN

Array = NDArray[np.float64]

STEP = 0.5  # decades between windows
_FLOOR = 1e-3  # of d(T): growth below this is none


def local_exponents(times: Array, values: Array) -> Array:
    """κₖ of distances, the last window first.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (*, time).

    Returns:
        κ, shape (*, window), of as many windows as the records hold; NaN where nothing grew in one
        of the two halves.

    >>> times = np.geomspace(1, 1e3, 200)
    >>> local_exponents(times, np.stack([np.log(times) + 1, np.sqrt(times)])).round(2) + 0.0
    array([[0. , 0. , 0. , 0. ],
           [0.5, 0.5, 0.5, 0.5]])
    """
    spare = np.log10(times[-1] / times[0]) - 2 * HALF_WIDTH if times.size > 1 else 0.0
    count = int(np.floor(spare / STEP + 1e-9)) - 1
    if count < 1:
        return np.empty((*values.shape[:-1], 0))
    means = values @ averages(times, STEP * np.arange(count + 2.0)).T
    added = means[..., :-1] - means[..., 1:]
    grew = np.where(added > _FLOOR * np.abs(values[..., -1:]), added, np.nan)
    return np.asarray(np.log10(grew[..., :-1] / grew[..., 1:]) / STEP)


def law_exponents(times: Array, exponents: Array, onsets: Array) -> Array:
    """κₖ of laws [(t + τ)^p − 1]/p at the same windows.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        exponents: p, shape (law,).
        onsets: τ, shape (law,), iterations.

    Returns:
        κ, shape (law, window).

    >>> times = np.geomspace(1, 1e4, 200)
    >>> law_exponents(times, np.array([0.0]), np.array([1e3])).round(2)[0, :3]
    array([0.29, 0.54, 0.77])
    """
    log_time = np.log((times + onsets[:, None]) / (times[-1] + onsets[:, None]))
    curves = growth_regressor(log_time, exponents[:, None])
    # Measured from the last record nothing is too small to be growth.
    return local_exponents(times, curves - curves[:, -1:])


def window_columns(
    curves: Mapping[str, xr.DataArray], fits: xr.Dataset
) -> dict[str, tuple[str | tuple[str, ...], Array]]:
    """Exponents of the windows of curves, as columns of their fits.

    Arguments:
        curves: distances along `iteration`, by node.
        fits: their growth fits along `node`.

    Returns:
        `local_exponent` and `law_exponent`, those of the curve and of the law fitted to it, along
        `node` and `window`, decades before the last iteration; `window_low` and `window_high`, the
        lowest and the highest of a curve. NaN where a curve could not be fitted or is too short,
        and for the ends of fewer than two windows.
    """
    found = [_of_curve(curve, fits.sel(node=name)) for name, curve in curves.items()]
    count = max([1, *(local.size for local, _ in found)])
    table = np.full((2, len(found), count), np.nan)
    for row, pair in enumerate(found):
        for kind, values in enumerate(pair):
            table[kind, row, : values.size] = values
    local, law = table
    known = np.isfinite(local)
    several = known.sum(axis=1) > 1
    low = np.where(known, local, np.inf).min(axis=1)
    high = np.where(known, local, -np.inf).max(axis=1)
    return {
        "window": ("window", STEP * np.arange(float(count))),
        "local_exponent": (("node", "window"), local),
        "law_exponent": (("node", "window"), law),
        "window_low": ("node", np.where(several, low, np.nan)),
        "window_high": ("node", np.where(several, high, np.nan)),
    }


def _of_curve(curve: xr.DataArray, fit: xr.Dataset) -> tuple[Array, Array]:
    """κ of a curve and of the law fitted to it, each of shape (window,)."""
    exponent, onset = (np.array([float(fit[name])]) for name in ("exponent", "onset"))
    if not np.isfinite(exponent[0]):
        return np.empty(0), np.empty(0)
    times, values = fitted_records(curve)
    return local_exponents(times, values), law_exponents(times, exponent, onset)[0]


@dataclass(frozen=True)
class Misfit:
    """Where the seeds of an arm leave the laws that were fitted to them.

    Attributes:
        local: lowest and highest mean over seeds of the windows' exponents.
        law: the same of the fitted laws.
        departure: mean of the difference where it is clearest, with its interval.
        window: of that, decades before the last iteration.
    """

    local: tuple[float, float]
    law: tuple[float, float]
    departure: Interval
    window: float

    def __str__(self) -> str:
        """In words."""
        said = between(*self.law)
        return f"local exponents run {between(*self.local)} where the fitted law says {said}"


def misfit(local: Array, law: Array, *, level: float) -> Misfit | None:
    """Whether the seeds of an arm leave the laws fitted to them.

    Arguments:
        local: κ of the curves, shape (seed, window), the last window first.
        law: κ of the law fitted to each, of the same shape.
        level: confidence level, of all windows together.

    Returns:
        Where they do; None where no window shows it, or there are fewer than `LEAST_SEEDS`.
    """
    # A window that some seeds lack would be judged by those whose noise is large enough.
    kept = np.flatnonzero(np.isfinite(local - law).all(axis=0))
    if local.shape[0] < LEAST_SEEDS or not kept.size:
        return None
    joint = joint_level(level, kept.size)
    found = [t_interval(local[:, k] - law[:, k], level=joint) for k in kept]
    beyond = [max(one.low, -one.high) for one in found]
    clearest = int(np.argmax(beyond))
    if not beyond[clearest] > MARGIN:
        return None
    means = local[:, kept].mean(axis=0), law[:, kept].mean(axis=0)
    ends = [(float(mean.min()), float(mean.max())) for mean in means]
    return Misfit(ends[0], ends[1], found[clearest], STEP * float(kept[clearest]))


def misfits(fits: xr.Dataset) -> dict[str, Misfit]:
    """The arms whose seeds leave the laws fitted to them.

    Arguments:
        fits: as `fit_totals` gives them. Copies and fits that are no estimate are left out.

    Returns:
        What was found, by the arm in words.
    """
    if "local_exponent" not in fits:
        return {}
    counted = ~fits["repeats"].values & ~fits["status"].isin(DISQUALIFYING).values
    arms: dict[str, list[int]] = {}
    for place in np.flatnonzero(counted & np.isfinite(fits["exponent"].values)):
        size, which = (fits[name].values[place] for name in ("batch_size", "arm"))
        name = f"{of_batch_size(size)}{f' ({which})' if which else ''}"
        arms.setdefault(name, []).append(int(place))
    local, law = (fits[name].values for name in ("local_exponent", "law_exponent"))
    level = float(fits.attrs["level"])
    found = {arm: misfit(local[own], law[own], level=level) for arm, own in arms.items()}
    return {arm: one for arm, one in found.items() if one is not None}
