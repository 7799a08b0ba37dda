"""Laws that are compared on one curve: d = a + b f(t; θ), b ≥ 0, with at most two shapes θ.

Every formula is that of `diffusion.laws`; here stands what a single curve leaves free of it.
Whatever only scales the distance goes into b, and all laws have the offset a, because a distance
from initial weights starts with a transient that none of them describes. Rates and times enter as
logarithms.

The curve d = a + b f(t; θ) is linear in a and b, which are eliminated (variable projection); θ is
searched on its grid of starts and then moved to the minimum by the method of Levenberg and
Marquardt, for all curves and starts at once.

References:
    Golub and Pereyra (1973), SIAM J. Numer. Anal. 10, 413: variable projection. Marquardt (1963),
    SIAM J. Appl. Math. 11, 431.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ultraslow.diffusion.laws import (
    CROSSOVER,
    LOG_POWER,
    NOISY_QUADRATIC,
    QUADRATIC,
    SATURATION,
    SCALE_INVARIANT,
    SCALE_INVARIANT_DECAY,
    SEPARABLE,
    SHIFTED_LOG,
    growth_regressor,
)

Array = NDArray[np.float64]

_MODES = 30  # of the quadratic laws; their curvatures are even in ln h
# Of each mode, the shares of the logarithms of the smallest and the largest ηh.
_EVEN = np.stack([np.linspace(1, 0, _MODES), np.linspace(0, 1, _MODES)])
_UNIT = np.array(1.0)


@dataclass(frozen=True)
class Candidate:
    """A law d = a + b f(t; θ).

    Attributes:
        name: the law's name.
        curves: f, from times (time,) and many θ (θ, shape), of shape (θ, time).
        axes: values of each θ to start from, for given times; their ends bound it.
    """

    name: str
    curves: Callable[[Array, Array], Array]
    axes: Callable[[Array], tuple[Array, ...]]

    def starts(self, times: Array) -> Array:
        """Every combination of the axes' values, shape (start, shape)."""
        return np.array(list(product(*self.axes(times))), dtype=np.float64)

    def bounds(self, times: Array) -> tuple[Array, Array]:
        """Smallest and largest θ, each of shape (shape,)."""
        axes = self.axes(times)
        return np.array([axis[0] for axis in axes]), np.array([axis[-1] for axis in axes])

    @property
    def parameters(self) -> int:
        """Number of free parameters, a and b among them."""
        return 2 + len(self.axes(np.array([1.0, 10.0])))


def _column(shapes: Array, place: int = 0) -> Array:
    """One of the shapes, to be broadcast against times."""
    return shapes[:, place, None]


def _log(times: Array, shapes: Array) -> Array:
    return np.tile(growth_regressor(np.log(times), np.array(0.0)), (len(shapes), 1))


def _onset_log(times: Array, shapes: Array) -> Array:
    return SHIFTED_LOG.value(times, scale=_UNIT, onset=np.exp(_column(shapes)))


def _power(times: Array, shapes: Array) -> Array:
    return growth_regressor(np.log(times / times[0]), _column(shapes))


def _saturation(times: Array, shapes: Array) -> Array:
    return SATURATION.value(times, limit=_UNIT, time_constant=np.exp(_column(shapes)))


def _log_power(times: Array, shapes: Array) -> Array:
    # The unit of time is the first record's: with it free the law would mimic any power.
    return LOG_POWER.value(times, scale=_UNIT, time_unit=times[0], alpha=2.0 / _column(shapes))


def _curvatures(shapes: Array) -> Array:
    """ηh of the modes, shape (θ, mode)."""
    return np.asarray(np.exp(shapes @ _EVEN))


def _quadratic(times: Array, shapes: Array) -> Array:
    return QUADRATIC.value(
        times, learning_rate=_UNIT, curvatures=_curvatures(shapes), start=np.ones(_MODES)
    )


def _noisy_quadratic(times: Array, shapes: Array) -> Array:
    curvatures = _curvatures(shapes)
    return NOISY_QUADRATIC.value(
        times,
        learning_rate=_UNIT,
        batch_size=_UNIT,
        curvatures=curvatures,
        start=np.zeros(_MODES),
        noise=curvatures,
    )


def _scale_invariant(times: Array, shapes: Array) -> Array:
    # ‖w‖⁴ doubles after the time e^θ: 2 (ηg)² e^θ = 1 at n = 1.
    force = np.exp(-_column(shapes) / 2) / np.sqrt(2)
    return SCALE_INVARIANT.value(times, learning_rate=_UNIT, gradient_norm=force, start_norm=_UNIT)


def _scale_invariant_decay(times: Array, shapes: Array) -> Array:
    force = np.exp(-_column(shapes) / 2) / np.sqrt(2)
    return SCALE_INVARIANT_DECAY.value(
        times,
        learning_rate=_UNIT,
        weight_decay=np.exp(-_column(shapes, 1)),
        gradient_norm=force,
        start_norm=_UNIT,
    )


def _separable(times: Array, shapes: Array) -> Array:
    return SEPARABLE.value(times, learning_rate=np.exp(-_column(shapes)), margin=_UNIT)


def _crossover(times: Array, shapes: Array) -> Array:
    # Drift overtakes diffusion after the time e^θ.
    return CROSSOVER.value(
        times,
        learning_rate=_UNIT,
        batch_size=_UNIT,
        gradient_sq=np.exp(-_column(shapes)),
        noise_trace=_UNIT,
    )


def _delays(count: int, *, before: float = 1.0, after: float = 30.0) -> Callable[[Array], Array]:
    """Logarithms of times from `before` first ones to `after` last ones."""
    return lambda times: np.log(np.geomspace(before * times[0], after * times[-1], count))


def _spectra(times: Array) -> tuple[Array, Array]:
    """Starts for the logarithms of the smallest and the largest ηh."""
    slowest = np.linspace(np.log(0.01 / times[-1]), np.log(0.5 / times[0] / 3), 12)
    fastest = np.linspace(np.log(3 / times[-1]), np.log(min(0.9, 30 / times[0])), 10)
    return slowest, fastest


CANDIDATES = (
    Candidate("log", _log, lambda times: ()),
    Candidate(
        "log with onset", _onset_log, lambda times: (_delays(40, before=0.01, after=1)(times),)
    ),
    Candidate("power", _power, lambda times: (np.linspace(0.02, 1.5, 40),)),
    Candidate("saturating power", _power, lambda times: (np.linspace(-2.0, -0.02, 40),)),
    Candidate("exponential saturation", _saturation, lambda times: (_delays(40)(times),)),
    Candidate("power of the log", _log_power, lambda times: (np.linspace(0.2, 4.0, 40),)),
    Candidate("N1 quadratic", _quadratic, _spectra),
    Candidate("N2 noisy quadratic", _noisy_quadratic, _spectra),
    Candidate("N3 scale-invariant", _scale_invariant, lambda times: (_delays(40)(times),)),
    Candidate(
        "N4 scale-invariant with decay",
        _scale_invariant_decay,
        lambda times: (_delays(12)(times), _delays(12)(times)),
    ),
    Candidate(
        "N5 separable", _separable, lambda times: (_delays(40, before=0.01, after=1)(times),)
    ),
    Candidate("N7 diffusion and drift", _crossover, lambda times: (_delays(40)(times),)),
)


def candidate(name: str) -> Candidate:
    """The candidate of that name.

    Raises:
        ValueError: when there is none.

    >>> candidate("log").parameters
    2
    """
    found = [law for law in CANDIDATES if law.name == name]
    if not found:
        names = ", ".join(law.name for law in CANDIDATES)
        raise ValueError(f"name: found {name!r}, expected one of {names}")
    return found[0]


_TRIED = 3  # starts, the best of the grid
_STEPS = 60  # of a search after the grid, at most
_APART = 1e-6  # of two θ that tell a derivative, as a share of the box
_STILL = 1e-9  # a search ends at a step below that share, or when it leaves that much less
_DAMPED, _EASED, _RAISED = 1e-3, 0.2, 5.0  # at first; after a step that helped; after another


@dataclass(frozen=True)
class LawFits:
    """One law fitted to each of some curves.

    Attributes:
        shapes: θ, shape (curve, shape).
        offsets: a, shape (curve,), unit of the distance.
        slopes: b ≥ 0, shape (curve,), unit of the distance.
    """

    shapes: Array
    offsets: Array
    slopes: Array

    def predict(self, candidate: Candidate, times: Array) -> Array:
        """A + b f(t; θ), shape (curve, time); the first time must be the first of the fit."""
        return self.offsets[:, None] + self.slopes[:, None] * candidate.curves(times, self.shapes)


def fit_law(candidate: Candidate, times: Array, values: Array) -> LawFits:
    """A law fitted to curves, each by itself.

    (a, b, θ) = argmin |d − a − b f(t; θ)|, b ≥ 0.

    Arguments:
        candidate: the law.
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (curve, time).

    Returns:
        The fits.

    >>> times = np.geomspace(1, 1000, 25)
    >>> fit_law(candidate("power"), times, times[None] ** 0.3).shapes.round(6)
    array([[0.3]])
    """
    starts = candidate.starts(times)
    aligned = _directions(candidate, times, starts) @ values.T  # (start, curve)
    best = np.argsort(-aligned, axis=0)[:_TRIED]
    chosen = _polished(candidate, times, values, starts[best.T])
    curves = candidate.curves(times, chosen)
    mean = curves.mean(axis=1)
    rising = curves - mean[:, None]
    along = (rising * values).sum(axis=1)
    squares = (rising**2).sum(axis=1)
    slopes = np.maximum(along / np.where(squares > 0, squares, np.inf), 0.0)
    return LawFits(chosen, values.mean(axis=1) - slopes * mean, slopes)


def _directions(candidate: Candidate, times: Array, shapes: Array) -> Array:
    """Unit vectors along the part of each curve that no offset takes up, shape (θ, time)."""
    return _direction(candidate.curves(times, shapes))


def _direction(curves: Array) -> Array:
    """Curves without their mean and of length 1; 0 where they are constant."""
    rising = curves - curves.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rising, axis=1, keepdims=True)
    return rising / np.where(length > 0, length, 1.0)


def _polished(candidate: Candidate, times: Array, values: Array, starts: Array) -> Array:
    """θ at the lowest of the minima that the starts (curve, tried, shape) lead to, (curve, shape).

    In shares of the box of θ. Steps are cut at its faces; a shape that is on one and drawn
    outward does not move.
    """
    if starts.shape[2] == 0:
        return starts[:, 0]
    low, high = candidate.bounds(times)
    data = np.repeat(_direction(values), starts.shape[1], axis=0)
    count = starts.shape[2]

    def residuals(place: Array) -> Array:
        """What is left of each curve at its own θ, shape (search, time)."""
        unit = _directions(candidate, times, low + place * (high - low))
        along = np.maximum((unit * data).sum(axis=1, keepdims=True), 0.0)
        return data - along * unit

    place = (starts.reshape(-1, count) - low) / (high - low)
    left = residuals(place)
    cost = (left**2).sum(axis=1)
    damping, ended = np.full(len(place), _DAMPED), np.zeros(len(place), dtype=bool)
    for _ in range(_STEPS):
        # Forward differences, backward at the upper face.
        apart = np.where(place + _APART > 1, -_APART, _APART)
        slopes = np.stack(
            [
                (residuals(place + apart * axis) - left) / (apart @ axis)[:, None]
                for axis in np.eye(count)
            ],
            axis=2,
        )
        downhill = -(slopes * left[:, :, None]).sum(axis=1)
        held = ((place <= 0) & (downhill < 0)) | ((place >= 1) & (downhill > 0))
        slopes = np.where(held[:, None, :], 0.0, slopes)
        square = np.swapaxes(slopes, 1, 2) @ slopes
        ridge = (damping[:, None] * np.einsum("nii->ni", square) + held + 1e-12)[..., None]
        step = np.linalg.solve(
            square + ridge * np.eye(count), np.where(held, 0, downhill)[..., None]
        )
        moved = np.clip(place + step[..., 0], 0.0, 1.0)
        then = residuals(moved)
        now = (then**2).sum(axis=1)
        lower = now < cost
        ended |= np.abs(moved - place).max(axis=1) < _STILL
        ended |= lower & (now > (1 - _STILL) * cost)
        place, left = np.where(lower[:, None], moved, place), np.where(lower[:, None], then, left)
        cost = np.where(lower, now, cost)
        damping = damping * np.where(lower, _EASED, _RAISED)
        if ended.all():
            break
    best = cost.reshape(starts.shape[:2]).argmin(axis=1)
    return low + place.reshape(starts.shape)[np.arange(len(best)), best] * (high - low)
