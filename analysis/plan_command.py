"""`ultraslow plan`: how long, how many seeds, recorded when, at which batch sizes."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from diffusion.commands import CommandError, Run

if TYPE_CHECKING:
    from .pilot import Pilot


def plan(parser: argparse.ArgumentParser) -> Run:
    """Plan runs that tell a power of t from a logarithm, from pilot runs or from numbers.

    With PATH, the noise, the onset and the noise scale are those of the recordings; without, they
    are the numbers given. Numbers beside a PATH are refused. The power is how often the verdict on
    P1 will say `contradicted`, simulated through the fit and the rule that `ultraslow test` uses.

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


_NUMBERS = ("noise", "correlation", "onset", "seed_spread", "batch_size", "noise_scale")


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("numbers in place of pilot recordings, never beside them")
    group.add_argument(
        "--noise", type=float, metavar="S", help="noise over the growth of the first 1000 updates"
    )
    group.add_argument(
        "--correlation", type=float, help="length of the noise in ln t (default: 0.5)"
    )
    group.add_argument("--onset", type=float, help="of growth, iterations (default: 0)")
    group.add_argument(
        "--seed-spread", type=float, help="standard deviation of p between seeds (default: 0)"
    )
    group.add_argument("--batch-size", type=int, help="samples in an update")
    group.add_argument("--noise-scale", type=float, help="B, samples")


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
        of = _recorded(arguments) if arguments.paths else _stated(arguments)
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


def _refuse_numbers(arguments: argparse.Namespace) -> None:
    """A pilot has these numbers itself; which of the two is meant cannot be known."""
    given = [f"--{name.replace('_', '-')}" for name in _given(arguments)]
    if given:
        raise CommandError(
            f"{', '.join(given)}: found beside PATH, expected either recordings or numbers"
        )


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The numbers that were given, by name."""
    found = {name: getattr(arguments, name) for name in _NUMBERS}
    return {name: value for name, value in found.items() if value is not None}


def _recorded(arguments: argparse.Namespace) -> "Pilot":
    from .curves import some_recordings
    from .fits import fit_totals
    from .pilot import pilot
    from .reader import load

    _refuse_numbers(arguments)
    runs = some_recordings(load(arguments.paths))
    return pilot(runs, fit_totals(runs))


def _stated(arguments: argparse.Namespace) -> "Pilot":
    from .pilot import stated

    if arguments.noise is None:
        raise CommandError("PATH, --noise: found neither, expected pilot recordings or a number")
    numbers = _given(arguments)
    return stated(numbers.pop("noise"), **numbers)
