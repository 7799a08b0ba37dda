"""Laws that are compared on one curve: d = a + b f(t; θ), b ≥ 0, with at most two shapes θ.

Every formula is that of `diffusion.laws`; here stands what a single curve leaves free of it.
Whatever only scales the distance goes into b, and all laws have the offset a, because a distance
from initial weights starts with a transient that none of them describes. Rates and times enter as
logarithms. The fits are least squares in the metric of a noise model.

The curve d = a + b f(t; θ) is linear in a and b, which are eliminated (variable projection); θ is
searched on its grid of starts and then moved to the minimum by `scipy.optimize.least_squares`.

References:
    Golub and Pereyra (1973), SIAM J. Numer. Anal. 10, 413: variable projection.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

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
_UNIT = np.array(1.0)


@dataclass(frozen=True)
class Candidate:
    """A law d = a + b f(t; θ).

    Attributes:
        name: the law's name.
        curve: f, from times (time,) and θ (shape,).
        axes: values of each θ to start from, for given times; their ends bound it.
    """

    name: str
    curve: Callable[[Array, Array], Array]
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


def _log(times: Array, shape: Array) -> Array:
    return growth_regressor(np.log(times), np.array(0.0))


def _onset_log(times: Array, shape: Array) -> Array:
    return SHIFTED_LOG.value(times, scale=_UNIT, onset=np.exp(shape[0]))


def _power(times: Array, shape: Array) -> Array:
    return growth_regressor(np.log(times / times[0]), shape[0])


def _saturation(times: Array, shape: Array) -> Array:
    return SATURATION.value(times, limit=_UNIT, time_constant=np.exp(shape[0]))


def _log_power(times: Array, shape: Array) -> Array:
    # The unit of time is the first record's: with it free the law would mimic any power.
    return LOG_POWER.value(times, scale=_UNIT, time_unit=times[0], alpha=2.0 / shape[0])


def _curvatures(shape: Array) -> Array:
    # As np.geomspace, which checks for four times as long as it takes; searches ask thousands.
    ends = np.exp(shape)
    low, high = np.log10(ends)
    exponents = np.arange(_MODES) * ((high - low) / (_MODES - 1)) + low
    exponents[-1] = high
    curvatures = np.power(10.0, exponents)
    curvatures[[0, -1]] = ends
    return curvatures


def _quadratic(times: Array, shape: Array) -> Array:
    return QUADRATIC.value(
        times, learning_rate=_UNIT, curvatures=_curvatures(shape), start=np.ones(_MODES)
    )


def _noisy_quadratic(times: Array, shape: Array) -> Array:
    curvatures = _curvatures(shape)
    return NOISY_QUADRATIC.value(
        times,
        learning_rate=_UNIT,
        batch_size=_UNIT,
        curvatures=curvatures,
        start=np.zeros(_MODES),
        noise=curvatures,
    )


def _scale_invariant(times: Array, shape: Array) -> Array:
    # ‖w‖⁴ doubles after the time e^θ: 2 (ηg)² e^θ = 1 at n = 1.
    force = np.exp(-shape[0] / 2) / np.sqrt(2)
    return SCALE_INVARIANT.value(times, learning_rate=_UNIT, gradient_norm=force, start_norm=_UNIT)


def _scale_invariant_decay(times: Array, shape: Array) -> Array:
    force = np.exp(-shape[0] / 2) / np.sqrt(2)
    return SCALE_INVARIANT_DECAY.value(
        times,
        learning_rate=_UNIT,
        weight_decay=np.exp(-shape[1]),
        gradient_norm=force,
        start_norm=_UNIT,
    )


def _separable(times: Array, shape: Array) -> Array:
    return SEPARABLE.value(times, learning_rate=np.exp(-shape[0]), margin=_UNIT)


def _crossover(times: Array, shape: Array) -> Array:
    # Drift overtakes diffusion after the time e^θ.
    return CROSSOVER.value(
        times,
        learning_rate=_UNIT,
        batch_size=_UNIT,
        gradient_sq=np.exp(-shape[0]),
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


_STEPS = 15  # of a search after the grid, at most
_TRIED = 3  # starts, the best of the grid


@dataclass(frozen=True)
class LawFit:
    """One law fitted to one curve.

    Attributes:
        shape: θ, shape (shape,).
        offset: a, unit of the distance.
        slope: b ≥ 0, unit of the distance.
    """

    shape: Array
    offset: float
    slope: float

    def predict(self, candidate: Candidate, times: Array) -> Array:
        """A + b f(t; θ), shape (time,); the first time must be the first that was fitted."""
        return self.offset + self.slope * candidate.curve(times, self.shape)


@dataclass(frozen=True)
class Search:
    """A law's curves at its starts, for all curves recorded at the same times.

    Attributes:
        candidate: the law.
        times: t, shape (time,).
        white: W with W'W = C⁻¹, shape (time, time), or None for independent noise.
        starts: θ, shape (start, shape).
        directions: unit vectors along the part of each curve that no offset takes up, whitened,
            (start, time).
        ones: the whitened constant, of length 1, (time,).
    """

    candidate: Candidate
    times: Array
    white: Array | None
    starts: Array
    directions: Array
    ones: Array


def search(candidate: Candidate, times: Array, white: Array | None = None) -> Search:
    """Preparation of a law's fits at given times.

    Arguments:
        candidate: the law.
        times: t > 0, shape (time,), increasing, iterations.
        white: W with W'W = C⁻¹, shape (time, time); by default the noise is independent.

    Returns:
        The search.
    """
    starts = candidate.starts(times)
    curves = np.stack([candidate.curve(times, shape) for shape in starts])
    ones = np.ones(times.size)
    if white is not None:
        curves, ones = curves @ white.T, white @ ones
    ones = ones / np.linalg.norm(ones)
    curves -= np.outer(curves @ ones, ones)
    length = np.linalg.norm(curves, axis=1, keepdims=True)
    directions = curves / np.where(length > 0, length, 1.0)
    return Search(candidate, times, white, starts, directions, ones)


def fit_law(of: Search, values: Array) -> LawFit:
    """The law fitted to one curve.

    (a, b, θ) = argmin |W (d − a − b f(t; θ))|, b ≥ 0.

    Arguments:
        of: the search at the recorded times.
        values: d, shape (time,).

    Returns:
        The fit.
    """
    aligned = np.argsort(-(of.directions @ _whitened(of, values)))[:_TRIED]
    shape = _polished(of, values, of.starts[aligned])
    offset, slope = _linear(of, values, of.candidate.curve(of.times, shape))
    return LawFit(shape, offset, slope)


def _polished(of: Search, values: Array, starts: Array) -> Array:
    """θ at the lowest of the minima that the starts lead to."""
    if starts.shape[1] == 0:
        return starts[0]
    low, high = of.candidate.bounds(of.times)
    found = [
        least_squares(
            lambda shape: whitened_residuals(of, values, shape),
            np.clip(start, low + 1e-6, high - 1e-6),
            bounds=(low, high),
            x_scale=high - low,
            max_nfev=_STEPS,
        )
        for start in starts
    ]
    return min(found, key=lambda each: each.cost).x


def whitened_residuals(of: Search, values: Array, shape: Array) -> Array:
    """Whitened residuals at given θ, with a and b at their best, shape (time,)."""
    curve = of.candidate.curve(of.times, shape)
    offset, slope = _linear(of, values, curve)
    return _whitened(of, values - offset - slope * curve)


def _whitened(of: Search, values: Array) -> Array:
    return values if of.white is None else of.white @ values


def _linear(of: Search, values: Array, curve: Array) -> tuple[float, float]:
    """A and b, the latter 0 where the curve would have to fall."""
    white, data = _whitened(of, curve), _whitened(of, values)
    rising = white - (white @ of.ones) * of.ones
    length = float(rising @ rising)
    slope = max(float(rising @ data) / length, 0.0) if length > 0 else 0.0
    unit = _whitened(of, np.ones(of.times.size))
    return float(unit @ (data - slope * white)) / float(unit @ unit), slope
