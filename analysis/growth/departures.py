"""Curves that leave the growth family: jumps, two phases, and those that come to rest.

A law is one shape from the first record to the last. Training may jump (a slingshot, a restart),
turn from one law to another, or come to rest faster than any t^p with p ≥ −2 does. The exponent
of the whole is then one of nothing, and noise models that wander take up what is shape. Three
readings of the curve tell, of its share of the growth and not of its likelihood, as wandering
noise of the same size would be as likely:

- a *jump*: an increment between neighbouring records that is many times those around it, on both
  sides, and lasts;
- a *change*: two curves a + b ln t + c (ln t)² + e t with a break between records leave much less
  than the best law does, of something that is no small share of the growth;
- *rest*: after that break hardly anything is added.

Increments are compared with the median of those around, in units of the median of their absolute
deviations, after division by the root of the step in ln t, which evens out walks and smooth
growth alike. How often curves of the family are taken for any of these is simulated:
tests/statistics/departures_table.md.

References:
    Hampel (1974), Journal of the American Statistical Association 69, 383: the median deviation.
    Bai and Perron (2003), Journal of Applied Econometrics 18, 1: breaks by least squares, all
    positions tried.
"""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.text import percent, plural

from .family import Frame
from .status import Assessment

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

LEAST = 20  # records
_SIDE = 6  # records a phase has to have
_AROUND = 15  # increments to both sides that one is compared with
_OUTLYING = 7.0  # median deviations: of 100 increments of Gaussian noise one in 10⁸ curves
_ABOVE = 3.0  # times the three increments before the last one, and the three after the next
_JUMP = 0.02  # of the range
_TOLD = 3  # jumps beside the largest
_LASTING = 8  # records whose median has to stay up
_KEPT = 0.5  # of the jump, that it stays up by
# Shares of the range that the best law leaves, and of that what two phases may leave.
_CHANGES = ((0.02, 1 / 5), (0.025, 0.45), (0.04, 1 / 2))
_FREE = 9  # what two such curves and the break between them are free in
_REST = 0.15  # of the range
_REST_DECADES = 0.2
_NO_GROWTH = 1 / 4  # what two phases may leave of what a law does where growth is within the noise
# Of what a logarithm of that range would add, what is added by rest at most.
_AT_REST = 0.25
_AT_REST_LEAST = 0.03  # of the range, that noise may add
_END = np.log(10) / 3  # of ln t: the last two parts of this length are compared
# Of the range, and times what the best law leaves: a law that leaves more lies beside the records.
_BESIDE, _TIMES = 0.02, 2.0
_SPIKE = 0.15  # of the range, above the level of the last third of the records


class Break(NamedTuple):
    """Where a curve changes.

    Attributes:
        place: index of the first record after it.
        jump: by how much the curve jumps there, of its range; 0 where it does not.
        left: root mean square of what the best law leaves, of the range.
        two_left: that of two phases.
        added: what is added from there on, of the range.
        rests: whether the curve rests from there on.
        others: indices of the first records after further jumps.
    """

    place: int
    jump: float
    left: float
    two_left: float
    added: float
    rests: bool
    others: tuple[int, ...] = ()


def find_breaks(frame: Frame, values: Array) -> list[Break | None]:
    """The largest jump of each curve, or else where it changes; None where it does neither.

    Arguments:
        frame: of the records.
        values: d, shape (series, time), finite and not constant.

    Returns:
        One for each series.
    """
    times = frame.basis.times
    if times.size < LEAST:
        return [None] * len(values)
    scaled = values / np.ptp(values, axis=1)[:, None]
    left = best_law_leaves(frame, scaled)
    changes = _changes(times, scaled)
    sizes = jumps(times, scaled)
    changed = np.zeros(left.shape, dtype=bool)
    for least, share in _CHANGES:
        changed |= (left >= least) & (changes.left <= share * left)
    found: list[Break | None] = []
    for row in range(len(values)):
        two = float(changes.left[row])
        if sizes[row].any():
            place = int(np.argmax(np.abs(sizes[row])))
            others = tuple(int(one) for one in np.flatnonzero(sizes[row]) if one != place)
            jump = float(sizes[row, place])
            found.append(Break(place, jump, float(left[row]), two, 0, False, others))
        elif changed[row]:
            added, rests = float(changes.added[row]), bool(changes.rests[row])
            found.append(Break(int(changes.place[row]), 0.0, float(left[row]), two, added, rests))
        else:
            found.append(None)
    return found


def is_shape(found: Break) -> bool:
    """Whether a break is seen where the growth of the whole curve is within its noise.

    A walk that grows by chance alone has two phases that leave a third of what a law does.
    """
    few = found.left >= _CHANGES[-1][0] and found.two_left <= _NO_GROWTH * found.left
    return bool(found.jump) or few


def best_law_leaves(frame: Frame, values: Array) -> Array:
    """Root mean square of what the best law leaves, over all exponents and onsets, (series,)."""
    curves = frame.lattice.curves
    loads = (values - values.mean(axis=1, keepdims=True)) @ frame.basis.vectors
    along = (loads @ curves.T) ** 2 / np.einsum("gr,gr->g", curves, curves)
    return np.sqrt(np.maximum(values.var(axis=1) - along.max(axis=1) / values.shape[1], 0.0))


def jumps(times: Array, values: Array) -> Array:
    """The jumps that last of each curve, of neighbouring ones the largest.

    Arguments:
        times: t > 0, shape (time,), increasing.
        values: d of a range of 1, shape (series, time).

    Returns:
        Size of the jump before each record, 0 where there is none, shape (series, time).

    >>> times = np.geomspace(1, 1e4, 60)
    >>> curve = np.log(times) + 0.02 * np.sin(7 * np.log(times)) + 2.0 * (times > 900)
    >>> (size,) = jumps(times, curve[None] / np.ptp(curve))
    >>> (place,) = np.flatnonzero(size)
    >>> int(place), float(size[place].round(2)), bool(times[place] > 900)
    (44, 0.18, True)
    """
    clock, sizes = np.log(times), np.zeros(values.shape)
    spacing = np.sqrt(np.diff(clock))
    steps = np.diff(values, axis=1) / spacing
    for at in range(_SIDE - 1, steps.shape[1] - _SIDE + 1):
        first = max(0, min(at - _AROUND, steps.shape[1] - 2 * _AROUND - 1))
        around = np.arange(first, min(first + 2 * _AROUND + 1, steps.shape[1]))
        around = around[np.abs(around - at) > 1]
        middle = np.median(steps[:, around], axis=1)
        off = np.abs(steps - middle[:, None])
        usual = 1.4826 * np.median(off[:, around], axis=1)
        near = np.concatenate([off[:, at - 4 : at - 1], off[:, at + 2 : at + 5]], axis=1)
        jump = (steps[:, at] - middle) * spacing[at]
        kept = _kept(clock, values, at + 1, middle / np.median(spacing[around]))
        found = (off[:, at] > _OUTLYING * np.maximum(usual, 1e-12)) & (np.abs(jump) > _JUMP)
        found &= (off[:, at] > _ABOVE * near.max(axis=1)) & (
            kept * np.sign(jump) > _KEPT * abs(jump)
        )
        before = sizes[:, at]  # a jump over two records counts where it is larger
        found &= np.abs(jump) > np.abs(before)
        before[found], sizes[found, at + 1] = 0.0, jump[found]
    return sizes


def _kept(clock: Array, values: Array, place: int, slope: Array) -> Array:
    """By how much the records after a place lie above those before, less growth at a slope."""
    sides = slice(max(0, place - _LASTING), place), slice(place, place + _LASTING)
    before, after = (np.median(values[:, side], axis=1) for side in sides)
    apart = np.median(clock[sides[1]]) - np.median(clock[sides[0]])
    return after - before - slope * apart


class _Changes(NamedTuple):
    """The best break of each series, each of shape (series,)."""

    place: Rows
    left: Array
    added: Array
    rests: NDArray[np.bool_]


def _changes(times: Array, values: Array) -> _Changes:
    """The break with which two curves leave least: every one is tried."""
    clock, count = np.log10(times), len(values)
    least, place = np.full(count, np.inf), np.zeros(count, dtype=np.intp)
    added = np.zeros(count)
    for at in range(_SIDE, times.size - _SIDE + 1):
        fits = [_smooth(clock[side], values[:, side]) for side in (slice(at), slice(at, None))]
        squares = sum(
            np.sum((values[:, side] - fit) ** 2, axis=1)
            for side, fit in zip((slice(at), slice(at, None)), fits, strict=True)
        )
        better = squares < least
        least[better], place[better] = squares[better], at
        added[better] = (fits[1][:, -1] - fits[1][:, 0])[better]
    rests = [_stays(clock[at:], row[at:]) for row, at in zip(values, place, strict=True)]
    left = np.sqrt(least / (times.size - _FREE))
    return _Changes(place, left, added, (np.abs(added) <= _REST) & np.array(rests))


def _stays(clock: Array, values: Array) -> bool:
    """Whether a curve stays at one level for a while, both halves of its records alike."""
    half = values.size // 2
    apart = abs(np.median(values[half:]) - np.median(values[:half]))
    long = clock[-1] - clock[0] >= _REST_DECADES
    return bool(long and np.ptp(values) <= 1.5 * _REST and apart <= _REST / 3)


def _smooth(clock: Array, values: Array) -> Array:
    """Values of the curve in a clock lg t that fits best, (series, time)."""
    centred = clock - clock.mean()
    columns = [np.ones_like(centred), centred, centred**2, 10 ** (clock - clock[-1])]
    base = np.linalg.qr(np.stack(columns, axis=1))[0]
    return np.asarray((values @ base) @ base.T)


def beside(frame: Frame, values: Array, laws: Array) -> list[tuple[float, float] | None]:
    """What a fitted law leaves and what the closest one does, where it lies beside the records.

    Under noise that wanders the likeliest law need not be near the records, as its increments
    count and not its level.

    Arguments:
        frame: of the records.
        values: d, shape (series, time).
        laws: the fitted laws at the records, shape (series, time).

    Returns:
        Root mean squares of the range, of each series; None where the law is near the records.
    """
    size = np.ptp(values, axis=1)
    least = best_law_leaves(frame, values / size[:, None])
    left = np.sqrt(np.mean((values - laws) ** 2, axis=1)) / size
    far = (left > _BESIDE) & (left > _TIMES * least)
    pairs = zip(left.tolist(), least.tolist(), far, strict=True)
    return [(one, other) if apart else None for one, other, apart in pairs]


def at_rest(times: Array, values: Array) -> NDArray[np.bool_]:
    """Whether less is added at the end than a quarter of what a logarithm would add.

    From one part of ln t to the next, and from the first half of the last one to its second: what
    turns up again at its end has no rest. By lower quartiles, as spikes go up, and in shares of
    the range, of which the highest twentieth counts as spikes.

    Arguments:
        times: t > 0, shape (time,), increasing.
        values: d, shape (series, time).

    Returns:
        Shape (series,).

    >>> times = np.arange(1.0, 301.0)
    >>> at_rest(times, np.stack([np.log(times), 1 - np.exp(-times / 20)]))
    array([False,  True])
    """
    clock = np.log(times)
    whole = clock[-1] - clock[0]
    part = min(_END, whole / 3)
    ends = clock[-1] - part * np.array([0.0, 0.5, 1.0, 2.0])
    places = [times.size]
    for end in ends[1:]:
        places.append(min(int(np.searchsorted(clock, end)), places[-1] - 2))
    if places[-1] < 0:  # all records but a few lie at the end
        return np.zeros(len(values), dtype=bool)
    late, early, before = (
        np.quantile(values[:, start:stop], 0.25, axis=1)
        for stop, start in itertools.pairwise(places)
    )
    last = np.quantile(values[:, places[2] :], 0.25, axis=1)
    pace = _AT_REST * part / whole * _inner_range(values)
    least = _AT_REST_LEAST * _inner_range(values)
    still = np.abs(late - early) <= np.maximum(pace / 2, least)
    return np.asarray((np.abs(last - before) <= np.maximum(pace, least)) & still)


def _inner_range(values: Array) -> Array:
    """The range of each series but for its highest twentieth."""
    return np.asarray(np.quantile(values, 0.95, axis=1) - values.min(axis=1))


def late_spikes(values: Array) -> list[tuple[float, float] | None]:
    """The level of the last third of the records and its highest spike, where it has any.

    Arguments:
        values: d, shape (series, time).

    Returns:
        Lower quartile and maximum of each series, None where they lie close together.

    >>> late_spikes(np.array([[1.0, 2, 3, 4, 5, 5, 5, 9, 5], [1, 2, 3, 4, 5, 5, 5, 5, 5]]))
    [(5.0, 9.0), None]
    """
    third = -(-values.shape[1] // 3)
    last = values[:, -third:]
    level, highest = np.quantile(last, 0.25, axis=1), last.max(axis=1)
    found = highest - level > _SPIKE * _inner_range(values)
    pairs = zip(level.tolist(), highest.tolist(), strict=True)
    return [pair if one else None for pair, one in zip(pairs, found, strict=True)]


def told(
    found: Break,
    times: Array,
    values: Array,
    words: str,
    exponents: tuple[float, float] | None = None,
) -> Assessment:
    """A break as the status of a fit.

    Arguments:
        found: the break.
        times: t of the records, shape (time,).
        values: d at them, shape (time,).
        words: what t is.
        exponents: p̂ before and after it, NaN where that phase is too short to tell; None where
            they were not asked for.

    Returns:
        `saturated` or `two_phases`, with the reason.
    """
    at = _at(times, found.place, words)
    if found.rests:
        added = percent(abs(found.added))
        text = f"the distance comes to rest at about {at}: {added} of its range from there on"
        return Assessment("saturated", text)
    phases = _phases(exponents) if exponents is not None else ""
    if found.jump:
        way = _step(values, found.place)
        again = [f"{_step(values, one)} at {_at(times, one, words)}" for one in found.others]
        more = f" and {plural(len(again) - _TOLD, 'further time')}" if len(again) > _TOLD else ""
        also = f"; it also jumps {', '.join(again[:_TOLD])}{more}" if again else ""
        return Assessment("two_phases", f"the distance jumps {way} at {at}{also}{phases}")
    left, two = percent(found.left, 1), percent(found.two_left, 1)
    text = f"growth changes at about {at}: one law leaves {left} of the range, two phases {two}"
    return Assessment("two_phases", f"{text}{phases}")


def _phases(exponents: tuple[float, float]) -> str:
    """P̂ of both phases, as the end of a reason."""
    before, after = (f"{p:.2f}" if np.isfinite(p) else "too short to tell" for p in exponents)
    return f"; p before it {before}, after it {after}"


def _at(times: Array, place: int, words: str) -> str:
    """A time, on its clock, in words."""
    if words == "iterations":
        return f"iteration {times[place]:.4g}"
    return f"{words} = {times[place]:.4g}"


def _step(values: Array, place: int) -> str:
    """A step of a curve, from one record to the next, in words."""
    before, after = values[place - 1 : place + 1]
    way = "up" if after > before else "down"
    if before > 0:
        way += f" by {percent(abs(after / before - 1))},"
    return f"{way} from {before:.4g} to {after:.4g}"
