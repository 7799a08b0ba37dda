"""Sub-commands that train: `ultraslow train` and `ultraslow demo`.

Heavy libraries are imported only inside what the commands return.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion.commands import CommandError, Run, main

if TYPE_CHECKING:
    from .runs.config import Config
    from .runs.sweep import Outcome


def train(parser: argparse.ArgumentParser) -> Run:
    """Train one residual network on several processes and record it.

    Example: the full batch by gradient accumulation, 9 microbatches on each of 2 processes

        ultraslow train --batch-size 1440 --microbatch 80 --iterations 200

    Settings may also come from a TOML file, `--config run.toml`, whose keys are the names of the
    options with underscores; options given beside it overrule it.
    """
    from .runs.config import Config

    parser.add_argument("--config", metavar="FILE", help="TOML file of settings")
    for setting in fields(Config):
        _add_option(parser, setting)
    return _train


def demo(parser: argparse.ArgumentParser) -> Run:
    """Train a small distributed study with probes attached, test the predictions, write a report.

    Example: ultraslow demo takes under 3 minutes on two cores; then open demo/report.html

        ultraslow demo --folder demo
    """
    parser.add_argument("--folder", default="demo", help="where to write (default: demo)")
    parser.add_argument(
        "--quick", action="store_true", help="train for seconds only, to try it out"
    )
    return _demo


def _add_option(parser: argparse.ArgumentParser, setting: "Field[Any]") -> None:
    flag = "--" + setting.name.replace("_", "-")
    choices = setting.metadata["choices"]
    text = setting.metadata["meaning"]
    shown = "" if setting.default == "" else f" (default: {setting.default})"
    if isinstance(setting.default, bool):
        parser.add_argument(
            flag,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=text + shown,
        )
        return
    parser.add_argument(
        flag,
        type=type(setting.default),
        choices=choices or None,
        default=argparse.SUPPRESS,
        metavar=None if choices else type(setting.default).__name__.upper(),
        help=text + shown,
    )


def _train(parsed: argparse.Namespace) -> int:
    [config], count = _checked([_configured(parsed)])
    _refuse_existing(config)
    outcomes = _trained([config], count)
    if outcomes is None:
        return 1
    [end] = outcomes
    speed = end.made * config.batch_size / end.seconds
    print(f"{end.made} iterations in {end.seconds:.1f} s, {speed:,.0f} images a second")
    print(f"held-out accuracy: {end.accuracy:.1%}")
    print(f"recording: {config.path}.nc")
    return 0


def _configured(parsed: argparse.Namespace) -> "Config":
    """The settings of the file, overruled by those of the command line."""
    from .runs.config import ConfigError, from_mapping, read

    given = {name: value for name, value in vars(parsed).items() if name != "config"}
    try:
        filed = read(parsed.config) if parsed.config else {}
        return from_mapping({**filed, **given}, parsed.config or "settings")
    except ConfigError as error:
        raise CommandError(str(error)) from error


def _demo(parsed: argparse.Namespace) -> int:
    from .runs.demo import study

    configs, count = _checked(study(parsed.folder, quick=parsed.quick))
    _clear(Path(parsed.folder), {config.run for config in configs})
    print(_introduction(configs, count))
    if _trained(configs, count) is None:
        return 1
    print(f"Recordings: {parsed.folder}/*.nc")
    return main(["report", parsed.folder, "--output", str(Path(parsed.folder, "report.html"))])


def _introduction(configs: Sequence["Config"], count: int) -> str:
    sizes = sorted({config.batch_size for config in configs})
    seeds = len({config.seed for config in configs})
    listed = f"{', '.join(map(str, sizes[:-1]))} and {sizes[-1]} (all images)"
    return (
        f"Training {configs[0].model} on {sizes[-1]:,} images of digits: batch sizes {listed}"
        f" × {seeds} seeds,\n{configs[0].iterations} iterations each on {count} processes, with"
        " probes attached; then fitting growth laws and testing predictions."
    )


def _checked(configs: Sequence["Config"]) -> tuple[list["Config"], int]:
    """The runs as they will be trained, and on how many processes; refuses what cannot be."""
    from .runs.checks import checked
    from .runs.config import ConfigError
    from .runs.launch import processes

    try:
        count = processes(configs[0])
        return [checked(config, count) for config in configs], count
    except ConfigError as error:
        raise CommandError(str(error)) from error


def _refuse_existing(config: "Config") -> None:
    """Refuse to record over anything but what an interrupted run of the same settings left."""
    from .runs.checkpoints import checkpoint_of
    from .runs.sweep import differences

    if checkpoint_of(config.path).exists() and config.path.is_dir():
        found = differences(config)
        if not found:
            print(f"Going on with the interrupted run {config.path}")
            return
        raise CommandError(
            f"name: found an interrupted run of other settings at {config.path}"
            f" ({'; '.join(found[:3])}); choose another --name or --folder, or move it away"
        )
    for path in (Path(f"{config.path}.nc"), config.path):
        if path.exists():
            raise CommandError(
                f"name: found a recording at {path}, expected none;"
                " choose another --name or --folder, or move it away"
            )


def _clear(folder: Path, own: set[str]) -> None:
    """Remove an earlier demo's recordings from the folder, and refuse a folder with others'."""
    found = [path for path in folder.glob("*") if path.suffix == ".nc" or path.is_dir()]
    foreign = sorted(path.name for path in found if path.name.removesuffix(".nc") not in own)
    if foreign:
        raise CommandError(
            f"--folder: found {', '.join(foreign[:3])} in {folder}, which no demo wrote;"
            " expected an empty folder or an earlier demo's"
        )
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _trained(configs: Sequence["Config"], count: int) -> "Sequence[Outcome] | None":
    """What became of the runs, trained under one progress bar; None after a failure."""
    from .runs.display import Display
    from .runs.sweep import Sweep
    from .sweep_command import interrupted_by_sigterm, interruption

    with interrupted_by_sigterm(), Display(configs) as display:
        outcomes = Sweep(configs, count).train(display.heard)
    failed = [outcome.reason for outcome in outcomes if outcome.status == "failed"]
    if failed:
        print(f"ultraslow: {failed[0]}", file=sys.stderr)
        return None
    if any(outcome.status != "trained" for outcome in outcomes):
        print(interruption(outcomes), file=sys.stderr)
        raise KeyboardInterrupt
    return outcomes
