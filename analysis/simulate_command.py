"""`ultraslow simulate`: runs of known truth, as recordings."""

import argparse
import sys
import warnings
from pathlib import Path

from diffusion.commands import CommandError, Run


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

    from diffusion.seal import seal

    _check(parsed)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        packed = _packed(parsed)
    for message in dict.fromkeys(str(warning.message) for warning in told):
        print(f"ultraslow simulate: warning: {message}", file=sys.stderr)
    targets = {name: parsed.folder / f"{name}.nc" for name in packed}
    existing = [str(target) for target in targets.values() if target.exists()]
    if existing:
        raise CommandError(f"--folder: {existing[0]} exists already; choose another folder")
    parsed.folder.mkdir(parents=True, exist_ok=True)
    for name, target in targets.items():
        xr.Dataset.from_dict(packed[name]).to_netcdf(target, engine="netcdf4")
        with target.open("r+b") as file:
            file.write(seal(file.read()))
        print(target)
    return 0


def _check(parsed: argparse.Namespace) -> None:
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
    from diffusion.arms import Arm
    from diffusion.simulate import recordings, simulator

    try:
        return recordings(
            simulator(parsed.kind, dict(text.split("=", 1) for text in parsed.set)),
            batch_sizes=parsed.batch_sizes,
            seeds=range(parsed.seeds),
            iterations=parsed.iterations,
            base=Arm(
                base_learning_rate=parsed.rate,
                base_batch_size=min(parsed.batch_sizes),
                scaling=parsed.scaling,
                data_size=parsed.data_size,
            ),
        )
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
