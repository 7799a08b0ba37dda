"""Which runs are draws of their own, and why the others are none.

A seed counts once, however often it was run, and a copy is a copy whatever it is called. A seed
that stopped early cannot stand beside those that went on: it is left out where they are enough,
and neither shortens what they show nor passes for what it did not see.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.text import first_of, number, plural, sentence

from .arms import arm, called, one_per_seed, setting_key
from .readings import total_distance

# Distances of two seeds differ by far more at some record; those of a recording that was written
# again in single precision, or as text, do not.
_SAME = 1e-6
_LEAST_SHARED = 3
# A seed that ended before this share of what its arm reached stopped early; where others are
# enough, before the larger one, or began later by the factor.
_SHORT, _WHOLE, _LATE = 0.5, 0.9, 2.0
FEW, MANY = 3, 4  # seeds that speak on the growth of an arm, and on everything else
# Shares of the first training loss: an arm learnt if its runs end below, a run did not if above.
_LEARNT, _NOTHING_LEARNT = 0.5, 0.9


def copies(runs: Mapping[str, xr.Dataset]) -> dict[str, str]:
    """Recordings of the curve of another in the same arm, whatever their names and seeds.

    Two trainings never agree in the distance at every record; two files of one training do.

    Arguments:
        runs: recordings by node name.

    Returns:
        Of each copy the run that it repeats: the one that goes farthest, of equals the first.
    """
    found: dict[str, str] = {}
    for names in _by_arm(runs).values():
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


def stopped_early(runs: Mapping[str, xr.Dataset], *, enough: int = MANY) -> dict[str, int]:
    """Runs that ended, began, or stopped being finite, far from where others of their arm did.

    Where more than enough seeds are there, a run is left out that ends before `_WHOLE` of the
    iteration that enough of them reach, or begins later than `_LATE` times that from which they
    are known. In any case one is that ends before `_SHORT` of what its arm reached: the iteration
    that three of its seeds saw; with three or fewer, that of the longest.

    Arguments:
        runs: recordings by node name, one a seed.
        enough: seeds that speak without the others.

    Returns:
        Of each the last iteration with a finite distance.
    """
    ends = {name: _span(run) for name, run in runs.items()}
    found: dict[str, int] = {}
    for names in _by_arm(runs).values():
        reached = _reached([ends[name] for name in names], FEW)
        short = {name for name in names if ends[name][1] < _SHORT * reached[1]}
        first, last = _reached([ends[name] for name in names], enough)
        apart = {
            name
            for name in names
            if ends[name][0] > _LATE * first or ends[name][1] < _WHOLE * last
        }
        if len(names) - len(apart) >= enough:
            short |= apart
        found |= {name: ends[name][1] for name in names if name in short}
    return found


def _by_arm(runs: Mapping[str, xr.Dataset]) -> dict[object, list[str]]:
    found: dict[object, list[str]] = {}
    for name, run in runs.items():
        found.setdefault(setting_key(run), []).append(name)
    return found


def _span(run: xr.Dataset) -> tuple[int, int]:
    """First and last iteration with a finite, positive distance; 0 without any."""
    times, _ = _curve(run)
    return (int(times[0]), int(times[-1])) if times.size else (0, 0)


def _reached(ends: Sequence[tuple[int, int]], enough: int) -> tuple[int, int]:
    """Between which iterations so many seeds have distances; where there are no more, any."""
    begun, ended = sorted(first for first, _ in ends), sorted((last for _, last in ends))[::-1]
    place = enough - 1 if len(ends) > enough else 0
    return begun[place], ended[place]


def diverged(runs: Mapping[str, xr.Dataset]) -> tuple[str, ...]:
    """Runs whose training loss ends where it began, though that of their arm fell to half of it.

    What happens to a network that learns nothing is not what its arm shows, however finite it is.

    Arguments:
        runs: recordings by node name, one a seed.

    Returns:
        Their names; none of arms of fewer than three runs with a loss.
    """
    found: list[str] = []
    for names in _by_arm(runs).values():
        left = {name: _loss_left(runs[name]) for name in names}
        known = [share for share in left.values() if math.isfinite(share)]
        if len(known) >= FEW and np.median(known) < _LEARNT:
            found += [name for name, share in left.items() if share > _NOTHING_LEARNT]
    return tuple(found)


def _loss_left(run: xr.Dataset) -> float:
    """The training loss at the end over that at the start; NaN where it was not recorded."""
    if "loss" not in run.variables:
        return math.nan
    loss = np.asarray(run.variables["loss"].values, dtype=np.float64)
    loss = loss[np.isfinite(loss) & (run.variables["iteration"].values > 0)]
    if loss.size < 2 * FEW or not loss[0] > 0:
        return math.nan
    return float(np.median(loss[-FEW:]) / loss[0])


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


def _counted(runs: Mapping[str, xr.Dataset], enough: int) -> _Counted:
    twins = copies(runs)
    single = without(runs, twins)
    once = one_per_seed(single)
    short = stopped_early(once, enough=enough)
    lost = [name for name in diverged(once) if name not in short]
    again = [name for name in single if name not in once]
    return _Counted(twins, again, short, lost, without(once, {*short, *lost}))


def draws(runs: Mapping[str, xr.Dataset], *, enough: int = MANY) -> dict[str, xr.Dataset]:
    """The runs that are draws of their own: copies and repeated seeds once, none broken off.

    Arguments:
        runs: recordings by node name.
        enough: seeds of an arm that speak without those that ended before them.
    """
    return _counted(runs, enough).kept


def without(runs: Mapping[str, xr.Dataset], names: Iterable[str]) -> dict[str, xr.Dataset]:
    """The runs but for those named."""
    left_out = set(names)
    return {name: run for name, run in runs.items() if name not in left_out}


def counted_in_words(runs: Mapping[str, xr.Dataset]) -> str:
    """In words, which runs of a set count once or not at all, and why; empty without any."""
    found = _counted(runs, MANY)
    few = stopped_early({**found.kept, **{name: runs[name] for name in found.short}}, enough=FEW)
    said = [
        _told_copies(runs, found.twins),
        _told_again(runs, found.again),
        _told_left_out(_ended(runs, found.short), "others have finite distances farther on"),
        _told_partly(_ended(runs, [name for name in few if name not in found.short])),
        _told_left_out(
            [called(runs[name]) for name in found.lost],
            "the training loss ends where it began while that of the arm fell",
        ),
        *_told_shortened(without(found.kept, few)),
    ]
    return " ".join(filter(None, said))


def _ended(runs: Mapping[str, xr.Dataset], names: Iterable[str]) -> list[str]:
    """The runs with the iterations that each has a finite distance at."""
    spans = {name: _span(runs[name]) for name in names}
    return [
        f"{called(runs[name])} to iteration {number(last)}"
        if first <= _LATE
        else f"{called(runs[name])} from iteration {number(first)} to {number(last)}"
        for name, (first, last) in spans.items()
    ]


def _told_partly(ended: Sequence[str]) -> str:
    if not ended:
        return ""
    have = "has" if len(ended) == 1 else "have"
    return (
        f"{plural(len(ended), 'recording')} {have} finite distances not as far as {FEW} others, "
        f"which speak alone where {FEW} seeds are enough: {first_of(ended)}."
    )


def _told_shortened(runs: Mapping[str, xr.Dataset]) -> list[str]:
    """That an arm is read up to where the first of its runs ends, where others go on."""
    said = []
    for names in _by_arm(runs).values():
        ends = {name: _span(runs[name])[1] for name in names}
        first, last = min(ends.values()), max(ends.values())
        if first < _WHOLE * last:
            short = [called(runs[name]) for name in names if ends[name] < _WHOLE * last]
            said.append(
                f"{sentence(str(arm(runs[names[0]])))[:-1]} is read up to iteration "
                f"{number(first)}, as too few seeds go on like the longest, to {number(last)}: "
                f"{first_of(short)} {'ends' if len(short) == 1 else 'end'} before."
            )
    return said


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
        f"rule and rate: {first_of([called(runs[name]) for name in again])}. Verdicts count one "
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
    return path.replace("\\", "/").rsplit("/", 1)[-1][:60] or called(run)
