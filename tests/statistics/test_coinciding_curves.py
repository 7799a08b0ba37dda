"""P2 and P2' on simulated sets of batch sizes: right as often as promised, rarely wrong.

Sets that neither rule was tuned on: powers of t as well as logarithms, distances that wander in
ln t, three to eight seeds, two to four batch sizes, and ratios close to the margin on either side
of it. What was found stands in curves_table.md.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest

from ultraslow.analysis.predictions.batch_size.collapse import collapse, collapse_in_rate
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

SETS = 100
TIMES = log_spaced(3000, per_decade=15)[1:]
CLOCK = np.log(TIMES)
TRUE, FALSE, OPEN = "supported", "contradicted", "undecidable"


class Design(NamedTuple):
    """A set of batch sizes.

    Attributes:
        exponent: of the growth (t^p − 1)/p.
        seeds: of each batch size.
        sizes: batch sizes, each four times the one before.
        between: spread of ln d between seeds.
        ratio: of the distances, the largest over the smallest batch size.
        growing: power of t with which that ratio grows over the last decade.
        truth: what the verdict should be; empty near the margin, where it may stay open.
        wrong: what it must not be.
    """

    exponent: float
    seeds: int
    sizes: int
    between: float
    ratio: float
    growing: float = 0.0
    truth: str = ""
    wrong: str = ""


DESIGNS = {
    "√t, 4 seeds": Design(0.5, 4, 3, 0.01, 1.0, truth=TRUE, wrong=FALSE),
    "log, 5 seeds, 4 sizes": Design(0.0, 5, 4, 0.02, 1.0, truth=TRUE, wrong=FALSE),
    "t^.2, 8 seeds": Design(0.2, 8, 3, 0.03, 1.0, truth=TRUE, wrong=FALSE),
    "log, 3 seeds, 2 sizes": Design(0.0, 3, 2, 0.005, 1.0, truth=TRUE, wrong=FALSE),
    "t^.2, 1.25 apart": Design(0.2, 5, 3, 0.03, 1.25, truth=FALSE, wrong=TRUE),
    "√t, 1.5 apart, 3 seeds": Design(0.5, 3, 4, 0.03, 1.5, truth=FALSE, wrong=TRUE),
    "log, ever farther apart": Design(0.0, 5, 3, 0.03, 1.5, 0.1, truth=FALSE, wrong=TRUE),
    "√t, .75 apart, 8 seeds": Design(0.5, 8, 2, 0.06, 0.75, truth=FALSE, wrong=TRUE),
    "log, 1.12 apart": Design(0.0, 5, 3, 0.01, 1.12, wrong=TRUE),
    "√t, 1.08 apart": Design(0.5, 5, 3, 0.01, 1.08, wrong=FALSE),
    "log, 1.08 apart, 3 seeds": Design(0.0, 3, 2, 0.02, 1.08, wrong=FALSE),
    "t^.2, seeds far apart": Design(0.2, 5, 3, 0.25, 1.0, wrong=FALSE),
}
# The rule of rates, the clock on which curves are equal, and the verdict on it.
RULES = {"P2": ("sqrt", 0.5, collapse), "P2'": ("linear", 1.0, collapse_in_rate)}


def wandering(rng, length=0.7):
    """Noise of unit size that is autoregressive in ln t, shape (time,)."""
    values = rng.standard_normal(TIMES.size)
    kept = np.exp(-np.diff(CLOCK) / length)
    for k, share in enumerate(kept):
        values[k + 1] = share * values[k] + np.sqrt(1 - share**2) * values[k + 1]
    return values


def simulated(design, rule, single, rng, *, seeds=None):
    """The runs of a design, of so many seeds."""
    scaling, power, _ = RULES[rule]
    runs = {}
    for place in range(design.sizes):
        size, share = 64 * 4**place, place / (design.sizes - 1)
        rate = 0.01 * (size / 64) ** power
        clock = TIMES * (rate / 0.01 if rule == "P2'" else 1.0)
        p = design.exponent
        law = 2 + (np.log(clock) if p == 0 else np.expm1(p * np.log(clock)) / p)
        factor = design.ratio**share * (TIMES / TIMES[-1]) ** (share * design.growing)
        for seed in range(seeds or design.seeds):
            own = design.between * rng.standard_normal() + 0.005 * wandering(rng)
            more = {"learning_rate_sum": rate * TIMES}
            distance = law * factor * np.exp(own)
            name = f"b{size}-s{seed}"
            one = single(distance, TIMES, batch_size=size, seed=seed, rate=rate)
            runs[name] = one.assign(
                learning_rate_sum=("iteration", more["learning_rate_sum"])
            ).assign_coords(scaling=scaling)
    return runs


def judged(design, rule, single, rng, sets):
    verdict = RULES[rule][2]
    words = (verdict(Study(simulated(design, rule, single, rng))).verdict for _ in range(sets))
    return Counter(words)


@pytest.mark.parametrize("sets", [1, pytest.param(SETS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", DESIGNS)
def test_curves_are_judged_rightly(name, rule, sets, single):
    design = DESIGNS[name]
    rng = np.random.default_rng([2041, list(DESIGNS).index(name), len(rule)])
    found = judged(design, rule, single, rng, sets)
    counts = " | ".join(str(found[word]) for word in (TRUE, FALSE, OPEN))
    print(f"\n| {rule} | {name} | {design.truth or '–'} | {counts} |")
    assert found[design.wrong] <= 0.01 * sets, found
    assert not design.truth or found[design.truth] >= 0.9 * sets, found
