"""A plan as people and programs read it."""

import textwrap
from dataclasses import asdict
from typing import Any

from ultraslow.analysis.planning import Option, Plan, Records
from ultraslow.analysis.text import number, plural, printable

from .numbers import plain
from .tables import WIDTH, table

_OPTIONS = (
    *("seeds", "iterations", "decades", "records"),
    *("power", "log kept", "alarms", "onset 0"),
)


def terminal(found: Plan) -> str:
    """A plan as tables and sentences for the terminal."""
    parts = [_title(found), table(_header(found), [_row(found, one) for one in found.options])]
    if found.records:
        parts.append(_records(found))
    parts.append("\n".join(_wrapped(line) for line in (*_sentences(found), *found.notes)))
    return "\n\n".join(parts)


def _wrapped(line: str) -> str:
    text = f"{line[:1].upper()}{line[1:]}."
    return textwrap.fill(text, WIDTH, subsequent_indent="  ")


def _title(found: Plan) -> str:
    asked, of = found.question, found.pilot
    return (
        f"to tell t^{asked.exponent:g} from log t with {asked.power:.0%} power, "
        f"level {asked.level:g}\n"
        f"pilot: {printable(of.source)}; noise σ/D {number(of.noise_share)}, {of.noise}; "
        f"onset {number(of.onset)};\n"
        f"spread of p between seeds {number(of.seed_spread)}"
    )


def _header(found: Plan) -> tuple[str, ...]:
    cost = ("updates", "samples") if found.pilot.batch_size else ("updates",)
    return (*_OPTIONS, *cost)


def _row(found: Plan, option: Option) -> tuple[str, ...]:
    cost = ("updates", "samples") if found.pilot.batch_size else ("updates",)
    if not option.last:
        return (str(option.seeds), "none suffices", *["–"] * (len(_OPTIONS) - 2 + len(cost)))
    return (
        str(option.seeds),
        number(option.last),
        f"{option.decades:.2f}",
        str(option.records),
        f"{option.power:.0%}",
        f"{option.log_supported:.0%}",
        f"{option.false_alarms:.1%}",
        f"{option.alarms_at_once:.1%}",
        *(number(getattr(option, name)) for name in cost),
    )


def _records(found: Plan) -> str:
    best = found.cheapest
    after = f" of {plural(best.seeds, 'run')} until iteration {number(best.last)}" if best else ""
    usual = found.records[0].error
    rows = [_records_row(one, usual) for one in found.records]
    lines = table(("records", "count", "error of p", "relative"), rows)
    return f"when to record each{after}\n{lines}"


def _records_row(one: Records, usual: float) -> tuple[str, ...]:
    return one.name, str(one.count), number(one.error), f"{one.error / usual:.2f}"


def _sentences(found: Plan) -> list[str]:
    best = found.cheapest
    if best is None:
        return [
            "no training of up to eight decades has that power: an exponent further from 0, less "
            "noise or less spread between seeds may give it"
        ]
    text = (
        f"fewest updates across seeds: {best.seeds} seeds until iteration {number(best.last)} "
        f"({number(best.updates)} updates)"
    )
    if not found.batch_sizes:
        return [text]
    listed = ", ".join(map(str, found.batch_sizes))
    total = number(best.updates * len(found.batch_sizes))
    sizes = (
        f"batch sizes from a tenth of the noise scale {number(found.pilot.noise_scale)} to ten "
        f"times it, where drift and noise change places: {listed} ({total} updates for all), and "
        "the full batch"
    )
    return [text, sizes]


def content(found: Plan) -> dict[str, Any]:
    """A plan as JSON holds it."""
    told = {**vars(found.pilot), "noise": str(found.pilot.noise)}
    return plain(
        {
            "question": asdict(found.question),
            "pilot": {name: value for name, value in told.items() if name != "times"},
            "options": [{**asdict(one), "decades": one.decades} for one in found.options],
            "records": [asdict(one) for one in found.records],
            "batch_sizes": list(found.batch_sizes),
            "notes": list(found.notes),
        }
    )
