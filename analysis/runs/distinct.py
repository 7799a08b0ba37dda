"""Which runs are draws of their own, and why the others are none.

A seed counts once, however often it was run, and a copy is a copy whatever it is called. A seed
that stopped early cannot stand beside those that went on: it is left out where they are enough,
and neither shortens what they show nor passes for what it did not see.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.text import first_of, number, sentence
from ultraslow.diffusion.recording import DatasetLike

from .arms import (
    IS_ARE,
    SETTING,
    Recording,
    arm,
    called,
    ingredients_of,
    one_per_seed,
    recordings_told,
    setting_key,
    setting_of,
)
from .heading import Heading

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


@dataclass(frozen=True)
class Traits:
    """What tells a run from others, and whether it is whole.

    Attributes:
        key: equal for runs that differ by seed only.
        times: iterations t ≥ 1 with a finite, positive distance, shape (record,).
        distances: there, shape (record,).
        loss_left: the training loss at the end over that at the start; NaN where unknown.
    """

    key: Hashable
    times: NDArray[np.int64]
    distances: NDArray[np.float64]
    loss_left: float

    @property
    def span(self) -> tuple[int, int]:
        """First and last iteration with a distance; 0 without any."""
        return (int(self.times[0]), int(self.times[-1])) if self.times.size else (0, 0)


def traits(run: DatasetLike) -> Traits:
    """The traits of a run, which a study reads once."""
    distance, times = total_distances(run), run.variables["iteration"].values
    if not distance.size:
        times = times[:0]
    known = (times > 0) & np.isfinite(distance) & (distance > 0)
    curve = times[known].astype(np.int64), distance[known]
    return Traits(setting_key(run), *curve, loss_left(run))


def total_distances(run: DatasetLike) -> NDArray[np.float64]:
    """‖w − w0‖ over all tensors at each record, shape (iteration,); empty without any."""
    if isinstance(run, Heading):
        return run.distance.astype(np.float64)
    squares = run.variables.get("distance_sq")
    if squares is None:
        return np.empty(0)
    axes = tuple(place for place, dim in enumerate(squares.dims) if dim != "iteration")
    return np.asarray(np.sqrt(np.asarray(squares.values, dtype=np.float64).sum(axis=axes)))


Known = Mapping[str, Traits]


def copies(known: Known) -> dict[str, str]:
    """Recordings of the curve of another in the same arm, whatever their names and seeds.

    Two trainings never agree in the distance at every record; two files of one training do.

    Arguments:
        known: traits of the runs by node name.

    Returns:
        Of each copy the run that it repeats: the one that goes farthest, of equals the first.
    """
    found: dict[str, str] = {}
    grids: dict[bytes, int] = {}
    for names in _by_arm(known).values():
        # Farthest first, so that what is kept is what goes on; sorting keeps the order of equals.
        ordered = sorted(names, key=lambda name: -known[name].span[1])
        kept: list[tuple[str, int, float]] = []
        for name in ordered:
            own = known[name]
            grid = grids.setdefault(own.times.tobytes(), len(grids))
            last = float(own.distances[-1]) if own.distances.size else 0.0
            # Of most pairs of equal times the last distances tell that they are none.
            near = (
                other for other, at, end in kept if at != grid or abs(last - end) <= _SAME * end
            )
            twin = next((other for other in near if _same(own, known[other])), None)
            if twin is None:
                kept.append((name, grid, last))
            else:
                found[name] = twin
    return found


def copies_elsewhere(known: Known) -> dict[str, str]:
    """Recordings of the curve of another in another arm: labels are wrong, or change nothing.

    Arguments:
        known: traits of the runs by node name.

    Returns:
        Of each such recording the first that it repeats.
    """
    found: dict[str, str] = {}
    begun = {name: own for name, own in known.items() if own.times.size}
    place = {name: at for at, name in enumerate(known)}
    # Curves that begin alike stand beside each other; each is compared with those before it.
    ordered = sorted(begun, key=lambda name: (begun[name].times[0], begun[name].distances[0]))
    for at, name in enumerate(ordered):
        own = begun[name]
        for one in ordered[at + 1 :]:
            other = begun[one]
            near = other.distances[0] <= own.distances[0] * (1 + _SAME)
            if other.times[0] != own.times[0] or not near:
                break
            if other.key != own.key and _same(own, other):
                first, second = sorted((name, one), key=lambda node: place[node])
                found.setdefault(second, first)
    return dict(sorted(found.items(), key=lambda item: place[item[0]]))


def _same(one: Traits, other: Traits) -> bool:
    _, here, there = np.intersect1d(
        one.times, other.times, assume_unique=True, return_indices=True
    )
    if here.size < _LEAST_SHARED:
        return False
    return bool(np.allclose(one.distances[here], other.distances[there], rtol=_SAME, atol=0.0))


def stopped_early(known: Known, *, enough: int = MANY) -> dict[str, int]:
    """Runs that ended, began, or stopped being finite, far from where others of their arm did.

    Where more than enough seeds are there, a run is left out that ends before `_WHOLE` of the
    iteration that enough of them reach, or begins later than `_LATE` times that from which they
    are known. In any case one is that ends before `_SHORT` of what its arm reached: the iteration
    that three of its seeds saw; with three or fewer, that of the longest.

    Arguments:
        known: traits of the runs by node name, one a seed.
        enough: seeds that speak without the others.

    Returns:
        Of each the last iteration with a finite distance.
    """
    ends = {name: own.span for name, own in known.items()}
    found: dict[str, int] = {}
    for names in _by_arm(known).values():
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


def _by_arm(known: Known) -> dict[Hashable, list[str]]:
    found: dict[Hashable, list[str]] = {}
    for name, own in known.items():
        found.setdefault(own.key, []).append(name)
    return found


def _reached(ends: Sequence[tuple[int, int]], enough: int) -> tuple[int, int]:
    """Between which iterations so many seeds have distances; where there are no more, any."""
    begun, ended = sorted(first for first, _ in ends), sorted((last for _, last in ends))[::-1]
    place = enough - 1 if len(ends) > enough else 0
    return begun[place], ended[place]


def diverged(known: Known) -> tuple[str, ...]:
    """Runs whose training loss ends where it began, though that of their arm fell to half of it.

    What happens to a network that learns nothing is not what its arm shows, however finite it is.

    Arguments:
        known: traits of the runs by node name, one a seed.

    Returns:
        Their names; none of arms of fewer than three runs with a loss.
    """
    found: list[str] = []
    for names in _by_arm(known).values():
        left = [share for name in names if math.isfinite(share := known[name].loss_left)]
        if len(left) >= FEW and np.median(left) < _LEARNT:
            found += [name for name in names if known[name].loss_left > _NOTHING_LEARNT]
    return tuple(found)


def loss_left(run: DatasetLike) -> float:
    """The training loss at the end over that at the start; NaN where it was not recorded."""
    if isinstance(run, Heading):
        return run.loss_left
    if "loss" not in run.variables:
        return math.nan
    loss = np.asarray(run.variables["loss"].values, dtype=np.float64)
    loss = loss[np.isfinite(loss) & (run.variables["iteration"].values > 0)]
    if loss.size < 2 * FEW or not loss[0] > 0:
        return math.nan
    return float(np.median(loss[-FEW:]) / loss[0])


@dataclass(frozen=True)
class _Counted(Generic[Recording]):
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
    kept: dict[str, Recording]


def _counted(runs: Mapping[str, Recording], enough: int, known: Known) -> _Counted[Recording]:
    twins = copies(known)
    single = without(runs, twins)
    once = one_per_seed(single, {name: known[name].key for name in single})
    own = {name: known[name] for name in once}
    short = stopped_early(own, enough=enough)
    lost = [name for name in diverged(own) if name not in short]
    again = [name for name in single if name not in once]
    return _Counted(twins, again, short, lost, without(once, {*short, *lost}))


def draws(
    runs: Mapping[str, Recording], *, enough: int = MANY, known: Known | None = None
) -> dict[str, Recording]:
    """The runs that are draws of their own: copies and repeated seeds once, none broken off.

    Arguments:
        runs: recordings by node name.
        enough: seeds of an arm that speak without those that ended before them.
        known: their traits, where they are at hand.
    """
    return _counted(runs, enough, known or _read(runs)).kept


def _read(runs: Mapping[str, DatasetLike]) -> dict[str, Traits]:
    return {name: traits(run) for name, run in runs.items()}


def without(runs: Mapping[str, Recording], names: Iterable[str]) -> dict[str, Recording]:
    """The runs but for those named."""
    left_out = set(names)
    return {name: run for name, run in runs.items() if name not in left_out}


def counted_in_words(runs: Mapping[str, DatasetLike], known: Known | None = None) -> str:
    """In words, which runs of a set count once or not at all, and why; empty without any.

    Arguments:
        runs: recordings by node name.
        known: their traits, where they are at hand.
    """
    known = known or _read(runs)
    found = _counted(runs, MANY, known)
    few = stopped_early({name: known[name] for name in (*found.kept, *found.short)}, enough=FEW)
    partly = [name for name in few if name not in found.short]
    apart = "left out of comparisons between distances, as"
    pairs = [f"{_file(runs[name])} of {_file(runs[twin])}" for name, twin in found.twins.items()]
    told = [
        (pairs, "with the same distance at every record", _COPY),
        (_named(runs, found.again), _SAME_SEED, ("repeats", "repeat")),
        (
            _ended(runs, known, found.short),
            f"{apart} others have finite distances farther on",
            IS_ARE,
        ),
        (_ended(runs, known, partly), _NOT_AS_FAR, ("has", "have")),
        (
            _named(runs, found.lost),
            f"{apart} the training loss ends where it began while that of the arm fell",
            IS_ARE,
        ),
    ]
    said = [recordings_told(*one) for one in told]
    for place, rest in ((0, "Each curve counts once."), (1, _LONGEST)):
        said[place] += f" {rest}" if said[place] else ""
    said += _told_shortened(without(found.kept, few), known)
    return " ".join(filter(None, said))


def relabelled_in_words(runs: Mapping[str, DatasetLike], known: Known) -> str:
    """In words, which recordings repeat the curve of another arm; empty without any.

    Arguments:
        runs: recordings by node name.
        known: their traits.
    """
    found = copies_elsewhere(known)
    pairs = [f"{_file(runs[name])} and {_file(runs[twin])}" for name, twin in found.items()]
    if not pairs:
        return ""
    which = "recording has" if len(pairs) == 1 else "recordings have"
    differ = sorted(
        {what for name, twin in found.items() for what in _differing(runs[name], runs[twin])}
    )
    told = f" ({', '.join(differ)})" if differ else ""
    return (
        f"{len(pairs)} {which} the same distance at every record as another whose labels differ"
        f"{told}: {first_of(pairs)}. Either "
        "labels are wrong, or what differs changed nothing; both are counted."
    )


def _differing(one: DatasetLike, other: DatasetLike) -> list[str]:
    """What the labels of two recordings differ in."""
    pairs = zip(SETTING, setting_of(one), setting_of(other), strict=True)
    names = [name for name, a, b in pairs if a != b]
    here, there = arm(one), arm(other)
    names += ["batch size"] if here.batch_size != there.batch_size else []
    names += ["scaling"] if here.scaling != there.scaling else []
    names += ["learning rate"] if here.rate != there.rate else []
    names += ["rung"] if ingredients_of(one) != ingredients_of(other) else []
    return [name.replace("_", " ") for name in names]


_COPY = ("is a copy of another,", "are copies of others,")
_SAME_SEED = "the seed of another at the same batch size, rule and rate"
_LONGEST = "Verdicts count one of each, the longest that recorded what they need."
_NOT_AS_FAR = (
    f"finite distances not as far as {FEW} others, which speak alone where {FEW} seeds are enough"
)


def _named(runs: Mapping[str, DatasetLike], names: Iterable[str]) -> list[str]:
    return [called(runs[name]) for name in names]


def _ended(runs: Mapping[str, DatasetLike], known: Known, names: Iterable[str]) -> list[str]:
    """The runs with the iterations that each has a finite distance at."""
    spans = {name: known[name].span for name in names}
    return [
        f"{called(runs[name])} to iteration {number(last)}"
        if first <= _LATE
        else f"{called(runs[name])} from iteration {number(first)} to {number(last)}"
        for name, (first, last) in spans.items()
    ]


def _told_shortened(runs: Mapping[str, DatasetLike], known: Known) -> list[str]:
    """That an arm is read up to where the first of its runs ends, where others go on."""
    said = []
    for names in _by_arm({name: known[name] for name in runs}).values():
        ends = {name: known[name].span[1] for name in names}
        first, last = min(ends.values()), max(ends.values())
        if first < _WHOLE * last:
            short = [called(runs[name]) for name in names if ends[name] < _WHOLE * last]
            verb = "has" if len(short) == 1 else "have"
            said.append(
                f"{sentence(str(arm(runs[names[0]])))[:-1]} is read up to iteration "
                f"{number(first)}, as too few seeds go on like the longest, to {number(last)}: "
                f"{first_of(short)} {verb} no finite distance there."
            )
    return said


def _file(run: DatasetLike) -> str:
    """The file of a run, as copies have its name; the name where it came from no file."""
    path = str(run.attrs.get("path", ""))
    return path.replace("\\", "/").rsplit("/", 1)[-1][:60] or called(run)
