"""Whether a distance may have become a logarithm: the best late logarithm against the best power.

A curve that is a logarithm from some time on may have begun otherwise, so an exponent other than 0
over all of it is no evidence against the logarithm. Here every curve is fitted twice: by late
logarithms and by laws that are no logarithm ever. Late logarithms are

- ln(t + τ) with an onset τ of up to half of the iterations;
- curves that grow like t^0.3 to t at first and turn into ln t. They have become logarithms when a
  fifth of the iterations are over, and where they turn broadly their slope grows like t^0.05 in
  the end at most. Without that bound a broad enough turn is any power below the first one: over
  three decades t^0.12 then was a logarithm to 0.2 % of its growth, however long it lasted;
- ln t after a start that saturates within a fifth of the iterations;
- powers of ln(1 + t/τ) whose slope grows like t^±0.075 in the end at most: (ln t)^(2/α) is what
  rougher landscapes predict, and no power of t may pass for one near them.

Against them stand powers of t beyond the margin, and beside those that saturate, curves whose
growth ends within the iterations. What is compared is how much of the curve each leaves
unexplained,

    A = ln(RSS of the best late logarithm / RSS of the best power),

positive where the power fits better. One curve's A says little, as its noise is not known; across
seeds its mean is told from 0 by their spread. Where the truth is among the late logarithms A is
negative on average, whatever the noise is and however it is correlated: they are the richer
family.

References:
    Vuong (1989), Econometrica 57, 307: the ratio of likelihoods of two rival families.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import exp1, gammainc

from ultraslow.analysis.text import number
from ultraslow.diffusion.laws import growth_regressor, late_logarithms

from .noise_models import NoiseModel, noise_covariance

Array = NDArray[np.float64]

# A logarithm from a fifth of the iterations on is seen for 0.7 decades. What becomes one later
# nobody can tell from a power.
SETTLED = 0.2
# Latest onset of a logarithm, share of the iterations. Until its onset ln(t + τ) grows like t, so
# that onsets of half of them take little away from what speaks for powers of up to 0.7.
ONSET = 0.5
# A law of exponent 0.05 differs from the logarithm by 12 % of D one decade beyond three decades of
# data; below that, records of a few decades and per-cent noise cannot tell them apart.
MARGIN = 0.05
_FLAT = (-MARGIN, 0.0, MARGIN)  # exponents that count as a logarithm
_EARLIEST = 1e-3  # share of the iterations at which the earliest has become a logarithm
# Of growth before. What grew like t^0.2 for all decades but one has not merely begun otherwise.
BEGINNINGS = (0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
# Widths of the turn, shares of the one at which the slope still grows like t^MARGIN in the end.
# Broader ones have not become logarithms: with a width of 14 in ln t, t^0.2 turns into t^0.09.
_WIDTHS = (1.0, 0.75, 0.5, 0.3, 0.15)
# Starts that saturate: the latest, whose last fiftieth is left when a fifth of the iterations are
# over, share of the iterations; and shares of the growth that they have.
_BRIEF = 0.05
_SHARES = (0.1, 0.2, 0.35, 0.5, 0.7)
# Powers of ln(1 + t/τ): the largest τ, share of the iterations, and the powers of t by which their
# slopes grow in the end; flat is ln(1 + t/τ) itself.
_UNITS = 0.1
BENT = 1.5 * MARGIN
_BENDS = np.concatenate([side * np.linspace(BENT / 30, BENT, 30) for side in (-1, 1)])
# Growth that ends: exponents before, and when its slope begins to fall like e^(−t/t_e).
_ENDING = (0.0, 0.25, 0.5, 1.0)
_ENDS = np.geomspace(0.03, 0.4, 7)
# Onsets lie close together, for powers as for logarithms: a power that sets in between two of them
# would be misfit by all, and the longer and quieter its record, the more surely a late logarithm
# would win. The latest of powers, share of the iterations; and of those that saturate two more.
# Close ones as late as these fit curves that turn from t^.75 into ln t at a fifth of the time.
_STEP = 1.6
_SOON, _LATER = 1 / 30, (0.1, 1 / 3)
_FASTER = np.arange(0.075, 1.21, 0.025)
_SLOWER = -np.geomspace(0.075, 4.0, 20)
_FLOOR = 1e-12  # share of a curve that counts as explained
# The metric: residuals wander over a tenth of the decades and a fifth of their variance is
# independent. Another one changes how sharply seeds are told apart and not which way A points.
_LENGTH, _NUGGET = 0.1, 0.2


@dataclass(frozen=True)
class Advantage:
    """How much better powers fit than late logarithms, one entry a curve.

    Attributes:
        faster: A of exponents above the margin, shape (series,).
        slower: A of exponents below minus the margin, which saturate.
    """

    faster: Array
    slower: Array


@dataclass(frozen=True)
class _Family:
    """Curves of one kind, and their shapes, each of unit length and free of a constant.

    Attributes:
        names: their laws, in words.
        curves: as they are, shape (curve, time).
        shapes: in the metric, shape (curve, time).
        lengths: of the curves in the metric without their constant, shape (curve,).
    """

    names: tuple[str, ...]
    curves: Array
    shapes: Array
    lengths: Array

    def explained(self, white: Array) -> Array:
        """Squares that the best explains of whitened curves, shape (series,).

        Growth only: a shape may not be turned upside down.
        """
        return np.asarray(np.maximum((white @ self.shapes.T).max(axis=-1), 0.0) ** 2)

    def best(self, white: Array) -> int:
        """Place of the one that explains most of a whitened curve."""
        return int((self.shapes @ white).argmax())


@dataclass(frozen=True)
class _Rivals:
    """The families that are compared, and the metric."""

    metric: Array
    constant: Array
    late: _Family
    faster: _Family
    slower: _Family

    def white(self, values: Array) -> Array:
        """Curves in the metric, without their constant."""
        white = values @ self.metric.T
        return white - (white @ self.constant)[..., None] * self.constant


def advantage(times: Array, values: Array) -> Advantage:
    """How much better powers of t fit distances than curves that have become logarithms.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (series, time), finite.

    Returns:
        A of each series.

    >>> times = np.geomspace(1, 1e4, 40)
    >>> found = advantage(times, np.stack([np.sqrt(times), np.log(times + 30)]))
    >>> (found.faster > 0).tolist()
    [True, False]
    """
    rivals = _rivals(np.asarray(times, dtype=np.float64).tobytes())
    white = rivals.white(values)
    whole = (white**2).sum(axis=1)

    def unexplained(family: _Family) -> Array:
        return np.maximum(whole - family.explained(white), _FLOOR * whole)

    late = np.log(unexplained(rivals.late))
    return Advantage(
        late - np.log(unexplained(rivals.faster)), late - np.log(unexplained(rivals.slower))
    )


@dataclass(frozen=True)
class Candidates:
    """The two curves that P1 weighs against each other, fitted to one distance.

    Attributes:
        logarithm: the best curve that has become a logarithm, shape (time,).
        power: the best power of t on one side of the logarithm, shape (time,).
        laws: both in words.
        misses: root mean square by which each misses, shares of the distance's growth.
    """

    logarithm: Array
    power: Array
    laws: tuple[str, str]
    misses: tuple[float, float]


def candidates(times: Array, values: Array, *, faster: bool) -> Candidates:
    """The best late logarithm and the best power of t of a distance.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        values: d, shape (time,), finite.
        faster: whether the power is one above the logarithm, and not one that saturates.

    Returns:
        Both, in the metric in which they are compared.

    >>> times = np.geomspace(1, 1e4, 40)
    >>> found = candidates(times, np.sqrt(times), faster=True)
    >>> found.misses[0] > 0.01, found.misses[1] < 1e-6, found.laws[1]
    (True, True, 't^0.5')
    """
    rivals = _rivals(np.asarray(times, dtype=np.float64).tobytes())
    white = rivals.white(values)
    level = (values @ rivals.metric.T) @ rivals.constant
    ones = float(np.linalg.norm(rivals.metric @ np.ones(times.size)))

    def best(family: _Family) -> tuple[Array, str]:
        place = family.best(white)
        scale = max(float(white @ family.shapes[place]), 0.0) / family.lengths[place]
        rest = level - scale * float((rivals.metric @ family.curves[place]) @ rivals.constant)
        return np.asarray(scale * family.curves[place] + rest / ones), family.names[place]

    (late, log), (never, law) = best(rivals.late), best(rivals.faster if faster else rivals.slower)
    grown = float(np.ptp(values)) or 1.0
    misses = [float(np.sqrt(np.mean((values - curve) ** 2))) / grown for curve in (late, never)]
    return Candidates(late, never, (log, law), (misses[0], misses[1]))


@lru_cache(maxsize=16)
def _rivals(key: bytes) -> _Rivals:
    times = np.frombuffer(key)
    noise = NoiseModel("ar_log_t", _LENGTH * np.log(times[-1] / times[0]), _NUGGET)
    metric = np.linalg.inv(np.linalg.cholesky(noise_covariance(noise, times)))
    constant = metric @ np.ones(times.size)
    constant /= np.linalg.norm(constant)

    def family(curves: list[tuple[str, Array]]) -> _Family:
        stacked = np.stack([curve for _, curve in curves])
        scaled = stacked / np.ptp(stacked, axis=1, keepdims=True)
        white = scaled @ metric.T
        white -= np.outer(white @ constant, constant)
        lengths = np.linalg.norm(white, axis=1)
        return _Family(
            tuple(name for name, _ in curves), scaled, white / lengths[:, None], lengths
        )

    last = times[-1]
    soon = (0.0, *_onsets(times[0], _SOON * last))
    return _Rivals(
        metric,
        constant,
        family(_late_logarithms(times)),
        family(_powers(times, _FASTER, soon)),
        family(_powers(times, _SLOWER, (*soon, *np.array(_LATER) * last)) + _ended(times)),
    )


def _onsets(first: float, latest: float) -> Array:
    """Onsets up to the latest, each so many times the one before it that no law falls between."""
    earliest = min(first / 2, latest)
    count = 1 + int(np.ceil(np.log(latest / earliest) / np.log(_STEP)))
    return np.geomspace(earliest, latest, count)


def _late_logarithms(times: Array) -> list[tuple[str, Array]]:
    """Each with its law, in words."""
    first, last = times[0], times[-1]
    early = _onsets(first, 0.1 * last)
    # The later the onset, the more of the curve bends with it.
    onsets = (0.0, *early, *np.linspace(0.15, ONSET, 8) * last)
    settled = np.geomspace(max(first, _EARLIEST * last), SETTLED * last, 16)
    shifted = [
        (_named(0.0, onset) + (f", p = {number(p)}" if p else ""), curve)
        for onset in onsets
        for p, (_, curve) in zip(_FLAT, _powers(times, _FLAT, (onset,)), strict=True)
    ]
    kinds = np.array(list(product(BEGINNINGS, _WIDTHS, settled)))
    q, width, t_c = kinds.T[..., None]
    sharpness = _sharpness(q, t_c / last, width)
    turns = late_logarithms(times / t_c, exponent=q, sharpness=sharpness)
    turning = [
        (f"log t from about {number(float(one))} on", curve)
        for one, curve in zip(t_c[:, 0], turns, strict=True)
    ]
    starts = np.geomspace(first, _BRIEF * last, 10)
    begun = _scaled(np.log(times))
    started = [
        (
            f"log t after a start until about {number(SETTLED / _BRIEF * start)}",
            share * _scaled(-np.expm1(-times / start)) + (1 - share) * begun,
        )
        for start in starts
        for share in _SHARES
    ]
    return shifted + turning + started + _logarithm_powers(times)


def _logarithm_powers(times: Array) -> list[tuple[str, Array]]:
    """[ln(1 + t/τ)]^q, whose slope grows like t^(q − 1)/ln(1 + T/τ) in the end, in words."""
    found = []
    for unit in _onsets(2 * times[0], _UNITS * times[-1]):
        log_time = np.log1p(times / unit)
        for bend in _BENDS:
            q = 1 + bend * log_time[-1]
            found.append((f"log(1 + t/{number(unit)})^{number(q, 2)}", log_time**q))
    return found


def _ended(times: Array) -> list[tuple[str, Array]]:
    """Curves whose slope in ln t is ∝ t^q e^(−t/t_e), each with its law in words."""
    last = times[-1]
    return [
        (
            f"growth like {_named(q, 0.0)} that ends about {number(end * last)}",
            gammainc(q, times / (end * last)) if q else -exp1(times / (end * last)),
        )
        for q in _ENDING
        for end in _ENDS
    ]


def _scaled(curve: Array) -> Array:
    """From 0 to 1."""
    return np.asarray((curve - curve[0]) / (curve[-1] - curve[0]))


def _sharpness(exponent: Array, settled: Array, width: Array) -> Array:
    """Sharpness m of turns of some width, shares of the broadest.

    The slope grows by the power q/(1 + x^(qm)), x = t/t_c: that is `MARGIN` at the last iteration
    where qm = ln(q/MARGIN − 1)/ln(T/t_c).

    Arguments:
        exponent: q.
        settled: t_c/T.
        width: share of the broadest turn that ends within the margin.
    """
    return np.asarray(np.log(exponent / MARGIN - 1) / -np.log(settled) / (exponent * width))


def _named(exponent: float, onset: float) -> str:
    """A power of t or a logarithm, in words."""
    time = f"(t + {number(onset)})" if onset else "t"
    if exponent:
        return f"{time}^{number(exponent)}"
    return f"log{time}" if onset else "log t"


def _powers(
    times: Array, exponents: Sequence[float] | Array, onsets: Sequence[float]
) -> list[tuple[str, Array]]:
    """Powers of t + τ, logarithms at p = 0, with all onsets for each exponent, in words."""
    shifted = times + np.array(onsets)[:, None]
    # In units of the last time: a steep power of large times would be a constant to rounding.
    log_time = np.log(shifted / shifted[:, -1:])
    curves = growth_regressor(log_time, np.asarray(exponents)[:, None, None])
    names = [_named(float(p), float(onset)) for p, onset in product(exponents, onsets)]
    return list(zip(names, curves.reshape(-1, times.size), strict=True))
