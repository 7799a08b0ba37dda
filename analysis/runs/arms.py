"""How runs belong together: arms, what runs ought to share, and where they stand on a ladder."""

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ultraslow.analysis.text import number

from .readings import constant_rate, injected_noise, label

# What runs of one set must share to be compared: everything but batch size, rate and seed.
SETTING = (
    "model",
    "data",
    "data_size",
    "optimizer",
    "momentum",
    "weight_decay",
    "ghost_size",
    "weights",
)


@dataclass(frozen=True, order=True)
class Arm:
    """What distinguishes groups of runs that differ by seed only; an unknown rate is 0.

    Attributes:
        batch_size: M, samples.
        scaling: rule for the learning rate.
        rate: learning rate, to four digits.
        noise: standard deviation of the noise added to gradient components.
    """

    batch_size: int
    scaling: str
    rate: float
    noise: float = 0.0

    def __str__(self) -> str:
        size = f"batch size {self.batch_size}"
        return f"{size} with added noise {number(self.noise)}" if self.noise else size


def runs_of(runs: xr.DataTree) -> dict[str, xr.Dataset]:
    """The recordings of a tree by node name, in order of batch size, seed and name."""
    unordered = {name: node.to_dataset() for name, node in runs.children.items()}
    return dict(sorted(unordered.items(), key=_rank))


def some_runs(runs: xr.DataTree) -> dict[str, xr.Dataset]:
    """As `runs_of`, but an error where there are none: nothing can be said about no run."""
    found = runs_of(runs)
    if not found:
        raise ValueError("runs: found no recording, expected one or more, as `load` gives them")
    return found


def _rank(item: tuple[str, xr.Dataset]) -> tuple[int, float, str]:
    name, run = item
    seed = label(run, "seed", math.inf)
    return int(run["batch_size"].values), float(str(seed)), name


def arm(run: xr.Dataset) -> Arm:
    """The arm a run belongs to: its batch size, scaling rule, learning rate and added noise."""
    stretch = constant_rate(run)
    return Arm(
        int(run.variables["batch_size"].values),
        str(label(run, "scaling")),
        float(f"{stretch.rate:.4g}") if math.isfinite(stretch.rate) else 0.0,
        injected_noise(run),
    )


def arms(runs: dict[str, xr.Dataset]) -> dict[Arm, list[str]]:
    """Node names of the runs of each arm, in order of batch size."""
    return by_arm({name: arm(run) for name, run in runs.items()})


def by_arm(arm_of: Mapping[str, Arm]) -> dict[Arm, list[str]]:
    """The names in each arm, in order of rule and batch size, from the arm of each name."""
    members: dict[Arm, list[str]] = {}
    for name, own in arm_of.items():
        members.setdefault(own, []).append(name)
    return dict(
        sorted(members.items(), key=lambda item: (str(item[0].scaling), item[0].batch_size))
    )


def setting_differences(runs: Iterable[xr.Dataset]) -> tuple[str, ...]:
    """In what runs differ that ought to be equal, in words.

    Arguments:
        runs: recordings.

    Returns:
        One sentence for each of `SETTING` with several values.
    """
    values = [_setting(run) for run in runs]
    listed = {name: sorted({str(value[name])[:60] for value in values}) for name in SETTING}
    return tuple(f"{name}: {', '.join(found)}" for name, found in listed.items() if len(found) > 1)


def setting_of(run: xr.Dataset) -> tuple[str, ...]:
    """What a run has for each of `SETTING`, as text: runs that differ in it are no copies."""
    return tuple(map(str, _setting(run).values()))


def _setting(run: xr.Dataset) -> dict[str, object]:
    # Groups of tensors stand for a run in fits, and have no sizes.
    sizes = run.variables["tensor_size"].values if "tensor_size" in run.variables else np.empty(0)
    weights = int(sizes.sum())
    return {name: label(run, name) for name in SETTING if name != "weights"} | {"weights": weights}


def setting_key(run: xr.Dataset) -> Hashable:
    """Equal for runs that differ by seed only: arm, what ought to be equal, and rung."""
    return arm(run), setting_of(run), ingredients_of(run)


def one_per_seed(runs: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """One run of each seed in each arm: the one that goes farthest, of equals the first.

    A repeated seed is a copy or a rerun and no further draw; it would narrow intervals wrongly.
    """
    draws: dict[tuple[object, ...], list[str]] = {}
    for name, run in runs.items():
        seed = label(run, "seed", None)
        draws.setdefault((setting_key(run), name if seed is None else seed), []).append(name)
    kept = {max(names, key=lambda name: _last(runs[name])) for names in draws.values()}
    return {name: run for name, run in runs.items() if name in kept}


def _last(run: xr.Dataset) -> int:
    return int(run.variables["iteration"].values[-1])


def seeds(runs: Sequence[xr.Dataset]) -> int:
    """Number of independent runs: those with equal seeds count once, unnamed ones each."""
    named = [label(run, "seed", None) for run in runs]
    return len({seed for seed in named if seed is not None}) + named.count(None)


@dataclass(frozen=True)
class LadderPlace:
    """Where a run stands: the ladder's name, the rung's number and name."""

    ladder: str
    number: int
    name: str


def place_of(run: xr.Dataset) -> LadderPlace | None:
    """Where a run stands, from its attributes or from the metadata kept in `config`; None if not.

    Arguments:
        run: a recording.

    Returns:
        Its ladder and rung.
    """
    told = {**_config(run), **run.attrs}
    try:
        number = int(told["rung"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return LadderPlace(str(told.get("ladder", "")), number, str(told.get("rung_name", "")))


def ingredients_of(run: xr.Dataset) -> LadderPlace | None:
    """Where a run stands above the baseline of a ladder with a name; None for plain runs.

    The baseline, rung 0, has no ingredients and is a plain run as any other. A `rung` without a
    ladder may be anything.
    """
    place = place_of(run)
    return place if place is not None and place.ladder and place.number > 0 else None


def _config(run: xr.Dataset) -> dict:
    try:
        found = json.loads(str(run.attrs.get("config", "{}")))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
