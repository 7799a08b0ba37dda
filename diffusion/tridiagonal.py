"""Implicit time steps of a walker on a line: tridiagonal systems for many potentials and steps.

W holds the rates of a master equation with jumps to neighbours only,

    up_i = exp(−(V_{i+1} − V_i)/2T)  from site i to i + 1,      down_i = 1/up_i  back,

and a step solves (I − Δt·W)·x = p. The arrays are called `slope` = (V_{i+1} − V_i)/2T.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

Array = NDArray[np.float64]

# exp(300) squared is still a number; anything steeper or deeper needs another form.
STEEPEST = 300.0
# Rows of pivots that are gathered before they are written out site by site.
_ROWS = 16


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
