"""A CSV file that follows a run: a line a record, for spreadsheets, pandas and `tail -f`.

Lines are appended. Where a run goes on from before its last records, or a quantity is measured for
the first time, the file is written anew beside itself and takes its own place.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from ultraslow.diffusion.recording import whole_file

_ITERATION = "iteration"


class CsvFile:
    """A CSV file of all records that come, with 17 digits where they are needed."""

    def __init__(self, path: Path, first: int, names: Sequence[str]) -> None:
        """Begin a file, or go on in one.

        Arguments:
            path: of the file; its folder is made.
            first: the first iteration that will come; lines from it on are overtaken.
            names: of the columns beside the iteration; others may come later.

        Raises:
            ValueError: when there is a file that this class has not written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        known, rows = _read(path)
        self._names = list(dict.fromkeys([_ITERATION, *known, *names]))
        self._write([row for row in rows if int(row[_ITERATION]) < first])

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Write one record; what it lacks stays empty."""
        row = {_ITERATION: str(iteration), **{name: repr(x) for name, x in values.items()}}
        if not set(row) <= set(self._names):
            self._names = list(dict.fromkeys([*self._names, *row]))
            self._write([*_read(self._path)[1], row])
            return
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(_lines(self._names, [row]))

    def close(self) -> None:
        """Nothing is open between records."""

    def _write(self, rows: Sequence[Mapping[str, str]]) -> None:
        """The whole file, in place of what there is."""
        head = dict(zip(self._names, self._names, strict=True))
        with whole_file(self._path) as file:
            file.write(_lines(self._names, [head, *rows]).encode())


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a file, without a last line that was cut off; none without a file."""
    if not path.exists():
        return [], []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    rows = csv.DictReader(io.StringIO(whole))
    names = list(rows.fieldnames or [])
    if _ITERATION not in names:
        raise ValueError(f"{path}: found another file, expected one with a column 'iteration'")
    return names, list(rows)


def _lines(names: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, names, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue()
