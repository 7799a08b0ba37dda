"""How log-slopes depend on the learning rate and the batch size: b ∝ η^x·M^−y.

Within a seed, ln b is a plane in ln η and ln M over the arms; its two slopes are one pair a seed.
Where rates follow a rule η ∝ M^r, the log-slope is ∝ M^(x·r − y), which is flat when the rule
makes curves coincide: at r = ½ by P2, at r = 1 by P2'. If all arms follow one rule, x and y cannot
be told apart, and only x·r − y of that rule is known.

The exponents of log-slopes b ∝ η^x·M^−y, and how they are told.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import Interval, fieller, t_interval
from ultraslow.analysis.predictions.evidence import most_seen
from ultraslow.analysis.runs import (
    RECORDS,
    Arm,
    Span,
    by_seed,
    constant_rate,
    injected_noise,
    positive_slope,
    slope,
    whole_batch,
)
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import first_of, number, plural, rounded

from .scaled_sets import LEAST_SEEDS, RATE_TOLERANCE, short_of_noise, without_short


@dataclass(frozen=True)
class SlopeLaw:
    """The exponents of b ∝ η^x·M^−y, as far as the arms identify them.

    Attributes:
        rate: x; None where it is not identified.
        size: y; None where it is not identified.
        combined: x·r − y by r, the exponent of M in the log-slopes when η ∝ M^r.
        power: y/x, the r at which that is 0, where x is known to differ from 0.
        arms: arms that entered.
        departure: largest relative departure of an arm's mean log-slope from the law; NaN where
            the arms are too few to show one.
        reason: what is not identified and why; empty when x and y are.
        needed: arms or seeds that would identify them; empty likewise.
        left_out: arms that did not enter, each with the reason.
    """

    rate: Interval | None = None
    size: Interval | None = None
    combined: Mapping[float, Interval] | None = None
    power: Interval | None = None
    arms: int = 0
    departure: float = math.nan
    reason: str = ""
    needed: str = ""
    left_out: tuple[str, ...] = ()

    def text(self, power: float) -> str:
        """In words, with the exponent of M under η ∝ M^power, which a rule says is 0."""
        if not self.left_out:
            return self._found(power)
        return f"{self._found(power)}; left out: {first_of(self.left_out)}"

    def _found(self, power: float) -> str:
        found = {name: one for name, one in (("x", self.rate), ("y", self.size)) if one}
        rules = self.combined or {}
        shown = [r for r in rules if r == power] or list(rules)
        found |= {_combination(r): rules[r] for r in shown}
        lead = "log-slopes b ∝ η^x·M^−y"
        if not found:
            return f"{lead}: x and y not identified, as {self.reason} (would tell: {self.needed})"
        told = ", ".join(f"{name} = {one}" for name, one in found.items())
        wanted = ", where coinciding curves need 0" if power in shown else ""
        rest = f"{lead}: {told}{wanted} ({self._sample()})"
        if not self.reason:
            return rest
        return (
            f"{rest}, x and y not identified apart, as {self.reason} (would tell: {self.needed})"
        )

    def _sample(self) -> str:
        known = [one for one in (self.rate, *(self.combined or {}).values()) if one]
        text = f"mean of {plural(known[0].n, 'seed')} over {plural(self.arms, 'arm')}"
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


Array = NDArray[np.float64]

# Rates, or batch sizes, that differ by less beside what ties them give no slope to speak of.
APART = 1.5
POWERS = (0.5, 1.0)  # of M in the rate: the √M rule and the linear one


def slope_law(study: Study) -> SlopeLaw:
    """The exponents x and y of log-slopes b ∝ η^x·M^−y, whatever rule the rates follow.

    b = dd/d ln t over the last decade of iterations at a constant rate that all runs have in
    common. For each seed that every arm has, ln b is regressed on ln η and ln M over the arms by
    least squares; intervals are t intervals across seeds, which hold whatever runs of one seed
    have in common. They are about the power law nearest to these arms, whether or not it fits.

    References:
        Hoffer, Hubara and Soudry (2017), arXiv:1705.08741: rates ∝ √M.
        Ibragimov and Müller (2010), J. Bus. Econ. Stat. 28, 453: the t interval across clusters.

    Arguments:
        study: runs of several learning rates and batch sizes. Those on the whole training set have
            no noise to make a batch size felt, those near it less than ∝ 1/M (`short_of_noise`),
            and those with noise added have another; all are left out.

    Returns:
        The exponents that the arms identify, and why others are not.
    """
    known, lacking = law_runs(study)
    if lacking is not None:
        return lacking
    members = shared_runs(longest_runs(known))
    return _with_left_out(_estimated(known, members), study, known, list(members))


def longest_runs(known: Study) -> Study:
    """Those that go on for as long as most do: a short run does not end what others show.

    Where the smallest or the largest batch size was run more briefly, all runs.
    """
    steady = {name: constant_rate(run).iteration for name, run in known.runs.items()}
    ends = {name: float(times[-1]) for name, times in steady.items() if times.size}
    sizes = [size for size in known.batch_sizes if size]

    def enough(names: list[str]) -> bool:
        members = shared_runs(known.part(names))
        of_arms = {arm.batch_size for arm in members}
        return lacking_arms(members) is None and {min(sizes), max(sizes)} <= of_arms

    names = most_seen(ends, enough)
    return known.part(names) if names else known


def law_runs(study: Study) -> tuple[Study, SlopeLaw | None]:
    """The runs whose noise is that of their batches, one a seed, or why there is no law of them.

    Arguments:
        study: the runs; those without a known batch size are left out as well.
    """
    noisy = study.where(_by_sampling)
    if study.runs and not noisy.runs:
        reason = "no run has the noise of its batches alone"
        needed = "arms below the full batch without added noise"
        return noisy, SlopeLaw(reason=reason, needed=needed)
    warm = without_short(noisy, short_of_noise(noisy))
    known, missing = warm.comparable("distance_sq", "learning_rate")
    if missing is not None:
        return known, SlopeLaw(reason=_clause(missing.reason), needed=missing.needed)
    return known, None


def _by_sampling(run: xr.Dataset) -> bool:
    """Whether the noise of a run's gradients is that of its batches."""
    known = int(run.variables["batch_size"].values) > 0
    return known and not whole_batch(run) and injected_noise(run) == 0


Members = Mapping[Arm, Mapping[object, str]]


def _estimated(study: Study, members: Members) -> SlopeLaw:
    lacking = lacking_arms(members)
    if lacking is not None:
        return lacking
    used = study.part(name for seeds in members.values() for name in seeds.values())
    span = used.last_decade
    if span[1] < span[0]:
        reason = "the runs share no decade of constant learning rate"
        return SlopeLaw(reason=reason, needed="a constant rate over the same iterations")
    slopes = {name: positive_slope(run, span) for name, run in used.runs.items()}
    unusable = [used.runs[name] for name, value in slopes.items() if not value > 0]
    if unusable:
        return _without_slope(unusable, span)
    logs = [[math.log(slopes[name]) for name in seeds.values()] for seeds in members.values()]
    return exponents(list(members), np.array(logs), level=study.level)


def _without_slope(runs: Sequence[xr.Dataset], span: Span) -> SlopeLaw:
    """Why some runs have no logarithm of a slope: too few records, or no growth."""
    short = sum(math.isnan(slope(run, span)) for run in runs)
    where = f"in the last common decade, iterations {number(span[0])} to {number(span[1])}"
    if short:
        known = "has" if short == 1 else "have"
        reason = f"{plural(short, 'run')} {known} fewer than {RECORDS} known distances {where}"
        return SlopeLaw(reason=reason, needed=f"{RECORDS} records or more in that decade")
    reason = f"the distance of {plural(len(runs), 'run')} does not grow {where}"
    return SlopeLaw(reason=reason, needed="arms whose distance still grows")


def _with_left_out(found: SlopeLaw, study: Study, known: Study, used: Sequence[Arm]) -> SlopeLaw:
    """The law with the arms that did not enter, and with what is needed of these."""
    seeds = {arm: len(by_seed(known.runs, names)) for arm, names in known.arms.items()}
    left = [arm for arm in study.arms if arm not in used]
    few = [arm for arm in left if arm.rate and seeds.get(arm, LEAST_SEEDS) < LEAST_SEEDS]
    would = [arm for arm in few if found.arms and found.reason and _tells([*used, arm])]
    needed = found.needed
    if would:
        needed = f"{LEAST_SEEDS} seeds or more of {_name(would[0])}, the same as in the other arms"
    return replace(found, needed=needed, left_out=tuple(_why_left_out(a, seeds) for a in left))


def _why_left_out(arm: Arm, seeds: Mapping[Arm, int]) -> str:
    if not arm.rate:
        return f"{arm} has no known rate"
    if arm.noise:
        return f"{_name(arm)} does not owe its noise to its batches"
    if seeds.get(arm, 0) >= LEAST_SEEDS:
        return f"{_name(arm)} ends before most others"
    if arm not in seeds:
        return f"{_name(arm)} is near the whole training set or lacks distances"
    return f"{_name(arm)} has {plural(seeds[arm], 'seed')}, {LEAST_SEEDS} needed"


def _name(arm: Arm) -> str:
    return f"{arm} at rate {number(arm.rate)}"


def _clause(sentence: str) -> str:
    return f"{sentence[:1].lower()}{sentence[1:].rstrip('.')}"


def shared_runs(study: Study) -> dict[Arm, dict[object, str]]:
    """Runs of each arm by seed: arms with `LEAST_SEEDS` or more, seeds that all of these have."""
    seeds = {arm: by_seed(study.runs, names) for arm, names in study.arms.items() if arm.rate}
    enough = {arm: named for arm, named in seeds.items() if len(named) >= LEAST_SEEDS}
    sets = [set(named) for named in enough.values()]
    shared = sorted(set.intersection(*sets), key=str) if sets else []
    return {arm: {seed: named[seed] for seed in shared} for arm, named in enough.items()}


def lacking_arms(members: Members) -> SlopeLaw | None:
    """Why arms with these runs by seed have no exponents; None where they may have."""
    if len(members) < 2:
        reason = f"{plural(len(members), 'arm')} of {LEAST_SEEDS} seeds or more can be used"
        return SlopeLaw(
            reason=reason, needed=f"arms at other rates and batch sizes, {LEAST_SEEDS} seeds"
        )
    shared = min(map(len, members.values()))
    if shared < LEAST_SEEDS:
        reason = f"the arms share {plural(shared, 'seed')}"
        return SlopeLaw(
            reason=reason, needed=f"{LEAST_SEEDS} seeds or more, the same in every arm"
        )
    return None


def exponents(
    known: Sequence[Arm], logs: Array, *, level: float, powers: Sequence[float] = POWERS
) -> SlopeLaw:
    """The exponents of a quantity b ∝ η^x·M^−y, as far as arms identify them.

    Arguments:
        known: the arms.
        logs: ln b, shape (arm, seed).
        level: of the intervals.
        powers: r of the combinations x·r − y that are asked for.
    """
    rates, sizes = design = _design(known)
    if not _varies(sizes):
        return _rate_only(known, rates, logs, level=level)
    if not _tells(known):
        return _tied(known, design, logs, level=level)
    x, minus_y = _slopes(design, logs)
    combined = {r: t_interval(x * r + minus_y, level=level) for r in powers}
    return SlopeLaw(
        t_interval(x, level=level),
        t_interval(-minus_y, level=level),
        combined,
        _level_power(x, -minus_y, level),
        len(known),
        _departure(design, logs),
    )


def _level_power(x: Array, y: Array, level: float) -> Interval | None:
    """y/x by Fieller's interval across seeds; None where x is not told from 0."""
    sign = math.copysign(1.0, float(x.mean()))
    covariance = np.cov(y * sign, x * sign) / x.size
    found = fieller(
        float(y.mean()) * sign, float(x.mean()) * sign, covariance, n=x.size, level=level
    )
    return found if math.isfinite(found.low) and math.isfinite(found.high) else None


def _design(known: Sequence[Arm]) -> Array:
    """Ln η and ln M of each arm, shape (2, arm)."""
    return np.log([[arm.rate, float(arm.batch_size)] for arm in known]).T


def _tells(known: Sequence[Arm]) -> bool:
    """Whether these arms tell x from y."""
    rates, sizes = _design(known)
    return _varies(sizes) and _varies(_tie(rates, sizes)[1])


def _varies(logs: Array) -> bool:
    # Rates are known to four digits.
    return bool(np.ptp(logs) >= math.log(APART) - 1e-3)


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
    """Only x, of arms at one batch size; nothing where sizes differ a little, as y enters then."""
    sizes = sorted({arm.batch_size for arm in known})
    if len(sizes) > 1:
        reason = f"batch sizes {sizes[0]} to {sizes[-1]} of the arms used are too close together"
        return SlopeLaw(reason=reason, needed=f"arms whose batch sizes differ {APART:g} times")
    reason, needed = f"all arms used are at batch size {sizes[0]}", "arms at other batch sizes"
    if not _varies(rates):
        return SlopeLaw(reason=f"{reason} and near one rate", needed=f"{needed} and rates")
    found = t_interval(_slopes(rates[None], logs)[0], level=level)
    departure = _departure(rates[None], logs)
    return SlopeLaw(found, None, None, None, len(known), departure, reason, needed)


def _tied(known: Sequence[Arm], design: Array, logs: Array, *, level: float) -> SlopeLaw:
    """Only the combination of the rule that all arms follow, or of the power nearest to it."""
    rates, sizes = design
    power, rest = _tie(rates, sizes)
    rule = next((r for r in (0.0, *POWERS) if abs(power - r) < 0.01), power)
    found = t_interval(_slopes(sizes[None], logs)[0], level=level)
    return SlopeLaw(
        combined={rule: found},
        arms=len(known),
        departure=_departure(sizes[None], logs),
        reason=_tie_reason(rule, rest),
        needed=f"{_other(known)}, with the same seeds",
    )


def _tie_reason(rule: float, rest: Array) -> str:
    if np.abs(rest).max() > math.log1p(RATE_TOLERANCE):
        return "η and M of the arms used are too close to collinear to tell them apart"
    if rule == 0:
        return "all arms used have one rate"
    return f"η ∝ M^{number(rule, 2)} in all arms used"


def _other(known: Sequence[Arm]) -> str:
    """An arm off the rule: the largest batch size, at a rate far from its own.

    Rates that far apart at one batch size suffice, whatever the other arms are.
    """
    first, last = (pick(known, key=lambda one: one.batch_size) for pick in (min, max))
    if abs(math.log(first.rate / last.rate)) >= math.log(APART):
        return f"batch size {last.batch_size} at rate {number(first.rate)} as well"
    return f"batch size {last.batch_size} at a rate {APART:g} times {number(last.rate)} or more"
