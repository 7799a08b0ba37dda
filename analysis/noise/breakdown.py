"""The noise scale of recordings: of a run, an arm, over time, by tensors and by loss."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import Interval, check_level
from ultraslow.analysis.runs import arm_names, group_places, one_per_seed
from ultraslow.analysis.runs.arms import setting_key

from .scale import FEWEST_SEEDS, NoiseScale, Windows, noise_interval

Array = NDArray[np.float64]
Places = NDArray[np.int64]

MOMENTS = ("gradient_sq", "noise_trace")
BINS_PER_DECADE = 5
LOSS_BINS = 5
# Shares of the iterations that a run is to have finite noise in: where others do, and in any case.
_WHOLE, _SHORT = 0.9, 0.5
# More parts than this cannot be read in a table; those with most noise are kept.
PARTS = 12


def has_noise(run: xr.Dataset) -> bool:
    """Whether a recording holds gradient noise."""
    return {"gradient_sq", "noise_trace", "noise_updates"} <= set(map(str, run.data_vars))


def run_noise_scale(run: xr.Dataset, *, level: float = 0.95) -> NoiseScale:
    """B_simple over a whole run.

    Arguments:
        run: a recording.
        level: confidence level.

    Returns:
        The estimate; without an interval, and with the reason, where no noise was recorded.

    Raises:
        TypeError: when the run is no Dataset.
        ValueError: when the level is not from 0.8 to 0.99.
    """
    check_level(level)
    if not isinstance(run, xr.Dataset):
        raise TypeError(
            f"run: found {type(run).__name__}, expected one recording, such as "
            "`runs[name].to_dataset()` of what `load` gives"
        )
    if not has_noise(run):
        reason = str(run.attrs.get("noise_absent", "no gradient noise was recorded"))
        return NoiseScale(Interval(math.nan, math.nan, math.nan, reason=reason), "", 0)
    return GradientNoise([run], level).scale()


class GradientNoise:
    """The gradient noise of runs that differ by seed only, over iterations they have in common.

    A run of which less than half of these iterations has finite noise is left out, and where three
    others have it over nine tenths of what they share, one that has it over less: so a short one
    does not shorten the others.

    Attributes:
        runs: the recordings that enter.
        left_out: the names of the others, each with why.
        first: the first of the iterations that all have in common; 0 without any.
        last: the last of them.
        level: confidence level of all intervals.
    """

    def __init__(self, runs: Sequence[xr.Dataset], level: float = 0.95) -> None:
        """What is asked of them.

        Arguments:
            runs: recordings of one arm; those without noise are passed over.
            level: confidence level of all intervals.
        """
        measured = [run for run in runs if has_noise(run)]
        self.runs, self.left_out, (self.first, self.last) = _in_common(measured)
        self.level = level

    def scale(self) -> NoiseScale:
        """B_simple over the iterations in common."""
        found = self._scale()
        return replace(found, first=self.first, last=self.last)

    def over_time(self) -> xr.Dataset:
        """B_simple in bins of equal length in ln t.

        Returns:
            A Dataset along `iteration` (the geometric middle of each bin) with `estimate`, `low`
            and `high`, in samples; empty where no noise was recorded.
        """
        times = [run.variables["iteration"].values.astype(float) for run in self.runs]
        used = [self._common(run) & (time > 0) for run, time in zip(self.runs, times, strict=True)]
        last = max((float(time.max()) for time in times), default=1.0)
        bins = [_time_bins(np.maximum(time, 1), last) for time in times]
        numbers = {number for own, kept in zip(bins, used, strict=True) for number in own[kept]}
        found: dict[float, NoiseScale] = {}
        for number in sorted(numbers):
            inside = [(own == number) & kept for own, kept in zip(bins, used, strict=True)]
            chosen = [time[own] for time, own in zip(times, inside, strict=True)]
            centre = float(np.exp(np.mean(np.log(np.concatenate(chosen)))))
            found[centre] = self._scale(inside=inside)
        return _along("iteration", found.items())

    def against_loss(self) -> xr.Dataset:
        """B_simple against the training loss, in bins with equal numbers of windows.

        Windows are ordered by their mean loss, whatever their iteration. Records even in ln t make
        bins about even in the loss; bins with equal updates would all lie at the end.

        Returns:
            A Dataset along `loss` (the mean in each bin, falling) with `estimate`, `low` and
            `high`, in samples; empty where no noise or loss was recorded.
        """
        losses = [_loss(run) for run in self.runs]
        known = [
            np.isfinite(loss) & self._common(run)
            for run, loss in zip(self.runs, losses, strict=True)
        ]
        parts = [loss[own] for loss, own in zip(losses, known, strict=True)]
        every = np.concatenate([np.empty(0), *parts])
        order = np.argsort(np.argsort(-every, kind="stable"), kind="stable")
        bins = order * LOSS_BINS // max(order.size, 1)
        ends = np.cumsum([own.sum() for own in known])[:-1]
        found = []
        for number in np.unique(bins):
            inside = [own.copy() for own in known]
            for own, mine in zip(inside, np.split(bins == number, ends), strict=True):
                own[own] = mine
            weights = [run.variables["noise_updates"].values for run in self.runs]
            pairs = list(zip(losses, weights, inside, strict=True))
            middle = np.average(
                np.concatenate([loss[own] for loss, _, own in pairs]),
                weights=np.concatenate([weight[own] for _, weight, own in pairs]),
            )
            found.append((float(middle), self._scale(inside=inside)))
        return _along("loss", found)

    def by_group(self) -> dict[str, NoiseScale]:
        """B_simple of each group of tensors: tr Σ over |G|², both summed over the group.

        Returns:
            Estimates by group of `group_places`; empty where the runs' tensors differ.
        """
        if not self._alike():
            return {}
        # Which tensors are scale-invariant is the network's, and some runs may not have asked.
        telling = next((run for run in self.runs if "scale_invariant" in run), self.runs[0])
        return self._of_places(group_places(telling))

    def by_part(self) -> dict[str, NoiseScale]:
        """B_simple of each part of a network: tr Σ over |G|², both summed over the part's tensors.

        A part is what comes before the first dot of a tensor's name: `layer1.0.conv1.weight`.

        Returns:
            Estimates by part, in the order of the network; at most `PARTS`, those with most noise;
            empty where the runs' tensors differ.
        """
        if not self._alike():
            return {}
        places: dict[str, list[int]] = {}
        for k, name in enumerate(_names(self.runs[0])):
            places.setdefault(network_part(name), []).append(k)
        noise = np.nansum(self.runs[0]["noise_trace"].values, axis=0)
        ranked = sorted(places, key=lambda part: -float(noise[places[part]].sum()))
        return self._of_places({part: places[part] for part in places if part in ranked[:PARTS]})

    def _alike(self) -> bool:
        names = [_names(run) for run in self.runs]
        return bool(names) and all(own == names[0] for own in names)

    def _of_places(self, places: Mapping[str, Sequence[int] | Places]) -> dict[str, NoiseScale]:
        return {
            name: replace(self._scale(list(chosen)), first=self.first, last=self.last)
            for name, chosen in places.items()
        }

    def _scale(
        self,
        tensors: Sequence[int] | None = None,
        inside: Sequence[NDArray[np.bool_]] | None = None,
    ) -> NoiseScale:
        """B_simple of some tensors, over some windows of each run."""
        chosen = slice(None) if tensors is None else list(tensors)
        asked = [self._common(run) for run in self.runs] if inside is None else inside
        windows = [
            Windows(
                run.variables["gradient_sq"].values[:, chosen].sum(axis=1),
                run.variables["noise_trace"].values[:, chosen].sum(axis=1),
                run.variables["noise_updates"].values,
                own,
            )
            for run, own in zip(self.runs, asked, strict=True)
        ]
        return noise_interval(windows, level=self.level)

    def _common(self, run: xr.Dataset) -> NDArray[np.bool_]:
        """Windows of a run with finite noise that lie within the iterations in common."""
        begins, ends = window_edges(run)
        return finite_windows(run) & (begins >= self.first) & (ends <= self.last)


def finite_windows(run: xr.Dataset) -> NDArray[np.bool_]:
    """Which windows have estimates of gradient noise, all of them finite, shape (iteration,)."""
    finite = [np.isfinite(run[name].values).all(axis=1) for name in MOMENTS]
    return np.asarray(finite[0] & finite[1] & (run.variables["noise_updates"].values > 0))


def window_edges(run: xr.Dataset) -> tuple[Places, Places]:
    """First and last iteration of each window, each of shape (iteration,)."""
    ends = run.variables["iteration"].values.astype(np.int64)
    before = ends[:1] - run.variables["noise_updates"].values[:1].astype(np.int64)
    return np.concatenate([before, ends[:-1]]) + 1, ends


def _in_common(
    runs: Sequence[xr.Dataset],
) -> tuple[list[xr.Dataset], tuple[str, ...], tuple[int, int]]:
    """Runs that cover enough of the iterations, the others by name, and what the former share."""
    spans, covered = [], []
    for run in runs:
        (begins, ends), kept = window_edges(run), finite_windows(run)
        spans.append((int(begins[kept][0]), int(ends[kept][-1])) if kept.any() else (0, 0))
        covered.append(int((ends - begins + 1)[kept].sum()))
    if not any(covered):
        return [], tuple(f"{_called(run)} has no finite gradient noise" for run in runs), (0, 0)
    first, last, enough = _asked(spans, covered)
    left_out = tuple(
        f"{_called(run)} has finite gradient noise in {count} of {last - first + 1} iterations"
        for run, count, kept in zip(runs, covered, enough, strict=True)
        if not kept
    )
    used = [span for span, kept in zip(spans, enough, strict=True) if kept]
    common = max(span[0] for span in used), min(span[1] for span in used)
    return [run for run, kept in zip(runs, enough, strict=True) if kept], left_out, common


def _asked(
    spans: Sequence[tuple[int, int]], covered: Sequence[int]
) -> tuple[int, int, list[bool]]:
    """Iterations that runs are to have noise in, and which of them do.

    Where three runs cover nearly all between the third begin and the third end, these iterations;
    otherwise half of all that any has.
    """
    known = [span for span, count in zip(spans, covered, strict=True) if count]
    place = FEWEST_SEEDS - 1
    if len(known) > place:
        first = sorted(begin for begin, _ in known)[place]
        last = sorted((end for _, end in known), reverse=True)[place]
        whole = [
            min(end, last, begin + count - 1) - max(begin, first) + 1
            >= _WHOLE * (last - first + 1)
            for (begin, end), count in zip(spans, covered, strict=True)
        ]
        if sum(whole) >= FEWEST_SEEDS:
            return first, last, whole
    first, last = min(begin for begin, _ in known), max(end for _, end in known)
    return first, last, [2 * count >= last - first + 1 for count in covered]


def _called(run: xr.Dataset) -> str:
    return str(run.variables["run"].values)[:40]


def _loss(run: xr.Dataset) -> Array:
    """Mean training loss of each window; NaN where it was not recorded."""
    given = (
        run.variables["loss"].values
        if "loss" in run
        else np.full(run.sizes["iteration"], math.nan)
    )
    return np.asarray(given, dtype=np.float64)


def _time_bins(iteration: Array, last: float) -> Array:
    """Bin of each iteration; the one at the last iteration takes what is left over at the end."""
    place = np.log10(iteration) * BINS_PER_DECADE
    latest = np.floor(np.log10(last) * BINS_PER_DECADE + 0.5) - 1
    return np.minimum(np.floor(place), max(latest, 0))


def _along(name: str, found: Iterable[tuple[float, NoiseScale]]) -> xr.Dataset:
    """Estimates along a coordinate."""
    places, scales = [], []
    for place, scale in found:
        places.append(place)
        scales.append(scale.interval)
    columns = {
        "estimate": [one.value for one in scales],
        "low": [one.low for one in scales],
        "high": [one.high for one in scales],
    }
    return xr.Dataset({key: (name, values) for key, values in columns.items()}, {name: places})


def network_part(tensor: str) -> str:
    """The part of a network that a tensor belongs to.

    >>> network_part("layer1.0.conv1.weight"), network_part("module.fc.bias")
    ('layer1', 'fc')
    """
    return tensor.removeprefix("module.").split(".")[0]


def _names(run: xr.Dataset) -> list[str]:
    return [str(name) for name in run.variables["tensor"].values.tolist()]


@dataclass(frozen=True)
class ArmScale:
    """The noise scale of an arm against its batch size.

    Attributes:
        batch_size: M, samples.
        arm: what tells it from others of its batch size, in words.
        runs: runs taken together, one a seed.
        scale: B_simple over the iterations that the runs have in common.
        place: of M: `below` the interval of B, `within` or `above` it; `unknown` without one.
        left_out: runs of the arm that could not enter, each with why.
    """

    batch_size: int
    arm: str
    runs: int
    scale: NoiseScale
    place: str
    left_out: tuple[str, ...] = ()

    @property
    def crossover(self) -> Interval:
        """t* = B/M, iterations: where drift overtakes diffusion.

        It holds while the gradient and its noise stay what they are; see
        `diffusion.noise.drift_crossover`.
        """
        return self.scale.interval.mapped(lambda scale: scale / self.batch_size)


def arm_scales(runs: Mapping[str, xr.Dataset], *, level: float = 0.95) -> list[ArmScale]:
    """The noise scale of each arm, its runs taken together, against the batch size.

    Arguments:
        runs: recordings by node name; those without noise are passed over, and those that repeat
            the seed of another.
        level: confidence level.

    Returns:
        One item an arm with noise, in order of batch size and name.
    """
    found = []
    for (size, arm), members in sorted(_by_arm(runs).items(), key=lambda item: item[0]):
        noise = GradientNoise(members, level)
        scale, runs_used = noise.scale(), len(noise.runs)
        place = _place(size, scale.interval)
        found.append(ArmScale(size, arm, runs_used, scale, place, noise.left_out))
    return found


def _place(size: int, scale: Interval) -> str:
    if not math.isfinite(scale.low):
        return "unknown"
    if size < scale.low:
        return "below"
    return "above" if size > scale.high else "within"


def _by_arm(runs: Mapping[str, xr.Dataset]) -> dict[tuple[int, str], list[xr.Dataset]]:
    """Runs that measured noise, one a seed: copies would narrow intervals.

    Those without a finite value cannot stand for their seed, and are left to be told of.
    """
    measured = {name: run for name, run in runs.items() if has_noise(run)}
    keys = {name: setting_key(run) for name, run in measured.items()}
    names = arm_names(measured, keys)
    finite = {name: run for name, run in measured.items() if finite_windows(run).any()}
    once = one_per_seed(finite, keys)
    found: dict[tuple[int, str], list[xr.Dataset]] = {}
    for name, run in measured.items():
        if name in finite and name not in once:
            continue
        found.setdefault((int(run.variables["batch_size"].values), names[name]), []).append(run)
    return found


def noisy_arms(runs: Mapping[str, xr.Dataset]) -> dict[int, list[xr.Dataset]]:
    """By batch size the runs that measured noise, one a seed, of the arm with most of them."""
    found: dict[int, list[xr.Dataset]] = {}
    for (size, _), members in _by_arm(runs).items():
        if len(members) > len(found.get(size, [])):
            found[size] = members
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Breakdown:
    """The noise scale of the runs of one arm, taken apart.

    Attributes:
        batch_size: M, samples.
        arm: what tells it from others of its batch size, in words.
        groups: B_simple of each of the groups of tensors for which exponents are told.
        parts: B_simple of each part of the network by name.
        by_loss: B_simple against the training loss, as `GradientNoise.against_loss` gives it.
    """

    batch_size: int
    arm: str
    groups: Mapping[str, NoiseScale]
    parts: Mapping[str, NoiseScale]
    by_loss: xr.Dataset


def noise_breakdown(
    runs: Mapping[str, xr.Dataset], found: Sequence[ArmScale], *, level: float = 0.95
) -> Breakdown | None:
    """The noise scale by tensors and by loss, of the arm with most runs.

    Arguments:
        runs: recordings by node name.
        found: `arm_scales(runs, level=level)`.
        level: confidence level.

    Returns:
        The noise scales; None where no arm has one.
    """
    known = [one for one in found if one.place != "unknown"]
    if not known:
        return None
    most = max(known, key=lambda one: one.runs)
    noise = GradientNoise(_by_arm(runs)[most.batch_size, most.arm], level)
    return Breakdown(
        most.batch_size, most.arm, noise.by_group(), noise.by_part(), noise.against_loss()
    )
