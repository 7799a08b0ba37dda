"""Walkers on a random potential on a line: the exact master equation in log-spaced time.

The probabilities themselves are propagated, so a sample is one potential and time runs over as
many decades as wanted. W holds the rates of the master equation, with jumps to neighbours only,

    up_i = exp(−(V_{i+1} − V_i)/2T)  from site i to i + 1,      down_i = 1/up_i  back,

and an implicit step solves (I − Δt·W)·x = p, a tridiagonal system, for many potentials and steps
at once (`eliminate`, `solver`). The arrays are called `slope` = (V_{i+1} − V_i)/2T. The module
`langevin` has walkers in d dimensions, simulated step by step.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import lapack

from ultraslow.diffusion._validation import in_range, increasing, positive

from .potential import checked_potential

Array = NDArray[np.float64]

# exp(300) squared is still a number; anything steeper or deeper needs another form.
STEEPEST = 300.0
# Rows of pivots that are gathered before they are written out site by site.
_ROWS = 16
# The singly diagonally implicit Runge–Kutta method of order 3 with three stages (Alexander 1977,
# SIAM J. Numer. Anal. 14, 1006): γ is the root of 1/6 − 3γ/2 + 3γ² − γ³ that makes it L-stable. On
# a linear equation one step is Σ_j w_j·(1 − γz)^{−j}; w follows from matching 1, z and z²/2, and γ
# then matches z³/6. There is no constant term, so fast modes die as they should.
_GAMMA = 0.4358665215084590
_STAGES = np.linalg.solve(
    [[1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [1.0, 3.0, 6.0]], [1.0, 1 / _GAMMA, 0.5 / _GAMMA**2]
)

# Largest factor between neighbouring times: the error of ⟨x²⟩ on Sinai potentials is then 0.1 %.
RATIO = 10**0.2
# The first step ends here at the latest; rates are of order one.
_FIRST = 1e-2
# Pivots held at once (32 MiB): the elimination runs over rows of all samples and steps in a block.
_BLOCK = 4_000_000


class EdgeWarning(UserWarning):
    """Walkers reached the end of the grid, which then holds them back."""


@dataclass(frozen=True)
class Occupation:
    """Walkers on a line: moments of the exact probabilities, one row a potential.

    Attributes:
        times: t `(time,)`, in units of the time of a jump between equal neighbours.
        mean: ⟨x⟩ `(sample, time)`, sites from the start.
        mean_abs: ⟨|x|⟩ `(sample, time)`, sites.
        mean_sq: ⟨x²⟩ `(sample, time)`, sites squared.
        edge_probability: probability, at most, of having come to an end of the grid before a
            random time, exponential with mean t `(sample, time)`. The chances of the two ends are
            added. A walker that was turned back and left again counts, as it should: beyond the
            end it might have found a deeper valley.
        final: probability of each site at the last time `(sample, site)`.
    """

    times: Array
    mean: Array
    mean_abs: Array
    mean_sq: Array
    edge_probability: Array
    final: Array


def occupation(
    potential: ArrayLike,
    times: ArrayLike,
    *,
    temperature: float,
    ratio: float = RATIO,
    edge_tolerance: float = 1e-3,
) -> Occupation:
    """The moments of a walker that starts at the middle site of each potential.

        dp_i/dt = Σ_{j = i±1} [exp(−(V_i − V_j)/2T)·p_j − exp(−(V_j − V_i)/2T)·p_i]

    with walls at both ends. Steps of an implicit method of order 3 grow with t. Each solves a
    tridiagonal system by an elimination without subtractions, so no digit is lost however deep
    the wells or long the steps are, and the probabilities add up to one without renormalizing.
    Between wells they may undershoot zero by the method's error (1e-5 at the default ratio).

    Arguments:
        potential: V `(sample, site)` or `(site,)`, an odd number of sites.
        times: t `(time,)`, increasing and positive.
        temperature: T > 0, in the unit of V.
        ratio: largest factor between the ends of a time step.
        edge_tolerance: largest edge probability of any sample, at any time, that is passed over
            without a warning.

    Returns:
        Moments of the probabilities at the given times.

    Raises:
        ValueError: when an argument is out of range, or the potential is too steep for the
            temperature.

    Warns:
        EdgeWarning: when walkers reach the ends, with the largest probability, the number of
            samples concerned and the mean over samples.

    References:
        Oshanin, Rosso and Schehr (2013), Physical Review Letters 110, 100602.

    >>> flat = occupation(np.zeros(201), [1.0, 10.0], temperature=1.0)
    >>> flat.mean_sq.round(2)
    array([[ 2., 20.]])
    """
    slope = _slope(checked_potential(potential), positive(temperature, "temperature"))
    t = increasing(times, "times")
    tolerance = in_range(edge_tolerance, "edge_tolerance", 0.0, 1.0, closed=(True, True))
    steps, last = _time_steps(t, in_range(ratio, "ratio", 1.0))
    mean, mean_abs, mean_sq, final = _propagate(slope, steps, last)
    at_edge = np.minimum(arrival(slope, t) + arrival(-slope[:, ::-1], t), 1.0)
    _warn_at_edge(at_edge, t, tolerance)
    return Occupation(t, mean, mean_abs, mean_sq, at_edge, final)


def _slope(potential: Array, temperature: float) -> Array:
    """(V_{i+1} − V_i)/2T, which has to stay where its exponential is a number."""
    change = np.diff(potential, axis=1)
    steepest = float(np.abs(change).max())
    if steepest > 2.0 * temperature * STEEPEST:
        raise ValueError(
            f"temperature: found {temperature:g}, expected at least {steepest / (2 * STEEPEST):g}"
            " for steps of this potential"
        )
    return change / (2.0 * temperature)


def _time_steps(times: Array, ratio: float) -> tuple[Array, NDArray[np.int64]]:
    """Steps whose ends grow at most by the ratio, and the index of the one that ends at each time.

    The first ends at 1e-2 or at the first time, whichever is earlier.
    """
    ends = [np.array([min(times[0], _FIRST)])]
    last = []
    for t in times:
        before = ends[-1][-1]
        n = int(np.ceil(np.log(t / before) / np.log(ratio) - 1e-9))
        if n > 0:
            ends.append(before * (t / before) ** (np.arange(1, n + 1) / n))
        last.append(sum(map(len, ends)) - 1)
    return np.diff(np.concatenate([[0.0], *ends])), np.array(last)


def _warn_at_edge(probability: Array, times: Array, tolerance: float) -> None:
    reached = probability > tolerance
    if not reached.any():
        return
    at = int(np.argmax(reached.any(axis=0)))
    warnings.warn(
        f"edge probability reaches {probability.max():.2g} and passes {tolerance:g} at time"
        f" {times[at]:.3g}, in {int(reached.any(axis=1).sum())} of {len(reached)} samples (their"
        f" mean at the last time is {probability[:, -1].mean():.2g}): a wider grid is needed for"
        " later times",
        EdgeWarning,
        stacklevel=3,
    )


def eliminate(slope: Array, steps: Array, pivots: Array) -> None:
    """Pivots of I − Δt·W for all potentials and time steps at once.

    Columns of W add up to zero, so the pivot is u_i = s_i + Δt·up_i with

        s_0 = 1,    s_{i+1} = 1 + Δt·down_i·s_i/u_i

    where only positive numbers are added (the idea of Grassmann, Taksar and Heyman 1985,
    Operations Research 33, 1107). The textbook form 1 + Δt·(up + down) − … loses the 1 at large
    Δt.

    Arguments:
        slope: (V_{i+1} − V_i)/2T `(sample, site − 1)`.
        steps: Δt `(step,)`, in units of the time of a jump between equal neighbours.
        pivots: receives u `(sample or more, step, site)`.
    """
    samples, gaps = slope.shape
    up, down = np.exp(-slope.T)[:, :, None], np.exp(slope.T)[:, :, None]
    escape, product = np.ones((2, samples, len(steps)))
    rows = np.empty((_ROWS, samples, len(steps)))
    for first in range(0, gaps, _ROWS):
        n = min(_ROWS, gaps - first)
        for i, pivot in zip(range(first, first + n), rows, strict=False):
            np.multiply(up[i], steps, out=product)
            np.add(escape, product, out=pivot)
            escape /= pivot
            np.multiply(down[i], steps, out=product)
            escape *= product
            escape += 1.0
        pivots[:samples, :, first : first + n] = np.moveaxis(rows[:n], 0, -1)
    pivots[:samples, :, gaps] = escape


def arrival(slope: Array, times: Array) -> Array:
    """The probability that a walker from the middle comes to the last site before a random time.

    The random time is exponential with mean t. To step on from site i before it, after any number
    of steps back, has the probability t·up_i/u_i with u the pivot at Δt = t: a ratio of resolvents
    of W, 1/(1 + s_i/(t·up_i)) in the terms of `eliminate`. Arrival is the product of these over
    the sites from the middle on. Within a fixed time t the walker arrives with at most e times
    this probability, since the random time exceeds t with probability 1/e.

    Arguments:
        slope: (V_{i+1} − V_i)/2T `(sample, site − 1)`.
        times: t `(time,)`, in units of the time of a jump between equal neighbours.

    Returns:
        Probabilities `(sample, time)`.
    """
    samples, gaps = slope.shape
    up, down = np.exp(-slope.T)[:, :, None], np.exp(slope.T)[:, :, None]
    escape, missed = np.ones((samples, len(times))), np.zeros((samples, len(times)))
    for i in range(gaps):
        push = times * up[i]
        if i >= gaps // 2:
            missed += np.log1p(escape / push)
        escape = 1.0 + times * down[i] * (escape / (escape + push))
    return np.exp(-missed)


@dataclass(frozen=True)
class Symmetric:
    """One potential's factors in the variables p·exp(V/2T), where W is symmetric.

    LAPACK solves this form twice as fast; exp(V/2T) has to stay in range.
    """

    pivots: Array
    lower: Array
    gauge: Array

    def solve(self, step: int, right: Array) -> Array:
        """(I − γΔt·W)⁻¹ applied to one vector."""
        return lapack.dpttrs(self.pivots[step], self.lower[step], right)[0]

    def probability(self, vector: Array) -> Array:
        """The vector as probabilities."""
        return vector * self.gauge


@dataclass(frozen=True)
class General:
    """One potential's factors in the probabilities themselves, at any depth."""

    pivots: Array
    lower: Array
    upper: Array

    def solve(self, step: int, right: Array) -> Array:
        """(I − γΔt·W)⁻¹ applied to one vector."""
        order = np.arange(1, len(right) + 1, dtype=np.int32)
        zero = np.zeros(len(right) - 2)
        factors = (self.lower[step], self.pivots[step], self.upper[step], zero, order)
        return lapack.dgttrs(*factors, right)[0]

    def probability(self, vector: Array) -> Array:
        """The vector as probabilities."""
        return vector


def solver(slope: Array, steps: Array, pivots: Array) -> Symmetric | General:
    """The solver of one potential's systems, from its pivots.

    Arguments:
        slope: (V_{i+1} − V_i)/2T `(site − 1,)`.
        steps: Δt `(step,)`.
        pivots: from `eliminate` `(step, site)`.

    Returns:
        The faster form where exp(V/2T) stays in range, else the general one.
    """
    height = np.concatenate([[0.0], np.cumsum(slope)])
    height -= height[len(slope) // 2]
    if np.abs(height).max() < STEEPEST:
        return Symmetric(pivots, -steps[:, None] / pivots[:, :-1], np.exp(-height))
    up, down = np.exp(-slope), np.exp(slope)
    return General(pivots, -np.outer(steps, up) / pivots[:, :-1], -np.outer(steps, down))


def _propagate(
    slope: Array, steps: Array, last: NDArray[np.int64]
) -> tuple[Array, Array, Array, Array]:
    """Moments at the recorded steps and the last probabilities, from (V_{i+1} − V_i)/2T."""
    samples, sites = slope.shape[0], slope.shape[1] + 1
    x = np.arange(sites) - sites // 2
    weights = np.stack([x, np.abs(x), x**2], axis=1)
    moments = np.empty((samples, len(last), 3))
    final = np.empty((samples, sites))
    size = min(samples, max(1, _BLOCK // (sites * len(steps))))
    pivots = np.empty((size, len(steps), sites))  # one buffer: fresh pages would cost more
    for start in range(0, samples, size):
        block = slope[start : start + size]
        eliminate(block, _GAMMA * steps, pivots)
        for i, one in enumerate(block):
            path = _one(solver(one, _GAMMA * steps, pivots[i]), sites, last)
            moments[start + i], final[start + i] = path @ weights, path[-1]
    mean, mean_abs, mean_sq = np.moveaxis(moments, -1, 0)
    return mean, mean_abs, mean_sq, final


def _one(system: Symmetric | General, sites: int, last: NDArray[np.int64]) -> Array:
    """Probabilities `(time, site)` of one walker at the ends of the recorded steps."""
    vector = np.zeros(sites)
    vector[sites // 2] = 1.0
    kept = np.empty((len(last), sites))
    for step in range(last[-1] + 1):
        first = system.solve(step, vector)
        second = system.solve(step, first)
        third = system.solve(step, second)
        vector = _STAGES[0] * first + _STAGES[1] * second + _STAGES[2] * third
        kept[last == step] = system.probability(vector)
    return kept
