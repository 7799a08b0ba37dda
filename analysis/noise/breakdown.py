"""The noise scale beside what it bears on: batch sizes run, tensors of the network, the loss."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.runs import arm_names, group_places, one_per_seed

from .scale import NoiseScale, has_noise, noise_interval

Array = NDArray[np.float64]
Places = NDArray[np.int64]

LOSS_BINS = 5
# More parts than this cannot be read in a table; those with most noise are kept.
PARTS = 12


@dataclass(frozen=True)
class Comparison:
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
    def crossover(self) -> tuple[float, float, float]:
        """t* = B/M with its ends, iterations: where drift overtakes diffusion.

        It holds while the gradient and its noise stay what they are; see
        `diffusion.noise.drift_crossover`.
        """
        size, found = self.batch_size, self.scale
        return found.estimate / size, found.low / size, found.high / size


@dataclass(frozen=True)
class Breakdown:
    """The noise scale of the runs of one arm, taken apart.

    Attributes:
        batch_size: M, samples.
        arm: what tells it from others of its batch size, in words.
        groups: B_simple of each of the groups of tensors for which exponents are told.
        parts: B_simple of each part of the network by name.
        by_loss: B_simple against the training loss, as `noise_against_loss` gives it.
    """

    batch_size: int
    arm: str
    groups: Mapping[str, NoiseScale]
    parts: Mapping[str, NoiseScale]
    by_loss: xr.Dataset


def compare(runs: Mapping[str, xr.Dataset], *, level: float = 0.95) -> list[Comparison]:
    """The noise scale of each arm, its runs taken together, against the batch size.

    Arguments:
        runs: recordings by node name; those without noise are passed over, and those that repeat
            the seed of another.
        level: confidence level.

    Returns:
        One item an arm with noise, in order of batch size and name.
    """
    return [
        _compare(size, arm, members, level=level)
        for (size, arm), members in sorted(_by_arm(runs).items(), key=lambda item: item[0])
    ]


def _by_arm(runs: Mapping[str, xr.Dataset]) -> dict[tuple[int, str], list[xr.Dataset]]:
    """Runs that measured noise, one a seed: copies would narrow intervals."""
    measured = {name: run for name, run in runs.items() if has_noise(run)}
    names = arm_names(measured)
    found: dict[tuple[int, str], list[xr.Dataset]] = {}
    for name, run in one_per_seed(measured).items():
        found.setdefault((int(run["batch_size"].values), names[name]), []).append(run)
    return found


def main_arms(runs: Mapping[str, xr.Dataset]) -> dict[int, list[xr.Dataset]]:
    """By batch size the runs that measured noise, one a seed, of the arm with most of them."""
    found: dict[int, list[xr.Dataset]] = {}
    for (size, _), members in _by_arm(runs).items():
        if len(members) > len(found.get(size, [])):
            found[size] = members
    return dict(sorted(found.items()))


def _compare(size: int, arm: str, members: Sequence[xr.Dataset], *, level: float) -> Comparison:
    scale = noise_interval(*_joined(members), level=level)
    return Comparison(size, arm, len(members), scale, _place(size, scale))


def _place(size: int, scale: NoiseScale) -> str:
    if not math.isfinite(scale.low):
        return "unknown"
    if size < scale.low:
        return "below"
    return "above" if size > scale.high else "within"


def _joined(
    runs: Sequence[xr.Dataset], tensors: Sequence[int] | None = None
) -> tuple[Array, Array, Array]:
    """Windows of several runs one after the other, summed over some tensors."""
    chosen = slice(None) if tensors is None else list(tensors)
    totals = [
        np.concatenate([run[name].values[:, chosen].sum(axis=1) for run in runs])
        for name in ("gradient_sq", "noise_trace")
    ]
    updates = np.concatenate([run["noise_updates"].values for run in runs])
    return totals[0], totals[1], updates.astype(np.float64)


def breakdown(
    runs: Mapping[str, xr.Dataset], compared: Sequence[Comparison], *, level: float = 0.95
) -> Breakdown | None:
    """The noise scale by tensors and by loss, of the arm with most runs.

    Arguments:
        runs: recordings by node name.
        compared: `compare(runs, level=level)`.
        level: confidence level.

    Returns:
        The noise scales; None where no arm has one.
    """
    known = [one for one in compared if one.place != "unknown"]
    if not known:
        return None
    most = max(known, key=lambda one: one.runs)
    members = _by_arm(runs)[most.batch_size, most.arm]
    return Breakdown(
        most.batch_size,
        most.arm,
        noise_by_group(members, level=level),
        noise_by_part(members, level=level),
        noise_against_loss(members, level=level),
    )


def noise_by_group(runs: Sequence[xr.Dataset], *, level: float = 0.95) -> dict[str, NoiseScale]:
    """B_simple of each group of tensors of `groups`: tr Σ over |G|², both summed over the group.

    Arguments:
        runs: recordings of one batch size with noise and the same tensors.
        level: confidence level.

    Returns:
        Estimates by group; empty where the runs' tensors differ.
    """
    measured = _alike(runs)
    if not measured:
        return {}
    # Which tensors are scale-invariant is the network's, and some runs may not have asked.
    telling = next((run for run in measured if "scale_invariant" in run), measured[0])
    return _of_places(measured, group_places(telling), level=level)


def noise_by_part(runs: Sequence[xr.Dataset], *, level: float = 0.95) -> dict[str, NoiseScale]:
    """B_simple of each part of a network: tr Σ over |G|², both summed over the part's tensors.

    A part is what comes before the first dot of a tensor's name, as in `layer1.0.conv1.weight`.

    Arguments:
        runs: recordings of one batch size with noise and the same tensors.
        level: confidence level.

    Returns:
        Estimates by part, in the order of the network; at most `PARTS`, those with most noise.
    """
    measured = _alike(runs)
    if not measured:
        return {}
    places: dict[str, list[int]] = {}
    for k, name in enumerate(_names(measured[0])):
        places.setdefault(part_of(name), []).append(k)
    noise = np.nansum(measured[0]["noise_trace"].values, axis=0)
    ranked = sorted(places, key=lambda part: -float(noise[places[part]].sum()))
    kept = {part: places[part] for part in places if part in ranked[:PARTS]}
    return _of_places(measured, kept, level=level)


def _alike(runs: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """The runs with noise; none where their tensors differ."""
    measured = [run for run in runs if has_noise(run)]
    same = all(_names(run) == _names(measured[0]) for run in measured)
    return measured if same else []


def _of_places(
    runs: Sequence[xr.Dataset], places: Mapping[str, Sequence[int] | Places], *, level: float
) -> dict[str, NoiseScale]:
    return {
        name: noise_interval(*_joined(runs, list(chosen)), level=level)
        for name, chosen in places.items()
    }


def part_of(tensor: str) -> str:
    """The part of a network that a tensor belongs to.

    >>> part_of("layer1.0.conv1.weight"), part_of("module.fc.bias"), part_of("weights")
    ('layer1', 'fc', 'weights')
    """
    return tensor.removeprefix("module.").split(".")[0]


def _names(run: xr.Dataset) -> list[str]:
    return [str(name) for name in run["tensor"].values.tolist()]


def noise_against_loss(runs: Sequence[xr.Dataset], *, level: float = 0.95) -> xr.Dataset:
    """B_simple against the training loss, in bins with equal numbers of windows.

    Windows are ordered by their mean loss, whatever their iteration. Records even in ln t make
    bins about even in the loss; bins with equal updates would all lie at the end.

    Arguments:
        runs: recordings of one batch size; those without noise or loss are passed over.
        level: confidence level.

    Returns:
        A Dataset along `loss` (the mean in each bin, falling) with `estimate`, `low` and `high`,
        in samples; empty where nothing was recorded.
    """
    measured = [run for run in runs if has_noise(run) and "loss" in run]
    found: list[tuple[float, NoiseScale]] = []
    if measured:
        loss = np.concatenate([run["loss"].values for run in measured])
        found = _binned(loss, *_joined(measured), level=level)
    columns = ("estimate", "low", "high")
    variables = {k: ("loss", [float(getattr(scale, k)) for _, scale in found]) for k in columns}
    return xr.Dataset(variables, coords={"loss": [middle for middle, _ in found]})


def _binned(
    loss: Array, gradient_sq: Array, noise_trace: Array, updates: Array, *, level: float
) -> list[tuple[float, NoiseScale]]:
    known = np.isfinite(loss) & np.isfinite(gradient_sq + noise_trace)
    kept = np.flatnonzero(known & (updates > 0))
    order = kept[np.argsort(-loss[kept], kind="stable")]
    bins = np.arange(order.size) * LOSS_BINS // max(order.size, 1)
    found = []
    for number in np.unique(bins):
        # Back in the order of time, so that blocks are of neighbours.
        inside = np.sort(order[bins == number])
        windows = gradient_sq[inside], noise_trace[inside], updates[inside]
        middle = float(np.average(loss[inside], weights=updates[inside]))
        found.append((middle, noise_interval(*windows, level=level)))
    return found
