"""Commands on batch sizes: the noise scale of each, and the one where more stops paying."""

import argparse
import math

from ultraslow.diffusion.cli import CommandError, Run

from .shared import add_json, add_level, add_paths, check_seed, load_all, say


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

    found = arm_scales(runs_of(load_all(arguments.paths)), level=arguments.level)
    if not found:
        raise CommandError(
            "found no recording with gradient noise, expected one made with the probe `noise`, in "
            "which updates have several units"
        )
    say(arguments, {"noise": comparison_rows(found)}, noise_table(found))
    return 0 if any(one.place != "unknown" for one in found) else 2


def batch(parser: argparse.ArgumentParser) -> Run:
    """Find the batch size beyond which larger ones stop saving iterations.

    It is measured on runs at three batch sizes or more, four seeds each, that all train to the
    same loss; several learning rates a batch size let each be taken at its best. Runs that cannot
    answer are told with what is missing, and status 2.

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
    return _batch


def _batch(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.report import critical_numbers, critical_table
    from ultraslow.analysis.runs import some_runs
    from ultraslow.analysis.scores.critical_batch import critical_batch

    _check_batch(arguments)
    tree = load_all(arguments.paths)
    try:
        runs = some_runs(tree)
    except ValueError as error:
        raise CommandError(str(error)) from error
    chosen = {"level": arguments.level, "seed": arguments.seed}
    found = critical_batch(runs, target=arguments.target, **chosen)
    if found.status == "missing":
        raise CommandError(str(found))
    say(arguments, critical_numbers(found), critical_table(found))
    return 0


def _check_batch(arguments: argparse.Namespace) -> None:
    if arguments.target is not None and not math.isfinite(arguments.target):
        raise CommandError(f"--target: found {arguments.target}, expected a finite loss")
    check_seed(arguments)
