"""`ultraslow info`: what recordings hold and lack, an arm a line, or one recording in full."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ultraslow.analysis.text import (
    fixed,
    in_short,
    number,
    of_batch_size,
    plural,
    printable,
    time_span,
)
from ultraslow.diffusion.cli import Run, main

from .shared import add_json, add_paths, catalog_of, say

if TYPE_CHECKING:
    from ultraslow.analysis.report.table import Table
    from ultraslow.analysis.runs import Heading
    from ultraslow.diffusion.recording import DatasetLike

_MEASUREMENTS = {"loss": "loss", "noise_trace": "noise", "learning_rate": "rate"}
_MOST = 8  # sentences of a kind; others with --verbose
_VALUE = 200  # characters of an attribute


def info(parser: argparse.ArgumentParser) -> Run:
    """Say what is in recordings: arms and seeds, what was measured, faults, what they lack.

    Several recordings take a line for each arm, the runs that differ in their seeds only, and
    sentences on what is odd: runs that were not closed or diverged, fields that predictions need
    and that are absent, seeds and arms that others have. One recording is shown in full.

    Example: ultraslow info runs/ --where "batch_size >= 1024"
    """
    add_paths(parser)
    parser.add_argument("--verbose", action="store_true", help="a line for each run, all remarks")
    add_json(parser)
    parser.add_argument(
        "--repair",
        action="store_true",
        help="first rebuild each PATH from its sound parts, as `ultraslow repair` does",
    )
    return _info


def _info(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.report import absences, input_row
    from ultraslow.analysis.report.table import Table
    from ultraslow.analysis.runs import measured_until
    from ultraslow.analysis.runs.gaps import gaps

    # Repairing is the recorder's business, reached through the command and not by an import.
    if arguments.repair and (status := main(["repair", *arguments.paths])):
        return status
    found = catalog_of(arguments)
    runs = found.headings
    rows = [
        {**row, "flag": "diverged" if measured_until(run) < row["last_iteration"] else state}
        for row, run in ((input_row(name, run), run) for name, run in runs.items())
        for state in [row["state"].partition(" ")[0]]
    ]
    bad = Table(
        columns=(_column("", lambda item: f"not used: {item.source}"),),
        rows=found.unusable,
        below=lambda item: item.faults,
    )
    doubts, single = doubtful(runs)
    lacks, missing = absences(runs), gaps(single)
    arms = arm_rows(rows, runs)
    content = {
        "recordings": rows,
        "arms": arms,
        "unusable": bad.json(),
        "lacking": list(lacks),
        "gaps": list(missing),
        "doubtful": list(doubts),
    }
    if len(rows) == 1:
        tables = [card(rows[0], next(iter(runs.values())))]
    else:
        tables = [_runs_table(rows) if arguments.verbose else _arms_table(arms)]
    told = (remarks(rows, runs), doubts, lacks, missing)
    notes = [Table(notes=_some(lines, arguments.verbose)) for lines in told]
    say(arguments, content, *tables, bad, *notes)
    return 0


def _column(title: str, show: Any, **how: Any) -> Any:
    from ultraslow.analysis.report.table import Column

    return Column(title, show, left=True, **how)


def arm_rows(
    rows: Sequence[Mapping[str, Any]], runs: "Mapping[str, DatasetLike]"
) -> list[dict[str, Any]]:
    """What the runs of each arm hold, an arm a row.

    Arguments:
        rows: the recordings, as JSON holds them.
        runs: the same by node name.
    """
    from ultraslow.analysis.runs import arms_in_words

    arms = arms_in_words(runs)
    members: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        members.setdefault(arms[row["node"]], []).append(row)
    return [
        {
            "arm": name,
            "batch_size": own[0]["batch_size"],
            "runs": len(own),
            "seeds": sorted({row["seed"] for row in own if row["seed"] is not None}),
            "iterations": sorted({row["last_iteration"] for row in own}),
            "decades": [f(row["constant_rate_decades"] for row in own) for f in (min, max)],
            "records": sorted({row["records"] for row in own}),
            "weights": own[0]["weights"],
            "states": dict(Counter(row["flag"] for row in own)),
            "measured": sorted(set.intersection(*(set(row["measured"]) for row in own))),
            "files": [row["path"] for row in own],
        }
        for name, own in members.items()
    ]


def _arms_table(arms: Sequence[Mapping[str, Any]]) -> "Table":
    from ultraslow.analysis.report.table import NONE, Column, Table
    from ultraslow.analysis.runs import listed_seeds

    columns = (
        _column("arm", lambda row: row["arm"]),
        Column("seeds", lambda row: listed_seeds(row["seeds"]) or NONE),
        Column("iterations", lambda row: _range(row["iterations"], number)),
        _column("state", lambda row: _states(row["states"])),
        Column("runs", lambda row: str(row["runs"]), spare=True),
        Column("decades", lambda row: _range(row["decades"], fixed), spare=True),
        _column("beside distance", lambda row: _in_words(row["measured"]), spare=True),
        Column("records", lambda row: _range(row["records"], str), spare=True),
        Column("weights", lambda row: in_short(row["weights"] or 0), spare=True),
    )
    count = sum(row["runs"] for row in arms)
    lead = (
        f"{plural(count, 'recording')}, {plural(len(arms), 'arm')} (batch size, and what else)",
    )
    return Table(lead=lead, columns=columns, rows=arms, notes=_hint(arms))


def _hint(arms: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    most = max(row["runs"] for row in arms)
    return ("`--verbose` has a line for each run and its file.",) if most > 1 else ()


def _range(values: Sequence[float], show: Any) -> str:
    """One value, or the ends of several."""
    low, high = show(min(values)), show(max(values))
    return low if low == high else f"{low}–{high}"


def _states(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _in_words(measured: Sequence[str]) -> str:
    return ", ".join(word for name, word in _MEASUREMENTS.items() if name in measured)


def _runs_table(rows: Sequence[Mapping[str, Any]]) -> "Table":
    from ultraslow.analysis.report.table import Table, entry

    columns = (
        entry("run", "run", left=True),
        entry("batch", "batch_size", number),
        entry("seed", "seed"),
        entry("iterations", "last_iteration"),
        entry("decades", "constant_rate_decades", fixed),
        entry("state", "flag", left=True),
        *([entry("fitted at", "fitted")] if any(row["fitted"] for row in rows) else []),
        entry("records", "records", spare=True),
        entry("weights", "weights", in_short, spare=True),
        entry("beside distance", "measured", _in_words, left=True, spare=True),
        entry("file", "path", left=True),
    )
    return Table(columns=columns, rows=rows)


def card(row: Mapping[str, Any], run: "DatasetLike") -> "Table":
    """One recording in full: what it is, what it holds, and what was said of it.

    Arguments:
        row: of the recording, as JSON holds it.
        run: the recording.
    """
    from ultraslow.analysis.report.table import Table
    from ultraslow.diffusion.recording import LABELS

    times = [int(run.variables["iteration"].values[k]) for k in (0, -1)]
    span = f"{plural(row['records'], 'record')}, iterations {number(times[0])} to "
    lines = {
        "file": row["path"],
        "run": row["run"],
        "state": row["flag"],
        "records": f"{span}{number(times[1])}",
        "constant rate": f"{fixed(row['constant_rate_decades'])} decades of iterations",
        "training set": f"fitted at iteration {row['fitted']}" if row["fitted"] else "",
        "weights": f"{in_short(row['weights'] or 0)} in {plural(row['tensors'], 'tensor')}",
        "labels": ", ".join(
            [
                of_batch_size(row["batch_size"] or 0),
                *(
                    f"{name} {_plain(run.variables[name].values.item())}"
                    for name in LABELS
                    if name in run.variables
                ),
            ]
        ),
        "fields": ", ".join(row["measured"]),
        "sha256": row["sha256"],
        **{f"{name}": _short(value) for name, value in row["attributes"].items()},
    }
    columns = (_column("", lambda item: item[0], solid=True), _column("", lambda item: item[1]))
    return Table(columns=columns, rows=[item for item in lines.items() if item[1]])


def _plain(found: object) -> str:
    return number(found, 4) if isinstance(found, float) else printable(str(found))


def _short(value: Any) -> str:
    """An attribute of a recording; of a mapping what fits."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{key} {one}" for key, one in value.items())
    elif isinstance(value, list):
        value = ", ".join(map(str, value))
    return printable(str(value), _VALUE)


def doubtful(
    runs: "Mapping[str, Heading]",
) -> "tuple[tuple[str, ...], dict[str, Heading]]":
    """What makes one doubt that runs are draws of their own, or draws of one arm.

    Arguments:
        runs: recordings by node name.

    Returns:
        A sentence each on copies and repeated seeds, on copies under other labels, and on runs
        that differ from all other seeds of their arm; and the recordings that are no copies.
    """
    from ultraslow.analysis.runs import (
        counted_in_words,
        draws,
        odd_in_words,
        odd_runs,
        relabelled_in_words,
        traits,
    )
    from ultraslow.analysis.runs.distinct import copies, without

    known = {name: traits(run) for name, run in runs.items()}
    counted = counted_in_words(runs, known), relabelled_in_words(runs, known)
    odd = odd_in_words(odd_runs(draws(runs, known=known), known))
    return (*filter(None, counted), *odd), without(runs, copies(known))


def remarks(
    rows: Sequence[Mapping[str, Any]], runs: "Mapping[str, DatasetLike]"
) -> tuple[str, ...]:
    """What goes on in live folders, and what happened to runs, a sentence each.

    Arguments:
        rows: the recordings, as JSON holds them.
        runs: the same by node name.
    """
    from ultraslow.analysis.report import happened

    return (*(_state(row) for row in rows if row["written"]), *happened(runs))


def _state(row: Mapping[str, Any]) -> str:
    """What goes on in a live folder; age tells a run that records from one that hangs."""
    line, written = f"{row['path'] or row['run']}: {row['state']}", row["written"]
    line += ", not closed" if row["state"] in ("killed", "left", "uploaded") else ""
    line += f"; {row['unwritten']}" if row.get("unwritten") else ""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(written)).total_seconds()
    except (ValueError, TypeError):
        return line
    told = written.replace("T", " ").removesuffix("+00:00")
    return f"{line} (last written {told} UTC, {time_span(seconds)} ago)"


def _some(lines: Sequence[str], whole: bool) -> tuple[str, ...]:
    """The first of many sentences, with how many there are beside."""
    if whole or len(lines) <= _MOST:
        return tuple(lines)
    return (*lines[: _MOST - 1], f"{len(lines) - _MOST + 1} more, which `--verbose` has")
