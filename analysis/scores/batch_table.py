"""Tables of iterations to a target, or of best learning rates, at several batch sizes.

One row a batch size and run (`batch, steps`), or one column a batch size (`model, 64, 128, …`), as
publications have them. Names of columns are guessed, unless they are given, and told.
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ultraslow.analysis.intervals import SEEDS
from ultraslow.analysis.text import (
    either_way,
    first_of,
    has_decimal_commas,
    is_grouped,
    is_pointed,
    plural,
    printable,
    without_thousands,
)

from .best_rates import BestRates, best_rates
from .completing import Steps
from .critical_batch import CriticalBatch, from_steps

SUFFIXES = (".csv", ".tsv", ".txt", ".dat")
# Names that columns have, in small letters with `_` for blanks and dashes.
_NAMES = {
    "batch_size": ("batch", "batch_size", "batchsize", "bs", "b", "m", "global_batch_size"),
    "steps": (
        "steps",
        "step",
        "iterations",
        "iteration",
        "updates",
        "num_steps",
        "steps_to_target",
        "iterations_to_target",
    ),
    "rate": (
        "rate",
        "learning_rate",
        "lr",
        "eta",
        "best_rate",
        "best_lr",
        "best_learning_rate",
        "optimal_rate",
        "optimal_lr",
    ),
    "by": ("model", "group", "workload", "task", "dataset", "data", "optimizer", "name"),
    "seed": ("seed", "trial", "replicate", "repeat", "run"),
    "target": ("target", "target_loss", "loss"),
}
_FLAGS = {"batch_size": "--batch-size", "steps": "--steps", "rate": "--rate", "by": "--by"}
# What stands where a target was not reached, or no rate found.
_NONE = ("", "-", "–", "—", "na", "n/a", "nan", "none", "null", "never", "not reached")
_WIDE = re.compile(r"(?:batch_size|batch|bs|b|m)?[ =_:]*(\d+(?:\.\d+)?)", re.IGNORECASE)
_SHOWN = 40  # characters of a cell in a message
_MOST = 50_000_000  # bytes: what is larger is no table of this kind


class TableError(ValueError):
    """A table that cannot be read: the file, the row, what was found and what was expected."""


@dataclass(frozen=True)
class BatchTable:
    """A table as it was read.

    Attributes:
        path: of the file.
        columns: the column that each of batch size, steps, rate, group, seed and target was read
            from; `steps` is empty where batch sizes are the heads of columns.
        ignored: columns that were not read.
        steps: iterations to the target by group, batch size, learning rate (0 where there is
            none) and seed (the row where there is none); NaN where it was not reached.
        rates: best learning rates by group and batch size, where there are no steps.
        targets: the loss that a group reaches; NaN where none or several are told.
        notes: how numbers were read that could be read otherwise, in sentences.
    """

    path: str
    columns: Mapping[str, str]
    ignored: tuple[str, ...] = ()
    steps: Mapping[str, Mapping[float, Steps]] = field(default_factory=dict)
    rates: Mapping[str, Mapping[float, list[float]]] = field(default_factory=dict)
    targets: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def in_words(self) -> str:
        """Which columns were read as what."""
        named = {name: column for name, column in self.columns.items() if column}
        read = [f"{_WORDS[name]} from {column}" for name, column in named.items()]
        if self.columns.get("batch_size") == "":
            read = ["batch sizes from the heads of columns, steps from the cells", *read]
        left = f"; not read: {first_of(self.ignored, 6)}" if self.ignored else ""
        return f"{'; '.join([*read, *self.notes])}{left}"


_WORDS = {
    "batch_size": "batch size",
    "steps": "steps",
    "rate": "learning rate",
    "by": "one answer each",
    "seed": "seed",
    "target": "loss that is reached",
}


def critical_batches(
    table: BatchTable, *, level: float = 0.95, seed: int = 0
) -> dict[str, CriticalBatch]:
    """The critical batch size of each group of a table, by the group's name.

    Arguments:
        table: as `read_batch_table` gives it.
        level: confidence level.
        seed: of the bootstrap.
    """
    found = {}
    for name, steps in table.steps.items():
        aim = table.targets.get(name, math.nan)
        own = from_steps(steps, target=aim, level=level)
        if "seed" in table.columns:
            across = from_steps(steps, SEEDS, target=aim, level=level, seed=seed)
            own = own if across.status == "missing" else across
        found[name] = own
    return found


def tabled_rates(table: BatchTable, *, level: float = 0.95) -> dict[str, BestRates]:
    """The noise scale that the best rates of each group of a table tell, by the group's name."""
    return {name: best_rates(rates, level=level) for name, rates in table.rates.items()}


def read_batch_table(path: str | Path, **chosen: str | None) -> BatchTable:
    """A table of iterations to a target, or of best learning rates.

    Arguments:
        path: a file of cells separated by commas, semicolons, tabs, bars or blanks, with a row of
            heads. Lines that begin with # are passed over.
        chosen: the column of `batch_size`, `steps`, `rate` or `by` (one answer for each of its
            values), where its name is not to be guessed.

    Returns:
        The table.

    Raises:
        TableError: when it cannot be read, with the file, the row, what was found and what was
            expected.
        OSError: when there is no such file.
    """
    given = {name: column for name, column in chosen.items() if column is not None}
    mark, rows = _rows(Path(path))
    heads = _heads(path, rows[0])
    wide = _wide(heads) if not {"batch_size", "steps", "rate"} & set(given) else {}
    columns = _columns(path, [head for head in heads if head not in wide], given, bool(wide))
    cells = [
        _Row(str(path), line, dict(zip(heads, row, strict=True)))
        for line, row in _even(path, rows)
    ]
    if not cells:
        raise TableError(f"{path}: found a row of heads only, expected rows of numbers")
    notes: tuple[str, ...] = ()
    if mark != ",":
        named = {name: columns.get(name, "") for name in ("batch_size", "steps", "rate", "target")}
        counts = [*wide, named["batch_size"], named["steps"]]
        others = [named["rate"], named["target"]]
        cells, notes = _plain_numbers(cells, *([*filter(None, x)] for x in (counts, others)))
    ignored = tuple(head for head in heads if head not in wide and head not in columns.values())
    if "seed" not in columns:
        _check_repeats(cells, columns, [] if wide else ignored)
    if wide:
        columns, measured = {"batch_size": "", **columns}, _from_wide(cells, columns, wide)
    else:
        measured = _from_long(cells, columns)
    return replace(_collected(path, columns, ignored, measured), notes=notes)


@dataclass(frozen=True)
class _Row:
    """A row of a file: its line, and its cells by head."""

    path: str
    line: int
    cells: Mapping[str, str]

    def number(self, head: str, what: str) -> float:
        """A positive number; NaN for none."""
        text = self.cells[head].strip()
        if text.casefold() in _NONE or text[:1] == ">":
            return math.nan
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if math.isinf(value) and value > 0:
            return math.nan
        if not value > 0 and (either := either_way(text)):
            told = f"{either}, whichever it is: numbers without commas between thousands"
            raise self.fault(head, told)
        if not value > 0:
            raise self.fault(head, what)
        return value

    def fault(self, head: str, what: str) -> TableError:
        shown = printable(self.cells[head].strip(), _SHOWN)
        return TableError(
            f"{self.path}: row {self.line}, column {head}: found {shown!r}, expected {what}"
        )


def _check_repeats(
    rows: Sequence[_Row], columns: Mapping[str, str], ignored: Sequence[str]
) -> None:
    """Refuse to take rows together that a column tells apart which nobody asked about."""
    keys = [columns[name] for name in ("batch_size", "by", "rate") if name in columns]
    places = [tuple(row.cells[key].strip() for key in keys) for row in rows]
    for column in ignored if len(set(places)) < len(rows) else ():
        values = [row.cells[column].strip() for row in rows]
        alone = len(set(zip(places, values, strict=True))) == len(rows)
        if alone and 1 < len(set(values)) < len(rows):
            row = next(row for k, row in enumerate(rows) if places[k] in places[:k])
            raise TableError(
                f"{row.path}: row {row.line}: found another row like it but for the column "
                f"{column}, expected --by {column}, for an answer each, or its head to be `seed`, "
                "for runs of one answer"
            )


@dataclass(frozen=True)
class _Measured:
    """One run, or one best rate."""

    group: str
    size: float
    rate: float
    seed: object
    steps: float
    target: float


def _rows(path: Path) -> tuple[str, list[tuple[int, list[str]]]]:
    """What parts the cells, and rows that are not empty, each with its line, the heads first."""
    if path.stat().st_size > _MOST:
        raise TableError(f"{path}: found {path.stat().st_size} bytes, expected a small table")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: found bytes that are no text, expected a table") from error
    if "\0" in text:
        raise TableError(f"{path}: found bytes that are no text, expected a table")
    lines = [
        (k, line)
        for k, line in enumerate(io.StringIO(text, newline=None), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise TableError(f"{path}: found no row, expected a table with a row of heads")
    mark = max(",;\t|", key=lines[0][1].count)
    if not lines[0][1].count(mark):
        return " ", [(k, line.split()) for k, line in lines]
    return mark, [
        (k, next(csv.reader([line], delimiter=mark, skipinitialspace=True))) for k, line in lines
    ]


def _heads(path: str | Path, first: tuple[int, list[str]]) -> list[str]:
    heads = [head.strip() for head in first[1]]
    twice = sorted({head for head in heads if heads.count(head) > 1})
    if twice:
        raise TableError(
            f"{path}: row {first[0]}: found the head {printable(twice[0], _SHOWN)!r} twice, "
            "expected different ones"
        )
    return heads


def _even(
    path: str | Path, rows: Sequence[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    """The rows below the heads, as long as these."""
    for line, row in rows[1:]:
        if len(row) != len(rows[0][1]):
            raise TableError(
                f"{path}: row {line}: found {plural(len(row), 'cell')}, expected "
                f"{len(rows[0][1])} as in the row of heads"
            )
        yield line, row


def _plain_numbers(
    cells: Sequence[_Row], counts: Sequence[str], others: Sequence[str]
) -> tuple[list[_Row], tuple[str, ...]]:
    """Rows with points before decimals, where a table has commas there, and what was read so.

    Arguments:
        cells: rows of a table whose cells no commas part.
        counts: columns of steps and batch sizes.
        others: further columns of numbers.

    Raises:
        TableError: for points that are between no thousands then, and for counts that may be
            thousands or thousandths.
    """
    columns = {head: [row.cells[head] for row in cells] for head in (*counts, *others)}
    commas = any(map(has_decimal_commas, columns.values()))
    plain, changed = without_thousands(columns)
    for head, texts in plain.items():
        pointed = [k for k, text in enumerate(texts) if is_pointed(text)]
        grouped = bool(pointed) and all(is_grouped(texts[k]) for k in pointed)
        if pointed and commas:
            wrong = next((k for k in pointed if not is_grouped(texts[k])), pointed[0])
            raise cells[wrong].fault(head, "points between thousands alone, as commas are decimal")
        if grouped and head in counts:
            text = texts[pointed[0]].strip()
            either = f"{text.replace('.', '')} or {text.replace('.', ',')}, whichever it is"
            raise cells[pointed[0]].fault(head, f"{either}: points may be between thousands")
        if has_decimal_commas(texts):
            plain[head] = [text.replace(",", ".") for text in texts]
    rows = [
        replace(row, cells={**row.cells, **{head: plain[head][k] for head in plain}})
        for k, row in enumerate(cells)
    ]
    notes = [f"{text} in {head} is {text.replace('.', '')}" for head, text in changed.items()]
    return rows, (f"commas are read as before decimals: {', '.join(notes)}",) if notes else ()


def _wide(heads: Sequence[str]) -> dict[str, float]:
    """The heads that are batch sizes, where two or more are."""
    found = {head: _WIDE.fullmatch(head) for head in heads}
    sizes = {head: float(match[1]) for head, match in found.items() if match}
    return {h: s for h, s in sizes.items() if s > 0} if len(sizes) > 1 else {}


def _columns(
    path: str | Path, heads: Sequence[str], given: Mapping[str, str], wide: bool
) -> dict[str, str]:
    """The column of each quantity that the table has."""
    columns = {}
    for name, names in _NAMES.items():
        if name in given:
            if given[name] not in heads:
                raise TableError(
                    f"{path}: found the columns {first_of(heads, 9)}, expected "
                    f"{printable(given[name], _SHOWN)!r} ({_FLAGS[name]})"
                )
            columns[name] = given[name]
            continue
        fitting = [head for head in heads if re.sub(r"[\s-]+", "_", head.casefold()) in names]
        fitting = [head for head in fitting if head not in given.values()]
        if len(fitting) > 1 and name in _FLAGS:
            raise TableError(
                f"{path}: found {' and '.join(fitting)} for the {_WORDS[name]}, expected one "
                f"({_FLAGS[name]} COLUMN chooses)"
            )
        if fitting:
            columns[name] = fitting[0]
    if wide:
        return {name: columns[name] for name in ("by", "seed", "target") if name in columns}
    lacking = [n for n in ("batch_size", "steps") if n not in columns and "rate" not in columns]
    lacking = lacking or [n for n in ("batch_size",) if n not in columns]
    if lacking:
        told = " and ".join(f"{_WORDS[name]} ({_FLAGS[name]} COLUMN)" for name in lacking)
        raise TableError(f"{path}: found the columns {first_of(heads, 9)}, expected {told}")
    return columns


def _from_wide(
    rows: Sequence[_Row], columns: Mapping[str, str], wide: Mapping[str, float]
) -> Iterator[_Measured]:
    """One run a cell; an empty one is none."""
    for row in rows:
        for head, size in wide.items():
            if row.cells[head].strip():
                steps = row.number(head, "a positive number of steps, or nothing for no run")
                yield _Measured(*_place(row, columns, size), steps, _target(row, columns))


def _from_long(rows: Sequence[_Row], columns: Mapping[str, str]) -> Iterator[_Measured]:
    """One run a row."""
    for row in rows:
        size = row.number(columns["batch_size"], "a positive batch size")
        if math.isnan(size):
            raise row.fault(columns["batch_size"], "a positive batch size")
        steps = math.nan
        if "steps" in columns:
            steps = row.number(
                columns["steps"], "a positive number of steps, or nothing where it was not reached"
            )
        yield _Measured(*_place(row, columns, size), steps, _target(row, columns))


def _place(row: _Row, columns: Mapping[str, str], size: float) -> tuple[str, float, float, object]:
    """Group, batch size, learning rate and seed of a run."""
    group = row.cells[columns["by"]].strip() if "by" in columns else ""
    rate = row.number(columns["rate"], "a positive learning rate") if "rate" in columns else 0.0
    seed = row.cells[columns["seed"]].strip() if "seed" in columns else f"row {row.line}"
    return group, int(size) if size == int(size) else size, rate, seed


def _target(row: _Row, columns: Mapping[str, str]) -> float:
    """The loss that a run reaches, be it what it may; NaN where it is no number."""
    try:
        return float(row.cells[columns["target"]])
    except (KeyError, ValueError):
        return math.nan


def _collected(
    path: str | Path,
    columns: Mapping[str, str],
    ignored: tuple[str, ...],
    measured: Iterator[_Measured],
) -> BatchTable:
    """What was measured, by group."""
    steps: dict[str, dict[float, Steps]] = {}
    rates: dict[str, dict[float, list[float]]] = {}
    targets: dict[str, set[float]] = {}
    for one in measured:
        targets.setdefault(one.group, set()).add(one.target)
        if "steps" in columns or columns["batch_size"] == "":
            own = steps.setdefault(one.group, {}).setdefault(one.size, {})
            seeds = own.setdefault(0.0 if math.isnan(one.rate) else one.rate, {})
            if one.seed in seeds:
                raise TableError(
                    f"{path}: found seed {one.seed} at batch size {one.size} twice, expected once"
                )
            seeds[one.seed] = one.steps
        else:
            kept = rates.setdefault(one.group, {})
            if not math.isnan(one.rate):
                kept.setdefault(one.size, []).append(one.rate)
    lone = {name: losses.pop() for name, losses in targets.items() if len(losses) == 1}
    return BatchTable(str(path), columns, ignored, steps, rates, lone)
