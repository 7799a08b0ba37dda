"""Learning rates of runs whose log has none, or has it at some updates only.

A schedule gives the rate of each update t = 1, 2, …; update t has the rate after t − 1 steps of
the scheduler, as PyTorch counts. Its sum is added up update by update.

    0.1                               constant
    cyclic:LOW,HIGH,UP,DOWN           from LOW to HIGH in UP updates, back in DOWN, again and again
    cosine:HIGH,LAST[,LOW]            half a cosine that ends at LOW (0) after update LAST
    linear:HIGH,LAST[,LOW]            a straight line likewise
    steps:RATE,AFTER:RATE,…           another rate after each update named
    warmup:LENGTH+SCHEDULE            a straight line from 0 to the schedule's first rate; cosine
                                      and line begin after it, LAST and AFTER count from the
                                      start of the run

References:
    Smith (2017), Cyclical learning rates for training neural networks, section 3: cyclic.
    Loshchilov and Hutter (2017), SGDR: stochastic gradient descent with warm restarts, eq. 5.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sheet import shown

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

_BLOCK = 2**20  # updates whose rates are held at once
_REPEATED = 0.5  # share of rows that repeat the one before, from which on a rate goes in steps
_LONGEST = 2**33  # updates that are added up one by one, a minute's work
_FORMS = {
    "cyclic": "cyclic:LOW,HIGH,UP,DOWN",
    "cosine": "cosine:HIGH,LAST[,LOW]",
    "linear": "linear:HIGH,LAST[,LOW]",
    "steps": "steps:RATE,AFTER:RATE,…",
    "warmup": "warmup:LENGTH+SCHEDULE",
}


@dataclass(frozen=True)
class RateSchedule:
    """A learning rate of which every update is known.

    Attributes:
        text: as a person wrote it.
        of: from updates t ≥ 1, shape (update,), to their rates.
        constant: whether it is one number.
    """

    text: str
    of: Callable[[Array], Array]
    constant: bool = False

    def at(self, iteration: Rows) -> Array:
        """The rate of the update that each record follows; of the first one at iteration 0."""
        return self.of(np.maximum(iteration, 1).astype(np.float64))

    def summed(self, iteration: Rows) -> Array:
        """Σ of the rates of updates 1 … t, shape (record,)."""
        if self.constant:
            return self.at(iteration) * iteration
        if iteration[-1] > _LONGEST:
            raise ValueError(
                f"--learning-rate: found {iteration[-1]} updates, expected {_LONGEST} at most"
            )
        ends = np.unique(np.concatenate([[0], iteration, np.arange(0, iteration[-1], _BLOCK)]))
        parts = [
            float(self.of(np.arange(first + 1, last + 1, dtype=np.float64)).sum())
            for first, last in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        ]
        total = np.concatenate([[0.0], np.cumsum(parts)])
        return np.asarray(total[np.searchsorted(ends, iteration)], dtype=np.float64)


def schedule(text: str) -> RateSchedule | None:
    """The schedule that a text describes; None where it describes none.

    Raises:
        ValueError: when it begins as one and goes on otherwise.

    >>> rate = schedule("cyclic:0,1,2,2")
    >>> rate.of(np.arange(1.0, 6.0))
    array([0. , 0.5, 1. , 0.5, 0. ])
    >>> schedule("lr") is None
    True
    """
    try:
        rate = float(text)
    except ValueError:
        kind, colon, rest = text.partition(":")
        if not colon or kind not in _FORMS:
            return None
        return RateSchedule(text, _function(kind, rest, text))
    _check(text, "a number", rate >= 0 and math.isfinite(rate))
    return RateSchedule(text, lambda t: np.full(np.shape(t), rate), constant=True)


def _function(kind: str, rest: str, text: str) -> Callable[[Array], Array]:
    if kind == "warmup":
        return _warm_up(rest, text)
    if kind == "steps":
        return _steps(rest, text)
    numbers = _numbers(rest, text, kind)
    if kind == "cyclic":
        _check(text, kind, len(numbers) == 4 and min(numbers) >= 0 and min(numbers[2:]) > 0)
        _check(text, kind, numbers[0] <= numbers[1])
        return _cyclic(*numbers)
    _check(text, kind, len(numbers) in (2, 3) and min(numbers) >= 0 and numbers[1] >= 1)
    return _decay(kind, *numbers)


def _numbers(rest: str, text: str, kind: str) -> list[float]:
    try:
        numbers = [float(part) for part in rest.split(",")]
    except ValueError:
        numbers = []
    _check(text, kind, bool(numbers) and all(map(math.isfinite, numbers)))
    return numbers


def _check(text: str, kind: str, holds: bool) -> None:
    if not holds:
        wanted = _FORMS.get(kind, "a rate of 0 or more")
        raise ValueError(f"--learning-rate: found {shown(text)}, expected {wanted}")


def _cyclic(low: float, high: float, up: float, down: float) -> Callable[[Array], Array]:
    def rates(t: Array) -> Array:
        place = (t - 1) % (up + down)
        share = np.where(place <= up, place / up, (up + down - place) / down)
        return np.asarray(low + (high - low) * share)

    return rates


def _decay(
    kind: str, high: float, last: float, low: float = 0.0, *, begin: float = 0.0
) -> Callable[[Array], Array]:
    def rates(t: Array) -> Array:
        share = np.clip((t - 1 - begin) / (last - begin), 0, 1)
        left = (1 + np.cos(np.pi * share)) / 2 if kind == "cosine" else 1 - share
        return np.asarray(low + (high - low) * left)

    return rates


def _steps(rest: str, text: str) -> Callable[[Array], Array]:
    first, *later = rest.split(",")
    pairs = [part.split(":") for part in later]
    _check(text, "steps", all(len(pair) == 2 for pair in pairs))
    numbers = _numbers(",".join([first, *(one for pair in pairs for one in pair)]), text, "steps")
    after, rates = np.array(numbers[1::2]), np.array(numbers[::2])
    _check(text, "steps", bool(np.all(np.diff(after) > 0) and (rates >= 0).all()))
    return lambda t: np.asarray(rates[np.searchsorted(after, t, side="left")])


def _warm_up(rest: str, text: str) -> Callable[[Array], Array]:
    begins, plus, below = rest.partition("+")
    length = _numbers(begins, text, "warmup")[0]
    kind, _, numbers = below.partition(":")
    _check(text, "warmup", bool(plus) and length >= 1 and kind != "warmup")
    after = _behind(length, kind, numbers, text, below)
    full = float(after(np.array([length + 1.0]))[0])
    return lambda t: np.where(t <= length, full * t / length, after(np.maximum(t, length + 1)))


def _behind(
    length: float, kind: str, numbers: str, text: str, below: str
) -> Callable[[Array], Array]:
    """A schedule that begins after so many updates; cosine and line end where they say."""
    if kind in ("cosine", "linear"):
        given = _numbers(numbers, text, kind)
        _check(text, kind, len(given) in (2, 3) and min(given) >= 0 and given[1] > length)
        high, last, *low = given
        return _decay(kind, high, last, *(low or [0.0]), begin=length)
    inner = schedule(below)
    if inner is None:
        raise ValueError(f"--learning-rate: found {shown(text)}, expected {_FORMS['warmup']}")
    if kind == "steps":  # after which updates stands in it
        return inner.of
    of = inner.of
    return lambda t: of(t - length)


@dataclass(frozen=True, eq=False)
class LoggedRate:
    """A learning rate that was logged at some updates.

    Where most rows repeat the one before, it goes in steps, and each row's rate is kept until the
    next; else it goes on straight lines between rows. The first and the last one are kept beyond
    them.

    Attributes:
        iteration: updates, shape (row,), increasing.
        rate: their rates.
    """

    iteration: Array
    rate: Array

    @property
    def constant(self) -> bool:
        """Whether all of them are equal."""
        return bool(np.all(self.rate == self.rate[0]))

    @property
    def in_steps(self) -> bool:
        """Whether most rows repeat the one before."""
        return bool(np.mean(np.diff(self.rate) == 0) >= _REPEATED) if self.rate.size > 1 else True

    def at(self, iteration: Rows | Array) -> Array:
        """The rate at each record."""
        if not self.in_steps:
            return np.interp(iteration, self.iteration, self.rate)
        row = np.searchsorted(self.iteration, iteration, side="right") - 1
        return np.asarray(self.rate[np.maximum(row, 0)], dtype=np.float64)

    def summed(self, iteration: Rows) -> Array:
        """Σ of the rates of updates 1 … t, shape (record,).

        Between two rows the n rates of a line from r to s add up to n·r + (s − r)(n + 1)/2, those
        of a step to (n − 1)·r + s.
        """
        known = np.unique(np.concatenate([[0], self.iteration, iteration]))
        rates, count = self.at(known), np.diff(known)
        rise = np.diff(rates) * (1 if self.in_steps else (count + 1) / 2)
        total = np.concatenate([[0.0], np.cumsum(count * rates[:-1] + rise)])
        return np.asarray(total[np.searchsorted(known, iteration)], dtype=np.float64)


Rate = RateSchedule | LoggedRate


def taken_for_granted(rate: Rate) -> str:
    """What is taken for granted with a learning rate, in a sentence."""
    if isinstance(rate, RateSchedule):
        return f"the learning rate is {rate.text}, as was said, and not measured"
    if rate.constant:
        return "the learning rate is the logged one at all updates"
    first = int(rate.iteration[0])
    before = ""
    if first > 1:
        before = (
            f"; up to update {first}, the first that has one, it is taken to be {rate.rate[0]:g}"
        )
    if rate.in_steps:
        return f"the learning rate is kept from each row that has it until the next{before}"
    return (
        "the learning rate goes on straight lines between the rows that have it; its sum is added "
        f"up along them{before}"
    )
