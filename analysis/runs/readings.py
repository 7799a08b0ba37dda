"""What is read off one run: settings, its phase of constant rate, clocks, distances, slopes, heat.

A growth law is a statement about one learning rate, before the training set is fitted; a drop of
the rate bends every curve. Phases are read from the recorded rate. A clock is known from the rates
and the batch size: iterations t, the summed rate Ση, the summed squared rate over the batch size
Ση²/M, and samples Mt. The log-slope is dd/d ln t by least squares; a change of the unit of time
leaves it alone.

The walk on a random potential is the motion before the training set is fitted, while samples have
a loss to lower and gradients that differ. After that weights come to rest, or go on like ln t in
the direction of the largest margin without noise or barriers (null law N5). Either reads like a
logarithm, and arms at rest at one distance read like curves that coincide.

References:
    Hoffer, Hubara and Soudry (2017), arXiv 1705.08741: the initial phase of high learning rate.
    Soudry et al. (2018), Journal of Machine Learning Research 19, 70: ln t on separable data.
"""

import json
import math
from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.diffusion import scaling
from ultraslow.diffusion.recording import DatasetLike

from .heading import Heading, Stretch
from .phases import FITTED_SHARE, longest

Array = NDArray[np.float64]
Span = tuple[float, float]

ITERATION, RATE, NOISE, SAMPLES = "iteration", "Ση", "Ση²/M", "samples"
CLOCKS = (ITERATION, RATE, NOISE, SAMPLES)
GRID = 33  # times at which curves of several runs are compared
# Fewer records than this in a decade do not give a slope that two neighbours do not decide.
RECORDS = 5
_ROUNDING = 1e-9  # of a distance, which is a sum of many squares
_COVERED = 0.7  # of a span that is averaged over, from which on a mean is one over the span
# The noise of the gradients, tr Σ, falls with the loss where samples are fitted. Where they are
# not it stays: at a third of the first loss it is that of the start in the recordings of CIFAR-10.
_CALM = 0.5
# Fitted sets go on to lose like t^(−0.6) and faster; a loss that rests sooner rests at a floor.
_FALL = 0.2
_NOTHING = 1e-3  # of the start: below, a loss may rest, as at the precision of its numbers
_NEAR = 10**0.1  # records within this factor of a time tell the loss at it, by their median
# Untrained networks of large outputs lose much more at first than by guessing; that is lost
# within the first updates, and within the first pass, without any sample being fitted.
_FIRST_UPDATES = 10


def label(run: DatasetLike, name: str, default: object = "") -> object:
    """A scalar that runs are grouped by, as a plain value; the default where it is missing."""
    # Asked many times a run: a variable is had in a tenth of the time that a DataArray takes.
    return run.variables[name].values.item() if name in run.variables else default


def injected_noise(run: DatasetLike) -> float:
    """Standard deviation of the noise added to each gradient component.

    It is the coordinate `added_noise`. Recordings made before there was one hold it among the
    settings of the reference loop, or as their owner's own `gradient_noise`.
    """
    if isinstance(run, Heading):
        return run.noise
    declared = label(run, "added_noise", None)
    if declared is not None:
        return float(str(declared))
    try:
        config = json.loads(str(run.attrs.get("config", "{}")))
        return float({**config, **config.get("settings", {})}.get("gradient_noise", 0.0))
    except (ValueError, TypeError, AttributeError):
        return 0.0


def momentum(run: xr.Dataset) -> float:
    """Momentum coefficient m; 0 where none was recorded."""
    found = float(str(label(run, "momentum", 0.0)))
    return found if 0 <= found < 1 else 0.0


# Gradients of two updates at equal weights that differ by less are one gradient but for rounding.
# With batch statistics of 80 samples that are drawn anew they differ by 0.4.
SAME_GRADIENT = 0.01


def whole_batch(run: xr.Dataset) -> bool:
    """Whether an update holds as many samples as the training set, and no noise was added."""
    size = label(run, "data_size", None)
    whole = size is not None and int(run.variables["batch_size"].values) >= int(str(size))
    return whole and injected_noise(run) == 0


def noise_free(run: xr.Dataset) -> bool | None:
    """Whether each update was the same full gradient; None where nobody measured or declared it.

    Updates of the whole training set are not: samples that are augmented, or meet in other parts
    of the batch that share batch statistics, give another gradient each time. The coordinate
    `gradient_difference` tells.
    """
    if not whole_batch(run):
        return False
    difference = float(str(label(run, "gradient_difference", math.nan)))
    return None if math.isnan(difference) else difference < SAME_GRADIENT


def sampling_share(run: xr.Dataset) -> float:
    """1 − M/D, the share of the noise that sampling without replacement leaves; 1 without D."""
    size = float(run.variables["batch_size"].values)
    return float(size * scaling.noise_factor(size, _data_size(run)))


def _data_size(run: xr.Dataset) -> float | None:
    size = label(run, "data_size", None)
    return None if size is None else max(float(str(size)), float(run.variables["batch_size"]))


def fitted_at(run: DatasetLike) -> int:
    """The iteration from which on a run has fitted its training set; 0 where it never has.

    From there on the training loss stays at or below `FITTED_SHARE` of its start, after a pass
    over the training set, by the median of the records around each time, so that a spike is none.
    The start is the first loss, or the median over the first pass where that is less. The loss
    must go on falling, which one with a floor does not, and the noise of the gradients must have
    fallen to half, where it was recorded.

    Arguments:
        run: a recording.

    Returns:
        The last recorded iteration t ≥ 1 before that; 0 where the loss was not recorded, or is no
        mean over updates, as the potential of a simulated walk, and without gradient noise beside.
    """
    if isinstance(run, Heading):
        return run.fitted
    known = run.variables
    if "loss" not in known or not (
        "loss_updates" in known or np.isfinite(_noise_trace(run)).any()
    ):
        return 0
    times, loss = known["iteration"].values.astype(np.float64), known["loss"].values
    used = np.isfinite(loss) & (times > 0)
    times, loss = times[used], loss[used]
    # Most runs never come near: what follows is for those that do.
    ended = sorted(loss[-3:])  # whose middle is their median, at a tenth of its cost
    if times.size < 3 or not 0 <= ended[1] <= FITTED_SHARE * loss[0] or loss.min() < 0:
        return 0
    first_pass = _first_pass(run)
    limit = FITTED_SHARE * _start(times, loss, first_pass)
    above = _mostly((loss > limit) | (times < first_pass), times)
    last = int(np.flatnonzero(above)[-1]) if above.any() else 0
    if last == times.size - 1 or not _falls(times[last + 1 :], loss[last + 1 :], limit):
        return 0
    return int(times[last]) if _calmed(_noise_trace(run)[used], last) else 0


def _noise_trace(run: DatasetLike) -> Array:
    """Tr Σ of each record's window, shape (iteration,); NaN where unknown."""
    trace = run.variables.get("noise_trace")
    if trace is None:
        return np.full(run.sizes["iteration"], np.nan)
    axes = tuple(place for place, dim in enumerate(trace.dims) if dim != "iteration")
    return np.asarray(trace.values.sum(axis=axes), dtype=np.float64)


def _first_pass(run: DatasetLike) -> float:
    """Updates of the first pass over the training set; 0 where its size is unknown."""
    size, batch = run.variables.get("data_size"), int(run.variables["batch_size"].values)
    return float(size.values) / batch if size is not None and batch else 0.0


def _start(times: Array, loss: Array, first_pass: float) -> float:
    """What the loss starts from: its first value, or the median over the first pass."""
    early = times <= max(first_pass, _FIRST_UPDATES)
    early[0] = True
    order = np.argsort(loss[early])
    updates = np.cumsum(np.diff(times[early], prepend=0.0)[order])
    middle = int(np.searchsorted(updates, updates[-1] / 2))
    return float(min(loss[0], loss[early][order][middle]))


def _mostly(holds: NDArray[np.bool_], times: Array) -> NDArray[np.bool_]:
    """Where something holds of most records around a time, its two neighbours at the least."""
    places = np.arange(times.size)
    first = np.minimum(np.searchsorted(times, times / _NEAR), np.maximum(places - 1, 0))
    after = np.searchsorted(times, times * _NEAR, side="right")
    after = np.maximum(after, np.minimum(places + 2, times.size))
    count = np.concatenate([[0], np.cumsum(holds)])
    return 2 * (count[after] - count[first]) > after - first


def _falls(times: Array, loss: Array, limit: float) -> bool:
    """Whether the loss goes on falling after it went below a limit, by its slope in ln t."""
    clock = np.log(times)
    late = clock >= (clock[0] + clock[-1]) / 2
    if np.median(loss[late]) <= _NOTHING / FITTED_SHARE * limit or late.sum() < 4:
        return True
    positive = late & (loss > 0)
    return bool(np.polyfit(clock[positive], np.log(loss[positive]), 1)[0] <= -_FALL)


def _calmed(noise: Array, last: int) -> bool:
    """Whether the gradients' noise after a record is far below that before; yes where unknown."""
    before, after = noise[: last + 1], noise[last + 1 :]
    before, after = before[np.isfinite(before)], after[np.isfinite(after)]
    if not (before.size and after.size):
        return True
    return bool(np.median(after) <= _CALM * np.median(before))


def constant_rate(run: DatasetLike) -> Stretch:
    """The longest phase of constant learning rate, in decades, before the training set is fitted.

    Growth laws are about this phase: `phases` of the rate, cut where `fitted_at` says that nothing
    is left to fit, and where weights cease to be finite numbers (`measured_until`).

    Arguments:
        run: a recording.

    Returns:
        The stretch; empty, with a reason, when the rate was not recorded or constant only later.
    """
    if isinstance(run, Heading):
        return run.stretch
    return _longest(run, fitted_at(run), measured_until(run))


def measured_until(run: DatasetLike) -> float:
    """The last iteration t ≥ 1 at which the distance of all tensors is finite; ∞ without any."""
    if isinstance(run, Heading):
        return run.until
    squares = run.variables.get("distance_sq")
    if squares is None:
        return math.inf
    values, times = squares.values, run.variables["iteration"].values
    values = np.moveaxis(values, squares.dims.index("iteration"), 0)
    if np.isfinite(values[-1]).all():
        return float(times[-1]) if times[-1] > 0 else math.inf
    finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim))) & (times > 0)
    return float(times[finite][-1]) if finite.any() else math.inf


def rests_at(run: DatasetLike) -> int:
    """The iteration of the first record where that is later than 1 and its distance 0; else 0.

    Training begins there, and iterations that count from an earlier one lie on another clock.
    """
    times, squares = run.variables["iteration"].values, run.variables.get("distance_sq")
    if squares is None or isinstance(run, Heading) or not times.size or times[0] <= 1:
        return 0
    return 0 if np.any(squares.values[:1] != 0) else int(times[0])


def whole_constant_rate(run: xr.Dataset) -> Stretch:
    """As `constant_rate`, however well the training set is fitted: for scores, not for laws."""
    return _longest(run, 0, math.inf)


def _longest(run: DatasetLike, fitted: int, until: float) -> Stretch:
    known = run.variables
    if "learning_rate" not in known:
        return Stretch(np.empty(0, dtype=np.int64), math.nan, "the learning rate was not recorded")
    named = ("iteration", "learning_rate", "learning_rate_sum")
    series = [np.asarray(known[name].values, np.float64) for name in named if name in known]
    return longest(tuple(one.tobytes() for one in series), fitted, until)


def total_distance(run: xr.Dataset) -> xr.DataArray:
    """Distance of all weights from their initial values.

    d_t = (Σ_tensor ‖w_t − w_0‖²)^½; NaN where that of a tensor is unknown.

    Arguments:
        run: a recording.

    Returns:
        Distances `(iteration,)`, dimensionless, with that coordinate alone.
    """
    at = {"iteration": run.variables["iteration"]}
    return xr.DataArray(distances(run), at, ["iteration"], name="distance")


def distances(run: xr.Dataset) -> Array:
    """The values of `total_distance`, shape (iteration,), which are had in half of its time."""
    # Labels of the run would be carried along by each step, which takes most of the time.
    return np.sqrt(_over_tensors(run, "distance_sq"))


def _over_tensors(run: DatasetLike, name: str) -> Array:
    """The sum of a variable over tensors, shape (iteration,), without xarray's overhead."""
    found = run.variables[name]
    return np.asarray(found.values.sum(axis=found.dims.index("tensor")))


def clock_values(run: xr.Dataset, clock: str) -> Array:
    """The clock at each record.

    Ση² is taken as η·Ση, with η of the phase of constant rate: exact within it up to a constant.

    Arguments:
        run: a recording.
        clock: one of `CLOCKS`.

    Returns:
        Its values, shape (iteration,).
    """
    iteration = run.variables["iteration"].values
    if clock == ITERATION:
        return iteration
    size = int(run.variables["batch_size"].values)
    if clock == SAMPLES:
        return iteration * float(size)
    rate = constant_rate(run).rate
    known = run.variables.get("learning_rate_sum")
    summed = rate * iteration if known is None else known.values
    return summed if clock == RATE else rate * summed / size


def common_window(
    runs: Mapping[str, xr.Dataset], *, clock: str = ITERATION
) -> tuple[float, float]:
    """Where the records of all runs at a constant rate overlap on a clock; (1, 0) for nowhere."""
    ends = [_ends(run, clock) for run in runs.values()]
    if not all(last > 0 for _, last in ends):
        return 1, 0
    return max(first for first, _ in ends), min(last for _, last in ends)


def _ends(run: xr.Dataset, clock: str) -> tuple[float, float]:
    """The clock at the first and last record of the stretch of constant rate."""
    stretch = constant_rate(run).iteration
    if not stretch.size:
        return 1.0, 0.0
    values = clock_values(run, clock)[np.isin(run.variables["iteration"].values, stretch)]
    return values[0].item(), values[-1].item()


def last_common_decade(
    runs: Mapping[str, xr.Dataset], *, clock: str = ITERATION
) -> NDArray[np.float64]:
    """Times of the last decade in `common_window`, equally spaced in their logarithm, (GRID,)."""
    last = common_window(runs, clock=clock)[1]
    return np.geomspace(last / 10, last, GRID)


def log_distance(
    run: xr.Dataset, times: NDArray[np.float64], *, clock: str = ITERATION
) -> NDArray[np.float64]:
    """One run's ln d on the times of a clock, shape (time,)."""
    distance = distances(run)
    values = clock_values(run, clock)
    known = (run.variables["iteration"].values >= 1) & (distance > 0) & (values > 0)
    return np.interp(np.log(times), np.log(values[known]), np.log(distance[known]))


def last_decade(runs: Mapping[str, xr.Dataset]) -> Span:
    """The last decade of iterations that all runs recorded at a constant rate; (1, 0) for none."""
    stretches = [constant_rate(run).iteration for run in runs.values()]
    if not stretches or not all(item.size for item in stretches):
        return 1.0, 0.0
    first = max(int(item[0]) for item in stretches)
    last = min(int(item[-1]) for item in stretches)
    return (last / 10, float(last)) if last >= 10 * first else (1.0, 0.0)


def slope(run: xr.Dataset, span: Span) -> float:
    """Log-slope dd/d ln t of the total distance, by least squares.

    Arguments:
        run: a recording.
        span: first and last iteration t.

    Returns:
        The slope, in the unit of the distance; NaN with fewer than `RECORDS` finite records.
    """
    return line(run.variables["iteration"].values, distances(run), span)[0]


def positive_slope(run: xr.Dataset, span: Span) -> float:
    """As `slope`; NaN where the distance does not grow beyond rounding."""
    found, middle = line(run.variables["iteration"].values, distances(run), span)
    return found if found > _ROUNDING * middle else math.nan


def line(times: Array, values: Array, span: Span) -> tuple[float, float]:
    """Slope in ln t and mean of a series over a span; NaN with too few values, or at one time."""
    inside = (times >= span[0] * (1 - 1e-9)) & (times <= span[1] * (1 + 1e-9)) & (times > 0)
    inside &= np.isfinite(values)
    if inside.sum() < RECORDS or not np.ptp(times[inside]) > 0:
        return math.nan, math.nan
    clock = np.log(times[inside])
    centred = clock - clock.mean()
    return float(centred @ values[inside] / (centred @ centred)), float(values[inside].mean())


def distance_at(run: xr.Dataset, iteration: float) -> float:
    """Total distance at the last record up to an iteration."""
    distance = distances(run)
    known = (run.variables["iteration"].values <= iteration) & np.isfinite(distance)
    return float(distance[known][-1]) if known.any() else math.nan


def measured_temperature(run: xr.Dataset, span: Span) -> float:
    """Temperature of a run from its measured gradient noise.

    T = η·(S·c(M)/N + s²)/(2·(1 − m)), c(M) = 1/M or (1 − M/D)/M, with S = tr Σ averaged over the
    updates of the span and s the standard deviation of added noise.

    Arguments:
        run: a recording.
        span: first and last iteration t.

    Returns:
        T in the unit of the loss; NaN where the noise was not measured there.
    """
    trace = window_mean(run, "noise_trace", span)
    shares = scaling.noise_factor(int(run.variables["batch_size"].values), _data_size(run))
    weights = float(run.variables["tensor_size"].values.sum()) or math.nan
    variance = trace * float(shares) / weights + injected_noise(run) ** 2
    return constant_rate(run).rate * variance / (2 * (1 - momentum(run)))


def window_mean(run: xr.Dataset, field: str, span: Span) -> float:
    """A recorded mean over updates, summed over tensors and averaged over the updates of a span.

    Arguments:
        run: a recording.
        field: a variable of dims (iteration, tensor) whose values are means over windows.
        span: first and last iteration t; windows that end in (first, last] are used.

    Returns:
        The mean, weighted by updates; NaN where windows with a value hold less than `_COVERED` of
        the span: a mean over its beginning is another one.
    """
    if field not in run:
        return math.nan
    total = _over_tensors(run, field)
    at = run.variables["iteration"].values
    known = run.variables.get("noise_updates")
    count = np.diff(at, prepend=0) if known is None else known.values
    inside = (at > span[0]) & (at <= span[1]) & np.isfinite(total) & (count > 0)
    covered = np.diff(at, prepend=0)[inside].sum()
    if not inside.any() or covered < _COVERED * (span[1] - span[0]):
        return math.nan
    return float(np.average(total[inside], weights=count[inside]))


def rate_over_size(run: xr.Dataset) -> float:
    """η·c(M)/(1 − m), to which the temperature is proportional at equal gradient noise."""
    shares = scaling.noise_factor(int(run.variables["batch_size"].values), _data_size(run))
    return constant_rate(run).rate * float(shares) / (1 - momentum(run))


def by_seed(runs: Mapping[str, xr.Dataset], names: Iterable[str]) -> dict[object, str]:
    """Node names by seed; runs without one have none."""
    found = {label(runs[name], "seed", None): name for name in names}
    return {seed: name for seed, name in found.items() if seed is not None}


# Groups of tensors, which may grow by other laws than the whole: the first tensor, which the
# published code of Hoffer et al. (2017) records, those whose length a normalization makes
# irrelevant, where recordings know them, and all others.
FIRST, INVARIANT, OTHERS = "first tensor", "scale-invariant tensors", "other tensors"


def grouped(run: xr.Dataset) -> xr.Dataset:
    """The recording with groups in place of tensors; of the variables, what a fit needs.

    d_group² = Σ_{tensor in group} ‖w_t − w_0‖²

    Arguments:
        run: a recording.

    Returns:
        The recording along `tensor`, whose names are those of the groups that have a tensor.
    """
    places = group_places(run)
    squares = run.variables["distance_sq"].transpose("iteration", "tensor").values
    summed = np.stack([squares[:, found].sum(axis=1) for found in places.values()], axis=1)
    named = ("learning_rate", "learning_rate_sum", "loss", "loss_updates")
    kept = run[[name for name in named if name in run]].drop_dims("tensor", errors="ignore")
    if "noise_trace" in run:  # its total and the loss say where the training set is fitted
        kept = kept.assign(noise_trace=run["noise_trace"].sum("tensor", skipna=False))
    return kept.assign(distance_sq=(("iteration", "tensor"), summed), tensor=list(places))


def group_places(run: xr.Dataset) -> dict[str, NDArray[np.int64]]:
    """Places along `tensor` of each group's tensors, for the groups that have a tensor.

    A recording that was made of groups has those, and `OTHERS` for tensors that are in none.
    """
    if given := json.loads(str(run.attrs.get("tensor_groups", "{}"))):
        names = [str(name) for name in run.variables["tensor"].values.tolist()]
        own = {name: np.array([place]) for place, name in enumerate(names) if name in given}
        rest = np.array([place for place, name in enumerate(names) if name not in given], int)
        return own | ({OTHERS: rest} if rest.size else {})
    later = np.arange(1, run.sizes["tensor"])
    known = run.variables.get("scale_invariant")
    irrelevant = np.zeros(later.size, bool) if known is None else known.values[1:] == 1
    found = {FIRST: np.array([0]), INVARIANT: later[irrelevant], OTHERS: later[~irrelevant]}
    return {group: places for group, places in found.items() if places.size}
