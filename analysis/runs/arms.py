"""How runs belong together: arms, sets of equal runs, and which runs are draws of their own.

Runs that differ in more than batch size, rate, noise and seed are of different laws: weight decay
holds the distance back, another optimizer takes other steps, and a part of the images is another
landscape. Each set of equal runs is judged by itself, so that a run of one never changes what is
said of another. The rungs of a ladder differ in ingredients that no prediction is about; only its
foot is a plain run.

A seed counts once, however often it was run, and a copy is a copy whatever it is called. A seed
that stopped early cannot stand beside those that went on.
"""

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.text import first_of, number, plural

from .readings import constant_rate, injected_noise, label, total_distance

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
# Distances of two seeds differ by far more at some record; those of a recording that was written
# again in single precision, or as text, do not.
_SAME = 1e-6
_LEAST_SHARED = 3
# A seed that ended before this share of what its arm reached stopped early.
_SHORT = 0.5
_ENOUGH = 3  # the fewest seeds that are a sample
# Shares of the first training loss: an arm learnt if its runs end below, a run did not if above.
_LEARNT, _NOTHING_LEARNT = 0.5, 0.9


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
    """The recordings of a tree by node name, in order of batch size, seed and name.

    Raises:
        TypeError: when it is no tree of recordings.
    """
    if not isinstance(runs, xr.DataTree):
        raise TypeError(
            f"runs: found {type(runs).__name__}, expected a tree of recordings, as `load` gives it"
        )
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


def equal_sets(runs: Mapping[str, xr.Dataset]) -> tuple[RunSet, ...]:
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


def _names(runs: Sequence[xr.Dataset]) -> list[str]:
    """The sets of which a run each is given, told apart by what differs between them."""
    if len(runs) == 1:
        return [ALL]
    settings = [dict(zip(SETTING, setting_of(run), strict=True)) for run in runs]
    several = [name for name in SETTING if len({found[name] for found in settings}) > 1]
    named = []
    for run, found in zip(runs, settings, strict=True):
        place = ingredients_of(run)
        words = [_in_words(name, found[name]) for name in several]
        words += [f"rung {place.number} of {place.ladder}"] if place else []
        named.append(", ".join(words) or "plain runs")
    return named


def _in_words(name: str, value: str) -> str:
    title = name.replace("_", " ")
    if not value:
        return f"unknown {title}"
    if name in ("model", "data", "optimizer"):
        return value
    return f"{title} {number(_value(value)) if name != 'weights' else value}"


def upper_rungs(runs: Mapping[str, xr.Dataset]) -> dict[str, tuple[str, ...]]:
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
    verb = "is" if len(names) == 1 else "are"
    return (
        f"Of a ladder verdicts count the lowest rung; {plural(len(names), 'recording')} of higher "
        f"rungs {verb} left out: {first_of([_name(runs[name]) for name in names])}."
    )


def copies(runs: Mapping[str, xr.Dataset]) -> dict[str, str]:
    """Recordings of the curve of another in the same arm, whatever their names and seeds.

    Two trainings never agree in the distance at every record; two files of one training do.

    Arguments:
        runs: recordings by node name.

    Returns:
        Of each copy the run that it repeats: the one that goes farthest, of equals the first.
    """
    by_key: dict[object, list[str]] = {}
    for name, run in runs.items():
        by_key.setdefault(setting_key(run), []).append(name)
    found: dict[str, str] = {}
    for names in by_key.values():
        if len(names) > 1:
            found |= _copies({name: _curve(runs[name]) for name in names})
    return found


_Curve = tuple[NDArray[np.int64], NDArray[np.float64]]


def _curve(run: xr.Dataset) -> _Curve:
    """Iterations and distances of the records that tell trainings apart."""
    distance = total_distance(run).values
    times = run.variables["iteration"].values
    known = (times > 0) & np.isfinite(distance) & (distance > 0)
    return times[known].astype(np.int64), distance[known]


def _copies(curves: Mapping[str, _Curve]) -> dict[str, str]:
    # Farthest first, so that what is kept is what goes on; sorting keeps the order of equals.
    ordered = sorted(curves, key=lambda name: -int(curves[name][0][-1:].sum()))
    found: dict[str, str] = {}
    kept: list[str] = []
    for name in ordered:
        twin = next((other for other in kept if _same(curves[name], curves[other])), None)
        if twin is None:
            kept.append(name)
        else:
            found[name] = twin
    return found


def _same(one: _Curve, other: _Curve) -> bool:
    _, here, there = np.intersect1d(one[0], other[0], assume_unique=True, return_indices=True)
    if here.size < _LEAST_SHARED:
        return False
    return bool(np.allclose(one[1][here], other[1][there], rtol=_SAME, atol=0.0))


def stopped_early(runs: Mapping[str, xr.Dataset]) -> dict[str, int]:
    """Runs that ended, or stopped being finite, before half of what their arm reached.

    An arm reached the iteration that three of its seeds saw; with three or fewer, that of the
    longest.

    Arguments:
        runs: recordings by node name, one a seed.

    Returns:
        Of each the last iteration with a finite distance.
    """
    by_arm: dict[object, dict[str, int]] = {}
    for name, run in runs.items():
        times, _ = _curve(run)
        by_arm.setdefault(setting_key(run), {})[name] = int(times[-1]) if times.size else 0
    found: dict[str, int] = {}
    for lasts in by_arm.values():
        longest = sorted(lasts.values(), reverse=True)
        reached = longest[_ENOUGH - 1] if len(longest) > _ENOUGH else longest[0]
        found |= {name: last for name, last in lasts.items() if last < _SHORT * reached}
    return found


def diverged(runs: Mapping[str, xr.Dataset]) -> tuple[str, ...]:
    """Runs whose training loss ends where it began, though that of their arm fell to half of it.

    What happens to a network that learns nothing is not what its arm shows, however finite it is.

    Arguments:
        runs: recordings by node name, one a seed.

    Returns:
        Their names; none of arms of fewer than three runs with a loss.
    """
    by_arm: dict[object, dict[str, float]] = {}
    for name, run in runs.items():
        by_arm.setdefault(setting_key(run), {})[name] = _loss_left(run)
    found: list[str] = []
    for left in by_arm.values():
        known = [share for share in left.values() if math.isfinite(share)]
        if len(known) >= _ENOUGH and np.median(known) < _LEARNT:
            found += [name for name, share in left.items() if share > _NOTHING_LEARNT]
    return tuple(found)


def _loss_left(run: xr.Dataset) -> float:
    """The training loss at the end over that at the start; NaN where it was not recorded."""
    if "loss" not in run.variables:
        return math.nan
    loss = np.asarray(run.variables["loss"].values, dtype=np.float64)
    loss = loss[np.isfinite(loss) & (run.variables["iteration"].values > 0)]
    if loss.size < 2 * _ENOUGH or not loss[0] > 0:
        return math.nan
    return float(np.median(loss[-_ENOUGH:]) / loss[0])


@dataclass(frozen=True)
class _Counted:
    """Which runs of a set are draws of their own, and why the others are none.

    Attributes:
        twins: of each copy the run that it repeats.
        again: runs of a seed that another one stands for.
        short: of runs that stopped early the last iteration with a finite distance.
        lost: other runs that diverged.
        kept: the draws.
    """

    twins: dict[str, str]
    again: list[str]
    short: dict[str, int]
    lost: list[str]
    kept: dict[str, xr.Dataset]


def _counted(runs: Mapping[str, xr.Dataset]) -> _Counted:
    twins = copies(runs)
    single = without(runs, twins)
    once = one_per_seed(single)
    short = stopped_early(once)
    lost = [name for name in diverged(once) if name not in short]
    again = [name for name in single if name not in once]
    return _Counted(twins, again, short, lost, without(once, {*short, *lost}))


def draws(runs: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """The runs that are draws of their own: copies and repeated seeds once, none broken off."""
    return _counted(runs).kept


def without(runs: Mapping[str, xr.Dataset], names: Iterable[str]) -> dict[str, xr.Dataset]:
    """The runs but for those named."""
    left_out = set(names)
    return {name: run for name, run in runs.items() if name not in left_out}


def counted_in_words(runs: Mapping[str, xr.Dataset]) -> str:
    """In words, which runs of a set count once or not at all, and why; empty without any."""
    found = _counted(runs)
    ended = [f"{_name(runs[name])} at iteration {last}" for name, last in found.short.items()]
    lost = [_name(runs[name]) for name in found.lost]
    said = [
        _told_copies(runs, found.twins),
        _told_again(runs, found.again),
        _told_left_out(ended, "finite distances end before half of what the arm reached"),
        _told_left_out(lost, "the training loss ends where it began while that of the arm fell"),
    ]
    return " ".join(filter(None, said))


def _told_copies(runs: Mapping[str, xr.Dataset], twins: Mapping[str, str]) -> str:
    if not twins:
        return ""
    pairs = [f"{_file(runs[name])} of {_file(runs[twin])}" for name, twin in twins.items()]
    verb = "is a copy of another" if len(pairs) == 1 else "are copies of others"
    return (
        f"{plural(len(pairs), 'recording')} {verb}, with the same distance at every record: "
        f"{first_of(pairs)}. Each curve counts once."
    )


def _told_again(runs: Mapping[str, xr.Dataset], again: Sequence[str]) -> str:
    if not again:
        return ""
    verb = "repeats" if len(again) == 1 else "repeat"
    return (
        f"{plural(len(again), 'recording')} {verb} the seed of another at the same batch size, "
        f"rule and rate: {first_of([_name(runs[name]) for name in again])}. Verdicts count one "
        "of each, the longest that recorded what they need."
    )


def _told_left_out(names: Sequence[str], why: str) -> str:
    if not names:
        return ""
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{plural(len(names), 'recording')} {verb} left out of comparisons between distances, as "
        f"{why}: {first_of(names)}."
    )


def _file(run: xr.Dataset) -> str:
    """The file of a run, as copies have its name; the name where it came from no file."""
    path = str(run.attrs.get("path", ""))
    return path.replace("\\", "/").rsplit("/", 1)[-1][:60] or _name(run)


def _name(run: xr.Dataset) -> str:
    return str(label(run, "run"))[:40]
