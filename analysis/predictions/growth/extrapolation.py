"""Held-out extrapolation: whether the logarithm predicts what comes at four times the iterations.

Laws a + b·f(t; θ) are fitted by least squares to the records up to a quarter of the last iteration
and predict the rest. In-sample fits of a logarithm and of a small power are all but equal, and
predictions are not. `forecast.rolling_origin` does the same with more laws from several origins.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import SEEDS, t_interval
from ultraslow.analysis.runs import Arm, constant_rate, total_distance
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import number
from ultraslow.diffusion.laws import growth_basis

Array = NDArray[np.float64]

HORIZON = 4.0
LOGARITHM = "logarithm"
# Records to fit, and beyond.
_FITTED, _AHEAD = 10, 3


def extrapolations(study: Study) -> tuple[str, ...]:
    """In words, how far the logarithm's predictions miss, against the best other law's.

    Arguments:
        study: the runs, all with a phase of constant rate.

    Returns:
        One phrase an arm of `SEEDS` runs or more with enough records in common.
    """
    phrases = []
    for arm, names in study.arms.items():
        if len(names) >= SEEDS:
            errors = held_out_errors(*shared_curves(study.part(names).runs))
            phrases += [_phrase(arm, errors, level=study.level)] if errors else []
    return tuple(phrases)


def shared_curves(runs: Mapping[str, xr.Dataset]) -> tuple[Array, Array]:
    """Iterations that all runs recorded at a constant rate, and the distances there.

    Arguments:
        runs: recordings by node name.

    Returns:
        t `(time,)` and d `(run, time)`, where all d are finite.
    """
    stretches = [constant_rate(run).iteration for run in runs.values()]
    times = stretches[0]
    for stretch in stretches[1:]:
        times = np.intersect1d(times, stretch)
    values = np.array([total_distance(run).sel(iteration=times).values for run in runs.values()])
    finite = np.isfinite(values).all(axis=0)
    return times[finite].astype(float), values[:, finite]


def held_out_errors(times: Array, values: Array) -> dict[str, Array]:
    """Root mean squared error of each law's predictions, over the growth it was fitted to.

    Arguments:
        times: t `(time,)`, positive and increasing.
        values: d `(run, time)`.

    Returns:
        Errors `(run,)` by law; empty with too few records on either side of the origin, or where
        a run does not move before it.
    """
    fitted = int(np.searchsorted(times, times[-1] / HORIZON, side="right")) if times.size else 0
    if fitted < _FITTED or times.size - fitted < _AHEAD:
        return {}
    growth = np.ptp(values[:, :fitted], axis=1)
    if not (growth > 0).all():
        return {}
    errors = {}
    for name, curves in _laws(times, times[fitted - 1]).items():
        missed = (values - _predicted(curves, values, fitted))[:, fitted:]
        errors[name] = np.sqrt(np.mean(missed**2, axis=1)) / growth
    return errors


def _laws(times: Array, origin: float) -> dict[str, Array]:
    """f(t; θ) of each law on a grid of θ, shape (θ, time)."""
    onsets = np.append(0.0, np.geomspace(times[0] / 10, origin, 30))
    delays = np.geomspace(times[0], 30 * origin, 40)
    rising, falling = np.linspace(0.02, 1.5, 75), np.linspace(-2.0, -0.02, 100)
    return {
        LOGARITHM: np.array([growth_basis(times, exponent=0.0, onset=tau) for tau in onsets]),
        "power": np.array([growth_basis(times, exponent=p) for p in rising]),
        "saturating power": np.array([growth_basis(times, exponent=p) for p in falling]),
        "exponential approach": -np.expm1(-times / delays[:, None]),
    }


def _predicted(curves: Array, values: Array, fitted: int) -> Array:
    """A + b·f(t; θ̂) of each run, by least squares over the first records, shape (run, time)."""
    middle = curves[:, :fitted].mean(axis=1, keepdims=True)
    centred = curves - middle
    length = np.linalg.norm(centred[:, :fitted], axis=1)
    level = values[:, :fitted].mean(axis=1, keepdims=True)
    inner = (values[:, :fitted] - level) @ (centred[:, :fitted] / length[:, None]).T
    best = np.abs(inner).argmax(axis=1)
    slope = inner[np.arange(best.size), best] / length[best]
    return level + slope[:, None] * centred[best]


def _phrase(arm: Arm, errors: Mapping[str, Array], *, level: float) -> str:
    own = errors[LOGARITHM]
    others = {name: found for name, found in errors.items() if name != LOGARITHM}
    best = min(others, key=lambda name: float(others[name].mean()))
    # The best law is chosen on the same runs: the level allows for their number.
    excess = t_interval(own - others[best], level=1 - (1 - level) / len(others))
    word = "worse" if excess.low > 0 else "better" if excess.high < 0 else "not told to be worse"
    return (
        f"extrapolated to {number(HORIZON)} times the iterations at {arm}, the logarithm misses "
        f"by {own.mean():.1%} of the growth, {word} than the best other law ({best}, "
        f"{others[best].mean():.1%}; difference {excess.ends()})"
    )
