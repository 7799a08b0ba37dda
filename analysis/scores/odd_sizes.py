"""Batch sizes that lie off the hyperbola of all others: one alone, or the largest that rise again.

A hyperbola falls with the batch size. Iterations that rise again at the largest ones, as under a
learning rate that they do not stand, and a size that is off alone bend the fitted curve without
following another. Both are tested against what is left of the others: with R of all k sizes and
R' without q of them,

    F = ((R − R')/q)/(R'/(k − q − 2)),

the best of all such choices, its p-value times their number.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from ultraslow.analysis.text import first_of, number, percent

Array = NDArray[np.float64]

LEAST = 3  # sizes that are left
_ERROR = 0.01  # of saying that some are off, of all choices together
_SCATTER = 0.005  # of iterations: sizes that follow a curve more closely are known no better
_GRID = 300
_BEYOND = 30.0  # M_crit is sought from a thirtieth of the smallest to so many times the largest


@dataclass(frozen=True)
class OddSizes:
    """Batch sizes off the hyperbola of the others.

    Attributes:
        places: of the sizes.
        rise: the iterations at the largest size over the fewest of all, less 1, where they rise
            again; 0 for a size that is off alone.
        factor: the iterations of a size that is off alone over those of the others' curve.
    """

    places: tuple[int, ...]
    rise: float
    factor: float

    def in_words(self, sizes: Array) -> str:
        """What is off, without a full stop.

        Arguments:
            sizes: M, shape (size,), samples.
        """
        listed = first_of([number(sizes[place]) for place in self.places], 6)
        if not self.rise:
            return (
                f"batch size {listed} takes {number(self.factor)} times as many iterations as the "
                "hyperbola of the others has there"
            )
        before = number(sizes[self.places[0] - 1])
        return (
            f"beyond batch size {before} the iterations rise again, by {percent(self.rise)} over "
            f"the fewest at {number(sizes[-1])}, which no hyperbola does"
        )


def odd_sizes(sizes: Array, means: Array, weights: Array | None = None) -> OddSizes | None:
    """The sizes that are off the hyperbola of the others; None where none are told.

    Arguments:
        sizes: M, shape (size,), samples, increasing.
        means: mean ln S, shape (size,).
        weights: runs at each size, shape (size,); 1 by default.

    >>> sizes = np.array([16.0, 64, 256, 1024, 4096, 8192])
    >>> steps = 100 * (1 + 512 / sizes) * [1, 1, 1, 1, 1.5, 3]
    >>> print(odd_sizes(sizes, np.log(steps)).in_words(sizes))
    beyond batch size 1024 the iterations rise again, by 112% over the fewest at 8192, which no \
hyperbola does
    """
    count = sizes.size
    if count <= LEAST:
        return None
    weights = np.ones(count) if weights is None else weights
    alone = [(place,) for place in range(count)]
    rising = [tuple(range(first, count)) for first in range(LEAST, count - 1)]
    choices = [*alone, *rising] if means[-1] > means.min() else alone
    whole = _fitted(sizes, means, weights, ())[0]
    found: dict[tuple[int, ...], float] = {}
    for places in choices:
        rest, off = _fitted(sizes, means, weights, places)
        q, freedom = len(places), count - len(places) - 2
        variance = max(rest / freedom, _SCATTER**2)
        if q > 1 and not (off[list(places)] > 0).all():
            continue
        found[places] = float(fdtrc(q, freedom, max(whole - rest, 0.0) / q / variance))
    best = min(found.values())
    if best * (len(alone) + len(rising)) >= _ERROR:
        return None
    places = min(found, key=lambda one: (found[one], len(one)))
    off = _fitted(sizes, means, weights, places)[1]
    last = places[-1] == count - 1
    rise = math.expm1(float(means[-1] - means.min())) if last else 0.0
    if rise and off[-1] > 0:
        return OddSizes(places, rise, math.nan)
    return OddSizes(places, 0.0, math.exp(float(off[places[0]])))


def _fitted(
    sizes: Array, means: Array, weights: Array, without: tuple[int, ...]
) -> tuple[float, Array]:
    """The weighted sum of squares about the hyperbola of the others, and what all sizes leave."""
    kept = np.ones(sizes.size, dtype=bool)
    kept[list(without)] = False
    share = weights * kept
    grid = np.geomspace(sizes[0] / _BEYOND, sizes[-1] * _BEYOND, _GRID)
    for _ in range(2):  # once more about the best, so that exact curves are met
        shapes = np.log1p(grid[:, None] / sizes)
        off = means - shapes
        off = off - (off @ share / share.sum())[:, None]
        squares = off**2 @ share
        best = int(np.argmin(squares))
        near = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
        result = float(squares[best]), off[best]
        grid = np.geomspace(*near, _GRID)
    return result
