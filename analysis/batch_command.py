"""`ultraslow batch`: the critical batch size, from runs at several batch sizes."""

import argparse
import json
import math
import sys

from diffusion.commands import CommandError, Run


def batch(parser: argparse.ArgumentParser) -> Run:
    """Find the batch size beyond which larger ones stop saving iterations.

    It is measured on runs at three batch sizes or more, four seeds each, that all train to the
    same loss; several learning rates a batch size let each be taken at its best. Runs that cannot
    answer are told with what is missing, and status 2.

    Example: ultraslow batch runs/ --target 0.5
    """
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="recordings, folders that hold some, folders of live runs, or globs",
    )
    parser.add_argument(
        "--target",
        type=float,
        metavar="L",
        help="training loss to reach (default: the lowest that all rates that train reach)",
    )
    parser.add_argument(
        "--level", type=float, default=0.95, help="of the interval (default: 0.95)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    return _batch


def _batch(arguments: argparse.Namespace) -> int:
    from . import batch_table
    from .batch import critical_batch
    from .curves import some_recordings
    from .reader import load, unusable

    _check(arguments)
    tree = load(arguments.paths)
    for item in unusable(tree):
        print(f"not used: {item.source}: {'; '.join(item.faults)}", file=sys.stderr)
    try:
        runs = some_recordings(tree)
    except ValueError as error:
        raise CommandError(str(error)) from error
    chosen = {"level": arguments.level, "seed": arguments.seed}
    found = critical_batch(runs, target=arguments.target, **chosen)
    if found.status == "missing":
        raise CommandError("; ".join([str(found), *found.notes]))
    if arguments.json:
        content = batch_table.content(found)
        print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(batch_table.terminal(found))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.target is not None and not math.isfinite(arguments.target):
        raise CommandError(f"--target: found {arguments.target}, expected a finite loss")
    if not 0.8 <= arguments.level <= 0.99:
        raise CommandError(f"--level: found {arguments.level}, expected a number from 0.8 to 0.99")
    if arguments.seed < 0:
        raise CommandError(f"--seed: found {arguments.seed}, expected 0 or more")
