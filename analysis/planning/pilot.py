"""What a pilot run tells a planner: how fast its distance grows, and how noisy it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import (
    DISQUALIFYING,
    Advantage,
    ArmCurves,
    NoiseModel,
    fit_peaks,
    fitted_records,
    simulate_noise,
    usable,
)
from ultraslow.analysis.noise import run_noise_scale
from ultraslow.analysis.runs import constant_rate, one_per_seed, seeds, total_distance
from ultraslow.analysis.runs.arms import arms
from ultraslow.diffusion.laws import growth_regressor
from ultraslow.diffusion.recording import log_spaced

from .shared_noise import FittedCurve, SharedNoise, shared_noise

Array = NDArray[np.float64]

# Iterations of a pilot that is given by numbers: σ/D is quoted over three decades.
_LAST = 1000
_DRAWS = 100  # the variance that noise gives exponents is then known to a seventh


@dataclass(frozen=True)
class Pilot:
    """A pilot run in numbers.

    Attributes:
        times: iterations t ≥ 1 of its records, shape (time,).
        noise: shape of its noise.
        noise_share: σ/D, standard deviation of the noise over the growth D of the distance between
            the first and the last record.
        onset: τ, iterations.
        seed_spread: standard deviation of the exponent between seeds beyond what the noise within
            a run explains.
        batch_size: M, samples.
        noise_scale: B_simple, samples; NaN where unknown.
        data_size: samples of the training set; 0 where unknown.
        source: where the numbers come from, in words.
        found: what was found of the runs of its arm; None for numbers that were given, and where
            nothing can be made of any run.
        ratio: ρ, how much the last decade of iterations added, mean of its arm.
    """

    times: Array
    noise: NoiseModel
    noise_share: float
    onset: float = 0.0
    seed_spread: float = 0.0
    batch_size: int = 0
    noise_scale: float = math.nan
    data_size: int = 0
    source: str = "numbers given"
    found: ArmCurves | None = None
    ratio: float = math.nan


def stated(
    noise_share: float,
    *,
    correlation: float = 0.5,
    onset: float = 0.0,
    seed_spread: float = 0.0,
    batch_size: int = 0,
    noise_scale: float = math.nan,
) -> Pilot:
    """A pilot from numbers, with σ/D over the three decades from iteration 1 to 1000.

    Arguments:
        noise_share: σ/D > 0.
        correlation: length over which the noise stays alike, in ln t; 0 for independent noise.
        onset: τ, iterations.
        seed_spread: standard deviation of the exponent between seeds.
        batch_size: M, samples.
        noise_scale: B_simple, samples.

    Returns:
        The pilot.

    Raises:
        ValueError: when a number is out of range.
    """
    given = {"noise_share": noise_share, "correlation": correlation, "onset": onset}
    for name, value in {**given, "seed_spread": seed_spread}.items():
        least = "above 0" if name == "noise_share" else "of at least 0"
        if not (math.isfinite(value) and value >= 0 and (value > 0 or name != "noise_share")):
            raise ValueError(f"{name}: found {value}, expected a finite number {least}")
    if batch_size < 0:
        raise ValueError(f"batch_size: found {batch_size}, expected 1 or more, or 0 for unknown")
    if noise_scale <= 0 or math.isinf(noise_scale):
        raise ValueError(f"noise_scale: found {noise_scale}, expected a finite number above 0")
    noise = NoiseModel("ar_log_t", length=correlation) if correlation else NoiseModel("white")
    times = log_spaced(_LAST)[1:].astype(np.float64)
    return Pilot(times, noise, noise_share, onset, seed_spread, batch_size, noise_scale)


def pilot(runs: Mapping[str, xr.Dataset], fits: xr.Dataset) -> Pilot:
    """The pilot that some recordings make: of the arm with most seeds.

    Arguments:
        runs: recordings by node name.
        fits: `growth.fit_totals` of these runs.

    Returns:
        The pilot, with the records of the run of middling noise.

    Raises:
        ValueError: when no run could be fitted.
    """
    known = [
        n for n in fits["node"].values.tolist() if np.isfinite(float(fits.exponent.sel(node=n)))
    ]
    if not known:
        reasons = sorted({str(reason) for reason in fits["reason"].values.tolist()})
        raise ValueError(f"runs: found no run that could be fitted ({'; '.join(reasons)[:300]})")
    groups = arms(one_per_seed({name: runs[name] for name in known}))
    names = max(groups.values(), key=lambda group: seeds([runs[n] for n in group]))
    curves = {name: _window(runs[name]) for name in names}
    found, middle = measured(curves, fits.sel(node=names))
    run = runs[middle]
    return replace(
        found,
        batch_size=int(run.variables["batch_size"].values),
        noise_scale=run_noise_scale(run).interval.value,
        data_size=int(run.variables["data_size"].values) if "data_size" in run else 0,
        source=f"run {str(run['run'].values)[:60]}, one of {len(names)} of its arm",
    )


def _window(run: xr.Dataset) -> xr.DataArray:
    return total_distance(run).sel(iteration=constant_rate(run).iteration)


def measured(curves: Mapping[str, xr.DataArray], fits: xr.Dataset) -> tuple[Pilot, str]:
    """The pilot that the curves of an arm make, and the run whose records it has.

    Arguments:
        curves: distances along `iteration`, by node.
        fits: `growth.fit_totals` of them.

    Returns:
        The pilot and the name of the run of middling noise. The noise is that which all runs
        share; with two seeds or more, the spread of exponents between them that exceeds what this
        noise explains is `seed_spread`.
    """
    nodes = _telling(fits)
    kept = fits.sel(node=nodes or list(curves))
    times = {
        name: curves[name]["iteration"].values.astype(np.float64) for name in kept["node"].values
    }
    shares = {name: _noise_share(kept.sel(node=name), times[name]) for name in times}
    middle = sorted(times, key=shares.__getitem__)[(len(times) - 1) // 2]
    onset = float(kept["onset"].sel(node=middle))
    noise = _shared(curves, kept, times[middle])
    pilot = Pilot(noise.times, noise.model, noise.sigma, onset)
    better = Advantage(kept["faster_advantage"].values, kept["slower_advantage"].values)
    pilot = replace(
        continued(pilot, times[middle]),
        found=ArmCurves(kept["exponent"].values, better) if nodes else None,
        ratio=_mean_ratio(fits["decade_ratio"].values),
    )
    return replace(pilot, seed_spread=_seed_spread(pilot, kept["exponent"].values)), middle


def _shared(curves: Mapping[str, xr.DataArray], fits: xr.Dataset, times: Array) -> SharedNoise:
    """The noise of all runs, of distances in units of their growth over some times."""
    parts = []
    for name in fits["node"].values.tolist():
        fit, (own, values) = fits.sel(node=name), fitted_records(curves[name])
        exponent, onset = float(fit["exponent"]), float(fit["onset"])
        parts.append(FittedCurve(own, values / _growth(fit, times), exponent, onset))
    return shared_noise(parts)


def _mean_ratio(ratios: Array) -> float:
    known = ratios[np.isfinite(ratios) & (ratios > 0)]
    return float(np.exp(np.log(known).mean())) if known.size else math.nan


def _telling(fits: xr.Dataset) -> list[str]:
    """The runs that say something on P1: those that can be used, or else all that were fitted.

    Runs that are too short for a verdict tell what longer ones will show.
    """
    return usable(fits)[0] or fits["node"].values[_fitted(fits)].tolist()


def _fitted(fits: xr.Dataset) -> NDArray[np.bool_]:
    clear = np.isfinite(fits["exponent"].values) & np.isfinite(fits["faster_advantage"].values)
    return np.asarray(clear & ~np.isin(fits["status"].values, DISQUALIFYING))


def _noise_share(fit: xr.Dataset, times: Array) -> float:
    return float(fit["sigma"]) / _growth(fit, times)


def _growth(fit: xr.Dataset, times: Array) -> float:
    """Growth of the fitted law between the first and the last of some times."""
    ends = np.log(times[[0, -1]] + float(fit["onset"]))
    grown = np.diff(growth_regressor(ends, np.asarray(float(fit["exponent"]))))
    return abs(float(fit["slope"]) * float(grown[0]))


def _seed_spread(of: Pilot, exponents: Array) -> float:
    """s² = var p̂ − v with v the variance that the noise gives exponents by itself, simulated.

    References:
        DerSimonian and Laird (1986), Controlled Clinical Trials 7, 177: the estimate by moments.
    """
    if exponents.size < 2:
        return 0.0
    noise = simulate_noise(of.noise, of.times, _DRAWS, rng=np.random.default_rng(0))
    simulated = curve(of, float(exponents.mean()), of.times) + of.noise_share * noise
    within = scatter(fit_peaks(of.times, 10.0 + simulated)[0])
    return math.sqrt(max(float(exponents.var(ddof=1)) - within**2, 0.0))


def scatter(exponents: Array) -> float:
    """Standard deviation of the exponents that could be fitted.

    0 without any: where noise hides them all, whatever seeds differ by counts as their own.

    >>> scatter(np.array([0.25, np.nan, 0.75])), scatter(np.array([np.nan]))
    (0.25, 0.0)
    """
    fitted = exponents[np.isfinite(exponents)]
    return float(fitted.std()) if fitted.size else 0.0


def curve(of: Pilot, exponent: float, times: Array) -> Array:
    """The pilot's distance, continued by a law of exponent p, in units of its growth D.

    [u(t) − u(t₁)]/[u(t_n) − u(t₁)] with u = [(t + τ)^p − 1]/p: every law grows by the same amount
    over the pilot's records t₁ … t_n.

    Arguments:
        of: the pilot.
        exponent: p.
        times: t, shape (time,), iterations.

    Returns:
        Distances less the first one, shape (time,).
    """
    p = np.asarray(exponent)
    start, end = growth_regressor(np.log(of.times[[0, -1]] + of.onset), p)
    return (growth_regressor(np.log(times + of.onset), p) - start) / (end - start)


def continued(of: Pilot, times: Array) -> Pilot:
    """The pilot's noise as it is at other times.

    Stationary noise stays what it is. A random walk gathers variance in proportion to the time,
    or its logarithm, that it runs for. Where the standard deviation is ∝ t^δ it is quoted at the
    geometric middle of the times, and moves with it.

    Arguments:
        of: the pilot.
        times: t, shape (time,), iterations.

    Returns:
        The pilot with other times, noise and share.
    """
    noise, share = of.noise, of.noise_share
    share *= math.exp(noise.power * float(np.log(times).mean() - np.log(of.times).mean()))
    if noise.wanders:
        clock = np.log if noise.kind == "walk_log_t" else np.asarray
        longer = float(np.ptp(clock(times)) / np.ptp(clock(of.times)))
        noise, share = replace(noise, nugget=noise.nugget / longer), share * math.sqrt(longer)
    return replace(of, times=times, noise=noise, noise_share=share)
