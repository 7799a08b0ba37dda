"""Commands that plan runs and simulate them."""

import argparse
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraslow.diffusion.cli import CommandError, Run
from ultraslow.diffusion.terminal import tell

from .shared import (
    BAR,
    add_json,
    add_level,
    add_where,
    check_on_disk,
    check_seed,
    load_all,
    say,
)

if TYPE_CHECKING:
    from ultraslow.analysis.planning import Pilot


def plan(parser: argparse.ArgumentParser) -> Run:
    """Plan runs that tell a power of t from a logarithm, from pilot runs or from numbers.

    With PATH, the noise, the onset and the noise scale are those of the recordings, and the plan
    is what decides P1 where they leave it open; without, they are the numbers given. Numbers
    beside a PATH are refused. The power is how often the verdict on P1 will say `contradicted`,
    simulated through the fit and the rule that `ultraslow test` uses.

    Example: ultraslow plan runs/pilot.nc --exponent 0.1
    """
    parser.add_argument("paths", nargs="*", metavar="PATH", help="pilot recordings; none: numbers")
    add_where(parser)
    says = "of the power law (default: the pilot's, or 0.1)"
    parser.add_argument("--exponent", type=float, default=math.nan, metavar="P", help=says)
    parser.add_argument(
        "--power", type=float, default=0.8, help="to be reached, from 0.5 to 1 (default: 0.8)"
    )
    add_level(parser, "the test")
    parser.add_argument(
        "--draws",
        type=int,
        default=400,
        help="simulated series a law and length, from 100 to 10000 (default: 400)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the simulations (default: 0)")
    _add_numbers(parser)
    add_json(parser)
    return _plan


# In place of pilot recordings: type, placeholder and meaning of each.
_NUMBERS: dict[str, tuple[type, str | None, str]] = {
    "noise": (float, "S", "noise over the growth of the first 1000 updates"),
    "correlation": (float, None, "length of the noise in ln t (default: 0.5)"),
    "onset": (float, None, "of growth, iterations (default: 0)"),
    "seed_spread": (float, None, "standard deviation of p between seeds (default: 0)"),
    "batch_size": (int, None, "samples in an update"),
    "noise_scale": (float, None, "B, samples"),
}


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("numbers in place of pilot recordings, never beside them")
    for name, (kind, placeholder, text) in _NUMBERS.items():
        group.add_argument(_flag(name), type=kind, metavar=placeholder, help=text)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _plan(arguments: argparse.Namespace) -> int:
    import numpy as np
    from tqdm import tqdm

    from ultraslow.analysis.planning import Question
    from ultraslow.analysis.planning.plan import plan_runs
    from ultraslow.analysis.report import plan_numbers, plan_tables

    check_seed(arguments)
    asked = Question(arguments.exponent, arguments.power, arguments.level, arguments.draws)
    try:
        of, arms = _recorded(arguments) if arguments.paths else (_stated(arguments), 1)
        rng = np.random.default_rng(arguments.seed)
        with tqdm(desc="simulating", unit="length", **BAR) as bar:
            found = plan_runs(asked, of, rng=rng, arms=arms, advance=bar.update)
    except ValueError as error:
        raise CommandError(_by_option(str(error), arguments)) from error
    say(arguments, plan_numbers(found), *plan_tables(found))
    return 0


def _by_option(message: str, arguments: argparse.Namespace) -> str:
    """A message on an argument of a function, on the option that it came from.

    >>> _by_option("noise_share: found -1", argparse.Namespace(noise=-1))
    '--noise: found -1'
    """
    name, colon, rest = message.partition(":")
    option = {"noise_share": "noise"}.get(name, name)
    return f"{_flag(option)}{colon}{rest}" if option in vars(arguments) else message


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The numbers that were given, by name."""
    found = {name: getattr(arguments, name) for name in _NUMBERS}
    return {name: value for name, value in found.items() if value is not None}


def _recorded(arguments: argparse.Namespace) -> tuple["Pilot", int]:
    """The arm of the largest set of equal runs that P1's verdict is about."""
    from ultraslow.analysis.predictions.growth import pilot_of
    from ultraslow.analysis.runs import some_runs
    from ultraslow.analysis.study import Study

    given = list(map(_flag, _given(arguments)))
    if given:  # a pilot has these numbers itself; which of the two is meant cannot be known
        raise CommandError(
            f"{', '.join(given)}: found beside PATH, expected either recordings or numbers"
        )
    study = Study(some_runs(load_all(arguments, report_unusable=False)), arguments.level)
    return pilot_of(next(iter(study.sets.values())))


def _stated(arguments: argparse.Namespace) -> "Pilot":
    from ultraslow.analysis.planning import stated

    if arguments.noise is None:
        raise CommandError("PATH, --noise: found neither, expected pilot recordings or a number")
    numbers = _given(arguments)
    return stated(numbers.pop("noise"), **numbers)


def simulate(parser: argparse.ArgumentParser) -> Run:
    """Record simulated runs whose truth is known, to try fits and tests on.

    KIND is a walker in a random field (field, line), a noisy quadratic (quadratic), weights before
    a normalization (scale-invariant), separable logistic regression (separable), drift and
    diffusion (drift) or a growth law with noise (law). The truth is in the attribute `truth`.

    Example: ultraslow simulate law --folder simulated --seeds 4 --iterations 10000
    """
    parser.add_argument("kind", metavar="KIND", help="what to simulate")
    parser.add_argument("--folder", type=Path, default=Path("simulated"), help="where to record")
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[64, 256, 1024], help="one arm each"
    )
    parser.add_argument("--seeds", type=int, default=2, help="runs an arm")
    parser.add_argument("--iterations", type=int, default=1000, help="updates a run")
    parser.add_argument("--rate", type=float, default=0.1, help="learning rate of the first arm")
    parser.add_argument("--scaling", default="sqrt", help="rule from batch size to learning rate")
    parser.add_argument(
        "--data-size",
        type=int,
        default=0,
        help="samples to draw batches from without replacement; 0 draws with it",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings of the simulator; a wrong name lists them",
    )
    return _simulate


def _simulate(parsed: argparse.Namespace) -> int:
    import xarray as xr

    from ultraslow.diffusion.recording import write_file

    _check_simulation(parsed)
    check_on_disk(parsed.folder, "--folder")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        packed = _packed(parsed)
    for message in dict.fromkeys(str(warning.message) for warning in told):
        tell(f"ultraslow simulate: warning: {message}")
    targets = {name: parsed.folder / f"{name}.nc" for name in packed}
    existing = [str(target) for target in targets.values() if target.exists()]
    if existing:
        raise CommandError(f"--folder: {existing[0]} exists already; choose another folder")
    parsed.folder.mkdir(parents=True, exist_ok=True)
    for name, target in targets.items():
        write_file(xr.Dataset.from_dict(packed[name]), target)
        print(target)
    return 0


def _check_simulation(parsed: argparse.Namespace) -> None:
    odd = [text for text in parsed.set if "=" not in text]
    if odd:
        raise CommandError(f"--set: found {odd[0]!r}, expected NAME=VALUE")
    sizes = parsed.batch_sizes
    if min(sizes) < 1 or parsed.seeds < 1:
        found = f"found {sizes}, {parsed.seeds}"
        raise CommandError(f"--batch-sizes, --seeds: {found}, expected 1 or more")
    if len(set(sizes)) < len(sizes):
        raise CommandError(f"--batch-sizes: found {sizes}, expected different ones")


def _packed(parsed: argparse.Namespace) -> dict[str, dict]:
    """Recordings by name, in the form that `xarray.Dataset.from_dict` takes."""
    from ultraslow.diffusion.walks import Setup, simulated_recordings, simulator

    try:
        return simulated_recordings(
            simulator(parsed.kind, dict(text.split("=", 1) for text in parsed.set)),
            batch_sizes=parsed.batch_sizes,
            seeds=range(parsed.seeds),
            iterations=parsed.iterations,
            base=Setup(
                base_learning_rate=parsed.rate,
                base_batch_size=min(parsed.batch_sizes),
                scaling=parsed.scaling,
                data_size=parsed.data_size,
            ),
        )
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
