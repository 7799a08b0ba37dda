"""A ladder of recipes as one table: each rung's gains with their intervals drawn beside 0."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.report.markup import piece
from ultraslow.analysis.report.tables import whole_gain
from ultraslow.analysis.scores import Gain, Ladder
from ultraslow.analysis.text import percent, sentence

from .findings import Findings
from .rulers import row, shown

_UNKNOWN = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Step:
    """What a rung gains by one metric.

    Attributes:
        picture: the gain with its interval beside 0.
        gain: in three decimals; a dash where it is not known.
        ends: of its interval.
        clear: whether the interval excludes 0.
    """

    picture: Markup
    gain: str
    ends: str
    clear: bool


@dataclass(frozen=True)
class Line:
    """One rung: its name, its scores, and what it gains by each metric."""

    name: str
    runs: str
    scores: tuple[str, ...]
    steps: tuple[Step | None, ...]


def ladder(found: Findings, _: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """Every ladder that has two rungs or more, one table each with all its metrics."""
    by_name: dict[str, list[Ladder]] = {}
    for one in found.ladders:
        if len(one.rungs) > 1:
            by_name.setdefault(one.name, []).append(one)
    lead = (
        "Each row adds one ingredient to the row above; the bar is its gain with a "
        f"{percent(found.study.level)} interval, heavy where it excludes 0."
    )
    parts = [_table(name, own) for name, own in by_name.items()]
    return "Ladder of recipes", lead, parts


def _table(name: str, own: Sequence[Ladder]) -> Markup:
    spans = [_span(one) for one in own]
    numbers = {rung.place.number: rung.place.name for one in own for rung in one.rungs}
    lines = [_line(number, named, own, spans) for number, named in sorted(numbers.items())]
    wholes = [_whole(one, span) for one, span in zip(own, spans, strict=True)]
    total = Line("whole ladder", "", ("",) * len(own), tuple(wholes))
    notes = [f"{one.metric}: {whole_gain(one)}" for one in own]
    notes += list(dict.fromkeys(sentence(note) for one in own for note in one.notes))
    notes.append(
        "Intervals hold together over the rungs. Gains in loss are −ln of the ratio of losses: "
        "0.05 is a loss lower by 5 %."
        if any(one.metric == "loss" for one in own)
        else "Intervals hold together over the rungs."
    )
    title = f"Ladder {name}" if name else "Ladder"
    metrics = [(one.metric, "−ln loss" if one.metric == "loss" else one.metric) for one in own]
    return piece("ladder", title, metrics, [*lines, total], notes)


def _span(one: Ladder) -> tuple[float, float]:
    """Room for all intervals of a metric, 0 among them."""
    gains = [_gain(rung.over_before) for rung in one.rungs] + [_gain(one.rungs[-1].over_baseline)]
    ends = [x for gain in gains for x in (gain.value, gain.low, gain.high) if math.isfinite(x)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _gain(gain: Gain | None) -> Interval:
    return _UNKNOWN if gain is None else gain.interval


def _line(
    number: int, name: str, own: Sequence[Ladder], spans: Sequence[tuple[float, float]]
) -> Line:
    scores: list[str] = []
    steps: list[Step | None] = []
    runs = ""
    for one, span in zip(own, spans, strict=True):
        rungs = [rung for rung in one.rungs if rung.place.number == number]
        if not rungs:
            scores.append("–")
            steps.append(None)
            continue
        rung = rungs[0]
        score = rung.mean
        if math.isnan(score):
            scores.append("–")
        else:
            scores.append(f"{100 * score:.1f} %" if one.metric == "accuracy" else shown(score))
        first = rung is one.rungs[0]
        steps.append(None if first else _step(rung.over_before, span))
        failed = f" of {rung.runs + rung.failed}" if rung.failed else ""
        runs = runs or f"{rung.runs}{failed}"
    return Line(f"{number} {name}".strip(), runs, tuple(scores), tuple(steps))


def _step(gain: Gain | None, span: tuple[float, float], *, whole: bool = False) -> Step:
    found = _gain(gain)
    told = "–" if math.isnan(found.value) else f"{found.value:.3f}".replace("-", "−")
    ends = "" if math.isnan(found.value) else found.ends(lambda x: f"{x:.3f}".replace("-", "−"))
    clear = found.low > 0 or found.high < 0
    return Step(row(found, span, whole=whole), told, ends, clear)


def _whole(one: Ladder, span: tuple[float, float]) -> Step:
    return _step(one.rungs[-1].over_baseline, span, whole=True)
