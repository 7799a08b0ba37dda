"""Commands that fit recordings, compare laws and test predictions on them."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraslow.diffusion.cli import CommandError, Run
from ultraslow.diffusion.terminal import tell

from .shared import (
    add_json,
    add_level,
    add_paths,
    advance,
    check_output,
    load_all,
    rare_collections,
    save,
    say,
)

if TYPE_CHECKING:
    import xarray as xr

    from ultraslow.analysis.report.table import Table
    from ultraslow.analysis.study import Study


_RATE_UNKNOWN = (
    "nobody says the learning rate of some runs: they are fitted on iterations over all records, "
    "whatever it did; where it was constant, `ultraslow import --learning-rate 0.001` says so, "
    "and predictions that need that take the run"
)


def fit(parser: argparse.ArgumentParser) -> Run:
    """Fit growth laws to the distance of each run and print the exponents.

    Fits are over the longest phase of constant learning rate. Runs whose rate changes are fitted
    once more, over all their records, against the summed rate Ση. With --clock all are fitted
    over all records against that clock alone.

    Where seeds repeat, arms come first, each with the interval across its seeds and what it says
    on log t by itself; then a line a run. --verbose has decades, ρ, windows and reasons.

    Example: ultraslow fit runs/*.nc --tensors --output fits.nc
    """
    add_paths(parser)
    add_level(parser)
    parser.add_argument("--tensors", action="store_true", help="fit each tensor as well")
    parser.add_argument(
        "--clock",
        choices=("iteration", "learning_rate_sum", "update_sq", "samples"),
        help="what to fit the distance against, over all records of the runs",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the fits as NetCDF")
    text = "all that is known of each fit, and why it has its remark"
    parser.add_argument("--verbose", action="store_true", help=text)
    add_json(parser)
    return _fit


def _fit(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.growth import fit_on, fit_tensors
    from ultraslow.analysis.report import exponent_tables, fit_rows
    from ultraslow.analysis.report.absent import lost_distances
    from ultraslow.analysis.report.table import Table
    from ultraslow.analysis.runs import odd_in_words, runs_of
    from ultraslow.analysis.study import Study

    if arguments.output is not None:
        check_output(arguments.output, netcdf=True)
    if arguments.clock and arguments.tensors:
        raise CommandError("--clock: found beside --tensors, expected one of them")
    runs = runs_of(load_all(arguments))
    if arguments.clock:
        return _fit_on(runs, arguments)
    study = Study(runs, arguments.level, advance("fitting"))
    found = {"/": study.fits}
    if arguments.tensors:
        progress = advance("fitting tensors")
        found["/tensors"] = fit_tensors(runs, level=arguments.level, progress=progress)
    if study.rate_fits is not None:
        found["/learning_rate_sum"] = study.rate_fits
    unknown = {name: run for name, run in runs.items() if "learning_rate" not in run}
    if unknown:
        found["/iteration"] = fit_on(unknown, "iteration", level=arguments.level)
    if arguments.output is not None:
        save(found, arguments.output)
    rows = {group: fit_rows(fits) for group, fits in found.items()}
    arms = arm_rows(study)
    content = {
        "arms": arms,
        "fits": rows["/"],
        "tensors": rows.get("/tensors", []),
        "learning_rate_sum": rows.get("/learning_rate_sum", []),
        "iteration": rows.get("/iteration", []),
    }
    tables = exponent_tables(found)
    if len(unknown) == len(runs):  # the last note says why nothing stands there
        del tables["/"]
    shown = list(tables.values()) if arguments.verbose else list(map(_short, tables.values()))
    notes = (*lost_distances(runs), *([_RATE_UNKNOWN] if unknown else []))
    notes = (*notes, *odd_in_words(study.odd), *filter(None, [study.note]))
    hint = () if arguments.verbose else ("`--verbose` has the rest, and why remarks are made.",)
    say(arguments, content, arms_table(arms, study), *shown, Table(notes=(*notes, *hint)))
    others = [*content["learning_rate_sum"], *content["iteration"]]
    told = _not_elsewhere(content["fits"], others)
    return _tell_unfit(runs, told, judged=False) if told else 0


def arm_rows(study: "Study") -> list[dict[str, Any]]:
    """The exponent of each arm of three usable seeds or more, and what it says on log t.

    Arguments:
        study: the runs.

    Returns:
        One row an arm, its interval at the level that decides P1 where it is the only one.
    """
    from ultraslow.analysis.growth import at_latest_onset, falls
    from ultraslow.analysis.predictions.growth import judged_arms

    sets = study.sets
    return [
        {
            "arm": arm.short,
            "set": name if len(sets) > 1 else "",
            "seeds": len(arm.nodes),
            "exponent": said.exponent.value,
            "exponent_low": said.exponent.low,
            "exponent_high": said.exponent.high,
            "latest_onset": at_latest_onset(own),
            "falls": falls(own),
            "level": said.level,
            "verdict": said.word,
            "first": arm.first,
            "last": arm.last,
            "nodes": list(arm.nodes),
        }
        for name, part in sets.items()
        for arm, said in judged_arms(part)
        for own in [part.fits.sel(node=list(arm.nodes))]
    ]


def arms_table(rows: Sequence[Mapping[str, Any]], study: "Study") -> "Table":
    """Those arms as a table, and which others do not speak.

    Arguments:
        rows: of `arm_rows`.
        study: the runs.
    """
    from ultraslow.analysis.report.table import Column, Table, entry
    from ultraslow.analysis.runs import arms_in_words
    from ultraslow.analysis.text import first_of, interval, number, percent, plural, rounded

    if not rows:
        return Table()
    sets = any(row["set"] for row in rows)
    columns = (
        *((entry("of", "set", left=True),) if sets else ()),
        Column("arm", lambda row: row["arm"], left=True),
        entry("p", "exponent", rounded),
        Column(
            "interval",
            lambda row: interval(row["exponent_low"], row["exponent_high"], show=rounded),
            tied=True,
        ),
        entry("verdict", "verdict", left=True),
        entry("seeds", "seeds", spare=True),
        Column(
            "iterations",
            lambda row: f"{number(row['first'])}–{number(row['last'])}",
            spare=True,
        ),
        Column("at", lambda row: percent(row["level"], 1), spare=True),
    )
    speaking = {node for row in rows for node in row["nodes"]}
    arms = arms_in_words(study.runs)
    said = {arms[node] for node in speaking}
    silent = [arm for arm in dict.fromkeys(arms.values()) if arm not in said]
    lead = "on log t, each arm by itself; `ultraslow test` shares the error among all of them"
    late = [row["arm"] for row in rows if row["latest_onset"]]
    notes = [f"{plural(len(silent), 'other arm')} without three seeds that can be judged."]
    notes = notes if silent else []
    if late:
        notes.append(
            f"onset at the latest allowed, a tenth of the iterations: {first_of(late)}; with a "
            "later one p would lie lower than its interval"
        )
    if falling := [row["arm"] for row in rows if row["falls"]]:
        notes.append(f"the distance falls, which no law of growth describes: {first_of(falling)}")
    return Table(lead=(lead,), columns=columns, rows=rows, notes=tuple(notes))


def _short(table: "Table") -> "Table":
    """A table of exponents without columns that can be spared; of its notes what is not shown."""
    columns, kept = [], True
    for column in table.columns:
        kept = kept if column.tied else not column.spare
        columns += [column] if kept else []
    clocks = tuple(line for line in table.lead if line.startswith("t is "))
    law = tuple(line for line in table.lead if line.startswith("d = "))
    notes = tuple(note for note in table.notes if note.startswith("not shown"))
    return replace(table, columns=tuple(columns), lead=(*clocks, *law), notes=notes)


def _not_elsewhere(
    fits: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Fits at a constant rate of runs that are not fitted on a clock over all their records.

    Where a run was tried on one, the row says why that failed.
    """
    elsewhere = {row["node"]: row for row in others}
    rows = [elsewhere.get(row["node"], row) for row in fits]
    return [row for row in rows if row["exponent"] is None or row["node"] not in elsewhere]


def _fit_on(runs: "dict[str, xr.Dataset]", arguments: argparse.Namespace) -> int:
    """Fit against the clock that was asked for."""
    from ultraslow.analysis.growth import fit_on
    from ultraslow.analysis.report import exponent_table

    level, progress = arguments.level, advance("fitting")
    found = fit_on(runs, arguments.clock, level=level, progress=progress)
    if arguments.output is not None:
        save({"/": found}, arguments.output)
    table = exponent_table(found)
    shown = table if arguments.verbose else _short(table)
    say(arguments, {"clock": arguments.clock, "fits": table.json()}, shown)
    return _tell_unfit(runs, table.json(), judged=False)


def test(parser: argparse.ArgumentParser) -> Run:
    """Test the predictions of ultra-slow diffusion on recorded runs.

    Example: ultraslow test runs/
    """
    add_paths(parser)
    add_level(parser)
    parser.add_argument(
        "--ladder",
        action="store_true",
        help="compare the rungs of a ladder of recipes instead: runs with metadata `rung`",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="say why, and what would decide the open ones"
    )
    add_json(parser)
    return _test


@rare_collections()
def _test(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.predictions import verdicts_on
    from ultraslow.analysis.report import fit_rows, verdict_rows, verdict_tables
    from ultraslow.analysis.runs import runs_of
    from ultraslow.analysis.study import Study

    runs = runs_of(load_all(arguments))
    if arguments.ladder:
        return _compare_rungs(runs, arguments)
    study = Study(runs, arguments.level, advance("fitting"))
    verdicts = verdicts_on(study)
    say(
        arguments,
        {"verdicts": verdict_rows(verdicts)},
        *verdict_tables(verdicts, whole=arguments.verbose),
    )
    return _tell_unfit(runs, fit_rows(study.fits))


def _compare_rungs(runs: "dict[str, xr.Dataset]", arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.report import ladder_rows, ladder_table
    from ultraslow.analysis.scores import ladders

    found = ladders(runs, level=arguments.level)
    if not found:
        raise CommandError(
            "--ladder: found no run with the metadata `rung` and a held-out accuracy or loss"
        )
    say(arguments, {"ladders": ladder_rows(found)}, *map(ladder_table, found))
    return 0


def compare(parser: argparse.ArgumentParser) -> Run:
    """Compare laws of growth by what they forecast: which survive, and how far each is off.

    Each law is fitted to the beginning of the runs and says how far the weights will be half a
    decade and a decade of iterations later. Laws are told apart by arms of three seeds or more
    with two decades of iterations at a constant learning rate.

    Example: ultraslow compare runs/
    """
    add_paths(parser)
    add_level(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the laws as NetCDF")
    add_json(parser)
    return _compare


def _compare(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.comparison import as_dataset
    from ultraslow.analysis.predictions import arms_compared
    from ultraslow.analysis.report import law_rows, law_tables
    from ultraslow.analysis.runs import runs_of
    from ultraslow.analysis.study import Study

    if arguments.output is not None:
        check_output(arguments.output, netcdf=True)
    study = Study(runs_of(load_all(arguments)), arguments.level)
    found = arms_compared(study, progress=advance("comparing laws"))
    if arguments.output is not None:
        table = as_dataset(found, level=study.level).assign_attrs(note=study.note)
        save({"/": table}, arguments.output)
    content = {"arms": law_rows(found), "level": study.level, "note": study.note}
    say(arguments, content, *law_tables(found, study.note, level=study.level))
    untold = [arm for arm in found if not arm.laws]
    for arm in untold:
        tell(f"not compared: {arm.arm}: {arm.reason}")
    return 2 if len(untold) == len(found) else 0


def report(parser: argparse.ArgumentParser) -> Run:
    """Write a diagnostic page about recorded runs, and its numbers as JSON beside it.

    Example: ultraslow report runs/ --output report.html
    """
    add_paths(parser)
    add_level(parser)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="page to write (default: report.html); the JSON file takes its name",
    )
    return _report


@rare_collections()
def _report(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.report import answer_tables, printed
    from ultraslow.analysis.report.report import report as write_report
    from ultraslow.analysis.runs import runs_of

    check_output(arguments.output)
    if arguments.output.suffix in (".json", ".nc"):
        raise CommandError(
            f"--output: found {arguments.output}, expected a page's name: its numbers get the "
            "same name ending in .json"
        )
    runs = load_all(arguments)
    progress = advance("fitting")
    page = write_report(
        runs,
        arguments.output,
        level=arguments.level,
        progress=progress,
        answered=lambda verdicts: print(printed(answer_tables(verdicts)), flush=True),
    )
    print(f"\nreport: {page.path}\nnumbers: {page.numbers}")
    numbers = json.loads(page.numbers.read_text())
    told = _not_elsewhere(numbers["fits"], numbers["rate_fits"])
    return _tell_unfit(runs_of(runs), told) if told else 0


def _tell_unfit(
    runs: "Mapping[str, xr.Dataset]", fits: Sequence[Mapping[str, Any]], *, judged: bool = True
) -> int:
    """Name recordings without a fit, but for rungs no verdict counts; status 2 with no other."""
    from ultraslow.analysis.runs.arms import upper_rungs
    from ultraslow.analysis.text import first_of, plural

    rungs = {node for above in upper_rungs(runs).values() for node in above if judged}
    fits = [row for row in fits if row["node"] not in rungs]
    unfit: dict[str, list[str]] = {}
    for row in (row for row in fits if row["exponent"] is None):
        source = str(runs[row["node"]].attrs.get("path", row["node"]))
        unfit.setdefault(row["reason"], []).append(source)
    for reason, sources in unfit.items():
        count = f"{plural(len(sources), 'recording')}, " if len(sources) > 1 else ""
        tell(f"not fitted: {count}{first_of(sources)}: {reason}")
    return 2 if sum(map(len, unfit.values())) == len(fits) else 0
