"""Critical batch size: where a larger batch stops saving iterations, from runs at several sizes.

To a target loss a batch of M samples takes S = S_min·(1 + M_crit/M) iterations and E = M·S
samples, so that (S/S_min − 1)(E/E_min − 1) = 1 with M_crit = E_min/S_min. It is measured by
training at several batch sizes and is another quantity than the noise scale tr Σ/|G|², which is
read off the gradients of one run; whether the two agree is for data to say.

Iterations to a target loss, and the loss that runs of several batch sizes can be held to.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import SEEDS, Interval, check_level
from ultraslow.analysis.runs import equal_sets, injected_noise, label, runs_of
from ultraslow.analysis.text import first_of, number, plural, printable

from .held_out import longest_trainings, rate_of
from .hyperbola import Hyperbola, fit_hyperbola

Array = NDArray[np.float64]

SIZES = 3  # two parameters, and one more to see whether they fit
MISFIT = 0.01  # p-value below which the hyperbola is said not to fit
_NAMED = 6  # more names than this make a note unreadable


@dataclass(frozen=True)
class CriticalBatch:
    """A critical batch size with its interval, or why there is none.

    Attributes:
        size: M_crit, samples, of `n` seeds; NaN where there is none, or a bound only. Its lower
            end is 0 and its upper one infinite where nothing bounds it.
        fewest_steps: S_min, iterations; NaN where it is not known.
        target: the loss that is reached.
        steps: mean iterations to the target by batch size.
        status: `ok`, `unchecked` whether it fits, `unbounded`, `misfit` or `missing`.
        reason: why it is not `ok`; empty otherwise.
        notes: what to know of it, in sentences.
        needed: what would give one where it is missing, an instruction without a full stop.
    """

    size: Interval = Interval(math.nan, math.nan, math.nan)
    fewest_steps: float = math.nan
    target: float = math.nan
    steps: Mapping[int, float] | None = None
    status: str = "missing"
    reason: str = ""
    notes: tuple[str, ...] = ()
    needed: str = ""

    def record(self) -> dict[str, Any]:
        """As files hold it: a flat record."""
        return {
            "estimate": self.size.value,
            "low": self.size.low,
            "high": self.size.high,
            "fewest_steps": self.fewest_steps,
            "target": self.target,
            "steps": self.steps,
            "seeds": self.size.n,
            "status": self.status,
            "reason": self.reason,
            "notes": self.notes,
        }

    def __str__(self) -> str:
        if self.status == "missing":
            needed = f". Would give one: {self.needed}" if self.needed else ""
            return f"no critical batch size: {self.reason}{needed}"
        return f"{self._in_words()}, to loss {number(self.target)}"

    def _in_words(self) -> str:
        size = self.size
        if math.isnan(size.low):
            return "no critical batch size"
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
    `hyperbola.fit_hyperbola`.

    References:
        McCandlish, Kaplan, Amodei et al. (2018), An Empirical Model of Large-Batch Training.

    Arguments:
        runs: recordings as `load` gives them, or by node name. Of several sets of equal runs the
            largest that gives an estimate is taken, which a note says. Those with noise added to
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
    sized = {name: run for name, run in given.items() if int(run["batch_size"].values)}
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
    place = next((k for k, one in enumerate(found) if one.status != "missing"), 0)
    if len(sets) == 1:
        return found[0]
    others = [
        f"{one.name} ({plural(len(one.nodes), 'recording')})"
        for k, one in enumerate(sets)
        if k != place
    ]
    about = f"of the set {sets[place].name}; others are left out: {first_of(others)}"
    return replace(found[place], notes=(about, *found[place].notes))


def _of_set(
    measured: dict[str, xr.Dataset], target: float | None, *, level: float, seed: int
) -> CriticalBatch:
    """As `critical_batch`, of runs that differ by batch size, rate and seed only."""
    early = ended_early(measured)
    whole = {name: run for name, run in measured.items() if name not in early}
    aim = common_target(whole) if target is None else target
    late = [name for name in early if math.isnan(steps_to(measured[name], aim))]
    measured = {name: run for name, run in measured.items() if name not in late}
    steps = _steps(measured, aim)
    table = {size: kept for size, rates in steps.items() if (kept := _reached(rates))}
    told = [*_told_early(early, late), *(_uncounted(measured) if target is None else [])]
    notes = (*told, *_notes(steps, table))
    shared = _shared(table)
    unknown = Interval(math.nan, math.nan, math.nan, len(shared))
    blank = CriticalBatch(unknown, target=aim, notes=notes)
    reason = _early(measured, aim)
    if reason:
        return replace(blank, reason=reason, needed="a lower target")
    reason = _too_little(table, shared, aim)
    if reason:
        return replace(blank, reason=reason, needed=_more(steps, table))
    return _fitted(table, shared, blank, level=level, rng=np.random.default_rng(seed))


# Iterations to the target by learning rate and seed.
_Steps = dict[float, dict[object, float]]


def _steps(runs: Mapping[str, xr.Dataset], target: float) -> dict[int, _Steps]:
    """Iterations to the target by batch size, of one run a seed and rate."""
    steps: dict[int, _Steps] = {}
    for name, run in runs.items():
        rates = steps.setdefault(int(run["batch_size"].values), {})
        seed, found = label(run, "seed", name), steps_to(run, target)
        rates.setdefault(rate_of(run), {})[seed] = found
    return dict(sorted(steps.items()))


def _reached(rates: _Steps) -> _Steps:
    """The rates at which every run, of seeds enough, reached the target."""
    return {
        rate: seeds
        for rate, seeds in rates.items()
        if len(seeds) >= SEEDS and all(map(math.isfinite, seeds.values()))
    }


def _notes(steps: Mapping[int, _Steps], table: Mapping[int, _Steps]) -> list[str]:
    """What was left out, and which batch sizes are not tuned."""
    notes = []
    for size, rates in steps.items():
        dropped = [rate for rate in rates if rate not in table.get(size, {})]
        if size not in table:
            notes.append(f"batch size {size} left out: {_why(rates.values())}")
        elif dropped:
            listed = ", ".join(map(number, sorted(dropped)))
            why = _why(rates[rate] for rate in dropped)
            plurals = "rate" if len(dropped) == 1 else "rates"
            notes.append(f"learning {plurals} {listed} of batch size {size} left out: {why}")
    untuned = [size for size in table if sum(len(s) >= SEEDS for s in steps[size].values()) == 1]
    return notes + [_untuned(size, len(steps[size])) for size in untuned]


def _untuned(size: int, rates: int) -> str:
    enough = "" if rates == 1 else f" with {SEEDS} seeds"
    return f"batch size {size} was run at one learning rate{enough} and is not tuned"


def _why(rates: Iterable[Mapping[object, float]]) -> str:
    """Why rates did not enter; runs count that are of seeds enough."""
    known = list(rates)
    missed = sum(
        math.isnan(steps) for seeds in known if len(seeds) >= SEEDS for steps in seeds.values()
    )
    reasons = [f"{plural(missed, 'run')} did not reach the target"] if missed else []
    if any(len(seeds) < SEEDS for seeds in known):
        reasons.append(f"fewer than {SEEDS} seeds")
    return ", ".join(reasons)


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


def _too_little(table: Mapping[int, _Steps], shared: Sequence[object], aim: float) -> str:
    """Why what reached the target is not enough; empty where it is."""
    if len(table) < SIZES:
        reached = ", ".join(map(str, sorted(table))) or "none"
        loss = "a common loss" if math.isnan(aim) else f"loss {number(aim)}"
        return (
            f"{SIZES} batch sizes with {SEEDS} seeds must reach {loss}, and those that do are "
            f"{reached}"
        )
    if len(shared) < SEEDS:
        return f"{len(shared)} seeds are shared by all batch sizes, {SEEDS} are needed"
    return ""


def _more(steps: Mapping[int, _Steps], table: Mapping[int, _Steps]) -> str:
    """What would complete a table that is too small, an instruction."""
    lacking = SIZES - len(table)
    if lacking <= 0:
        arms = [(size, rate, seeds) for size in table for rate, seeds in table[size].items()]
        common = _commonest(arms)
        if len(common) < SEEDS:
            return f"the same {SEEDS} seeds at every batch size and learning rate"
        parts = [_seeds_at(*arm, common) for arm in arms if not {*common} <= {*arm[2]}]
        return first_of(parts, _NAMED)
    most = {s: max(map(len, rates.values())) for s, rates in steps.items() if s not in table}
    few = sorted((size for size in most if most[size] < SEEDS), key=lambda size: -most[size])
    nearest = [(size, *_nearest(steps[size])) for size in few[:lacking]]
    arms = [(size, rate, seeds) for size in table for rate, seeds in table[size].items()]
    common = _commonest([*arms, *nearest])
    parts = [_seeds_at(*arm, common) for arm in nearest]
    slow = [str(size) for size in most if most[size] >= SEEDS][: lacking - len(parts)]
    if slow:
        parts.append(f"longer training at batch size {' and '.join(slow)}, or a higher target")
    lacking -= len(few[:lacking]) + len(slow)
    if lacking > 0:
        parts.append(f"{SEEDS} seeds at {plural(lacking, 'more batch size')}")
    return ", and ".join(parts)


def _nearest(rates: _Steps) -> tuple[float, dict[object, float]]:
    """The rate of a batch size with most seeds, all of which reached the target soonest."""

    def lacks(rate: float) -> tuple[int, float, float]:
        values = list(rates[rate].values())
        return -len(values), sum(map(math.isnan, values)), float(np.mean(values))

    rate = min(rates, key=lacks)
    return rate, rates[rate]


def _commonest(arms: Sequence[tuple[int, float, Mapping[object, float]]]) -> list[object]:
    """The seeds, `SEEDS` at most, that most arms of batch size, rate and seeds have."""
    counts = Counter(seed for _, _, seeds in arms for seed in seeds)
    ranked = sorted(counts, key=lambda seed: (-counts[seed], str(seed)))
    return ranked[:SEEDS]


def _seeds_at(
    size: int, rate: float, seeds: Mapping[object, float], common: Sequence[object]
) -> str:
    """The seeds that an arm lacks, by their labels where other arms have them."""
    new = [str(seed) for seed in common if seed not in seeds]
    lacking = max(len(new), SEEDS - len(seeds))
    where = f"{plural(lacking, 'more seed')} at batch size {size} and learning rate {number(rate)}"
    named = len(common) == SEEDS and new
    return f"{where} (seed{'s' if len(new) > 1 else ''} {', '.join(new)})" if named else where


def _shared(table: Mapping[int, _Steps]) -> list[object]:
    """Seeds that all rates of all batch sizes have."""
    everyone = [set(seeds) for rates in table.values() for seeds in rates.values()]
    return sorted(set.intersection(*everyone), key=str) if everyone else []


def _fitted(
    table: Mapping[int, _Steps],
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
    fit = fit_hyperbola(np.array(list(table), dtype=np.float64), logs, level=level, rng=rng)
    fastest = [float(np.exp(rates.mean(axis=1).min())) for rates in logs]
    return _judged(fit, replace(blank, steps=dict(zip(table, fastest, strict=True))))


def _judged(fit: Hyperbola, found: CriticalBatch) -> CriticalBatch:
    """The result with its status: whether the curve fits and its size is bounded."""
    if fit.beyond < MISFIT:
        grow = (
            "grow with the batch size"
            if math.isfinite(fit.fewest_steps)
            else ("fall faster than 1/M with the batch size M")
        )
        reason = f"the iterations {grow}, which no hyperbola does (p = {number(fit.beyond, 2)})"
        return replace(found, status="misfit", reason=reason)
    found = replace(found, size=fit.critical, fewest_steps=fit.fewest_steps)
    doubts = {
        "misfit": _misfit(fit.misfit),
        "unbounded": _open_ends(fit),
        "unchecked": _unchecked(fit.misfit, found),
    }
    status = next((name for name, doubt in doubts.items() if doubt), "ok")
    return replace(found, status=status, reason="; ".join(filter(None, doubts.values())))


def _misfit(p_value: float) -> str:
    if not p_value < MISFIT:
        return ""
    return f"the iterations follow no hyperbola (lack of fit, p = {number(p_value, 2)})"


def _open_ends(fit: Hyperbola) -> str:
    sides = ["below"] * (not fit.critical.low) + ["above"] * math.isinf(fit.critical.high)
    return f"the batch sizes run do not bound it {' or '.join(sides)}" if sides else ""


def _unchecked(p_value: float, found: CriticalBatch) -> str:
    if not math.isnan(p_value):
        return ""
    sizes = len(found.steps or {})
    why = (
        f"{plural(found.size.n, 'seed')} for {sizes} batch sizes, {sizes} needed"
        if found.size.n < sizes
        else "the seeds hardly differ"
    )
    return f"whether the iterations follow a hyperbola could not be checked: {why}"


# A run whose loss fell by less than this share of the largest fall at its batch size did not
# train.
_FALL = 0.5
_WHOLE = 0.9  # of what others reach: a run that ends before ended early
# The loss is averaged over this width of ln t, a tenth of a decade either way.
_WIDTH = 0.23


def smoothed(run: xr.Dataset) -> tuple[Array, Array]:
    """The training loss over time, averaged over a fifth of a decade.

    A record holds the mean loss of its window, which is taken to be the loss at the window's
    middle; windows are weighted by their updates.

    Arguments:
        run: a recording with a loss.

    Returns:
        Iterations and losses, shape (window,) each.
    """
    iteration, loss = run["iteration"].values.astype(np.float64), run["loss"].values
    middle = (iteration + np.concatenate([[0.0], iteration[:-1]]) + 1) / 2
    updates = np.diff(iteration, prepend=0.0)
    known = (iteration >= 1) & np.isfinite(loss)
    time, value, weight = np.log(middle[known]), loss[known], updates[known]
    near = np.abs(time[:, None] - time) <= _WIDTH
    means = (near * weight) @ value / np.maximum(near @ weight, 1e-300)
    # What is averaged lies at the mean ln t of its windows, not at the middle one.
    centres = (near * weight) @ time / np.maximum(near @ weight, 1e-300)
    return np.exp(centres), means


def steps_to(run: xr.Dataset, target: float) -> float:
    """Iterations until the smoothed loss first reaches a target, linear in ln t between windows.

    Arguments:
        run: a recording with a loss.
        target: the loss.

    Returns:
        Iterations; NaN when it is never reached, and 0 when the first record is there already,
        so that when it was reached is not known.
    """
    time, loss = smoothed(run)
    below = np.flatnonzero(loss <= target)
    if not below.size:
        return math.nan
    k = int(below[0])
    if k == 0:
        return 0.0
    share = (loss[k - 1] - target) / (loss[k - 1] - loss[k])
    return float(math.exp((1 - share) * math.log(time[k - 1]) + share * math.log(time[k])))


def first_loss(run: xr.Dataset) -> float:
    """The loss at the first record with one; NaN without any."""
    loss = smoothed(run)[1]
    return float(loss[0]) if loss.size else math.nan


def lowest_loss(run: xr.Dataset) -> float:
    """The lowest smoothed loss; NaN where no loss is finite."""
    loss = smoothed(run)[1]
    return float(loss.min()) if loss.size else math.nan


def untrained(runs: Mapping[str, xr.Dataset]) -> tuple[str, ...]:
    """Runs that diverged or hardly trained, which the loss to reach may not hang on.

    Their loss is a finite number in the first half of their iterations at most, or it fell less
    than half as far as that of the best run of their batch size.

    Arguments:
        runs: recordings with a loss, by node name.

    Returns:
        Node names, in their order.
    """
    falls = {name: _fall(run) for name, run in runs.items()}
    most: dict[int, float] = {}
    for name, run in runs.items():
        size = int(run["batch_size"].values)
        most[size] = max(most.get(size, 0.0), falls[name])
    return tuple(
        name
        for name, run in runs.items()
        if falls[name] < _FALL * most[int(run["batch_size"].values)] or _ceases(run)
    )


def ended_early(runs: Mapping[str, xr.Dataset]) -> dict[str, int]:
    """Runs whose loss ends before nine tenths of what `SEEDS` others reach at the same rate.

    What they reach says nothing of the others, and sets no target for them.

    Arguments:
        runs: recordings with a loss, by node name.

    Returns:
        Of each the last iteration with a finite loss. Those that diverged are told apart.
    """
    fallen = set(untrained(runs))
    arms: dict[tuple[int, float], dict[str, int]] = {}
    for name, run in runs.items():
        known = run["iteration"].values[np.isfinite(run["loss"].values)]
        if name not in fallen and known.size:
            own = arms.setdefault((int(run["batch_size"].values), rate_of(run)), {})
            own[name] = int(known[-1])
    found: dict[str, int] = {}
    for lasts in arms.values():
        if len(lasts) > SEEDS:
            reached = sorted(lasts.values(), reverse=True)[SEEDS - 1]
            found |= {name: last for name, last in lasts.items() if last < _WHOLE * reached}
    return found


def _fall(run: xr.Dataset) -> float:
    """First loss less the lowest; −1 where no loss is finite."""
    loss = smoothed(run)[1]
    return float(loss[0] - loss.min()) if loss.size else -1.0


def _ceases(run: xr.Dataset) -> bool:
    iteration, loss = run["iteration"].values, run["loss"].values
    return not np.isfinite(loss[iteration > iteration[-1] / 2]).any()


def common_target(runs: Mapping[str, xr.Dataset]) -> float:
    """The lowest loss that all seeds reach at every rate that trained.

    A rate trained when it has seeds enough and none of its runs is among the `untrained`.

    Arguments:
        runs: recordings with a loss, by node name.

    Returns:
        The highest of the lowest smoothed losses of these runs; NaN where no rate trained.
    """
    fallen = set(untrained(runs))
    arms: dict[tuple[int, float], list[str]] = {}
    for name, run in runs.items():
        arms.setdefault((int(run["batch_size"].values), rate_of(run)), []).append(name)
    counted = [
        name
        for names in arms.values()
        if not fallen & set(names) and len({label(runs[n], "seed", n) for n in names}) >= SEEDS
        for name in names
    ]
    return max((lowest_loss(runs[name]) for name in counted), default=math.nan)
