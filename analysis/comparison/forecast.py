"""Growth laws compared by what they predict: rolling origins in log time.

Each law is fitted to the records up to an origin and predicts those beyond, up to twice, thrice or
ten times the origin. In-sample fits of a logarithm and of a small power are all but equal; a
decade ahead they are not. Errors of one run at different origins depend on each other, so laws are
told apart across runs, with one mean error a run; the records should be of one learning rate
(`runs.readings.constant_rate`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from ultraslow.analysis.growth import check_curve
from ultraslow.analysis.intervals import Contrast, Interval, paired

from .laws import CANDIDATES, Candidate, fit_law, search

Array = NDArray[np.float64]

LEAST_FITTED = 10  # records up to the first origin


@dataclass(frozen=True)
class Forecasts:
    """Errors of prediction beyond rolling origins.

    Attributes:
        laws: names, of length (law,).
        horizons: how many times the origin the predictions reach, (horizon,).
        by_origin: root mean squared error over the growth up to the origin, (law, run, origin,
            horizon); NaN where no record lies that far.
        origins: iterations up to which laws were fitted, (origin,).
    """

    laws: tuple[str, ...]
    horizons: tuple[float, ...]
    by_origin: Array
    origins: Array

    @property
    def errors(self) -> Array:
        """Mean over origins, (law, run, horizon); NaN where no origin has records that far."""
        known = np.isfinite(self.by_origin)
        total, count = np.where(known, self.by_origin, 0.0).sum(axis=2), known.sum(axis=2)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def at(self, horizon: float) -> Array:
        """Errors at one horizon, (law, run).

        Raises:
            ValueError: when the horizon was not forecast, or no record lay that far.
        """
        if horizon not in self.horizons:
            raise ValueError(f"horizon: found {horizon:g}, expected one of {self.horizons}")
        found = self.errors[:, :, self.horizons.index(horizon)]
        if not np.isfinite(found).all():
            raise ValueError(f"horizon: no records lie {horizon:g} times beyond any origin")
        return found


def rolling_origin(
    times: Array,
    values: Array,
    *,
    candidates: Sequence[Candidate] = CANDIDATES,
    horizons: Sequence[float] = (2.0, 3.0, 10.0),
    origins: int = 6,
) -> Forecasts:
    """Errors of each law's predictions from origins even in ln t.

    Each law is fitted by least squares to the records in (0, T] and predicts those in (T, hT].

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (run, time), finite.
        candidates: the laws.
        horizons: h > 1.
        origins: how many T, from the tenth record on up to the last T that leaves a record.

    Returns:
        The errors.

    Raises:
        ValueError: with fewer than 12 records, records that are not finite, a run that is constant
            up to the first origin, shapes that differ, or a horizon of 1 or less.
    """
    if not candidates or origins < 1 or len(horizons) == 0:
        raise ValueError("candidates, horizons, origins: expected at least one of each")
    _check(times, values, horizons)
    marks = np.geomspace(times[LEAST_FITTED - 1], times[-1] / min(horizons), origins)
    ends = np.searchsorted(times, marks * (1 + 1e-9), side="right")
    ends = np.unique(np.maximum(ends, LEAST_FITTED))
    ends = ends[ends < times.size]
    found = [
        [_errors(candidate, times, values, int(end), horizons) for end in ends]
        for candidate in candidates
    ]
    names = tuple(candidate.name for candidate in candidates)
    by_origin = np.array(found).transpose(0, 2, 1, 3)
    return Forecasts(names, tuple(horizons), by_origin, times[ends - 1])


def _check(times: Array, values: Array, horizons: Sequence[float]) -> None:
    if times.size < LEAST_FITTED + 2:
        least = LEAST_FITTED + 2
        raise ValueError(f"times: found {times.size} records, expected at least {least}")
    if values.ndim != 2 or values.shape[1] != times.size or not values.size:
        raise ValueError(f"values: found shape {values.shape}, expected (run, {times.size})")
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise ValueError(f"values: found {count} that are not finite, expected none")
    check_curve(times)
    constant = np.flatnonzero(np.ptp(values[:, :LEAST_FITTED], axis=1) == 0)
    if constant.size:
        # Errors are relative to that growth.
        raise ValueError(
            f"values: run {constant[0]} does not change over the first {LEAST_FITTED} records"
        )
    if min(horizons) <= 1:
        raise ValueError(f"horizons: found {min(horizons):g}, expected values above 1")


def _errors(
    candidate: Candidate, times: Array, values: Array, end: int, horizons: Sequence[float]
) -> Array:
    """Scaled errors beyond one origin, shape (run, horizon)."""
    prepared = search(candidate, times[:end])
    curves = [fit_law(prepared, row[:end]).predict(candidate, times) for row in values]
    growth = np.ptp(values[:, :end], axis=1)
    scaled = (values - np.array(curves)) / np.where(growth > 0, growth, np.nan)[:, None]
    result = np.full((values.shape[0], len(horizons)), np.nan)
    for column, horizon in enumerate(horizons):
        ahead = (times > times[end - 1]) & (times <= horizon * times[end - 1] * (1 + 1e-9))
        # A horizon that the records do not fill would compare unlike stretches.
        if ahead.any() and times[-1] >= 0.9 * horizon * times[end - 1]:
            result[:, column] = np.sqrt(np.mean(scaled[:, ahead] ** 2, axis=1))
    return result


@dataclass(frozen=True)
class Comparison:
    """How much worse each law predicts than the best one.

    Attributes:
        best: the law of least mean error over runs.
        excess: mean over runs of the error beyond the best law's, with its interval, by law.
        surviving: laws not shown to predict worse than the best, by Holm's test over laws.
    """

    best: str
    excess: dict[str, Interval]
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
    errors = forecasts.at(horizon)
    best = int(errors.mean(axis=1).argmin())
    excess = {
        name: paired(errors[row] - errors[best])
        for row, name in enumerate(forecasts.laws)
        if row != best
    }
    p_values = [_one_sided(found) for found in excess.values()]
    rejected = multipletests(p_values, 1 - level, method="holm")[0] if p_values else ()
    worse = {name for name, told in zip(excess, rejected, strict=True) if told}
    kept = tuple(name for name in forecasts.laws if name not in worse)
    intervals = {name: found.interval(level) for name, found in excess.items()}
    return Comparison(forecasts.laws[best], intervals, kept)


def _one_sided(found: Contrast) -> float:
    if not np.isfinite(found.p_value):
        return 1.0
    return found.p_value / 2 if found.value > 0 else 1 - found.p_value / 2
