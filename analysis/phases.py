"""Phases of a run: stretches of constant learning rate, and what the first time used does to p̂.

A growth law is a statement about one learning rate; a drop of the rate bends every curve. Phases
are read from the recorded rate. Within one, p̂ may still depend on where the fit begins, when the
early curve follows another law than the later one; the scan shows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from .growth import fit_growth

Array = NDArray[np.float64]

# Rates pass through float32 on some optimizers.
RATE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Phase:
    """A stretch of records with one learning rate.

    Attributes:
        first: first iteration, at least 1.
        last: last iteration.
        records: how many records there are.
        learning_rate: the rate.
    """

    first: float
    last: float
    records: int
    learning_rate: float

    @property
    def decades(self) -> float:
        """Length log10(last/first)."""
        return float(np.log10(self.last / self.first))


def phases(iteration: ArrayLike, learning_rate: ArrayLike) -> list[Phase]:
    """Stretches of constant learning rate, in order.

    Arguments:
        iteration: t, shape (time,), increasing; records at iteration 0 are left out, which precede
            the first update.
        learning_rate: shape (time,); a record without a finite rate belongs to no phase.

    Returns:
        The phases.

    Raises:
        ValueError: when the shapes differ.

    >>> [(phase.first, phase.last) for phase in phases([0, 1, 2, 3, 4], [1, 1, 1, 0.1, 0.1])]
    [(1.0, 2.0), (3.0, 4.0)]
    """
    times = np.asarray(iteration, dtype=np.float64)
    rates = np.asarray(learning_rate, dtype=np.float64)
    if times.shape != rates.shape or times.ndim != 1:
        raise ValueError(
            f"learning_rate: found shape {rates.shape}, expected that of iteration, {times.shape}"
        )
    used = (times > 0) & np.isfinite(rates)
    times, rates = times[used], rates[used]
    if times.size == 0:
        return []
    scale = np.maximum(np.abs(rates[1:]), np.abs(rates[:-1]))
    breaks = np.flatnonzero(np.abs(np.diff(rates)) > RATE_TOLERANCE * scale) + 1
    parts = zip(np.split(times, breaks), np.split(rates, breaks), strict=True)
    return [Phase(float(t[0]), float(t[-1]), t.size, float(r[0])) for t, r in parts]


def longest(found: Sequence[Phase]) -> Phase | None:
    """The phase of most decades, or None where there is none."""
    return max(found, key=lambda phase: phase.decades, default=None)


def within(distance: xr.DataArray, phase: Phase) -> xr.DataArray:
    """The records of a phase."""
    times = distance["iteration"]
    return distance.isel(iteration=np.asarray((times >= phase.first) & (times <= phase.last)))


def start_scan(
    distance: xr.DataArray,
    starts: ArrayLike,
    *,
    level: float = 0.95,
    calibrate: bool = True,
    draws: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Growth fits of the same series from several first iterations on.

    The fits share their records, so that their intervals are not independent; and a start chosen
    for its p̂ is no longer covered by its interval.

    Arguments:
        distance: as for `growth.fit_growth`.
        starts: first iterations, shape (start,).
        level: confidence level of each interval.
        calibrate: as for `growth.fit_growth`.
        draws: likewise.
        seed: likewise.

    Returns:
        The fits along a dimension `start`; starts that leave too few records say so in `status`.
    """
    first = np.asarray(starts, dtype=np.float64)
    parts = [
        fit_growth(
            distance.isel(iteration=np.asarray(distance["iteration"] >= start)),
            level=level,
            calibrate=calibrate,
            draws=draws,
            seed=seed,
        )
        for start in first
    ]
    return xr.concat(parts, dim="start", combine_attrs="override").assign_coords(start=first)
