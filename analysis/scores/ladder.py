"""A recipe's ladder: what each rung gains over the one before, over the baseline and as a whole.

The runs of a ladder say which rung they stand on by the metadata `ladder`, `rung` (a number) and
`rung_name`. Seeds are the sample; where two rungs were run with the same seeds, their difference
is taken seed by seed.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import Contrast, Interval, block, paired, unpaired
from ultraslow.analysis.runs import LadderPlace, place_of

from .held_out import METRICS, has, trainings

# Two runs give a spread, though an interval of it is 12 standard errors wide on either side.
LEAST_SEEDS_FOR_SPREAD = 2
# From so many seeds on, a pair of rungs has a spread of its own that is leaned on. Below, the
# spread is pooled over all rungs, which for 9 rungs of 2 seeds has 8 degrees of freedom, not 1.
OWN_SPREAD = 4


@dataclass(frozen=True)
class Gain:
    """What one rung gains over another.

    Attributes:
        contrast: difference of scores.
        interval: of the difference; it holds for all rungs together.
        paired: whether it was taken seed by seed.
        pooled: whether its interval comes from the spread of all rungs.
        p_value: of "no difference", corrected for the number of rungs by Holm's method.
    """

    contrast: Contrast
    interval: Interval
    paired: bool
    pooled: bool
    p_value: float


@dataclass(frozen=True)
class Rung:
    """One rung of a ladder.

    Attributes:
        place: where it stands.
        mean: mean held-out value of its runs; NaN without any.
        runs: runs with a finite value at their end.
        failed: runs without one.
        over_before: gain over the rung before; None for the first, or with too few seeds.
        over_baseline: gain over the first rung; None likewise.
    """

    place: LadderPlace
    mean: float
    runs: int
    failed: int
    over_before: Gain | None
    over_baseline: Gain | None


@dataclass(frozen=True)
class Ladder:
    """The rungs of a ladder by one metric.

    Attributes:
        name: of the ladder.
        metric: what is compared.
        rungs: from the baseline up.
        level: confidence level that all intervals of a column have together.
        notes: what to know of the comparison, in sentences.
    """

    name: str
    metric: str
    rungs: tuple[Rung, ...]
    level: float
    notes: tuple[str, ...]


def ladders(runs: dict[str, xr.Dataset], *, level: float = 0.95) -> tuple[Ladder, ...]:
    """The ladders among some runs, each by every held-out metric they have.

    With k rungs above the baseline, gains have t intervals at the level 1 − (1 − level)/k, which
    hold together for all of them, and p-values after Holm. Three rungs or more that were run with
    the same two or three seeds have the spread that is pooled over them (`contrast.block`).

    References:
        Holm (1979), Scandinavian Journal of Statistics 6, 65.

    Arguments:
        runs: recordings by node name; those that stand on no rung are passed over.
        level: confidence level.

    Returns:
        Ladders by name and metric; empty where no run stands on one or none was evaluated.
    """
    standing = [(place, run) for run in runs.values() if (place := place_of(run)) is not None]
    names = sorted({place.ladder for place, _ in standing})
    found = []
    for name in names:
        members = [(place, run) for place, run in standing if place.ladder == name]
        metrics = [m for m in METRICS if any(has(run, m) for _, run in members)]
        found += [_ladder(name, members, metric, level=level) for metric in metrics]
    return tuple(found)


# Held-out scores of each rung by seed; NaN where a run has none at its end.
_Seeds = dict[object, float]
_Scores = dict[LadderPlace, _Seeds]


def _ladder(
    name: str, members: Sequence[tuple[LadderPlace, xr.Dataset]], metric: str, *, level: float
) -> Ladder:
    scores = _scores(members, metric)
    places = sorted(scores, key=lambda place: place.number)
    finite = [_finite(scores[place]) for place in places]
    above = range(1, len(places))
    joint = 1 - (1 - level) / max(len(above), 1)
    before = _gains(finite, [(k, k - 1) for k in above], level=joint)
    base = _gains(finite, [(k, 0) for k in above], level=joint)
    rungs = [
        Rung(place, _mean(found, metric), len(found), _failed(scores[place]), *pair)
        for place, found, *pair in zip(places, finite, (None, *before), (None, *base), strict=True)
    ]
    return Ladder(name, metric, tuple(rungs), level, _notes(rungs))


def _scores(members: Sequence[tuple[LadderPlace, xr.Dataset]], metric: str) -> _Scores:
    """Scores at the end of the runs; a seed that comes twice counts once."""
    found: _Scores = {}
    ended = trainings({f"run {k}": run for k, (_, run) in enumerate(members)}, metric)
    for (place, _), one in zip(members, ended, strict=True):
        seeds = found.setdefault(LadderPlace(place.ladder, place.number, ""), {})
        seeds.setdefault(one.seed, one.at(max(one.last, 1)))
    names = {place.number: place.name for place, _ in members}
    return {LadderPlace(p.ladder, p.number, names[p.number]): seeds for p, seeds in found.items()}


def _finite(scores: _Seeds) -> _Seeds:
    return {seed: value for seed, value in scores.items() if math.isfinite(value)}


def _failed(scores: _Seeds) -> int:
    return len(scores) - len(_finite(scores))


def _mean(scores: _Seeds, metric: str) -> float:
    """The mean in the metric's own unit; of losses, the geometric one."""
    if not scores:
        return math.nan
    mean = float(np.mean(list(scores.values())))
    return mean if metric == "accuracy" else math.exp(-mean)


def _gains(
    samples: Sequence[_Seeds], pairs: Sequence[tuple[int, int]], *, level: float
) -> list[Gain | None]:
    """Gains of a column, whose p-values are corrected together."""
    complete = _complete(samples)
    blocks = np.array([[samples[k][seed] for seed in seeds] for k, seeds in complete.items()])
    rows = {k: row for row, k in enumerate(complete)}
    found = [
        (block(blocks, rows[upper], rows[lower]), True, True)
        if upper in rows and lower in rows
        else _contrast(samples[upper], samples[lower])
        for upper, lower in pairs
    ]
    corrected = iter(_holm([one[0].p_value for one in found if one is not None]))
    return [
        None if one is None else Gain(one[0], one[0].interval(level), *one[1:], next(corrected))
        for one in found
    ]


def _holm(p_values: Sequence[float]) -> list[float]:
    """P-values so large that one below α anywhere among them is false with probability α at most.

    References:
        Holm (1979), Scandinavian Journal of Statistics 6, 65.

    >>> _holm([0.04, 0.01, 0.5])
    [0.08, 0.03, 0.5]
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given)
    raised = np.maximum.accumulate(given[order] * np.arange(given.size, 0, -1))
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(raised, 1.0)
    return corrected.tolist()


def _complete(samples: Sequence[_Seeds]) -> dict[int, list[object]]:
    """The rungs whose spread is pooled, with their seeds; none where it is not.

    These are those with the seeds that most rungs have; a rung whose run diverged is none of them.
    """
    sets = Counter(frozenset(sample) for sample in samples)
    seeds, count = sets.most_common(1)[0]
    if count < 3 or not LEAST_SEEDS_FOR_SPREAD <= len(seeds) < OWN_SPREAD:
        return {}
    ordered = next(list(sample) for sample in samples if set(sample) == seeds)
    return {k: ordered for k, sample in enumerate(samples) if set(sample) == seeds}


def _contrast(upper: _Seeds, lower: _Seeds) -> tuple[Contrast, bool, bool] | None:
    """A difference by the spread of its own runs; whether it is paired, and pooled."""
    shared = [seed for seed in upper if seed in lower]
    if len(shared) >= LEAST_SEEDS_FOR_SPREAD and len(shared) == min(len(upper), len(lower)):
        differences: NDArray[np.float64] = np.array([upper[s] - lower[s] for s in shared])
        return paired(differences), True, False
    if min(len(upper), len(lower)) < LEAST_SEEDS_FOR_SPREAD:
        return None
    return unpaired(list(upper.values()), list(lower.values())), False, False


def _notes(rungs: Sequence[Rung]) -> tuple[str, ...]:
    numbers = [rung.place.number for rung in rungs]
    gone = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    fewest = min(rung.runs for rung in rungs)
    failed = [rung for rung in rungs if rung.failed]
    notes = [f"rung {number} has no run" for number in gone]
    notes += [
        f"rung {rung.place.number}: {rung.failed} of {rung.runs + rung.failed} runs have no "
        "finite value at their end, and those that have one flatter it"
        for rung in failed
    ]
    if fewest < LEAST_SEEDS_FOR_SPREAD:
        notes.append("rungs with a single run have no interval: seeds are the sample")
    elif any(rung.over_before is not None and rung.over_before.pooled for rung in rungs):
        notes.append(
            f"with {fewest} seeds a rung the spread is that of all rungs with the same seeds, "
            f"taken to be alike on each; {OWN_SPREAD} seeds give each rung its own"
        )
    elif fewest < OWN_SPREAD:
        notes.append(
            f"with {fewest} seeds a rung the intervals are wide: {OWN_SPREAD} or more are "
            "advisable"
        )
    return tuple(notes)
