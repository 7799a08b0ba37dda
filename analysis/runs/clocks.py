"""Clocks: what distances are followed against in place of iterations.

A law of growth at a constant learning rate is one of iterations. Where the rate changes, the
summed rate Ση is the time that gradient descent has gone, the summed squares of the updates
Σ‖Δw‖² are the time of a random walk, and samples are what was paid for. A clock stands still while
the rate is 0, as before a warm-up: of records at one reading only the first tells anything.
"""

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ultraslow.analysis.text import plural

from .phases import RATE_TOLERANCE
from .readings import fitted_at, measured_until, total_distance

Array = NDArray[np.float64]

ITERATIONS, SUMMED_RATE, UPDATES, SEEN = "iteration", "learning_rate_sum", "update_sq", "samples"
# How the readings of each are called.
CLOCK_WORDS = {ITERATIONS: "iterations", SUMMED_RATE: "Ση", UPDATES: "Σ‖Δw‖²", SEEN: "samples"}
_STEADY = 1e-9  # of a clock's speed: less is the rounding of a sum
_STILL = 1e-12  # of the last reading: less is the rounding of a sum


class Told(NamedTuple):
    """What the status of a series tells of its clock.

    Attributes:
        clock: what t is, in words.
        rate_change: how the learning rate changes, where t does not make up for it.
        note: on the clock, or empty.
    """

    clock: str
    rate_change: str
    note: str


class Timeline(NamedTuple):
    """What the times of a table of series are.

    Attributes:
        words: what they are called.
        iterations: at the records, where the times are not proportional to them; else None.
        still: records left out as that clock stood still.
        unread: records left out as it was not read there.
    """

    words: str
    iterations: Array | None = None
    still: int = 0
    unread: int = 0

    def told(self, change: str) -> Told:
        """What to tell of a series whose learning rate changes like this, or "" where it stays."""
        if self.words == CLOCK_WORDS[ITERATIONS]:
            return Told(self.words, change, "")
        notes = [f"{change}: fitted on {self.words}"] if change else []
        if self.still:
            count = plural(self.still, "record")
            notes.append(f"{count} at which {self.words} did not go on left out")
        if self.unread:
            notes.append(
                f"{plural(self.unread, 'record')} without a reading of {self.words} left out"
            )
        return Told(self.words, "", "; ".join(notes))


ON_ITERATIONS = Timeline(CLOCK_WORDS[ITERATIONS])


class SeriesClock(NamedTuple):
    """What one series is followed against.

    Attributes:
        name: of the clock.
        values: its readings, shape (time,), NaN where unknown.
        change: how the learning rate of the series changes, in words, or empty.
    """

    name: str
    values: Array
    change: str = ""

    def used(self, times: Array) -> NDArray[np.bool_]:
        """Records at which the clock has gone on, of those after iteration 0, shape (time,)."""
        return times > 0 if self.name == ITERATIONS else ticks(self.values) & (times > 0)

    def timeline(self, times: Array) -> Timeline:
        """What the readings at those records are."""
        if self.name == ITERATIONS:
            return ON_ITERATIONS
        used = self.used(times)
        unread = int(np.sum(~np.isfinite(self.values[times > 0])))
        still = int(np.sum(times > 0) - used.sum()) - unread
        speed = self.values[used] / times[used]
        steady = bool(np.all(np.abs(np.diff(speed)) <= _STEADY * speed[1:]))
        return Timeline(clock_words(self.name), None if steady else times[used], still, unread)


def clock_words(name: str) -> str:
    """How the readings of a clock are called; of one's own by its name.

    >>> clock_words("learning_rate_sum")
    'Ση'
    """
    return CLOCK_WORDS.get(name, name)


def ticks(values: Array) -> NDArray[np.bool_]:
    """Records at which a clock has gone on, and is past its beginning, shape (time,).

    >>> ticks(np.array([0.0, 0.0, 0.1, 0.1, 0.3])).tolist()
    [False, False, True, False, True]
    """
    known = np.flatnonzero(np.isfinite(values) & (values > 0))
    kept = np.zeros(values.size, dtype=bool)
    if known.size:
        reached = np.maximum.accumulate(values[known])
        kept[known[np.diff(reached, prepend=0.0) > _STILL * reached[-1]]] = True
    return kept


def summed_rate(times: Array, rates: Array) -> Array:
    """Ση at records, from the rates at them, by trapezoids.

    Arguments:
        times: t >= 0, shape (time,), increasing, iterations.
        rates: η, shape (time,); one that is unknown is interpolated.

    Returns:
        Ση, shape (time,); NaN where no rate is known.

    >>> summed_rate(np.array([1.0, 3.0, 5.0]), np.array([0.1, 0.1, 0.3])).round(3).tolist()
    [0.1, 0.3, 0.7]
    """
    known = np.isfinite(rates)
    if not known.any():
        return np.full(times.shape, np.nan)
    filled = np.interp(times, times[known], rates[known])
    steps = np.diff(times, prepend=0.0)
    return np.cumsum(steps * (filled + np.concatenate([filled[:1], filled[:-1]])) / 2)


def series_clocks(
    distance: xr.DataArray,
    clock: "str | ArrayLike | xr.DataArray | None",
    learning_rate: xr.DataArray | None,
) -> list[SeriesClock]:
    """The clock of each series.

    Arguments:
        distance: d, whose last dimension is `iteration`.
        clock: its name among the coordinates of `distance`, or its readings at each record; None
            for iterations, and Ση of series whose rate changes.
        learning_rate: over `iteration`, and over dimensions of `distance`.

    Returns:
        One for each series, in the order of the other dimensions.

    Raises:
        ValueError: when there is no such clock, or it falls.
        TypeError: when its readings are no numbers.
    """
    times = np.asarray(distance["iteration"].values, dtype=np.float64)
    count = int(np.prod(distance.shape[:-1]))
    rates = None if learning_rate is None else _rows(learning_rate, distance)
    used = np.isfinite(distance.values.reshape(count, times.size)) & (times > 0)
    changes = [""] * count
    if rates is not None:
        changes = [rate_change(times, *pair) for pair in zip(rates, used, strict=True)]
    if clock is None and not any(changes) or isinstance(clock, str) and clock == ITERATIONS:
        return [SeriesClock(ITERATIONS, times, change) for change in changes]
    if clock is None:
        sums = _sums(distance, rates)
        return [
            SeriesClock(SUMMED_RATE, row, change) if change else SeriesClock(ITERATIONS, times)
            for row, change in zip(sums, changes, strict=True)
        ]
    name, readings = _named(distance, clock, rates)
    for row in readings:
        _check_rises(name, row, times)
    return [SeriesClock(name, *pair) for pair in zip(readings, changes, strict=True)]


def _rows(values: xr.DataArray, distance: xr.DataArray) -> Array:
    """Values at the records of each series, shape (series, time); NaN where there are none."""
    there = values.reindex(iteration=distance["iteration"])
    spread = there.broadcast_like(distance).transpose(*distance.dims)
    return np.asarray(spread.values, dtype=np.float64).reshape(-1, distance.sizes["iteration"])


def rate_change(times: Array, rates: Array, used: NDArray[np.bool_]) -> str:
    """How a learning rate changed over the records that are used, in words; empty if not."""
    times, rates = times[used & np.isfinite(rates)], rates[used & np.isfinite(rates)]
    changed = np.flatnonzero(np.abs(rates - rates[:1]) > RATE_TOLERANCE * np.abs(rates[:1]))
    if changed.size == 0:
        return ""
    first = changed[0]
    return (
        f"the learning rate changes from {rates[0]:.4g} to {rates[first]:.4g} "
        f"by iteration {times[first]:g}"
    )


def _sums(distance: xr.DataArray, rates: Array | None) -> Array:
    """Ση as it stands beside the distance, or from the rates."""
    if SUMMED_RATE in distance.coords:
        return _rows(distance[SUMMED_RATE].reset_coords(drop=True), distance)
    times = np.asarray(distance["iteration"].values, dtype=np.float64)
    return np.stack([summed_rate(times, row) for row in ([] if rates is None else rates)])


def _named(
    distance: xr.DataArray, clock: "str | ArrayLike | xr.DataArray", rates: Array | None
) -> tuple[str, Array]:
    """Name and readings of a clock that was asked for, the readings of shape (series, time)."""
    if isinstance(clock, str):
        if clock in distance.coords and "iteration" in distance[clock].dims:
            return clock, _rows(distance[clock].reset_coords(drop=True), distance)
        if clock == SUMMED_RATE and rates is not None:
            return clock, _sums(distance, rates)
        there = ", ".join(_beside(distance))
        raise ValueError(
            f"clock: found no {clock} beside the distance ({there}), expected one of those or its "
            f"reading at each record, as run[{SEEN!r}]"
        )
    if isinstance(clock, xr.DataArray):
        name: Hashable = clock.name or "clock"
        if "iteration" not in clock.dims or set(clock.dims) - set(distance.dims):
            found = ", ".join(map(str, clock.dims)) or "none"
            raise ValueError(f"clock: found dimensions {found}, expected some of {distance.dims}")
        times = distance["iteration"].values
        missed = times[(times > 0) & ~np.isin(times, clock["iteration"].values)]
        if missed.size:
            raise ValueError(
                f"clock: found no reading of {name} at {missed.size} of {times.size} iterations, "
                f"as {missed[0]:g}, expected one at every iteration of distance"
            )
        return str(name), _rows(clock.reset_coords(drop=True), distance)
    try:
        values = np.asarray(clock, dtype=np.float64)
    except (TypeError, ValueError):
        kind = type(clock).__name__
        raise TypeError(f"clock: found {kind}, expected a name or numbers") from None
    if values.shape != (distance.sizes["iteration"],):
        expected = (distance.sizes["iteration"],)
        raise ValueError(f"clock: found shape {values.shape}, expected {expected}, as iterations")
    count = int(np.prod(distance.shape[:-1]))
    return "clock", np.broadcast_to(values, (count, values.size))


def _beside(distance: xr.DataArray) -> list[str]:
    return [str(name) for name, one in distance.coords.items() if one.dims[-1:] == ("iteration",)]


# What an import tells that a clock needs.
_REMEDIES = {
    SEEN: "`ultraslow import --batch-size` says how many samples an update has",
    SUMMED_RATE: "`ultraslow import --learning-rate` says a constant rate, or a schedule",
}


def _not_there(clock: str, there: list[str]) -> str:
    """That a clock is missing, with those that there are."""
    remedy = f"; {_REMEDIES[clock]}" if clock in _REMEDIES else ""
    return f"found no {clock}, expected one that is there ({', '.join(there)}){remedy}"


def _check_rises(name: str, values: Array, times: Array) -> None:
    known = np.flatnonzero(np.isfinite(values))
    falls = np.diff(values[known]) < -_STILL * np.abs(values[known[1:]])
    if falls.any():
        first = int(np.argmax(falls))
        before, after = values[known[first]], values[known[first + 1]]
        at = f"{times[known[first + 1]]:g}"
        raise ValueError(
            f"clock: {name} falls from {before:g} to {after:g} at iteration {at}, expected "
            "readings that do not fall"
        )


def clocks_of(run: xr.Dataset) -> dict[str, Array]:
    """The clocks that a recording holds, with their readings at each record.

    Ση is that recorded, or from the rates at the records by trapezoids; samples are those
    recorded, or the batch size times the iterations.

    Arguments:
        run: a recording.

    Returns:
        Readings of shape (iteration,) by name.
    """
    times = run.variables["iteration"].values.astype(np.float64)
    found = {ITERATIONS: times}
    if "learning_rate_sum" in run:
        found[SUMMED_RATE] = run.variables["learning_rate_sum"].values
    elif "learning_rate" in run:
        found[SUMMED_RATE] = summed_rate(times, run.variables["learning_rate"].values)
    if "step_sq" in run:
        squares = run.variables["step_sq"].sum("tensor", skipna=False).values
        found[UPDATES] = np.cumsum(np.where(times > 0, squares, 0.0))
    size = float(run.variables["batch_size"].values)
    if "samples" in run:
        found[SEEN] = run.variables["samples"].values
    elif size > 0:  # 0 is a batch size that nobody knows
        found[SEEN] = size * times
    return found


def read_clock(run: xr.Dataset, name: str) -> Array:
    """A clock of a recording at each record, shape (iteration,).

    Raises:
        ValueError: when the recording does not hold it.
    """
    found = clocks_of(run)
    if name not in found:
        raise ValueError(f"clock: {_not_there(name, list(found))}")
    return found[name]


def rate_changes(run: xr.Dataset) -> bool:
    """Whether the learning rate of a run changes over its records."""
    if "learning_rate" not in run:
        return False
    times, rates = run.variables["iteration"].values, run.variables["learning_rate"].values
    return bool(rate_change(times, rates, times > 0))


def followed(run: xr.Dataset, clock: str) -> tuple[xr.DataArray, int]:
    """Total distance up to where the training set is fitted, with a clock and the learning rate.

    Arguments:
        run: a recording.
        clock: name of the clock.

    Returns:
        Distances `(iteration,)` after iteration 0 while they are finite numbers, with both as
        coordinates, and the iteration by which the training set is fitted, 0 if that does not end
        them.

    Raises:
        ValueError: when the recording does not hold the clock, or it falls.
    """
    times, fitted = run.variables["iteration"].values, fitted_at(run)
    distance = total_distance(run)
    unknown = np.full(times.size, np.nan)
    rates = run.variables["learning_rate"].values if "learning_rate" in run else unknown
    beside = {clock: read_clock(run, clock), "learning_rate": rates}
    distance = distance.assign_coords({name: ("iteration", one) for name, one in beside.items()})
    _check_rises(clock, distance[clock].values, times)
    until = min(fitted or np.inf, measured_until(run))
    kept = (times > 0) & (times <= until)
    return distance.isel(iteration=kept), fitted if until == fitted else 0
