"""Growth laws compared by what they predict: rolling origins in log time.

Each law is fitted to the records up to an origin and predicts those beyond, up to twice, thrice or
ten times the origin. In-sample fits of a logarithm and of a small power are all but equal; a
decade ahead they are not. Errors of one run at different origins depend on each other, so laws are
told apart across runs, with one mean error a run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffusion.laws import growth_regressor

from .replication import AcrossRuns, across_runs

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A law d = a + b f(t; θ) with one shape parameter θ on a grid.

    Attributes:
        name: the law's name.
        curve: f as a function of times, shape (time,), and θ, shape (θ, 1).
        grid: the values of θ for given times.
    """

    name: str
    curve: Callable[[Array, Array], Array]
    grid: Callable[[Array], Array]


def _log(times: Array, shape: Array) -> Array:
    return np.log(times) + 0 * shape


def _onset_log(times: Array, shape: Array) -> Array:
    return np.log(times + shape)


def _power(times: Array, shape: Array) -> Array:
    return growth_regressor(np.log(times / times[0]), shape)


def _saturation(times: Array, shape: Array) -> Array:
    return -np.expm1(-times / shape)


def _log_power(times: Array, shape: Array) -> Array:
    return np.log1p(times / times[0]) ** shape


def _scale_invariant(times: Array, shape: Array) -> Array:
    return (1 + times / shape) ** 0.25


def _crossover(times: Array, shape: Array) -> Array:
    return np.sqrt(times + times**2 / shape)


def _delays(times: Array) -> Array:
    return np.geomspace(times[0], 30 * times[-1], 60)


# Diffusion with drift and scale-invariant weights are null laws: slow growth without any
# landscape.
CANDIDATES = (
    Candidate("log", _log, lambda times: np.zeros(1)),
    Candidate("log with onset", _onset_log, lambda times: np.append(0.0, _delays(times)[:40])),
    Candidate("power", _power, lambda times: np.linspace(0.02, 1.5, 75)),
    Candidate("saturating power", _power, lambda times: np.linspace(-2.0, -0.02, 75)),
    Candidate("exponential saturation", _saturation, _delays),
    Candidate("power of the log", _log_power, lambda times: np.linspace(0.2, 4.0, 77)),
    Candidate("scale-invariant weights", _scale_invariant, _delays),
    Candidate("diffusion and drift", _crossover, _delays),
)


@dataclass(frozen=True)
class Forecasts:
    """Errors of prediction beyond rolling origins.

    Attributes:
        laws: names, of length (law,).
        horizons: how many times the origin the predictions reach, (horizon,).
        errors: root mean squared error over the growth up to the origin, mean over origins,
            (law, run, horizon); NaN where no record lies that far.
        origins: iterations up to which laws were fitted.
    """

    laws: tuple[str, ...]
    horizons: tuple[float, ...]
    errors: Array
    origins: Array


def rolling_origin(
    times: Array,
    values: Array,
    *,
    candidates: Sequence[Candidate] = CANDIDATES,
    horizons: Sequence[float] = (2.0, 3.0, 10.0),
    origins: int = 6,
) -> Forecasts:
    """Errors of each law's predictions from origins even in ln t.

    Each law is fitted by least squares to the records in (0, T], θ on its grid, and predicts those
    in (T, hT].

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (run, time), finite.
        candidates: the laws.
        horizons: h > 1.
        origins: how many T, from the tenth record on up to the last T that leaves a record.

    Returns:
        The errors.

    Raises:
        ValueError: with fewer than 12 records or a horizon of 1 or less.
    """
    if times.size < 12:
        raise ValueError(f"times: found {times.size} records, expected at least 12")
    if min(horizons) <= 1:
        raise ValueError(f"horizons: found {min(horizons):g}, expected values above 1")
    marks = np.geomspace(times[9], times[-1] / min(horizons), origins)
    ends = np.unique(np.maximum(np.searchsorted(times, marks, side="right"), 10))
    ends = ends[ends < times.size]
    found = [
        [_errors(candidate, times, values, int(end), horizons) for end in ends]
        for candidate in candidates
    ]
    errors = _mean_known(np.array(found))
    names = tuple(candidate.name for candidate in candidates)
    return Forecasts(names, tuple(horizons), errors, times[ends - 1])


def _mean_known(errors: Array) -> Array:
    """Mean over origins, axis 1, of those that are known."""
    known = np.isfinite(errors)
    total, count = np.where(known, errors, 0.0).sum(axis=1), known.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _errors(
    candidate: Candidate, times: Array, values: Array, end: int, horizons: Sequence[float]
) -> Array:
    """Scaled errors beyond one origin, shape (run, horizon)."""
    curves = candidate.curve(times, candidate.grid(times[:end])[:, None])
    residual = values - predictions(curves, values[:, :end])
    growth = np.ptp(values[:, :end], axis=1)
    scaled = residual / np.where(growth > 0, growth, np.nan)[:, None]
    result = np.full((values.shape[0], len(horizons)), np.nan)
    for column, horizon in enumerate(horizons):
        ahead = (times > times[end - 1]) & (times <= horizon * times[end - 1] * (1 + 1e-9))
        # A horizon that the records do not fill would compare unlike stretches.
        if ahead.any() and times[-1] >= 0.9 * horizon * times[end - 1]:
            result[:, column] = np.sqrt(np.mean(scaled[:, ahead] ** 2, axis=1))
    return result


def predictions(curves: Array, values: Array) -> Array:
    """Least-squares curve of each run, over the best of several shapes.

    Arguments:
        curves: f at all times for each θ, shape (θ, time).
        values: d at the first records, shape (run, fitted).

    Returns:
        a + b f(t; θ̂), shape (run, time).
    """
    fitted = curves[:, : values.shape[1]]
    middle = fitted.mean(axis=1, keepdims=True)
    centred = fitted - middle
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(length > 0, length, 1.0)
    inner = (values - values.mean(axis=1, keepdims=True)) @ unit.T
    best = np.abs(inner).argmax(axis=1)
    slope = inner[np.arange(best.size), best] / length[best, 0]
    return values.mean(axis=1)[:, None] + slope[:, None] * (curves[best] - middle[best])


@dataclass(frozen=True)
class Comparison:
    """How much worse each law predicts than the best one.

    Attributes:
        best: the law of least mean error over runs.
        excess: mean over runs of the error beyond the best law's, with its interval, by law.
        surviving: laws not shown to predict worse than the best, by Holm's test over laws.
    """

    best: str
    excess: dict[str, AcrossRuns]
    surviving: tuple[str, ...]


def surviving_laws(forecasts: Forecasts, *, horizon: float, level: float = 0.95) -> Comparison:
    """Laws that the runs do not show to predict worse than the best.

    The excess error of each law has one value a run; its t test is one-sided and corrected for the
    number of laws. The best law is chosen on the same runs, which makes exclusions a little too
    frequent; with fewer than two runs nothing is excluded.

    References:
        Holm (1979), Scand. J. Stat. 6, 65.

    Arguments:
        forecasts: as returned by `rolling_origin`.
        horizon: one of its horizons.
        level: 1 − probability of excluding a law that predicts as well.

    Returns:
        The comparison.

    Raises:
        ValueError: when the horizon was not forecast, or no record lay that far.
    """
    if horizon not in forecasts.horizons:
        raise ValueError(f"horizon: found {horizon:g}, expected one of {forecasts.horizons}")
    errors = forecasts.errors[:, :, forecasts.horizons.index(horizon)]
    if not np.isfinite(errors).all():
        raise ValueError(f"horizon: no records lie {horizon:g} times beyond any origin")
    best = int(errors.mean(axis=1).argmin())
    excess = {
        name: across_runs(errors[row] - errors[best], level=level)
        for row, name in enumerate(forecasts.laws)
        if row != best
    }
    worse = _holm({name: _one_sided(found) for name, found in excess.items()}, 1 - level)
    kept = tuple(name for name in forecasts.laws if name not in worse)
    return Comparison(forecasts.laws[best], excess, kept)


def _one_sided(found: AcrossRuns) -> float:
    if not np.isfinite(found.p_value):
        return 1.0
    return found.p_value / 2 if found.mean > 0 else 1 - found.p_value / 2


def _holm(p_values: dict[str, float], error: float) -> set[str]:
    """Names rejected by Holm's step-down test."""
    rejected: set[str] = set()
    for rank, name in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        if p_values[name] > error / (len(p_values) - rank):
            break
        rejected.add(name)
    return rejected
