"""Runs that differ from the other seeds of their arm by far more than these do among themselves.

One such run widens an interval until nothing is decided, or moves a mean. It counts like any
other; but who reads the interval should know which run made it.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ultraslow.analysis.text import first_of, number, percent, plural
from ultraslow.diffusion.recording import DatasetLike

from .arms import called
from .distinct import Traits
from .gaps import arms_in_words, at_sizes

Array = NDArray[np.float64]

FEWEST = 4  # runs of an arm: of fewer, nothing tells which is the odd one
# Of 400,000 sets of n seeds with a spread of Student's t of 4 degrees of freedom the largest ratio
# of `odd_one` exceeds these in 0.5 %, of normal spread in fewer. Two things are asked of an arm.
_RATIOS = {4: 38.1, 5: 19.0, 6: 14.4, 7: 12.8, 8: 11.9, 9: 11.4, 40: 11.8}
# Of what is compared, in its logarithm: seeds that agree more closely differ by nothing that
# matters.
_SPREAD = 1e-3
_DECADE = 10.0


@dataclass(frozen=True)
class OddRun:
    """A run that differs from the others of its arm.

    Attributes:
        node: its name.
        others: how many they are.
        said: how it differs, in words.
    """

    node: str
    others: int
    said: str


def odd_one(values: ArrayLike) -> int | None:
    """The place of a number that differs from all others by far more than these do; None for none.

    max_i |x_i − mean of the others|/s of the others, against the bounds that a spread with heavy
    tails exceeds once in 200 sets.

    Arguments:
        values: logarithms, one a run, shape (run,).

    >>> odd_one([0.39, 0.40, 0.39, 0.0, 0.40])
    3
    >>> odd_one([0.39, 0.40, 0.39, 0.36, 0.40]) is None
    True
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size < FEWEST or not np.isfinite(x).all():
        return None
    ratios = _ratios(x)
    place = int(np.argmax(ratios))
    return place if ratios[place] > _bound(x.size) else None


def _ratios(x: Array) -> Array:
    others = (x.sum() - x) / (x.size - 1)
    squares = np.sum((x - x.mean()) ** 2) - (x - x.mean()) ** 2 * x.size / (x.size - 1)
    spread = np.sqrt(np.maximum(squares, 0.0) / (x.size - 2))
    return np.asarray(np.abs(x - others) / np.maximum(spread, _SPREAD))


def _bound(count: int) -> float:
    return float(np.interp(count, list(_RATIOS), list(_RATIOS.values())))


def odd_runs(runs: Mapping[str, DatasetLike], known: Mapping[str, Traits]) -> tuple[OddRun, ...]:
    """The runs whose distance, or its growth in the last decade, is far from that of their arm.

    Arguments:
        runs: recordings by node name, one a seed.
        known: their traits.

    Returns:
        At most one run for each of the two and arm, in the order of the runs.
    """
    arms: dict[Hashable, list[str]] = {}
    for node in runs:
        if known[node].times.size:
            arms.setdefault(known[node].key, []).append(node)
    large = [nodes for nodes in arms.values() if len(nodes) >= FEWEST]
    if not large:
        return ()
    words = arms_in_words(runs)
    found = [one for nodes in large for one in _of_arm(nodes, runs, known, words[nodes[0]])]
    order = {node: place for place, node in enumerate(runs)}
    return tuple(sorted(found, key=lambda one: order[one.node]))


def _of_arm(
    nodes: Sequence[str], runs: Mapping[str, DatasetLike], known: Mapping[str, Traits], arm: str
) -> list[OddRun]:
    """The odd runs of one arm; one that is odd in both ways is told by the clearer."""
    first = max(known[node].span[0] for node in nodes)
    last = min(known[node].span[1] for node in nodes)
    if not last > first:
        return []
    begin = max(first, last / _DECADE)
    ends = np.array([_logarithms(known[node], (begin, last)) for node in nodes])
    clearest: dict[str, tuple[float, OddRun]] = {}
    for values, growth in ((ends[:, 1], False), (ends[:, 1] - ends[:, 0], True)):
        place = odd_one(values)
        if place is None:
            continue
        own, rest = values[place], np.delete(values, place)
        told = _in_words(own, rest, (begin, last) if growth else (last,))
        said = (
            f"{called(runs[nodes[place]])} differs from the other {len(rest)} seeds at "
            f"{at_sizes([arm])}: {told}"
        )
        clear = float(_ratios(values)[place])
        one = OddRun(nodes[place], len(rest), said)
        clearest[one.node] = max(clearest.get(one.node, (0.0, one)), (clear, one), key=_first)
    return [one for _, one in clearest.values()]


def _first(item: tuple[float, OddRun]) -> float:
    return item[0]


def _logarithms(own: Traits, times: Sequence[float]) -> Array:
    return np.asarray(np.interp(np.log(times), np.log(own.times), np.log(own.distances)))


def _in_words(own: float, rest: Array, times: Sequence[float]) -> str:
    alike = f"which agree to {percent(float(rest.std(ddof=1)), 1)}"
    if len(times) == 1:
        factor = number(math.exp(min(own - rest.mean(), 700.0)), 3)
        return f"at iteration {number(times[0])} its distance is {factor} times theirs, {alike}"
    grew, theirs = (number(math.exp(min(x, 700.0)), 3) for x in (own, float(rest.mean())))
    return (
        f"from iteration {number(round(times[0]))} to {number(times[1])} its distance grew {grew} "
        f"times and theirs {theirs} times, {alike}"
    )


def odd_in_words(found: Sequence[OddRun]) -> tuple[str, ...]:
    """The odd runs, a sentence each; the first few where they are many."""
    told = [f"{one.said}." for one in found[:_TOLD]]  # names keep their letters
    if len(found) > _TOLD:
        told.append(f"And {plural(len(found) - _TOLD, 'other run')} like this.")
    return tuple(told)


_TOLD = 4


def odd_names(runs: Mapping[str, DatasetLike], found: Sequence[OddRun]) -> str:
    """The names of odd runs in a sentence."""
    return first_of([called(runs[one.node]) for one in found])
