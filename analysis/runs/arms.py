"""How runs belong together: arms, and sets of equal runs.

Runs that differ in more than batch size, rate, noise and seed are of different laws: weight decay
holds the distance back, another optimizer takes other steps, and a part of the images is another
landscape. Each set of equal runs is judged by itself, so that a run of one never changes what is
said of another. The rungs of a ladder differ in ingredients that no prediction is about; only its
foot is a plain run.
"""

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
import xarray as xr

from ultraslow.analysis.text import first_of, in_short, number, of_batch_size, plural
from ultraslow.diffusion.recording import DatasetLike

from .heading import Heading, LadderPlace
from .readings import constant_rate, injected_noise, label, measured_until

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

ALL = "all runs"


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
        size = of_batch_size(self.batch_size)
        return f"{size} with added noise {number(self.noise)}" if self.noise else size


def runs_of(runs: xr.DataTree) -> dict[str, xr.Dataset]:
    """The recordings of a tree by node name, in order of batch size, seed and name.

    Raises:
        TypeError: when it is no tree of recordings.
    """
    if not isinstance(runs, xr.DataTree):
        raise TypeError(
            f"runs: found {type(runs).__name__}, expected a tree of recordings, as `load` gives it"
        )
    unordered = {name: node.to_dataset() for name, node in runs.children.items()}
    return dict(sorted(unordered.items(), key=rank))


def some_runs(runs: xr.DataTree) -> dict[str, xr.Dataset]:
    """As `runs_of`, but an error where there are none: nothing can be said about no run."""
    found = runs_of(runs)
    if not found:
        raise ValueError("runs: found no recording, expected one or more, as `load` gives them")
    return found


def rank(item: tuple[str, DatasetLike]) -> tuple[int, float, str]:
    """The place of a run among others, given with its name: by batch size, seed and name."""
    name, run = item
    seed = label(run, "seed", math.inf)
    return int(run.variables["batch_size"].values), float(str(seed)), name


def arm(run: DatasetLike) -> Arm:
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


def split_by_rate(members: Mapping[Arm, Sequence[str]], enough: int) -> str:
    """That runs of a batch size have several rates, and too few of each, in a sentence.

    Arguments:
        members: names of the runs of each arm, one a seed.
        enough: seeds of an arm that speak.

    Returns:
        A sentence on the batch size of most such runs; empty where no rate stands in the way.

    >>> split_by_rate({Arm(64, "", 0.1): ["a"], Arm(64, "", 0.11): ["b", "c"]}, 3)
    '3 runs at batch size 64 have 2 learning rates (0.1, 0.11), and only runs of one rate are an \
arm.'
    """
    alike: dict[tuple[int, str, float], dict[float, int]] = {}
    for own, names in members.items():
        place = own.batch_size, own.scaling, own.noise
        alike.setdefault(place, {})[own.rate] = len(names)
    split = {
        place: counts
        for place, counts in alike.items()
        if len(counts) > 1 and max(counts.values()) < enough <= sum(counts.values())
    }
    if not split:
        return ""
    (size, _, _), counts = max(split.items(), key=lambda item: sum(item[1].values()))
    rates = first_of([number(rate, 4) for rate in sorted(counts)])
    return (
        f"{plural(sum(counts.values()), 'run')} at {of_batch_size(size)} have {len(counts)} "
        f"learning rates ({rates}), and only runs of one rate are an arm."
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


def setting_of(run: DatasetLike) -> tuple[str, ...]:
    """What a run has for each of `SETTING`, as text: runs that differ in it are no copies."""
    return tuple(map(str, _setting(run).values()))


def _setting(run: DatasetLike) -> dict[str, object]:
    # Groups of tensors stand for a run in fits, and have no sizes.
    sizes = run.variables["tensor_size"].values if "tensor_size" in run.variables else np.empty(0)
    weights = int(sizes.sum())
    return {name: label(run, name) for name in SETTING if name != "weights"} | {"weights": weights}


def setting_key(run: DatasetLike) -> Hashable:
    """Equal for runs that differ by seed only: arm, what ought to be equal, and rung."""
    return arm(run), setting_of(run), ingredients_of(run)


Recording = TypeVar("Recording", bound=DatasetLike)


def one_per_seed(
    runs: Mapping[str, Recording], keys: Mapping[str, Hashable] | None = None
) -> dict[str, Recording]:
    """One run of each seed in each arm: that of most finite distances, of equals the first.

    A repeated seed is a copy or a rerun and no further draw; it would narrow intervals wrongly.

    Arguments:
        runs: recordings by node name.
        keys: the `setting_key` of each, where they are at hand.
    """
    keys = keys or {name: setting_key(run) for name, run in runs.items()}
    draws: dict[tuple[object, ...], list[str]] = {}
    for name, run in runs.items():
        seed = label(run, "seed", None)
        draws.setdefault((keys[name], name if seed is None else seed), []).append(name)
    kept = {max(names, key=lambda name: _last(runs[name])) for names in draws.values()}
    return {name: run for name, run in runs.items() if name in kept}


def _last(run: DatasetLike) -> tuple[float, int]:
    last = int(run.variables["iteration"].values[-1])
    return min(measured_until(run), last), last


def seeds(runs: Sequence[xr.Dataset]) -> int:
    """Number of independent runs: those with equal seeds count once, unnamed ones each."""
    named = [label(run, "seed", None) for run in runs]
    return len({seed for seed in named if seed is not None}) + named.count(None)


def place_of(run: DatasetLike) -> LadderPlace | None:
    """Where a run stands, from its attributes or from the metadata kept in `config`; None if not.

    Arguments:
        run: a recording.

    Returns:
        Its ladder and rung.
    """
    if isinstance(run, Heading):
        return run.place
    told = {**_config(run), **run.attrs}
    try:
        number = int(told["rung"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return LadderPlace(str(told.get("ladder", "")), number, str(told.get("rung_name", "")))


def ingredients_of(run: DatasetLike) -> LadderPlace | None:
    """Where a run stands above the baseline of a ladder with a name; None for plain runs.

    The baseline, rung 0, has no ingredients and is a plain run as any other. A `rung` without a
    ladder may be anything.
    """
    place = place_of(run)
    return place if place is not None and place.ladder and place.number > 0 else None


def _config(run: DatasetLike) -> dict:
    try:
        found = json.loads(str(run.attrs.get("config", "{}")))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class RunSet:
    """Runs that are equal but for batch size, rate, noise and seed.

    Attributes:
        name: what tells it from the other sets of its folder, in words; `ALL` where it is the only
            one.
        nodes: its runs, in the order of the folder.
    """

    name: str
    nodes: tuple[str, ...]


def equal_sets(runs: Mapping[str, DatasetLike]) -> tuple[RunSet, ...]:
    """The sets of equal runs among those of a folder, without the upper rungs of ladders.

    Arguments:
        runs: recordings by node name.

    Returns:
        The sets, that of most runs first; of equally many those of less weight decay. Neither
        names nor order of the runs matter.
    """
    left_out = {name for above in upper_rungs(runs).values() for name in above}
    members: dict[tuple[tuple[str, ...], LadderPlace | None], list[str]] = {}
    for name, run in runs.items():
        if name not in left_out:
            members.setdefault((setting_of(run), ingredients_of(run)), []).append(name)
    ordered = sorted(members.items(), key=lambda item: (-len(item[1]), _set_rank(*item[0])))
    names = _names([runs[nodes[0]] for _, nodes in ordered])
    return tuple(
        RunSet(name, tuple(nodes)) for name, (_, nodes) in zip(names, ordered, strict=True)
    )


def _set_rank(setting: tuple[str, ...], place: LadderPlace | None) -> tuple[object, ...]:
    told = dict(zip(SETTING, setting, strict=True))
    decay, size = (_value(told[name]) for name in ("weight_decay", "data_size"))
    return decay, -size, setting, str(place)


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


# What sets are told apart by, the most telling first.
_TELLING = (
    "optimizer",
    "weight_decay",
    "model",
    "data",
    "data_size",
    "momentum",
    "weights",
    "ghost_size",
    "rung",
)
_OPTIMIZERS = {
    "sgd": "SGD",
    "rmsprop": "RMSprop",
    "adam": "Adam",
    "adamw": "AdamW",
    "lars": "LARS",
    "lamb": "LAMB",
    "muon": "Muon",
}


def _names(runs: Sequence[DatasetLike]) -> list[str]:
    """The sets of which a run each is given, by the fewest things that tell all of them apart."""
    if len(runs) == 1:
        return [ALL]
    settings = [dict(zip(SETTING, setting_of(run), strict=True)) for run in runs]
    words = [
        {name: setting_in_words(name, value) for name, value in own.items()} for own in settings
    ]
    for own, run in zip(words, runs, strict=True):
        place = ingredients_of(run)
        own["rung"] = f"rung {place.number} of {place.ladder}" if place else "plain runs"
    several = [name for name in _TELLING if len({own[name] for own in words}) > 1]
    told = [", ".join(own[name] for name in several) for own in words]
    for count in range(1, len(several)):
        for chosen in combinations(several, count):
            short = [", ".join(own[name] for name in chosen) for own in words]
            if len(set(short)) == len(set(told)):
                return _numbered(short)
    return _numbered(told)


def _numbered(names: Sequence[str]) -> list[str]:
    """The names, numbered where digits that are not shown tell sets apart."""
    return [
        f"{name} ({names[:place].count(name) + 1})" if name in names[:place] else name
        for place, name in enumerate(names)
    ]


def setting_in_words(name: str, value: str) -> str:
    """One of `SETTING` with its value, as text, in the words of the field.

    >>> setting_in_words("optimizer", "adamw"), setting_in_words("weight_decay", "0.0")
    ('AdamW', 'no weight decay')
    >>> setting_in_words("data_size", "50000"), setting_in_words("ghost_size", "32")
    ('50,000 samples', 'ghost batches of 32')
    """
    title = name.replace("_", " ")
    if not value or (name == "weights" and not _value(value)):
        return f"unknown {'number of weights' if name == 'weights' else title}"
    if name in ("model", "data", "optimizer"):
        return _OPTIMIZERS.get(value, value)
    if name == "weights":
        return f"{in_short(_value(value))} weights"
    if name == "data_size":
        return f"{number(_value(value))} samples"
    if not _value(value):
        return f"no {title.replace('size', 'batches')}"
    if name == "ghost_size":
        return f"ghost batches of {number(_value(value))}"
    return f"{title} {number(_value(value))}"


def upper_rungs(runs: Mapping[str, DatasetLike]) -> dict[str, tuple[str, ...]]:
    """The runs of each ladder that are above its foot, by the ladder's name.

    The foot is the baseline, rung 0; where a ladder has none here, its lowest rung.

    Arguments:
        runs: recordings by node name.

    Returns:
        Node names; ladders without upper rungs are left out.
    """
    places: dict[str, dict[str, int]] = {}
    for name, run in runs.items():
        place = place_of(run)
        if place is not None and place.ladder:
            places.setdefault(place.ladder, {})[name] = place.number
    feet = {ladder: max(min(found.values()), 0) for ladder, found in places.items()}
    above = {
        ladder: tuple(name for name, rung in found.items() if rung > feet[ladder])
        for ladder, found in places.items()
    }
    return {ladder: names for ladder, names in above.items() if names}


def rungs_in_words(runs: Mapping[str, xr.Dataset]) -> str:
    """Which rungs of ladders verdicts leave out, in a sentence; empty without any.

    Arguments:
        runs: recordings by node name.
    """
    names = [name for above in upper_rungs(runs).values() for name in above]
    if not names:
        return ""
    verbs = "of higher rungs is", "of higher rungs are"
    told = recordings_told([called(runs[name]) for name in names], "left out", verbs)
    return f"Of a ladder verdicts count the lowest rung; {told}"


IS_ARE = ("is", "are")


def recordings_told(names: Sequence[str], what: str, verbs: tuple[str, str] = IS_ARE) -> str:
    """A sentence on recordings, the first of them by name; empty without any.

    Arguments:
        names: of the recordings.
        what: is said of them, after the verb.
        verbs: of one recording, and of several.

    >>> recordings_told(["a", "b"], "left out")
    '2 recordings are left out: a, b.'
    """
    if not names:
        return ""
    verb = verbs[len(names) > 1]
    return f"{plural(len(names), 'recording')} {verb} {what}: {first_of(names)}."


def called(run: DatasetLike) -> str:
    """The name of a run, as sentences have it."""
    return str(label(run, "run"))[:40]
