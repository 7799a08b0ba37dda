"""Critical batch size: where a larger batch stops saving iterations, from runs at several sizes.

To a target loss a batch of M samples takes S = S_min·(1 + M_crit/M) iterations and E = M·S
samples, so that (S/S_min − 1)(E/E_min − 1) = 1 with M_crit = E_min/S_min. It is measured by
training at several batch sizes and is another quantity than the noise scale tr Σ/|G|², which is
read off the gradients of one run; whether the two agree is for data to say.

Four seeds that all batch sizes share make an interval across seeds. Fewer runs, and published
steps of one run a size, have the interval of `hyperbola.profile_hyperbola`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import SEEDS, Interval, check_level
from ultraslow.analysis.runs import equal_sets, injected_noise, label, odd_one, runs_of
from ultraslow.analysis.text import first_of, number, p_value, percent, plural, printable

from .best_rates import BestRates, tuned_rates
from .completing import Steps, completion
from .held_out import longest_trainings, rate_of
from .hyperbola import (
    MISFIT,
    OFF_CURVE,
    RUNS,
    SEEDWISE,
    SIZES,
    Hyperbola,
    fit_hyperbola,
    profile_hyperbola,
)
from .odd_sizes import OddSizes, odd_sizes
from .target_loss import (
    common_target,
    ended_early,
    first_loss,
    steps_to,
    untrained,
)

Array = NDArray[np.float64]

_NAMED = 6  # more names than this make a note unreadable


@dataclass(frozen=True)
class CriticalBatch:
    """A critical batch size with its interval, or why there is none.

    Attributes:
        size: M_crit, samples, of `n` seeds, runs or batch sizes; NaN where there is none, or a
            bound only. Its lower end is 0 and its upper one infinite where nothing bounds it.
        fewest_steps: S_min, iterations; NaN where it is not known.
        target: the loss that is reached.
        steps: mean iterations to the target by batch size.
        status: `ok`, `unchecked` whether it fits, `unbounded`, `misfit` or `missing`.
        reason: why it is not `ok`; empty otherwise.
        notes: what to know of it, in sentences.
        needed: what would give one where it is missing, or one across seeds where it is not: an
            instruction without a full stop.
        basis: what the interval comes from (`Hyperbola.basis`).
        departure: largest relative departure of a batch size from the hyperbola.
        rates: what the fastest learning rates of the batch sizes say; None without several.
    """

    size: Interval = Interval(math.nan, math.nan, math.nan)
    fewest_steps: float = math.nan
    target: float = math.nan
    steps: Mapping[float, float] | None = None
    status: str = "missing"
    reason: str = ""
    notes: tuple[str, ...] = ()
    needed: str = ""
    basis: str = SEEDWISE
    departure: float = math.nan
    rates: BestRates | None = None

    @property
    def answers(self) -> bool:
        """Whether it has an interval, or a bound."""
        return not math.isnan(self.size.low)

    def record(self) -> dict[str, Any]:
        """As files hold it: a flat record."""
        return {
            "estimate": self.size.value,
            "low": self.size.low,
            "high": self.size.high,
            "fewest_steps": self.fewest_steps,
            "target": self.target,
            "steps": self.steps,
            "basis": self.basis,
            "seeds": self.size.n if self.basis == SEEDWISE else 0,
            "runs": self.size.n if self.basis == RUNS else 0,
            "departure": self.departure,
            "status": self.status,
            "reason": self.reason,
            "notes": self.notes,
            "best_rates": None if self.rates is None else self.rates.record(),
        }

    def __str__(self) -> str:
        if self.status == "missing":
            needed = f". Would give one: {self.needed}" if self.needed else ""
            return f"no critical batch size: {self.reason}{needed}"
        aim = f"to loss {number(self.target)}" if math.isfinite(self.target) else ""
        if not self.answers:
            return f"no critical batch size{f' {aim}' if aim else ''}: {self.reason}"
        return ", ".join(filter(None, [self._in_words(), aim]))

    def _in_words(self) -> str:
        size = self.size
        if not math.isnan(size.value):
            return f"critical batch size {number(size.value)} {size.ends(number)}"
        if size.low:
            return f"critical batch size larger than {number(size.low)}"
        if math.isfinite(size.high):
            return f"critical batch size smaller than {number(size.high)}"
        return "critical batch size not bounded"


def critical_batch(
    runs: dict[str, xr.Dataset] | xr.DataTree,
    *,
    target: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> CriticalBatch:
    """The critical batch size of a set of runs.

    Each batch size is taken at the learning rate with the fewest iterations. For the interval see
    `hyperbola.fit_hyperbola`, and where fewer than four seeds are shared
    `hyperbola.profile_hyperbola`.

    References:
        McCandlish, Kaplan, Amodei et al. (2018), An Empirical Model of Large-Batch Training.

    Arguments:
        runs: recordings as `load` gives them, or by node name; a batch size and a loss suffice.
            Of several sets of equal runs the largest that gives an estimate across seeds is
            taken, or else the largest that gives any, which a note says. Those with noise added to
            gradients are passed over; of a seed that was run twice at a batch size and rate the
            longer run counts.
        target: training loss to reach; by default `common_target`.
        level: confidence level.
        seed: of the bootstrap.

    Returns:
        The estimate, or the status `missing` with the reason.

    Raises:
        TypeError: when the runs are no recordings or the target is no number.
        ValueError: when the level is not from 0.8 to 0.99.
    """
    check_level(level)
    given = runs if isinstance(runs, dict) else runs_of(runs)
    if target is not None and not isinstance(target, Real):
        raise TypeError(f"target: found {type(target).__name__}, expected a training loss")
    sized = {name: run for name, run in given.items() if int(run.variables["batch_size"].values)}
    if given and not sized:
        needed = "batch sizes, as `ultraslow import --batch-size` tells them"
        return CriticalBatch(reason="no run's batch size is known", needed=needed)
    plain = {name: run for name, run in sized.items() if injected_noise(run) == 0}
    measured = longest_trainings({name: run for name, run in plain.items() if "loss" in run})
    if not measured:
        needed = "runs that record their training loss"
        return CriticalBatch(reason="no run recorded its loss", needed=needed)
    sets = equal_sets(measured)
    found = [
        _of_set({name: measured[name] for name in one.nodes}, target, level=level, seed=seed)
        for one in sets
    ]
    order = sorted(range(len(found)), key=lambda k: _rank(found[k]))
    place = order[0]
    if len(sets) == 1:
        return found[0]
    others = [
        f"{one.name} ({plural(len(one.nodes), 'recording')})"
        for k, one in enumerate(sets)
        if k != place
    ]
    about = f"of the set {sets[place].name}; others are left out: {first_of(others)}"
    return replace(found[place], notes=(about, *found[place].notes))


def _rank(found: CriticalBatch) -> int:
    """Estimates across seeds go before others, and these before none."""
    return 2 if found.status == "missing" else int(found.basis != SEEDWISE)


def _of_set(
    measured: dict[str, xr.Dataset], target: float | None, *, level: float, seed: int
) -> CriticalBatch:
    """As `critical_batch`, of runs that differ by batch size, rate and seed only."""
    across, fewer = (
        _of_runs(measured, target, enough, level=level, seed=seed) for enough in (SEEDS, 1)
    )
    if across.status != "missing" or fewer.status == "missing":
        return across if across.status != "missing" else fewer
    return _without_seeds(fewer, across.needed)


def _without_seeds(found: CriticalBatch, needed: str) -> CriticalBatch:
    """An estimate of runs too few for one across seeds, with what would give that."""
    note = (f"an interval across seeds would need {needed}",) if needed else ()
    return replace(found, needed=needed, notes=(*found.notes, *note))


def _of_runs(
    measured: dict[str, xr.Dataset], target: float | None, enough: int, *, level: float, seed: int
) -> CriticalBatch:
    """As `_of_set`, of learning rates with so many seeds."""
    early = ended_early(measured)
    whole = {name: run for name, run in measured.items() if name not in early}
    aim = common_target(whole, enough) if target is None else target
    late = [name for name in early if math.isnan(steps_to(measured[name], aim))]
    measured = {name: run for name, run in measured.items() if name not in late}
    reason = _early(measured, aim)
    told = [*_told_early(early, late), *(_uncounted(measured) if target is None else [])]
    if reason:
        return CriticalBatch(target=aim, notes=tuple(told), reason=reason, needed="a lower target")
    return from_steps(
        _steps(measured, aim), enough, target=aim, notes=told, level=level, seed=seed
    )


def from_steps(
    steps: Mapping[float, Steps],
    enough: int = 1,
    *,
    target: float = math.nan,
    notes: Sequence[str] = (),
    level: float = 0.95,
    seed: int = 0,
) -> CriticalBatch:
    """The critical batch size of iterations to a target that were measured.

    Arguments:
        steps: by batch size, then by learning rate, then by seed; NaN where the target was not
            reached.
        enough: seeds that a learning rate must have to count. With four or more the interval is
            across seeds that all batch sizes share.
        target: the loss that is reached, to be told.
        notes: to be told before others.
        level: confidence level.
        seed: of the bootstrap.

    Returns:
        The estimate, or the status `missing` with the reason.

    >>> paper = {m: {0.0: {0: 100 * (1 + 512 / m)}} for m in (64, 256, 1024, 4096)}
    >>> print(from_steps(paper))
    critical batch size 512 [512, 512]
    """
    steps = dict(sorted(steps.items()))
    table = {size: kept for size, rates in steps.items() if (kept := _reached(rates, enough))}
    shared = _shared(table)
    unknown = Interval(math.nan, math.nan, math.nan)
    told = (*notes, *_notes(steps, table, enough), *_never(steps, table))
    blank = CriticalBatch(unknown, target=target, notes=told, rates=_rates(steps, table, level))
    reason = _too_little(table, shared, target, enough)
    if reason:
        return replace(blank, reason=reason, needed=completion(steps, table, enough))
    if enough < SEEDS:
        return _by_profile(table, blank, level=level)
    return _fitted(table, shared, blank, level=level, rng=np.random.default_rng(seed))


def _rates(
    steps: Mapping[float, Steps], table: Mapping[float, Steps], level: float
) -> BestRates | None:
    """The one-step form fitted to the fastest rates; None where no size was run at several."""
    if max((len(rates) for rates in steps.values()), default=0) < 2:
        return None
    fastest = {size: _fastest(rates) for size, rates in table.items()}
    tried = {size: list(rates) for size, rates in steps.items()}
    return tuned_rates(tried, fastest, level=level)


def _fastest(rates: Steps) -> float:
    """The rate with the fewest iterations in the geometric mean."""
    return min(rates, key=lambda rate: float(np.mean(np.log([*rates[rate].values()]))))


def _steps(runs: Mapping[str, xr.Dataset], target: float) -> dict[float, Steps]:
    """Iterations to the target by batch size, of one run a seed and rate."""
    steps: dict[float, Steps] = {}
    for name, run in runs.items():
        rates = steps.setdefault(int(run.variables["batch_size"].values), {})
        seed, found = label(run, "seed", name), steps_to(run, target)
        rates.setdefault(rate_of(run), {})[seed] = found
    return steps


def _reached(rates: Steps, enough: int) -> Steps:
    """The rates at which every run, of seeds enough, reached the target.

    Of rates with fewer runs those with two or more go before lone ones, whose luck would choose
    them.
    """
    whole = {
        rate: seeds
        for rate, seeds in rates.items()
        if len(seeds) >= enough and all(map(math.isfinite, seeds.values()))
    }
    return {rate: seeds for rate, seeds in whole.items() if len(seeds) > 1} or whole


def _notes(steps: Mapping[float, Steps], table: Mapping[float, Steps], enough: int) -> list[str]:
    """What was left out, and which batch sizes are not tuned."""
    notes = []
    for size, rates in steps.items():
        dropped = [rate for rate in rates if rate not in table.get(size, {})]
        if size not in table:
            notes.append(f"batch size {size} left out: {_why(rates.values(), enough)}")
        elif dropped:
            listed = ", ".join(map(number, sorted(dropped)))
            why = _why((rates[rate] for rate in dropped), enough)
            plurals = "rate" if len(dropped) == 1 else "rates"
            notes.append(f"learning {plurals} {listed} of batch size {size} left out: {why}")
    untuned = [size for size in table if sum(len(s) >= enough for s in steps[size].values()) == 1]
    known = [size for size in untuned if any(steps[size])]
    return notes + [_untuned(size, len(steps[size])) for size in known]


def _never(steps: Mapping[float, Steps], table: Mapping[float, Steps]) -> list[str]:
    """That sizes above all that reached the target never did, and what that speaks for."""
    largest = max(table, default=math.inf)
    never = [
        str(size)
        for size, rates in steps.items()
        if size > largest
        and all(math.isnan(x) for seeds in rates.values() for x in seeds.values())
    ]
    if not never:
        return []
    return [
        f"the largest batch sizes ({first_of(never, _NAMED)}) never reached the target, where the "
        f"hyperbola would have them take fewer iterations than {largest}: that speaks for a "
        "smaller critical batch size, or for their learning rates"
    ]


def _untuned(size: float, rates: int) -> str:
    enough = "" if rates == 1 else f" with {SEEDS} seeds"
    return f"batch size {size} was run at one learning rate{enough} and is not tuned"


def _why(rates: Iterable[Mapping[object, float]], enough: int) -> str:
    """Why rates did not enter; runs count that are of seeds enough."""
    known = list(rates)
    missed = sum(
        math.isnan(steps) for seeds in known if len(seeds) >= enough for steps in seeds.values()
    )
    reasons = [f"{plural(missed, 'run')} did not reach the target"] if missed else []
    if any(len(seeds) < enough for seeds in known):
        reasons.append(f"fewer than {enough} seeds")
    return ", ".join(reasons) or "run once, beside rates with more runs"


def _told_early(early: Mapping[str, int], late: Sequence[str]) -> list[str]:
    """A note on the runs that ended before the target, while enough others went on."""
    if not late:
        return []
    listed = first_of([f"{printable(n, 40)} at iteration {early[n]}" for n in late], _NAMED)
    return [
        f"{plural(len(late), 'run')} left out, as the loss ends before the target while {SEEDS} "
        f"others go on: {listed}"
    ]


def _uncounted(runs: Mapping[str, xr.Dataset]) -> list[str]:
    """A note on the runs that diverged or hardly trained, which do not set the target."""
    found = untrained(runs)
    if not found:
        return []
    listed = first_of([printable(name, 40) for name in found], _NAMED)
    return [
        f"{plural(len(found), 'run')} did not count for the target, as the loss became no finite "
        f"number or fell less than half as far as the best at the batch size: {listed}"
    ]


def _early(runs: Mapping[str, xr.Dataset], target: float) -> str:
    """Why a target is of no use that a first record has met; empty where none has."""
    met = {name: run for name, run in runs.items() if steps_to(run, target) == 0.0}
    if not met:
        return ""
    losses = {name: first_loss(run) for name, run in met.items()}
    lowest = min(losses, key=lambda name: losses[name])
    return (
        f"the first record of {plural(len(met), 'run')} has reached loss {number(target)} already "
        f"(loss {number(losses[lowest], 4)} at batch size {int(met[lowest]['batch_size'])}), so "
        "that the iterations to it are not known"
    )


def _too_little(
    table: Mapping[float, Steps], shared: Sequence[object], aim: float, enough: int
) -> str:
    """Why what reached the target is not enough; empty where it is."""
    if len(table) < SIZES:
        reached = ", ".join(map(str, sorted(table))) or "none"
        loss = "a common target" if math.isnan(aim) else f"loss {number(aim)}"
        seeds = f" with {enough} seeds" if enough > 1 else ""
        return f"{SIZES} batch sizes{seeds} must reach {loss}, and those that do are {reached}"
    if enough > 1 and len(shared) < enough:
        return f"{len(shared)} seeds are shared by all batch sizes, {enough} are needed"
    return ""


def _shared(table: Mapping[float, Steps]) -> list[object]:
    """Seeds that all rates of all batch sizes have."""
    everyone = [set(seeds) for rates in table.values() for seeds in rates.values()]
    return sorted(set.intersection(*everyone), key=str) if everyone else []


def _fitted(
    table: Mapping[float, Steps],
    shared: Sequence[object],
    blank: CriticalBatch,
    *,
    level: float,
    rng: np.random.Generator,
) -> CriticalBatch:
    """The result of a table that is large enough."""
    logs = [
        np.log([[seeds[s] for s in shared] for seeds in rates.values()])
        for rates in table.values()
    ]
    sizes = np.array(list(table), dtype=np.float64)
    fit = fit_hyperbola(sizes, logs, level=level, rng=rng)
    fastest = np.array([rates.mean(axis=1).min() for rates in logs])
    steps = dict(zip(table, np.exp(fastest).tolist(), strict=True))
    found = _judged(fit, replace(blank, steps=steps))

    def refit(kept: Sequence[int]) -> Hyperbola:
        return fit_hyperbola(sizes[kept], [logs[k] for k in kept], level=level, rng=rng)

    return _naming_odd(found, table, odd_sizes(sizes, fastest), refit)


def _by_profile(
    table: Mapping[float, Steps], blank: CriticalBatch, *, level: float
) -> CriticalBatch:
    """The result of a table of few seeds or none."""
    logs = [
        np.log([*rates[_fastest(rates)].values()], dtype=np.float64) for rates in table.values()
    ]
    sizes = np.array(list(table), dtype=np.float64)
    fit = profile_hyperbola(sizes, logs, level=level)
    means = np.array([one.mean() for one in logs])
    most = max(one.size for one in logs)
    steps = dict(zip(table, np.exp(means).tolist(), strict=True))
    counts = np.array([float(one.size) for one in logs])

    def refit(kept: Sequence[int]) -> Hyperbola:
        return profile_hyperbola(sizes[kept], [logs[k] for k in kept], level=level)

    odd = odd_sizes(sizes, means, counts)
    found = _naming_odd(_judged(fit, replace(blank, steps=steps)), table, odd, refit)
    about = _about_profile(found.basis, most) if found.answers else ()
    return replace(found, notes=(*about, *found.notes))


def _naming_odd(
    found: CriticalBatch,
    table: Mapping[float, Steps],
    odd: OddSizes | None,
    refit: Callable[[Sequence[int]], Hyperbola],
) -> CriticalBatch:
    """The result with the runs and sizes that are unlike the others, and what it is without these.

    Where iterations rise again the smaller sizes are those that may follow a hyperbola, and the
    estimate is theirs; a size that is off alone counts. The interval holds both in either case.
    """
    found = replace(found, notes=(*_odd_seeds(table), *found.notes))
    if odd is None:
        return found
    sizes = np.array(list(table), dtype=np.float64)
    kept = [place for place in range(sizes.size) if place not in odd.places]
    fit = refit(kept)
    if fit.beyond < MISFIT:  # the others follow no hyperbola either
        without = "the others follow no hyperbola either"
        doubts = [f"{odd.in_words(sizes)}; {without}", found.reason]
        return replace(found, status="misfit", reason="; ".join(filter(None, doubts)))
    known = [one for one in (found.size, fit.critical) if not math.isnan(one.low)]
    low, high = min(one.low for one in known), max(one.high for one in known)
    shown, other = (fit.critical, found.size) if odd.rise else (found.size, fit.critical)
    fewest = (fit.fewest_steps, found.fewest_steps)
    told = f"{_in_numbers(other, fewest[1 if odd.rise else 0])}; the interval holds both"
    which = "without it"
    if odd.rise:
        which = f"the estimate is of the {len(kept)} sizes up to there, and of all {sizes.size}"
        found = replace(found, fewest_steps=fewest[0], departure=fit.departure, basis=fit.basis)
    size = replace(shown, low=low, high=high)
    doubts = [f"{odd.in_words(sizes)}; {which}: {told}", _open_ends(replace(fit, critical=size))]
    reason = "; ".join(filter(None, doubts))
    return replace(found, size=size, status="misfit", reason=reason)


def _in_numbers(size: Interval, fewest: float) -> str:
    """A critical batch size that is told beside another."""
    if math.isnan(size.low):
        return "none"
    least = f", fewest iterations {number(fewest)}" if math.isfinite(fewest) else ""
    return f"{number(size.value)} {size.ends(number)}{least}"


def _odd_seeds(table: Mapping[float, Steps]) -> list[str]:
    """The runs whose iterations are far from those of all other seeds of their size and rate."""
    told = []
    for size, rates in table.items():
        for seeds in rates.values():
            logs = np.log([*seeds.values()])
            place = odd_one(logs)
            if place is None:
                continue
            rest, name = np.delete(logs, place), printable(str(list(seeds)[place]), 40)
            factor = number(math.exp(float(logs[place] - rest.mean())))
            said = f"{'seed ' * name.isdigit()}{name} takes {factor} times as many iterations as"
            agree = percent(float(rest.std(ddof=1)), 1)
            told.append(
                f"at batch size {size} {said} the other {rest.size}, which agree to {agree}"
            )
    return told


def _about_profile(basis: str, most: int) -> tuple[str, ...]:
    if basis == RUNS:
        return (
            "the interval comes from how runs at a batch size differ, taken to be alike at all of "
            "them",
        )
    what = "one run a size" if most == 1 else "the means of the sizes"
    return (
        f"the interval comes from the misfit of {what}: it takes in how well the hyperbola holds, "
        "not how runs differ",
    )


def _judged(fit: Hyperbola, found: CriticalBatch) -> CriticalBatch:
    """The result with its status: whether the curve fits and its size is bounded."""
    found = replace(found, basis=fit.basis, departure=fit.departure)
    if fit.beyond < MISFIT:
        grow = (
            "grow with the batch size"
            if math.isfinite(fit.fewest_steps)
            else ("fall faster than 1/M with the batch size M")
        )
        p = f"p = {p_value(fit.beyond)}".replace("= <", "<")
        reason = f"the iterations {grow}, which no hyperbola does ({p})"
        return replace(found, status="misfit", reason=reason)
    found = replace(found, size=fit.critical, fewest_steps=fit.fewest_steps)
    doubts = {
        "misfit": _misfit(fit, len(found.steps or {})),
        "unbounded": _open_ends(fit),
        "unchecked": _unchecked(fit.misfit, found),
    }
    status = next((name for name, doubt in doubts.items() if doubt), "ok")
    return replace(found, status=status, reason="; ".join(filter(None, doubts.values())))


def _misfit(fit: Hyperbola, sizes: int) -> str:
    if not fit.misfit < MISFIT:
        return ""
    p = number(fit.misfit, 2)
    if fit.basis == SEEDWISE:
        return f"the iterations follow no hyperbola (lack of fit, p = {p})"
    return (
        f"the iterations of the {sizes} batch sizes bend otherwise than a hyperbola (p = {p}), "
        f"from which they depart by {percent(fit.departure)} at most"
    )


def _open_ends(fit: Hyperbola) -> str:
    sides = ["below"] * (not fit.critical.low) + ["above"] * math.isinf(fit.critical.high)
    return f"the batch sizes run do not bound it {' or '.join(sides)}" if sides else ""


def _unchecked(p_value: float, found: CriticalBatch) -> str:
    if not math.isnan(p_value):
        return ""
    sizes = len(found.steps or {})
    why = "the seeds hardly differ"
    if found.basis == OFF_CURVE:
        why = f"{sizes} batch sizes, {SIZES + 1} needed"
    elif found.size.n < sizes:
        why = f"{plural(found.size.n, 'seed')} for {sizes} batch sizes, {sizes} needed"
    return f"whether the iterations follow a hyperbola could not be checked: {why}"
