"""What would complete a table of iterations to a target that says too little."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ultraslow.analysis.intervals import SEEDS
from ultraslow.analysis.text import number, plural

from .hyperbola import SIZES

# Iterations to the target by learning rate and seed; a rate of 0 is not known.
Steps = dict[float, dict[object, float]]


def completion(steps: Mapping[float, Steps], table: Mapping[float, Steps], enough: int) -> str:
    """What would complete a table that is too small, an instruction.

    Arguments:
        steps: by batch size, all that were run; NaN where the target was not reached.
        table: those that reached it.
        enough: seeds that a learning rate must have to count.
    """
    lacking = SIZES - len(table)
    if lacking <= 0:
        arms = [(size, rate, seeds) for size in table for rate, seeds in table[size].items()]
        common = _commonest(arms)
        if len(common) < enough:
            return f"the same {enough} seeds at every batch size and learning rate"
        return _seeds_at([arm for arm in arms if not {*common} <= {*arm[2]}], common)
    most = {s: max(map(len, rates.values())) for s, rates in steps.items() if s not in table}
    few = sorted((size for size in most if most[size] < enough), key=lambda size: -most[size])
    nearest = [(size, *_nearest(steps[size])) for size in few]
    arms = [(size, rate, seeds) for size in table for rate, seeds in table[size].items()]
    parts = [_seeds_at(nearest, _commonest([*arms, *nearest]))] if nearest else []
    slow = [size for size in most if most[size] >= enough] if len(few) < lacking else []
    if slow:
        parts.append(f"longer training at {_listed(slow)}, or a higher target")
    lacking -= len(few) + len(slow)
    if lacking > 0:
        what = f"{enough} seeds" if enough > 1 else "runs"
        parts.append(f"{what} at {plural(lacking, 'more batch size')}")
    return ", and ".join(parts)


def _listed(sizes: Sequence[float]) -> str:
    """Batch sizes, all of them, as an instruction has to name them."""
    return f"batch size{'s' if len(sizes) > 1 else ''} {', '.join(map(str, sizes))}"


def _nearest(rates: Steps) -> tuple[float, dict[object, float]]:
    """The rate of a batch size with most seeds, all of which reached the target soonest."""

    def lacks(rate: float) -> tuple[int, float, float]:
        values = list(rates[rate].values())
        return -len(values), sum(map(math.isnan, values)), float(np.mean(values))

    rate = min(rates, key=lacks)
    return rate, rates[rate]


def _commonest(arms: Sequence[tuple[float, float, Mapping[object, float]]]) -> list[object]:
    """The seeds, `SEEDS` at most, that most arms of batch size, rate and seeds have."""
    counts = Counter(seed for _, _, seeds in arms for seed in seeds)
    ranked = sorted(counts, key=lambda seed: (-counts[seed], str(seed)))
    return ranked[:SEEDS]


def _seeds_at(
    arms: Sequence[tuple[float, float, Mapping[object, float]]], common: Sequence[object]
) -> str:
    """The seeds that arms lack, by their labels where other arms have them; like ones together."""
    unlabelled = any(isinstance(seed, str) for _, _, seeds in arms for seed in seeds)
    known = [] if unlabelled else common  # the names of runs are no seeds that others could have
    alike: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for size, rate, seeds in arms:
        new = [str(seed) for seed in known if seed not in seeds]
        named = f" (seed{'s' if len(new) > 1 else ''} {', '.join(new)})"
        shown = named if len(known) == SEEDS and new else ""
        alike.setdefault((max(len(new), SEEDS - len(seeds)), shown), []).append((size, rate))
    parts = []
    for (lacking, shown), own in alike.items():
        rates = list(dict.fromkeys(number(rate) for _, rate in own if rate))
        at = f" and learning rate {rates[0]}" if rates else ""
        if len(rates) > 1:
            at = f" and learning rates {', '.join(number(rate) for _, rate in own)} in turn"
        each = " each" if len(own) > 1 else ""
        where = _listed([size for size, _ in own])
        parts.append(f"{plural(lacking, 'more seed')}{each} at {where}{at}{shown}")
    same = ", the same at all of them, which `ultraslow label` tells" if unlabelled else ""
    return ", and ".join(parts) + same
