"""`ultraslow plan`: how long, how many seeds, recorded when, at which batch sizes."""

import argparse
import json
from typing import TYPE_CHECKING

from diffusion.commands import CommandError, Run

if TYPE_CHECKING:
    from .pilot import Pilot


def plan(parser: argparse.ArgumentParser) -> Run:
    """Plan runs that tell a power of t from a logarithm, from pilot runs or from numbers.

    With PATH, the noise, the onset and the noise scale are those of the recordings; without, they
    are the numbers given. The power is how often the verdict on P1 will say `contradicted`:
    simulated through the fit and the rule that `ultraslow test` uses.

    Example: ultraslow plan runs/pilot.nc --exponent 0.1
    """
    parser.add_argument("paths", nargs="*", metavar="PATH", help="pilot recordings; none: numbers")
    parser.add_argument(
        "--exponent", type=float, default=0.1, metavar="P", help="of the power law (default: 0.1)"
    )
    parser.add_argument("--power", type=float, default=0.8, help="to be reached (default: 0.8)")
    parser.add_argument("--level", type=float, default=0.95, help="of the test (default: 0.95)")
    parser.add_argument(
        "--draws", type=int, default=400, help="simulated series a law and length (default: 400)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the simulations (default: 0)")
    _add_numbers(parser)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    return _plan


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("numbers in place of pilot recordings")
    group.add_argument(
        "--noise", type=float, metavar="S", help="noise over the growth of the first 1000 updates"
    )
    group.add_argument(
        "--correlation", type=float, default=0.5, help="length of the noise in ln t (default: 0.5)"
    )
    group.add_argument("--onset", type=float, default=0.0, help="of growth, iterations")
    group.add_argument(
        "--seed-spread", type=float, default=0.0, help="standard deviation of p between seeds"
    )
    group.add_argument("--batch-size", type=int, default=0, help="samples in an update")
    group.add_argument("--noise-scale", type=float, default=float("nan"), help="B, samples")


def _plan(arguments: argparse.Namespace) -> int:
    import numpy as np
    from tqdm import tqdm

    from . import plan_table
    from .plan import Question
    from .plan import plan as plan_runs

    if arguments.seed < 0:
        raise CommandError(f"--seed: found {arguments.seed}, expected 0 or more")
    asked = Question(arguments.exponent, arguments.power, arguments.level, arguments.draws)
    try:
        of = _recorded(arguments.paths) if arguments.paths else _stated(arguments)
        rng = np.random.default_rng(arguments.seed)
        with tqdm(desc="simulating", unit="length", delay=1, leave=False, disable=None) as bar:
            found = plan_runs(asked, of, rng=rng, advance=bar.update)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if arguments.json:
        print(json.dumps(plan_table.content(found), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(plan_table.terminal(found))
    return 0


def _recorded(paths: list[str]) -> "Pilot":
    from .curves import some_recordings
    from .fits import fit_totals
    from .pilot import pilot
    from .reader import load

    runs = some_recordings(load(paths))
    return pilot(runs, fit_totals(runs))


def _stated(arguments: argparse.Namespace) -> "Pilot":
    from .pilot import stated

    if arguments.noise is None:
        raise CommandError("PATH, --noise: found neither, expected pilot recordings or a number")
    return stated(
        arguments.noise,
        correlation=arguments.correlation,
        onset=arguments.onset,
        seed_spread=arguments.seed_spread,
        batch_size=arguments.batch_size,
        noise_scale=arguments.noise_scale,
    )
