"""Tables for the terminal, readable at 100 columns."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import xarray as xr

from ultraslow.analysis.intervals import UNDECIDABLE
from ultraslow.analysis.runs import constant_rate, label, recordings, unusable
from ultraslow.analysis.text import (
    batch_sizes,
    columns,
    interval,
    plural,
    printable,
    real,
    rounded,
)
from ultraslow.diffusion.predictions import PREDICTIONS

from .numbers import fit_rows, verdict_rows

WIDTH = 100
_NAME = 20
# Of a sentence: as much as the page shows.
_LONGEST = 900
_MEASUREMENTS = {"loss": "loss", "noise_trace": "noise", "learning_rate": "rate"}


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Columns aligned with two spaces between them.

    Arguments:
        header: one title a column.
        rows: texts by row and column.
        left: number of leading columns set flush left; the others are flush right.

    Returns:
        The lines, the header first.

    >>> print(table(["run", "p"], [["a", "0.1"], ["bb", "12"]]))
    run    p
    a    0.1
    bb    12
    """
    lines = [header, *rows]
    widths = [max(columns(line[k]) for line in lines) for k in range(len(header))]
    return "\n".join(_line(line, widths, left) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    rooms = [" " * (width - columns(cell)) for cell, width in zip(cells, widths, strict=True)]
    padded = [
        cell + room if k < left else room + cell
        for k, (cell, room) in enumerate(zip(cells, rooms, strict=True))
    ]
    return "  ".join(padded).rstrip()


def info(runs: xr.DataTree) -> str:
    """What is in each recording, and what could not be used."""
    header = ("run", "batch", "seed", "iterations", "records", "weights", "decades")
    rows = [_info_row(run) for run in recordings(runs).values()]
    lines = [table((*header, "state", "beside distance"), rows)]
    lines += [_open_line(run) for run in recordings(runs).values() if "written" in run.attrs]
    for item in unusable(runs):
        lines.append(f"not used: {printable(item.source, WIDTH)}")
        lines += [f"  {printable(fault, 300)}" for fault in item.faults]
    return "\n".join(lines)


def _info_row(run: xr.Dataset) -> tuple[str, ...]:
    measured = [word for name, word in _MEASUREMENTS.items() if name in run]
    return (
        printable(str(run["run"].values), _NAME),
        str(int(run["batch_size"])),
        str(label(run, "seed", "–")),
        str(int(run["iteration"][-1])),
        str(run.sizes["iteration"]),
        _short(float(run["tensor_size"].sum())),
        f"{constant_rate(run).decades:.2f}",
        printable(str(run.attrs.get("state", "")).partition(" ")[0], _NAME),
        ", ".join(measured),
    )


def _open_line(run: xr.Dataset) -> str:
    """What goes on in a live folder; age tells a run that records from one that hangs."""
    name, state = str(run["run"].values), str(run.attrs.get("state", ""))
    written = str(run.attrs["written"])
    line = f"{printable(name, _NAME)}: {printable(state, WIDTH)}"
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(written)).total_seconds()
    except (ValueError, TypeError):
        return line
    told = written.replace("T", " ").removesuffix("+00:00")
    return f"{line} (last written {told} UTC, {_age(seconds)} ago)"


def _age(seconds: float) -> str:
    """A time span in its largest whole unit.

    >>> _age(59), _age(60), _age(2e5)
    ('59 s', '1 min', '2 d')
    """
    for unit, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {word}"
    return f"{max(seconds, 0):.0f} s"


def _short(count: float) -> str:
    """A count of weights in at most six columns."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


def fits(found: xr.Dataset) -> str:
    """Exponents of growth fits with their intervals, one curve a line."""
    by_tensor = "tensor" in found.dims
    names = ("run", "tensor") if by_tensor else ("run", "batch", "seed")
    header = (*names, "decades", "p", "interval", "tells ≥", "remark")
    rows = [_fit_row(row, by_tensor) for row in fit_rows(found)]
    level = found.attrs.get("level")
    title = (
        f"d = a + b·[(t + τ)^p − 1]/p; p = 0: log t, 0.5: diffusion; level {level}\n"
        "tells ≥: smallest |p| that such a curve tells from 0 with 80 % power"
    )
    return f"{title}\n{table(header, rows, left=2 if by_tensor else 1)}{_remarks(found)}"


def _remarks(found: xr.Dataset) -> str:
    """Why fits are not plainly ok, each reason once with the number of its curves."""
    reasons = Counter(row["reason"] for row in fit_rows(found) if row["status"] != "ok")
    lines = [
        textwrap.fill(
            f"{plural(count, 'curve')}: {printable(reason, 300)}", WIDTH, subsequent_indent="    "
        )
        for reason, count in reasons.most_common()
    ]
    return "".join(f"\n{line}" for line in lines)


def _fit_row(row: dict, by_tensor: bool) -> tuple[str, ...]:
    name = printable(row["run"], _NAME)
    names = (
        (name, printable(row["tensor"], _NAME)) if by_tensor else (name, str(row["batch_size"]))
    )
    ends = interval(real(row["exponent_low"]), real(row["exponent_high"]), show=rounded)
    return (
        *names,
        *(() if by_tensor else (str(row["seed"]) or "–",)),
        f"{row['decades']:.2f}",
        rounded(real(row["exponent"])),
        ends,
        rounded(real(row["detectable"])),
        "" if row["status"] == "ok" else row["status"].replace("_", " "),
    )


def verdicts(found: xr.Dataset) -> str:
    """One paragraph a prediction: verdict, effect, reason, and what would decide it.

    Those that lack a measurement come last, one line for what is missing and no statement.
    """
    rows = verdict_rows(found)
    lacking = [row for row in rows if folded(row)]
    parts = [_verdict(row) for row in rows if row not in lacking]
    parts += ["\n".join(map(_lacking, lacking))] if lacking else []
    note = str(found.attrs.get("note", ""))
    parts += [textwrap.fill(printable(note, _LONGEST), WIDTH)] if note else []
    return "\n\n".join(parts)


def folded(row: Mapping[str, Any]) -> bool:
    """Whether a verdict is about what is missing and can stand behind the others.

    The first prediction is the question that recordings are made for, and is always told.
    """
    return row["verdict"] == UNDECIDABLE and row["effect"] is None and row["prediction"] != "P1"


def _lacking(row: Mapping[str, Any]) -> str:
    title = PREDICTIONS[row["prediction"]].title
    text = f"undecidable ({title}): {row['reason']} Would decide it: {row['needed']}."
    lead = f"{row['prediction']:4}"
    return textwrap.fill(
        printable(text, _LONGEST), WIDTH, initial_indent=lead, subsequent_indent="    "
    )


def _verdict(row: dict) -> str:
    effect = ""
    if row["effect"] is not None:
        ends = interval(real(row["effect_low"]), real(row["effect_high"]), show=rounded)
        effect = f"{rounded(real(row['effect']))} {ends}"
    sample = f"{plural(row['runs'], 'run')}, {batch_sizes(row['batch_sizes'])}"
    lines = [f"{row['prediction']:4}{row['verdict'].upper():14}{effect:26}  {sample}".rstrip()]
    texts = [row["statement"], row["reason"]]
    texts += [f"Would decide it: {row['needed']}."] if row["needed"] else []
    for text in texts:
        lines += textwrap.wrap(
            printable(text, _LONGEST), WIDTH, initial_indent="    ", subsequent_indent="    "
        )
    return "\n".join(lines)
