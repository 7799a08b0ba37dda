"""Growth laws as values: what the distance d(t) = ‖w_t − w_0‖ would be, with sources.

A law knows its parameters, its formula and its derivative. `LAWS` holds the laws that are fitted
to runs; the null laws, which explain slow growth without a random landscape, are in `null_laws`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import hyp2f1

from ultraslow.diffusion._validation import all_positive, finite, numbers, positive

from .law import Law, Parameter

Array = NDArray[np.float64]

_FAR = 1e6  # (t/t_c)^(qm) of a late logarithm


def growth_basis(times: ArrayLike, *, exponent: float, onset: float = 0.0) -> Array:
    """The transformed time of the growth family.

        u(t) = [(t + τ₀)^p − 1]/p,    u = ln(t + τ₀) at p = 0

    Continuous in p: p = 0 is the logarithm, ½ diffusion, 1 ballistic motion, p < 0 saturation.

    Arguments:
        times: t `(time,)`, with t + τ₀ > 0, iterations.
        exponent: p.
        onset: τ₀, iterations.

    Returns:
        u `(time,)`.

    Raises:
        ValueError: when t + τ₀ is not positive somewhere, or p not finite.

    References:
        Jeffreys (1958), Geophysical Journal 1, 92, as a creep law; Mainardi and Spada (2012),
        Rheologica Acta 51, 783.

    >>> growth_basis([1.0, 4.0], exponent=0.5)
    array([0., 2.])
    """
    shifted = numbers(times, "times") + finite(onset, "onset")
    log_time = np.log(all_positive(shifted, "times + onset"))
    return growth_regressor(log_time, np.array(finite(exponent, "exponent")))


def growth_regressor(log_time: Array, exponent: Array) -> Array:
    """The transformed time of the growth family, from the logarithm of time.

        u(ℓ) = (e^{pℓ} − 1)/p,    u = ℓ at p = 0

    Arguments:
        log_time: ℓ = ln(t + τ₀), any shape.
        exponent: p, broadcast against `log_time`.

    Returns:
        u, of the broadcast shape.

    References:
        Box and Tidwell (1962), Technometrics 4, 531: it transforms the regressor and not the
        distance, so that likelihoods at different p compare without a Jacobian.

    >>> growth_regressor(np.log([1.0, 4.0]), np.array([[0.5], [1.0]])).round(12).tolist()
    [[0.0, 2.0], [0.0, 3.0]]
    """
    at_zero = exponent == 0
    power = np.where(at_zero, 1.0, exponent)
    transformed = np.expm1(power * log_time) / power
    return np.where(at_zero, log_time, transformed) if np.any(at_zero) else transformed


def late_logarithm(
    times: ArrayLike, *, exponent: float, settled: float, sharpness: float
) -> Array:
    """A distance that grows as a power at first and becomes a logarithm.

        dd/d ln t = x^q / (1 + x^(qm))^(1/m),    x = t/t_c
        d = (x^q/q) ₂F₁(1/m, 1/m; 1 + 1/m; −x^(qm))

    The slope in ln t rises as t^q until about t_c, and is 1 after it.

    Arguments:
        times: t `(time,)`, positive, iterations.
        exponent: q > 0, of the growth before t_c.
        settled: t_c > 0, iterations.
        sharpness: m > 0; the larger, the more abruptly the slope ceases to rise.

    Returns:
        d `(time,)`, 0 at t = 0.

    Raises:
        ValueError: when something is not positive.

    >>> late_logarithm([1e6, 1e7], exponent=0.5, settled=10.0, sharpness=2.0).round(3)
    array([12.899, 15.202])
    """
    x = all_positive(numbers(times, "times"), "times") / positive(settled, "settled")
    q, m = positive(exponent, "exponent"), positive(sharpness, "sharpness")
    return late_logarithms(x, exponent=np.array(q), sharpness=np.array(m))


def late_logarithms(x: Array, *, exponent: Array, sharpness: Array) -> Array:
    """As `late_logarithm`, of many shapes at once.

    Arguments:
        x: t/t_c > 0, any shape.
        exponent: q > 0, broadcast against x.
        sharpness: m > 0, broadcast against x.

    Returns:
        d, of the broadcast shape.
    """
    q, m = exponent, sharpness
    # Far out ₂F₁ loses digits; the slope there is 1 − x^(−qm)/m to twelve.
    near = np.minimum(x, _FAR ** (1 / (q * m)))
    series = near**q / q * hyp2f1(1 / m, 1 / m, 1 + 1 / m, -(near ** (q * m)))
    correction = (x ** (-q * m) - near ** (-q * m)) / (q * m**2)
    return np.asarray(series + np.log(x / near) + correction)


def _growth(t: Array, *, offset: Array, scale: Array, exponent: Array, onset: Array) -> Array:
    return offset + scale * growth_basis(t, exponent=float(exponent), onset=float(onset))


def _growth_rate(t: Array, *, offset: Array, scale: Array, exponent: Array, onset: Array) -> Array:
    return scale * (t + onset) ** (exponent - 1.0)


def _log_power(t: Array, *, scale: Array, time_unit: Array, alpha: Array) -> Array:
    return (scale * np.log1p(t / time_unit)) ** (2.0 / alpha)


def _log_power_rate(t: Array, *, scale: Array, time_unit: Array, alpha: Array) -> Array:
    height = scale * np.log1p(t / time_unit)
    return 2.0 / alpha * height ** (2.0 / alpha - 1.0) * scale / (t + time_unit)


def _power(t: Array, *, scale: Array, exponent: Array) -> Array:
    return scale * t**exponent


def _power_rate(t: Array, *, scale: Array, exponent: Array) -> Array:
    return scale * exponent * t ** (exponent - 1.0)


def _offset_power(t: Array, *, offset: Array, scale: Array, exponent: Array) -> Array:
    return offset + scale * t**exponent


def _offset_power_rate(t: Array, *, offset: Array, scale: Array, exponent: Array) -> Array:
    return _power_rate(t, scale=scale, exponent=exponent)


def _shifted_log(t: Array, *, scale: Array, onset: Array) -> Array:
    return scale * np.log1p(t / onset)


def _shifted_log_rate(t: Array, *, scale: Array, onset: Array) -> Array:
    return scale / (t + onset)


def _saturation(t: Array, *, limit: Array, time_constant: Array) -> Array:
    return limit * np.sqrt(-np.expm1(-t / time_constant))


def _saturation_rate(t: Array, *, limit: Array, time_constant: Array) -> Array:
    gone = -np.expm1(-t / time_constant)
    return limit * np.exp(-t / time_constant) / (2.0 * time_constant * np.sqrt(gone))


_FROM_ZERO = (True, False)
_TO_END = (False, True)
_HEIGHT = "weight^(α/2)"

GROWTH = Law(
    "growth",
    "Growth family",
    "d = a + b·[(t + τ₀)^p − 1]/p, and a + b·ln(t + τ₀) at p = 0",
    (
        Parameter("offset", "a", "distance at t + τ₀ = 1", -np.inf, units="weight"),
        Parameter("scale", "b", "slope in the transformed time", -np.inf, units="weight"),
        Parameter("exponent", "p", "exponent; 0 is the logarithm", -np.inf),
        Parameter("onset", "τ₀", "shift of time", 0.0, units="iteration", closed=_FROM_ZERO),
    ),
    "Jeffreys (1958), Geophysical Journal 1, 92; Mainardi and Spada (2012), Rheol. Acta 51, 783",
    {"offset": 1.0, "scale": 2.0, "exponent": 0.0, "onset": 5.0},
    _growth,
    _growth_rate,
)
LOG_POWER = Law(
    "log_power",
    "Activated motion on a self-affine random potential",
    "d = [s·ln(1 + t/τ)]^(2/α)",
    (
        Parameter("scale", "s", "temperature over landscape strength, T/c", 0.0, units=_HEIGHT),
        Parameter("time_unit", "τ", "time of one attempt at a barrier", 0.0, units="iteration"),
        Parameter("alpha", "α", "exponent of the structure function", 0.0, 2.0, closed=_TO_END),
    ),
    "Hoffer, Hubara and Soudry (2017), section on random potentials, states d² ∝ (ln t)^(4/α); the"
    " temperature, the time unit and the 1 that makes d(0) = 0 are added here",
    {"scale": 0.5, "time_unit": 3.0, "alpha": 1.0},
    _log_power,
    _log_power_rate,
)
POWER = Law(
    "power",
    "Power law (null law N6)",
    "d = A·t^p, that is d² ∝ t^c with c = 2p",
    (
        Parameter("scale", "A", "distance at t = 1", 0.0, units="weight"),
        Parameter("exponent", "p", "exponent; ½ is diffusion", 0.0),
    ),
    "Kunin et al. (2021), arXiv 2107.09133, report d² ∝ t^c after convergence",
    {"scale": 0.3, "exponent": 0.4},
    _power,
    _power_rate,
)
OFFSET_POWER = Law(
    "offset_power",
    "Power law with an offset",
    "d = a + A·t^p",
    (
        Parameter("offset", "a", "distance without the power", -np.inf, units="weight"),
        Parameter("scale", "A", "growth at t = 1", -np.inf, units="weight"),
        Parameter("exponent", "p", "exponent", -np.inf),
    ),
    "the growth family at τ₀ = 0, in the form that is usual in papers",
    {"offset": 2.0, "scale": 0.3, "exponent": 0.3},
    _offset_power,
    _offset_power_rate,
)
SHIFTED_LOG = Law(
    "shifted_log",
    "Logarithm with an onset",
    "d = b·ln(1 + t/τ₀)",
    (
        Parameter("scale", "b", "distance a unit of ln t", 0.0, units="weight"),
        Parameter("onset", "τ₀", "end of the linear start", 0.0, units="iteration"),
    ),
    "Lomnitz (1956), Journal of Geology 64, 473, as a creep law",
    {"scale": 1.5, "onset": 20.0},
    _shifted_log,
    _shifted_log_rate,
)
SATURATION = Law(
    "saturation",
    "Exponential saturation",
    "d = d∞·√(1 − e^(−t/τ))",
    (
        Parameter("limit", "d∞", "distance at which growth ends", 0.0, units="weight"),
        Parameter("time_constant", "τ", "relaxation time of d²", 0.0, units="iteration"),
    ),
    "Uhlenbeck and Ornstein (1930), Physical Review 36, 823: a walk in a parabola",
    {"limit": 8.0, "time_constant": 150.0},
    _saturation,
    _saturation_rate,
)

LAWS: tuple[Law, ...] = (GROWTH, LOG_POWER, POWER, OFFSET_POWER, SHIFTED_LOG, SATURATION)
