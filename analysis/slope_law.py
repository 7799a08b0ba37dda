"""How log-slopes depend on the learning rate and the batch size: b ∝ η^x·M^−y.

Within a seed, ln b is a plane in ln η and ln M over the arms; its two slopes are one pair a seed.
Where rates follow a rule η ∝ M^r, the log-slope is ∝ M^(x·r − y), which is flat when the rule
makes curves coincide: at r = ½ by P2, at r = 1 by P2'. If all arms follow one rule, x and y cannot
be told apart, and only x·r − y of that rule is known.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .curves import Arm, arms
from .grounds import comparable
from .replication import AcrossRuns, across_runs
from .slopes import by_seed, last_decade, noise_free, positive_slope
from .text import interval, number, plural, rounded

Array = NDArray[np.float64]

SEEDS = 2
# Rates, or batch sizes, that differ by less beside what ties them give no slope to speak of.
APART = 1.5
POWERS = (0.5, 1.0)  # of M in the rate: the √M rule and the linear one


@dataclass(frozen=True)
class SlopeLaw:
    """The exponents of b ∝ η^x·M^−y, as far as the arms identify them.

    Attributes:
        rate: x; None where it is not identified.
        size: y; None where it is not identified.
        combined: x·r − y by r, the exponent of M in the log-slopes when η ∝ M^r.
        arms: arms that entered.
        departure: largest relative departure of an arm's mean log-slope from the law; NaN where
            the arms are too few to show one.
        reason: what is not identified and why; empty when x and y are.
        needed: arms or seeds that would identify them; empty likewise.
    """

    rate: AcrossRuns | None = None
    size: AcrossRuns | None = None
    combined: Mapping[float, AcrossRuns] | None = None
    arms: int = 0
    departure: float = math.nan
    reason: str = ""
    needed: str = ""

    def text(self, power: float) -> str:
        """In words, with the exponent of M under η ∝ M^power, which a rule says is 0."""
        found = {name: one for name, one in (("x", self.rate), ("y", self.size)) if one}
        rules = self.combined or {}
        shown = [r for r in rules if r == power] or list(rules)
        found |= {_combination(r): rules[r] for r in shown}
        lead = "log-slopes b ∝ η^x·M^−y"
        if not found:
            return f"{lead}: x and y not identified, as {self.reason} (would tell: {self.needed})"
        told = ", ".join(f"{name} = {_estimate(one)}" for name, one in found.items())
        wanted = ", where coinciding curves need 0" if power in shown else ""
        rest = f"{lead}: {told}{wanted} ({self._sample()})"
        if not self.reason:
            return rest
        return (
            f"{rest}, x and y not identified apart, as {self.reason} (would tell: {self.needed})"
        )

    def _sample(self) -> str:
        known = [one for one in (self.rate, *(self.combined or {}).values()) if one]
        text = f"mean of {plural(known[0].runs, 'seed')} over {plural(self.arms, 'arm')}"
        if math.isnan(self.departure):
            return text
        return f"{text}, which depart from it by {self.departure:.1%} at most"


def _combination(power: float) -> str:
    """The exponent of M under η ∝ M^power, in symbols.

    >>> _combination(0.5), _combination(1.0), _combination(0.0), _combination(0.25)
    ('x/2 − y', 'x − y', '−y', '0.25·x − y')
    """
    known = {0.5: "x/2 − y", 1.0: "x − y", 0.0: "−y"}
    return known.get(power, f"{rounded(power).rstrip('0')}·x − y")


def _estimate(found: AcrossRuns) -> str:
    return f"{rounded(found.mean)} {interval(found.low, found.high, show=rounded)}"


def slope_law(runs: Mapping[str, xr.Dataset], *, level: float = 0.95) -> SlopeLaw:
    """The exponents x and y of log-slopes b ∝ η^x·M^−y, whatever rule the rates follow.

    b = dd/d ln t over the last decade of iterations at a constant rate that all runs have in
    common. For each seed that every arm has, ln b is regressed on ln η and ln M over the arms by
    least squares; intervals are t intervals across seeds, which hold whatever runs of one seed
    have in common. They are about the power law nearest to these arms, whether or not it fits.

    References:
        Hoffer, Hubara and Soudry (2017), arXiv:1705.08741: rates ∝ √M.
        Ibragimov and Müller (2010), J. Bus. Econ. Stat. 28, 453: the t interval across clusters.

    Arguments:
        runs: recordings by node name, of several learning rates and batch sizes. Runs on the whole
            training set have no noise to make a batch size felt, and are left out.
        level: confidence level.

    Returns:
        The exponents that the arms identify, and why others are not.
    """
    warm = {name: run for name, run in runs.items() if not noise_free(run)}
    known, missing = comparable(warm, fields=("distance_sq", "learning_rate"))
    if missing is not None:
        return SlopeLaw(reason=_clause(missing.reason), needed=missing.needed)
    members = _members(known)
    lacking = _lacking(members)
    if lacking is not None:
        return lacking
    used = {name: known[name] for seeds in members.values() for name in seeds.values()}
    span = last_decade(used)
    if span[1] < span[0]:
        reason = "the runs share no decade of constant learning rate"
        return SlopeLaw(reason=reason, needed="a constant rate over the same iterations")
    slopes = {name: positive_slope(run, span) for name, run in used.items()}
    still = sum(not value > 0 for value in slopes.values())
    if still:
        reason = f"the distance of {plural(still, 'run')} does not grow in the last common decade"
        return SlopeLaw(reason=reason, needed="arms whose distance still grows")
    logs = [[math.log(slopes[name]) for name in seeds.values()] for seeds in members.values()]
    return _fit(list(members), np.array(logs), level=level)


def _clause(sentence: str) -> str:
    return f"{sentence[:1].lower()}{sentence[1:].rstrip('.')}"


def _members(runs: Mapping[str, xr.Dataset]) -> dict[Arm, dict[object, str]]:
    """Runs of each arm by seed: arms with `SEEDS` or more, seeds that all of these have."""
    seeds = {arm: by_seed(runs, names) for arm, names in arms(dict(runs)).items() if arm.rate}
    enough = {arm: named for arm, named in seeds.items() if len(named) >= SEEDS}
    sets = [set(named) for named in enough.values()]
    shared = sorted(set.intersection(*sets), key=str) if sets else []
    return {arm: {seed: named[seed] for seed in shared} for arm, named in enough.items()}


def _lacking(members: Mapping[Arm, Mapping[object, str]]) -> SlopeLaw | None:
    if len(members) < 2:
        reason = f"{plural(len(members), 'arm')} of {SEEDS} seeds or more can be used"
        return SlopeLaw(
            reason=reason, needed=f"arms at other rates and batch sizes, {SEEDS} seeds"
        )
    shared = min(map(len, members.values()))
    if shared < SEEDS:
        reason = f"the arms share {plural(shared, 'seed')}"
        return SlopeLaw(reason=reason, needed=f"{SEEDS} seeds or more, the same in every arm")
    return None


def _fit(known: Sequence[Arm], logs: Array, *, level: float) -> SlopeLaw:
    """The law from ln b of shape (arm, seed)."""
    rates = np.log([arm.rate for arm in known])
    sizes = np.log([float(arm.batch_size) for arm in known])
    if not _varies(sizes):
        return _rate_only(known, rates, logs, level=level)
    power, rest = _tie(rates, sizes)
    if not _varies(rest):
        return _tied(known, sizes, logs, power=power, level=level)
    design = np.stack([rates, sizes])
    x, minus_y = _slopes(design, logs)
    combined = {r: across_runs(x * r + minus_y, level=level) for r in POWERS}
    return SlopeLaw(
        across_runs(x, level=level),
        across_runs(-minus_y, level=level),
        combined,
        len(known),
        _departure(design, logs),
    )


def _varies(logs: Array) -> bool:
    return bool(np.ptp(logs) >= math.log(APART))


def _tie(rates: Array, sizes: Array) -> tuple[float, Array]:
    """The power of M that rates follow, and by how much each ln η departs from it."""
    centred = sizes - sizes.mean()
    power = float(centred @ rates / (centred @ centred))
    return power, rates - rates.mean() - power * centred


def _slopes(design: Array, logs: Array) -> Array:
    """Least-squares slopes of each column of logs on the rows of a design, (row, seed)."""
    columns = np.vstack([np.ones(design.shape[1]), design]).T
    return np.asarray(np.linalg.lstsq(columns, logs, rcond=None)[0][1:], dtype=np.float64)


def _departure(design: Array, logs: Array) -> float:
    """Largest relative departure of the arms' means from the fitted plane."""
    if design.shape[1] <= design.shape[0] + 1:
        return math.nan
    columns = np.vstack([np.ones(design.shape[1]), design]).T
    means = logs.mean(axis=1)
    fitted = columns @ np.linalg.lstsq(columns, means, rcond=None)[0]
    return float(np.abs(np.expm1(means - fitted)).max())


def _rate_only(known: Sequence[Arm], rates: Array, logs: Array, *, level: float) -> SlopeLaw:
    size = known[0].batch_size
    reason, needed = f"all arms are near batch size {size}", "arms at other batch sizes"
    if not _varies(rates):
        return SlopeLaw(reason=f"{reason} and at one rate", needed=f"{needed} and rates")
    found = across_runs(_slopes(rates[None], logs)[0], level=level)
    departure = _departure(rates[None], logs)
    return SlopeLaw(found, None, None, len(known), departure, reason, needed)


def _tied(
    known: Sequence[Arm], sizes: Array, logs: Array, *, power: float, level: float
) -> SlopeLaw:
    """Only the combination of the rule that all arms follow."""
    rule = next((r for r in (0.0, *POWERS) if abs(power - r) < 0.01), power)
    found = across_runs(_slopes(sizes[None], logs)[0], level=level)
    first, last = (pick(known, key=lambda one: one.batch_size) for pick in (min, max))
    return SlopeLaw(
        combined={rule: found},
        arms=len(known),
        departure=_departure(sizes[None], logs),
        reason="all arms have one rate" if rule == 0 else f"η ∝ M^{number(rule, 2)} in all arms",
        needed=f"{_other(first, last)}, with the same seeds",
    )


def _other(first: Arm, last: Arm) -> str:
    """An arm off the rule: the largest batch size at the rate of the smallest, or at another."""
    if last.rate == first.rate:
        return f"batch size {last.batch_size} at another rate than {number(last.rate)}"
    return f"batch size {last.batch_size} at rate {number(first.rate)} as well"
