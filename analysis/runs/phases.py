"""Stretches of a run at one learning rate, and the one that growth laws are about."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .heading import Stretch

Array = NDArray[np.float64]

# A rate that stays within 1 % of its first value counts as constant: a change of the rate by 1 %
# moves the logarithmic slope of a distance by about as much, far less than seeds differ.
RATE_TOLERANCE = 0.01
# A training set is fitted at this share of the first loss. Of a small residual network on 320
# images the loss stays at 7 % for a while, with half of the gradient noise of the start; from 5 %
# on both fall by powers of ten.
FITTED_SHARE = 0.05
_NO_TIMES = np.empty(0, dtype=np.int64)


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


# Arms, names, clocks and windows ask some forty times a run. What is kept follows from the numbers
# alone, so that no answer depends on what was asked before.
@lru_cache(maxsize=2048)
def longest(series: tuple[bytes, ...], fitted: int, until: float) -> Stretch:
    """The phase of constant rate that lasts for most decades, up to where something ends it.

    Arguments:
        series: iterations, rates and, where known, their sums, each as the bytes of its numbers.
        fitted: the iteration at which the training set is fitted; 0 where it never is.
        until: the last one at which distances are finite.

    Returns:
        The stretch; empty, with a reason, where nothing is left.
    """
    iteration, rate, *sums = (np.frombuffer(one) for one in series)
    found = phases(iteration, rate, rate_sum=sums[0] if sums else None)
    if not found:
        return Stretch(_NO_TIMES, float("nan"), "no record after iteration 0 has a positive rate")
    end = min(fitted or math.inf, until)
    before = [phase for phase in found if phase.first <= end]
    if not before:
        cut = fitted if fitted and fitted <= until else 0
        why = fitted_by(fitted) if cut else f"no distance is finite after iteration {until:.0f}"
        reason = f"{why}, before the learning rate is constant"
        return Stretch(_NO_TIMES, found[0].learning_rate, reason, cut)
    chosen = max(before, key=lambda phase: min(phase.last, end) / phase.first)
    last = min(chosen.last, end)
    used = iteration[(iteration >= chosen.first) & (iteration <= last)].astype(np.int64)
    used.flags.writeable = False
    whole = min(chosen.last, fitted or math.inf)
    cut, lost = (fitted, 0) if last == fitted < chosen.last else (0, int(whole))
    lost = lost if last < whole else 0
    return Stretch(used, chosen.learning_rate, "", cut, lost)


def fitted_by(iteration: int) -> str:
    """That a training set is fitted by an iteration, in words without a full stop."""
    share = f"loss at {FITTED_SHARE:.0%} of its start"
    return f"the training set is fitted by iteration {iteration} ({share})"
