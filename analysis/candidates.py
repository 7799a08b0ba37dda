"""Laws that are compared on one curve: d = a + b f(t; θ), b ≥ 0, with at most two shapes θ.

Every formula is that of `diffusion.laws` or `diffusion.null_laws`; here stands what a single curve
leaves free of it. Whatever only scales the distance goes into b, and all laws have the offset a,
because a distance from initial weights starts with a transient that none of them describes. Rates
and times enter as logarithms.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from diffusion.laws import LOG_POWER, SATURATION, SHIFTED_LOG, growth_regressor
from diffusion.null_laws import (
    CROSSOVER,
    NOISY_QUADRATIC,
    QUADRATIC,
    SCALE_INVARIANT,
    SCALE_INVARIANT_DECAY,
    SEPARABLE,
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
    return np.geomspace(np.exp(shape[0]), np.exp(shape[1]), _MODES)


def _quadratic(times: Array, shape: Array) -> Array:
    return QUADRATIC.value(
        times, learning_rate=_UNIT, curvatures=_curvatures(shape), start=np.ones(_MODES)
    )


def _noisy_quadratic(times: Array, shape: Array) -> Array:
    return NOISY_QUADRATIC.value(
        times,
        learning_rate=_UNIT,
        batch_size=_UNIT,
        curvatures=_curvatures(shape),
        start=np.zeros(_MODES),
        noise=_curvatures(shape),
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
