"""What is known of runs, for a terminal that is drawn anew and for a log of lines.

Names and texts of recordings are made safe to print before they come here; nothing in them is
read as markup.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.noise import NoiseScale
from ultraslow.analysis.report.table import Column, Table
from ultraslow.analysis.text import number, plural, printable, time_span

from .condition import Condition
from .schedule import NextRecord

_COLOURS = {"live": "green", "closed": "", "killed": "red", "left": "yellow", "vanished": "red"}
_LABELS = 14  # columns of what a row is about
_ROOM = 6  # lines of a screen that are not rows of a table
_LONGEST = 300  # characters of a reason
_MARK = "*"  # behind an exponent that is not of the newest record
_OLD = "of earlier records: not found anew yet"


def drawn(found: Sequence[Condition], now: float, *, height: int, width: int) -> RenderableType:
    """All runs on one screen.

    Arguments:
        found: their conditions.
        now: seconds since 1970.
        height: lines of the screen.
        width: its columns.
    """
    if len(found) == 1:
        return _whole(found[0], now)
    rows, rest = _chosen(found, max(height - _ROOM, 4))
    notes = [*(f"{one.name}: {text}" for one in rows for text in one.alarms)]
    if rest:
        notes.append(f"{plural(len(rest), 'more run')}, {_counted(rest)}")
    if any(one.stale and one.found.at >= 0 for one in rows):
        notes.append(f"{_MARK} {_OLD}")
    table = Table(columns=_columns(now), rows=rows, notes=tuple(notes))
    return Text.from_ansi(table.terminal(width))


def _chosen(found: Sequence[Condition], most: int) -> tuple[list[Condition], list[Condition]]:
    """Those that find room, what lives and what was written last first, and the others."""
    ordered = sorted(found, key=lambda one: (one.sight.ended, -_finite(one.sight.written)))
    return ordered[:most], ordered[most:]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _counted(found: Sequence[Condition]) -> str:
    """How many there are of each state, in words."""
    states = [one.sight.state for one in found]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _columns(now: float) -> tuple[Column, ...]:
    """The most important first: of a narrow terminal the last are left out."""
    return (
        Column("run", lambda one: one.name, left=True),
        Column("state", lambda one: one.sight.state.partition(" ")[0], left=True, solid=True),
        Column("iteration", lambda one: number(one.iteration) if one.iteration >= 0 else "–"),
        Column("exponent", _value),
        Column("", lambda one: one.found.exponent.ends(number), tied=True),
        Column("distance", lambda one: number(one.distance), spare=True),
        Column("next record", lambda one: _due(one.due, now), spare=True),
        Column("fit", lambda one: one.found.status or "–", left=True, solid=True, spare=True),
        Column("decade ratio", lambda one: number(one.found.ratio.value), spare=True),
        Column("noise scale", lambda one: number(one.found.noise.interval.value), spare=True),
        Column("loss", lambda one: number(one.newest("loss")), spare=True),
        Column("rate", lambda one: number(one.newest("learning_rate")), spare=True),
        Column("updates/s", lambda one: number(one.speed), spare=True),
    )


def _value(one: Condition) -> str:
    """The exponent, marked where it is not of the newest record."""
    value = one.found.exponent.value
    return f"{number(value)}{_MARK if one.stale and math.isfinite(value) else ''}"


def _due(due: NextRecord, now: float) -> str:
    """When the next record is made."""
    if not due.iteration:
        return "–"
    if not math.isfinite(due.at):
        return f"at {number(due.iteration)}"
    if due.overdue(now):
        return f"{number(due.iteration)}, overdue"
    wait = due.at - now
    return (
        f"{number(due.iteration)} in {time_span(wait)}"
        if wait > 0
        else f"{number(due.iteration)} now"
    )


def _whole(one: Condition, now: float) -> RenderableType:
    """One run, all that is known of it."""
    head = Text(one.name, style="bold")
    state = one.sight.state
    head.append(f"  {state}", style=_COLOURS.get(state.partition(" ")[0], ""))
    grid = Grid(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column(width=_LABELS)
    grid.add_column(overflow="fold")
    for label, value in _rows(one, now):
        grid.add_row(Text(label, style="dim"), Text(value))
    alarms = [Text(f"! {text}", style="bold yellow") for text in one.alarms]
    return Group(head, grid, *alarms)


def _rows(one: Condition, now: float) -> Iterator[tuple[str, str]]:
    records = one.sight.records
    yield "process", _life(one)
    if records is None:
        told = "none that can be read" if one.sight.fault else "none yet"
        yield "records", told
        return
    written = f", written {time_span(now - one.sight.written)} ago"
    yield (
        "iteration",
        f"{number(one.iteration)} ({plural(records.sizes['iteration'], 'record')}{written})",
    )
    if not one.sight.ended:
        yield "next record", _due_in_full(one, now)
    yield "distance", number(one.distance)
    yield "exponent", "; ".join(_exponent(one))
    if one.found.at >= 0:
        yield "decade ratio", _ratio(one.found.ratio)
        yield "noise scale", _noise(one.found.noise)
    yield "loss", number(one.newest("loss"))
    yield "learning rate", number(one.newest("learning_rate"))
    if math.isfinite(one.speed):
        samples = one.speed * float(records["batch_size"].values)
        told = f", {number(samples)} samples/s" if samples else ""
        yield "speed", f"{number(one.speed)} updates/s{told}"


def _life(one: Condition) -> str:
    """Whether who records lives, as far as this machine can tell."""
    owner, state = one.sight.owner, one.sight.state
    if state == "live":
        return f"{owner.pid} lives on this machine"
    if state.startswith("live on"):
        host = printable(owner.host, 60)
        return f"{owner.pid} on {host}, which cannot be asked from here whether it lives"
    if state == "killed":
        return f"{owner.pid} is gone"
    return {"closed": "ended, the recording is closed", "left": "ended without closing"}.get(
        state, state
    )


def _due_in_full(one: Condition, now: float) -> str:
    due = one.due
    if not due.iteration:
        return "not known, the schedule is one of its own"
    told = f"iteration {number(due.iteration)}"
    if not math.isfinite(due.at):
        return told
    at = datetime.fromtimestamp(due.at)
    day = "" if at.date() == datetime.fromtimestamp(now).date() else f"{at:%Y-%m-%d} "
    clock = f"at about {day}{at:%H:%M:%S}"
    wait = due.at - now
    return f"{told} {clock}, in {time_span(wait)}" if wait > 0 else f"{told} {clock}, any moment"


def _exponent(one: Condition) -> Iterator[str]:
    """The exponent with its interval, over what it is, and what stands against leaning on it."""
    found = one.found
    if found.at < 0:
        yield "being fitted"
    elif not math.isfinite(found.exponent.value):
        yield f"none: {printable(found.exponent.reason, _LONGEST)}"
    else:
        span = f"over iterations {number(found.first)} to {number(found.last)}"
        yield f"{number(found.exponent.value)} {found.exponent.ends(number)} {span}"
        if found.exponent.reason:
            yield printable(found.exponent.reason, _LONGEST)


def _ratio(ratio: Interval) -> str:
    if not math.isfinite(ratio.value):
        return "not known, records span too few decades, or nothing grows"
    found = f"{number(ratio.value)} {ratio.ends(number)}"
    return f"{found}: the last decade of iterations added so many times what the one before did"


def _noise(noise: NoiseScale) -> str:
    told = printable(str(noise), _LONGEST)
    return f"{told} samples" if math.isfinite(noise.interval.low) else told


def lines(one: Condition) -> Iterator[str]:
    """What a log says of a run: a line for its state, and one for each alarm.

    Nothing in it changes with time alone.
    """
    if one.sight.records is None:
        yield f"{one.name}: {one.sight.state}, no record{'' if one.sight.fault else ' yet'}"
    else:
        yield f"{one.name}: {', '.join(_in_short(one))}"
    for text in one.alarms:
        yield f"{one.name}: {text}"


def _in_short(one: Condition) -> Iterator[str]:
    yield one.sight.state
    yield f"iteration {number(one.iteration)}"
    yield f"distance {number(one.distance)}"
    found = one.found
    old = f" (at iteration {number(found.at)})" if one.stale else ""
    if math.isfinite(found.exponent.value):
        status = "" if found.status == "ok" else f" {found.status}"
        yield f"exponent {number(found.exponent.value)} {found.exponent.ends(number)}{status}{old}"
    if math.isfinite(found.ratio.value):
        yield f"decade ratio {number(found.ratio.value)} {found.ratio.ends(number)}{old}"
    if math.isfinite(found.noise.interval.value):
        yield f"noise scale {found.noise}{old}"
    for name, label in (("loss", "loss"), ("learning_rate", "rate")):
        if math.isfinite(one.newest(name)):
            yield f"{label} {number(one.newest(name))}"
    if math.isfinite(one.speed) and not one.sight.ended:
        yield f"{number(one.speed)} updates/s"
    if one.due.iteration:
        at = (
            f" at about {datetime.fromtimestamp(one.due.at):%H:%M:%S}"
            if math.isfinite(one.due.at)
            else ""
        )
        yield f"next record {number(one.due.iteration)}{at}"
