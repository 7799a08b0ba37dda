"""The noise scale of recordings: of a run, an arm, over time, by tensors and by loss."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.runs import arm_names, group_places, one_per_seed

from .scale import NoiseScale, noise_interval

Array = NDArray[np.float64]
Places = NDArray[np.int64]
# Window means of |G|² and tr Σ, and the updates in each window, shape (window,).
Windows = tuple[Array, Array, Array]

BINS_PER_DECADE = 5
LOSS_BINS = 5
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
    """
    if not has_noise(run):
        reason = str(run.attrs.get("noise_absent", "no gradient noise was recorded"))
        return NoiseScale(Interval(math.nan, math.nan, math.nan, reason=reason), "", 0)
    return GradientNoise([run], level).scale()


class GradientNoise:
    """The gradient noise of runs that differ by seed only, their windows taken together."""

    def __init__(self, runs: Sequence[xr.Dataset], level: float = 0.95) -> None:
        """What is asked of them.

        Arguments:
            runs: recordings of one arm; those without noise are passed over.
            level: confidence level of all intervals.
        """
        self.runs = [run for run in runs if has_noise(run)]
        self.level = level

    def scale(self) -> NoiseScale:
        """B_simple over whole runs."""
        return self._scale(_joined(self.runs))

    def over_time(self) -> xr.Dataset:
        """B_simple in bins of equal length in ln t.

        Returns:
            A Dataset along `iteration` (the geometric middle of each bin) with `estimate`, `low`
            and `high`, in samples; empty where no noise was recorded.
        """
        windows = _joined(self.runs)
        times = [run["iteration"].values for run in self.runs]
        iteration = np.concatenate(times or [np.empty(0)])
        bins = _time_bins(np.maximum(iteration, 1))
        found: dict[float, NoiseScale] = {}
        for number in np.unique(bins[(iteration > 0) & (windows[2] > 0)]):
            inside = (bins == number) & (iteration > 0)
            centre = float(np.exp(np.mean(np.log(iteration[inside]))))
            found[centre] = self._scale(_chosen(windows, inside))
        return _along("iteration", found.items())

    def against_loss(self) -> xr.Dataset:
        """B_simple against the training loss, in bins with equal numbers of windows.

        Windows are ordered by their mean loss, whatever their iteration. Records even in ln t make
        bins about even in the loss; bins with equal updates would all lie at the end.

        Returns:
            A Dataset along `loss` (the mean in each bin, falling) with `estimate`, `low` and
            `high`, in samples; empty where no noise or loss was recorded.
        """
        measured = [run for run in self.runs if "loss" in run]
        windows = _joined(measured)
        loss = np.concatenate([run["loss"].values for run in measured] or [np.empty(0)])
        known = np.isfinite(loss) & np.isfinite(windows[0] + windows[1])
        kept = np.flatnonzero(known & (windows[2] > 0))
        order = kept[np.argsort(-loss[kept], kind="stable")]
        bins = np.arange(order.size) * LOSS_BINS // max(order.size, 1)
        found = []
        for number in np.unique(bins):
            # Back in the order of time, so that blocks are of neighbours.
            inside = np.sort(order[bins == number])
            middle = float(np.average(loss[inside], weights=windows[2][inside]))
            found.append((middle, self._scale(_chosen(windows, inside))))
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
            name: self._scale(_joined(self.runs, list(chosen))) for name, chosen in places.items()
        }

    def _scale(self, windows: Windows) -> NoiseScale:
        return noise_interval(*windows, level=self.level)


def _joined(runs: Sequence[xr.Dataset], tensors: Sequence[int] | None = None) -> Windows:
    """Windows of several runs one after the other, summed over some tensors."""
    chosen = slice(None) if tensors is None else list(tensors)
    none = [np.empty(0)]
    totals = [
        np.concatenate([run[name].values[:, chosen].sum(axis=1) for run in runs] or none)
        for name in ("gradient_sq", "noise_trace")
    ]
    updates = np.concatenate([run["noise_updates"].values for run in runs] or none)
    return totals[0], totals[1], updates.astype(np.float64)


def _chosen(windows: Windows, inside: NDArray[np.bool_] | Places) -> Windows:
    gradient_sq, noise_trace, updates = windows
    return gradient_sq[inside], noise_trace[inside], updates[inside]


def _time_bins(iteration: Array) -> Array:
    """Bin of each iteration; the last one takes what is left over at the end."""
    place = np.log10(iteration) * BINS_PER_DECADE
    return np.minimum(np.floor(place), max(np.floor(place.max(initial=0) + 0.5) - 1, 0))


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
    return [str(name) for name in run["tensor"].values.tolist()]


@dataclass(frozen=True)
class ArmScale:
    """The noise scale of an arm against its batch size.

    Attributes:
        batch_size: M, samples.
        arm: what tells it from others of its batch size, in words.
        runs: runs taken together.
        scale: B_simple over whole runs.
        place: of M: `below` the interval of B, `within` or `above` it; `unknown` without one.
    """

    batch_size: int
    arm: str
    runs: int
    scale: NoiseScale
    place: str

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
        scale = GradientNoise(members, level).scale()
        found.append(ArmScale(size, arm, len(members), scale, _place(size, scale.interval)))
    return found


def _place(size: int, scale: Interval) -> str:
    if not math.isfinite(scale.low):
        return "unknown"
    if size < scale.low:
        return "below"
    return "above" if size > scale.high else "within"


def _by_arm(runs: Mapping[str, xr.Dataset]) -> dict[tuple[int, str], list[xr.Dataset]]:
    """Runs that measured noise, one a seed: copies would narrow intervals."""
    measured = {name: run for name, run in runs.items() if has_noise(run)}
    names = arm_names(measured)
    found: dict[tuple[int, str], list[xr.Dataset]] = {}
    for name, run in one_per_seed(measured).items():
        found.setdefault((int(run["batch_size"].values), names[name]), []).append(run)
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
