"""How far runs go, and how noisy they are, with rate and batch size, by optimizer.

For each optimizer, ln d at equal times and ln B are planes in ln η and ln M over its arms, as
ln b is in `slope_law`: d ∝ η^x·M^−y. A rule η ∝ M^r makes curves of different batch sizes coincide
where x·r − y is 0, so that √M and M can be judged from arms of any rules, on any clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, Interval, decide
from ultraslow.analysis.runs import (
    CLOCKS,
    ITERATION,
    Span,
    common_window,
    label,
    last_common_decade,
    log_distance,
    window_mean,
)
from ultraslow.analysis.runs.arms import setting_in_words
from ultraslow.analysis.study import Study

from .scaled_sets import MARGIN
from .slope_law import (
    Members,
    SlopeLaw,
    exponents,
    lacking_arms,
    law_runs,
    longest_runs,
    shared_runs,
)

DISTANCE, NOISE_SCALE = "distance", "noise scale"
_ROOT, _LINEAR = 0.5, 1.0
# √M makes distances differ less than M does where their exponent under η ∝ M^¾ has the sign of x:
# |x/2 − y| < |x − y| is x·(¾·x − y) > 0.
_BETWEEN = 0.75
RULES = {_ROOT: "√M", _LINEAR: "M"}
CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class OptimizerExponents:
    """The exponents of one quantity in the runs of one optimizer.

    Attributes:
        optimizer: whose runs they are, in words; with what tells their set from others.
        of: `distance` or `noise scale`.
        clock: one of `CLOCKS`, on which runs are compared at equal times.
        span: first and last time of the clock, over which the logarithm is averaged.
        law: the exponents x and y of η^x·M^−y, and why some are not known.
        sizes: smallest and largest batch size M.
    """

    optimizer: str
    of: str
    clock: str
    span: Span
    law: SlopeLaw
    sizes: tuple[int, int]

    @property
    def ratios(self) -> dict[float, Interval]:
        """Of the largest batch size to the smallest, if η ∝ M^r, by r of the rules √M and M."""
        span, combined = math.log(self.sizes[1] / self.sizes[0]), self.law.combined or {}
        return {
            rule: combined[rule].mapped(lambda e: math.exp(e * span))
            for rule in RULES
            if rule in combined
        }

    @property
    def better(self) -> str:
        """The rule under which the distances of all batch sizes coincide better.

        They coincide under a rule where the interval of the ratio of the largest to the smallest
        lies within `MARGIN`, and do not where it lies beyond. One rule is better where the other
        does not make them coincide, and the sign of |x/2 − y| − |x − y| is certain.

        Returns:
            "√M" or "M"; "√M, nearer" or "M, nearer" where it does not surely make them coincide
            either; "both"; or "cannot tell". Empty for the noise scale.
        """
        if self.of != DISTANCE:
            return ""
        words = {
            rule: decide(math.log(one.low), math.log(one.high), math.log1p(MARGIN))
            for rule, one in self.ratios.items()
            if one.low > 0
        }
        if len(words) < len(RULES):
            return CANNOT_TELL
        if set(words.values()) == {SUPPORTED}:
            return "both"
        best = self._nearer()
        if best is None or words[_LINEAR if best == _ROOT else _ROOT] != CONTRADICTED:
            return CANNOT_TELL
        return RULES[best] if words[best] == SUPPORTED else f"{RULES[best]}, nearer"

    def _nearer(self) -> float | None:
        """The rule with the smaller |x·r − y|, where that is certain."""
        combined, rate = self.law.combined or {}, self.law.rate
        if rate is None or _BETWEEN not in combined:
            return None
        signs = [_sign(rate), _sign(combined[_BETWEEN])]
        if 0 in signs:
            return None
        return _ROOT if signs[0] == signs[1] else _LINEAR


def _sign(found: Interval) -> int:
    """1 above 0, −1 below it, 0 where the interval holds it."""
    return int(found.low > 0) - int(found.high < 0)


def optimizer_exponents(study: Study) -> list[OptimizerExponents]:
    """The exponents of distance and noise scale in η and M, for each optimizer of a study.

    Each set of equal runs is taken by itself, without runs that end before most. The number of a
    run is the mean of ln d over the last decade of a clock that all its runs have in common, as P2
    takes it, or ln of B = tr Σ/|G|² of the updates in the last decade of iterations. Within each
    seed that all arms have it is regressed on ln η and ln M; intervals are t intervals across
    seeds (`slope_law`).

    Arguments:
        study: the runs.

    Returns:
        One item for each set, quantity and clock that the arms tell anything of.
    """
    each = {name: _of_set(part) for name, part in study.sets.items()}
    known = {name: found for name, found in each.items() if found}
    labels = [found[0].optimizer for found in known.values()]
    return [
        one if labels.count(one.optimizer) == 1 else replace(one, optimizer=_in_full(one, name))
        for name, found in known.items()
        for one in found
    ]


def _in_full(one: OptimizerExponents, name: str) -> str:
    """The optimizer with the set of its runs."""
    return one.optimizer if name == one.optimizer else f"{one.optimizer} ({name})"


def _of_set(part: Study) -> list[OptimizerExponents]:
    noisy, lacking = law_runs(part)
    known = longest_runs(noisy)
    members = shared_runs(known)
    if lacking is not None or lacking_arms(members) is not None:
        return []
    used = known.part(node for seeds in members.values() for node in seeds.values())
    of_one = str(label(next(iter(used.runs.values())), "optimizer"))
    found = []
    for of, clock, span, numbers in _numbers(used):
        if not all(math.isfinite(value) for value in numbers.values()):
            continue
        law = exponents(
            list(members), _table(members, numbers), level=part.level, powers=(*RULES, _BETWEEN)
        )
        if law.rate or law.combined:
            title = setting_in_words("optimizer", of_one)
            sizes = (used.batch_sizes[0], used.batch_sizes[-1])
            found.append(OptimizerExponents(title, of, clock, span, law, sizes))
    return found


def _table(members: Members, numbers: Mapping[str, float]) -> np.ndarray:
    """The numbers by arm and seed, shape (arm, seed)."""
    return np.array([[numbers[node] for node in seeds.values()] for seeds in members.values()])


def _numbers(used: Study) -> list[tuple[str, str, Span, dict[str, float]]]:
    """One number a run for each quantity and clock with a decade that all runs have in common."""
    found = []
    for clock in CLOCKS:
        first, last = common_window(used.runs, clock=clock)
        if last < 10 * first:
            continue
        times = last_common_decade(used.runs, clock=clock)
        logs = {
            name: float(log_distance(run, times, clock=clock).mean())
            for name, run in used.runs.items()
        }
        found.append((DISTANCE, clock, (last / 10, last), logs))
    span = used.last_decade
    if span[1] > span[0]:
        noise = {name: _log_scale(run, span) for name, run in used.runs.items()}
        found.append((NOISE_SCALE, ITERATION, span, noise))
    return found


def _log_scale(run: xr.Dataset, span: Span) -> float:
    """Ln of B = tr Σ/|G|² in a span; NaN where it is not known to be positive."""
    trace, square = (window_mean(run, name, span) for name in ("noise_trace", "gradient_sq"))
    return math.log(trace / square) if trace > 0 and square > 0 else math.nan
