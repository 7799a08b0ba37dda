"""Logs in JSON: one object a line, the trainer's state of Hugging Face, TensorBoard's downloads.

Objects of one log need not have the same keys: what an object lacks was not logged there.
"""

import json
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from ultraslow.diffusion.recording import RecordError, cut_off

from .delimited import SAMPLED, sampled
from .sheet import Cell, Sheet, shown

# Lines that are about the whole run: settings before it, and what came of it.
_SETTINGS = ("_meta", "_config", "config", "_settings", "args", "hparams")
_SUMMARIES = ("_summary", "summary", "_final")
_HISTORY = "log_history"  # of Hugging Face's trainer_state.json
_TRIPLE = 3  # wall time, step and value, as TensorBoard's page saves them
_LEVELS = 4  # objects in objects that become columns a/b/c
_NAMED = 3  # columns that a note lists
_CELLS = 50_000_000  # of rows of which each has keys of its own


def log_sheet(text: str, source: str, name: str, sha256: str) -> Sheet:
    """The rows of a JSON file.

    Arguments:
        text: its content.
        source: its path.
        name: of the run in it.
        sha256: of its bytes.

    Raises:
        RecordError: when it is no JSON, or none that holds rows.
    """
    stripped = text.strip()
    first, *others = stripped.split("\n", 2)
    several = bool(others) and stripped.startswith("{")
    if several and _is_json(first):
        return _lines(text, source, name, sha256)
    try:
        whole = json.loads(text)
    except RecursionError as error:
        raise RecordError(source, ["JSON is nested too deeply"]) from error
    except ValueError as error:
        if told := cut_off(error):
            raise RecordError(source, [f"{told}, expected the rest of its JSON"]) from error
        if several and _is_json(others[0]):  # a line each, the first of which is none
            return _lines(text, source, name, sha256)
        place = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        found = f"found {shown(text.split(chr(10))[place - 1])}, which is no JSON ({error})"
        raise RecordError(source, [f"line {place}: {found}"]) from error
    return _document(whole, source, name, sha256)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(text: str, source: str, line: int) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        found = f"found {shown(text)}, which is no JSON ({error})"
        raise RecordError(source, [f"line {line}: {found}"]) from error
    except RecursionError as error:
        raise RecordError(source, [f"line {line}: JSON is nested too deeply"]) from error


def _lines(text: str, source: str, name: str, sha256: str) -> Sheet:
    rows: list[dict[str, Cell]] = []
    places: list[int] = []
    settings: dict[str, Any] = {}
    notes: list[str] = []
    found = [(k + 1, line) for k, line in enumerate(text.split("\n")) if line.strip()]
    for place, line in found:
        try:
            entry = _parsed(line, source, place)
        except RecordError:
            if place != found[-1][0] or text.endswith("\n") or len(found) < 2:
                raise
            notes.append(f"line {place} is cut off in its middle, and left out")
            continue
        if not isinstance(entry, dict):
            raise RecordError(
                source, [f"line {place}: found {shown(line)}, expected an object as {{…}}"]
            )
        about, summary = _about_run(entry)
        settings |= about
        if about or summary:
            continue
        rows.append(_flat(entry))
        places.append(place)
    return _sheet(
        rows,
        places,
        source,
        name,
        sha256,
        kind="JSON, an object a line",
        place="line",
        settings=settings,
        notes=notes,
    )


def _about_run(entry: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Settings in an object that is no row, and whether it is a summary."""
    if len(entry) == 1:
        key, value = next(iter(entry.items()))
        if key in _SETTINGS and isinstance(value, dict):
            return value, False
        if key in _SUMMARIES and isinstance(value, dict):
            return {}, True
    return {}, False


def _document(whole: Any, source: str, name: str, sha256: str) -> Sheet:
    if isinstance(whole, dict) and isinstance(whole.get(_HISTORY), list):
        settings = {key: value for key, value in whole.items() if _is_cell(value)}
        return _entries(
            whole[_HISTORY],
            source,
            name,
            sha256,
            settings=settings,
            kind="the trainer's state of Hugging Face",
        )
    if isinstance(whole, list) and whole and all(_is_triple(one) for one in whole):
        return _entries(
            [{"Wall time": one[0], "Step": one[1], "Value": one[2]} for one in whole],
            source,
            name,
            sha256,
            settings={},
            kind="a curve that TensorBoard's page saved",
            notes=[sampled(len(whole))] if len(whole) in SAMPLED else [],
        )
    if isinstance(whole, list):
        return _entries(whole, source, name, sha256, settings={}, kind="JSON, a list of objects")
    if isinstance(whole, dict):
        columns = {key: value for key, value in whole.items() if isinstance(value, list)}
        if columns:
            rows = _side_by_side(columns, source)
            settings = {key: value for key, value in whole.items() if _is_cell(value)}
            return _entries(
                rows, source, name, sha256, settings=settings, kind="JSON, a list a column"
            )
        about, _ = _about_run(whole)
        if not about:
            return _entries([whole], source, name, sha256, settings={}, kind="JSON, one object")
    raise RecordError(
        source,
        [
            "found JSON that holds no rows, expected an object a line, a list of objects, or "
            "`log_history` as in trainer_state.json"
        ],
    )


def _side_by_side(columns: Mapping[str, list[Any]], source: str) -> list[dict[str, Any]]:
    """The rows of lists of one length."""
    if len({len(value) for value in columns.values()}) > 1:
        lengths = ", ".join(f"{shown(key)} has {len(value)}" for key, value in columns.items())
        raise RecordError(source, [f"a list a column: {lengths}, expected equal lengths"])
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _entries(
    entries: Sequence[Any],
    source: str,
    name: str,
    sha256: str,
    *,
    settings: Mapping[str, Any],
    kind: str,
    notes: Sequence[str] = (),
) -> Sheet:
    rows = []
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise RecordError(
                source, [f"entry {place + 1}: found {shown(entry)}, expected an object"]
            )
        rows.append(_flat(entry))
    return _sheet(
        rows,
        range(1, len(rows) + 1),
        source,
        name,
        sha256,
        kind=kind,
        place="entry",
        settings=settings,
        notes=notes,
    )


def _sheet(
    rows: Sequence[Mapping[str, Cell]],
    lines: Sequence[int],
    source: str,
    name: str,
    sha256: str,
    *,
    kind: str,
    place: str,
    settings: Mapping[str, Any],
    notes: Sequence[str],
) -> Sheet:
    names, without = _of_cells(rows)
    if not names:
        raise RecordError(source, ["holds no rows"])
    if without:
        listed = ", ".join(map(shown, without[:_NAMED])) + (", …" if without[_NAMED:] else "")
        be = "is" if len(without) == 1 else "are"
        notes = [*notes, f"lists and objects are no numbers, so {listed} {be} left out"]
    if len(names) * len(rows) > _CELLS:
        raise RecordError(
            source,
            [f"found {len(rows)} rows of {len(names)} columns, expected {_CELLS} cells at most"],
        )
    columns: dict[str, Sequence[Cell]] = {
        column: [row.get(column) for row in rows] for column in names
    }
    return Sheet(source, name, sha256, kind, columns, list(lines), place, settings, tuple(notes))


class _Nested(str):
    """What messages show of a list or an object in the place of a cell."""


def _flat(entry: Mapping[str, Any], above: str = "", levels: int = _LEVELS) -> dict[str, Cell]:
    """An object whose objects became columns a/b as well; lists and objects are no cells."""
    found: dict[str, Cell] = {}
    for key, value in entry.items():
        name = f"{above}{key}"
        if _is_cell(value):
            found[name] = value
            continue
        found[name] = _Nested(reprlib.repr(value))
        if isinstance(value, dict) and levels:
            found |= _flat(value, f"{name}/", levels - 1)
    return found


def _of_cells(rows: Sequence[Mapping[str, Cell]]) -> tuple[list[str], list[str]]:
    """Names that have a cell anywhere, and those that have lists alone, or objects not opened.

    Where a column has cells, what is none stays among them as a text, and is no number.
    """
    kept: dict[str, bool] = {}
    for row in rows:
        for name, cell in row.items():
            kept[name] = kept.get(name, False) or not isinstance(cell, _Nested)
    names = [name for name, has_cells in kept.items() if has_cells]
    opened = {name[:end] for name in kept for end, sign in enumerate(name) if sign == "/"}
    return names, [name for name in kept if not kept[name] and name not in opened]


def _is_cell(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _is_triple(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == _TRIPLE
        and all(isinstance(one, int | float) or one is None for one in value)
    )
