"""Lattice over the growth family, the same for all series of a time grid.

It finds the neighbourhood of each series' maximum without starting values. Its spacing would be
coarse beside the standard error of a clean curve, so no test statistic is taken from it.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .growth_family import EXPONENT_HIGH, EXPONENT_LOW
from .likelihood import Frame, Moments, lengths

Array = NDArray[np.float64]
Index = NDArray[np.intp]

SPACING = 0.125  # of the lattice in p; 0 is one of its points
_CHUNK = 256  # series at a time: the lattice's values then stay in cache


@dataclass(frozen=True)
class Lattice:
    """Members of the family on a grid of exponents and onsets.

    Attributes:
        exponents: p, shape (exponent,).
        shifts: s = ln(t₁ + τ), shape (shift,).
        curves: coordinates of each member, (exponent · shift, rank).
        models: indices of the noise models the lattice is searched under.
        weights: factor of RSS that turns it into exp(−2ℓ/(n − 2)), (model, exponent · shift).
        scales: 1/|u| in each model's metric, (model, exponent · shift).
    """

    exponents: Array
    shifts: Array
    curves: Array
    models: tuple[int, ...]
    weights: Array
    scales: Array


@dataclass(frozen=True)
class Scan:
    """The best of the lattice at each exponent.

    Attributes:
        exponents: p, shape (exponent,).
        value: ℓ, the largest over onsets and the lattice's noise models, (series, exponent).
        shift: s of that point, (series, exponent).
    """

    exponents: Array
    value: Array
    shift: Array

    def __getitem__(self, rows: Index) -> Self:
        return type(self)(self.exponents, self.value[rows], self.shift[rows])


def lattice(frame: Frame) -> Lattice:
    """Grid over the family for the models that differ most from each other.

    Arguments:
        frame: shared quantities of the time grid.

    Returns:
        The lattice.
    """
    exponents = np.arange(EXPONENT_LOW, EXPONENT_HIGH + SPACING / 2, SPACING)
    shifts = _shifts(frame)
    p, s = (axis.ravel() for axis in np.meshgrid(exponents, shifts, indexing="ij"))
    curves = frame.basis.coordinates(p, s)
    models = _contrasting(frame)
    length = lengths(frame, curves)[:, list(models)].T
    constant = frame.constants[list(models), None] + 0.5 * np.log(
        np.einsum("gr,gr->g", curves, curves)
    )
    weights = np.exp(-2 / frame.freedom * (constant - 0.5 * np.log(length)))
    return Lattice(exponents, shifts, curves, models, weights, 1 / np.sqrt(length))


def _shifts(frame: Frame) -> Array:
    low, high = frame.basis.shift_low, frame.basis.shift_high
    if high - low < 1e-9:
        return np.array([low])
    return np.linspace(low, high, max(3, 1 + round((high - low) / 0.6)))


def _contrasting(frame: Frame) -> tuple[int, ...]:
    """One model of each kind, with the middle one of the correlated kinds."""
    plain = [i for i, model in enumerate(frame.models) if not model.nugget and not model.power]
    groups = [[i for i in plain if frame.models[i].kind == kind] for kind in _kinds(frame)]
    return tuple(group[len(group) // 2] for group in groups if group)


def _kinds(frame: Frame) -> tuple[str, ...]:
    return tuple(dict.fromkeys(model.kind for model in frame.models))


def scan(frame: Frame, lattice: Lattice, moments: Moments) -> Scan:
    """Lattice maximum of each series at each exponent.

    Arguments:
        frame: shared quantities of the time grid.
        lattice: the grid.
        moments: of the series.

    Returns:
        The scan; its values lie below the true profile by what the lattice's spacing costs.
    """
    count = moments.power.shape[0]
    starts = range(0, count, _CHUNK)
    parts = [_scan_chunk(lattice, moments[np.arange(i, min(i + _CHUNK, count))]) for i in starts]
    best = np.concatenate([part[0] for part in parts], axis=1).T
    shift = np.concatenate([part[1] for part in parts], axis=1).T
    value = -0.5 * frame.freedom * np.log(best)
    return Scan(lattice.exponents, value, lattice.shifts[shift])


def _scan_chunk(lattice: Lattice, moments: Moments) -> tuple[Array, Index]:
    shape = (lattice.exponents.size, lattice.shifts.size, moments.power.shape[0])
    best = np.full(shape, np.inf)
    for row, model in enumerate(lattice.models):
        fitted = (lattice.curves * lattice.scales[row][:, None]) @ moments.loads[:, model].T
        residual = moments.power[:, model] - np.square(fitted, out=fitted)
        np.maximum(residual, 1e-14 * moments.power[:, model], out=residual)
        residual *= lattice.weights[row][:, None]
        np.minimum(best, residual.reshape(shape), out=best)
    shift = best.argmin(axis=1)
    return np.take_along_axis(best, shift[:, None], axis=1)[:, 0], shift
