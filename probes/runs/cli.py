"""Sub-commands that train: `ultraslow train`, `ultraslow demo`, and `ultraslow sweep` for recipes.

Heavy libraries are imported only inside what the commands return.
"""

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraslow.diffusion.cli import CommandError, Run, main
from ultraslow.diffusion.recording import escaped
from ultraslow.diffusion.terminal import Head, grid, has_colour, screen_width, tell, wrapped

if TYPE_CHECKING:
    from ultraslow.probes.runs.jobs import Outcome

    from .config import Config
    from .recipe import Recipe


def train(parser: argparse.ArgumentParser) -> Run:
    """Train one residual network on several processes and record it.

    Example: the full batch by gradient accumulation, 9 microbatches on each of 2 processes

        ultraslow train --batch-size 1440 --microbatch 80 --iterations 200

    Settings may also come from a TOML file, `--config run.toml`, whose keys are the names of the
    options with underscores; options given beside it overrule it.
    """
    from .config import Config

    parser.add_argument("--config", metavar="FILE", help="TOML file of settings")
    for setting in fields(Config):
        _add_option(parser, setting)
    return _train


def demo(parser: argparse.ArgumentParser) -> Run:
    """Show what a recorded study says, then train a small one of your own and report on it.

    Example: ultraslow demo takes under 3 minutes on two cores; then open demo/report.html

        ultraslow demo --folder demo

    With --recorded nothing is trained: the recordings that come with the package, real trainings
    of a small network on CIFAR-10, are tested, and demo/recorded.html shows what they say.
    """
    parser.add_argument("--folder", default="demo", help="where to write (default: demo)")
    only = parser.add_mutually_exclusive_group()
    only.add_argument(
        "--recorded",
        action="store_true",
        help="only show what the recordings say that come with the package",
    )
    only.add_argument(
        "--quick", action="store_true", help="only train, for seconds, to try it out"
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
    told = (
        f"{end.made} iterations in {end.seconds:.1f} s, {speed:,.0f} images a second",
        f"held-out accuracy: {end.accuracy:.1%}",
        f"recording: {config.path}.nc",
    )
    tell("\n".join(told), lines=True, stream=sys.stdout)
    return 0


def _configured(parsed: argparse.Namespace) -> "Config":
    """The settings of the file, overruled by those of the command line."""
    from .config import ConfigError, from_mapping, read_config

    given = {name: value for name, value in vars(parsed).items() if name != "config"}
    try:
        filed = read_config(parsed.config) if parsed.config else {}
        return from_mapping({**filed, **given}, parsed.config or "settings")
    except ConfigError as error:
        raise CommandError(str(error)) from error


def _demo(parsed: argparse.Namespace) -> int:
    from .recipe import study

    if parsed.recorded:
        status = _show_recorded(parsed.folder)
        print(_after_recorded(parsed.folder))
        return status
    if importlib.util.find_spec("sklearn") is None:
        raise CommandError(
            "demo: trains on the digits of scikit-learn, which is not installed;"
            " `pip install 'ultraslow[demo]'` installs it, `ultraslow demo --recorded` needs none"
        )
    own = study(parsed.folder, quick=parsed.quick)
    configs, count = _checked(own.runs)
    _clear(Path(parsed.folder), {config.run for config in study(parsed.folder).runs})
    if not parsed.quick:
        _show_recorded(parsed.folder)
        print()
    print(_introduction(configs), flush=True)
    if _trained(configs, count, jobs=_jobs(configs[0], count, 0), study=own.study) is None:
        return 1
    status = main(["report", parsed.folder, "--output", str(Path(parsed.folder, "report.html"))])
    print(_next(parsed.folder, quick=parsed.quick))
    return status


def _show_recorded(folder: str) -> int:
    """Say what the recordings answer that come with the package, and write their page."""
    from ultraslow.diffusion.recording import read_file

    from .config import parsed
    from .recipe import recorded

    paths = recorded()
    if not paths:
        raise CommandError(
            "demo: found no recordings in this installation, expected those that come with the"
            " package; installing it again brings them, `ultraslow demo --quick` needs none"
        )
    of = json.loads(read_file(paths[0])[0].attrs["config"])
    tell(
        f"What is known: {len(paths)} recordings out of the study {of['recipe']},"
        f" {parsed(of['recipe_text'], of['recipe'])['about']}. Nothing is trained for it.",
        stream=sys.stdout,
    )
    Path(folder).mkdir(parents=True, exist_ok=True)
    page = str(Path(folder, "recorded.html"))
    return main(["report", *map(str, paths), "--output", page])


def _after_recorded(folder: str) -> str:
    """What to do after the recorded study was shown."""
    page = shlex.quote(str(Path(folder, "recorded.html")))
    kept = "" if folder == "demo" else f" --folder {shlex.quote(folder)}"
    return f"Open {page}; `{_program()} demo{kept}` trains a small study of your own (3 minutes)."


def _introduction(configs: Sequence["Config"]) -> str:
    updates = sum(config.iterations for config in configs)
    sizes = " and ".join(str(size) for size in sorted({config.batch_size for config in configs}))
    return (
        f"Training {len(configs)} small ResNets on digits, batch sizes {sizes}, {updates:,}"
        " updates in all, with\nprobes attached; then fitting growth laws and testing predictions."
    )


def _next(folder: str, *, quick: bool) -> str:
    """What to do after the demo."""
    kept = "" if folder == "demo" else f" --folder {shlex.quote(folder)}"
    tried = f"\nThat was for seconds only; `{_program()} demo{kept}` trains enough to decide."
    page = shlex.quote(str(Path(folder, "report.html")))
    return (
        f"Open {page}, or see why: {_program()} test {shlex.quote(folder)} --verbose\n"
        "Your own run: recorder = us.attach(model, optimizer, …), see docs/record/any-loop.md"
        f"{tried if quick else ''}"
    )


def _program() -> str:
    """How the command is called here: by its name, or by its path where the shell finds none."""
    own = Path(sys.argv[0])
    known = shutil.which("ultraslow") or own.name != "ultraslow"
    return "ultraslow" if known else shlex.quote(os.path.relpath(own))


def _checked(configs: Sequence["Config"]) -> tuple[list["Config"], int]:
    """The runs as they will be trained, and on how many processes; refuses what cannot be."""
    from ultraslow.probes.runs.jobs import processes

    from .config import ConfigError, checked

    try:
        count = processes(configs[0])
        return [checked(config, count) for config in configs], count
    except ConfigError as error:
        raise CommandError(str(error)) from error


def _refuse_existing(config: "Config") -> None:
    """Refuse to record over anything but what an interrupted run of the same settings left."""
    from ultraslow.probes.runs.jobs import differences
    from ultraslow.probes.runs.training import checkpoint_of

    if checkpoint_of(config.path).exists() and config.path.is_dir():
        found = differences(config)
        if not found:
            tell(f"Going on with the interrupted run {config.path}", stream=sys.stdout)
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


def _trained(
    configs: Sequence["Config"],
    count: int,
    *,
    jobs: int = 1,
    study: "Mapping[str, Mapping[str, Any]] | None" = None,
) -> "Sequence[Outcome] | None":
    """What became of the runs, trained under one progress bar; None after a failure."""
    with interrupted_by_sigterm():
        outcomes = _here(configs, count, jobs=jobs, study=study)
    failed = [outcome.reason for outcome in outcomes if outcome.status == "failed"]
    if failed:
        tell(f"ultraslow: {failed[0]}", lines=True)
        return None
    if any(outcome.status != "trained" for outcome in outcomes):
        tell(interruption(outcomes))
        raise KeyboardInterrupt
    return outcomes


# Options that overrule the recipe: where its images are and what it is trained with.
_OVERRIDES = ("data", "data_folder", "device", "processes", "precision")


def sweep(parser: argparse.ArgumentParser) -> Run:
    """Train all runs of a recipe, or those that are not done yet.

    Example: a small study, its runs a tenth in size and length, then its report

        ultraslow sweep temperature --scale 0.1 --folder runs
        ultraslow report runs

    RECIPE is a TOML file or the name of a recipe that comes with the package. Started again, the
    command skips runs that are recorded to their end, and goes on with those that were
    interrupted. It ends with status 1 when runs failed.

    With --iterations shorter runs, finished or not, go on to that length, and with --seeds
    further ones are trained: what was recorded stays, and is what it would be had they been asked
    for at once. Only a constant learning rate can go on; another one is of another run.
    """
    parser.add_argument(
        "recipe", metavar="RECIPE", help="file or name; `list` names those there are"
    )
    parser.add_argument("--folder", default="runs", help="where to record (default: runs)")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="shrink network, images, batches and iterations by this factor (default: 1)",
    )
    parser.add_argument(
        "--iterations", type=int, metavar="N", help="lengthen runs that are shorter to N updates"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="train N seeds of each arm: the recipe's, then others",
    )
    parser.add_argument(
        "--arms", nargs="+", metavar="ARM", help="train these arms and rungs only, by name"
    )
    parser.add_argument(
        "--jobs", type=int, default=0, help="runs at a time; 0: as many as fit (default: 0)"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check the runs; say what each arm is, costs and can serve",
    )
    parser.add_argument("--data", help="image set to train on instead of the recipe's")
    parser.add_argument("--data-folder", help="folder of the image set's files")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where to train")
    parser.add_argument("--processes", type=int, help="processes of a run")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="arithmetic of the network")
    _add_slurm(parser)
    return _sweep


def _add_slurm(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--slurm", action="store_true", help="submit each run to Slurm and follow the jobs"
    )
    parser.add_argument("--partition", default="", help="of Slurm (default: its own)")
    parser.add_argument(
        "--hours", type=float, default=24.0, help="time limit of a Slurm job (default: 24)"
    )


def _sweep(parsed: argparse.Namespace) -> int:
    if parsed.recipe == "list":
        return _list()
    recipe, count = _planned(parsed)
    todo = _todo(recipe.runs)
    tell(_sweep_introduction(recipe, todo, count), stream=sys.stdout)
    if parsed.dry_run:
        print(_plan(recipe, count, parsed.jobs))
        return 0
    if not todo:
        return 0
    _make_ready(todo)
    if parsed.slurm:
        return _told(_on_slurm(recipe, todo, count, parsed))
    with interrupted_by_sigterm():
        jobs = _jobs(todo[0], count, parsed.jobs)
        return _told(_here(todo, count, jobs=jobs, study=recipe.study))


def _list() -> int:
    from .config import read_config
    from .recipe import shipped

    about = [[name, escaped(read_config(at).get("about", ""))] for name, at in shipped().items()]
    print(grid((Head(left=True), Head(left=True)), about, screen_width())[0])
    return 0


def _planned(parsed: argparse.Namespace) -> "tuple[Recipe, int]":
    """The runs as they will be trained, and on how many processes; refuses what cannot be."""
    from ultraslow.probes.runs.jobs import processes

    from .config import ConfigError
    from .recipe import find, only, planned, read_recipe

    given = {name: getattr(parsed, name) for name in _OVERRIDES}
    overrides = {name: value for name, value in given.items() if value is not None}
    try:
        path = find(parsed.recipe)
        recipe = read_recipe(
            path,
            overrides={"folder": parsed.folder, **overrides},
            scale=parsed.scale,
            seeds=_at_least_1(parsed.seeds, "--seeds"),
        )
        recipe = recipe if parsed.arms is None else only(recipe, parsed.arms)
        _refuse_several(recipe, str(path))
        count = processes(recipe.runs[0])
        least = _at_least_1(parsed.iterations, "--iterations")
        chosen = {"processes": count, "scale": parsed.scale, "least_iterations": least}
        return planned(recipe, str(path), **chosen), count
    except ConfigError as error:
        raise CommandError(
            "\n  ".join([str(error).split(": ")[0] + ":", *error.faults])
        ) from error
    except ValueError as error:
        raise CommandError(str(error)) from error


def _at_least_1(value: int | None, option: str) -> int:
    """A number that was asked for; 0 where none was."""
    if value is not None and value < 1:
        raise CommandError(f"{option}: found {value}, expected 1 or more")
    return value or 0


def _refuse_several(recipe: "Recipe", source: str) -> None:
    """All runs of a sweep train on as many processes of one kind."""
    from .config import ConfigError

    faults = [
        f"{name}: found {' and '.join(map(str, found))} in different arms, expected one for all"
        for name in ("processes", "device")
        if len(found := sorted({getattr(run, name) for run in recipe.runs})) > 1
    ]
    if faults:
        raise ConfigError(source, faults)


def _todo(configs: "Sequence[Config]") -> "list[Config]":
    """The runs that are not done; refuses recordings of other settings."""
    from ultraslow.probes.runs.jobs import can_go_on, differences, finished_at, state

    faults = [
        f"{config.path}: found a recording of other settings ({'; '.join(found[:3])})"
        for config in configs
        if state(config) != "absent" and (found := differences(config))
    ]
    faults += [
        f"{config.path}: found a recording that ends at iteration {ended}, without the checkpoint"
        " that finished runs leave since: it cannot go on"
        for config in configs
        if not faults and (ended := finished_at(config)) and not can_go_on(config)
    ]
    if faults:
        listed = "\n  ".join(faults[:5])
        raise CommandError(f"{listed}\n  expected another --folder, or that they are moved away")
    return [config for config in configs if state(config) != "done"]


def _make_ready(configs: "Sequence[Config]") -> None:
    from ultraslow.probes.runs.jobs import make_ready

    for config in configs:
        make_ready(config)


def _sweep_introduction(recipe: "Recipe", todo: "Sequence[Config]", count: int) -> str:
    from ultraslow.probes.runs.jobs import finished_at, state

    states = Counter(state(config) for config in recipe.runs)
    half = f", {states['half']} of them begun" if states["half"] else ""
    longer = sum(finished_at(config) > 0 for config in todo)
    half += f", {longer} of these finished at a shorter length" if longer else ""
    numbers = f"{len(recipe.runs)} runs, {states['done']} done, {len(todo)} to train{half}"
    return f"{recipe.name}: {numbers}; processes of a run: {count}"


def _plan(recipe: "Recipe", count: int, jobs: int) -> str:
    """What each arm is, costs and serves, and what all of them cost."""
    from ultraslow.probes.runs.jobs import arm_costs

    found = arm_costs(recipe.runs, recipe.arms, processes=count)
    width = screen_width()
    alike = {tuple(one.serves) for one in found}
    once = width is not None and len(alike) == 1  # said below, and not arm by arm
    heads = (
        Head("arm", left=True),
        Head("batch size"),
        Head("rate"),
        Head("iterations"),
        Head("runs"),
        Head("core-min"),
        Head("MB", spare=True),
        *([] if once else [Head("can serve", left=True)]),
    )
    rows = [
        [
            one.arm,
            f"{one.batch_size:,}",
            f"{one.rate:.4g}",
            f"{one.iterations:,}",
            str(one.runs),
            f"{one.seconds / 60:.1f}",
            f"{one.bytes / 1e6:.1f}",
            *([] if once else [" ".join(one.serves) or "none"]),
        ]
        for one in found
    ]
    hours = sum(one.seconds for one in found) / 3600
    cores = min(os.cpu_count() or 1, count * _jobs(recipe.runs[0], count, jobs))
    total = (
        f"All of them: about {hours:.1f} core-hours, as timed on one core of this machine,"
        f" {hours / cores:.1f} hours on {cores}; {sum(one.bytes for one in found) / 1e6:.0f} MB."
    )
    table = grid(heads, rows, width, colour=has_colour())[0]
    if once:
        total = f"Each can serve {' '.join(alike.pop()) or 'no prediction'}.\n{total}"
    lines = total.split("\n")
    return "\n".join([table, *(wrapped(line, width) if width else line for line in lines)])


def _jobs(config: "Config", count: int, jobs: int) -> int:
    """Runs at a time: as many as were asked for, or as there are places."""
    return jobs or max(1, _places(config.device) // count)


def _here(
    configs: "Sequence[Config]",
    count: int,
    *,
    jobs: int,
    study: "Mapping[str, Mapping[str, Any]] | None" = None,
) -> "list[Outcome]":
    """What became of the runs, trained on this machine under one progress bar."""
    from ultraslow.probes.runs.jobs import Display, Sweep

    with Display(configs) as display:
        return Sweep(configs, count, jobs=jobs, study=study).train(display.heard)


def _on_slurm(
    recipe: "Recipe", todo: "Sequence[Config]", count: int, parsed: argparse.Namespace
) -> "list[Outcome]":
    from ultraslow.probes.runs.jobs import Display, followed, submitted
    from ultraslow.probes.runs.jobs.slurm import slurm

    try:
        executor = slurm(
            Path(parsed.folder),
            count=count,
            gpus=todo[0].device == "cuda",
            hours=parsed.hours,
            partition=parsed.partition,
        )
    except (ModuleNotFoundError, RuntimeError) as error:
        raise CommandError(f"--slurm: {error}; expected a Slurm cluster and submitit") from error
    jobs = submitted(executor, todo, count, study=recipe.study)
    told = f"Jobs go on when this command is interrupted; their output: {executor.folder}"
    tell(told, stream=sys.stdout)
    with Display(todo) as display:
        return followed(jobs, todo, display.heard)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM and SIGHUP interrupt as Ctrl-C does, so that what was trained is kept.

    A signal that is ignored, as SIGHUP is under nohup, stays so.
    """
    told = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in told}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _places(device: str) -> int:
    """How many processes this machine has room for: one a GPU, else one a core."""
    if device != "cpu":
        import torch

        if torch.cuda.device_count():
            return torch.cuda.device_count()
    return os.cpu_count() or 1


def _told(outcomes: "Sequence[Outcome]") -> int:
    """Print what became of the runs; the status of the command."""
    for outcome in outcomes:
        if outcome.status == "failed":
            tell(f"ultraslow sweep: {outcome.reason}", lines=True)
    counts = Counter(outcome.status for outcome in outcomes)
    listed = ", ".join(f"{number} {status}" for status, number in counts.items())
    tell(listed, stream=sys.stdout)
    if counts["kept"] + counts["begun"] + counts["left"]:
        tell(interruption(outcomes))
        return 130
    return 1 if counts["failed"] else 0


def interruption(outcomes: "Sequence[Outcome]") -> str:
    """What an interruption kept, in a sentence."""
    kept = [f"{o.run} up to iteration {o.iteration}" for o in outcomes if o.status == "kept"]
    begun = [o.run for o in outcomes if o.status == "begun"]
    parts = [f"kept {', '.join(kept)}"] if kept else []
    parts += [f"{', '.join(begun)} had no checkpoint yet and will begin anew"] if begun else []
    what = "; ".join(parts) or "no run was under way"
    return f"interrupted: {what}. The same command goes on."
