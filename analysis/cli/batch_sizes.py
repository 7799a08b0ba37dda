"""Commands on batch sizes: the noise scale of each, and the one where more stops paying."""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ultraslow.diffusion.cli import CommandError, Run
from ultraslow.diffusion.terminal import tell

from .shared import add_json, add_level, add_paths, check_seed, load_all, say

if TYPE_CHECKING:
    from ultraslow.analysis.scores import BestRates, CriticalBatch


def noise(parser: argparse.ArgumentParser) -> Run:
    """Tell the gradient noise scale of each batch size, with its interval.

    With three seeds or more it is averaged over the iterations that they have in common, and the
    interval is that across them; with fewer it comes from the windows of the runs.

    Example: ultraslow noise runs/
    """
    add_paths(parser)
    add_level(parser)
    add_json(parser)
    return _noise


def _noise(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.noise import arm_scales
    from ultraslow.analysis.report import comparison_rows, noise_table
    from ultraslow.analysis.runs import runs_of

    found = arm_scales(runs_of(load_all(arguments)), level=arguments.level)
    if not found:
        raise CommandError(
            "found no recording with gradient noise, expected one made with the probe `noise`, in "
            "which updates have several units"
        )
    say(arguments, {"noise": comparison_rows(found)}, noise_table(found))
    return 0 if any(one.place != "unknown" for one in found) else 2


def batch(parser: argparse.ArgumentParser) -> Run:
    """Find the batch size beyond which larger ones stop saving iterations.

    It is measured on runs at three batch sizes or more that all train to the same loss: with four
    seeds each the interval is across seeds, with fewer from how runs differ, with one run a size
    from how far the sizes lie off the curve. Several learning rates a batch size let each be taken
    at its best. Runs that cannot answer are told with what is missing, and status 2.

    PATH may also be one table (.csv, .tsv, .txt, .dat) of a batch size and the steps to the target
    in each row, or with a column for each batch size; or of the best learning rate of each batch
    size. Which columns are read is guessed and told.

    Example: ultraslow batch runs/ --target 0.5
    """
    add_paths(parser)
    parser.add_argument(
        "--target",
        type=float,
        metavar="L",
        help="training loss to reach (default: the lowest that all rates that train reach)",
    )
    add_level(parser, "the interval")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    add_json(parser)
    group = parser.add_argument_group("columns of a table, where they are not guessed")
    for name, text in _COLUMNS.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar="COLUMN", help=text)
    return _batch


_COLUMNS = {
    "batch_size": "of batch sizes",
    "steps": "of steps to the target; empty where it was not reached",
    "rate": "of learning rates: of the runs, or the best ones",
    "by": "that tells groups apart, each with an answer of its own",
}


def _batch(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.scores.batch_table import SUFFIXES

    _check_batch(arguments)
    tables = [path for path in map(Path, arguments.paths) if path.suffix.lower() in SUFFIXES]
    if not any(path.is_file() for path in tables):
        return _batch_of_runs(arguments)
    if len(arguments.paths) > 1:
        raise CommandError(f"{tables[0]}: found a table beside other paths, expected it alone")
    return _batch_of_table(tables[0], arguments)


def _batch_of_runs(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.noise import arm_scales
    from ultraslow.analysis.report import (
        comparison_rows,
        critical_numbers,
        critical_table,
        rates_table,
        sizes_apart,
    )
    from ultraslow.analysis.report.table import Table
    from ultraslow.analysis.runs import some_runs
    from ultraslow.analysis.scores.critical_batch import critical_batch

    given = [f"--{name.replace('_', '-')}" for name in _COLUMNS if getattr(arguments, name)]
    if given:
        raise CommandError(f"{', '.join(given)}: found beside recordings, expected a table")
    tree = load_all(arguments)
    try:
        runs = some_runs(tree)
    except ValueError as error:
        raise CommandError(str(error)) from error
    chosen = {"level": arguments.level, "seed": arguments.seed}
    found = critical_batch(runs, target=arguments.target, **chosen)
    if found.status == "missing":
        raise CommandError(str(found))
    scales = arm_scales(runs, level=arguments.level)
    rates = [rates_table(found.rates)] if found.rates and found.rates.rates else []
    beside = sizes_apart(found, scales) or Table()
    content = {**critical_numbers(found), "noise_by_batch_size": comparison_rows(scales)}
    say(arguments, content, critical_table(found), *rates, beside)
    return 0 if found.answers else 2


def _batch_of_table(path: Path, arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.report import (
        critical_by_group,
        critical_numbers,
        critical_table,
        rates_table,
    )
    from ultraslow.analysis.report.table import Table, plain
    from ultraslow.analysis.scores.batch_table import (
        TableError,
        critical_batches,
        read_batch_table,
        tabled_rates,
    )

    if arguments.where:
        raise CommandError("--where: found beside a table, expected recordings")
    if arguments.target is not None:
        raise CommandError("--target: found beside a table, whose steps are to a target already")
    try:
        table = read_batch_table(path, **{name: getattr(arguments, name) for name in _COLUMNS})
    except TableError as error:
        raise CommandError(str(error)) from error
    found = critical_batches(table, level=arguments.level, seed=arguments.seed)
    rates = tabled_rates(table, level=arguments.level)
    rates |= {name: one.rates for name, one in found.items() if one.rates and one.rates.rates}
    _tell_missing(path, found)
    _tell_missing(path, rates)
    told = {name: one for name, one in found.items() if one.status != "missing"}
    answers = [*map(critical_table, told.values())]
    if len(found) > 1 and told:
        answers = [critical_by_group(told)]
    content = {
        "file": str(path),
        "columns": dict(table.columns),
        "critical_batch": [
            {"group": name, **critical_numbers(one)} for name, one in found.items()
        ],
        "best_rates": [{"group": name, **plain(one.record())} for name, one in rates.items()],
    }
    tables = [rates_table(one, name) for name, one in rates.items() if one.status != "missing"]
    say(arguments, content, Table(lead=(table.in_words(),)), *answers, *tables)
    answered = [one.answers for one in found.values()] + [one.answers for one in rates.values()]
    return 0 if any(answered) else 2


def _tell_missing(
    path: Path, found: "Mapping[str, CriticalBatch] | Mapping[str, BestRates]"
) -> None:
    for name, one in found.items():
        if one.status == "missing":
            said = f"no answer: {path}{f', {name}' if name else ''}: {one}"
            tell(said)


def _check_batch(arguments: argparse.Namespace) -> None:
    if arguments.target is not None and not math.isfinite(arguments.target):
        raise CommandError(f"--target: found {arguments.target}, expected a finite loss")
    check_seed(arguments)
