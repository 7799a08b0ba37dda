"""What a figure shows of a study: its arms, their names, colours and marks, and their curves."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.runs import arm_names, ingredients_of, one_per_seed, some_runs
from ultraslow.analysis.runs.arms import arm, setting_key
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import plural, printable

from . import look
from .colours import role_of_size

Array = NDArray[np.float64]
Runs = Study | xr.DataTree

RULES = {"sqrt": "η ∝ √M", "linear": "η ∝ M", "fixed": "η fixed"}
HEADINGS = {
    "sqrt": "Rate with the square root of the batch size, η ∝ √M",
    "linear": "Rate in proportion to the batch size, η ∝ M",
    "fixed": "One rate for all batch sizes",
}
_ORDER = ("sqrt", "fixed", "linear")


@dataclass(frozen=True)
class Shown:
    """An arm as figures show it.

    Attributes:
        batch_size: M; 0 is one that nobody knows.
        rule: for the learning rate, as it was recorded.
        rate: learning rate η; 0 where none is known.
        name: what tells it from others of its batch size, in words; empty for the only one.
        set_name: the set of equal runs that it is judged in; empty for the first, or the only one.
        rung: name of a rung of a ladder above its foot, else empty.
        nodes: its runs, one a seed.
        rank: of its batch size among those of the study, smallest 0.
        sizes: number of batch sizes of the study.
        beside: what tells it from others of its batch size, rule and set, as its rate.
    """

    batch_size: int
    rule: str
    rate: float
    name: str
    set_name: str
    rung: str
    nodes: tuple[str, ...]
    rank: int
    sizes: int
    beside: str = ""

    @property
    def colour(self) -> str:
        """Of its batch size."""
        return look.hue(self.rank, self.sizes)

    @property
    def role(self) -> str:
        """The class of its colour, `b0` to `b7`."""
        return role_of_size(self.rank, self.sizes)

    @property
    def title(self) -> str:
        """Its batch size."""
        return f"M = {look.tick(self.batch_size)}" if self.batch_size else "M unknown"

    @property
    def rule_words(self) -> str:
        """Its rule for the learning rate, or what else tells it apart."""
        found = self.rung or RULES.get(self.rule, self.rule or self.name)
        return printable(", ".join(filter(None, (found, self.set_name, self.beside))), 48)

    @property
    def rate_words(self) -> str:
        """Its rate and its number of seeds."""
        rate = f"η = {look.shown(self.rate)}" if self.rate else ""
        return ", ".join(filter(None, (rate, plural(len(self.nodes), "seed"))))

    def marks(self, radius: float, *, hollow: bool = False) -> dict[str, Any]:
        """Options of `Axes.plot` for its marks."""
        return look.marked(self.rank, radius, self.colour, hollow=hollow)


def study_of(runs: Runs) -> Study:
    """A study of recordings; figures of one study share its fits, which take seconds.

    Arguments:
        runs: recordings as `us.load` gives them; a study is returned as it is.

    Returns:
        The study.
    """
    return runs if isinstance(runs, Study) else Study(some_runs(runs))


def arms_of(runs: Runs) -> list[Shown]:
    """All arms: those of the first set by rule and batch size, other sets, rungs of ladders."""
    return study_of(runs).found(_arms)


def _arms(study: Study) -> list[Shown]:
    keys = study.each(setting_key)
    names = arm_names(study.runs, keys)
    kept = one_per_seed(study.runs, keys)
    sets = {node: name for name, part in study.sets.items() for node in part.runs}
    first = next(iter(study.sets), "")
    sizes = study.batch_sizes
    members: dict[tuple[int, str], list[str]] = {}
    for node in kept:
        size = int(study.runs[node]["batch_size"].values)
        members.setdefault((size, names[node]), []).append(node)
    found = []
    for (size, name), nodes in members.items():
        run = study.runs[nodes[0]]
        own, of_set = arm(run), sets.get(nodes[0], "")
        above = ingredients_of(run) is not None and not of_set
        found.append(
            Shown(
                batch_size=size,
                rule=own.scaling,
                rate=own.rate,
                name=name,
                set_name="" if of_set in (first, "") else _shorter(of_set, first),
                rung=(name or "upper rung") if above else "",
                nodes=tuple(nodes),
                rank=sizes.index(size),
                sizes=len(sizes),
            )
        )
    order = [*sets.values()]
    return sorted(_told_apart(found), key=lambda one: _rank(one, order, sets))


def _told_apart(found: Sequence[Shown]) -> list[Shown]:
    """Arms of one batch size and rule with what they differ in: the rate, or else all words."""
    words = Counter((one.batch_size, one.rule_words) for one in found)
    rates = Counter((one.batch_size, one.rule_words, one.rate) for one in found)
    told = []
    for one in found:
        beside = ""
        if words[one.batch_size, one.rule_words] > 1:
            alone = rates[one.batch_size, one.rule_words, one.rate] == 1
            beside = f"η = {look.shown(one.rate)}" if alone and one.rate else one.name
        told.append(replace(one, beside=beside.removeprefix(f"{one.rule}, ")))
    return told


def _shorter(name: str, first: str) -> str:
    """What tells a set from the first one."""
    told = [part for part in name.split(", ") if part not in first.split(", ")]
    return ", ".join(told) or name


def _rank(one: Shown, order: Sequence[str], sets: Mapping[str, str]) -> tuple[Any, ...]:
    of_set = sets.get(one.nodes[0])
    place = len(order) if of_set is None else order.index(of_set)
    rule = _ORDER.index(one.rule) if one.rule in _ORDER else len(_ORDER)
    return place, rule, one.rule, one.batch_size, one.rate


def chosen(runs: Runs, arm: "int | str | Shown") -> Shown:
    """One arm of a study.

    Arguments:
        runs: a study, or recordings as `us.load` gives them.
        arm: its batch size, of which the arm with most seeds is taken; or a run of it by name; or
            words of it, such as "256, sqrt" or "256".

    Raises:
        ValueError: when there is none.
    """
    if isinstance(arm, Shown):
        return arm
    every = arms_of(runs)
    text = str(arm).strip()
    size, _, words = text.partition(",")
    fit = [one for one in every if text in one.nodes]
    fit = fit or [
        one
        for one in every
        if size.strip() == str(one.batch_size)
        and words.strip() in ("", one.name, one.rule, one.rule_words)
    ]
    if not fit:
        there = "; ".join(f"{one.batch_size}, {one.name or one.rule_words}" for one in every[:12])
        raise ValueError(f"arm: found {text!r}, expected one of: {there}")
    return max(fit, key=lambda one: len(one.nodes))


def leading(every: Sequence[Shown]) -> list[Shown]:
    """Of each batch size one arm to set beside the others: those of √M, else the most common rule.

    Rungs of ladders and further sets of equal runs are left out where others are there.
    """
    plain = [one for one in every if not one.rung and not one.set_name] or list(every)
    following = _following(plain)
    alike: dict[tuple[str, float], set[int]] = {}
    for one in plain:
        alike.setdefault(following[one], set()).add(one.batch_size)
    # Of rates that follow one rule those with most batch sizes, first of √M.
    kinds = sorted(
        alike,
        key=lambda kind: (kind[0] != "sqrt" or len(alike[kind]) < 2, -len(alike[kind]), kind),
    )
    found: dict[int, Shown] = {}
    for one in plain:
        best = found.get(one.batch_size)
        if following[one] == kinds[0] and (best is None or len(one.nodes) > len(best.nodes)):
            found[one.batch_size] = one
    return [found[size] for size in sorted(found)]


def _following(every: Iterable[Shown]) -> dict[Shown, tuple[str, float]]:
    """The rule of each arm, and the constant η/M^x that it shares with others of the rule."""
    found: dict[Shown, tuple[str, float]] = {}
    shared: dict[str, float] = {}
    for one in sorted(every, key=_constant):
        rule, constant = _constant(one)
        # Rounded rates differ a little: those alike take the lowest, and no digit parts them.
        if not constant <= shared.get(rule, -1.0) * (1 + _ALIKE):
            shared[rule] = constant
        found[one] = rule, shared[rule]
    return found


_ALIKE = 0.05  # by which constants of one rule may differ, as rates were rounded


def _constant(one: Shown) -> tuple[str, float]:
    power = {"sqrt": 0.5, "linear": 1.0}.get(one.rule, 0.0)
    known = one.rate and one.batch_size
    return one.rule, one.rate / one.batch_size**power if known else 0.0


@dataclass(frozen=True)
class Curve:
    """A measured curve.

    Attributes:
        time: t > 0, or readings of another clock, shape (time,).
        value: shape (time,), finite.
    """

    time: Array
    value: Array

    def at(self, times: Array) -> Array:
        """Values at other times, linear in ln t between records; NaN beyond them."""
        inside = np.interp(np.log(times), np.log(self.time), self.value)
        within = (times >= self.time[0] * (1 - 1e-9)) & (times <= self.time[-1] * (1 + 1e-9))
        return np.where(within, inside, np.nan)


def curve(values: xr.DataArray, clock: Array | None = None) -> Curve:
    """What is known of a quantity of a run after iteration 0.

    Arguments:
        values: along `iteration`.
        clock: readings at its records; iterations by default.
    """
    times = values["iteration"].values if clock is None else clock
    times, found = np.asarray(times, dtype=float), np.asarray(values.values, dtype=float)
    known = (values["iteration"].values > 0) & np.isfinite(found) & np.isfinite(times)
    known &= times > 0
    times, found = times[known], found[known]
    rises = np.diff(np.maximum.accumulate(times), prepend=0.0) > 0
    return Curve(times[rises], found[rises])


def mean(curves: Iterable[Curve], count: int, *, log: bool = False) -> Curve | None:
    """Mean over runs at times even in their logarithm, as far as all of them go.

    Arguments:
        curves: of the runs of an arm.
        count: how many times.
        log: whether it is the geometric mean.

    Returns:
        The mean; None where the runs share no time.
    """
    full = [one for one in curves if one.time.size]
    if not full:
        return None
    first, last = max(one.time[0] for one in full), min(one.time[-1] for one in full)
    if last < first:
        return None
    times = np.geomspace(first, last, count) if last > first else np.array([first])
    values = np.stack([one.at(times) for one in full])
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            middle = np.exp(np.log(values).mean(axis=0))
    else:
        middle = values.mean(axis=0)
    known = np.isfinite(middle)
    return Curve(times[known], middle[known])
