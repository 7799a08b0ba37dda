"""Phases of a run: stretches of constant learning rate.

A growth law is a statement about one learning rate; a drop of the rate bends every curve. Phases
are read from the recorded rate. Where that was not recorded they can only be guessed from the
curve, whose growth a change of rate makes faster or slower at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# A rate that stays within 1 % of its first value counts as constant: a change of the rate by 1 %
# moves the logarithmic slope of a distance by about as much, far less than seeds differ.
RATE_TOLERANCE = 0.01
# What a guessed phase must hold: a line in ln t with its error, and a bit.
LEAST_RECORDS = 6
_LEAST_FACTOR = 2.0  # by which growth must change at once to count as a change of rate
_CLEAR = 4.0  # standard errors


@dataclass(frozen=True)
class Phase:
    """A stretch of records with one learning rate.

    Attributes:
        first: first iteration, at least 1.
        last: last iteration.
        records: how many records there are.
        learning_rate: the rate; NaN where it is unknown.
    """

    first: float
    last: float
    records: int
    learning_rate: float

    @property
    def decades(self) -> float:
        """Length log10(last/first)."""
        return float(np.log10(self.last / self.first))


def phases(
    iteration: ArrayLike, learning_rate: ArrayLike, *, rate_sum: ArrayLike | None = None
) -> list[Phase]:
    """Stretches of constant learning rate, in order.

    A phase begins at the first record that no earlier phase holds, and lasts while the rates at
    the records, and the mean rates between them, stay within `RATE_TOLERANCE` of its first rate.

    Arguments:
        iteration: t, shape (time,), increasing; records at iteration 0 are left out, which precede
            the first update.
        learning_rate: shape (time,); a record without a finite, positive rate belongs to no phase.
        rate_sum: Σ of the rates up to each record, shape (time,), from which the mean rates
            between records follow; without it a change that is undone between two records passes
            unseen.

    Returns:
        The phases.

    Raises:
        ValueError: when the shapes differ, or iterations do not increase.

    >>> [(phase.first, phase.last) for phase in phases([0, 1, 2, 3, 4], [1, 1, 1, 0.1, 0.1])]
    [(1.0, 2.0), (3.0, 4.0)]
    """
    times = np.asarray(iteration, dtype=np.float64)
    rates = np.asarray(learning_rate, dtype=np.float64)
    sums = None if rate_sum is None else np.asarray(rate_sum, dtype=np.float64)
    for name, given in (("learning_rate", rates), ("rate_sum", sums)):
        if given is not None and (times.shape != given.shape or times.ndim != 1):
            raise ValueError(
                f"{name}: found shape {given.shape}, expected that of iteration, {times.shape}"
            )
    _check_increasing(times)
    started = times > 0
    times, rates = times[started], rates[started]
    between = rates[1:] if sums is None else np.diff(sums[started]) / np.diff(times)
    found, start = [], 0
    while start < times.size:
        end = _end(rates, between, start)
        if np.isfinite(rates[start]) and rates[start] > 0:
            count = end - start + 1
            found.append(Phase(float(times[start]), float(times[end]), count, float(rates[start])))
        start = end + 1
    return found


def _check_increasing(times: Array) -> None:
    if not (np.isfinite(times).all() and np.all(np.diff(times) > 0)):
        raise ValueError("iteration: expected finite values that increase")


def _end(rates: Array, between: Array, start: int) -> int:
    """Last record of the phase that begins at a record; itself where that has no rate."""
    bound = RATE_TOLERANCE * rates[start]
    same = np.abs(rates[start + 1 :] - rates[start]) <= bound
    same &= np.abs(between[start:] - rates[start]) <= bound
    return start + (same.size if same.all() else int(np.argmin(same)))


def guessed_phases(iteration: ArrayLike, distance: ArrayLike) -> list[Phase]:
    """Stretches between the times at which growth changes at once, where no rate was recorded.

    ln(Δd/Δt) is piecewise linear in ln t: it has the slope p − 1 under growth with exponent p and
    steps where the rate does. The number of pieces minimizes RSS/σ² + 4 ln n a piece (PELT); a
    piece counts as a phase of its own where the step is by a factor of two at least and clear of
    its error, so that a curve that only bends, as at an onset, is left in one piece.

    This is a guess: changes of rate by less go unseen, and what else makes growth jump, such as a
    change of batch size, is taken for one.

    References:
        Killick, Fearnhead and Eckley (2012), J. Am. Stat. Assoc. 107, 1590: PELT; `ruptures`.

    Arguments:
        iteration: t, shape (time,), increasing; records at iteration 0 are left out.
        distance: d, shape (time,), finite.

    Returns:
        The phases, with a learning rate of NaN; one for the whole curve where it grows too
        unsteadily, or has too few records, to tell.

    Raises:
        ModuleNotFoundError: without the package `ruptures`.
        ValueError: when the shapes differ, or iterations do not increase.
    """
    if find_spec("ruptures") is None:
        raise ModuleNotFoundError(
            "guessed phases need the package `ruptures`: pip install ruptures"
        )
    times = np.asarray(iteration, dtype=np.float64)
    values = np.asarray(distance, dtype=np.float64)
    if times.shape != values.shape or times.ndim != 1:
        raise ValueError(
            f"distance: found shape {values.shape}, expected that of iteration, {times.shape}"
        )
    _check_increasing(times)
    kept = (times > 0) & np.isfinite(values)
    times, values = times[kept], values[kept]
    if times.size == 0:
        return []
    growth = np.diff(values) / np.diff(times)
    edges = [0, times.size]
    if growth.size >= 2 * LEAST_RECORDS and np.all(growth > 0):
        clock = 0.5 * (np.log(times[1:]) + np.log(times[:-1]))
        edges = [0, *(b + 1 for b in _steps(clock, np.log(growth))), times.size]
    parts = [times[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return [Phase(float(t[0]), float(t[-1]), t.size, float("nan")) for t in parts]


def _steps(clock: Array, signal: Array) -> list[int]:
    """Indices at which a piecewise linear signal steps."""
    # Optional, and without types.
    ruptures = import_module("ruptures")
    design = np.stack([signal, np.ones(clock.size), clock - clock.mean()], axis=1)
    # Second differences of a line are noise alone, of variance 6σ²; their median forgets steps.
    rough = np.abs(np.diff(signal, 2)) / np.sqrt(6)
    variance = max(float(np.median(rough) / 0.6745) ** 2, 1e-12)
    search = ruptures.Pelt(model="linear", min_size=LEAST_RECORDS, jump=1).fit(design)
    ends = search.predict(pen=4 * variance * np.log(clock.size))
    edges = [0, *ends]
    inner = zip(edges[:-2], edges[1:-1], edges[2:], strict=True)
    return [middle for piece in inner if _is_step(clock, signal, piece) for middle in piece[1:2]]


def _is_step(clock: Array, signal: Array, piece: tuple[int, int, int]) -> bool:
    first, middle, last = piece
    at = 0.5 * (clock[middle - 1] + clock[middle])
    before = _line_at(clock[first:middle], signal[first:middle], at)
    after = _line_at(clock[middle:last], signal[middle:last], at)
    step, error = after[0] - before[0], np.hypot(before[1], after[1])
    return bool(abs(step) > max(np.log(_LEAST_FACTOR), _CLEAR * error))


def _line_at(clock: Array, signal: Array, at: float) -> tuple[float, float]:
    """Value of the least-squares line at a time, with its standard error."""
    design = np.stack([np.ones(clock.size), clock - at], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    line = inverse @ (design.T @ signal)
    left = signal - design @ line
    return float(line[0]), float(np.sqrt(left @ left / (clock.size - 2) * inverse[0, 0]))


def longest(found: Sequence[Phase]) -> Phase | None:
    """The phase of most decades, or None where there is none."""
    return max(found, key=lambda phase: phase.decades, default=None)


def within(distance: xr.DataArray, phase: Phase) -> xr.DataArray:
    """The records of a phase."""
    times = distance["iteration"]
    return distance.isel(iteration=np.asarray((times >= phase.first) & (times <= phase.last)))
