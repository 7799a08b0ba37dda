"""The commands that exchange curves with other programs: `import` and `export`."""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ultraslow.analysis.text import first_of, number, plural
from ultraslow.diffusion.cli import CommandError, Run
from ultraslow.diffusion.terminal import tell

from .shared import add_paths, check_on_disk, check_output, load_all

if TYPE_CHECKING:
    from ultraslow.analysis.importers import Imported, ImportRequest

_COLUMNS = {
    "iteration": "of the updates",
    "distance": "of the distance from the initial weights",
    "norm": "of the norm of the weights; with --cosine it gives the distance",
    "cosine": "of the cosine to the initial weights",
    "loss": "of the training loss",
    "lagged": "of the iteration that a distance is from, where 0 is the start",
    "by": "that tells the runs of one file apart",
}
_WORDS = {
    "--learning-rate": (
        "RATE",
        "a number, a schedule, a column, or a file with columns of iterations and rates",
    ),
    "--batch-size": ("N", "samples in an update, or a column"),
    "--where": ("CONDITION", "use these rows only, as 'it1 == 0'"),
}


def import_command(parser: argparse.ArgumentParser) -> Run:
    """Make recordings of curves that other programs logged: CSV, JSON, TensorBoard, W&B.

    Columns are told by their names; what becomes of which is printed before anything is written,
    and kept in the recording, where `ultraslow info` shows it. A learning rate that is not in the
    file is a number, or a schedule: cyclic:LOW,HIGH,UP,DOWN; cosine:HIGH,LAST[,LOW];
    linear:HIGH,LAST[,LOW]; steps:RATE,AFTER:RATE,…; any of them behind warmup:LENGTH+.

    Example: ultraslow import metrics.csv --output runs/ --batch-size 512
    """
    text = "CSV or JSON files, event files of TensorBoard, or folders of logs"
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=text)
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to write recordings")
    for role, what in _COLUMNS.items():
        parser.add_argument(f"--{role}", default="", metavar="COLUMN", help=f"column {what}")
    for option, (placeholder, what) in _WORDS.items():
        parser.add_argument(option, default="", metavar=placeholder, help=what)
    parser.add_argument("--weights", type=int, default=0, metavar="N", help="how many there are")
    parser.add_argument(
        "--initial-norm",
        type=float,
        default=math.nan,
        metavar="W",
        help="norm of the initial weights, where the log does not begin with it",
    )
    parser.add_argument(
        "--label",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="labels of the runs, as seed=1 optimizer=adamw",
    )
    parser.add_argument(
        "--restarted",
        action="store_true",
        help="where the steps of a log begin anew, the last start counts",
    )
    text = "add to the iterations: 1 where 0 stands for the first update"
    parser.add_argument("--shift", type=int, default=0, metavar="N", help=text)
    parser.add_argument("--overwrite", action="store_true", help="replace recordings")
    parser.add_argument("--dry-run", action="store_true", help="print what would be made")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    return _import


def _import(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.importers import imported, targets, write_all

    if arguments.output is None and not arguments.dry_run:
        raise CommandError("--output: found none, expected a folder (or --dry-run)")
    if arguments.output is not None:
        check_on_disk(arguments.output)
    request = _request(arguments)
    try:
        found = imported(arguments.files, request)
    except ValueError as error:
        raise CommandError(str(error)) from error
    folder = arguments.output or Path()
    files = list(targets(found, folder))
    if arguments.json:
        _print_json(found, files)
    else:
        tell("\n".join(_told(found)), lines=True, stream=sys.stdout)
    if arguments.dry_run:
        return 0
    write_all(found, folder, overwrite=arguments.overwrite)
    if not arguments.json:
        for path, one in zip(files, found, strict=True):
            tell(f"{path}: {_in_short(one)}", stream=sys.stdout)
    return 0


def _request(arguments: argparse.Namespace) -> "ImportRequest":
    from ultraslow.analysis.importers import ImportRequest

    columns = {role: getattr(arguments, role) for role in _COLUMNS}
    try:
        return ImportRequest(
            {role: name for role, name in columns.items() if name},
            arguments.learning_rate,
            arguments.batch_size,
            arguments.weights,
            arguments.initial_norm,
            arguments.where,
            dict(map(_label, arguments.label)),
            arguments.restarted,
            arguments.shift,
        )
    except ValueError as error:
        raise CommandError(str(error)) from error


def _label(text: str) -> tuple[str, str | int | float]:
    from ultraslow.diffusion.recording import SCALARS, parsed_label

    name, equals, value = text.partition("=")
    if not equals or name not in SCALARS or name == "batch_size":
        known = [one for one in SCALARS if one != "batch_size"]
        raise CommandError(f"--label: found {text!r}, expected NAME=VALUE of {', '.join(known)}")
    return name, parsed_label(name, value)


def _told(found: "Sequence[Imported]") -> Iterator[str]:
    """What is made of the files; what is the same for several of them once."""
    alike: dict[tuple[str, ...], dict[str, str]] = {}
    for one in found:
        source = f"{one.sheet.source}: {one.origin['format']}, {plural(one.origin['rows'], 'row')}"
        alike.setdefault(tuple(_taken(one)), {})[one.sheet.source] = source
    for lines, sources in alike.items():
        yield from sources.values()
        yield from lines
    for one in found:
        for reason, count in one.origin["left_out"].items():
            yield f"{one.name}: {plural(count, 'row')} left out {reason}"


def _taken(one: "Imported") -> Iterator[str]:
    """Which column is what, which ones are not used, and what is taken for granted."""
    columns = one.origin["columns"].items()
    for role, name in columns:
        if role != name:
            yield f"  {role.replace('_', ' '):<20} {name}"
    same = [name for role, name in columns if role == name]
    if same:
        yield f"  {'by their own names':<20} {', '.join(same)}"
    told = {name for names in one.columns.passed.values() for name in names}
    rest = [name for name in one.sheet.columns if name not in one.columns.used() | told]
    if rest:
        yield f"  {'not used':<20} {first_of(rest, 8)}"
    for text in one.origin["not_used"]:
        yield f"  {'not used':<20} {text}"
    for text in one.origin["assumptions"]:
        yield f"  assumed: {text}"


def _in_short(one: "Imported") -> str:
    iteration = one.records["iteration"].values
    span = f"iterations {number(iteration[0])} to {number(iteration[-1])}"
    return f"{plural(iteration.size, 'record')}, {span}"


def _print_json(found: "Sequence[Imported]", files: Sequence[Path]) -> None:
    rows: list[Mapping[str, object]] = [
        {"file": str(path), "run": one.name, **one.origin}
        for path, one in zip(files, found, strict=True)
    ]
    print(json.dumps({"runs": rows}, indent=2, ensure_ascii=False, default=str))


def export(parser: argparse.ArgumentParser) -> Run:
    """Write recordings as one CSV file: a row a record, tensors summed.

    Columns have the names of fields, and what runs are grouped by is repeated in each row, so that
    `ultraslow import` makes the same curves of it. Without --output it is printed.

    Example: ultraslow export runs/ --output runs.csv
    """
    add_paths(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="file to write")
    return _export


def _export(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.exporters import write_csv

    if arguments.output is not None:
        check_output(arguments.output)
        if arguments.output.suffix == ".nc":
            raise CommandError(
                f"--output: found {arguments.output}, expected a name of another kind, such as"
                " runs.csv"
            )
    text = write_csv(load_all(arguments), arguments.output)
    if arguments.output is None:
        print(text, end="")
    return 0
