"""Exponents in learning rate and batch size, by optimizer, as tables and plain values."""

import math
from collections.abc import Sequence
from typing import Any

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.predictions.batch_size import OptimizerExponents
from ultraslow.analysis.predictions.batch_size.optimizer_exponents import DISTANCE, RULES
from ultraslow.analysis.runs import ITERATION
from ultraslow.analysis.text import number, percent, plural, rounded, sentence

from .table import Column, Table, plain

_NONE = "–"


def optimizer_table(found: Sequence[OptimizerExponents]) -> Table:
    """The exponents of η and M in distance and noise scale, a row each."""
    columns = (
        Column("optimizer", lambda one: one.optimizer, left=True),
        Column("of", _of, left=True),
        Column("exponent of η", lambda one: _value(one.law.rate)),
        Column("interval", lambda one: _ends(one.law.rate), tied=True),
        Column("exponent of M", lambda one: _value(_of_size(one))),
        Column("interval", lambda one: _ends(_of_size(one)), tied=True),
        Column("off the law", lambda one: _share(one.law.departure)),
    )
    seeds = sorted({_seeds(one) for one in found})
    told = [
        "each run counts by the mean of its logarithm over the last decade that all runs share; "
        f"intervals are across seeds ({plural(seeds[0], 'seed')} at least)",
        "off the law: by how much an arm departs from the power law nearest to all arms",
    ]
    untold = {
        f"{one.optimizer}: η and M not told apart, as {one.law.reason} (would tell: "
        f"{one.law.needed})"
        for one in found
        if one.law.reason
    }
    return Table(columns=columns, rows=found, notes=tuple(map(sentence, [*told, *sorted(untold)])))


def rules_table(found: Sequence[OptimizerExponents]) -> Table:
    """Under which of the rules √M and M the distances of batch sizes coincide better."""
    of_rules = [column for rule, name in RULES.items() for column in _under(rule, name)]
    columns = (
        Column("optimizer", lambda one: one.optimizer, left=True),
        Column("at equal", lambda one: _plural(one.clock), left=True),
        *of_rules,
        Column("coincide at η ∝ M^r, r =", lambda one: _value(one.law.power)),
        Column("interval", lambda one: _ends(one.law.power), tied=True),
        Column("coincide better under", lambda one: one.better, left=True),
    )
    notes = (
        "Under √M, under M: the distance of the largest batch size over that of the smallest if "
        "rates follow the rule, by the exponents above; arms need not follow it themselves.",
        "Nearer: this rule leaves the smaller difference, but not surely one within 10%.",
    )
    rows = [one for one in found if one.of == DISTANCE]
    return Table(columns=columns, rows=rows, notes=notes if rows else ())


def exponent_records(found: Sequence[OptimizerExponents]) -> list[dict[str, Any]]:
    """The exponents as JSON holds them, with y of M^−y as `size`."""
    return [plain(_record(one)) for one in found]


def _record(one: OptimizerExponents) -> dict[str, Any]:
    law = one.law
    return {
        "optimizer": one.optimizer,
        "of": one.of,
        "clock": one.clock,
        "span": list(one.span),
        "sizes": list(one.sizes),
        "rate": _three(law.rate),
        "size": _three(law.size),
        "ratios": {RULES[rule]: _three(ratio) for rule, ratio in one.ratios.items()},
        "power": _three(law.power),
        "better": one.better,
        "seeds": _seeds(one),
        "arms": law.arms,
        "departure": law.departure,
        "reason": law.reason,
        "needed": law.needed,
    }


def _three(found: Interval | None) -> list[float] | None:
    return None if found is None else [found.value, found.low, found.high]


def _of(one: OptimizerExponents) -> str:
    return f"{one.of} at equal {_plural(one.clock)}"


def _plural(clock: str) -> str:
    return "iterations" if clock == ITERATION else clock


def _of_size(one: OptimizerExponents) -> Interval | None:
    return None if one.law.size is None else one.law.size.mapped(lambda y: -y)


def _under(rule: float, name: str) -> tuple[Column, Column]:
    return (
        Column(f"under {name}", lambda one: _value(one.ratios.get(rule))),
        Column("interval", lambda one: _ends(one.ratios.get(rule)), tied=True),
    )


def _value(found: Interval | None) -> str:
    return _NONE if found is None else rounded(found.value)


def _ends(found: Interval | None) -> str:
    return _NONE if found is None else found.ends(number)


def _share(departure: float) -> str:
    return _NONE if math.isnan(departure) else percent(departure)


def _seeds(one: OptimizerExponents) -> int:
    known = [one.law.rate, one.law.size, *(one.law.combined or {}).values()]
    return min(found.n for found in known if found is not None)
