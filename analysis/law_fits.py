"""Least-squares fits of the laws that are compared, in the metric of a noise model.

The curve d = a + b f(t; θ) is linear in a and b, which are eliminated (variable projection); θ is
searched on its grid of starts and then moved to the minimum by `scipy.optimize.least_squares`.

References:
    Golub and Pereyra (1973), SIAM J. Numer. Anal. 10, 413: variable projection.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from .candidates import Candidate

Array = NDArray[np.float64]

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
    offset, slope = _linear(of, values, shape)
    return LawFit(shape, offset, slope)


def _polished(of: Search, values: Array, starts: Array) -> Array:
    """θ at the lowest of the minima that the starts lead to."""
    if starts.shape[1] == 0:
        return starts[0]
    low, high = of.candidate.bounds(of.times)
    found = [
        least_squares(
            lambda shape: residuals(of, values, shape),
            np.clip(start, low + 1e-6, high - 1e-6),
            bounds=(low, high),
            x_scale=high - low,
            max_nfev=_STEPS,
        )
        for start in starts
    ]
    return min(found, key=lambda each: each.cost).x


def residuals(of: Search, values: Array, shape: Array) -> Array:
    """Whitened residuals at given θ, with a and b at their best, shape (time,)."""
    offset, slope = _linear(of, values, shape)
    return _whitened(of, values - offset - slope * of.candidate.curve(of.times, shape))


def _whitened(of: Search, values: Array) -> Array:
    return values if of.white is None else of.white @ values


def _linear(of: Search, values: Array, shape: Array) -> tuple[float, float]:
    """A and b, the latter 0 where the curve would have to fall."""
    curve = of.candidate.curve(of.times, shape)
    white, data = _whitened(of, curve), _whitened(of, values)
    rising = white - (white @ of.ones) * of.ones
    length = float(rising @ rising)
    slope = max(float(rising @ data) / length, 0.0) if length > 0 else 0.0
    unit = _whitened(of, np.ones(of.times.size))
    return float(unit @ (data - slope * white)) / float(unit @ unit), slope
