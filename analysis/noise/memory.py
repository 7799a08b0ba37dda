"""How well a ratio of means over one run is known, whatever the memory of its noise.

What moments of neighbouring updates have in common is not known beforehand: nothing, a correlation
that fades, one that hardly does. A trend is in them as well. So the blocks are explained by each
of many models,

    x = Xβ + σe,    cov(e_k, e_l) = D_k D_l ((1 − λ)·[k = l]/n_k + λ·C_kl),    D_k ∝ t_k^(−δ),

with a trend X of 1, t, ln t and (ln t)², and a share λ of noise whose memory C
fades over τ updates or as the power 2H − 2 of their distance. Each model has a restricted
likelihood, which no trend enters, and Student's interval; these are mixed by how likely their
models are. The estimate stays the plain ratio of means, so that a trend of another shape does not
move it.

References:
    Patterson and Thompson (1971), Biometrika 58, 545: restricted likelihood.
    Box and Tiao (1973), Bayesian Inference in Statistical Analysis, §2.7: the unknown σ leaves
    Student's t.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from ultraslow.diffusion.memory import (
    fading_sum_variance,
    fractional_sum_variance,
    window_covariance,
)

Array = NDArray[np.float64]
SumVariance = Callable[[Array], Array]

LENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)  # τ; half of the run besides
HURST = (0.6, 0.7, 0.8, 0.9, 0.95, 0.98)  # H
SHARES = (0.1, 0.3, 1.0)  # λ
FADING = (-0.3, 0.0, 0.3, 0.6)  # δ
# With fewer blocks a trend is not told from noise.
TREND = 10
# A slow part of which a run holds fewer independent stretches than this is known poorly.
FEW = 5.0
ANGLES = 181
AT_ONCE = (
    12  # of these, outward from the ratio of means: the nearest that is rejected is asked for
)
HALVINGS = 40
# Of the mean square, in place of residuals that are 0.
LEAST = 1e-24
NAMES = ("noise_trace", "gradient_sq")


@dataclass(frozen=True)
class Stretch:
    """Means over neighbouring blocks of updates of one run.

    Attributes:
        gradient_sq: g, estimates of |G|², shape (block,).
        noise_trace: s, estimates of tr Σ, shape (block,).
        updates: n, updates in a block, shape (block,).
        inside: the blocks that the estimate is about, shape (block,); all tell of the memory.
    """

    gradient_sq: Array
    noise_trace: Array
    updates: Array
    inside: NDArray[np.bool_]


@dataclass(frozen=True)
class Models:
    """The models of a run's noise, for blocks of given sizes.

    Attributes:
        residuals: turns values into white residuals without trend, (model, block, block).
        covariance: of the blocks over σ², (model, block, block).
        log_volume: of the restricted log-likelihood what does not depend on values, (model,).
        freedom: blocks less columns of the trend.
    """

    residuals: Array
    covariance: Array
    log_volume: Array
    freedom: int


def _memories(updates: float) -> list[tuple[float, SumVariance | None, float]]:
    """Share λ, S and prior weight of each model: 1 for no memory, 1 for all that fade, 2 for long.

    With less weight on long memories intervals are too short for them.
    """
    lengths = [length for length in LENGTHS if length < updates / 2] + [updates / 2]
    fading = [partial(fading_sum_variance, length=length) for length in lengths]
    long = [partial(fractional_sum_variance, hurst=hurst) for hurst in HURST]
    found: list[tuple[float, SumVariance | None, float]] = [(0.0, None, 1.0)]
    for kind, weight in ((fading, 1.0), (long, 2.0)):
        pairs = [(share, memory) for share in SHARES for memory in kind]
        found += [(share, memory, weight / len(pairs)) for share, memory in pairs]
    return found


@lru_cache(maxsize=8)
def _models(sizes: tuple[float, ...], longest: float) -> Models:
    """The models, for blocks of these sizes, of the menu for a run of `longest` updates."""
    edges = np.concatenate([[0.0], np.cumsum(sizes)])
    middle = (edges[1:] + edges[:-1]) / (2 * edges[-1])
    clock = np.log(middle)
    columns = [np.ones_like(middle), middle, clock, clock**2]
    trend = np.stack(columns if middle.size >= TREND else columns[:1], axis=1)
    white = np.diag(1 / np.asarray(sizes))
    shapes = [
        white if memory is None else (1 - share) * white + share * window_covariance(edges, memory)
        for share, memory, _ in _memories(longest)
    ]
    spread = np.stack([middle**-power for power in FADING])
    spread /= np.sqrt(np.average(spread**2, axis=1, weights=sizes))[:, None]
    covariance = np.stack(shapes) * (spread[:, None, :, None] * spread[:, None, None, :])
    covariance = covariance.reshape(-1, middle.size, middle.size)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    known, corner = np.linalg.qr(whiten @ trend)
    diagonals = [np.diagonal(x, axis1=1, axis2=2) for x in (whiten, corner)]
    volume = np.log(diagonals[0]).sum(axis=1) - np.log(np.abs(diagonals[1])).sum(axis=1)
    residuals = whiten - known @ (np.swapaxes(known, 1, 2) @ whiten)
    return Models(residuals, covariance, volume, middle.size - trend.shape[1])


@dataclass(frozen=True)
class RatioSpread:
    """What decides on a ratio B of means: sums of squares of residuals of s and g by model.

    Attributes:
        means: s̄ and ḡ, over the blocks inside.
        squares: Σ of residuals s², s·g and g², shape (3, model).
        variance: of a mean over σ², shape (model,).
        log_prior: log-likelihood of each model but for the residuals, shape (model,).
        slow: whether a run holds fewer than `FEW` stretches of the model's slow part, (model,).
        freedom: degrees of freedom.
        least: mean squares of s and g, times `LEAST`.
    """

    means: tuple[float, float]
    squares: Array
    variance: Array
    log_prior: Array
    slow: NDArray[np.bool_]
    freedom: int
    least: tuple[float, float]

    def interval(self, level: float) -> tuple[float, float]:
        """Ends of the ratios that are not rejected at a level: those about the ratio of means.

        Where the mean of g is not positive the upper end is infinite, as 0 cannot be told from it.
        """
        unit = self._unit()
        if unit == 0:
            return 0.0, 0.0
        centre = math.atan2(max(self.means[0], 0.0) / unit, max(self.means[1], 0.0))
        angles = np.linspace(0.0, math.pi / 2, ANGLES)
        if self.means[1] <= 0:
            kept = self._p_values(angles, unit)[0] > 1 - level
            first = angles[np.argmax(kept)] if kept.any() and self.means[0] > 0 else 0.0
            return unit * math.tan(first), math.inf
        low = self._end(centre, angles[angles < centre][::-1], level, unit)
        high = self._end(centre, angles[angles > centre], level, unit)
        return (
            0.0 if low is None or self.means[0] <= 0 else unit * math.tan(low),
            math.inf if high is None else unit * math.tan(high),
        )

    @property
    def slow_share(self) -> float:
        """How likely a slow part is that the runs hold few independent stretches of."""
        unit = self._unit()
        if unit == 0:
            return 0.0
        centre = math.atan2(max(self.means[0], 0.0) / unit, max(self.means[1], 0.0))
        return float(self._p_values(np.array([centre]), unit)[1][0, self.slow].sum())

    def _end(self, kept: float, outward: Array, level: float, unit: float) -> float | None:
        """Where the p-value first crosses 1 − level on the way outward; None where it does not."""
        out = self._rejected(outward, level, unit)
        if out is None:
            return None
        for _ in range(HALVINGS):
            middle = (kept + out) / 2
            if self._p_values(np.array([middle]), unit)[0][0] > 1 - level:
                kept = middle
            else:
                out = middle
        return (kept + out) / 2

    def _rejected(self, outward: Array, level: float, unit: float) -> float | None:
        """The first of some angles that is rejected; None without any."""
        for start in range(0, outward.size, AT_ONCE):
            some = outward[start : start + AT_ONCE]
            beyond = some[~(self._p_values(some, unit)[0] > 1 - level)]
            if beyond.size:
                return float(beyond[0])
        return None

    def _unit(self) -> float:
        """A ratio of about the size of B, positive unless there is no noise at all."""
        s, g = self.means
        if s > 0 and g > 0:
            return s / g
        errors = np.sqrt(self.squares[[0, 2]] / self.freedom * self.variance).mean(axis=1)
        below = abs(g) + errors[1]
        return float((abs(s) + errors[0]) / below) if below > 0 else 0.0

    def _p_values(self, angles: Array, unit: float) -> tuple[Array, Array]:
        """Mixed p-values of B = unit·tan(angle), and the probabilities of models.

        The mean of s·cos − g·unit·sin is then 0, which holds its meaning where B is infinite.
        """
        cosine, sine = np.cos(angles), unit * np.sin(angles)
        terms = np.stack([cosine**2, -2 * cosine * sine, sine**2], axis=1)
        rest = terms @ self.squares + (terms[:, [0, 2]] @ np.asarray(self.least))[:, None]
        likely = self.log_prior - self.freedom / 2 * np.log(rest)
        likely = np.exp(likely - likely.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        mean = np.abs(cosine * self.means[0] - sine * self.means[1])
        ratio = mean[:, None] / np.sqrt(rest / self.freedom * self.variance)
        return np.sum(likely * 2 * stdtr(self.freedom, -ratio), axis=1), likely


def ratio_spread(stretches: Sequence[Stretch]) -> RatioSpread:
    """What the blocks of runs say of the ratio of the means of s and g.

    Arguments:
        stretches: one a run; the runs have the model and σ in common, and
            trends of their own.

    Returns:
        The sums that intervals follow from.
    """
    longest = max(float(one.updates.sum()) for one in stretches)
    models = [_models(tuple(one.updates.tolist()), longest) for one in stretches]
    total = sum(float(one.updates[one.inside].sum()) for one in stretches)
    means, squares, variance, volume = np.zeros(2), np.zeros(1), np.zeros(1), np.zeros(1)
    for one, own in zip(stretches, models, strict=True):
        share = one.updates * one.inside / total
        values = np.stack([one.noise_trace, one.gradient_sq])
        rest = values @ np.swapaxes(own.residuals, 1, 2)  # (model, 2, block)
        means = means + values @ share
        squares = squares + np.einsum("mib,mjb->ijm", rest, rest)[[0, 0, 1], [0, 1, 1]]
        variance = variance + own.covariance @ share @ share
        volume = volume + own.log_volume
    memories = _memories(longest)
    held = [sum(_held(memory, one) for one in stretches) for _, memory, _ in memories]
    priors = [math.log(prior) for _, _, prior in memories]
    sizes = [np.concatenate([getattr(one, name) for one in stretches]) for name in NAMES]
    return RatioSpread(
        means=(float(means[0]), float(means[1])),
        squares=np.asarray(squares),
        variance=np.asarray(variance),
        log_prior=volume + np.tile(priors, len(FADING)),
        slow=np.tile(np.asarray(held) < FEW, len(FADING)),
        freedom=sum(own.freedom for own in models),
        least=(LEAST * float(np.mean(sizes[0] ** 2)), LEAST * float(np.mean(sizes[1] ** 2))),
    )


def _held(memory: SumVariance | None, stretch: Stretch) -> float:
    """Independent stretches of the slow part in a run: T²/S(T); ∞ without a slow part."""
    updates = float(stretch.updates.sum())
    return math.inf if memory is None else updates**2 / float(memory(np.asarray(updates)))
