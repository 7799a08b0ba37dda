"""A ladder as people and programs read it: terminal, JSON, and the report's page."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ultraslow.analysis.scores import Gain, Ladder, Rung
from ultraslow.analysis.text import number, printable, rounded

from . import figures, markup
from .data import Dot, DotPlot
from .numbers import plain
from .tables import WIDTH, table

_HEADER = ("rung", "name", "runs", "value", "over the one before", "p", "over the baseline", "p")
_UNITS = {
    "accuracy": "gains are differences of held-out accuracy",
    "loss": "gains are −ln of the ratio of held-out losses: 0.05 is a loss lower by 5 %",
}


def terminal(found: Sequence[Ladder]) -> str:
    """Ladders as tables for the terminal."""
    return "\n\n".join(_terminal(ladder) for ladder in found)


def _terminal(ladder: Ladder) -> str:
    lines = [_title(ladder), _wrapped(_explained(ladder))]
    lines += [table(_HEADER, [_row(rung) for rung in ladder.rungs], left=2)]
    lines += [_wrapped(f"note: {printable(note, 300)}") for note in ladder.notes]
    return "\n".join([*lines, whole(ladder)])


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="  ")


def _title(ladder: Ladder) -> str:
    return f"ladder {printable(ladder.name, 40) or '(without a name)'}, held-out {ladder.metric}"


def _explained(ladder: Ladder) -> str:
    return (
        f"{_UNITS[ladder.metric]}; {ladder.level:.0%} t intervals over seeds that hold together, "
        "p after Holm"
    )


def _row(rung: Rung) -> tuple[str, ...]:
    before, base = _gain(rung.over_before), _gain(rung.over_baseline)
    runs = f"{rung.runs}" + (f" of {rung.runs + rung.failed}" if rung.failed else "")
    name = printable(rung.place.name, 24)
    return (str(rung.place.number), name, runs, rounded(rung.mean), *before, *base)


def _gain(gain: Gain | None) -> tuple[str, str]:
    if gain is None:
        return "–", "–"
    return str(gain.interval), number(gain.p_value, 2)


def whole(ladder: Ladder) -> str:
    """The gain of the last rung over the first, in a sentence."""
    last = ladder.rungs[-1]
    if last.over_baseline is None:
        return "The whole ladder: no gain can be given, as seeds or rungs are missing."
    gain = last.over_baseline
    word = _word(gain, level=ladder.level)
    return f"The whole ladder {word}: {gain.interval}, p = {number(gain.p_value, 2)}."


def _word(gain: Gain, *, level: float) -> str:
    if gain.p_value > 1 - level:
        return "neither gains nor loses for sure"
    return "gains" if gain.contrast.value > 0 else "loses"


def rows(found: Sequence[Ladder]) -> list[dict[str, Any]]:
    """Ladders as JSON holds them."""
    return [
        plain({**asdict(ladder), "rungs": [_record(rung) for rung in ladder.rungs]})
        for ladder in found
    ]


def _record(rung: Rung) -> dict[str, Any]:
    steps = {"over_before": rung.over_before, "over_baseline": rung.over_baseline}
    return {**asdict(rung), **{name: gain and _flat(gain) for name, gain in steps.items()}}


def _flat(gain: Gain) -> dict[str, Any]:
    contrast = {
        "estimate": gain.interval.value,
        "low": gain.interval.low,
        "high": gain.interval.high,
        "error": gain.contrast.error,
        "freedom": gain.contrast.freedom,
        "count": gain.contrast.n,
    }
    rest = {"paired": gain.paired, "pooled": gain.pooled, "p_value": gain.p_value}
    return {"contrast": contrast, **rest}


def gains(ladder: Ladder) -> DotPlot:
    """Gain of each rung over the one before, and of the whole.

    Arguments:
        ladder: two rungs or more.

    Returns:
        One row a rung; the last, strong one is the last rung's gain over the baseline.
    """
    steps = [(rung.place.name or f"rung {rung.place.number}", rung) for rung in ladder.rungs[1:]]
    dots = [_dot(k, rung.over_before) for k, (_, rung) in enumerate(steps)]
    dots.append(_dot(len(steps), ladder.rungs[-1].over_baseline, strong=True))
    return DotPlot(tuple(dots), (*(name for name, _ in steps), "whole ladder"))


def _dot(row: int, gain: Gain | None, *, strong: bool = False) -> Dot:
    if gain is None:
        return Dot(row, 0, math.nan, math.nan, math.nan, strong)
    found = gain.interval
    return Dot(row, 0, found.value, found.low, found.high, strong)


def section(found: Sequence[Ladder]) -> str:
    """The page's part on ladders; empty where no run stands on one."""
    return "".join(
        markup.section(f"{_title(ladder).capitalize()}", whole(ladder), *_parts(ladder))
        for ladder in found
        if len(ladder.rungs) > 1
    )


def _parts(ladder: Ladder) -> tuple[str, str]:
    plot = gains(ladder)
    name = f"ladder-{ladder.metric}-{ladder.name}"
    drawn = figures.gains(plot.dots, plot.rows, label=f"gain in {ladder.metric}", name=name)
    notes = "".join(f" {note[:1].upper()}{note[1:]}." for note in ladder.notes)
    caption = f"Gain of each rung over the one before; diamond: the last over the first.{notes}"
    cells = [list(map(markup.escape, _row(rung))) for rung in ladder.rungs]
    listed = markup.table(_HEADER, cells, text=2)
    explained = f'<p class="small">{markup.escape(_explained(ladder), 300)}</p>'
    return markup.figure([drawn], caption), listed + explained
