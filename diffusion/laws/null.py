"""Null laws: slow growth of the distance that needs no random landscape, in closed form.

A logarithmic curve is evidence for activated motion only if these explain it worse. `sgd` holds a
simulator of each. With momentum m, a learning rate η acts like η/(1 − m) in all of them, as long
as weights and their gradients change little within 1/(1 − m) iterations.

N1 and N2 are exact at iterations for ηh < 1, where they are defined for all times (descent itself
is stable up to ηh = 2). The continuous forms e^(−ηht) and ηc/(2Mh) hold for ηh ≪ 1, with relative
errors of ηh/2 in the rate and in the variance. N3 to N5 are limits of small steps: descent is
ahead of them at the start, by relative (ηg/n²)²/4 for N3, ηλ/2 more for N4 and ηγ²/8 for N5, and
less and less later.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import wrightomega

from .growth import LAWS, POWER
from .law import Law, Parameter

Array = NDArray[np.float64]


def _quadratic(t: Array, *, learning_rate: Array, curvatures: Array, start: Array) -> Array:
    gone = -np.expm1(_by_mode(t, _log_decay(learning_rate, curvatures)))
    return np.linalg.norm(start * gone, axis=-1)


def _quadratic_rate(t: Array, *, learning_rate: Array, curvatures: Array, start: Array) -> Array:
    exponent = np.outer(t, _log_decay(learning_rate, curvatures))
    gone = -np.expm1(exponent)
    change = -_log_decay(learning_rate, curvatures) * np.exp(exponent)
    squared = (start * gone) ** 2
    return _root_rate(squared.sum(axis=1), 2.0 * (start**2 * gone * change).sum(axis=1))


def _noisy_quadratic(
    t: Array,
    *,
    learning_rate: Array,
    batch_size: Array,
    curvatures: Array,
    start: Array,
    noise: Array,
) -> Array:
    decay = _log_decay(learning_rate, curvatures)
    stationary = _stationary(learning_rate, batch_size, curvatures=curvatures, noise=noise)
    squares = (-np.expm1(2.0 * _by_mode(t, decay)) @ stationary[..., None])[..., 0]
    if start.any():  # fits of the noise alone ask thousands of times
        drift = _quadratic(t, learning_rate=learning_rate, curvatures=curvatures, start=start)
        squares += drift**2
    return np.sqrt(squares)


def _noisy_quadratic_rate(
    t: Array,
    *,
    learning_rate: Array,
    batch_size: Array,
    curvatures: Array,
    start: Array,
    noise: Array,
) -> Array:
    decay = _log_decay(learning_rate, curvatures)
    exponent = np.outer(t, decay)
    left, gone = np.exp(exponent), -np.expm1(exponent)
    stationary = _stationary(learning_rate, batch_size, curvatures=curvatures, noise=noise)
    squared = gone**2 @ start**2 - np.expm1(2.0 * exponent) @ stationary
    change = (left * gone) @ (decay * start**2) + left**2 @ (decay * stationary)
    return _root_rate(squared, -2.0 * change)


def _scale_invariant(
    t: Array, *, learning_rate: Array, gradient_norm: Array, start_norm: Array
) -> Array:
    added = 2.0 * (learning_rate * gradient_norm) ** 2 * t
    # √(n⁴ + added) − n², without the subtraction
    return np.sqrt(added / (np.sqrt(start_norm**4 + added) + start_norm**2))


def _scale_invariant_rate(
    t: Array, *, learning_rate: Array, gradient_norm: Array, start_norm: Array
) -> Array:
    force = (learning_rate * gradient_norm) ** 2
    distance = _scale_invariant(
        t, learning_rate=learning_rate, gradient_norm=gradient_norm, start_norm=start_norm
    )
    return force / (2.0 * distance * np.sqrt(start_norm**4 + 2.0 * force * t))


def _decaying(
    t: Array, *, learning_rate: Array, weight_decay: Array, gradient_norm: Array, start_norm: Array
) -> Array:
    kept, gone, gained = _decayed(t, learning_rate, weight_decay, gradient_norm)
    inner = (start_norm * kept) ** 2
    # ‖w‖² − n²e^(−2ηλt) + n²(1 − e^(−ηλt))², a sum of positive terms
    return np.sqrt(gained / (np.sqrt(inner**2 + gained) + inner) + (start_norm * gone) ** 2)


def _decaying_rate(
    t: Array, *, learning_rate: Array, weight_decay: Array, gradient_norm: Array, start_norm: Array
) -> Array:
    rate = learning_rate * weight_decay
    kept, gone, gained = _decayed(t, learning_rate, weight_decay, gradient_norm)
    rate, force = learning_rate * weight_decay, learning_rate * gradient_norm
    inner = (start_norm * kept) ** 2
    norm_sq = np.sqrt(inner**2 + gained)
    outer = gained / (norm_sq + inner)
    growth = ((force * kept**2) ** 2 + 2.0 * rate * inner * outer) / norm_sq
    change = growth + 2.0 * rate * start_norm**2 * gone * kept
    return _root_rate(outer + (start_norm * gone) ** 2, change)


def _decayed(
    t: Array, learning_rate: Array, weight_decay: Array, gradient_norm: Array
) -> tuple[Array, Array, Array]:
    """e^(−x), 1 − e^(−x) with x = ηλt, and what gradients added to ‖w‖⁴, 2η²g²t·(1 − e^(−4x))/4x.

    The last is the solution of d‖w‖⁴/dt = 2η²g² − 4ηλ‖w‖⁴ from 0.
    """
    x = learning_rate * weight_decay * t
    # (1 − e^(−4x))/4x → 1 as the decay vanishes, where this becomes the law without decay.
    share = np.divide(-np.expm1(-4.0 * x), 4.0 * x, out=np.ones_like(x), where=x > 0)
    return np.exp(-x), -np.expm1(-x), 2.0 * (learning_rate * gradient_norm) ** 2 * t * share


def _separable(t: Array, *, learning_rate: Array, margin: Array) -> Array:
    drive = learning_rate * margin**2 * t
    y = np.log(wrightomega(1.0 + drive))
    # One step of Newton's method on e^y − 1 + y = drive restores the digits that 1 + drive lost.
    y -= (np.expm1(y) + y - drive) / (np.exp(y) + 1.0)
    return y / margin


def _separable_rate(t: Array, *, learning_rate: Array, margin: Array) -> Array:
    return learning_rate * margin / (1.0 + wrightomega(1.0 + learning_rate * margin**2 * t))


def _crossover(
    t: Array, *, learning_rate: Array, batch_size: Array, gradient_sq: Array, noise_trace: Array
) -> Array:
    return learning_rate * np.sqrt(t**2 * gradient_sq + t * noise_trace / batch_size)


def _crossover_rate(
    t: Array, *, learning_rate: Array, batch_size: Array, gradient_sq: Array, noise_trace: Array
) -> Array:
    squared = t**2 * gradient_sq + t * noise_trace / batch_size
    change = 2.0 * t * gradient_sq + noise_trace / batch_size
    return learning_rate * _root_rate(squared, change)


def _by_mode(t: Array, decay: Array) -> Array:
    """Products of times (time,) and the modes' values (*, mode), shape (*, time, mode)."""
    return t[:, None] * decay[..., None, :]


def _log_decay(learning_rate: Array, curvatures: Array) -> Array:
    product = learning_rate * curvatures
    if product.max() >= 1.0:
        raise ValueError(
            f"learning_rate, curvatures: found the product {product.max():g}, expected values in"
            " (0, 1), where descent does not overshoot"
        )
    return np.log1p(-product)


def _stationary(
    learning_rate: Array, batch_size: Array, *, curvatures: Array, noise: Array
) -> Array:
    """Variance of each mode after infinite time, ηc/(M·h·(2 − ηh))."""
    return learning_rate * noise / (batch_size * curvatures * (2.0 - learning_rate * curvatures))


def _root_rate(squared: Array, change: Array) -> Array:
    """d√q/dt from q and dq/dt; 0 where q = 0, since a law whose distance is 0 stays there."""
    still = np.zeros_like(squared)
    return np.divide(change, 2.0 * np.sqrt(squared), out=still, where=squared > 0)


_FROM_ZERO = (True, False)
_RATE = Parameter("learning_rate", "η", "learning rate", 0.0)
_BATCH = Parameter("batch_size", "M", "samples in an update", 0.0, units="sample")
_CURVATURES = Parameter("curvatures", "h", "Hessian eigenvalues", 0.0, modes=True)
_START = Parameter("start", "θ", "initial distance to the minimum", -np.inf, modes=True)
_GRADIENT = Parameter("gradient_norm", "g", "gradient norm at unit weight norm", 0.0)
_NORM = Parameter("start_norm", "n", "initial weight norm ‖w₀‖", 0.0, units="weight")

_MODES = np.geomspace(1e-4, 1.0, 30)

QUADRATIC = Law(
    "quadratic",
    "Gradient descent on a quadratic (null law N1)",
    "d² = Σᵢ θᵢ²·(1 − (1 − ηhᵢ)^t)²",
    (_RATE, _CURVATURES, _START),
    "elementary; with log-uniform h and equal θ the sum counts the modes with h > 1/(ηt), so that"
    " d² ∝ ln t without noise or barriers",
    {"learning_rate": 0.5, "curvatures": _MODES, "start": np.ones(30)},
    _quadratic,
    _quadratic_rate,
)
NOISY_QUADRATIC = Law(
    "noisy_quadratic",
    "Stochastic gradient descent on a quadratic (null law N2)",
    "d² = Σᵢ [θᵢ²·(1 − (1 − ηhᵢ)^t)² + η·cᵢ/(M·hᵢ·(2 − ηhᵢ))·(1 − (1 − ηhᵢ)^{2t})]",
    (
        _RATE,
        _BATCH,
        _CURVATURES,
        _START,
        Parameter("noise", "c", "gradient variance a sample", 0.0, closed=_FROM_ZERO, modes=True),
    ),
    "the noisy quadratic model of Zhang et al. (2019), arXiv 1907.04164; this expectation of the"
    " squared distance is derived from its recursion",
    {
        "learning_rate": 0.5,
        "batch_size": 16.0,
        "curvatures": _MODES,
        "start": np.zeros(30),
        "noise": 4.0 * _MODES,
    },
    _noisy_quadratic,
    _noisy_quadratic_rate,
)
SCALE_INVARIANT = Law(
    "scale_invariant",
    "Scale-invariant weights without decay (null law N3)",
    "d² = √(n⁴ + 2η²g²t) − n²",
    (_RATE, _GRADIENT, _NORM),
    "gradients orthogonal to the weights and of norm g/‖w‖, as behind a normalization layer, with"
    " directions that average out; derived from ‖w‖² ← ‖w‖² + η²g²/‖w‖²",
    {"learning_rate": 0.1, "gradient_norm": 10.0, "start_norm": 2.0},
    _scale_invariant,
    _scale_invariant_rate,
)
SCALE_INVARIANT_DECAY = Law(
    "scale_invariant_decay",
    "Scale-invariant weights with weight decay (null law N4)",
    "d² = ‖w_t‖² + n² − 2n²e^(−ηλt),  ‖w_t‖⁴ = ηg²/(2λ)·(1 − e^(−4ηλt)) + n⁴e^(−4ηλt)",
    (
        _RATE,
        Parameter("weight_decay", "λ", "weight decay", 0.0, closed=_FROM_ZERO),
        _GRADIENT,
        _NORM,
    ),
    "intrinsic learning rate ηλ of Li, Lyu and Arora (2020), arXiv 2010.02916; the distance is"
    " derived from the recursion of ‖w‖² and of ⟨w_t, w₀⟩",
    {"learning_rate": 0.1, "weight_decay": 0.02, "gradient_norm": 10.0, "start_norm": 2.0},
    _decaying,
    _decaying_rate,
)
SEPARABLE = Law(
    "separable",
    "Logistic regression on separable data (null law N5)",
    "d = ln ω/γ with ω + ln ω = 1 + ηγ²t",
    (_RATE, Parameter("margin", "γ", "margin of the data", 0.0, units="1/weight")),
    "Soudry et al. (2018), The implicit bias of gradient descent on separable data: w → ŵ·ln t"
    " (statement from memory, not compared with the text). This form is exact for gradient flow"
    " from 0 when all margins are equal; in general it is the late slope 1/γ that holds",
    {"learning_rate": 0.5, "margin": 1.0},
    _separable,
    _separable_rate,
)
CROSSOVER = Law(
    "crossover",
    "From diffusion to drift (null law N7)",
    "d² = η²·(t²·|G|² + t·S/M)",
    (
        _RATE,
        _BATCH,
        Parameter("gradient_sq", "|G|²", "squared mean gradient", 0.0, closed=_FROM_ZERO),
        Parameter("noise_trace", "S", "trace of the gradient covariance", 0.0, closed=_FROM_ZERO),
    ),
    "constant gradient and independent noise; elementary",
    {"learning_rate": 0.01, "batch_size": 8.0, "gradient_sq": 0.5, "noise_trace": 200.0},
    _crossover,
    _crossover_rate,
)

NULL_LAWS: dict[str, Law] = {
    "N1": QUADRATIC,
    "N2": NOISY_QUADRATIC,
    "N3": SCALE_INVARIANT,
    "N4": SCALE_INVARIANT_DECAY,
    "N5": SEPARABLE,
    "N6": POWER,
    "N7": CROSSOVER,
}


def law_named(name: str) -> Law:
    """The growth law or null law of that name.

    Raises:
        ValueError: for an unknown name.
    """
    known = {law.name: law for law in (*LAWS, *NULL_LAWS.values())}
    if name not in known:
        raise ValueError(f"law: found {name!r}, expected one of {sorted(known)}")
    return known[name]
