"""Verdicts as the terminal shows them: an answer first, a line each, and all the reasons.

Every set of equal runs is judged by itself. What its first prediction found is the answer to the
question that recordings are made for, and is told in words; the others take a line each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    NOT_APPLICABLE,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
)
from ultraslow.analysis.text import plural, real, sizes_in_words
from ultraslow.diffusion.predictions import PREDICTIONS

from .numbers import verdict_rows
from .table import Column, Table, entry

QUESTION = "P1"
_WORDS = (CONTRADICTED, SUPPORTED, UNDECIDABLE, NOT_APPLICABLE)


def verdict_tables(found: xr.Dataset, *, whole: bool = False) -> list[Table]:
    """Each prediction of each set: a line, or all that is said of it.

    Arguments:
        found: verdicts, as `predictions.verdicts_on` gives them.
        whole: statement, reason and what would decide it stand below each; those that lack a
            measurement come last, in a sentence each, and are only counted in all sets but the
            first, as a small set beside a study lacks most.
    """
    tables = []
    for place, name in enumerate(found["set"].values.tolist()):
        rows = _rows(found, name)
        tables += _titled(found, name)
        if whole:
            tables += _in_whole(rows, brief=place > 0)
        else:
            tables += _in_lines(rows, _finding(found, name), brief=place > 0)
    note = str(found.attrs.get("note", ""))
    hint = () if whole else ("`--verbose` says why, and what would decide the open ones.",)
    return [*tables, Table(notes=(note,) if note else ()), Table(notes=hint)]


def answer_tables(found: xr.Dataset) -> list[Table]:
    """What each set answers to the question, and how many predictions came out how."""
    tables = []
    for name in found["set"].values.tolist():
        rows = _rows(found, name)
        tables += [
            *_titled(found, name),
            Table(notes=(_answer(rows, _finding(found, name)), _counted(rows))),
        ]
    return tables


def set_title(found: xr.Dataset, name: str) -> str:
    """A set of runs with the number of its recordings."""
    return f"{name}: {plural(int(found['recordings'].sel(set=name)), 'recording')}"


def folded(row: Mapping[str, Any]) -> bool:
    """Whether a verdict is about what is missing and can stand behind the others.

    The first prediction is the question that recordings are made for, and is always told.
    """
    open_ones = (UNDECIDABLE, NOT_APPLICABLE)
    return row["verdict"] in open_ones and row["effect"] is None and row["prediction"] != QUESTION


def effect(row: Mapping[str, Any]) -> str:
    """What a verdict rests on, with its interval; empty without one."""
    if row["effect"] is None:
        return ""
    value, low, high = (real(row[name]) for name in ("effect", "effect_low", "effect_high"))
    return str(Interval(value, low, high))


def _rows(found: xr.Dataset, name: str) -> list[dict[str, Any]]:
    """The verdicts on a set, each with the arms that it is about, where they are not all."""
    rows = verdict_rows(found.sel(set=[name]))
    told = [""] * len(rows)
    if "about" in found.coords:
        told = found["about"].sel(set=name).values.tolist()
    return [row | {"about": about} for row, about in zip(rows, told, strict=True)]


def _titled(found: xr.Dataset, name: str) -> list[Table]:
    if found.sizes["set"] == 1:
        return []
    return [Table(notes=(f"── {set_title(found, name)} ──",))]


def _finding(found: xr.Dataset, name: str) -> str:
    """What a set answers to the question, in one sentence; empty where its reason says it."""
    if "brief" not in found.coords:
        return ""
    return str(found["brief"].sel(set=name, prediction=QUESTION).values)


def _answer(rows: Sequence[Mapping[str, Any]], finding: str) -> str:
    first = next(row for row in rows if row["prediction"] == QUESTION)
    at = f" {first['about']}" if first["about"] else ""
    why = without_place(finding or first["reason"], first["about"])
    said = f"{PREDICTIONS[QUESTION].title}: {first['verdict']}{at}. {why}"
    return f"{said} Would decide it: {first['needed']}." if first["needed"] else said


def without_place(finding: str, place: str) -> str:
    """A finding after the place that it is about has been named.

    >>> without_place("At batch size 64 it added much.", "at batch size 64")
    'It added much.'
    """
    begins = f"{place[:1].upper()}{place[1:]} "
    if not place or not finding.startswith(begins):
        return finding
    rest = finding.removeprefix(begins)
    return rest[:1].upper() + rest[1:]


def _counted(rows: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for word in _WORDS:
        keys = [row["prediction"] for row in rows if row["verdict"] == word]
        if keys:
            listed = f" ({', '.join(keys)})" if word != UNDECIDABLE else ""
            parts.append(f"{len(keys)} {word}{listed}")
    return f"{', '.join(parts)}."


def _in_lines(rows: Sequence[Mapping[str, Any]], finding: str, *, brief: bool) -> list[Table]:
    columns = (
        entry("", "prediction", left=True),
        entry("verdict", "verdict", left=True),
        Column("effect", effect, left=True, solid=True),
        Column("", _title, left=True),
    )
    shown = [row for row in rows if not (brief and folded(row))]
    hidden = len(rows) - len(shown)
    lack = "lacks" if hidden == 1 else "lack"
    said = f"{plural(hidden, 'other prediction')} {lack} arms or measurements here."
    notes = (said,) if hidden else ()
    lines = Table(columns=columns, rows=shown if len(shown) > 1 else (), notes=notes)
    return [Table(notes=(_answer(rows, finding),)), lines]


def _title(row: Mapping[str, Any]) -> str:
    title = PREDICTIONS[row["prediction"]].title
    return f"{title} ({row['about']})" if row["about"] else title


def _in_whole(rows: Sequence[Mapping[str, Any]], *, brief: bool) -> list[Table]:
    told = Table(
        columns=(
            Column("", lambda row: f"{row['prediction']:4}{row['verdict'].upper()}", left=True),
            Column("", effect, left=True, solid=True),
            Column("", _sample, left=True),
        ),
        rows=[row for row in rows if not folded(row)],
        below=_reasons,
    )
    behind = [row for row in rows if folded(row)]
    if not brief:
        return [told, Table(notes=tuple(_lacking(row) for row in behind))]
    names = ", ".join(row["prediction"] for row in behind)
    said = f"Not tested here: {names}. `--json` says what each lacks."
    return [told, Table(notes=(said,) if behind else ())]


def _sample(row: Mapping[str, Any]) -> str:
    return f"{plural(row['runs'], 'run')}, {sizes_in_words(row['batch_sizes'])}"


def _reasons(row: Mapping[str, Any]) -> list[str]:
    needed = [f"Would decide it: {row['needed']}."] if row["needed"] else []
    return [row["statement"], row["reason"], *needed]


def _lacking(row: Mapping[str, Any]) -> str:
    title = PREDICTIONS[row["prediction"]].title
    needed = f" Would decide it: {row['needed']}." if row["needed"] else ""
    return f"{row['prediction']:4}{row['verdict']} ({title}): {row['reason']}{needed}"
